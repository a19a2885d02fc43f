/**
 * Items of /v1/responses: what a conversation and an answer are made of there. Those of a request become messages; a call and what an assistant
 * said before it are one message, as templates have it.
 */
import type { GenerateOptions, GenerationPart, GenerationResult } from '../../index.ts'
import { newId } from '../service/asked.ts'
import { HttpError } from '../service/errors.ts'

type Message = Record<string, unknown> & { role: string }

export interface Item {
  type: 'reasoning' | 'message' | 'function_call'
  id: string
  [key: string]: unknown
}

export function messagesOf(
  input: string | unknown[],
  instructions: string | undefined,
): NonNullable<GenerateOptions['messages']> {
  const messages: Message[] = instructions === undefined ? [] : [{ role: 'system', content: instructions }]
  if (typeof input === 'string') messages.push({ role: 'user', content: input })
  else for (const [i, item] of input.entries()) add(messages, item, i)
  return messages as NonNullable<GenerateOptions['messages']>
}

const wrong = (i: number, path: string, expected: string) => {
  const param = `input.${i}${path}`
  return new HttpError(400, 'invalid_request_error', `${param}: expected ${expected}.`, {
    code: 'invalid_value',
    param,
  })
}

function add(messages: Message[], item: unknown, i: number): void {
  if (typeof item !== 'object' || item === null || Array.isArray(item)) throw wrong(i, '', 'an item: an object')
  const given = item as Record<string, unknown>
  const { type = 'message' } = given
  switch (type) {
    case 'message':
      messages.push(messageOf(given, i))
      return
    case 'reasoning':
      messages.push({ role: 'assistant', content: '', reasoning_content: textOf(given.content ?? [], i, '.content') })
      return
    case 'function_call': {
      const call = { id: given.call_id, type: 'function', function: { name: given.name, arguments: given.arguments } }
      const last = assistant(messages)
      last.tool_calls = [...((last.tool_calls as unknown[]) ?? []), call]
      return
    }
    case 'function_call_output': {
      const content = typeof given.output === 'string' ? given.output : textOf(given.output, i, '.output')
      messages.push({ role: 'tool', tool_call_id: given.call_id, content })
      return
    }
    default:
      throw wrong(i, '.type', '"message", "function_call", "function_call_output" or "reasoning"')
  }
}

function messageOf({ role, content }: Record<string, unknown>, i: number): Message {
  if (typeof role !== 'string') throw wrong(i, '.role', 'a string')
  return { role, content: typeof content === 'string' ? content : textOf(content, i, '.content') }
}

/** The assistant's turn that a call belongs to. */
function assistant(messages: Message[]): Message {
  const last = messages.at(-1)
  if (last?.role === 'assistant') return last
  const made = { role: 'assistant', content: '' }
  messages.push(made)
  return made
}

const textTypes = ['input_text', 'output_text', 'text', 'reasoning_text', 'summary_text']

function textOf(parts: unknown, i: number, path: string): string {
  if (!Array.isArray(parts)) throw wrong(i, path, 'text or parts of text')
  return parts
    .map((part, k) => {
      const { type, text } = (part ?? {}) as { type?: unknown; text?: unknown }
      if (!textTypes.includes(type as string) || typeof text !== 'string')
        throw wrong(i, `${path}.${k}`, 'a part of text: this model reads text alone')
      return text
    })
    .join('')
}

/** An item while its pieces come. */
export interface OpenItem {
  type: Item['type']
  id: string
  /** Of the answer's calls. */
  callIndex: number | undefined
  text: string
  /** Names of its events, and how the last one calls the text. */
  events: { delta: string; done: string; text: string }
  item(status: 'in_progress' | 'completed'): Item
  /** What it has in its content; a call has none. */
  part(text: string): object | undefined
}

const events = {
  message: { delta: 'response.output_text.delta', done: 'response.output_text.done', text: 'text' },
  reasoning: { delta: 'response.reasoning_text.delta', done: 'response.reasoning_text.done', text: 'text' },
  function_call: {
    ...{ delta: 'response.function_call_arguments.delta', done: 'response.function_call_arguments.done' },
    text: 'arguments',
  },
}
const prefixes = { message: 'msg', reasoning: 'rs', function_call: 'fc' }

export function openItem(type: Item['type'], call?: NonNullable<GenerationPart['toolCall']>): OpenItem {
  const id = newId(prefixes[type])
  const made: OpenItem = {
    ...{ type, id, callIndex: call?.index, text: '', events: events[type] },
    item: (status) => itemOf(type, id, status, status === 'completed' ? made.text : '', call),
    part: (text) => (type === 'function_call' ? undefined : partOf(type, text)),
  }
  return made
}

const partOf = (type: 'message' | 'reasoning', text: string): object =>
  type === 'message' ? { type: 'output_text', text, annotations: [], logprobs: [] } : { type: 'reasoning_text', text }

function itemOf(
  type: Item['type'],
  id: string,
  status: 'in_progress' | 'completed',
  text: string,
  call?: { id: string; name: string },
): Item {
  if (type === 'function_call')
    return { type, id, status, call_id: call!.id, name: call!.name || 'unknown', arguments: text }
  const content = status === 'completed' ? [partOf(type, text)] : []
  if (type === 'reasoning') return { type, id, status, summary: [], content }
  return { type, id, status, role: 'assistant', content }
}

/** Of an answer that came as a whole. */
export function itemsOf({ text, reasoning = '', toolCalls = [] }: GenerationResult): Item[] {
  return [
    ...(reasoning === '' ? [] : [itemOf('reasoning', newId('rs'), 'completed', reasoning)]),
    ...(text === '' && toolCalls.length > 0 ? [] : [itemOf('message', newId('msg'), 'completed', text)]),
    ...toolCalls.map((call) => itemOf('function_call', newId('fc'), 'completed', call.argumentsText, call)),
  ]
}
