/**
 * Messages in the shape that a template expects. APIs send one conversation in several ways, templates were written for one of them,
 * and their source tells which. (Whether it takes content apart into parts is seen by jinja/content-format.ts.) As vLLM and
 * transformers have it:
 *
 *   no content      none where the template asks for that, else an empty text
 *   arguments       of a tool call: an object, out of JSON text; text where the template adds it to other text
 *   developer       system, where the template knows no such role
 *
 * Known keys that say nothing (null, no tool calls) are left out, because templates ask whether they are there.
 */

interface Message {
  role: string
  content: unknown
  [key: string]: unknown
}

/** What a template's source shows of its expectations. */
export interface MessageShape {
  asksForNone: boolean
  addsArguments: boolean
  knowsDeveloper: boolean
}

/** The name of a value at the end of a path: `content`, `message.content`, `message['content']`. */
const ending = (name: string) => `\\b${name}\\b(?:['"]\\s*\\])?`
const none = new RegExp(`${ending('content')}\\s*(?:(?:is\\s+(?:not\\s+)?)|[!=]=\\s*)none\\b`, 'i')
const added = new RegExp(`[+~]\\s*[\\w.['"\\]]*?${ending('arguments')}\\s*(?:[+~}]|-\\}|[-+]?%\\})`)

export function messageShape(source: string): MessageShape {
  return {
    asksForNone: none.test(source),
    addsArguments: added.test(source),
    knowsDeveloper: /\bdeveloper\b/.test(source),
  }
}

/** The messages as the template gets them; keys that this file does not know stay. */
export function shapeMessage<M extends Message>(message: M, shape: MessageShape): M {
  const { role, content, tool_calls, name, tool_call_id, reasoning_content, ...rest } = message
  const calls = Array.isArray(tool_calls) && tool_calls.length > 0 ? tool_calls : undefined
  const optional = { name, tool_call_id, reasoning_content }
  return {
    role: role === 'developer' && !shape.knowsDeveloper ? 'system' : role,
    content: content === null && !shape.asksForNone ? '' : content,
    ...rest,
    ...Object.fromEntries(Object.entries(optional).filter(([, value]) => value != null)),
    ...(calls && { tool_calls: calls.map((call) => shapeCall(call as Call, shape)) }),
  } as unknown as M
}

interface Call {
  type?: string
  function?: { name: string; arguments?: unknown }
  [key: string]: unknown
}

/** In OpenAI's shape; a bare `{ name, arguments }` becomes one. */
function shapeCall(call: Call, { addsArguments }: MessageShape): Call {
  const { id, type = 'function', function: called, ...rest } = call
  const { arguments: given, ...about } = called ?? rest
  const outer = { ...(id != null && { id }), type, ...(called && rest) }
  return {
    ...outer,
    function: { ...about, arguments: addsArguments ? textOf(given) : objectOf(given) } as Call['function'] & object,
  }
}

const textOf = (given: unknown): string => (typeof given === 'string' ? given : JSON.stringify(given ?? {}))

/** What a model wrote may be no JSON: then it stays the text that it is. */
function objectOf(given: unknown): unknown {
  if (given === undefined || given === null || given === '') return {}
  if (typeof given !== 'string') return given
  try {
    const value: unknown = JSON.parse(given)
    return typeof value === 'object' && value !== null ? value : given
  } catch {
    return given
  }
}
