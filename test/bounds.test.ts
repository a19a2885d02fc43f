import { describe, expect, it } from 'vitest'
import type { MachineLimits, ModelDesc, TensorSource } from '../lib/base/native.ts'
import { type Arrival, jointSpeed, longEnough } from '../lib/cli/bench-parallel.ts'
import {
  attentionCost,
  batchBound,
  bestLimits,
  decodeBound,
  passCost,
  peakShares,
  prefillOpsPerSecond,
} from '../lib/cli/bounds.ts'

const matrix = (rows: number, width: number): TensorSource => ({
  file: -1,
  offset: 0,
  bytes: (rows * width * 18) / 32,
  format: 'q4_0',
  rows,
  width,
})

/** One layer, width 64, 2 heads over 1 key/value head of 32, feed-forward 96, vocabulary 320. */
function tinyDesc(tied: boolean): ModelDesc {
  const tensors: Record<string, TensorSource> = {
    embed: matrix(320, 64),
    'layer.0.q': matrix(64, 64),
    'layer.0.k': matrix(32, 64),
    'layer.0.v': matrix(32, 64),
    'layer.0.attnOut': matrix(64, 64),
    'layer.0.gate': matrix(96, 64),
    'layer.0.up': matrix(96, 64),
    'layer.0.down': matrix(64, 96),
    'layer.0.attnNorm': { ...matrix(1, 64), format: 'f32', bytes: 256 },
  }
  if (!tied) tensors.output = matrix(320, 64)
  return {
    architecture: 'llama',
    files: [],
    layers: 1,
    width: 64,
    heads: 2,
    kvHeads: 1,
    headSize: 32,
    feedForward: 96,
    vocabulary: 320,
    normEps: 1e-5,
    contextTokens: 128,
    activation: 'silu',
    rope: { style: 'half', dims: 32, base: 10000, scaling: { kind: 'none' } },
    slidingWindow: 0,
    seed: 0,
    tensors,
  }
}

const layerWeights = 64 * 64 * 2 + 32 * 64 * 2 + 96 * 64 * 3
const limits: MachineLimits = {
  readBytesPerSecond: 1e9,
  int8OpsPerSecond: 1e12,
  matrixOpsPerSecond: 0,
  fmaOpsPerSecond: 1e11,
  barrierSeconds: 1e-6,
}

describe('bounds of a forward pass', () => {
  it('counts every matrix of the layers once, the head, and the KV cache of a token', () => {
    expect(passCost(tinyDesc(false))).toEqual({
      layerBytes: (layerWeights * 18) / 32,
      headBytes: (320 * 64 * 18) / 32,
      layerOpsPerToken: 2 * layerWeights,
      headOpsPerToken: 2 * 320 * 64,
      kvBytesPerToken: 2 * 32 * 2,
    })
  })

  it('streams a tied embedding as the head, exactly once', () => {
    expect(passCost(tinyDesc(true))).toEqual(passCost(tinyDesc(false)))
  })

  it('bounds decode by bytes when memory is the limit, and by operations when it is not', () => {
    const cost = passCost(tinyDesc(true))
    const bytes = cost.layerBytes + cost.headBytes + 100 * cost.kvBytesPerToken
    expect(decodeBound(cost, 100, limits)).toBeCloseTo(1e9 / bytes, 6)
    const slow = { ...limits, int8OpsPerSecond: 1e6 }
    expect(decodeBound(cost, 100, slow)).toBeCloseTo(0.8e6 / (cost.layerOpsPerToken + cost.headOpsPerToken), 6)
  })

  it('counts the attention of a decode step as FMAs, for int8 as two passes of integers, where it is asked to', () => {
    const cost = passCost(tinyDesc(true))
    const fast = { ...limits, readBytesPerSecond: 1e15 }
    const linear = (cost.layerOpsPerToken + cost.headOpsPerToken) / 1e12
    const ops = 1000 * 4 * 2 * 32
    const bound = (dtype: 'f16' | 'fp8' | 'int8') =>
      batchBound(cost, 4, 1000, fast, attentionCost(tinyDesc(true), dtype))
    expect(bound('f16')).toBeCloseTo(0.8 / (linear + ops / 1e11), 3)
    expect(bound('fp8')).toBe(bound('f16'))
    expect(bound('int8')).toBeCloseTo(0.8 / (linear + (2 * ops) / 1e12), 3)
    expect(batchBound(cost, 4, 1000, fast)).toBeCloseTo(0.8 / linear, 3)
  })

  it('counts the head for one token of a prefill only', () => {
    const cost = passCost(tinyDesc(true))
    expect(prefillOpsPerSecond(cost, 10, 2)).toBe((10 * 2 * layerWeights + 2 * 320 * 64) / 2)
  })

  it('gives the medians of shares of the vector peak and, where there is one, of the matrix peak', () => {
    const matrix = { ...limits, matrixOpsPerSecond: 8e12 }
    expect(peakShares([1e11, 3e11, 4e11], [limits, limits, limits])).toEqual({
      shareOfInt8Peak: 0.3,
      shareOfMatrixPeak: null,
    })
    expect(peakShares([8e11], [matrix])).toEqual({ shareOfInt8Peak: 0.8, shareOfMatrixPeak: 0.1 })
  })

  it('bounds operations by half of the matrix peak where that is more than 80% of the vector peak', () => {
    const cost = passCost(tinyDesc(true))
    const ops = cost.layerOpsPerToken + cost.headOpsPerToken
    const fast = { ...limits, readBytesPerSecond: 1e15 }
    const bound = (matrixOpsPerSecond: number) => batchBound(cost, 32, 0, { ...fast, matrixOpsPerSecond })
    expect(bound(8e12)).toBeCloseTo(4e12 / ops, 3)
    expect(bound(1e12)).toBeCloseTo(0.8e12 / ops, 3)
  })

  it('keeps the better of two measurements of each limit', () => {
    const other = {
      ...{ readBytesPerSecond: 2e9, int8OpsPerSecond: 1e11, matrixOpsPerSecond: 4e12 },
      ...{ fmaOpsPerSecond: 3e11, barrierSeconds: 2e-6 },
    }
    expect(bestLimits(limits, other)).toEqual({
      ...{ readBytesPerSecond: 2e9, int8OpsPerSecond: 1e12, matrixOpsPerSecond: 4e12 },
      ...{ fmaOpsPerSecond: 3e11, barrierSeconds: 1e-6 },
    })
  })
})

describe('requests at once', () => {
  /** One request: its first token at `begin`, then one each millisecond. */
  const request = (begin: number, tokens: number): Arrival[] =>
    Array.from({ length: tokens }, (_, i) => ({ at: begin + i, tokens: 1 }))

  it('are counted while all of them decode', () => {
    expect(jointSpeed([request(0, 100), request(10, 100)])).toBe((1000 * 2 * 89) / 89)
    expect(jointSpeed([request(0, 100)])).toBe(1000)
  })

  it('are too short when the first one ends before the last one begins, or soon after', () => {
    expect(jointSpeed([request(0, 16), request(20, 16)])).toBeUndefined()
    expect(jointSpeed([request(0, 16), request(15, 16)])).toBeUndefined()
    expect(jointSpeed([request(0, 16), request(12, 16)])).toBeUndefined()
  })

  it('are made longer until they overlap', async () => {
    const tried: number[] = []
    const measure = async (tokens: number) => {
      tried.push(tokens)
      return jointSpeed([request(0, tokens), request(20, tokens)])
    }
    expect(await longEnough(16, 1000, measure)).toBe(2000)
    expect(tried).toEqual([16, 32, 64])
    await expect(longEnough(16, 30, measure)).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      details: { found: 30 },
    })
  })
})
