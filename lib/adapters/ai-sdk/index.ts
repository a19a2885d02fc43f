/**
 * A model of Vercel's AI SDK that computes in this process: `octavo(engine)` goes wherever `ai` takes a model. It is a LanguageModelV3, the
 * specification of ai 6, which ai 7 takes too. A call is one generation of the engine: request.ts says what is asked for,
 * answer.ts what came of it.
 */
import { APICallError, type LanguageModelV3, type LanguageModelV3CallOptions } from '@ai-sdk/provider'
import { OctavoError } from '../../base/errors.ts'
import type { Engine, GenerationPart } from '../../index.ts'
import type { OctavoSettings } from '../settings.ts'
import { generateResult, streamOf } from './answer.ts'
import { requestOf } from './request.ts'

export type { OctavoSettings } from '../settings.ts'

/**
 * `settings` hold for every call that does not say otherwise; those of one call are `providerOptions: { octavo: { ... } }`. The engine
 * stays the caller's to close.
 */
export function octavo(engine: Engine, settings: OctavoSettings = {}): LanguageModelV3 {
  return new OctavoModel(engine, settings)
}

class OctavoModel implements LanguageModelV3 {
  readonly specificationVersion = 'v3'
  readonly provider = 'octavo'
  readonly modelId: string
  /** What a model does not read needs no download: it is left out, with a warning. */
  readonly supportedUrls = { '*/*': [/^/] }
  readonly #engine: Engine
  readonly #settings: OctavoSettings

  constructor(engine: Engine, settings: OctavoSettings) {
    this.#engine = engine
    this.#settings = settings
    this.modelId = engine.model.name
  }

  async doGenerate(call: LanguageModelV3CallOptions) {
    const { options, warnings } = requestOf(call, this.#settings)
    try {
      const result = await this.#engine.generate(options).result
      return { ...generateResult(result), warnings, response: this.#response() }
    } catch (error) {
      throw retryable(error)
    }
  }

  /** Resolves with the first part, so that a request that comes to nothing rejects and may be tried again. */
  async doStream(call: LanguageModelV3CallOptions) {
    const { options, warnings } = requestOf(call, this.#settings)
    try {
      const generation = this.#engine.generate(options)
      const parts = generation[Symbol.asyncIterator]() as AsyncIterator<GenerationPart, undefined>
      const first = await parts.next()
      const head = [
        { type: 'stream-start' as const, warnings },
        { type: 'response-metadata' as const, ...this.#response() },
      ]
      return { stream: streamOf({ head, first, parts, result: generation.result, signal: options.signal }) }
    } catch (error) {
      throw retryable(error)
    }
  }

  #response() {
    return { modelId: this.modelId, timestamp: new Date() }
  }
}

/** The AI SDK tries again what is an APICallError that says so, after as long as a header names. */
function retryable(error: unknown): unknown {
  if (!(error instanceof OctavoError) || error.code !== 'OVERLOADED') return error
  const { code, details, message, retryable } = error
  const again = new APICallError({
    ...{ message, url: 'octavo:', requestBodyValues: {}, cause: error, data: { code, details } },
    ...{
      statusCode: 503,
      isRetryable: true,
      responseHeaders: { 'retry-after-ms': String(details.retryAfterMs ?? '') },
    },
  })
  return Object.assign(again, { code, details, retryable })
}
