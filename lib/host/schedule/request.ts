/**
 * One request inside the host: its tokens (prompt, then output), how many of them are in the KV cache, the text made of the
 * output, and how it ends. The scheduler moves it; it never touches the KV cache itself.
 *
 * The end-of-text token that ends a generation is part of neither tokens nor text. Tokens that complete a stop string stay in
 * `tokens`; the text ends before the stop string.
 */
import type { ErrorData } from '../../errors.ts'
import type { FinishReason, RequestEnd, RequestSpec, StepPart, Timings, TokenLogprob } from '../wire/protocol.ts'
import type { RequestDrafts } from '../drafts/controller.ts'
import { Gaps } from './gaps.ts'
import type { Tenant } from './tenants.ts'

/** Output tokens -> text, with stop strings: `stopped` means that the text just returned is the last. */
export interface TokenText {
  push(token: number): { text: string; stopped: boolean }
  flush(): { text: string; stopped: boolean }
}

export type TopLogprobs = { tokens: Int32Array; logprobs: Float32Array }

const noDrafts = new Int32Array(0)
const noText: TokenText = { push: () => ({ text: '', stopped: false }), flush: () => ({ text: '', stopped: false }) }

export class HostRequest {
  readonly id: number
  readonly spec: RequestSpec
  readonly promptLength: number
  /** Tokens at which it ends by itself: prompt and output. */
  readonly limit: number
  /** Prompt and output; valid up to `length`. */
  tokens: Int32Array
  length: number
  /** Tokens whose keys and values are in the cache (committed). */
  computed = 0
  /** The same with those of steps in flight. */
  planned = 0
  /** The KV sequence; -1 while waiting. */
  sequence = -1
  /** Positions after `computed` that it has reserved. */
  room = 0
  /** Guesses at what comes after the last token; a step in flight says how many. */
  drafts: Int32Array = noDrafts
  paused = false
  pausedAtMs = 0
  /** Place in the order of arrival and in that of urgency (tenants.ts); given by the scheduler. */
  order = -1
  urgencyMs = 0
  tenant!: Tenant
  /** As which it counts in the queue (admission.ts). */
  queuedTokens = 0
  /** The last step it was planned for. */
  step = 0
  preemptions = 0
  /** Preemptions for the sake of a more deserving request, not for want of memory. */
  yields = 0
  /** See sharing.ts: whether others may wait for its prefix, who does, for whom it waits and for how many tokens. */
  leading = false
  readonly followers: HostRequest[] = []
  leader: HostRequest | undefined
  sharedTokens = 0
  /** Tokens found in the prefix cache when it first began; -1 before. */
  cachedTokens = -1
  /** The scheduler's release count when it last failed to be admitted. */
  blockedAt = -1
  end: RequestEnd | undefined
  /** What is known of guesses for it, once it had some. */
  speculation: RequestDrafts | undefined

  readonly #eos: ReadonlySet<number>
  readonly #text: TokenText
  readonly #scores: Float32Array | undefined
  /** Its end was handed out. */
  #reported = false
  #pendingText = ''
  #pendingTokens: number[] = []
  #pendingLogprobs: TokenLogprob[] = []
  #begunAtMs = 0
  #firstTokenAtMs = 0
  readonly #gaps = new Gaps()

  constructor(spec: RequestSpec, contextTokens: number, eosIds: ReadonlySet<number>, text: TokenText = noText) {
    this.id = spec.id
    this.spec = spec
    this.promptLength = spec.tokens.length
    this.limit = spec.mode === 'score' ? this.promptLength : Math.min(this.promptLength + spec.maxTokens, contextTokens)
    this.tokens = spec.tokens
    this.length = this.promptLength
    this.#eos = eosIds
    this.#text = text
    if (spec.mode === 'score') this.#scores = new Float32Array(this.promptLength - 1)
    if (spec.resumed !== undefined) this.#resume(spec.resumed)
  }

  /** Brings tokens, text and stop matching to where a host that died left them; what was delivered is not delivered again. */
  #resume({ tokens, firstTokenAtMs }: NonNullable<RequestSpec['resumed']>): void {
    this.#firstTokenAtMs = firstTokenAtMs
    for (const token of tokens) {
      this.#append(token)
      this.#text.push(token)
    }
  }

  /** Tokens to compute before the request can go on. The last token of a score predicts nothing that is asked for. */
  get target(): number {
    return this.#scores === undefined ? this.length : this.promptLength - 1
  }

  /** Positions that it may need in the cache at most: the last token of the output is never computed. */
  get maxComputed(): number {
    return this.limit - 1
  }

  /** All its tokens up to the target, not copied. */
  get targetTokens(): Int32Array {
    return this.tokens.subarray(0, this.target)
  }

  get hasFirstToken(): boolean {
    return this.#firstTokenAtMs > 0
  }

  /** Tokens to plan; 0 or less while its last token is not known yet. */
  get gap(): number {
    return this.target - this.planned
  }

  begin(cachedTokens: number, nowMs: number): void {
    if (this.cachedTokens >= 0) return
    this.cachedTokens = Math.min(cachedTokens, this.promptLength)
    this.#begunAtMs = nowMs
  }

  /** Of `count` drafts those that may be computed: none follows a token that ends the text. */
  mayFollow(count: number): number {
    if (this.spec.ignoreEos) return count
    for (let i = 0; i < count; i++) if (this.#eos.has(this.drafts[i]!)) return i
    return count
  }

  /** A drawn token. May end the request. */
  accept(token: number, logprob: number, top: TopLogprobs | undefined, nowMs: number): void {
    this.#firstTokenAtMs ||= nowMs
    if (!this.spec.ignoreEos && this.#eos.has(token)) {
      this.finish('stop', nowMs)
      return
    }
    this.#append(token)
    this.#gaps.token(nowMs)
    this.#pendingTokens.push(token)
    if (this.spec.sampling.logprobs >= 0) this.#pendingLogprobs.push({ token, logprob, top: topList(top) })
    const { text, stopped } = this.#text.push(token)
    this.#pendingText += text
    if (stopped) this.end = this.#ended('stop', nowMs)
    else if (this.length >= this.limit) this.finish('length', nowMs)
  }

  /** Log-probabilities of tokens `first`.. of the prompt, given all before them. */
  acceptScores(first: number, logprobs: Float32Array, nowMs: number): void {
    this.#firstTokenAtMs ||= nowMs
    this.#scores!.set(logprobs, first - 1)
    if (first - 1 + logprobs.length === this.#scores!.length) this.finish('length', nowMs)
  }

  /** Ends it and releases text that was held back. */
  finish(reason: FinishReason, nowMs: number): void {
    if (this.end !== undefined) return
    const { text, stopped } = this.#text.flush()
    this.#pendingText += text
    this.end = this.#ended(stopped && reason === 'length' ? 'stop' : reason, nowMs)
  }

  fail(error: ErrorData): void {
    this.end ??= { error }
  }

  /** What happened since the last call; undefined when nothing did. */
  takePart(): StepPart | undefined {
    if (this.#reported) return undefined
    if (this.#pendingTokens.length === 0 && this.#pendingText === '' && this.end === undefined) return undefined
    const part: StepPart = { id: this.id, text: this.#pendingText, tokens: this.#pendingTokens }
    if (this.#pendingLogprobs.length > 0) part.logprobs = this.#pendingLogprobs
    if (this.end !== undefined) part.end = this.end
    this.#reported = this.end !== undefined
    this.#pendingText = ''
    this.#pendingTokens = []
    this.#pendingLogprobs = []
    return part
  }

  #append(token: number): void {
    if (this.length === this.tokens.length) {
      const grown = new Int32Array(Math.min(this.limit, Math.max(64, this.length * 2)))
      grown.set(this.tokens)
      this.tokens = grown
    }
    this.tokens[this.length++] = token
  }

  #ended(reason: FinishReason, nowMs: number): RequestEnd {
    const end: RequestEnd = { reason, cachedTokens: Math.max(0, this.cachedTokens), timings: this.#timings(nowMs) }
    return this.#scores === undefined ? end : { ...end, scores: this.#scores }
  }

  #timings(nowMs: number): Timings {
    const begunMs = this.#begunAtMs || nowMs
    const firstMs = this.#firstTokenAtMs || nowMs
    const generated = this.length - this.promptLength
    const decodeMs = nowMs - firstMs
    return {
      queueMs: Math.max(0, begunMs - this.spec.askedAtMs),
      prefillMs: firstMs - begunMs,
      firstTokenMs: Math.max(0, firstMs - this.spec.askedAtMs),
      totalMs: Math.max(0, nowMs - this.spec.askedAtMs),
      tokensPerSecond: generated > 1 && decodeMs > 0 ? ((generated - 1) * 1000) / decodeMs : 0,
      interTokenMs: this.#gaps.percentiles(),
      preemptions: this.preemptions,
    }
  }
}

function topList(top: TopLogprobs | undefined): TokenLogprob['top'] {
  if (top === undefined) return []
  return Array.from(top.tokens, (token, i) => ({ token, logprob: top.logprobs[i]! }))
}
