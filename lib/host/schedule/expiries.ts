/**
 * When waiting ends: deadlines of requests and the patience with readers that stopped reading. Only the earliest moment is kept;
 * nothing is looked at before it comes. A moment that is no longer true (a first token came in time) costs one look too many.
 */
import type { ErrorData } from '../../base/errors.ts'
import type { HostRequest } from './request.ts'

export class Expiries {
  readonly #idleTimeoutMs: number
  /** No request expires before. */
  nextMs = Number.POSITIVE_INFINITY

  constructor(idleTimeoutMs: number) {
    this.#idleTimeoutMs = idleTimeoutMs
  }

  /** A request was added or paused. */
  watch(request: HostRequest): void {
    this.nextMs = Math.min(this.nextMs, this.#expiryMs(request))
  }

  /** Fails those whose time has come, and calls `onExpired` for each. */
  sweep(requests: Iterable<HostRequest>, nowMs: number, onExpired: (request: HostRequest) => void): void {
    if (nowMs < this.nextMs) return
    this.nextMs = Number.POSITIVE_INFINITY
    for (const request of requests) {
      const expiryMs = this.#expiryMs(request)
      if (expiryMs > nowMs) this.nextMs = Math.min(this.nextMs, expiryMs)
      else {
        request.fail(this.#error(request, nowMs))
        onExpired(request)
      }
    }
  }

  #expiryMs(request: HostRequest): number {
    const idleMs = request.paused ? request.pausedAtMs + this.#idleTimeoutMs : Number.POSITIVE_INFINITY
    return Math.min(idleMs, deadlineMs(request))
  }

  #error(request: HostRequest, nowMs: number): ErrorData {
    if (deadlineMs(request) <= nowMs) return deadlineError(request, nowMs)
    const message = `The reader read nothing for ${this.#idleTimeoutMs} ms while output waited for it.`
    return { code: 'CONSUMER_TIMEOUT', message, details: { idleTimeoutMs: this.#idleTimeoutMs } }
  }
}

/** The next deadline: until the first token came, that one's counts too. */
export function deadlineMs({ spec, hasFirstToken }: HostRequest): number {
  const { deadlines, askedAtMs } = spec
  if (deadlines === undefined) return Number.POSITIVE_INFINITY
  const { firstTokenMs = Number.POSITIVE_INFINITY, totalMs = Number.POSITIVE_INFINITY } = deadlines
  return askedAtMs + (hasFirstToken ? totalMs : Math.min(firstTokenMs, totalMs))
}

/** `expectedMs`: how long it would still take at least, when that is why. */
export function deadlineError(request: HostRequest, nowMs: number, expectedMs?: number): ErrorData {
  const { deadlines, askedAtMs } = request.spec
  const elapsedMs = Math.round(nowMs - askedAtMs)
  const which = request.hasFirstToken ? 'totalMs' : 'firstTokenMs'
  const limit = deadlines?.[which] ?? deadlines?.totalMs
  const message =
    expectedMs === undefined
      ? `The deadline passed: ${limit} ms after the call.`
      : `The deadline, ${limit} ms after the call, cannot be met: ${elapsedMs} ms have passed, the prompt takes ${Math.ceil(expectedMs)} ms more.`
  return { code: 'DEADLINE_EXCEEDED', message, details: { ...deadlines, elapsedMs, ...(expectedMs && { expectedMs }) } }
}
