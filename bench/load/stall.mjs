// A long prompt arrives among requests that are generating: what happens to the time between their tokens. Quiet gaps before
// the prompt's arrival and after its first token (a machine's speed drifts), those between; histograms of both, the longest, and the
// bound: quiet p99 + maxStepMs.
//
//   node bench/load/stall.mjs [--model synthetic:smollm2-135m] [--requests 16] [--prompt 4000] [--times 3] [--maxStepMs 50]
import { setTimeout as sleep } from 'node:timers/promises'
import { Engine } from 'octavo'
import { Random } from '../../dist/load/random.js'
import { percentiles } from '../../dist/load/report.js'
import { openCheckpoint } from '../../dist/model/checkpoint.js'
import { args, kvBytes, machine, round, save, threads } from './common.mjs'

const flags = args({
  ...{ model: 'synthetic:smollm2-135m', requests: 16, prompt: 4000, times: 3, quietSeconds: 3, maxStepMs: 50, seed: 1 },
})
const random = new Random(flags.seed)
const vocabulary = openCheckpoint(flags.model).desc.vocabulary
const ids = (count) => Int32Array.from({ length: count }, () => 300 + random.below(vocabulary - 300))
const contextTokens = flags.prompt + 64

const engine = await Engine.load({
  model: flags.model,
  contextTokens,
  kv: { memory: kvBytes(flags.model, 2 * contextTokens + flags.requests * 2048) },
  prefixCache: false,
  speculation: 'off',
  maxStepMs: flags.maxStepMs,
})
const sampling = { ignoreEos: true, temperature: 0.8, seed: flags.seed }

/** Gaps between the tokens of all generating requests go where this points. */
let gaps
let waiting = 0
let stopped = false
async function decode() {
  const generation = engine.generate({ prompt: ids(64), maxTokens: contextTokens - 64, ...sampling })
  let last
  for await (const _ of generation) {
    const now = performance.now()
    if (last === undefined) waiting--
    else gaps.push(now - last)
    last = now
    if (stopped) break
  }
}

async function once() {
  gaps = []
  stopped = false
  waiting = flags.requests
  const decoding = Array.from({ length: flags.requests }, decode)
  while (waiting > 0) await sleep(5)
  await sleep(500)
  const quiet = []
  gaps = quiet
  await sleep(flags.quietSeconds * 1000)
  const during = []
  gaps = during
  const long = engine.generate({ prompt: ids(flags.prompt), maxTokens: 1, ...sampling })
  const { firstTokenMs } = (await long.result).timings
  gaps = quiet
  await sleep(flags.quietSeconds * 1000)
  stopped = true
  await Promise.all(decoding)
  return { quiet, during, firstTokenMs }
}

const edges = [
  1,
  2,
  5,
  10,
  20,
  30,
  40,
  50,
  60,
  70,
  80,
  100,
  120,
  150,
  200,
  300,
  500,
  1000,
  2000,
  5000,
  Number.POSITIVE_INFINITY,
]
const histogram = (values) =>
  edges.map((edge, i) => values.filter((value) => value <= edge && value > (edges[i - 1] ?? 0)).length)

const runs = []
for (let i = 0; i < flags.times; i++) runs.push(await once())
await engine.close()
const quiet = runs.flatMap((run) => run.quiet)
const during = runs.flatMap((run) => run.during)
const [before, after] = [percentiles(quiet), percentiles(during)]
const bound = before.p99 + flags.maxStepMs
console.log('ms between tokens   quiet   while the prompt is computed')
for (const [i, count] of histogram(during).entries()) {
  const still = histogram(quiet)[i]
  if (count + still === 0) continue
  const bar = '#'.repeat(Math.ceil((50 * count) / during.length))
  console.log(`${`<= ${edges[i]}`.padStart(12)} ${String(still).padStart(12)} ${String(count).padStart(8)} ${bar}`)
}
const kept = after.p99 <= bound
console.log(
  `summary: p99 between tokens of ${flags.requests} requests ${round(after.p99)} ms while a prompt of ${flags.prompt} tokens is computed, quiet ` +
    `${round(before.p99)} ms; bound ${round(bound)} ms: ${kept ? 'kept' : 'NOT KEPT'}; longest ${round(after.max)} ms; its first token ` +
    `after ${runs.map((run) => round(run.firstTokenMs, 0)).join(', ')} ms`,
)
save('load-stall', {
  ...{ flags, machine: machine(threads()), quiet: before, during: after, boundMs: bound, kept },
  firstTokenMs: runs.map((run) => run.firstTokenMs),
  histogram: {
    edges: edges.map((edge) => (Number.isFinite(edge) ? edge : null)),
    quiet: histogram(quiet),
    during: histogram(during),
  },
})
process.exitCode = kept ? 0 : 1
