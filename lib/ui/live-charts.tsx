/** The charts of the live view: two minutes of samples, all models together. */
import type { Recent } from '../server/service/recent.ts'
import type { ModelCounts } from './api.ts'
import { Chart, type Line } from './chart.tsx'

export interface Sample {
  time: number
  models: ModelCounts[]
  recent: Recent[]
}

export const sum = (models: ModelCounts[], of: (model: ModelCounts) => number) =>
  models.reduce((all, model) => all + of(model), 0)

function quantile(values: number[], share: number): number | null {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? null
}

const colours: Line['colour'][] = ['--one', '--two', '--three', '--four', '--five']
const linesOf = (...labels: string[]): Line[] => labels.map((label, i) => ({ label, colour: colours[i]! }))

/** Change of a count from sample to sample, a second. */
const rate = (samples: Sample[], of: (model: ModelCounts) => number) =>
  samples.map((sample, i) => {
    const before = samples[i - 1]
    return before === undefined ? null : (sum(sample.models, of) - sum(before.models, of)) / (sample.time - before.time)
  })

/** Samples that rates of seldom events look back. */
const lookBack = 10

/** Of the tokens of prompts that came in the last seconds, those that were found in the cache. */
const foundShare = (samples: Sample[]) =>
  samples.map((sample, i) => {
    const before = samples[Math.max(0, i - lookBack)]!
    const change = (of: (model: ModelCounts) => number) => sum(sample.models, of) - sum(before.models, of)
    const prompts = change((m) => m.promptTokens)
    return prompts === 0 ? null : (100 * change((m) => m.cachedTokens)) / prompts
  })

const blocksOf = ({ models }: Sample, tenant: string) =>
  sum(models, ({ tenants }) => (Object.hasOwn(tenants, tenant) ? tenants[tenant]!.kvBlocks : 0))

/** Tenants with a line of their own: those that held the most; all others are one. */
function tenantBlocks(samples: Sample[]) {
  const names = new Set(samples.flatMap(({ models }) => models.flatMap(({ tenants }) => Object.keys(tenants))))
  const most = [...names].map((name) => ({ name, blocks: Math.max(...samples.map((one) => blocksOf(one, name))) }))
  const holders = most.filter(({ blocks }) => blocks > 0)
  const ranked = holders.toSorted((a, b) => b.blocks - a.blocks || (a.name < b.name ? -1 : 1)).map(({ name }) => name)
  const rest = ranked.slice(colours.length - 1)
  const own = (rest.length > 1 ? ranked.slice(0, colours.length - 1) : ranked).toSorted()
  if (own.length === 0) return { lines: linesOf('nobody'), values: [samples.map(() => 0)] }
  const values = own.map((name) => samples.map((one) => blocksOf(one, name)))
  const others = samples.map((one) => rest.reduce((all, name) => all + blocksOf(one, name), 0))
  const named = own.map((name) => name || 'everybody')
  return rest.length > 1
    ? { lines: linesOf(...named, `${rest.length} others`), values: [...values, others] }
    : { lines: linesOf(...named), values }
}

export function Charts({ samples }: { samples: Sample[] }) {
  const times = samples.map(({ time }) => time)
  const of = (value: (model: ModelCounts) => number) => samples.map(({ models }) => sum(models, value))
  /** Of the requests that ended within ten seconds before. */
  const latency = (value: (request: Recent) => number) =>
    [0.5, 0.99].map((share) =>
      samples.map(({ time, recent }) =>
        quantile(recent.filter(({ endedMs }) => endedMs > (time - 10) * 1000).map(value), share),
      ),
    )
  const used = ({ kv }: ModelCounts) => kv.totalBlocks - kv.freeBlocks - kv.cachedBlocks
  const quantiles = linesOf('median', 'worst of 100')
  const tenants = tenantBlocks(samples)
  const charts: { title: string; unit: string; lines: Line[]; values: (number | null)[][] }[] = [
    {
      ...{ title: 'Tokens', unit: 'per second', lines: linesOf('generated', 'prompts') },
      values: [rate(samples, (m) => m.generatedTokens), rate(samples, (m) => m.promptTokens)],
    },
    {
      ...{ title: 'Requests', unit: 'at a time', lines: linesOf('running', 'waiting') },
      values: [of((m) => m.requests.running), of((m) => m.requests.waiting)],
    },
    {
      ...{ title: 'First token', unit: 'ms', lines: quantiles },
      values: latency(({ queueMs, prefillMs }) => queueMs + prefillMs),
    },
    { title: 'Between tokens', unit: 'ms', lines: quantiles, values: latency(({ interTokenMs }) => interTokenMs) },
    {
      ...{ title: 'KV cache', unit: 'blocks', lines: linesOf('in use', 'kept for later') },
      values: [of(used), of((m) => m.kv.cachedBlocks)],
    },
    { title: 'KV cache by tenant', unit: 'blocks in use', ...tenants },
    {
      ...{ title: 'Prefix cache', unit: '% of the tokens of prompts', lines: linesOf('found') },
      values: [foundShare(samples)],
    },
    {
      ...{ title: 'Preemptions', unit: 'per second', lines: linesOf('requests that made way') },
      values: [rate(samples, (m) => m.preemptions)],
    },
  ]
  return (
    <div class="columns">
      {charts.map((chart) => (
        // Lines are fixed when a chart is made.
        <Chart key={`${chart.title} ${chart.lines.map(({ label }) => label).join('\n')}`} {...chart} times={times} />
      ))}
    </div>
  )
}
