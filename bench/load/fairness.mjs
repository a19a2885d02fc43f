// Two tenants with equal weights: one, the guest, keeps to its share, the other first does, too, then sends ten times as much. The
// guest's time to the first token in both cases: the p99 beside the flood may be twice the calm one.
//
// A share is half of what the engine serves while it is flooded: who sends, and who is refused, lives in the same process and takes
// CPU time, too. Who keeps to its share sends four fifths of it (--kept), so that nothing piles up when the machine is somewhat slower
// than a moment before; a flood is ten times that. A p99 of few requests is the longest disturbance of the machine in a phase: so a
// round is several pairs of short phases, calm and flooded (the first one alternates), with the same arrivals of the guest and the
// capacity measured just before, and percentiles are of all requests of a round. The verdict is on those of all rounds.
//
//   node bench/load/fairness.mjs [--model stories] [--rounds 3] [--pairs 6] [--seconds 2] [--flood 10] [--kept 0.8]
import { setMaxListeners } from 'node:events'
import { Engine } from 'octavo'
import { drive } from '../../dist/load/drive.js'
import { Random } from '../../dist/load/random.js'
import { percentiles } from '../../dist/load/report.js'
import { createWorkload } from '../../dist/load/workload.js'
import { openCheckpoint } from '../../dist/model/checkpoint.js'
import { median } from '../median.mjs'
import { args, kvBytes, machine, round, save, threads } from './common.mjs'

const flags = args({
  model: 'stories',
  rounds: 3,
  pairs: 6,
  seconds: 2,
  flood: 10,
  kept: 0.8,
  prompt: 200,
  tokens: 32,
  seed: 1,
})
const vocabulary = openCheckpoint(flags.model).desc.vocabulary
const lengths = { scale: 1, promptTokens: flags.prompt, sharedTokens: 0, outputTokens: flags.tokens, vocabulary }
const workload = createWorkload('fixed', { ...lengths, random: new Random(flags.seed) })
/** Until a flood's queue is full. */
const warmupSeconds = 1

const engine = await Engine.load({
  model: flags.model,
  contextTokens: workload.contextTokens,
  kv: { memory: kvBytes(flags.model, 32 * workload.contextTokens) },
  prefixCache: false,
  speculation: 'off',
  queue: { maxRequests: 512 },
})
const load = (tenant, arrivals, seconds, seed, signal) =>
  drive(engine, workload, {
    ...{ arrivals, warmupSeconds, seconds, requests: Number.POSITIVE_INFINITY },
    options: { temperature: 0.8, seed: 1, tenant, ...(signal && { signal }) },
    random: new Random(seed),
  })

/** The guest's load while the other tenant sends `perSecond`; what the other one has waiting at the end is given up. */
async function beside(perSecond, arrivals, seconds, seed) {
  const over = new AbortController()
  setMaxListeners(0, over.signal)
  const other = load('other', { perSecond }, flags.seconds, seed + 1, over.signal)
  const guest = await load('guest', arrivals, seconds, seed)
  over.abort()
  return { guest, other: await other }
}

/** Requests a second of both tenants together while the other one sends `perSecond` and the guest as much as is served. */
async function capacity(perSecond) {
  const [tokens, startedMs] = [engine.stats().generatedTokens, performance.now()]
  await beside(perSecond, { clients: 48 }, flags.seconds / 2, flags.seed)
  const generated = engine.stats().generatedTokens - tokens
  return (1000 * generated) / flags.tokens / (performance.now() - startedMs)
}

const firstTokens = ({ samples }) =>
  samples.filter(({ firstTokenMs, startMs }) => firstTokenMs > startMs).map((s) => s.firstTokenMs - s.startMs)

/** The first tokens of both tenants while the guest keeps to its share and the other one sends `perSecond`. */
async function phase(share, perSecond, seed) {
  const { guest, other } = await beside(perSecond, { perSecond: share }, flags.seconds, seed)
  const refused = other.samples.filter(({ error }) => error === 'OVERLOADED').length
  return { guest: firstTokens(guest), other: firstTokens(other), refused }
}

async function oneRound(number) {
  const phases = { shares: [], calm: [], flooded: [] }
  for (let i = 0; i < flags.pairs; i++) {
    const share = await shareOf(guessed)
    phases.shares.push(share)
    const order = i % 2 === 0 ? ['calm', 'flooded'] : ['flooded', 'calm']
    for (const name of order) {
      const perSecond = name === 'calm' ? share : flags.flood * share
      phases[name].push(await phase(share, perSecond, flags.seed + 1000 * number + 10 * i))
    }
  }
  return phases
}

const seen = (phases) => ({
  ...percentiles(phases.flatMap(({ guest }) => guest)),
  requests: phases.flatMap(({ guest }) => guest).length,
  others: phases.flatMap(({ other }) => other).length,
  refused: phases.reduce((sum, { refused }) => sum + refused, 0),
})
const line = ({ p50, p90, p99, requests, others, refused }) =>
  `p50 ${round(p50)} ms, p90 ${round(p90)}, p99 ${round(p99)} (${requests} requests; of the other's ${others} were served meanwhile, ${refused} refused)`
const compared = (rounds) => {
  const [calm, flooded] = [seen(rounds.flatMap((one) => one.calm)), seen(rounds.flatMap((one) => one.flooded))]
  return { calm, flooded, ratio: flooded.p99 / calm.p99 }
}

const shareOf = async (guess) => (flags.kept * (await capacity(flags.flood * guess))) / 2
/** What a flood is, before anything was measured; it warms up as well. */
const guessed = await shareOf(50)

const measured = []
const rounds = []
for (let i = 0; i < flags.rounds; i++) {
  measured.push(await oneRound(i))
  const { calm, flooded, ratio } = compared(measured.slice(-1))
  const share = median(measured.at(-1).shares)
  rounds.push({ share, calm, flooded, ratio })
  console.log(`round ${i + 1}: keeping to a share is ${round(share)} requests/s; the guest's first token:`)
  console.log(`  the other keeps to its share  ${line(calm)}`)
  console.log(`  the other sends ${flags.flood}x           ${line(flooded)}: ${round(ratio, 2)}x`)
}
await engine.close()
const { calm, flooded, ratio } = compared(measured)
const kept = ratio <= 2
console.log(
  `summary: the guest's first token, p99: ${round(calm.p99)} ms, beside a flood of ${flags.flood}x ${round(flooded.p99)} ms ` +
    `(${calm.requests} and ${flooded.requests} requests): ${round(ratio, 2)}x, ${kept ? 'at most 2x' : 'MORE THAN 2x'}; ` +
    `rounds ${rounds.map((one) => round(one.ratio, 2)).join(', ')}`,
)
save('load-fairness', { flags, machine: machine(threads()), rounds, calm, flooded, ratio, kept })
process.exitCode = kept ? 0 : 1
