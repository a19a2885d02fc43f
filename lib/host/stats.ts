/** EngineStats as it travels: a row of numbers, because one goes out with every step and names cost more than values. */
import type { EngineStats } from './protocol.ts'

export type StatsRow = number[]

export function packStats(stats: EngineStats): StatsRow {
  const { kv, requests, steps, promptTokens, cachedTokens, generatedTokens, preemptions } = stats
  const { totalBlocks, freeBlocks, cachedBlocks } = kv
  const counts = [steps, promptTokens, cachedTokens, generatedTokens, preemptions]
  return [totalBlocks, freeBlocks, cachedBlocks, requests.running, requests.waiting, ...counts]
}

type Fields = [number, number, number, number, number, number, number, number, number, number]

export function unpackStats(row: StatsRow): EngineStats {
  const [totalBlocks, freeBlocks, cachedBlocks, running, waiting, ...counts] = row as Fields
  const [steps, promptTokens, cachedTokens, generatedTokens, preemptions] = counts
  const kv = { totalBlocks, freeBlocks, cachedBlocks }
  return { kv, requests: { running, waiting }, steps, promptTokens, cachedTokens, generatedTokens, preemptions }
}
