/**
 * A prompt of the AI SDK as messages of octavo. Its assistant's and tool's messages are made of typed parts, octavo's have fields.
 * What the models do not read (images, files) is left out, and a warning says so.
 */
import type { LanguageModelV3Message, LanguageModelV3Prompt, SharedV3Warning } from '@ai-sdk/provider'
import type { ChatMessage, TextPart } from '../../index.ts'

type PartsOf<R extends string> = Extract<LanguageModelV3Message, { role: R }>['content']
type ToolResult = Extract<PartsOf<'tool'>[number], { type: 'tool-result' }>

export function messagesOf(prompt: LanguageModelV3Prompt, warnings: SharedV3Warning[]): ChatMessage[] {
  const leaveOut: LeaveOut = (part) => {
    const { type, mediaType } = part as { type: string; mediaType?: string }
    const feature = mediaType === undefined ? `${type} part` : `${type} part ${mediaType}`
    if (!warnings.some((warning) => 'feature' in warning && warning.feature === feature))
      warnings.push({ type: 'unsupported', feature, details: 'The model reads text alone: it was left out.' })
  }
  return prompt.flatMap((message): ChatMessage[] => {
    if (message.role === 'system') return [{ role: 'system', content: message.content }]
    if (message.role === 'user') return [{ role: 'user', content: userContent(message.content, leaveOut) }]
    if (message.role === 'assistant') return assistantMessages(message.content, leaveOut)
    return message.content.flatMap((part) => (part.type === 'tool-result' ? [resultMessage(part, leaveOut)] : []))
  })
}

type LeaveOut = (part: { type: string }) => void

function userContent(parts: PartsOf<'user'>, leaveOut: LeaveOut): string | TextPart[] {
  const texts = parts.flatMap((part): TextPart[] => {
    if (part.type === 'text') return [{ type: 'text', text: part.text }]
    leaveOut(part)
    return []
  })
  return texts.length > 1 ? texts : (texts[0]?.text ?? '')
}

function assistantMessages(parts: PartsOf<'assistant'>, leaveOut: LeaveOut): ChatMessage[] {
  let text = ''
  let reasoning = ''
  const calls: NonNullable<ChatMessage['tool_calls']>[number][] = []
  // Of a tool that another provider ran.
  const results: ChatMessage[] = []
  for (const part of parts) {
    if (part.type === 'text') text += part.text
    else if (part.type === 'reasoning') reasoning += part.text
    else if (part.type === 'tool-call') {
      const { toolCallId, toolName, input } = part
      // A call that had no name: no template could make anything of that.
      calls.push({
        id: toolCallId,
        type: 'function',
        function: { name: toolName || 'unknown', arguments: input ?? {} },
      })
    } else if (part.type === 'tool-result') results.push(resultMessage(part, leaveOut))
    else leaveOut(part)
  }
  const message = {
    ...{ role: 'assistant', content: text },
    ...(reasoning !== '' && { reasoning_content: reasoning }),
    ...(calls.length > 0 && { tool_calls: calls }),
  }
  return [message, ...results]
}

function resultMessage({ toolCallId, toolName, output }: ToolResult, leaveOut: LeaveOut): ChatMessage {
  return { role: 'tool', tool_call_id: toolCallId, name: toolName || 'unknown', content: resultText(output, leaveOut) }
}

function resultText(output: ToolResult['output'], leaveOut: LeaveOut): string {
  switch (output.type) {
    case 'text':
    case 'error-text':
      return output.value
    case 'json':
    case 'error-json':
      return JSON.stringify(output.value)
    case 'execution-denied':
      return output.reason ?? 'The tool was not allowed to run.'
    case 'content':
      return output.value
        .flatMap((part) => {
          if (part.type === 'text') return [part.text]
          leaveOut(part)
          return []
        })
        .join('\n')
  }
}
