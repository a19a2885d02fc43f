/** What octavo/server tells those who watch it: Prometheus by vLLM's names, OpenTelemetry through its API alone, the dashboard. */
import { execFile, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { type Context, context, metrics, propagation, type SpanOptions, trace } from '@opentelemetry/api'
import { Engine } from 'octavo'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { get, type Json, post, type Running, serve } from './server-tools.ts'

const messages = [{ role: 'user', content: 'Tell a story about a shy owl named Luna and a golden kite.' }]

interface SpanSeen {
  name: string
  kind: number | undefined
  parent: unknown
  attributes: Json
  status?: Json
  ended: number
}

/** What an SDK would be told, written down. */
const seen = { spans: [] as SpanSeen[], records: [] as { name: string; value: number; attributes: Json }[] }
const parentKey = Symbol('parent')

function registerRecorder(): void {
  trace.setGlobalTracerProvider({
    getTracer: () =>
      ({
        startSpan: (name: string, { kind, attributes }: SpanOptions, at: Context) => {
          const span: SpanSeen = { name, kind, parent: at.getValue(parentKey), attributes: { ...attributes }, ended: 0 }
          seen.spans.push(span)
          return {
            setAttributes: (more: object) => Object.assign(span.attributes, more),
            setStatus: (status: Json) => Object.assign(span, { status }),
            end: () => span.ended++,
          }
        },
      }) as never,
  })
  metrics.setGlobalMeterProvider({
    getMeter: () =>
      ({
        createHistogram: (name: string) => ({
          record: (value: number, attributes: Json) => seen.records.push({ name, value, attributes }),
        }),
      }) as never,
  })
  propagation.setGlobalPropagator({
    inject: () => {},
    extract: (at, carrier) => at.setValue(parentKey, (carrier as Json).traceparent),
    fields: () => ['traceparent'],
  })
}

let engine: Engine
let server: Running
beforeAll(async () => {
  registerRecorder()
  engine = await Engine.load({ model: 'stories' })
  server = await serve({ models: { stories: engine } })
  await server.loaded
})
afterAll(async () => {
  await server.close()
  await engine.close()
  for (const api of [trace, metrics, propagation, context]) api.disable()
})

const ask = (body: object, headers: Record<string, string> = {}) =>
  post(`${server.url}/v1/chat/completions`, { messages, max_tokens: 12, seed: 1, ...body }, { headers })

describe('OpenTelemetry', () => {
  it.each([true, false])('a span a request, child of what its headers name (stream: %s)', async (stream) => {
    seen.spans.length = 0
    seen.records.length = 0
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    await ask({ temperature: 0.5, stop: 'zzz', stream }, { traceparent })
    expect(seen.spans).toMatchObject([{ name: 'chat stories', kind: 1, parent: traceparent, ended: 1 }])
    const { promptTokens } = (await engine.generate({ messages, maxTokens: 1 }).result).usage
    expect(seen.spans[0]!.attributes).toMatchObject({
      'gen_ai.operation.name': 'chat',
      'gen_ai.provider.name': 'octavo',
      'gen_ai.request.model': 'stories',
      'gen_ai.request.temperature': 0.5,
      'gen_ai.request.max_tokens': 12,
      'gen_ai.request.seed': 1,
      'gen_ai.request.stop_sequences': ['zzz'],
      'gen_ai.response.model': 'stories',
      'gen_ai.response.finish_reasons': ['length'],
      'gen_ai.usage.input_tokens': promptTokens,
      'gen_ai.usage.output_tokens': 12,
    })
    expect(JSON.stringify(seen.spans)).not.toContain('Luna')
    const names = seen.records.map(({ name }) => name)
    expect(names.sort()).toEqual([
      ...['gen_ai.client.token.usage', 'gen_ai.client.token.usage', 'gen_ai.server.request.duration'],
      ...['gen_ai.server.time_per_output_token', 'gen_ai.server.time_to_first_token'],
    ])
  })

  it('errors have their type', async () => {
    seen.spans.length = 0
    seen.records.length = 0
    await ask({ temperature: -1 })
    expect(seen.spans).toMatchObject([{ attributes: { 'error.type': 'invalid_value' }, status: { code: 2 }, ended: 1 }])
    expect(seen.records).toMatchObject([
      { name: 'gen_ai.server.request.duration', attributes: { 'error.type': 'invalid_value' } },
    ])
  })
})

/** Samples by name and labels. */
async function samples(): Promise<Map<string, number>> {
  const { body } = await get(`${server.url}/metrics`)
  const lines = (body as string).split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  return new Map(
    lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))]),
  )
}
const of = (model: string) => `{model_name="${model}",engine="0"}`

describe('/metrics', () => {
  it('counts what requests did, by the names that gateways read', async () => {
    const before = await samples()
    const answers = await Promise.all([1, 2, 3].map((seed) => ask({ seed, n: 2, stream: seed === 2 })))
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200])
    const after = await samples()
    const grew = (name: string) => after.get(name + of('stories'))! - (before.get(name + of('stories')) ?? 0)
    const { promptTokens } = (await engine.generate({ messages, maxTokens: 1 }).result).usage
    expect(grew('vllm:prompt_tokens_total')).toBe(6 * promptTokens)
    expect(grew('vllm:generation_tokens_total')).toBe(72)
    expect(grew('vllm:request_prompt_tokens_sum')).toBe(6 * promptTokens)
    expect(grew('vllm:request_generation_tokens_sum')).toBe(72)
    expect(grew('vllm:request_params_n_sum')).toBe(6)
    expect(grew('vllm:prefix_cache_hits_total')).toBeGreaterThan(0)
    // Six of 12 tokens each.
    const bucket = (bound: string) => `vllm:request_generation_tokens_bucket{le="${bound}",${of('stories').slice(1)}`
    for (const [bound, count] of [
      ['10', 0],
      ['20', 6],
      ['100000', 6],
      ['+Inf', 6],
    ] as const)
      expect([bound, after.get(bucket(bound))! - (before.get(bucket(bound)) ?? 0)]).toEqual([bound, count])
    for (const name of ['time_to_first_token', 'request_prefill_time', 'e2e_request_latency', 'request_queue_time'])
      expect([name, grew(`vllm:${name}_seconds_count`)]).toEqual([name, 6])
    const labels = '{model_name="stories",engine="0",finished_reason="length"}'
    const done = `vllm:request_success_total${labels}`
    expect(after.get(done)! - (before.get(done) ?? 0)).toBe(6)
    for (const name of ['vllm:num_requests_running', 'vllm:num_requests_waiting', 'vllm:kv_cache_usage_perc'])
      expect([name, after.get(name + of('stories'))]).toEqual([name, 0])
  })

  it('has buckets where dashboards look for them', async () => {
    const { body } = await get(`${server.url}/metrics`)
    const bounds = (name: string) =>
      [...(body as string).matchAll(new RegExp(`^${name}_bucket\\{le="([^"]*)"`, 'gm'))].map(([, bound]) => bound)
    expect(bounds('vllm:time_to_first_token_seconds').join(' ')).toBe(
      '0.001 0.005 0.01 0.02 0.04 0.06 0.08 0.1 0.25 0.5 0.75 1 2.5 5 7.5 10 20 40 80 160 640 2560 +Inf',
    )
    expect(bounds('vllm:time_per_output_token_seconds').join(' ')).toBe(
      '0.01 0.025 0.05 0.075 0.1 0.15 0.2 0.3 0.4 0.5 0.75 1 2.5 5 7.5 10 20 40 80 +Inf',
    )
    expect(bounds('vllm:e2e_request_latency_seconds').join(' ')).toBe(
      '0.3 0.5 0.8 1 1.5 2 2.5 5 10 15 20 30 40 50 60 120 240 480 960 1920 7680 +Inf',
    )
    expect(bounds('vllm:request_prompt_tokens').slice(0, 7).join(' ')).toBe('1 2 5 10 20 50 100')
  })

  const hasPromtool = spawnSync('promtool', ['--version']).status === 0
  // Debian's package prometheus has it.
  it.skipIf(!hasPromtool)('is what promtool takes', async () => {
    const { body } = await get(`${server.url}/metrics`)
    const said = await new Promise<string>((resolve) => {
      const child = execFile('promtool', ['check', 'metrics'], (_error, stdout, stderr) => resolve(stdout + stderr))
      child.stdin!.end(body)
    })
    // The names are vLLM's.
    const faults = said.split('\n').filter((line) => !/^(vllm:\w+ metric names should not contain ':')?$/.test(line))
    expect(faults).toEqual([])
  })

  it('has all that the dashboard asks for', async () => {
    const dashboard = readFileSync(new URL('../docs/grafana/octavo.json', import.meta.url), 'utf8')
    const { body } = await get(`${server.url}/metrics`)
    const known = new Set([...(body as string).matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name))
    const asked = [...dashboard.matchAll(/\b(?:vllm:|octavo_)\w+/g)].map(([name]) => name.replace(/_bucket$/, ''))
    expect(asked.length).toBeGreaterThan(20)
    expect(asked.filter((name) => !known.has(name))).toEqual([])
  })
})
