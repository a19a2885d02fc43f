/** /v1/chat/completions: a conversation and its answer, whole or in chunks, as OpenAI's API has them. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import * as z from '../../base/zod.ts'
import type { AnyCall, GenerateOptions, GenerationPart, GenerationResult, TokenLogprob } from '../../index.ts'
import { answer, errorEvent } from '../service/answers.ts'
import { type AnswerFormat, newId, type TotalUsage, usageBody, usageOf } from '../service/asked.ts'
import type { HttpError } from '../service/errors.ts'
import { event } from '../service/event-stream.ts'
import type { ServedModel } from '../service/models.ts'
import type { Service } from '../service/service.ts'
import {
  commonShape,
  conversationOf,
  conversationShape,
  formOf,
  formShape,
  missing,
  mostLogprobs,
  readBody,
  samplingOf,
  samplingShape,
} from './fields.ts'

export const chatShape = {
  ...commonShape,
  ...conversationShape,
  ...samplingShape,
  ...formShape,
  logprobs: z.boolean().optional(),
  top_logprobs: z.int().min(0).max(mostLogprobs).optional(),
  tool_choice: z
    .union(
      [
        z.enum(['auto', 'none', 'required']),
        z.looseObject({ type: z.literal('function'), function: z.looseObject({ name: z.string() }) }),
        z.looseObject({
          type: z.literal('allowed_tools'),
          allowed_tools: z.looseObject({ mode: z.enum(['auto', 'required']), tools: z.array(z.unknown()) }),
        }),
      ],
      { error: "'auto', 'none', 'required' or a function: { type: 'function', function: { name } }" },
    )
    .optional(),
  parallel_tool_calls: z.boolean().default(true),
  modalities: z.array(z.literal('text')).optional(),
  separate_reasoning: z.boolean().default(true),
}

type Fields = z.output<z.ZodObject<typeof chatShape>>

export async function chat(service: Service, request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
  const { fields, warnings, nameOf } = readBody(chatShape, request.body)
  const { tenant } = service.of(request)
  const model = service.models.of(fields.model, tenant)
  const options: GenerateOptions = {
    ...service.defaults,
    ...samplingOf(fields),
    ...conversationOf(fields),
    ...toolsOf(fields, warnings),
    ...(fields.logprobs && { logprobs: fields.top_logprobs ?? 0 }),
    ...(!fields.separate_reasoning && { reasoning: 'keep' }),
    tenant: tenant.name,
  }
  if (fields.top_logprobs !== undefined && !fields.logprobs)
    throw missing('logprobs', 'true where top_logprobs is given')
  const { engine } = model
  return answer(service, request, reply, {
    ...{ operation: 'chat', model, stream: fields.stream, options, n: fields.n, warnings, nameOf },
    start: () => (fields.n === 1 ? [engine.generate(options)] : engine.samples(options, fields.n)),
    format: () => new ChatFormat(model, fields),
  })
}

/** What the answer may call, or the form that it has instead. */
function toolsOf(fields: Fields, warnings: string[]): Partial<GenerateOptions> {
  const { tool_choice: choice = 'auto', tools = [] } = fields
  const form = formOf(fields)
  const hasForm = Object.keys(form).length > 0
  if (tools.length === 0) {
    if (choice === 'auto' || choice === 'none') return form
    throw missing('tools', 'tools where tool_choice asks for a call')
  }
  const { toolChoice, allowed } = choiceOf(choice)
  const mustCall = toolChoice === 'required' || typeof toolChoice === 'object'
  if (hasForm && !mustCall) {
    if (toolChoice === 'auto') warnings.push('tools are not called where the answer has a form: call them first')
    return { ...form, toolChoice: 'none' }
  }
  const told = allowed === undefined ? {} : { tools: tools.filter((tool) => allowed.has(nameOfTool(tool))) }
  return { ...(told as Partial<GenerateOptions>), ...(toolChoice !== 'auto' && { toolChoice }) }
}

type Choice = NonNullable<Fields['tool_choice']>

function choiceOf(choice: Choice): { toolChoice: NonNullable<GenerateOptions['toolChoice']>; allowed?: Set<unknown> } {
  if (typeof choice === 'string') return { toolChoice: choice }
  if (choice.type === 'function') return { toolChoice: { name: choice.function.name } }
  const { mode, tools } = choice.allowed_tools
  return { toolChoice: mode, allowed: new Set(tools.map(nameOfTool)) }
}

function nameOfTool(tool: unknown): unknown {
  const { function: named, name } = (tool ?? {}) as { function?: { name?: unknown } | null; name?: unknown }
  return named?.name ?? name
}

export const finishReasons = { stop: 'stop', length: 'length', cancelled: 'stop', toolCalls: 'tool_calls' } as const

class ChatFormat implements AnswerFormat {
  readonly #model: ServedModel
  readonly #fields: Fields
  readonly #head: Record<string, unknown>
  /** Everything of a chunk before its choices. */
  readonly #chunk: string
  readonly #usage: string
  /** By choice: calls that were told of. */
  readonly #calls = new Map<string, true>()

  constructor(model: ServedModel, fields: Fields) {
    this.#model = model
    this.#fields = fields
    const created = Math.floor(Date.now() / 1000)
    const about = { created, model: model.name, system_fingerprint: model.fingerprint }
    this.#head = { id: newId('chatcmpl'), object: 'chat.completion', ...about }
    const head = JSON.stringify({ ...this.#head, object: 'chat.completion.chunk' })
    this.#chunk = `data: ${head.slice(0, -1)},"choices":[`
    this.#usage = fields.stream_options?.include_usage ? ',"usage":null' : ''
  }

  whole(results: GenerationResult[]): object {
    const choices = results.map((result, index) => ({
      index,
      message: this.#message(result),
      logprobs: result.logprobs === undefined ? null : this.#logprobs(result.logprobs),
      finish_reason: finishReasons[result.finishReason],
      stop_reason: stopReason(result),
      seed: result.seed,
    }))
    return { ...this.#head, choices, usage: usageBody(usageOf(results)) }
  }

  open(): string {
    const delta = { role: 'assistant', content: '' }
    return Array.from({ length: this.#fields.n }, (_, index) =>
      this.#event(JSON.stringify({ index, delta, finish_reason: null })),
    ).join('')
  }

  part(index: number, { text, reasoning = '', toolCall, logprobs }: GenerationPart): string {
    // What a token is, as a rule.
    if (text !== '' && reasoning === '' && toolCall === undefined && logprobs === undefined)
      return this.#event(`{"index":${index},"delta":{"content":${JSON.stringify(text)}},"finish_reason":null}`)
    const delta = {
      ...(text !== '' && { content: text }),
      ...(reasoning !== '' && { reasoning_content: reasoning }),
      ...(toolCall !== undefined && this.#callDelta(index, toolCall)),
    }
    const hasLogprobs = logprobs !== undefined && logprobs.length > 0
    if (Object.keys(delta).length === 0 && !hasLogprobs) return ''
    const choice = { index, delta, ...(hasLogprobs && { logprobs: this.#logprobs(logprobs) }), finish_reason: null }
    return this.#event(JSON.stringify(choice))
  }

  end(index: number, result: GenerationResult): string {
    const finish_reason = finishReasons[result.finishReason]
    const choice = { index, delta: {}, finish_reason, stop_reason: stopReason(result), seed: result.seed }
    return this.#event(JSON.stringify(choice))
  }

  close(results: GenerationResult[]): string {
    return `${this.#usageEvent(usageOf(results))}data: [DONE]\n\n`
  }

  failed(error: HttpError): string {
    return `${errorEvent(error)}data: [DONE]\n\n`
  }

  #usageEvent(usage: TotalUsage): string {
    if (!this.#fields.stream_options?.include_usage) return ''
    return event({ ...this.#head, object: 'chat.completion.chunk', choices: [], usage: usageBody(usage) })
  }

  /** `choice`: as JSON. */
  #event(choice: string): string {
    return `${this.#chunk}${choice}]${this.#usage}}\n\n`
  }

  #message({ text, reasoning, toolCalls = [] }: GenerationResult): object {
    const calls = this.#fields.parallel_tool_calls ? toolCalls : toolCalls.slice(0, 1)
    return {
      role: 'assistant',
      content: text === '' && calls.length > 0 ? null : text,
      refusal: null,
      ...(reasoning !== undefined && { reasoning_content: reasoning }),
      ...(calls.length > 0 && { tool_calls: calls.map(callBody) }),
    }
  }

  #callDelta(choice: number, { index, id, name, argumentsDelta }: NonNullable<GenerationPart['toolCall']>): object {
    if (index > 0 && !this.#fields.parallel_tool_calls) return {}
    const place = `${choice} ${index}`
    const isNew = !this.#calls.has(place)
    this.#calls.set(place, true)
    const called = isNew
      ? { index, id, type: 'function', function: { name: name || 'unknown', arguments: argumentsDelta } }
      : { index, function: { arguments: argumentsDelta } }
    return { tool_calls: [called] }
  }

  #logprobs(logprobs: TokenLogprob[]): object {
    const entry = (token: number, logprob: number) => {
      const { text, bytes } = this.#model.token(token)
      return { token: text, logprob: finite(logprob), bytes }
    }
    return {
      content: logprobs.map(({ token, logprob, top }) => ({
        ...entry(token, logprob),
        top_logprobs: top.map((one) => entry(one.token, one.logprob)),
      })),
      refusal: null,
    }
  }
}

/** A call as the model wrote it, whatever is wrong with it: its reader finds out, as with OpenAI's models. */
export const callBody = ({ id, name, argumentsText }: AnyCall) => ({
  ...{ id, type: 'function', function: { name: name || 'unknown', arguments: argumentsText } },
})

/** As vLLM has it: the stop text, or the id of the caller's stop token. */
function stopReason({ stop }: GenerationResult): string | number | null {
  return stop?.text ?? null
}

/** JSON has no infinity: the logarithm of a probability that is nothing. */
export const finite = (logprob: number): number => Math.max(logprob, -9999)
