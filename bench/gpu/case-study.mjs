/**
 * What each technique brings a model of 13B parameters: weights of 4 bits instead of f16, a cache of 8 bits instead of 16, continuous
 * batching instead of one request after the other; one request alone, and 16 that come at once. Started by case-study.sh; prints a
 * table and writes $OUT/case-study.json. Beside each figure is the time that its bytes take at R, where run.sh has measured that.
 *
 * The figures it stands beside are those of a guide to serving Llama2-13B with the same three techniques: latency -50%, throughput
 * +67% and +44%. f16 weights are computed in one chain of fma here (docs/cuda.md), which is slower than tensor cores: the share of R
 * shows how much of a gain is that, and not four bits.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'

const { Engine } = await import(new URL('./app/dist/index.js', import.meta.url))
const { values } = parseArgs({ options: { tiny: { type: 'boolean', default: false } } })
const { tiny } = values
const out = process.env.OUT ?? '.'
const parameters = tiny ? 4e6 : 13.0e9
const [promptTokens, maxTokens, many] = tiny ? [6, 3, 2] : [256, 64, 16]
const bitsOf = { f16: 16, q4_0: 4.5 }
const modelOf = (weights) => (tiny ? 'stories' : `synthetic:llama-2-13b:${weights}`)

const rows = []
for (const [weights, kv] of [
  ['f16', 'f16'],
  ['q4_0', 'f16'],
  ['q4_0', 'fp8'],
  ['q4_0', 'int8'],
])
  for (const batching of [false, true]) rows.push({ weights, kv, batching })

const readBytesPerSecond = () => {
  const file = join(out, 'figures.tsv')
  if (!existsSync(file)) return undefined
  const line = readFileSync(file, 'utf8').match(/^limit\.read\t(\S+)/m)
  return line === null ? undefined : Number(line[1]) * 1e9
}

/** The engine before is closed when the next one is there: they share their weights, where these are the same. */
let before
async function measure({ weights, kv, batching }) {
  const contextTokens = promptTokens + maxTokens + 16
  const engine = await Engine.load({
    ...{ model: modelOf(weights), device: 'cuda', contextTokens, speculation: 'off', prefixCache: false },
    kv: { dtype: kv, ...(tiny ? {} : { memory: '6GiB' }) },
    internal: { maxSequences: batching ? 64 : 1 },
  })
  const ask = async (requests) => {
    const start = performance.now()
    const results = await Promise.all(
      Array.from({ length: requests }, (_, r) => {
        const prompt = Array.from({ length: promptTokens }, (_, i) => 300 + ((i * 7919 + r * 104729) % 1500))
        return engine.generate({ prompt, maxTokens, ignoreEos: true, temperature: 0 }).result
      }),
    )
    return { seconds: (performance.now() - start) / 1000, results }
  }
  await before?.close()
  before = engine
  await ask(1)
  const one = await ask(1)
  const all = await ask(many)
  const latencies = all.results.map(({ timings }) => timings.totalMs)
  return {
    ...{ weights, kv, batching },
    interTokenMs: one.results[0].timings.interTokenMs.p50,
    latencyMs: one.seconds * 1000,
    latencyOfManyMs: latencies.reduce((sum, ms) => sum + ms, 0) / many,
    tokensPerSecond: (many * maxTokens) / all.seconds,
  }
}

const read = readBytesPerSecond()
const found = []
for (const row of rows) {
  const result = await measure(row)
  if (read !== undefined)
    result.shareOfRead = (parameters * bitsOf[row.weights]) / 8 / read / (result.interTokenMs / 1000)
  found.push(result)
  console.error(`${row.weights}, ${row.kv}, ${row.batching ? 'batched' : 'one by one'}: ${JSON.stringify(result)}`)
}
await before.close()
const at = (weights, kv, batching) => found.find((r) => r.weights === weights && r.kv === kv && r.batching === batching)
const base = at('f16', 'f16', false)
const percent = (value, of) => `${value >= of ? '+' : ''}${Math.round((100 * value) / of - 100)}%`

console.log(
  `| weights | cache | ${many} requests | ms a token, alone | latency of one | latency of ${many} | tokens/s of ${many} |`,
)
console.log('| --- | --- | --- | --- | --- | --- | --- |')
for (const r of found)
  console.log(
    `| ${r.weights} | ${r.kv} | ${r.batching ? 'together' : 'one by one'} | ${r.interTokenMs.toFixed(2)} | ${percent(r.latencyMs, base.latencyMs)} | ` +
      `${percent(r.latencyOfManyMs, base.latencyOfManyMs)} | ${percent(r.tokensPerSecond, base.tokensPerSecond)} |`,
  )
/** One after the other, each on top of those before: what it multiplies the throughput of many by, and the latency of one. */
const ladder = [
  ['4-bit weights', at('q4_0', 'f16', false), base],
  ['8-bit cache (fp8)', at('q4_0', 'fp8', false), at('q4_0', 'f16', false)],
  ['8-bit cache (int8)', at('q4_0', 'int8', false), at('q4_0', 'f16', false)],
  ['continuous batching, after int8', at('q4_0', 'int8', true), at('q4_0', 'int8', false)],
  ['continuous batching alone', at('f16', 'f16', true), base],
  ['all three, int8', at('q4_0', 'int8', true), base],
  ['all three, fp8', at('q4_0', 'fp8', true), base],
].map(([technique, after, before]) => ({
  technique,
  latency: percent(after.latencyMs, before.latencyMs),
  throughput: percent(after.tokensPerSecond, before.tokensPerSecond),
}))
for (const { technique, latency, throughput } of ladder)
  console.log(`${technique}: latency of one ${latency}, throughput of ${many} ${throughput}`)
writeFileSync(
  join(out, 'case-study.json'),
  `${JSON.stringify({ tiny, promptTokens, maxTokens, many, read, found, ladder }, null, 1)}\n`,
)
console.log(`case-study.mjs: done; results in ${out}`)
