// 64 clients in a closed loop, lengths spread as in ShareGPT: tokens per second of octavo against the very same steps driven from
// C++, against static batching with the same kernels (padded as the literature means it, and not), and against one request after
// the other, beside what the limits of this machine would give. The time outside native steps and the KV cache's waste come from
// the same run.
//
//   node bench/load/throughput.mjs [--model synthetic:smollm2-135m] [--clients 64] [--rounds 4] [--scale 0.4] [--seed 1]

import { native } from '../../dist/base/native.js'
import { bestLimits, passCost, reachableOpsPerSecond } from '../../dist/cli/bounds.js'
import { Random } from '../../dist/load/random.js'
import { summarise } from '../../dist/load/report.js'
import { createWorkload } from '../../dist/load/workload.js'
import { openCheckpoint } from '../../dist/model/checkpoint.js'
import { largestBatch, staticBatches } from './batches.mjs'
import { args, machine, recordedRun, round, save, threads, withNative } from './common.mjs'

const flags = args({ model: 'synthetic:smollm2-135m', clients: 64, rounds: 4, scale: 0.4, seed: 1, alone: 12 })
const { desc } = openCheckpoint(flags.model)
const random = new Random(flags.seed)
const shape = { scale: flags.scale, promptTokens: 0, sharedTokens: 0, outputTokens: 0, vocabulary: desc.vocabulary }
const workload = createWorkload('sharegpt', { ...shape, random: random.child(-1) })

/** The requests in the order in which they were asked. */
const requests = []
const noted = {
  ...workload,
  next(client, previous) {
    const request = workload.next(client, previous)
    requests.push({ promptTokens: request.prompt.length, outputTokens: request.maxTokens })
    return request
  },
}

const kvTokens = Math.max(2 * workload.contextTokens, Math.ceil(1.6 * flags.clients * workload.meanTokens))
const limitsBefore = native().limits(threads())
const total = flags.clients * flags.rounds
const {
  run: result,
  told: trace,
  record,
} = await recordedRun({
  ...{ model: flags.model, workload: noted, kvTokens, clients: flags.clients, total, seed: flags.seed, random },
  before: async (engine) => {
    await engine.generate({ prompt: [1000, 1001], maxTokens: 8, ignoreEos: true }).result
    engine.startTrace()
  },
  after: async (engine) => (await engine.stopTrace()).otherData,
})
const report = summarise(result, { firstTokenMs: 5000, interTokenMs: 500 }, workload.contextTokens)
const outputTokens = requests.reduce((sum, request) => sum + request.outputTokens, 0)
const promptTokens = requests.reduce((sum, request) => sum + request.promptTokens, 0)

const live = { seconds: result.spanSeconds, steps: trace.steps, perSecond: outputTokens / result.spanSeconds }
const some = requests.slice(0, flags.alone)
const someTokens = some.reduce((sum, request) => sum + request.outputTokens, 0)
const poolTokens = Math.max(kvTokens + 64, largestBatch(requests, flags.clients))
const [sameSteps, padded, unpadded, alone] = withNative(flags.model, poolTokens, (other) =>
  [
    [record, outputTokens],
    [staticBatches(requests, flags.clients, true), outputTokens],
    [staticBatches(requests, flags.clients, false), outputTokens],
    [staticBatches(some, 1, true), someTokens],
  ].map(([{ ops, samplers }, tokens]) => {
    const { seconds, steps } = native().replaySteps(other, ops, samplers)
    return { seconds, steps, perSecond: tokens / seconds }
  }),
)

/** The least time that weights and arithmetic allow: all requests one by one, and in the steps that were made. */
const limits = bestLimits(limitsBefore, native().limits(threads()))
const cost = passCost(desc)
const opSeconds = 1 / reachableOpsPerSecond(limits)
const weightSeconds = (cost.layerBytes + cost.headBytes) / limits.readBytesPerSecond
const tokenSeconds = (cost.layerOpsPerToken + cost.headOpsPerToken) * opSeconds
const promptSeconds = promptTokens * cost.layerOpsPerToken * opSeconds
const limitAlone = promptSeconds + outputTokens * Math.max(weightSeconds, tokenSeconds)
const limitBatched = Math.max(trace.steps * weightSeconds, promptSeconds + outputTokens * tokenSeconds)

const ratios = {
  toSameStepsFromCpp: sameSteps.seconds / live.seconds,
  toStaticPadded: live.perSecond / padded.perSecond,
  toStaticUnpadded: live.perSecond / unpadded.perSecond,
  toOneAtATime: live.perSecond / alone.perSecond,
  limitOfBatching: limitAlone / limitBatched,
}
const shown = (run) => `${round(run.perSecond)} output tokens/s (${round(run.seconds)} s, ${run.steps} steps)`
console.log(
  `${total} requests of ${flags.clients} clients, mean ${round(promptTokens / total)} + ${round(outputTokens / total)} tokens`,
)
console.log(`octavo                 ${shown(live)}`)
console.log(`the same steps, C++    ${shown(sameSteps)}: octavo reaches ${round(100 * ratios.toSameStepsFromCpp)}%`)
console.log(`static, padded         ${shown(padded)}: octavo is ${round(ratios.toStaticPadded, 2)}x`)
console.log(`static, unpadded       ${shown(unpadded)}: octavo is ${round(ratios.toStaticUnpadded, 2)}x`)
console.log(
  `one after the other    ${shown(alone)}: octavo is ${round(ratios.toOneAtATime, 2)}x, the limits allow ${round(ratios.limitOfBatching, 2)}x`,
)
console.log(`outside native steps   ${round(100 * trace.overheadShare, 2)}% of the time`)
const { kv } = report
console.log(
  `KV cache: ${round(100 * kv.unfilledShare, 2)}% unfilled, ${round(kv.unfilledTokensPerSequence)} tokens a sequence; ` +
    `${workload.contextTokens} tokens reserved for each: ${round(100 * kv.contiguousUnfilledShare)}%`,
)
save('load-throughput', {
  ...{ flags, machine: machine(threads()), limits, requests: total, promptTokens, outputTokens },
  ...{ live, sameSteps, padded, unpadded, alone, ratios, trace, kv },
  ...{ firstTokenMs: report.firstTokenMs, interTokenMs: report.interTokenMs, endToEndMs: report.endToEndMs },
})
