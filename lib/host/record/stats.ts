/** EngineStats as it travels: rows of values, because they go out often and names cost more than values. */
import type { EngineStats, StatsRow, TenantStats } from '../wire/protocol.ts'

export function packStats(stats: EngineStats): StatsRow {
  const { kv, requests, queue, refused, drafts } = stats
  const { steps, promptTokens, cachedTokens, generatedTokens, preemptions } = stats
  const numbers = [kv.totalBlocks, kv.freeBlocks, kv.cachedBlocks, requests.running, requests.waiting, requests.paused]
  numbers.push(queue.tokens, queue.oldestMs, queue.drainMs, refused.overloaded, refused.deadline, refused.consumer)
  numbers.push(drafts.proposed, drafts.accepted, drafts.stepsSaved)
  numbers.push(steps, promptTokens, cachedTokens, generatedTokens, preemptions)
  const tenants: StatsRow['tenants'] = []
  for (const name in stats.tenants) {
    const t = stats.tenants[name]!
    tenants.push(name, t.weight, t.running, t.waiting, t.requests)
    tenants.push(t.promptTokens, t.cachedTokens, t.generatedTokens, t.kvBlocks)
  }
  return { numbers, tenants }
}

const tenantStride = 9

export function unpackStats(row: StatsRow): EngineStats {
  const [totalBlocks, freeBlocks, cachedBlocks, running, waiting, paused, ...rest] = row.numbers as Fields
  const [tokens, oldestMs, drainMs, overloaded, deadline, consumer, proposed, accepted, ...counts] = rest
  const [stepsSaved, steps, promptTokens, cachedTokens, generatedTokens, preemptions] = counts
  return {
    kv: { totalBlocks, freeBlocks, cachedBlocks },
    requests: { running, waiting, paused },
    queue: { tokens, oldestMs, drainMs },
    tenants: unpackTenants(row.tenants),
    refused: { overloaded, deadline, consumer },
    drafts: { proposed, accepted, stepsSaved },
    ...{ steps, promptTokens, cachedTokens, generatedTokens, preemptions },
  }
}

type Three = [number, number, number]
type Fields = [...Three, ...Three, ...Three, ...Three, ...Three, ...Three, number, number]

function unpackTenants(row: StatsRow['tenants']): Record<string, TenantStats> {
  // A name may be anything, '__proto__' too.
  const tenants: Record<string, TenantStats> = Object.create(null)
  for (let at = 0; at < row.length; at += tenantStride) {
    const [weight, running, waiting, requests, ...tokens] = row.slice(at + 1, at + tenantStride) as TenantFields
    const [promptTokens, cachedTokens, generatedTokens, kvBlocks] = tokens
    tenants[row[at]!] = { weight, running, waiting, requests, promptTokens, cachedTokens, generatedTokens, kvBlocks }
  }
  return tenants
}

type TenantFields = [...Three, ...Three, number, number]
