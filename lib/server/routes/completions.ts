/** /v1/completions: prompts that are text or ids, and how they go on. Several prompts are several generations, n of each. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import * as z from '../../base/zod.ts'
import type { GenerateOptions, GenerationPart, GenerationResult, TokenLogprob } from '../../index.ts'
import { answer, errorEvent } from '../service/answers.ts'
import { type AnswerFormat, newId, usageBody, usageOf } from '../service/asked.ts'
import type { HttpError } from '../service/errors.ts'
import { event } from '../service/event-stream.ts'
import type { ServedModel } from '../service/models.ts'
import type { Service } from '../service/service.ts'
import { finishReasons, finite } from './chat.ts'
import { commonShape, formOf, formShape, missing, mostLogprobs, readBody, samplingOf, samplingShape } from './fields.ts'

type Prompt = string | number[]

/** Prompts of one request. */
const mostPrompts = 256

/** Ids are checked one by one by the engine; the first shows what they are. */
const isIds = (value: unknown): value is number[] => Array.isArray(value) && typeof value[0] === 'number'
const isPrompt = (value: unknown): value is Prompt => typeof value === 'string' || isIds(value)
const promptText = 'a text, token ids, or an array of up to 256 of these'

export const completionShape = {
  ...commonShape,
  prompt: z.custom<Prompt | Prompt[]>(
    (value) =>
      isPrompt(value) ||
      (Array.isArray(value) && value.length > 0 && value.length <= mostPrompts && value.every(isPrompt)),
    promptText,
  ),
  ...samplingShape,
  ...formShape,
  logprobs: z.int().min(0).max(mostLogprobs).optional(),
  echo: z.boolean().default(false),
  best_of: z.int().optional(),
  suffix: z.string().optional(),
  /** Whether control tokens that are written in a text become such. */
  parse_special: z.boolean().default(false),
}

type Fields = z.output<z.ZodObject<typeof completionShape>>

/** Of OpenAI's API. */
const usualTokens = 16

export async function completions(service: Service, request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
  const { fields, warnings, nameOf } = readBody(completionShape, request.body)
  const { tenant } = service.of(request)
  const model = service.models.of(fields.model, tenant)
  checkSupported(fields)
  const { prompt, stream, n } = fields
  const prompts = isPrompt(prompt) ? [prompt] : prompt
  if (prompts.length * n > mostPrompts) throw missing('n', `at most ${mostPrompts} answers of all prompts`)
  const about: GenerateOptions = {
    maxTokens: usualTokens,
    ...service.textDefaults,
    ...samplingOf(fields),
    ...formOf(fields),
    ...(fields.logprobs !== undefined && { logprobs: fields.logprobs }),
    tenant: tenant.name,
  }
  const all = prompts.map((prompt) => {
    const isSpecial = fields.parse_special && typeof prompt === 'string'
    return { ...about, prompt, ...(isSpecial && { parseSpecial: true }) }
  })
  const { engine } = model
  return answer(service, request, reply, {
    operation: 'text_completion',
    ...{ model, stream, n, prompts: prompts.length, warnings, nameOf },
    options: all.length === 1 ? all[0]! : about,
    start: () => startAll(all, (options) => (n === 1 ? [engine.generate(options)] : engine.samples(options, n))),
    format: () => new CompletionFormat(model, fields, prompts),
  })
}

/** When one cannot be started, those before it end. */
function startAll<O, T extends { cancel(): void }>(all: O[], start: (options: O) => T[]): T[] {
  const started: T[] = []
  try {
    for (const options of all) started.push(...start(options))
    return started
  } catch (error) {
    for (const generation of started) generation.cancel()
    throw error
  }
}

function checkSupported({ best_of, n, suffix, echo, prompt, logprobs }: Fields): void {
  if (best_of !== undefined && best_of !== n) throw missing('best_of', 'the same as n, or nothing')
  if (suffix !== undefined && suffix !== '') throw missing('suffix', 'nothing: there is no text behind the answer')
  if (!echo) return
  const isText = [prompt].flat().every((one) => typeof one === 'string')
  if (!isText || logprobs !== undefined) throw missing('echo', 'false, or prompts that are text and no logprobs')
}

class CompletionFormat implements AnswerFormat {
  readonly #model: ServedModel
  readonly #fields: Fields
  readonly #prompts: Prompt[]
  readonly #head: Record<string, unknown>
  readonly #chunk: string
  readonly #usage: string
  /** By choice: characters that were given out. */
  readonly #offsets = new Map<number, number>()

  constructor(model: ServedModel, fields: Fields, prompts: Prompt[]) {
    this.#model = model
    this.#fields = fields
    this.#prompts = prompts
    const about = { created: Math.floor(Date.now() / 1000), model: model.name, system_fingerprint: model.fingerprint }
    this.#head = { id: newId('cmpl'), object: 'text_completion', ...about }
    this.#chunk = `data: ${JSON.stringify(this.#head).slice(0, -1)},"choices":[`
    this.#usage = fields.stream_options?.include_usage ? ',"usage":null' : ''
  }

  whole(results: GenerationResult[]): object {
    const choices = results.map((result, index) => ({
      index,
      text: this.#echoed(index) + result.text,
      logprobs: this.#logprobs(index, result.logprobs),
      ...ending(result),
    }))
    return { ...this.#head, choices, usage: usageBody(usageOf(results, this.#prompts.length)) }
  }

  open(): string {
    if (!this.#fields.echo) return ''
    const count = this.#prompts.length * this.#fields.n
    return Array.from({ length: count }, (_, index) => this.#event(index, this.#echoed(index), null)).join('')
  }

  part(index: number, { text, logprobs }: GenerationPart): string {
    const has = logprobs !== undefined && logprobs.length > 0
    return text === '' && !has ? '' : this.#event(index, text, this.#logprobs(index, logprobs))
  }

  end(index: number, result: GenerationResult): string {
    return this.#event(index, '', null, ending(result))
  }

  close(results: GenerationResult[]): string {
    const usage = usageBody(usageOf(results, this.#prompts.length))
    const last = this.#fields.stream_options?.include_usage ? event({ ...this.#head, choices: [], usage }) : ''
    return `${last}data: [DONE]\n\n`
  }

  failed(error: HttpError): string {
    return `${errorEvent(error)}data: [DONE]\n\n`
  }

  #event(index: number, text: string, logprobs: object | null, end?: object): string {
    const ending = end === undefined ? ',"finish_reason":null}' : `,${JSON.stringify(end).slice(1)}`
    const logs = logprobs === null ? 'null' : JSON.stringify(logprobs)
    const choice = `{"index":${index},"text":${JSON.stringify(text)},"logprobs":${logs}${ending}`
    return `${this.#chunk}${choice}]${this.#usage}}\n\n`
  }

  #echoed(index: number): string {
    return this.#fields.echo ? String(this.#prompts[Math.floor(index / this.#fields.n)]) : ''
  }

  #logprobs(index: number, logprobs: TokenLogprob[] | undefined): object | null {
    if (logprobs === undefined) return null
    const textOf = (token: number) => this.#model.token(token).text
    const tokens = logprobs.map(({ token }) => textOf(token))
    let offset = this.#offsets.get(index) ?? 0
    const text_offset = tokens.map((text) => {
      const at = offset
      offset += text.length
      return at
    })
    this.#offsets.set(index, offset)
    return {
      ...{ tokens, text_offset, token_logprobs: logprobs.map(({ logprob }) => finite(logprob)) },
      top_logprobs: logprobs.map(({ top }) =>
        Object.fromEntries(top.map(({ token, logprob }) => [textOf(token), finite(logprob)])),
      ),
    }
  }
}

const ending = ({ finishReason, stop, seed }: GenerationResult) => ({
  ...{ finish_reason: finishReasons[finishReason], stop_reason: stop?.text ?? null, seed },
})
