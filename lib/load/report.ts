/** What a load test says, from what was measured: rates, percentiles, goodput under a service objective, use of the KV cache. */
import { kvBlockTokens } from '../base/kv-blocks.ts'
import type { KvMoment, LoadResult, LoadSample } from './drive.ts'

export interface Percentiles {
  mean: number
  p50: number
  p90: number
  p99: number
  max: number
}

export interface ServiceObjective {
  /** Time to the first token. */
  firstTokenMs: number
  /** Mean time between tokens after the first. */
  interTokenMs: number
}

export interface LoadReport {
  spanSeconds: number
  requests: { measured: number; perSecond: number; errors: Record<string, number> }
  tokensPerSecond: { prompt: number; output: number; total: number }
  /** Mean lengths, and the share of prompt tokens found in the prefix cache. */
  lengths: { prompt: number; output: number; cachedShare: number }
  firstTokenMs: Percentiles
  interTokenMs: Percentiles
  endToEndMs: Percentiles
  goodput: ServiceObjective & { share: number; requestsPerSecond: number }
  kv: KvUse
  cpu: { secondsPerSecond: number; msPerOutputToken: number }
  steps: number
  preemptions: number
}

export interface KvUse {
  /** Share of the pool that requests hold: mean and maximum. */
  heldShare: { mean: number; max: number }
  /** Of the tokens in whole blocks, those that are not filled: only the end of each last block. */
  unfilledShare: number
  unfilledTokensPerSequence: number
  /** Of a contiguous reservation of the longest request for each running one, what would not be filled. */
  contiguousUnfilledShare: number
  /** Blocks held beyond those of requests that have their first token: prompts being computed, room for the next token. */
  aheadShare: number
}

/** By the nearest rank. */
export function percentile(sorted: readonly number[], share: number): number {
  if (sorted.length === 0) return 0
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(share * sorted.length) - 1))]!
}

const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length)

export function percentiles(values: readonly number[]): Percentiles {
  const sorted = values.toSorted((a, b) => a - b)
  const at = (share: number) => percentile(sorted, share)
  return { mean: mean(sorted), p50: at(0.5), p90: at(0.9), p99: at(0.99), max: sorted.at(-1) ?? 0 }
}

const meanGap = ({ gapsMs }: LoadSample) => mean(gapsMs)

export function summarise(result: LoadResult, objective: ServiceObjective, contextTokens: number): LoadReport {
  const { spanSeconds, samples, counts, cpuSeconds } = result
  const served = samples.filter((sample) => sample.error === undefined)
  const errors: Record<string, number> = {}
  for (const { error } of samples) if (error !== undefined) errors[error] = (errors[error] ?? 0) + 1
  const good = served.filter(
    (sample) =>
      sample.firstTokenMs - sample.startMs <= objective.firstTokenMs && meanGap(sample) <= objective.interTokenMs,
  )
  const { promptTokens, cachedTokens, generatedTokens, steps, preemptions } = counts
  const [prompt, output] = [promptTokens / spanSeconds, generatedTokens / spanSeconds]
  return {
    spanSeconds,
    requests: { measured: samples.length, perSecond: samples.length / spanSeconds, errors },
    tokensPerSecond: { prompt, output, total: prompt + output },
    lengths: {
      prompt: mean(served.map((sample) => sample.promptTokens)),
      output: mean(served.map((sample) => sample.outputTokens)),
      cachedShare: cachedTokens / Math.max(1, promptTokens),
    },
    firstTokenMs: percentiles(served.map(({ firstTokenMs, startMs }) => firstTokenMs - startMs)),
    interTokenMs: percentiles(served.flatMap(({ gapsMs }) => gapsMs)),
    endToEndMs: percentiles(served.map(({ endMs, startMs }) => endMs - startMs)),
    goodput: {
      ...objective,
      share: good.length / Math.max(1, samples.length),
      requestsPerSecond: good.length / spanSeconds,
    },
    kv: kvUse(result.moments, contextTokens),
    cpu: { secondsPerSecond: cpuSeconds / spanSeconds, msPerOutputToken: (1000 * cpuSeconds) / generatedTokens },
    ...{ steps, preemptions },
  }
}

function kvUse(moments: readonly KvMoment[], contextTokens: number): KvUse {
  const busy = moments.filter(({ tokens }) => tokens > 0)
  const sum = (of: (moment: KvMoment) => number) => busy.reduce((total, moment) => total + of(moment), 0)
  const held = busy.map(({ heldBlocks, totalBlocks }) => heldBlocks / totalBlocks)
  const [tokens, inBlocks] = [
    sum((m) => m.tokens),
    Math.max(
      1,
      sum((m) => m.blockTokens),
    ),
  ]
  const heldTokens = Math.max(
    1,
    sum((m) => m.heldBlocks * kvBlockTokens),
  )
  const sequences = Math.max(
    1,
    sum((m) => m.sequences),
  )
  return {
    heldShare: { mean: mean(held), max: Math.max(0, ...held) },
    unfilledShare: 1 - tokens / inBlocks,
    unfilledTokensPerSequence: (inBlocks - tokens) / sequences,
    contiguousUnfilledShare: 1 - tokens / Math.max(1, sequences * contextTokens),
    aheadShare: Math.max(0, heldTokens - inBlocks) / heldTokens,
  }
}
