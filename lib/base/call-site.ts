/**
 * The caller's own stack for errors that happen later or on another thread: captured when a public function is called, put
 * on the error when it comes. Frames inside octavo are left out.
 */
import type { ErrorData } from './errors.ts'
import { fromErrorData, OctavoError } from './errors.ts'

// biome-ignore lint/complexity/noBannedTypes: what Error.captureStackTrace takes
type AnyFunction = Function

export class CallSite {
  readonly #trace: { stack?: string } = {}

  /** `entry`: the public function that was called; the stack begins at its caller. */
  constructor(entry: AnyFunction) {
    Error.captureStackTrace(this.#trace, entry)
  }

  error(data: ErrorData): OctavoError {
    const error = fromErrorData(data)
    // An application's own Error.prepareStackTrace may have made anything of it.
    const frames = String(this.#trace.stack).split('\n').slice(1).join('\n')
    error.stack = `${error.name} [${error.code}]: ${error.message}\n${frames}`
    return error
  }

  /** An OctavoError from elsewhere, with this stack; anything else passes through. */
  adopt(error: unknown): unknown {
    if (!(error instanceof OctavoError)) return error
    const { code, message, details } = error
    return this.error({ code, message, details })
  }
}
