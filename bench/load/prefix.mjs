// 64 clients that share a system prompt of 1,000 tokens, 50 tokens of their own each, 32 generated: throughput and time to the
// first token with the prefix cache on and off (five times are promised), and whether the tokens are identical.
//
//   node bench/load/prefix.mjs [--model synthetic:smollm2-135m] [--clients 64] [--rounds 1] [--shared 1000] [--seed 1]
import { Engine } from 'octavo'
import { drive } from '../../dist/load/drive.js'
import { Random } from '../../dist/load/random.js'
import { summarise } from '../../dist/load/report.js'
import { createWorkload } from '../../dist/load/workload.js'
import { openCheckpoint } from '../../dist/model/checkpoint.js'
import { args, kvBytes, machine, round, save, threads } from './common.mjs'

const flags = args({
  ...{ model: 'synthetic:smollm2-135m', clients: 64, rounds: 1, shared: 1000, own: 50, tokens: 32, seed: 1 },
})
const vocabulary = openCheckpoint(flags.model).desc.vocabulary

async function run(prefixCache) {
  const random = new Random(flags.seed)
  const lengths = { scale: 1, promptTokens: flags.own, sharedTokens: flags.shared, outputTokens: flags.tokens }
  const workload = createWorkload('fixed', { ...lengths, vocabulary, random: random.child(-1) })
  const engine = await Engine.load({
    model: flags.model,
    contextTokens: workload.contextTokens,
    kv: { memory: kvBytes(flags.model, (flags.clients + 1) * workload.contextTokens) },
    prefixCache,
    speculation: 'off',
  })
  await engine.generate({ prompt: [1000, 1001], maxTokens: 8, ignoreEos: true }).result
  const result = await drive(engine, workload, {
    arrivals: { clients: flags.clients },
    ...{ warmupSeconds: 0, seconds: 3600, requests: Number.POSITIVE_INFINITY, total: flags.clients * flags.rounds },
    options: { temperature: 0.8, seed: flags.seed },
    random,
  })
  await engine.close()
  const report = summarise(result, { firstTokenMs: 5000, interTokenMs: 500 }, workload.contextTokens)
  const answers = new Map(result.samples.map(({ promptHash, outputHash }) => [promptHash, outputHash]))
  return { report, answers }
}

const [on, off] = [await run(true), await run(false)]
const identical = on.answers.size === off.answers.size && [...on.answers].every(([p, o]) => off.answers.get(p) === o)
const ratios = {
  throughput: on.report.tokensPerSecond.output / off.report.tokensPerSecond.output,
  firstTokenMean: off.report.firstTokenMs.mean / on.report.firstTokenMs.mean,
  firstTokenP50: off.report.firstTokenMs.p50 / on.report.firstTokenMs.p50,
  firstTokenP99: off.report.firstTokenMs.p99 / on.report.firstTokenMs.p99,
}
for (const [name, { report }] of [
  ['on ', on],
  ['off', off],
]) {
  const { mean, p50, p99 } = report.firstTokenMs
  console.log(
    `prefix cache ${name}: ${round(report.tokensPerSecond.output)} output tokens/s, first token mean ${round(mean)} ms, ` +
      `p50 ${round(p50)}, p99 ${round(p99)}; ${round(100 * report.lengths.cachedShare)}% of prompt tokens found`,
  )
}
const kept = identical && ratios.throughput >= 5 && ratios.firstTokenMean >= 5
console.log(
  `summary: throughput ${round(ratios.throughput, 2)}x, first token ${round(ratios.firstTokenMean, 2)}x sooner on average ` +
    `(p50 ${round(ratios.firstTokenP50, 2)}x, p99 ${round(ratios.firstTokenP99, 2)}x); ` +
    `${on.answers.size} answers ${identical ? 'identical' : 'DIFFERENT'}; ${kept ? 'at least 5x' : 'LESS THAN 5x'}`,
)
save('load-prefix', { flags, machine: machine(threads()), ratios, identical, on: on.report, off: off.report })
process.exitCode = kept ? 0 : 1
