/**
 * A generation as the AI SDK wants it: content, usage and the reason of its end; or a stream of blocks, each of which begins, has its
 * pieces, and ends. The stream is pulled: a slow reader pauses the generation, one that leaves cancels it.
 */
import type {
  JSONObject,
  LanguageModelV3Content,
  LanguageModelV3FinishReason,
  LanguageModelV3StreamPart,
  LanguageModelV3ToolCall,
  LanguageModelV3Usage,
} from '@ai-sdk/provider'
import type { AnyCall, GenerationPart, GenerationResult, ToolCallDelta } from '../../index.ts'

const unified = { stop: 'stop', length: 'length', cancelled: 'other', toolCalls: 'tool-calls' } as const

/** What is known at the end. */
function endOf(result: GenerationResult) {
  const { finishReason, stop, timings, seed, usage, reasoningTokens = [] } = result
  const { promptTokens, cachedTokens, completionTokens } = usage
  return {
    finishReason: { unified: unified[finishReason], raw: finishReason } satisfies LanguageModelV3FinishReason,
    usage: {
      inputTokens: {
        ...{ total: promptTokens, cacheRead: cachedTokens, noCache: promptTokens - cachedTokens },
        cacheWrite: undefined,
      },
      outputTokens: {
        ...{ total: completionTokens, reasoning: reasoningTokens.length },
        text: completionTokens - reasoningTokens.length,
      },
    } satisfies LanguageModelV3Usage,
    providerMetadata: {
      octavo: { seed, timings: plainTimings(timings), ...(stop && { stop: { ...stop } }) } satisfies JSONObject,
    },
  }
}

/** Interfaces are no JSON objects to the type checker; copies of their fields are. */
function plainTimings({ speculation, ...timings }: GenerationResult['timings']): JSONObject {
  return { ...timings, ...(speculation && { speculation: { ...speculation } }) }
}

export function generateResult(result: GenerationResult) {
  const { text, reasoning = '', toolCalls = [] } = result
  const content: LanguageModelV3Content[] = [
    ...(reasoning === '' ? [] : [{ type: 'reasoning' as const, text: reasoning }]),
    ...(text === '' ? [] : [{ type: 'text' as const, text }]),
    ...toolCalls.flatMap(callPart),
  ]
  return { content, ...endOf(result) }
}

/** A call that the end cut apart is nobody's to run. What else is wrong with one the SDK finds, and tells the model. */
function callPart(call: AnyCall): LanguageModelV3ToolCall[] {
  if (call.invalid && call.reason === 'unfinished') return []
  return [{ type: 'tool-call', toolCallId: call.id, toolName: call.name, input: call.argumentsText }]
}

interface StreamSource {
  /** Comes before everything. */
  head: LanguageModelV3StreamPart[]
  first: IteratorResult<GenerationPart, undefined>
  /** Those after the first. */
  parts: AsyncIterator<GenerationPart, undefined>
  result: Promise<GenerationResult>
  signal: AbortSignal | undefined
}

export function streamOf({
  head,
  first,
  parts,
  result,
  signal,
}: StreamSource): ReadableStream<LanguageModelV3StreamPart> {
  const blocks = new Blocks()
  let next: typeof first | undefined = first
  const read = async (): Promise<[parts: LanguageModelV3StreamPart[], isLast: boolean]> => {
    const { done, value } = next ?? (await parts.next())
    next = undefined
    if (!done) return [blocks.of(value), false]
    return [[...blocks.close(), { type: 'finish', ...endOf(await result) }], true]
  }
  return new ReadableStream<LanguageModelV3StreamPart>(
    {
      start(controller) {
        for (const part of head) controller.enqueue(part)
      },
      async pull(controller) {
        try {
          // Pull is not called again for a part that gave nothing.
          for (;;) {
            const [made, isLast] = await read()
            for (const part of made) controller.enqueue(part)
            if (isLast) return controller.close()
            if (made.length > 0) return
          }
        } catch (error) {
          if (signal?.aborted) return controller.error(error)
          controller.enqueue({ type: 'error', error })
          controller.enqueue({
            type: 'finish',
            finishReason: { unified: 'error', raw: codeOf(error) },
            usage: unknownUsage,
          })
          controller.close()
        }
      },
      async cancel() {
        await parts.return?.()
      },
    },
    { highWaterMark: 0 },
  )
}

const codeOf = (error: unknown) => (error as { code?: string }).code

const unknownUsage: LanguageModelV3Usage = {
  inputTokens: { total: undefined, noCache: undefined, cacheRead: undefined, cacheWrite: undefined },
  outputTokens: { total: undefined, text: undefined, reasoning: undefined },
}

/** Text and reasoning by turns, each turn a block with an id of its own; calls between them. */
class Blocks {
  #open: 'text' | 'reasoning' | undefined
  #count = 0
  /** Index of the call whose input has begun. */
  #call = -1

  of({ text, reasoning = '', toolCall }: GenerationPart): LanguageModelV3StreamPart[] {
    return [
      ...this.#piece('reasoning', reasoning),
      ...this.#piece('text', text),
      ...(toolCall === undefined ? [] : this.#callPiece(toolCall)),
    ]
  }

  close(): LanguageModelV3StreamPart[] {
    const open = this.#open
    this.#open = undefined
    return open === undefined ? [] : [{ type: `${open}-end`, id: String(this.#count) }]
  }

  #piece(kind: 'text' | 'reasoning', delta: string): LanguageModelV3StreamPart[] {
    if (delta === '') return []
    const before: LanguageModelV3StreamPart[] = []
    if (this.#open !== kind) {
      before.push(...this.close())
      this.#open = kind
      before.push({ type: `${kind}-start`, id: String(++this.#count) })
    }
    return [...before, { type: `${kind}-delta`, id: String(this.#count), delta }]
  }

  #callPiece({ index, id, name, argumentsDelta, call }: ToolCallDelta): LanguageModelV3StreamPart[] {
    const isNew = index !== this.#call
    this.#call = index
    return [
      ...(isNew ? [...this.close(), { type: 'tool-input-start' as const, id, toolName: name }] : []),
      ...(argumentsDelta === '' ? [] : [{ type: 'tool-input-delta' as const, id, delta: argumentsDelta }]),
      ...(call === undefined ? [] : [{ type: 'tool-input-end' as const, id }, ...callPart(call)]),
    ]
  }
}
