/**
 * What octavo tells about itself: nothing is ever printed. Lines for a log go to the engine's `onLog` and to the diagnostics channel
 * 'octavo:log'; loads and requests go to 'octavo:load' and 'octavo:request' as objects (node:diagnostics_channel). Without
 * subscribers a request costs one look at a flag.
 */
import { channel } from 'node:diagnostics_channel'
import type { ErrorData } from './base/errors.ts'
import type { FinishReason, Timings } from './host/wire/protocol.ts'

/** How an answer ended: as the engine says, or with calls of tools. */
export type AnswerEnd = FinishReason | 'toolCalls'

export interface Usage {
  promptTokens: number
  /** Prompt tokens whose keys and values were found in the prefix cache. */
  cachedTokens: number
  /** All that the model generated: answer, reasoning, markers, the tokens of a stop text; but not a token that ended it. */
  completionTokens: number
}

/** Messages of 'octavo:log'. `model`: what Engine.load was given. */
export interface LogEvent {
  model: string
  message: string
}

/** Messages of 'octavo:load'. */
export type LoadEvent =
  | { type: 'start'; model: string }
  | { type: 'end'; model: string; durationMs: number; contextTokens: number; weightBytes: number }
  | { type: 'error'; model: string; durationMs: number; error: unknown }

/** Messages of 'octavo:request'; `id` is unique in the process's thread. Every start is followed by one end or one error. */
export type RequestEvent =
  | { type: 'start'; id: number; model: string; mode: 'generate' | 'score' }
  | { type: 'firstToken'; id: number; elapsedMs: number }
  | { type: 'end'; id: number; finishReason: AnswerEnd; usage: Usage; timings: Timings }
  | { type: 'error'; id: number; error: unknown }

const channels = {
  log: channel('octavo:log'),
  load: channel('octavo:load'),
  request: channel('octavo:request'),
}

export type Log = (message: string) => void

/** The log of one engine. */
export function logOf(model: string, onLog: Log | undefined): Log {
  return (message) => {
    if (channels.log.hasSubscribers) channels.log.publish({ model, message } satisfies LogEvent)
    onLog?.(message)
  }
}

export const isLogRead = (onLog: Log | undefined): boolean => onLog !== undefined || channels.log.hasSubscribers

export function publishLoad(event: LoadEvent): void {
  if (channels.load.hasSubscribers) channels.load.publish(event)
}

/** One request's events. */
export class RequestTrace {
  static #count = 0
  readonly #id = ++RequestTrace.#count
  readonly #startedMs = performance.now()
  #decoding = false

  /** Undefined when nobody listens. */
  static start(model: string, mode: 'generate' | 'score'): RequestTrace | undefined {
    return channels.request.hasSubscribers ? new RequestTrace(model, mode) : undefined
  }

  private constructor(model: string, mode: 'generate' | 'score') {
    this.#publish({ type: 'start', id: this.#id, model, mode })
  }

  /** A token came; the first one counts. */
  token(): void {
    if (this.#decoding) return
    this.#decoding = true
    this.#publish({ type: 'firstToken', id: this.#id, elapsedMs: performance.now() - this.#startedMs })
  }

  end(finishReason: AnswerEnd, usage: Usage, timings: Timings): void {
    this.#publish({ type: 'end', id: this.#id, finishReason, usage, timings })
  }

  fail(error: unknown): void {
    this.#publish({ type: 'error', id: this.#id, error })
  }

  #publish(event: RequestEvent): void {
    channels.request.publish(event)
  }
}

/** An error as a line of a log. */
export const logLine = ({ code, message }: ErrorData) => `${code}: ${message}`
