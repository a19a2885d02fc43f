/** A running score: one request that draws nothing. Its log-probabilities come with its end. */
import type { CallSite } from './base/call-site.ts'
import type { ErrorData } from './base/errors.ts'
import type { RequestTrace } from './diagnostics.ts'
import type { Stream, StreamControl } from './generation.ts'
import type { StepPart } from './host/wire/protocol.ts'
import { abortReason, onAbort } from './signals.ts'

export interface Score {
  tokens: number[]
  /** logprobs[i] is that of tokens[i + 1] given all tokens before it. */
  logprobs: number[]
  /** exp of the mean negative log-probability. */
  perplexity: number
}

export class ScoreStream implements Stream {
  readonly result: Promise<Score>
  #settle!: { resolve: (score: Score) => void; reject: (error: unknown) => void }
  #control: StreamControl | undefined
  #tokens: Int32Array = new Int32Array(0)
  ended = false
  readonly #site: CallSite
  readonly #trace: RequestTrace | undefined
  #ignoreSignal: (() => void) | undefined

  constructor(site: CallSite, signal: AbortSignal | undefined, trace?: RequestTrace) {
    this.#site = site
    this.#trace = trace
    this.result = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject }
    })
    if (signal === undefined) return
    const abort = () => {
      this.reject(abortReason(signal))
      this.#control?.cancel()
    }
    if (signal.aborted) abort()
    else this.#ignoreSignal = onAbort(signal, abort)
  }

  attach(control: StreamControl, tokens: Int32Array): void {
    this.#control = control
    this.#tokens = tokens
  }

  part({ end }: StepPart): void {
    if (end === undefined || this.ended) return
    if ('error' in end) {
      this.fail(end.error)
      return
    }
    const logprobs = Array.from(end.scores!)
    const sum = logprobs.reduce((total, logprob) => total + logprob, 0)
    this.#end()
    const usage = { promptTokens: this.#tokens.length, cachedTokens: end.cachedTokens, completionTokens: 0 }
    this.#trace?.end(end.reason, usage, end.timings)
    this.#settle.resolve({ tokens: Array.from(this.#tokens), logprobs, perplexity: Math.exp(-sum / logprobs.length) })
  }

  fail(error: ErrorData): void {
    this.reject(this.#site.error(error))
  }

  reject(error: unknown): void {
    if (this.ended) return
    this.#end()
    this.#trace?.fail(error)
    this.#settle.reject(error)
  }

  #end(): void {
    this.ended = true
    this.#ignoreSignal?.()
  }
}
