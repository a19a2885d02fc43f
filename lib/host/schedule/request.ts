/**
 * One request inside the host: its tokens (prompt, then output), how many of them are in the KV cache, the text made of the
 * output, and how it ends. The scheduler moves it; it never touches the KV cache itself.
 *
 * A token that ends a generation by itself is part of neither tokens nor text. Those that spell a stop text stay in `tokens`, which
 * is what was computed, and are not given out.
 */
import type { ErrorData } from '../../base/errors.ts'
import type { RequestDrafts } from '../drafts/request-drafts.ts'
import type { Given, TokenText } from '../output/token-text.ts'
import type {
  Delivered,
  FinishReason,
  RequestEnd,
  RequestSpec,
  StepPart,
  StopMatch,
  StopToken,
  Timings,
  TokenLogprob,
} from '../wire/protocol.ts'
import { Gaps } from './gaps.ts'
import type { Tenant } from './tenant.ts'

export type TopLogprobs = { tokens: Int32Array; logprobs: Float32Array }

const noDrafts = new Int32Array(0)

/** Tokens alone. */
class NoText implements TokenText {
  #tokens = 0
  readonly stop = undefined

  push(): boolean {
    this.#tokens++
    return false
  }

  flush(): boolean {
    return false
  }

  marks(): boolean {
    return false
  }

  take(): Given {
    const given = { text: '', reasoning: '', calls: '', tokens: this.#tokens }
    this.#tokens = 0
    return given
  }
}

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
  tenant!: Tenant<HostRequest>
  /** As which it counts in the queue (admission.ts). */
  queuedTokens = 0
  /** The last step it was planned for, and its row there if it draws one token; else -1. */
  step = 0
  row = -1
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
  readonly #stops: ReadonlyMap<number, StopMatch>
  readonly #text: TokenText
  readonly #scores: Float32Array | undefined
  /** Its end was handed out. */
  #reported = false
  /** Tokens of the output that were given out. */
  #given = 0
  /** What was delivered by a host that died. */
  #delivered: Delivered | undefined
  /** Of the tokens that were not given out yet. */
  #logprobs: TokenLogprob[] = []
  #begunAtMs = 0
  #firstTokenAtMs = 0
  readonly #gaps = new Gaps()

  constructor(spec: RequestSpec, contextTokens: number, eosIds: ReadonlySet<number>, text: TokenText = new NoText()) {
    this.id = spec.id
    this.spec = spec
    this.promptLength = spec.tokens.length
    this.limit = spec.mode === 'score' ? this.promptLength : Math.min(this.promptLength + spec.maxTokens, contextTokens)
    this.tokens = spec.tokens
    this.length = this.promptLength
    this.#eos = eosIds
    this.#stops = spec.stopTokens === undefined ? noStops : stopMatches(spec.stopTokens)
    this.#text = text
    if (spec.mode === 'score') this.#scores = new Float32Array(this.promptLength - 1)
    if (spec.resumed !== undefined) this.#resume(spec.resumed)
  }

  /** Brings tokens, text and stop matching to where a host that died left them; what was delivered is not given out again. */
  #resume(delivered: Delivered): void {
    this.#firstTokenAtMs = delivered.firstTokenAtMs
    this.#delivered = { ...delivered }
    for (const token of delivered.tokens) {
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

  /** The row of the step in flight that draws its next token; -1: none, or it will not be computed, as the output's last one. */
  get drawnRow(): number {
    return this.gap === 0 && this.planned > this.computed && this.length + 1 < this.limit ? this.row : -1
  }

  begin(cachedTokens: number, nowMs: number): void {
    if (this.cachedTokens >= 0) return
    this.cachedTokens = Math.min(cachedTokens, this.promptLength)
    this.#begunAtMs = nowMs
  }

  /** Of `count` drafts those that may be computed: none follows a token that ends the text. */
  mayFollow(count: number): number {
    for (let i = 0; i < count; i++) if (this.#stopAt(this.drafts[i]!) !== undefined) return i
    return count
  }

  /** A drawn token. May end the request. */
  accept(token: number, logprob: number, top: TopLogprobs | undefined, nowMs: number): void {
    this.#firstTokenAtMs ||= nowMs
    const stop = this.#stopAt(token)
    if (stop !== undefined) {
      this.finish('stop', nowMs, stop)
      return
    }
    this.#append(token)
    this.#gaps.token(nowMs)
    if (this.spec.sampling.logprobs >= 0) this.#logprobs.push({ token, logprob, top: topList(top) })
    if (this.#text.push(token)) this.end = this.#ended('stop', nowMs, { text: this.#text.stop! })
    else if (this.length >= this.limit) this.finish('length', nowMs)
  }

  /** Log-probabilities of tokens `first`.. of the prompt, given all before them. */
  acceptScores(first: number, logprobs: Float32Array, nowMs: number): void {
    this.#firstTokenAtMs ||= nowMs
    this.#scores!.set(logprobs, first - 1)
    if (first - 1 + logprobs.length === this.#scores!.length) this.finish('length', nowMs)
  }

  /** Ends it and gives out what was held back. */
  finish(reason: FinishReason, nowMs: number, stop?: StopMatch): void {
    if (this.end !== undefined) return
    const stopped = this.#text.flush()
    if (stopped && reason !== 'cancelled') this.end = this.#ended('stop', nowMs, { text: this.#text.stop! })
    else this.end = this.#ended(reason, nowMs, stop)
  }

  fail(error: ErrorData): void {
    this.end ??= { error }
  }

  /** What happened since the last call; undefined when nothing did. */
  takePart(): StepPart | undefined {
    if (this.#reported) return undefined
    const { text, reasoning, calls, tokens: count, roles } = this.#undelivered(this.#text.take())
    const isText = text !== '' || reasoning !== '' || calls !== ''
    if (count === 0 && !isText && this.end === undefined) return undefined
    const tokens: number[] = []
    for (let i = 0; i < count; i++) tokens.push(this.tokens[this.promptLength + this.#given++]!)
    const part: StepPart = { id: this.id, text, tokens }
    if (reasoning !== '') part.reasoning = reasoning
    if (calls !== '') part.calls = calls
    if (roles !== undefined) part.roles = roles
    if (this.#logprobs.length > 0 && count > 0) part.logprobs = this.#logprobs.splice(0, count)
    if (this.end !== undefined) part.end = this.end
    this.#reported = this.end !== undefined
    return part
  }

  /** Leaves out what a host that died had delivered: the output comes out of its tokens once more, from the beginning. */
  #undelivered(given: Given): Given {
    const delivered = this.#delivered
    if (delivered === undefined) return given
    const tokens = Math.min(delivered.tokens.length - this.#given, given.tokens)
    const rest = {
      ...{ text: given.text.slice(delivered.text), reasoning: given.reasoning.slice(delivered.reasoning) },
      calls: given.calls.slice(delivered.calls),
      ...{ tokens: given.tokens - tokens, ...(given.roles && { roles: given.roles.slice(tokens) }) },
    }
    this.#given += tokens
    delivered.text -= given.text.length - rest.text.length
    delivered.reasoning -= given.reasoning.length - rest.reasoning.length
    delivered.calls -= given.calls.length - rest.calls.length
    const left = delivered.text + delivered.reasoning + delivered.calls
    if (left === 0 && this.#given === delivered.tokens.length) this.#delivered = undefined
    return rest
  }

  /** As which stop a token ends the output, if it does. */
  #stopAt(token: number): StopMatch | undefined {
    const stop = this.#stops.get(token)
    if (stop !== undefined || this.spec.ignoreEos || !this.#eos.has(token) || this.#text.marks(token)) return stop
    return { token }
  }

  #append(token: number): void {
    if (this.length === this.tokens.length) {
      const grown = new Int32Array(Math.min(this.limit, Math.max(64, this.length * 2)))
      grown.set(this.tokens)
      this.tokens = grown
    }
    this.tokens[this.length++] = token
  }

  #ended(reason: FinishReason, nowMs: number, stop?: StopMatch): RequestEnd {
    const end: RequestEnd = {
      reason,
      ...(stop && { stop }),
      cachedTokens: Math.max(0, this.cachedTokens),
      generatedTokens: this.length - this.promptLength,
      timings: this.#timings(nowMs),
    }
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
      ...(this.speculation !== undefined &&
        this.speculation.proposed > 0 && { speculation: this.speculation.timings() }),
    }
  }
}

function topList(top: TopLogprobs | undefined): TokenLogprob['top'] {
  if (top === undefined) return []
  return Array.from(top.tokens, (token, i) => ({ token, logprob: top.logprobs[i]! }))
}

const noStops: ReadonlyMap<number, StopMatch> = new Map()

/** The first to name a token counts. */
function stopMatches(stops: StopToken[]): ReadonlyMap<number, StopMatch> {
  const matches = new Map<number, StopMatch>()
  for (const stop of stops) if (!matches.has(stop.token)) matches.set(stop.token, stop)
  return matches
}
