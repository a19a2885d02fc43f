/**
 * Spans and metrics of OpenTelemetry, by its API package alone: where an application has registered an SDK they go there, else nowhere; where
 * the package is missing there are none. Names and attributes are those of its conventions for generative AI. The span of a request is a
 * child of what its headers name.
 */
import type { IncomingHttpHeaders } from 'node:http'
import type * as api from '@opentelemetry/api'
import { version } from '../../base/version.ts'
import type { GenerationResult } from '../../index.ts'
import type { Asked, TotalUsage } from './asked.ts'
import type { HttpError } from './errors.ts'

const scope = 'octavo'

export interface RequestSpan {
  end(results: GenerationResult[], usage: TotalUsage): void
  fail(error: HttpError): void
}

const durationBuckets = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92]
const firstTokenBuckets = [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]
const tokenBuckets = [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5]
const usageBuckets = [1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576]

export class Tracing {
  readonly #api: typeof api
  readonly #tracer: api.Tracer
  /** What a provider stands for while none was registered. */
  readonly #nobody: api.TracerProvider
  readonly #duration: api.Histogram
  readonly #firstToken: api.Histogram
  readonly #perToken: api.Histogram
  readonly #usage: api.Histogram

  static async create(): Promise<Tracing | undefined> {
    try {
      return new Tracing(await import('@opentelemetry/api'))
    } catch {
      return undefined
    }
  }

  private constructor(otel: typeof api) {
    this.#api = otel
    this.#nobody = new otel.ProxyTracerProvider().getDelegate()
    this.#tracer = otel.trace.getTracer(scope, version)
    const meter = otel.metrics.getMeter(scope, version)
    const seconds = (name: string, description: string, explicitBucketBoundaries: number[]) =>
      meter.createHistogram(name, { description, unit: 's', advice: { explicitBucketBoundaries } })
    this.#duration = seconds('gen_ai.server.request.duration', 'Time of a request.', durationBuckets)
    this.#firstToken = seconds('gen_ai.server.time_to_first_token', 'Time to the first token.', firstTokenBuckets)
    this.#perToken = seconds('gen_ai.server.time_per_output_token', 'Time per token after the first.', tokenBuckets)
    this.#usage = meter.createHistogram('gen_ai.client.token.usage', {
      ...{ description: 'Tokens of a request.', unit: '{token}' },
      advice: { explicitBucketBoundaries: usageBuckets },
    })
  }

  /** `startedMs`: of `performance.now()`. */
  start(headers: IncomingHttpHeaders, asked: Asked, startedMs: number): RequestSpan {
    const { operation, model } = asked
    const about = {
      'gen_ai.operation.name': operation,
      'gen_ai.provider.name': 'octavo',
      'gen_ai.request.model': model.name,
    }
    const span = this.#isHeard ? this.#startSpan(headers, asked, about, startedMs) : undefined
    const seconds = () => (performance.now() - startedMs) / 1000
    // By the clock that began it.
    const end = () => span?.end(performance.timeOrigin + performance.now())
    return {
      end: (results, usage) => {
        span?.setAttributes(responseAttributes(model.name, results, usage))
        this.#record(about, results, usage, seconds())
        end()
      },
      fail: ({ code, type, message }) => {
        const error = { 'error.type': code ?? type }
        span?.setAttributes(error)
        span?.setStatus({ code: this.#api.SpanStatusCode.ERROR, message })
        this.#duration.record(seconds(), { ...about, ...error })
        end()
      },
    }
  }

  /** Whether there is anybody for spans: an application may register its SDK at any time. */
  get #isHeard(): boolean {
    const provider = this.#api.trace.getTracerProvider()
    return !(provider instanceof this.#api.ProxyTracerProvider) || provider.getDelegate() !== this.#nobody
  }

  #startSpan(
    headers: IncomingHttpHeaders,
    { operation, model, options, n }: Asked,
    about: api.Attributes,
    startedMs: number,
  ): api.Span {
    const { context, propagation, SpanKind } = this.#api
    const parent = propagation.extract(context.active(), headers)
    const attributes = { ...about, ...requestAttributes(options), ...(n > 1 && { 'gen_ai.request.choice.count': n }) }
    const spanOptions = { kind: SpanKind.SERVER, attributes, startTime: performance.timeOrigin + startedMs }
    return this.#tracer.startSpan(`${operation} ${model.name}`, spanOptions, parent)
  }

  #record(about: api.Attributes, results: GenerationResult[], usage: TotalUsage, seconds: number): void {
    this.#duration.record(seconds, about)
    this.#usage.record(usage.promptTokens, { ...about, 'gen_ai.token.type': 'input' })
    this.#usage.record(usage.completionTokens, { ...about, 'gen_ai.token.type': 'output' })
    for (const { timings, usage } of results) {
      const { firstTokenMs, totalMs } = timings
      if (usage.completionTokens > 0) this.#firstToken.record(firstTokenMs / 1000, about)
      if (usage.completionTokens > 1)
        this.#perToken.record((totalMs - firstTokenMs) / 1000 / (usage.completionTokens - 1), about)
    }
  }
}

function requestAttributes(options: Asked['options']): api.Attributes {
  const { temperature, topP, topK, maxTokens, seed, stop, presencePenalty, frequencyPenalty } = options
  const all = {
    'gen_ai.request.temperature': temperature,
    'gen_ai.request.top_p': topP,
    'gen_ai.request.top_k': topK,
    'gen_ai.request.max_tokens': maxTokens,
    'gen_ai.request.seed': seed,
    'gen_ai.request.stop_sequences': typeof stop === 'string' ? [stop] : stop,
    'gen_ai.request.presence_penalty': presencePenalty,
    'gen_ai.request.frequency_penalty': frequencyPenalty,
  }
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)) as api.Attributes
}

const responseAttributes = (model: string, results: GenerationResult[], usage: TotalUsage): api.Attributes => ({
  'gen_ai.response.model': model,
  'gen_ai.response.finish_reasons': results.map(({ finishReason }) => finishReason),
  'gen_ai.usage.input_tokens': usage.promptTokens,
  'gen_ai.usage.output_tokens': usage.completionTokens,
  'gen_ai.usage.cached_input_tokens': usage.cachedTokens,
})
