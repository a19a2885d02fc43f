/** Pool and context sizes from what there is and what was asked for. */
import { describe, expect, it } from 'vitest'
import { type MemoryDemands, planMemory } from '../lib/host/memory-plan.ts'
import { scratchBytes, weightBytes } from '../lib/model/memory.ts'
import { desc, stepTokens } from './planned-model.ts'
import { refusal } from './refusal.ts'

const fixed = weightBytes(desc) + scratchBytes(desc, stepTokens)
const MiB = 2 ** 20

function plan(left: number, more: Partial<MemoryDemands> = {}) {
  const demands = {
    desc,
    memoryAvailable: fixed + left,
    stepTokens,
    contextTokens: undefined,
    kvMemoryBytes: undefined,
    kvDtype: 'f16' as const,
  }
  return planMemory({ ...demands, ...more })
}

describe('memory plan', () => {
  it('has room for four requests of the trained length when there is plenty', () => {
    expect(plan(1000 * MiB)).toEqual({ contextTokens: 2048, kvBlocks: 4 * 128 })
  })

  it('keeps the trained length and makes the pool smaller when there is less', () => {
    expect(plan(16 * MiB)).toEqual({ contextTokens: 2048, kvBlocks: 256 })
  })

  it('makes the default length smaller when there is still less', () => {
    expect(plan(4 * MiB)).toEqual({ contextTokens: 1024, kvBlocks: 64 })
  })

  it('grants an explicit length that fits at all, and refuses the next one with the table', () => {
    expect(plan(4 * MiB, { contextTokens: 4096 })).toEqual({ contextTokens: 4096, kvBlocks: 256 })
    const error = refusal(() => plan(4 * MiB, { contextTokens: 4097 }))
    expect(error).toMatchObject({
      code: 'OUT_OF_MEMORY',
      details: { largestContextTokens: 4096, availableBytes: fixed + 4 * MiB },
    })
    expect(error.details.totalBytes).toBe(fixed + 257 * 16384)
    for (const row of ['weights', 'KV cache', 'buffers', 'available', '4096']) expect(error.message).toContain(row)
  })

  it('counts weights that another engine holds already once', () => {
    const left = { memoryAvailable: scratchBytes(desc, stepTokens) + 4 * MiB, contextTokens: 4096 }
    expect(refusal(() => plan(0, left)).details.weightBytes).toBe(weightBytes(desc))
    expect(plan(0, { ...left, weightsShared: true })).toEqual({ contextTokens: 4096, kvBlocks: 256 })
    const error = refusal(() => plan(0, { ...left, weightsShared: true, contextTokens: 4097 }))
    expect(error.details).toMatchObject({ weightBytes: 0, largestContextTokens: 4096 })
  })

  it('grants an explicit pool, with the length that it holds', () => {
    expect(plan(100 * MiB, { kvMemoryBytes: MiB })).toEqual({ contextTokens: 1024, kvBlocks: 64 })
    expect(plan(100 * MiB, { kvMemoryBytes: 50 * MiB })).toEqual({ contextTokens: 2048, kvBlocks: 3200 })
    expect(plan(100 * MiB, { kvMemoryBytes: MiB, contextTokens: 1000 })).toEqual({ contextTokens: 1000, kvBlocks: 64 })
  })

  it('refuses a pool that does not fit, is smaller than a block, or too small for an explicit length', () => {
    expect(refusal(() => plan(MiB, { kvMemoryBytes: 2 * MiB })).code).toBe('OUT_OF_MEMORY')
    expect(refusal(() => plan(MiB, { kvMemoryBytes: 100 })).code).toBe('OUT_OF_MEMORY')
    const error = refusal(() => plan(100 * MiB, { kvMemoryBytes: MiB, contextTokens: 1025 }))
    expect(error).toMatchObject({ code: 'OUT_OF_MEMORY', details: { largestContextTokens: 1024 } })
  })

  it('refuses a model whose weights alone are too large', () => {
    expect(refusal(() => plan(-1))).toMatchObject({ code: 'OUT_OF_MEMORY', details: { largestContextTokens: 0 } })
  })

  it('always has room for a request of contextTokens', () => {
    for (let left = 20_000; left < 3 * 2 ** 30; left *= 1.7) {
      const { contextTokens, kvBlocks } = plan(left * 4)
      expect(contextTokens).toBeLessThanOrEqual(kvBlocks * 16)
      expect(kvBlocks * 16384).toBeLessThanOrEqual(left * 4)
    }
  })
})
