/**
 * Errors as OpenAI's API has them: a status, and `{ error: { message, type, param, code } }`. Of octavo's own codes one table says what
 * they are over HTTP; a field that is wrong is named as the client wrote it.
 */
import type { ErrorCode, ErrorDetails, OctavoError } from '../../base/errors.ts'

export type ErrorType =
  | ('invalid_request_error' | 'authentication_error' | 'permission_error' | 'not_found_error')
  | ('rate_limit_error' | 'overloaded_error' | 'timeout_error' | 'server_error')

export interface ErrorBody {
  error: { message: string; type: ErrorType; param: string | null; code: string | null }
}

/** An error with a status of its own. */
export class HttpError extends Error {
  readonly status: number
  readonly type: ErrorType
  readonly code: string | null
  readonly param: string | null
  /** Milliseconds after which it is worth trying again. */
  readonly retryAfterMs: number | undefined

  constructor(
    status: number,
    type: ErrorType,
    message: string,
    more: { code?: string | null; param?: string | null; retryAfterMs?: number | undefined } = {},
  ) {
    super(message)
    this.status = status
    this.type = type
    this.code = more.code ?? null
    this.param = more.param ?? null
    this.retryAfterMs = more.retryAfterMs
  }
}

interface Row {
  status: number
  type: ErrorType
  /** As OpenAI calls it. Default: octavo's code in small letters. */
  code?: string
  /** Tried again after so long, where the error does not say. */
  retryAfterMs?: number
}

const request = { status: 400, type: 'invalid_request_error' } as const
/** The client can do nothing about it, and need not know more. */
const broken = { status: 500, type: 'server_error' } as const

const rows: Record<ErrorCode, Row> = {
  INVALID_ARGUMENT: { ...request, code: 'invalid_value' },
  CONTEXT_OVERFLOW: { ...request, code: 'context_length_exceeded' },
  TEMPLATE_ERROR: request,
  NO_CHAT_TEMPLATE: request,
  SCHEMA_UNSUPPORTED: { ...request, code: 'schema_unsupported' },
  GRAMMAR_STUCK: request,
  OVERLOADED: { status: 503, type: 'overloaded_error' },
  OUT_OF_MEMORY: { status: 503, type: 'overloaded_error', retryAfterMs: 1000 },
  ENGINE_FAILED: { status: 503, type: 'server_error', retryAfterMs: 5000 },
  ENGINE_CLOSED: { status: 503, type: 'server_error', retryAfterMs: 5000 },
  INTERRUPTED: { status: 503, type: 'server_error', retryAfterMs: 1000 },
  DEADLINE_EXCEEDED: { status: 504, type: 'timeout_error' },
  CONSUMER_TIMEOUT: { status: 408, type: 'timeout_error' },
  ...{ FILE_NOT_FOUND: broken, IO_ERROR: broken, MODEL_INVALID: broken, MODEL_UNSUPPORTED: broken },
  ...{ OBJECT_INVALID: broken, SESSION_BUSY: broken, SESSION_INVALID: broken, SESSION_CLOSED: broken },
  ...{
    NUMERIC_ERROR: broken,
    DEVICE_UNAVAILABLE: broken,
    PLATFORM_UNSUPPORTED: broken,
    BUNDLED: broken,
    INTERNAL: broken,
  },
}

/** How the fields of a request are called that became options. */
export type NameOf = (option: string) => string

/** Any error as what a client is told. */
export function httpError(error: unknown, nameOf: NameOf = (option) => option): HttpError {
  if (error instanceof HttpError) return error
  if (isOctavo(error)) return ofEngine(error, nameOf)
  return ofFastify(error) ?? new HttpError(500, 'server_error', internal, { code: 'internal' })
}

/** Of whatever copy of octavo. */
const isOctavo = (error: unknown): error is OctavoError =>
  error instanceof Error && Object.hasOwn(rows, String((error as Partial<OctavoError>).code))

const internal = 'The server had an error while it worked on the request. Its log has it under the id of the request.'

function ofEngine({ code, message, details = {} }: OctavoError, nameOf: NameOf): HttpError {
  const row = rows[code]
  const isHidden = row.status === 500
  const param = paramOf(code, details, nameOf)
  const option = details.option
  const named = typeof option === 'string' ? message.replace(`Option ${option}:`, `${param}:`) : message
  const told = named.replace(/found undefined\.$/, 'found nothing.')
  const retryAfterMs = typeof details.retryAfterMs === 'number' ? details.retryAfterMs : row.retryAfterMs
  return new HttpError(row.status, row.type, isHidden ? internal : told, {
    ...{ code: row.code ?? code.toLowerCase(), param, retryAfterMs },
  })
}

function paramOf(code: ErrorCode, { option }: ErrorDetails, nameOf: NameOf): string | null {
  if (code === 'SCHEMA_UNSUPPORTED') return nameOf('form')
  if (code === 'CONTEXT_OVERFLOW' || code === 'TEMPLATE_ERROR' || code === 'NO_CHAT_TEMPLATE') return nameOf('prompt')
  if (typeof option !== 'string') return null
  const [head, ...rest] = option.split(/[.[]/)
  return nameOf(head!) + option.slice(head!.length, rest.length === 0 ? undefined : option.length)
}

/** What Fastify says of a request that it could not read, by its codes. */
const unreadable: Record<string, [code: string, message?: string]> = {
  FST_ERR_CTP_INVALID_JSON_BODY: ['invalid_json', 'The body is no JSON.'],
  FST_ERR_CTP_EMPTY_JSON_BODY: ['invalid_json', 'The body is empty.'],
  FST_ERR_CTP_BODY_TOO_LARGE: ['body_too_large', 'The body is larger than this server takes.'],
  FST_ERR_CTP_INVALID_MEDIA_TYPE: ['unsupported_media_type', 'Send JSON: content-type: application/json.'],
}

function ofFastify(error: unknown): HttpError | undefined {
  const { statusCode, message = '', code = '' } = error as { statusCode?: unknown; message?: string; code?: string }
  if (typeof statusCode !== 'number' || statusCode < 400 || statusCode > 499) return undefined
  const [name, told] = Object.hasOwn(unreadable, code) ? unreadable[code]! : ['unreadable']
  return new HttpError(statusCode, 'invalid_request_error', told ?? message, { code: name })
}

export const errorBody = ({ message, type, param, code }: HttpError): ErrorBody => ({
  error: { message, type, param, code },
})

/** Seconds, as the standard has it, and milliseconds, which OpenAI's clients prefer. */
export function retryHeaders({ retryAfterMs }: HttpError): Record<string, string> {
  if (retryAfterMs === undefined) return {}
  const ms = Math.max(1, Math.ceil(retryAfterMs))
  return { 'retry-after': String(Math.ceil(ms / 1000)), 'retry-after-ms': String(ms) }
}
