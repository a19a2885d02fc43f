/**
 * From a request to its answer, whatever its route: limits, the generations, their parts as events or their results as one body, the
 * client that leaves, and what metrics, traces and logs are told. A route says what is asked (`Asked`) and how an answer is written
 * (`AnswerFormat`).
 */
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Generation, GenerationResult } from '../../index.ts'
import { type Asked, usageOf } from './asked.ts'
import { errorBody, HttpError, httpError } from './errors.ts'
import { EventStream } from './event-stream.ts'
import type { Service } from './service.ts'

export async function answer(
  service: Service,
  request: FastifyRequest,
  reply: FastifyReply,
  asked: Asked,
): Promise<unknown> {
  const { model, format, nameOf, warnings } = asked
  const { tenant, outcome } = service.of(request)
  outcome.model = model.name
  if (warnings.length > 0) reply.header('x-octavo-warning', warnings.join('; '))
  const finish = tenant.begin(model.engine.stats().queue.drainMs)
  reply.headers(tenant.headers())
  const span = service.tracing?.start(request.headers, asked)
  const events = asked.stream ? new EventStream(reply, service.slowMs) : undefined
  const run = new Run(service, asked, reply, events)
  try {
    const results = await run.results()
    const usage = usageOf(results, asked.prompts)
    Object.assign(outcome, { ...usage, firstTokenMs: results[0]!.timings.firstTokenMs })
    outcome.finishReasons = results.map(({ finishReason }) => finishReason)
    for (const result of results) service.ended(request, model.name, result)
    if (service.logContent) Object.assign(outcome, contentOf(asked, results))
    finish(usage.promptTokens + usage.completionTokens)
    span?.end(results, usage)
    if (events === undefined) return reply.headers(tenant.headers()).send(format.whole(results))
    events.end(format.close(results))
    return reply
  } catch (error) {
    const told = httpError(error, nameOf)
    finish(run.tokens)
    span?.fail(told)
    if (told.status >= 500) service.noteError(request, error)
    outcome.error = told.code ?? told.type
    events?.leave()
    if (events?.isOpen !== true) throw told
    events.end(format.failed(told))
    return reply
  }
}

/** The generations of one request while they run. */
class Run {
  readonly #service: Service
  readonly #asked: Asked
  readonly #reply: FastifyReply
  readonly #events: EventStream | undefined
  #generations: Generation[] = []
  /** Events before everything, until they were sent; undefined: not made yet. */
  #head: string | undefined
  /** Tokens that were given out. */
  tokens = 0

  constructor(service: Service, asked: Asked, reply: FastifyReply, events: EventStream | undefined) {
    this.#service = service
    this.#asked = asked
    this.#reply = reply
    this.#events = events
  }

  /** Resolves when all have ended. The first that fails ends the others. */
  async results(): Promise<GenerationResult[]> {
    const { model, n, options } = this.#asked
    const response = this.#reply.raw
    const cancel = () => this.#cancel()
    // Already gone: 'close' does not come twice.
    if (response.destroyed) throw gone()
    response.once('close', cancel)
    try {
      this.#generations = this.#asked.start()
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
    const { model, format } = this.#asked
    const timer = this.#service.metrics?.timer(model.name)
    for await (const part of generation) {
      if (this.#reply.raw.destroyed) throw gone()
      const count = part.tokens.length + (part.reasoningTokens?.length ?? 0)
      this.tokens += count
      timer?.tokens(count)
      const events = this.#events
      if (events === undefined) continue
      const text = this.#withHead(() => format.part(index, part))
      const slow = text === '' ? undefined : events.send(text)
      if (slow !== undefined) await slow
    }
    const result = await generation.result
    const slow = this.#sendEnd(index, result)
    if (slow !== undefined) await slow
    return result
  }

  #sendEnd(index: number, result: GenerationResult): Promise<void> | undefined {
    const events = this.#events
    if (events === undefined || result.finishReason === 'cancelled') return undefined
    return events.send(this.#withHead(() => this.#asked.format.end(index, result)))
  }

  /** Events with those before everything, if these are the first. */
  #withHead(make: () => string): string {
    this.#head ??= this.#asked.format.open()
    const events = make()
    if (events === '') return ''
    const all = this.#head + events
    this.#head = ''
    return all
  }

  /** One that failed because its client does not read will not tell it so. */
  #abandonBlocked(): void {
    if (this.#events?.isBlocked) this.#events.abandon()
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
