// A long prompt arrives among requests that generate: how long do they wait from token to token? Their p99 may be the quiet one and
// maxStepMs at most. Prints both histograms, as the callers see them, and what the prompt's own first token took. Exits 1 otherwise.
//
//   node test/deep/stall.mjs [MODEL] [--prompt 4000] [--streams 16] [--max-step-ms 50]
import { Engine } from 'octavo'

const argument = (name, fallback) => {
  const at = process.argv.indexOf(name)
  return at < 0 ? fallback : Number(process.argv[at + 1])
}
const model = process.argv[2]?.startsWith('--') === false ? process.argv[2] : 'synthetic:smollm2-135m'
const promptTokens = argument('--prompt', 4000)
const streams = argument('--streams', 16)
const maxStepMs = argument('--max-step-ms', 50)
const contextTokens = promptTokens + 512
const engine = await Engine.load({ model, contextTokens, maxStepMs, kv: { memory: '1GiB' } })
const ids = (from, length) =>
  Array.from({ length }, (_, i) => 10 + ((from * 7919 + i * 31) % (engine.model.vocabularySize - 10)))
const request = { temperature: 0, ignoreEos: true }

// The cost of prompts is learned from prompts.
for (let i = 0; i < 4; i++) await engine.generate({ prompt: ids(100 + i, 300), ...request, maxTokens: 4 }).result

const gaps = { quiet: [], busy: [] }
let phase = 'warm-up'
let generated = 0
const generations = Array.from({ length: streams }, (_, i) => engine.generate({ prompt: ids(i, 20), ...request }))
const readers = generations.map(async (generation) => {
  let lastMs = 0
  for await (const { tokens } of generation) {
    const nowMs = performance.now()
    if (lastMs > 0 && tokens.length > 0) gaps[phase]?.push(nowMs - lastMs)
    lastMs = nowMs
    generated += tokens.length
  }
})
const until = async (count) => {
  const from = generated
  while (generated - from < count * streams) await new Promise((resolve) => setTimeout(resolve, 5))
}
await until(10)
phase = 'quiet'
await until(80)
phase = 'busy'
const { timings } = await engine.generate({ prompt: ids(999, promptTokens), ...request, maxTokens: 1 }).result
phase = 'over'
for (const generation of generations) generation.cancel()
await Promise.all(readers)
await engine.close()

const edges = [5, 10, 15, 20, 30, 40, 50, 60, 80, 100, 150, 200, 500, 1000, Number.POSITIVE_INFINITY]
function describe(name) {
  const sorted = gaps[name].toSorted((a, b) => a - b)
  const at = (share) => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)]
  console.log(
    `${name}: ${sorted.length} gaps, p50 ${at(0.5).toFixed(1)} ms, p90 ${at(0.9).toFixed(1)}, p99 ${at(0.99).toFixed(1)}, worst ${at(1).toFixed(1)}`,
  )
  let below = 0
  for (const edge of edges) {
    const count = sorted.filter((gap) => gap <= edge).length - below
    below += count
    const bar = '#'.repeat(Math.ceil((60 * count) / sorted.length))
    if (count > 0) console.log(`  up to ${String(edge).padStart(8)} ms ${String(count).padStart(6)} ${bar}`)
  }
  return at(0.99)
}
const [quiet, busy] = [describe('quiet'), describe('busy')]
console.log(
  `summary: p99 between tokens of ${streams} streams: ${quiet.toFixed(1)} ms quiet, ${busy.toFixed(1)} ms while a prompt of ${promptTokens} tokens is computed (limit ${(quiet + maxStepMs).toFixed(1)}); its first token after ${(timings.firstTokenMs / 1000).toFixed(2)} s`,
)
process.exit(busy <= quiet + maxStepMs ? 0 : 1)
