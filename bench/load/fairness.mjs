// Two tenants with equal weights: one keeps to its share, the other first does, too, then sends ten times as much. The first one's
// time to the first token in both cases, in turns; the median of the rounds' ratios counts. What the engine can serve is measured
// first; a share is half of 80% of it.
//
//   node bench/load/fairness.mjs [--model stories] [--rounds 3] [--seconds 12] [--flood 10] [--seed 1]
import { Engine } from 'octavo'
import { drive } from '../../dist/load/drive.js'
import { Random } from '../../dist/load/random.js'
import { percentiles } from '../../dist/load/report.js'
import { createWorkload } from '../../dist/load/workload.js'
import { openCheckpoint } from '../../dist/model/checkpoint.js'
import { median } from '../median.mjs'
import { args, kvBytes, machine, round, save, threads } from './common.mjs'

const flags = args({ model: 'stories', rounds: 3, seconds: 12, flood: 10, prompt: 200, tokens: 32, seed: 1 })
const vocabulary = openCheckpoint(flags.model).desc.vocabulary
const lengths = { scale: 1, promptTokens: flags.prompt, sharedTokens: 0, outputTokens: flags.tokens, vocabulary }
const workload = createWorkload('fixed', { ...lengths, random: new Random(flags.seed) })

const engine = await Engine.load({
  model: flags.model,
  contextTokens: workload.contextTokens,
  kv: { memory: kvBytes(flags.model, 32 * workload.contextTokens) },
  prefixCache: false,
  queue: { maxRequests: 512 },
})
const load = (tenant, arrivals, seed, warmupSeconds) =>
  drive(engine, workload, {
    ...{ arrivals, warmupSeconds, seconds: flags.seconds, requests: Number.POSITIVE_INFINITY },
    options: { temperature: 0.8, seed: 1, tenant },
    random: new Random(seed),
  })

const capacity = await load('capacity', { clients: 48 }, flags.seed, 1)
const perSecond = capacity.counts.generatedTokens / flags.tokens / capacity.spanSeconds
const share = 0.4 * perSecond

async function both(times) {
  const [guest, flooder] = await Promise.all([
    load('guest', { perSecond: share }, flags.seed + 1, 2),
    load('flooder', { perSecond: share * times }, flags.seed + 2, 2),
  ])
  const firstTokens = ({ samples }) =>
    samples.filter(({ error }) => error === undefined).map(({ firstTokenMs, startMs }) => firstTokenMs - startMs)
  const errors = ({ samples }) => samples.filter(({ error }) => error !== undefined).length
  const seen = (result) => ({
    ...percentiles(firstTokens(result)),
    served: firstTokens(result).length,
    refused: errors(result),
  })
  return { guest: seen(guest), flooder: seen(flooder) }
}

const rounds = []
for (let i = 0; i < flags.rounds; i++) {
  const [calm, flooded] = [await both(1), await both(flags.flood)]
  rounds.push({ calm, flooded, ratio: flooded.guest.p99 / calm.guest.p99 })
}
await engine.close()
const ratio = median(rounds.map((one) => one.ratio))
const line = ({ p50, p99, served, refused }) =>
  `p50 ${round(p50)} ms, p99 ${round(p99)} ms (${served} served, ${refused} refused)`
console.log(`the engine serves ${round(perSecond)} requests/s; a share is ${round(share)}`)
for (const { calm, flooded, ratio } of rounds) {
  console.log(`first token, both keep to their shares: guest ${line(calm.guest)}; other ${line(calm.flooder)}`)
  console.log(
    `first token, the other sends ${flags.flood}x:    guest ${line(flooded.guest)}; other ${line(flooded.flooder)}: ${round(ratio, 2)}x`,
  )
}
console.log(`the guest's p99 is ${round(ratio, 2)}x (median): ${ratio <= 2 ? 'at most 2x' : 'MORE THAN 2x'}`)
save('fairness', { flags, machine: machine(threads()), perSecond, share, rounds, ratio })
