/** Every error octavo throws or rejects with: one class, a table of stable codes. */

interface CodeRow {
  /** What happened, for the documentation. */
  meaning: string
  /** Whether the same call may succeed later without a change. */
  retryable: boolean
}

/** Stable error codes. */
export const errorCodes = {
  INVALID_ARGUMENT: { meaning: 'An option or argument is not what was expected.', retryable: false },
  FILE_NOT_FOUND: { meaning: 'A file does not exist.', retryable: false },
  IO_ERROR: { meaning: 'The operating system refused a read or write.', retryable: true },
  MODEL_INVALID: { meaning: 'A model file breaks its own format.', retryable: false },
  MODEL_UNSUPPORTED: { meaning: 'A valid model that octavo cannot run.', retryable: false },
  DEVICE_UNAVAILABLE: {
    meaning: 'There is no device as it was asked for; details say what there is.',
    retryable: false,
  },
  OUT_OF_MEMORY: { meaning: 'Weights, KV cache or buffers do not fit.', retryable: false },
  CONTEXT_OVERFLOW: { meaning: 'Prompt and requested tokens exceed contextTokens.', retryable: false },
  TEMPLATE_ERROR: { meaning: "The model's chat template failed, ran too long or produced too much.", retryable: false },
  NO_CHAT_TEMPLATE: { meaning: 'Messages were given but the model has no chat template.', retryable: false },
  SCHEMA_UNSUPPORTED: {
    meaning: 'A schema or grammar that cannot be enforced exactly; details.keyword and details.path name the part.',
    retryable: false,
  },
  GRAMMAR_STUCK: {
    meaning: 'No token continues a text of the grammar: bans, or a vocabulary without the characters, leave none.',
    retryable: false,
  },
  OBJECT_INVALID: {
    meaning: "The answer is complete but the schema's own checks refuse it; details.text is the answer.",
    retryable: true,
  },
  SESSION_BUSY: { meaning: 'A session was asked for a second turn while one runs.', retryable: true },
  SESSION_INVALID: {
    meaning: 'A session file is damaged, of another version, or made with another model or numerics.',
    retryable: false,
  },
  SESSION_CLOSED: { meaning: 'A closed session was used.', retryable: false },
  ENGINE_CLOSED: { meaning: 'The engine was closed.', retryable: false },
  OVERLOADED: { meaning: 'The queue is full; details.retryAfterMs estimates when it is not.', retryable: true },
  DEADLINE_EXCEEDED: { meaning: 'A deadline of the request passed, or could not be met.', retryable: true },
  CONSUMER_TIMEOUT: {
    meaning: 'A reader read nothing for idleTimeoutMs while output waited for it.',
    retryable: false,
  },
  ENGINE_FAILED: { meaning: "The engine's thread, process or device died: a new engine may succeed.", retryable: true },
  NUMERIC_ERROR: { meaning: 'The model produced logits without a finite value.', retryable: false },
  INTERRUPTED: { meaning: 'A step was discarded.', retryable: true },
  PLATFORM_UNSUPPORTED: { meaning: 'There is no octavo build for this platform.', retryable: false },
  BUNDLED: { meaning: 'In a bundle octavo does not find its files: leave it external.', retryable: false },
  INTERNAL: { meaning: 'A broken invariant of octavo itself: please report it.', retryable: false },
} as const satisfies Record<string, CodeRow>

export type ErrorCode = keyof typeof errorCodes

export type ErrorDetails = Record<string, unknown>

/** An error with a stable `code`, machine-readable `details` and whether a retry can help. */
export class OctavoError extends Error {
  override readonly name = 'OctavoError'
  readonly code: ErrorCode
  readonly details: ErrorDetails
  readonly retryable: boolean

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}, options?: ErrorOptions) {
    super(message, options)
    this.code = code
    this.details = details
    this.retryable = errorCodes[code].retryable
  }
}

/** An error as it travels between threads: plain data. */
export interface ErrorData {
  code: ErrorCode
  message: string
  details: ErrorDetails
}

const isCode = (value: unknown): value is ErrorCode => typeof value === 'string' && Object.hasOwn(errorCodes, value)

/** Anything thrown -> plain data. Native errors carry `code` and `details`; others become INTERNAL. */
export function toErrorData(error: unknown): ErrorData {
  if (error instanceof Error) {
    const { code, details } = error as Error & { code?: unknown; details?: ErrorDetails }
    if (isCode(code)) return { code, message: error.message, details: details ?? {} }
    return { code: 'INTERNAL', message: error.message, details: { cause: error.stack ?? String(error) } }
  }
  return { code: 'INTERNAL', message: String(error), details: {} }
}

/** Plain data -> error, with the stack of the caller of this function. */
export function fromErrorData(data: ErrorData): OctavoError {
  return new OctavoError(data.code, data.message, data.details)
}

/** Anything thrown -> OctavoError; an OctavoError passes through. */
export function toOctavoError(error: unknown): OctavoError {
  return error instanceof OctavoError ? error : fromErrorData(toErrorData(error))
}
