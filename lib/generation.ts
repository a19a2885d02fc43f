/**
 * One running request as its caller sees it: an async iterable of parts, and a promise of the result. Both may be used, either,
 * or none. Backpressure begins with the first `next()`: from then on, tokens that pile up unread pause this generation (not the
 * engine) until they were read. Without an iterator the generation runs to its end.
 */
import type { CallSite } from './call-site.ts'
import type { RequestTrace, Usage } from './diagnostics.ts'
import type { ErrorData } from './errors.ts'
import { tokenRole } from './host/output/token-text.ts'
import type { FinishReason, RequestEnd, StepPart, StopMatch, Timings, TokenLogprob } from './host/wire/protocol.ts'
import { abortReason, onAbort } from './signals.ts'

/**
 * What a step brought this generation: a token, as a rule. Of a small model, whose steps take a few milliseconds, it is what up to 16
 * of them brought in 16 ms. Tokens come with the text they spell: those of an unfinished character, or of what may be a stop text or a
 * marker of reasoning, come with a later part or, when that is what they were, never.
 */
export interface GenerationPart {
  /** The texts joined equal the result's text. */
  text: string
  /** Those that spell `text`. */
  tokens: number[]
  /** Comes before the text, as a rule; absent: none in this part. */
  reasoning?: string
  reasoningTokens?: number[]
  /** One entry a token, when asked for. */
  logprobs?: TokenLogprob[]
}

export interface GenerationResult {
  text: string
  /**
   * The ids that spell the text: detokenised they give it (behind white space where reasoning came before). Where a stop text begins
   * within a token, that token is not among them, and the text has some characters more; neither is the token that ended the answer.
   * A character that the end cut apart is U+FFFD in the text, and its ids are here.
   */
  tokens: number[]
  /** What the model thought before its answer, without markers and white space around it; absent when there was none. */
  reasoning?: string
  /** The ids that spell the reasoning and white space around it; one that spells a piece of a marker, too, is not among them. */
  reasoningTokens?: number[]
  finishReason: FinishReason
  /** With finishReason 'stop': which of the stop texts, stop tokens, or end tokens of the model it was. */
  stop?: StopMatch
  usage: Usage
  timings: Timings
  /** The seed that was used: given again, it draws the same tokens. */
  seed: number
  /** One entry for each of `tokens`. */
  logprobs?: TokenLogprob[]
}

/** A running generation. */
export interface Generation extends AsyncIterable<GenerationPart> {
  /**
   * Resolves at the end, also after `cancel()` or leaving the loop (finishReason 'cancelled'); rejects with `signal.reason` when
   * the signal aborts, with an OctavoError when something fails. Never an unhandled rejection, even if nobody looks at it.
   * A reader that began to iterate and neither reads on nor leaves the loop holds its generation, and so this promise, up.
   */
  readonly result: Promise<GenerationResult>
  /** What came so far; readable at any time. */
  readonly partial: { text: string; tokens: number[]; reasoning?: string }
  /** Ends the generation with what it has. */
  cancel(): void
}

/** What a stream may tell the host about its request. */
export interface StreamControl {
  cancel(): void
  pause(): void
  resume(): void
}

/** The receiving end of one request. */
export interface Stream {
  part(part: StepPart): void
  /** The host failed or was closed. */
  fail(error: ErrorData): void
}

/** Unread tokens at which a generation is paused, and at which it goes on: enough to smooth out, too few to matter in memory. */
export const pauseTokens = 32
const resumeTokens = 8

type Waiter = { resolve: (result: IteratorResult<GenerationPart>) => void; reject: (error: unknown) => void }

export interface GenerationSetup {
  site: CallSite
  seed: number
  askedAtMs: number
  now: () => number
  signal?: AbortSignal | undefined
  trace?: RequestTrace | undefined
  /**
   * Called once, before the result settles; the result is undefined when it failed. `ids`: the output as far as it was given out, the
   * reasoning and its markers included.
   */
  onEnd?: (result: GenerationResult | undefined, ids: readonly number[]) => void
}

export class RunningGeneration implements Generation, Stream {
  readonly result: Promise<GenerationResult>
  readonly #setup: GenerationSetup
  readonly #tokens: number[] = []
  readonly #logprobs: TokenLogprob[] = []
  #text = ''
  #reasoning = ''
  readonly #reasoningTokens: number[] = []
  readonly #ids: number[] = []
  #queue: GenerationPart[] = []
  /** Tokens in the queue. */
  #unread = 0
  #waiters: Waiter[] = []
  #control: StreamControl | undefined
  #promptTokens = 0
  #iterating = false
  #paused = false
  #cancelled = false
  /** The reader left: parts that are on their way are for the result only. */
  #left = false
  #ended = false
  /** Boxed, because anything may be an abort's reason; taken by the first `next()` that meets it. */
  #failure: { error: unknown } | undefined
  #settle!: { resolve: (result: GenerationResult) => void; reject: (error: unknown) => void }
  #ignoreSignal: (() => void) | undefined

  constructor(setup: GenerationSetup) {
    this.#setup = setup
    this.result = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject }
    })
    this.result.catch(() => {})
    if (setup.signal?.aborted) this.#abort()
    else if (setup.signal) this.#ignoreSignal = onAbort(setup.signal, () => this.#abort())
  }

  get partial(): { text: string; tokens: number[]; reasoning?: string } {
    const reasoning = this.#reasoning === '' ? undefined : { reasoning: this.#reasoning }
    return { text: this.#text, tokens: [...this.#tokens], ...reasoning }
  }

  get ended(): boolean {
    return this.#ended
  }

  /** The request was posted. */
  attach(control: StreamControl, promptTokens: number): void {
    this.#control = control
    this.#promptTokens = promptTokens
  }

  cancel(): void {
    if (this.#ended || this.#cancelled) return
    this.#cancelled = true
    if (this.#control === undefined) this.#finishUnposted()
    else this.#control.cancel()
  }

  #finishUnposted(): void {
    const waitedMs = this.#setup.now() - this.#setup.askedAtMs
    this.#finish({
      reason: 'cancelled',
      ...{ cachedTokens: 0, generatedTokens: 0 },
      timings: {
        ...{ queueMs: waitedMs, prefillMs: 0, firstTokenMs: 0, totalMs: waitedMs },
        ...{ tokensPerSecond: 0, interTokenMs: { p50: 0, p99: 0 }, preemptions: 0 },
      },
    })
  }

  part(part: StepPart): void {
    if (this.#ended) return
    const { text, tokens, reasoning, end } = part
    if (tokens.length > 0) this.#setup.trace?.token()
    if (tokens.length > 0 || text !== '' || reasoning !== undefined) {
      for (const token of tokens) this.#ids.push(token)
      this.#take(partOf(part))
    }
    if (end === undefined) this.#pauseIfUnread()
    else if ('error' in end) this.fail(end.error)
    else this.#finish(end)
  }

  #take(part: GenerationPart): void {
    const { text, tokens, logprobs, reasoning = '', reasoningTokens } = part
    this.#text += text
    this.#reasoning += reasoning
    for (const token of tokens) this.#tokens.push(token)
    if (logprobs !== undefined) this.#logprobs.push(...logprobs)
    if (reasoningTokens !== undefined) this.#reasoningTokens.push(...reasoningTokens)
    // Markers alone are nothing to a reader.
    if (text !== '' || reasoning !== '' || tokensOf(part) > 0) this.#deliver(part)
  }

  fail(error: ErrorData): void {
    this.reject(this.#setup.site.error(error))
  }

  /** Ends it with an error that is passed on as it is. Parts that came before are still delivered. */
  reject(error: unknown): void {
    if (this.#ended) return
    this.#end(undefined)
    this.#setup.trace?.fail(error)
    this.#settle.reject(error)
    const waiter = this.#waiters.shift()
    if (waiter !== undefined) waiter.reject(error)
    else this.#failure = { error }
    this.#finishWaiters()
  }

  [Symbol.asyncIterator](): AsyncIterator<GenerationPart, undefined> {
    return {
      next: () => this.#next(),
      return: async () => {
        this.cancel()
        this.#left = true
        this.#queue = []
        this.#unread = 0
        this.#failure = undefined
        await this.result.catch(() => {})
        return { done: true, value: undefined }
      },
    }
  }

  #next(): Promise<IteratorResult<GenerationPart, undefined>> {
    this.#iterating = true
    const part = this.#queue.shift()
    if (part !== undefined) {
      this.#unread -= tokensOf(part)
      if (this.#paused && this.#unread <= resumeTokens) {
        this.#paused = false
        if (!this.#ended) this.#control?.resume()
      }
      return Promise.resolve({ done: false, value: part })
    }
    if (this.#failure !== undefined) {
      const { error } = this.#failure
      this.#failure = undefined
      return Promise.reject(error)
    }
    if (this.#ended) return Promise.resolve({ done: true, value: undefined })
    return new Promise((resolve, reject) => this.#waiters.push({ resolve: resolve as Waiter['resolve'], reject }))
  }

  #deliver(part: GenerationPart): void {
    const waiter = this.#waiters.shift()
    if (waiter !== undefined) waiter.resolve({ done: false, value: part })
    else if (!this.#left) {
      this.#queue.push(part)
      this.#unread += tokensOf(part)
    }
  }

  #pauseIfUnread(): void {
    if (!this.#iterating || this.#paused || this.#cancelled || this.#unread <= pauseTokens) return
    this.#paused = true
    this.#control?.pause()
  }

  #abort(): void {
    if (this.#ended) return
    this.#queue = []
    this.#unread = 0
    this.reject(abortReason(this.#setup.signal!))
    this.#control?.cancel()
  }

  #finish(end: Exclude<RequestEnd, { error: ErrorData }>): void {
    const { reason, stop, cachedTokens, generatedTokens, timings } = end
    const result: GenerationResult = {
      text: this.#text,
      tokens: this.#tokens,
      ...(this.#reasoning !== '' && { reasoning: this.#reasoning, reasoningTokens: this.#reasoningTokens }),
      finishReason: reason,
      ...(stop && { stop }),
      usage: { promptTokens: this.#promptTokens, cachedTokens, completionTokens: generatedTokens },
      timings,
      seed: this.#setup.seed,
    }
    if (this.#logprobs.length > 0) result.logprobs = this.#logprobs
    this.#end(result)
    this.#setup.trace?.end(reason, result.usage, timings)
    this.#settle.resolve(result)
    this.#finishWaiters()
  }

  #end(result: GenerationResult | undefined): void {
    this.#ended = true
    this.#ignoreSignal?.()
    this.#setup.onEnd?.(result, this.#ids)
  }

  #finishWaiters(): void {
    for (const waiter of this.#waiters) waiter.resolve({ done: true, value: undefined })
    this.#waiters = []
  }
}

const tokensOf = ({ tokens, reasoningTokens }: GenerationPart): number => tokens.length + (reasoningTokens?.length ?? 0)

/** A part as a reader sees it: markers are nobody's, and log-probabilities are those of the answer. */
function partOf({ text, tokens, reasoning, roles, logprobs }: StepPart): GenerationPart {
  if (roles === undefined) return logprobs === undefined ? { text, tokens } : { text, tokens, logprobs }
  const ofRole = <T>(list: T[], role: number) => list.filter((_, i) => roles[i] === role)
  const thought = ofRole(tokens, tokenRole.reasoning)
  return {
    ...{ text, tokens: ofRole(tokens, tokenRole.answer) },
    ...((reasoning !== undefined || thought.length > 0) && { reasoning: reasoning ?? '', reasoningTokens: thought }),
    ...(logprobs && { logprobs: ofRole(logprobs, tokenRole.answer) }),
  }
}
