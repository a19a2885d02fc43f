/**
 * /v1/responses: OpenAI's newer way to ask, without a memory: every request brings its whole conversation as items (`previous_response_id`
 * is refused). What items are is in response-items.ts; here is what is asked for, and the events of an answer that comes in pieces.
 */
import type { FastifyReply, FastifyRequest } from 'fastify'
import * as z from '../../base/zod.ts'
import type { GenerateOptions, GenerationPart, GenerationResult } from '../../index.ts'
import { answer } from '../service/answers.ts'
import { type AnswerFormat, newId, usageOf } from '../service/asked.ts'
import { errorBody, type HttpError } from '../service/errors.ts'
import type { ServedModel } from '../service/models.ts'
import type { Service } from '../service/service.ts'
import { commonShape, missing, readBody, samplingOf, samplingShape } from './fields.ts'
import { type Item, itemsOf, messagesOf, type OpenItem, openItem } from './response-items.ts'

const { n: _, stream_options: __, max_tokens: ___, max_completion_tokens: ____, ...sampling } = samplingShape
const anything = z.unknown().optional()

export const responseShape = {
  ...commonShape,
  ...sampling,
  input: z.custom<string | unknown[]>(
    (value) => typeof value === 'string' || Array.isArray(value),
    'a text or an array of items',
  ),
  instructions: z.string().optional(),
  max_output_tokens: z.number().optional(),
  tools: z.custom<unknown[]>(Array.isArray, 'an array of tools').optional(),
  tool_choice: z
    .union([z.enum(['auto', 'none', 'required']), z.looseObject({ type: z.literal('function'), name: z.string() })], {
      error: "'auto', 'none', 'required' or a function: { type: 'function', name }",
    })
    .default('auto'),
  parallel_tool_calls: z.boolean().default(true),
  text: z
    .looseObject({
      format: z.looseObject({ type: z.enum(['text', 'json_object', 'json_schema']), schema: anything }).optional(),
    })
    .optional(),
  reasoning: z.looseObject({ effort: z.string().optional() }).optional(),
  chat_template_kwargs: z.record(z.string(), z.unknown()).optional(),
  previous_response_id: z.string().optional(),
  /** Known, and without effect here. */
  ...{ include: anything, truncation: anything, background: z.literal(false).optional(), stream_options: anything },
}

type Fields = z.output<z.ZodObject<typeof responseShape>>

export async function responses(service: Service, request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
  const { fields, warnings, nameOf } = readBody(responseShape, request.body)
  const { tenant } = service.of(request)
  const model = service.models.of(fields.model, tenant)
  if (fields.previous_response_id !== undefined)
    throw missing('previous_response_id', 'nothing: this server keeps no answers; send the whole conversation as input')
  const variables = {
    ...(fields.reasoning?.effort && { reasoning_effort: fields.reasoning.effort }),
    ...fields.chat_template_kwargs,
  }
  const options: GenerateOptions = {
    ...service.defaults,
    ...samplingOf(fields),
    messages: messagesOf(fields.input, fields.instructions),
    ...formAndTools(fields, warnings),
    ...(Object.keys(variables).length > 0 && { templateOptions: variables }),
    tenant: tenant.name,
  }
  return answer(service, request, reply, {
    ...{ operation: 'chat', model, stream: fields.stream, options, n: 1, warnings, nameOf },
    start: () => [model.engine.generate(options)],
    format: () => new ResponseFormat(model, fields),
  })
}

function formAndTools({ text, tools = [], tool_choice: choice }: Fields, warnings: string[]): Partial<GenerateOptions> {
  const { type = 'text', schema = true } = text?.format ?? {}
  const form = type === 'text' ? undefined : type === 'json_object' ? { type: 'object' } : schema
  const known = tools.filter((tool) => (tool as { type?: unknown } | null)?.type === 'function')
  if (known.length < tools.length) warnings.push('only tools that are functions can be called; others were ignored')
  const mustCall = choice === 'required' || typeof choice === 'object'
  if (known.length === 0 && mustCall) throw missing('tools', 'functions where tool_choice asks for a call')
  const told = known.length === 0 ? {} : { tools: known.map(toolOf) as NonNullable<GenerateOptions['tools']> }
  if (form !== undefined && !mustCall) {
    if (known.length > 0 && choice === 'auto')
      warnings.push('tools are not called where the answer has a form: call them first')
    return {
      schema: form as NonNullable<GenerateOptions['schema']>,
      ...told,
      ...(known.length > 0 && { toolChoice: 'none' }),
    }
  }
  const toolChoice = typeof choice === 'object' ? { name: choice.name } : choice
  return { ...told, ...(known.length > 0 && toolChoice !== 'auto' && { toolChoice }) }
}

/** As chat completions have it. */
function toolOf(tool: unknown): unknown {
  const { type: _, ...about } = tool as { type: string }
  return { type: 'function', function: about }
}

class ResponseFormat implements AnswerFormat {
  readonly #fields: Fields
  readonly #head: Record<string, unknown>
  #count = 0
  #open: OpenItem | undefined
  readonly #done: Item[] = []

  constructor(model: ServedModel, fields: Fields) {
    this.#fields = fields
    const { instructions = null, tools = [], tool_choice, parallel_tool_calls, text, metadata } = fields
    const { temperature = null, top_p = null, max_output_tokens = null, reasoning } = fields
    this.#head = {
      ...{ id: newId('resp'), object: 'response', created_at: Math.floor(Date.now() / 1000), model: model.name },
      ...{ error: null, incomplete_details: null, instructions, metadata: metadata ?? {}, store: false },
      ...{ temperature, top_p, max_output_tokens, tools, tool_choice, parallel_tool_calls, truncation: 'disabled' },
      ...{ previous_response_id: null, text: text ?? { format: { type: 'text' } } },
      reasoning: { effort: reasoning?.effort ?? null, summary: null },
    }
  }

  whole([result]: GenerationResult[]): object {
    return this.#response(result!, itemsOf(this.#allowed(result!)))
  }

  open(): string {
    const response = { ...this.#head, status: 'in_progress', output: [], usage: null }
    return this.#event('response.created', { response }) + this.#event('response.in_progress', { response })
  }

  part(_index: number, { text, reasoning = '', toolCall }: GenerationPart): string {
    const isLeftOut = toolCall !== undefined && toolCall.index > 0 && !this.#fields.parallel_tool_calls
    const events = [
      ...(reasoning === '' ? [] : [this.#piece('reasoning', reasoning)]),
      ...(text === '' ? [] : [this.#piece('message', text)]),
      ...(toolCall === undefined || isLeftOut ? [] : [this.#piece('function_call', toolCall.argumentsDelta, toolCall)]),
    ]
    return events.join('')
  }

  end(): string {
    return this.#close()
  }

  close([result]: GenerationResult[]): string {
    const response = this.#response(result!, this.#done)
    return this.#event(response.status === 'incomplete' ? 'response.incomplete' : 'response.completed', { response })
  }

  failed(error: HttpError): string {
    const { code, message, param } = errorBody(error).error
    const response = { ...this.#head, status: 'failed', error: { code, message }, output: this.#done, usage: null }
    return this.#event('error', { code, message, param }) + this.#event('response.failed', { response })
  }

  #allowed(result: GenerationResult): GenerationResult {
    const { toolCalls } = result
    if (this.#fields.parallel_tool_calls || toolCalls === undefined) return result
    return { ...result, toolCalls: toolCalls.slice(0, 1) }
  }

  #response(result: GenerationResult, output: Item[]) {
    const isCut = result.finishReason === 'length'
    const { promptTokens, cachedTokens, completionTokens, reasoningTokens } = usageOf([result])
    return {
      ...this.#head,
      ...{ status: isCut ? 'incomplete' : 'completed', output, seed: result.seed },
      incomplete_details: isCut ? { reason: 'max_output_tokens' } : null,
      usage: {
        ...{ input_tokens: promptTokens, input_tokens_details: { cached_tokens: cachedTokens } },
        ...{ output_tokens: completionTokens, output_tokens_details: { reasoning_tokens: reasoningTokens } },
        total_tokens: promptTokens + completionTokens,
      },
    }
  }

  /** A piece of an item; it begins one where the last piece was of another. */
  #piece(kind: Item['type'], delta: string, call?: NonNullable<GenerationPart['toolCall']>): string {
    const isSame = this.#open?.type === kind && (call === undefined || this.#open.callIndex === call.index)
    const begun = isSame ? '' : this.#close() + this.#begin(kind, call)
    const open = this.#open!
    open.text += delta
    return begun + (delta === '' ? '' : this.#event(open.events.delta, { ...this.#place(open), delta }))
  }

  #begin(kind: Item['type'], call?: NonNullable<GenerationPart['toolCall']>): string {
    const open = openItem(kind, call)
    this.#open = open
    const added = this.#event('response.output_item.added', {
      ...{ output_index: this.#done.length, item: open.item('in_progress') },
    })
    const part = open.part('')
    return part === undefined
      ? added
      : added + this.#event('response.content_part.added', { ...this.#place(open), part })
  }

  #close(): string {
    const open = this.#open
    if (open === undefined) return ''
    const place = this.#place(open)
    const item = open.item('completed')
    const part = open.part(open.text)
    this.#open = undefined
    const events = [
      this.#event(open.events.done, { ...place, [open.events.text]: open.text }),
      ...(part === undefined ? [] : [this.#event('response.content_part.done', { ...place, part })]),
      this.#event('response.output_item.done', { output_index: this.#done.length, item }),
    ]
    this.#done.push(item)
    return events.join('')
  }

  #place(open: OpenItem): object {
    return {
      item_id: open.id,
      output_index: this.#done.length,
      ...(open.type !== 'function_call' && { content_index: 0 }),
    }
  }

  #event(type: string, about: object): string {
    const sequence_number = this.#count++
    return `event: ${type}\ndata: ${JSON.stringify({ type, sequence_number, ...about })}\n\n`
  }
}
