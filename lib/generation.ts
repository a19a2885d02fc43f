/**
 * One running request as its caller sees it: an async iterable of parts, and a promise of the result. Both may be used, either,
 * or none. Backpressure begins with the first `next()`: from then on, tokens that pile up unread pause this generation (not the
 * engine) until they were read. Without an iterator the generation runs to its end.
 */
import type { CallSite } from './call-site.ts'
import type { RequestTrace, Usage } from './diagnostics.ts'
import type { ErrorData } from './errors.ts'
import type { FinishReason, RequestEnd, StepPart, Timings, TokenLogprob } from './host/wire/protocol.ts'

/**
 * What a step brought this generation: a token, as a rule. Of a small model, whose steps take a few milliseconds, it is what up to 16
 * of them brought in 16 ms. The output's very first token is never held back.
 */
export interface GenerationPart {
  /** Empty while a character or a possible stop string is incomplete. The texts joined equal the result's text. */
  text: string
  tokens: number[]
  /** One entry a token, when asked for. */
  logprobs?: TokenLogprob[]
}

export interface GenerationResult {
  text: string
  /** The output's ids; the end-of-text token that ended it is not among them. */
  tokens: number[]
  finishReason: FinishReason
  usage: Usage
  timings: Timings
  /** The seed that was used: given again, it draws the same tokens. */
  seed: number
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
  readonly partial: { text: string; tokens: number[] }
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
  /** Called once, before the result settles; the result is undefined when it failed. */
  onEnd?: (result: GenerationResult | undefined) => void
}

export class RunningGeneration implements Generation, Stream {
  readonly result: Promise<GenerationResult>
  readonly #setup: GenerationSetup
  readonly #tokens: number[] = []
  readonly #logprobs: TokenLogprob[] = []
  #text = ''
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
  readonly #onAbort = () => this.#abort()

  constructor(setup: GenerationSetup) {
    this.#setup = setup
    this.result = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject }
    })
    this.result.catch(() => {})
    if (setup.signal?.aborted) this.#abort()
    else setup.signal?.addEventListener('abort', this.#onAbort, { once: true })
  }

  get partial(): { text: string; tokens: number[] } {
    return { text: this.#text, tokens: [...this.#tokens] }
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
      cachedTokens: 0,
      timings: {
        ...{ queueMs: waitedMs, prefillMs: 0, firstTokenMs: 0, totalMs: waitedMs },
        ...{ tokensPerSecond: 0, interTokenMs: { p50: 0, p99: 0 }, preemptions: 0 },
      },
    })
  }

  part(part: StepPart): void {
    if (this.#ended) return
    const { text, tokens, logprobs, end } = part
    if (tokens.length > 0) this.#setup.trace?.token()
    if (tokens.length > 0 || text !== '') {
      this.#text += text
      for (const token of tokens) this.#tokens.push(token)
      if (logprobs !== undefined) this.#logprobs.push(...logprobs)
      this.#deliver(logprobs === undefined ? { text, tokens } : { text, tokens, logprobs })
    }
    if (end === undefined) this.#pauseIfUnread()
    else if ('error' in end) this.fail(end.error)
    else this.#finish(end)
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
      this.#unread -= part.tokens.length
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
      this.#unread += part.tokens.length
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
    this.reject(this.#setup.signal!.reason)
    this.#control?.cancel()
  }

  #finish({ reason, cachedTokens, timings }: Exclude<RequestEnd, { error: ErrorData }>): void {
    const result: GenerationResult = {
      text: this.#text,
      tokens: this.#tokens,
      finishReason: reason,
      usage: { promptTokens: this.#promptTokens, cachedTokens, completionTokens: this.#tokens.length },
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
    this.#setup.signal?.removeEventListener('abort', this.#onAbort)
    this.#setup.onEnd?.(result)
  }

  #finishWaiters(): void {
    for (const waiter of this.#waiters) waiter.resolve({ done: true, value: undefined })
    this.#waiters = []
  }
}
