/**
 * From a request to its answer, whatever its route: limits, the generations, their parts as events or their results as one body, the
 * client that leaves, and what metrics, traces and logs are told. A route says what is asked (`Asked`) and how an answer is written
 * (`AnswerFormat`).
 */
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Generation, GenerationResult } from '../../index.ts'
import { type AnswerFormat, type Asked, usageOf } from './asked.ts'
import { errorBody, HttpError, httpError } from './errors.ts'
import { EventStream } from './event-stream.ts'
import type { Service } from './service.ts'

export async function answer(
  service: Service,
  request: FastifyRequest,
  reply: FastifyReply,
  asked: Asked,
): Promise<unknown> {
  const { model, nameOf, warnings } = asked
  const { tenant, outcome } = service.of(request)
  outcome.model = model.name
  if (warnings.length > 0) reply.header('x-octavo-warning', warnings.join('; '))
  const finish = tenant.begin(() => model.engine.stats().queue.drainMs)
  const startedMs = performance.now()
  const run = new Run(service, asked, reply)
  const pending = run.results()
  // The engine has its work: what need not be done before is done while it computes.
  reply.headers(tenant.headers())
  const span = service.tracing?.start(request.headers, asked, startedMs)
  const { events } = run
  events?.prepare()
  try {
    const results = await pending
    const usage = usageOf(results, asked.prompts)
    Object.assign(outcome, { ...usage, firstTokenMs: results[0]!.timings.firstTokenMs })
    outcome.finishReasons = results.map(({ finishReason }) => finishReason)
    for (const result of results) service.ended(request, model.name, result)
    if (service.logContent) Object.assign(outcome, contentOf(asked, results))
    finish(usage.promptTokens + usage.completionTokens)
    span?.end(results, usage)
    if (events === undefined) return reply.headers(tenant.headers()).send(run.format.whole(results))
    events.end(run.format.close(results))
    return reply
  } catch (error) {
    const told = httpError(error, nameOf)
    finish(run.tokens)
    span?.fail(told)
    if (told.status >= 500) service.noteError(request, error)
    outcome.error = told.code ?? told.type
    events?.leave()
    if (events?.isOpen !== true) throw told
    events.end(run.format.failed(told))
    return reply
  }
}

/** The generations of one request while they run. */
class Run {
  readonly #service: Service
  readonly #asked: Asked
  readonly #reply: FastifyReply
  #generations: Generation[] = []
  /** Made when all were started. */
  format!: AnswerFormat
  /** Of an answer that is streamed. */
  events: EventStream | undefined
  /** Events before everything, until they were sent. */
  #head = ''
  /** Tokens that were given out. */
  tokens = 0

  constructor(service: Service, asked: Asked, reply: FastifyReply) {
    this.#service = service
    this.#asked = asked
    this.#reply = reply
  }

  /** Starts them, before all else and before it returns; resolves when all have ended. The first that fails ends the others. */
  async results(): Promise<GenerationResult[]> {
    const { model, n, options, stream } = this.#asked
    const response = this.#reply.raw
    const cancel = () => this.#cancel()
    // Already gone: 'close' does not come twice.
    if (response.destroyed) throw gone()
    try {
      this.#generations = this.#asked.start()
      response.once('close', cancel)
      this.format = this.#asked.format()
      if (stream) {
        this.events = new EventStream(this.#reply, this.#service.slowMs)
        this.#head = this.format.open()
      }
      for (const { result } of this.#generations) result.catch(() => this.#abandonBlocked())
      const results = await Promise.all(this.#generations.map((_, index) => this.#read(index)))
      if (response.destroyed) throw gone()
      this.#service.metrics?.ended(model.name, results, { n, maxTokens: options.maxTokens })
      return results
    } catch (error) {
      this.#cancel()
      throw response.destroyed ? gone() : error
    } finally {
      response.off('close', cancel)
    }
  }

  async #read(index: number): Promise<GenerationResult> {
    const generation = this.#generations[index]!
    const { format } = this
    const timer = this.#service.metrics?.timer(this.#asked.model.name)
    const response = this.#reply.raw
    const { events } = this
    const result = await generation.read((part) => {
      if (response.destroyed) throw gone()
      const count = part.tokens.length + (part.reasoningTokens?.length ?? 0)
      this.tokens += count
      timer?.tokens(count)
      if (events === undefined) return undefined
      const text = format.part(index, part)
      return text === '' ? undefined : this.#send(events, text)
    })
    const slow = this.#sendEnd(index, result)
    if (slow !== undefined) await slow
    return result
  }

  #sendEnd(index: number, result: GenerationResult): Promise<void> | undefined {
    const { events } = this
    if (events === undefined || result.finishReason === 'cancelled') return undefined
    return this.#send(events, this.format.end(index, result))
  }

  /** Events behind those before everything, if these are the first. */
  #send(events: EventStream, text: string): Promise<void> | undefined {
    const all = this.#head + text
    this.#head = ''
    return events.send(all)
  }

  /** One that failed because its client does not read will not tell it so. */
  #abandonBlocked(): void {
    if (this.events?.isBlocked) this.events.abandon()
  }

  #cancel(): void {
    for (const generation of this.#generations) generation.cancel()
  }
}

/** As nginx calls it; nobody is there to read it. */
const gone = () => new HttpError(499, 'invalid_request_error', 'The client is gone.', { code: 'client_closed_request' })

export const errorEvent = (error: HttpError): string => `data: ${JSON.stringify(errorBody(error))}\n\n`

const contentOf = ({ options }: Asked, results: GenerationResult[]) => ({
  prompt: options.messages ?? options.prompt,
  answers: results.map(({ text }) => text),
})
