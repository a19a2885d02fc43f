/**
 * `octavo bench --parallel n`: n requests at once through the public API, half of them sampled. Counted are the tokens of the
 * time in which all of them decode: from the last one's first token to the first one's last. Their contexts have 128 tokens on
 * average with the default of 128 tokens each. A very fast model may end the first request before the last one begins: where less
 * than half of the tokens are counted, requests are made longer.
 */
import { OctavoError } from '../base/errors.ts'
import { kvBlockTokens } from '../base/kv-blocks.ts'
import type { MachineLimits, ModelDesc } from '../base/native.ts'
import { Engine } from '../index.ts'
import { kvBytes } from '../model/memory.ts'
import type { SpeculationOptions } from '../options.ts'
import { batchBound, passCost, peakShares } from './bounds.ts'
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
  /** Of each request. */
  tokens: number
  runs: { tokensPerSecond: number; limits: MachineLimits }[]
}

export function measureParallel(
  model: string,
  desc: ModelDesc,
  plan: ParallelPlan,
  limits: LimitsBeside,
): Promise<ParallelRun[]> {
  const most = Math.max(plan.tokens, desc.contextTokens - promptTokens - 1)
  return longEnough(plan.tokens, most, (tokens) => measureAll(model, desc, { ...plan, tokens }, limits))
}

/** What `measure` finds with requests of `tokens` tokens, or of twice as many until they overlap: it says undefined where they do not. */
export async function longEnough<T>(
  tokens: number,
  most: number,
  measure: (tokens: number) => Promise<T | undefined>,
): Promise<T> {
  const found = await measure(tokens)
  if (found !== undefined) return found
  if (tokens < most) return longEnough(Math.min(2 * tokens, most), most, measure)
  throw new OctavoError(
    'INVALID_ARGUMENT',
    `The first requests end before the last ones begin, with ${most} tokens too.`,
    {
      ...{ option: '--parallel', expected: 'requests that decode at once', found: most },
    },
  )
}

async function measureAll(
  model: string,
  desc: ModelDesc,
  plan: ParallelPlan,
  limits: LimitsBeside,
): Promise<ParallelRun[] | undefined> {
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
    const runs = plan.counts.map((requests): ParallelRun => ({ requests, tokens: plan.tokens, runs: [] }))
    // Interleaved; repetition -1 warms up.
    for (let i = -1; i < plan.repetitions; i++) {
      for (const run of runs) {
        const together = async () => ({
          tokensPerSecond: jointSpeed(await arrivals(engine, desc, run.requests, plan.tokens)),
        })
        const timed = i < 0 ? undefined : await limits.of(together)
        const { tokensPerSecond } = timed ?? (await limits.warmUp(together))
        if (tokensPerSecond === undefined) return undefined
        if (timed) run.runs.push({ tokensPerSecond, limits: timed.limits })
      }
    }
    return runs
  } finally {
    await engine.close()
  }
}

/** Some tokens of one request, and when they came. */
export interface Arrival {
  at: number
  tokens: number
}

function arrivals(engine: Engine, desc: ModelDesc, requests: number, tokens: number): Promise<Arrival[][]> {
  return Promise.all(
    Array.from({ length: requests }, async (_, request) => {
      const prompt = Array.from({ length: promptTokens }, (_, i) => (request * 977 + i * 131) % desc.vocabulary)
      const temperature = request % 2 === 0 ? 0 : 0.8
      const generation = engine.generate({ prompt, maxTokens: tokens + 1, ignoreEos: true, temperature, seed: request })
      const arrivals: Arrival[] = []
      for await (const part of generation) arrivals.push({ at: performance.now(), tokens: part.tokens.length })
      return arrivals
    }),
  )
}

/** Tokens per second of the time in which all requests decode; undefined when less than half of the tokens came in it. */
export function jointSpeed(all: Arrival[][]): number | undefined {
  const from = Math.max(...all.map((arrivals) => arrivals[0]!.at))
  const to = Math.min(...all.map((arrivals) => arrivals.at(-1)!.at))
  const count = (arrivals: Arrival[]) => arrivals.reduce((sum, { tokens }) => sum + tokens, 0)
  const within = count(all.flat().filter(({ at }) => at > from && at <= to))
  return to > from && within >= count(all.flat()) / 2 ? (within * 1000) / (to - from) : undefined
}

/** Medians of the speeds and of their shares of what the hardware allowed at that time. */
export function summariseParallel(parallel: ParallelRun[], desc: ModelDesc) {
  const cost = passCost(desc)
  const ops = cost.layerOpsPerToken + cost.headOpsPerToken
  return parallel.map(({ requests, tokens, runs }) => {
    const context = promptTokens + tokens / 2
    const bounds = runs.map(({ limits }) => batchBound(cost, requests, context, limits))
    return {
      requests,
      tokens,
      context,
      tokensPerSecond: median(runs.map(({ tokensPerSecond }) => tokensPerSecond)),
      bound: median(bounds),
      shareOfBound: median(runs.map(({ tokensPerSecond }, i) => tokensPerSecond / bounds[i]!)),
      ...peakShares(
        runs.map(({ tokensPerSecond }) => tokensPerSecond * ops),
        runs.map(({ limits }) => limits),
      ),
      runs,
    }
  })
}
