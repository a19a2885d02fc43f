/**
 * What Prometheus is told, by the names, labels and buckets of vLLM, so that dashboards and gateways made for it work; what it has no name
 * for begins with `octavo_`. Counts of an engine are read when they are asked for; times are observed when tokens come and requests end.
 */
import { Counter, Gauge, Registry } from 'prom-client'
import type { Engine, EngineStats, GenerationResult } from '../../index.ts'
import { Histogram, type Observe } from './histogram.ts'
import type { Models } from './models.ts'

const labels = (model: string) => ({ model_name: model, engine: '0' })
const names = ['model_name', 'engine'] as const

const firstTokenBuckets = [
  ...[0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560],
]
const tokenBuckets = [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80]
const latencyBuckets = [
  ...[0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680],
]
/** 1, 2, 5, 10, 20, 50, ... */
const countBuckets = (most: number): number[] =>
  Array.from({ length: 30 }, (_, i) => [1, 2, 5][i % 3]! * 10 ** Math.floor(i / 3)).filter((bound) => bound <= most)

/** Contexts differ from model to model; a histogram's buckets do not. */
const mostTokens = 131_072

const timeHistograms = {
  'vllm:time_to_first_token_seconds': ['Time to first token in seconds.', firstTokenBuckets],
  'vllm:time_per_output_token_seconds': ['Time per output token in seconds.', tokenBuckets],
  'vllm:inter_token_latency_seconds': ['Time between two output tokens in seconds.', tokenBuckets],
  'vllm:request_time_per_output_token_seconds': ['Mean time per output token of a request.', tokenBuckets],
  'vllm:e2e_request_latency_seconds': ['End to end latency of a request in seconds.', latencyBuckets],
  'vllm:request_queue_time_seconds': ['Time that a request waited.', latencyBuckets],
  'vllm:request_inference_time_seconds': ['Time that a request ran.', latencyBuckets],
  'vllm:request_prefill_time_seconds': ['Time that a request spent on its prompt.', latencyBuckets],
  'vllm:request_decode_time_seconds': ['Time from the first token of a request to its last.', latencyBuckets],
} as const
const countHistograms = {
  'vllm:request_prompt_tokens': ['Prompt tokens of a request.', countBuckets(mostTokens)],
  'vllm:request_generation_tokens': ['Generated tokens of a request.', countBuckets(mostTokens)],
  'vllm:request_max_num_generation_tokens': ['Most tokens that a request asked for.', countBuckets(mostTokens)],
  'vllm:request_params_max_tokens': ['The max_tokens of a request.', countBuckets(mostTokens)],
  'vllm:request_params_n': ['The n of a request.', [1, 2, 5, 10, 20]],
} as const

type HistogramName = keyof typeof timeHistograms | keyof typeof countHistograms

/** Read from the engine: name, help, value. */
const gauges: [string, string, (stats: EngineStats) => number][] = [
  ['vllm:num_requests_running', 'Requests that are computed.', ({ requests }) => requests.running],
  ['vllm:num_requests_waiting', 'Requests that wait.', ({ requests }) => requests.waiting],
  ['vllm:kv_cache_usage_perc', 'Share of the KV cache in use; 1 is all of it.', kvUsage],
  ['vllm:gpu_cache_usage_perc', 'The older name of vllm:kv_cache_usage_perc.', kvUsage],
  ['octavo_kv_blocks', 'Blocks of the KV cache.', ({ kv }) => kv.totalBlocks],
  ['octavo_kv_blocks_cached', 'Blocks that no request holds and that may be found again.', ({ kv }) => kv.cachedBlocks],
  ['octavo_num_requests_paused', 'Requests whose reader is slow.', ({ requests }) => requests.paused],
  ['octavo_queue_tokens', 'Tokens that requests that wait lack.', ({ queue }) => queue.tokens],
  ['octavo_queue_drain_seconds', 'Estimate of the time until what waits is done.', ({ queue }) => queue.drainMs / 1000],
]
const counters: [string, string, (stats: EngineStats) => number][] = [
  ['vllm:num_preemptions_total', 'Requests whose place was taken.', ({ preemptions }) => preemptions],
  ['vllm:prompt_tokens_total', 'Prompt tokens.', ({ promptTokens }) => promptTokens],
  ['vllm:generation_tokens_total', 'Generated tokens.', ({ generatedTokens }) => generatedTokens],
  ['vllm:prefix_cache_queries_total', 'Prompt tokens looked for in the cache.', ({ promptTokens }) => promptTokens],
  ['vllm:prefix_cache_hits_total', 'Prompt tokens found in the cache.', ({ cachedTokens }) => cachedTokens],
  ['vllm:gpu_prefix_cache_queries_total', 'The older name.', ({ promptTokens }) => promptTokens],
  ['vllm:gpu_prefix_cache_hits_total', 'The older name.', ({ cachedTokens }) => cachedTokens],
  ['vllm:spec_decode_num_draft_tokens_total', 'Guesses that were computed.', ({ drafts }) => drafts.proposed],
  ['vllm:spec_decode_num_accepted_tokens_total', 'Guesses that were right.', ({ drafts }) => drafts.accepted],
  ['octavo_steps_total', 'Steps of the engine.', ({ steps }) => steps],
  ['octavo_refused_overloaded_total', 'Requests that found the queue full.', ({ refused }) => refused.overloaded],
  ['octavo_refused_deadline_total', 'Requests that could not be in time.', ({ refused }) => refused.deadline],
  ['octavo_refused_consumer_total', 'Requests that nobody read.', ({ refused }) => refused.consumer],
]
/** Of each tenant. */
const tenantCounters = [
  ['octavo_tenant_requests_total', 'Requests of a tenant.', 'requests'],
  ['octavo_tenant_prompt_tokens_total', 'Prompt tokens of a tenant.', 'promptTokens'],
  ['octavo_tenant_generation_tokens_total', 'Generated tokens of a tenant.', 'generatedTokens'],
] as const

const tenantGauges = [
  ['octavo_tenant_weight', 'Weight of a tenant.', 'weight'],
  ['octavo_tenant_kv_blocks', 'Blocks of the KV cache that running requests of a tenant hold.', 'kvBlocks'],
] as const

function kvUsage({ kv }: EngineStats): number {
  return kv.totalBlocks === 0 ? 0 : 1 - (kv.freeBlocks + kv.cachedBlocks) / kv.totalBlocks
}

export class Metrics {
  readonly #registry = new Registry()
  readonly #histograms = new Map<string, Histogram>()
  readonly #observers = new Map<string, Record<HistogramName, Observe>>()
  readonly #success: Counter
  readonly #http: Counter

  constructor(models: Models) {
    const registers = [this.#registry]
    const all = { ...timeHistograms, ...countHistograms }
    for (const [name, [help, buckets]] of Object.entries(all))
      this.#histograms.set(name, new Histogram(name, help, buckets, this.#registry))
    const forEach = (tell: (engine: Engine, name: string) => void) => {
      for (const { engine, name } of models.all) if (engine !== undefined) tell(engine, name)
    }
    for (const [name, help, of] of gauges)
      new Gauge({
        ...{ name, help, labelNames: names, registers },
        collect() {
          forEach((engine, model) => this.set(labels(model), of(engine.stats())))
        },
      })
    for (const [name, help, of] of counters)
      new Counter({
        ...{ name, help, labelNames: names, registers },
        collect() {
          this.reset()
          forEach((engine, model) => this.inc(labels(model), of(engine.stats())))
        },
      })
    for (const [name, help, key] of tenantCounters)
      new Counter({
        ...{ name, help, labelNames: [...names, 'tenant'], registers },
        collect() {
          this.reset()
          forEach((engine, model) => {
            for (const [tenant, counts] of Object.entries(engine.stats().tenants))
              this.inc({ ...labels(model), tenant }, counts[key])
          })
        },
      })
    for (const [name, help, key] of tenantGauges)
      new Gauge({
        ...{ name, help, labelNames: [...names, 'tenant'], registers },
        collect() {
          this.reset()
          forEach((engine, model) => {
            for (const [tenant, about] of Object.entries(engine.stats().tenants))
              this.set({ ...labels(model), tenant }, about[key])
          })
        },
      })
    const reason = { labelNames: [...names, 'finished_reason'], registers }
    this.#success = new Counter({ name: 'vllm:request_success_total', help: 'Requests that were answered.', ...reason })
    const route = { labelNames: ['route', 'status'], registers }
    this.#http = new Counter({ name: 'octavo_http_requests_total', help: 'Requests by route and status.', ...route })
  }

  get contentType(): string {
    return this.#registry.contentType
  }

  text(): Promise<string> {
    return this.#registry.metrics()
  }

  responded(route: string, status: number): void {
    this.#http.inc({ route, status: String(status) })
  }

  /** Times between the tokens of one generation. */
  timer(model: string): { tokens: (count: number) => void } {
    const between = this.#of(model)['vllm:inter_token_latency_seconds']
    let lastMs = 0
    return {
      tokens: (count) => {
        const nowMs = performance.now()
        // Those of one part came one after the other in the time since the last part.
        if (lastMs > 0 && count > 0) between((nowMs - lastMs) / 1000 / count, count)
        if (count > 0) lastMs = nowMs
      },
    }
  }

  /** A request was answered. */
  ended(model: string, results: GenerationResult[], params: { n: number; maxTokens?: number | undefined }): void {
    const observe = this.#of(model)
    observe['vllm:request_params_n'](params.n)
    if (params.maxTokens !== undefined) observe['vllm:request_params_max_tokens'](params.maxTokens)
    for (const { usage, timings, finishReason } of results) {
      const { queueMs, prefillMs, firstTokenMs, totalMs } = timings
      const decodeMs = Math.max(0, totalMs - firstTokenMs)
      observe['vllm:request_prompt_tokens'](usage.promptTokens)
      observe['vllm:request_generation_tokens'](usage.completionTokens)
      observe['vllm:request_max_num_generation_tokens'](params.maxTokens ?? usage.completionTokens)
      observe['vllm:e2e_request_latency_seconds'](totalMs / 1000)
      observe['vllm:request_queue_time_seconds'](queueMs / 1000)
      observe['vllm:request_inference_time_seconds']((totalMs - queueMs) / 1000)
      observe['vllm:request_prefill_time_seconds'](prefillMs / 1000)
      observe['vllm:request_decode_time_seconds'](decodeMs / 1000)
      if (usage.completionTokens > 0) observe['vllm:time_to_first_token_seconds'](firstTokenMs / 1000)
      if (usage.completionTokens > 1) {
        const seconds = decodeMs / 1000 / (usage.completionTokens - 1)
        observe['vllm:request_time_per_output_token_seconds'](seconds)
        observe['vllm:time_per_output_token_seconds'](seconds)
      }
      this.#success.inc({ ...labels(model), finished_reason: finishedReasons[finishReason] })
    }
  }

  #of(model: string): Record<HistogramName, Observe> {
    const known = this.#observers.get(model)
    if (known !== undefined) return known
    const made = Object.fromEntries(
      [...this.#histograms].map(([name, histogram]) => [name, histogram.observer(labels(model))]),
    )
    this.#observers.set(model, made as Record<HistogramName, Observe>)
    return made as Record<HistogramName, Observe>
  }
}

/** As vLLM names them. */
const finishedReasons = { stop: 'stop', toolCalls: 'stop', length: 'length', cancelled: 'abort' } as const
