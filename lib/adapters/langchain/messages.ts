/**
 * Messages of LangChain as messages of octavo, and answers of octavo as messages of LangChain: whole, or in chunks that join to the
 * same. Blocks of content that are not text go on as they are: octavo refuses them by name and place.
 */
import {
  AIMessage,
  AIMessageChunk,
  type BaseMessage,
  type ChatMessage as NamedMessage,
  type ToolMessage,
  type UsageMetadata,
} from '@langchain/core/messages'
import type { AnyCall, ChatMessage, GenerationPart, GenerationResult, TextPart } from '../../index.ts'

export const messagesOf = (messages: BaseMessage[]): ChatMessage[] => messages.map(messageOf)

function messageOf(message: BaseMessage): ChatMessage {
  const named = message.name === undefined ? {} : { name: message.name }
  switch (message.type) {
    case 'ai':
      return { ...answerOf(message as AIMessage), ...named }
    case 'human':
      return { role: 'user', content: contentOf(message), ...named }
    case 'tool':
      return {
        role: 'tool',
        content: contentOf(message),
        tool_call_id: (message as ToolMessage).tool_call_id,
        ...named,
      }
    case 'function':
      return { role: 'tool', content: contentOf(message), ...named }
    case 'generic':
      return { role: (message as NamedMessage).role, content: contentOf(message), ...named }
    default:
      return { role: message.type, content: contentOf(message), ...named }
  }
}

type Block = { type: string; text?: unknown; reasoning?: unknown }

function contentOf({ content }: BaseMessage): string | TextPart[] {
  if (typeof content === 'string') return content
  return (content as Block[]).map((block) =>
    block.type === 'text' ? { type: block.type, text: block.text as string } : (block as unknown as TextPart),
  )
}

/** What it says of calls in blocks it says in `tool_calls`, too. */
const callBlocks = new Set(['tool_call', 'tool_use', 'invalid_tool_call', 'tool_call_chunk', 'function_call'])

function answerOf(message: AIMessage): ChatMessage {
  const blocks = typeof message.content === 'string' ? [] : (message.content as Block[])
  const thought = blocks.flatMap(({ type, reasoning }) => (type === 'reasoning' ? [String(reasoning ?? '')] : []))
  const reasoning = thought.join('') || message.additional_kwargs.reasoning_content
  const said = blocks.filter(({ type }) => type !== 'reasoning' && !callBlocks.has(type))
  const isText = said.every(({ type, text }) => type === 'text' && typeof text === 'string')
  const content = typeof message.content === 'string' ? message.content : isText ? textsOf(said) : (said as TextPart[])
  const calls = [
    ...(message.tool_calls ?? []),
    // Of arguments that are no JSON no template could make anything.
    ...(message.invalid_tool_calls ?? []).map(({ id, name, args }) => ({ id, name, args: objectIn(args ?? '') ?? {} })),
  ].map(({ id, name, args }) => ({
    ...(id !== undefined && { id }),
    ...{ type: 'function', function: { name: name || 'unknown', arguments: args } },
  }))
  return {
    ...{ role: 'assistant', content },
    ...(typeof reasoning === 'string' && { reasoning_content: reasoning }),
    ...(calls.length > 0 && { tool_calls: calls }),
  }
}

const textsOf = (blocks: Block[]): string => blocks.map(({ text }) => text).join('')

function objectIn(text: string): Record<string, unknown> | undefined {
  try {
    const value = JSON.parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : undefined
  } catch {
    return undefined
  }
}

const reasoningOf = (reasoning: string | undefined) => (reasoning ? { reasoning_content: reasoning } : {})

/** A whole answer. Calls of no tool that there is, or with other arguments, are calls to LangChain, which answers them itself. */
export function answerMessage(result: GenerationResult, model: string): AIMessage {
  const { text, reasoning, toolCalls = [] } = result
  const read = toolCalls.map((call) => ({ call, args: argumentsOf(call) }))
  return new AIMessage({
    content: text,
    additional_kwargs: reasoningOf(reasoning),
    tool_calls: read.flatMap(({ call: { id, name }, args }) => (args ? [{ type: 'tool_call', id, name, args }] : [])),
    invalid_tool_calls: read.flatMap(({ call, args }) => (args ? [] : [invalidCall(call)])),
    ...endOf(result, model),
  })
}

function argumentsOf(call: AnyCall): Record<string, unknown> | undefined {
  if (!call.invalid) return call.arguments
  return call.name === '' || call.reason === 'unfinished' ? undefined : objectIn(call.argumentsText)
}

const invalidCall = (call: AnyCall) => ({
  ...{ type: 'invalid_tool_call' as const, id: call.id, name: call.name, args: call.argumentsText },
  ...(call.invalid && { error: call.message }),
})

/**
 * LangChain mends joined arguments that are cut short, and would have a tool run with what is left of them. Behind no beginning of a
 * JSON text can this come: so the call is an invalid one, as it is in a whole answer.
 */
const cutOff = '"" (cut off)'

export function partChunk({ text, reasoning, toolCall }: GenerationPart): AIMessageChunk {
  const fields = { content: text, additional_kwargs: reasoningOf(reasoning) }
  if (toolCall === undefined) return new AIMessageChunk(fields)
  const { index, id, name, argumentsDelta, call } = toolCall
  const isWhole = !call?.invalid || call.reason === 'arguments' || call.reason === 'unknown'
  const args = isWhole ? argumentsDelta : argumentsDelta + cutOff
  const chunk = { type: 'tool_call_chunk' as const, index, id, name, args }
  return new AIMessageChunk({ ...fields, tool_call_chunks: [chunk] })
}

/** The last chunk of an answer: what is known at its end. */
export const endChunk = (result: GenerationResult, model: string): AIMessageChunk =>
  new AIMessageChunk({ content: '', ...endOf(result, model) })

const reasons = { stop: 'stop', length: 'length', cancelled: 'cancelled', toolCalls: 'tool_calls' } as const

function endOf({ usage, finishReason, seed, timings, stop, reasoningTokens = [] }: GenerationResult, model: string) {
  const { promptTokens, cachedTokens, completionTokens } = usage
  const counts: UsageMetadata = {
    ...{ input_tokens: promptTokens, output_tokens: completionTokens, total_tokens: promptTokens + completionTokens },
    input_token_details: { cache_read: cachedTokens },
    output_token_details: { reasoning: reasoningTokens.length },
  }
  return {
    // LangChain infers no type of it where optional properties are exact.
    usage_metadata: counts as never,
    response_metadata: {
      ...{ model_provider: 'octavo', model_name: model, finish_reason: reasons[finishReason] },
      ...{ seed, timings, ...(stop && { stop }) },
    },
  }
}
