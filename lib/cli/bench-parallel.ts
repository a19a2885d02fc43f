/**
 * `octavo bench --parallel n`: n requests at once through the public API, half of them sampled. Counted are the tokens of the
 * time in which all of them decode: from the last one's first token to the first one's last. Their contexts have 128 tokens on
 * average with the default of 128 tokens each.
 */
import { OctavoError } from '../errors.ts'
import { Engine } from '../index.ts'
import { kvBlockTokens } from '../kv-blocks.ts'
import { kvBytes } from '../model/memory.ts'
import type { MachineLimits, ModelDesc } from '../native.ts'
import type { SpeculationOptions } from '../options.ts'
import { batchBound, passCost } from './bounds.ts'
import type { LimitsBeside } from './limits-beside.ts'
import { median } from './output.ts'

export interface ParallelPlan {
  counts: number[]
  tokens: number
  repetitions: number
  threads: number
  speculation: 'auto' | 'off' | SpeculationOptions | undefined
}

const promptTokens = 64

/** Tokens per second of all requests together, in each repetition, with the limits beside it. */
export interface ParallelRun {
  requests: number
  runs: { tokensPerSecond: number; limits: MachineLimits }[]
}

export async function measureParallel(
  model: string,
  desc: ModelDesc,
  plan: ParallelPlan,
  limits: LimitsBeside,
): Promise<ParallelRun[]> {
  const contextTokens = promptTokens + plan.tokens + 1
  const most = Math.max(...plan.counts)
  const engine = await Engine.load({
    model,
    threads: plan.threads,
    contextTokens,
    prefixCache: false,
    speculation: plan.speculation,
    // Prompts first: as long as possible all requests decode.
    objective: 'throughput',
    kv: { memory: most * kvBytes(desc, contextTokens + kvBlockTokens, 'f16') },
  })
  try {
    const runs = plan.counts.map((requests): ParallelRun => ({ requests, runs: [] }))
    // Interleaved; repetition -1 warms up.
    for (let i = -1; i < plan.repetitions; i++) {
      for (const run of runs) {
        const timing = await limits.of(async () => ({
          tokensPerSecond: await decodeTogether(engine, desc, run.requests, plan.tokens),
        }))
        if (i >= 0) run.runs.push(timing)
      }
    }
    return runs
  } finally {
    await engine.close()
  }
}

async function decodeTogether(engine: Engine, desc: ModelDesc, requests: number, tokens: number): Promise<number> {
  const all = await Promise.all(
    Array.from({ length: requests }, async (_, request) => {
      const prompt = Array.from({ length: promptTokens }, (_, i) => (request * 977 + i * 131) % desc.vocabulary)
      const temperature = request % 2 === 0 ? 0 : 0.8
      const generation = engine.generate({ prompt, maxTokens: tokens + 1, ignoreEos: true, temperature, seed: request })
      const arrivals: { at: number; tokens: number }[] = []
      for await (const part of generation) arrivals.push({ at: performance.now(), tokens: part.tokens.length })
      return arrivals
    }),
  )
  const from = Math.max(...all.map((arrivals) => arrivals[0]!.at))
  const to = Math.min(...all.map((arrivals) => arrivals.at(-1)!.at))
  if (to <= from)
    throw new OctavoError('INVALID_ARGUMENT', `The first of ${requests} requests ends before the last one begins.`, {
      ...{ option: '--tokens', expected: 'enough tokens for all requests to decode at once', found: tokens },
    })
  const within = all.flat().filter(({ at }) => at > from && at <= to)
  return (within.reduce((sum, { tokens }) => sum + tokens, 0) * 1000) / (to - from)
}

/** Medians of the speeds and of their shares of what the hardware allowed at that time. */
export function summariseParallel(parallel: ParallelRun[], desc: ModelDesc, tokens: number) {
  const cost = passCost(desc)
  const context = promptTokens + tokens / 2
  const ops = cost.layerOpsPerToken + cost.headOpsPerToken
  return parallel.map(({ requests, runs }) => {
    const bounds = runs.map(({ limits }) => batchBound(cost, requests, context, limits))
    return {
      requests,
      context,
      tokensPerSecond: median(runs.map(({ tokensPerSecond }) => tokensPerSecond)),
      bound: median(bounds),
      shareOfBound: median(runs.map(({ tokensPerSecond }, i) => tokensPerSecond / bounds[i]!)),
      shareOfInt8Peak: median(
        runs.map(({ tokensPerSecond, limits }) => (tokensPerSecond * ops) / limits.int8OpsPerSecond),
      ),
      runs,
    }
  })
}
