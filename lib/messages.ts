/**
 * What a conversation's prompt is made of: messages, tools, documents and a template's own options; their types and their checks.
 * A check gives a copy of plain data (JSON's), so that nothing a caller changes later reaches a prompt, and nothing but data reaches a
 * template. Keys that octavo does not know are kept: a template may. How a template wants its messages is another matter
 * (lib/text/message-shape.ts).
 */
import { checked, checkName, each, isObject, Mismatch, type Plain, plainCopy } from './base/plain-data.ts'
import * as z from './base/zod.ts'
import type { ToolDefinition, ToolSet } from './tools/tool-call.ts'
import { toolsSchema } from './tools/toolbox.ts'

export interface TextPart {
  type: 'text'
  text: string
}

/** A call of a tool, as an assistant's message holds it. `arguments`: an object, or one as JSON text, which OpenAI's API sends. */
export interface ToolCall {
  id?: string | undefined
  type?: string | undefined
  function?: { name: string; arguments?: unknown } | undefined
}

export interface KnownMessage {
  /** 'system', 'developer', 'user', 'assistant', 'tool', or what else the model's template knows. */
  role: string
  /** Text, or parts of text. An assistant's message that calls tools may have none. */
  content?: string | readonly TextPart[] | null | undefined
  name?: string | null | undefined
  /** Of an assistant's message: the tools that it called. */
  tool_calls?: readonly ToolCall[] | null | undefined
  /** Of a tool's message: the call that it answers. */
  tool_call_id?: string | null | undefined
  /** Of an assistant's message: what it thought before its answer. */
  reasoning_content?: string | null | undefined
}

/** One message of a conversation. Other keys are handed to the template. */
export type ChatMessage = KnownMessage | (KnownMessage & Record<string, unknown>)

/** A function that the model may call. */
// biome-ignore lint/suspicious/noExplicitAny: what it takes, its parameters say
export interface FunctionTool extends ToolDefinition<any> {
  name: string
}

/** As OpenAI's API has it, or bare. */
export type Tool = { type: 'function'; function: FunctionTool } | (FunctionTool & { type?: 'function' | undefined })

/** What a chat template is given beside messages. */
export interface ConversationOptions {
  /**
   * Functions that the model may call, by their names or in OpenAI's shape. It is the template that tells the model of them; what it calls
   * comes apart from its text.
   */
  tools?: readonly Tool[] | ToolSet | undefined
  /** Documents to answer from, for templates that know them; `{ title, text }` as a rule. */
  documents?: readonly object[] | undefined
  /** Variables of the template by their names, `{ enable_thinking: false }` for example. */
  templateOptions?: Record<string, unknown> | undefined
  /** A Jinja template, used instead of the model's. */
  chatTemplate?: string | undefined
}

export interface RenderOptions extends ConversationOptions {
  /** A conversation, rendered with the model's chat template. */
  messages: readonly ChatMessage[]
  /** Whether the prompt ends with the beginning of an answer. Default true. */
  addGenerationPrompt?: boolean | undefined
  /** Whether the last message, an assistant's, is left open: the generation's text is what comes after it. Default false. */
  continueFinalMessage?: boolean | undefined
}

/** A conversation as the model gets it. */
export interface RenderedPrompt {
  /** Control tokens are spelled by name; what looks like one in a message is text, and `tokens` tells the two apart. */
  text: string
  tokens: number[]
}

/** A message that was checked. */
export interface CheckedMessage {
  role: string
  content: string | TextPart[] | null
  [key: string]: unknown
}

const contentText = 'text or parts of text'

/** Kinds of parts that other models read. */
const otherParts: Record<string, string> = {
  ...{ image: 'images', image_url: 'images', input_image: 'images', video: 'videos', video_url: 'videos' },
  ...{ audio: 'sound', audio_url: 'sound', input_audio: 'sound', file: 'files', input_file: 'files' },
}

function checkMessage(value: unknown, at: PropertyKey[] = []): CheckedMessage {
  if (!isObject(value)) throw new Mismatch(at, 'a message: an object with role and content')
  const given = (value as { content?: unknown }).content ?? ''
  if (typeof given !== 'string' && !Array.isArray(given)) throw new Mismatch([...at, 'content'], contentText)
  const message = plainCopy(value, at) as { [key: string]: Plain } as CheckedMessage
  if (typeof message.role !== 'string') throw new Mismatch([...at, 'role'], 'a string')
  if (message.role === '') throw new Mismatch([...at, 'role'], 'a non-empty string')
  for (const key of ['name', 'tool_call_id', 'reasoning_content'])
    if (typeof (message[key] ?? '') !== 'string') throw new Mismatch([...at, key], 'a string')
  checkToolCalls(message.tool_calls, [...at, 'tool_calls'])
  const { content = null } = message
  if (content !== null) checkContent(content, [...at, 'content'])
  else if (!mayBeWithoutText(message))
    throw new Mismatch(
      [...at, 'content'],
      `${contentText} (none only where an assistant calls tools, thinks or refuses)`,
    )
  return { ...message, content }
}

/** As APIs send an assistant's message that has something else to say. */
function mayBeWithoutText({ role, tool_calls, reasoning_content, refusal, function_call }: CheckedMessage): boolean {
  const calls = Array.isArray(tool_calls) && tool_calls.length > 0
  return role === 'assistant' && (calls || [reasoning_content, refusal, function_call].some((other) => other != null))
}

function checkContent(content: unknown, at: PropertyKey[]): void {
  if (typeof content === 'string') return
  if (!Array.isArray(content)) throw new Mismatch(at, contentText)
  for (const [i, part] of content.entries()) {
    const { type, text } = (isObject(part) ? part : {}) as Partial<TextPart>
    if (type !== 'text') {
      const other = typeof type === 'string' && Object.hasOwn(otherParts, type) ? otherParts[type] : 'other parts'
      throw new Mismatch([...at, i, 'type'], `"text": this model reads text and no ${other}`)
    }
    if (typeof text !== 'string') throw new Mismatch([...at, i, 'text'], 'a string')
  }
}

function checkToolCalls(calls: unknown, at: PropertyKey[]): void {
  if (calls === undefined || calls === null) return
  if (!Array.isArray(calls)) throw new Mismatch(at, 'an array of tool calls')
  for (const [i, call] of calls.entries()) {
    if (!isObject(call)) throw new Mismatch([...at, i], 'a tool call: { id, type, function: { name, arguments } }')
    const { function: called } = call as ToolCall
    if (called === undefined) checkName(call, [...at, i])
    else checkName(called, [...at, i, 'function'])
  }
}

function checkDocument(value: unknown, at: PropertyKey[]): Plain {
  if (!isObject(value)) throw new Mismatch(at, 'an object')
  return plainCopy(value, at)
}

/** Variables of a template that have an option of their own. */
const ownOptions: Record<string, string> = {
  ...{ messages: 'messages', tools: 'tools', documents: 'documents', chat_template: 'chatTemplate' },
  ...{ add_generation_prompt: 'addGenerationPrompt', continue_final_message: 'continueFinalMessage' },
}

function checkTemplateOptions(value: unknown): Record<string, Plain> {
  if (!isObject(value)) throw new Mismatch([], "an object of the template's variables")
  for (const name of Object.keys(value))
    if (Object.hasOwn(ownOptions, name)) throw new Mismatch([name], `the option ${ownOptions[name]} instead`)
  return plainCopy(value) as Record<string, Plain>
}

const messagesText = 'an array of messages'
export const messageSchema = checked('a message', (value) => checkMessage(value))
export const messagesSchema = checked(messagesText, (value) => {
  const messages = each(messagesText, checkMessage)(value)
  if (messages.length === 0) throw new Mismatch([], 'at least one message')
  return messages
})
const documentsSchema = checked('an array of documents', each('an array of documents', checkDocument))
export const templateOptionsSchema = checked("an object of the template's variables", checkTemplateOptions)

/** What a session is told, or says: a text, its parts, a message, or several. */
export const turnMessagesSchema = checked('a text, parts of text, a message or messages', (value): CheckedMessage[] => {
  const isParts = Array.isArray(value) && value.length > 0 && !Object.hasOwn(Object(value[0]), 'role')
  if (typeof value === 'string' || isParts) {
    if (isParts) checkContent(value, [])
    return [{ role: 'user', content: plainCopy(value) as CheckedMessage['content'] }]
  }
  if (isObject(value)) return [checkMessage(value)]
  const messages = each('a text, parts of text, a message or messages', checkMessage)(value)
  if (messages.length === 0) throw new Mismatch([], 'at least one message')
  return messages
})

export const conversationShape = {
  tools: toolsSchema.optional(),
  documents: documentsSchema.optional(),
  templateOptions: templateOptionsSchema.optional(),
  chatTemplate: z.string().min(1).optional(),
}
export const promptEndShape = {
  addGenerationPrompt: z.boolean().optional(),
  continueFinalMessage: z.boolean().default(false),
}

/** What is wrong with how a conversation shall end: an option and what it expects. */
export function endMismatch(
  last: Pick<CheckedMessage, 'role' | 'content'> | undefined,
  {
    addGenerationPrompt,
    continueFinalMessage,
  }: { addGenerationPrompt?: boolean | undefined; continueFinalMessage: boolean },
): [option: string, expected: string] | undefined {
  if (!continueFinalMessage) return undefined
  if (addGenerationPrompt) return ['addGenerationPrompt', 'false, or continueFinalMessage: false']
  const isOpen = last?.role === 'assistant' && last.content !== null && last.content.length > 0
  return isOpen ? undefined : ['continueFinalMessage', "true only when the last message is an assistant's with a text"]
}

/** ConversationOptions, checked. */
export type CheckedConversation = z.output<z.ZodObject<typeof conversationShape>>

/** A message with the ids that the model generated for it, or for the rest of it; its reasoning and markers included. */
export interface VerbatimMessage extends CheckedMessage {
  tokens?: Int32Array
}

/** The message as others see it. */
export function withoutIds({ tokens, ...message }: VerbatimMessage): CheckedMessage {
  return tokens === undefined || tokens instanceof Int32Array ? message : { ...message, tokens }
}

/** Everything that a prompt is rendered from, checked. */
export interface Conversation extends CheckedConversation {
  messages: VerbatimMessage[]
  addGenerationPrompt?: boolean | undefined
  continueFinalMessage?: boolean | undefined
}
