/**
 * What the AI SDK asks for as options of `engine.generate`. What octavo cannot do is a warning where it is a wish, as the SDK has it;
 * values that are not what an option expects are INVALID_ARGUMENT, as ever.
 */
import type { LanguageModelV3CallOptions, SharedV3Warning } from '@ai-sdk/provider'
import type { GenerateOptions } from '../../index.ts'
import { given, type OctavoSettings } from '../settings.ts'
import { messagesOf } from './prompt.ts'

interface Request {
  options: GenerateOptions
  warnings: SharedV3Warning[]
}

export function requestOf(call: LanguageModelV3CallOptions, settings: OctavoSettings): Request {
  const warnings: SharedV3Warning[] = []
  const options: GenerateOptions = {
    ...settings,
    ...call.providerOptions?.octavo,
    ...given({
      ...{ maxTokens: call.maxOutputTokens, temperature: call.temperature, topK: call.topK, topP: call.topP },
      ...{ presencePenalty: call.presencePenalty, frequencyPenalty: call.frequencyPenalty },
      ...{ seed: call.seed, stop: call.stopSequences, signal: call.abortSignal },
      ...formOf(call, warnings),
    }),
    messages: messagesOf(call.prompt, warnings),
  }
  // Of the fourth specification, which ai 7 speaks.
  const { reasoning = 'provider-default' } = call as { reasoning?: string }
  if (reasoning !== 'provider-default')
    warnings.push({
      ...{ type: 'unsupported', feature: 'reasoning' },
      details: 'Templates have options of their own for it: providerOptions.octavo.templateOptions',
    })
  return { options, warnings }
}

/** What the answer shall be: text, calls of tools, or JSON; without a schema JSON of any kind. */
function formOf(call: LanguageModelV3CallOptions, warnings: SharedV3Warning[]) {
  const { responseFormat, toolChoice: { type: choice } = { type: 'auto' } } = call
  const tools = toolsOf(call, warnings)
  const toolChoice = call.toolChoice?.type === 'tool' ? { name: call.toolChoice.toolName } : choice
  const told = tools.length === 0 ? {} : { tools, ...(toolChoice !== 'auto' && { toolChoice }) }
  const mustCall = tools.length > 0 && (choice === 'required' || choice === 'tool')
  if (responseFormat?.type !== 'json' || mustCall) return told
  return { ...told, schema: responseFormat.schema ?? true }
}

function toolsOf({ tools = [] }: LanguageModelV3CallOptions, warnings: SharedV3Warning[]) {
  return tools.flatMap((tool) => {
    if (tool.type === 'function')
      return [{ name: tool.name, description: tool.description, parameters: tool.inputSchema }]
    warnings.push({ type: 'unsupported', feature: `tool ${tool.id}`, details: 'Only functions can be called.' })
    return []
  })
}
