/**
 * What the hardware allows: bytes and operations of a forward pass from the numbers of a model, divided by limits measured
 * on the same machine in the same run.
 *
 *   decode   tokens/s <= min(read bandwidth / bytes streamed per token, 0.8 x int8 peak / operations per token),
 *            or 0.5 x the peak of matrix registers where that is more
 *   attention of a decode step over a full cache (bench/kv-decode.mjs) counts its operations as well: f32 multiply-adds
 *            against 0.8 x FMA peak, for int8 keys and values integer ones against 0.8 x int8 peak
 *   prefill  operations of the linear layers / (seconds x int8 peak): a share; attention is not counted, so it costs
 *
 * 0.8: scaling a group's integer dot (a multiplication and an fma) shares issue ports with the dot: 8 of 10 slots remain.
 * 0.5: a group of 32 fills half of a matrix register's 64 bytes.
 */

import type { KvDtype, MachineLimits, ModelDesc, TensorSource } from '../base/native.ts'
import { kvBytesPerToken } from '../model/memory.ts'
import { median } from './output.ts'

const layerMatrices = ['q', 'k', 'v', 'attnOut', 'gate', 'up', 'down']
const reachableShareOfPeak = 0.8
const reachableShareOfMatrixPeak = 0.5

export interface PassCost {
  /** Weights of the layers and of the output head, as the file stores them. */
  layerBytes: number
  headBytes: number
  /** Multiply-adds count as two operations. */
  layerOpsPerToken: number
  headOpsPerToken: number
  /** Keys and values of one cached token, all layers, f16. */
  kvBytesPerToken: number
}

export function passCost(desc: ModelDesc): PassCost {
  const ops = (tensor: TensorSource) => 2 * tensor.rows * tensor.width
  let layerBytes = 0
  let layerOpsPerToken = 0
  for (let layer = 0; layer < desc.layers; layer++) {
    for (const role of layerMatrices) {
      const tensor = desc.tensors[`layer.${layer}.${role}`]
      if (!tensor) continue
      layerBytes += tensor.bytes
      layerOpsPerToken += ops(tensor)
    }
  }
  const head = desc.tensors.output ?? desc.tensors.embed
  return {
    layerBytes,
    headBytes: head?.bytes ?? 0,
    layerOpsPerToken,
    headOpsPerToken: head ? ops(head) : 0,
    kvBytesPerToken: kvBytesPerToken(desc, 'f16'),
  }
}

/** Operations of one token's attention over one cached token, all layers: q.k and p.v, for int8 in two passes. */
export interface AttentionCost {
  opsPerCachedToken: number
  peak: 'int8OpsPerSecond' | 'fmaOpsPerSecond'
}

export function attentionCost({ layers, heads, headSize }: ModelDesc, kvDtype: KvDtype): AttentionCost {
  const ops = 2 * 2 * layers * heads * headSize
  return kvDtype === 'int8'
    ? { opsPerCachedToken: 2 * ops, peak: 'int8OpsPerSecond' }
    : { opsPerCachedToken: ops, peak: 'fmaOpsPerSecond' }
}

/** The most tokens per second that one sequence with `context` cached tokens can decode. */
export function decodeBound(cost: PassCost, context: number, limits: MachineLimits): number {
  return batchBound(cost, 1, context, limits)
}

/** The same for `sequences` together: they share one pass over the weights. With `attention` its operations count as well. */
export function batchBound(
  cost: PassCost,
  sequences: number,
  context: number,
  limits: MachineLimits,
  attention?: AttentionCost,
): number {
  const bytes = cost.layerBytes + cost.headBytes + sequences * context * cost.kvBytesPerToken
  const ops = cost.layerOpsPerToken + cost.headOpsPerToken
  const attentionSeconds = attention
    ? (context * attention.opsPerCachedToken) / (reachableShareOfPeak * limits[attention.peak])
    : 0
  return Math.min(
    (sequences * limits.readBytesPerSecond) / bytes,
    1 / (ops / reachableOpsPerSecond(limits) + attentionSeconds),
  )
}

/** Integer operations of linear layers per second, on vectors or on matrix registers. */
export function reachableOpsPerSecond({ int8OpsPerSecond, matrixOpsPerSecond }: MachineLimits): number {
  return Math.max(reachableShareOfPeak * int8OpsPerSecond, reachableShareOfMatrixPeak * matrixOpsPerSecond)
}

/** Operations per second of the linear layers when `tokens` tokens, one of them with logits, take `seconds`. */
export function prefillOpsPerSecond(cost: PassCost, tokens: number, seconds: number): number {
  return (tokens * cost.layerOpsPerToken + cost.headOpsPerToken) / seconds
}

export interface PeakShares {
  shareOfInt8Peak: number
  /** Null where there are no matrix registers. */
  shareOfMatrixPeak: number | null
}

/** Medians of the runs' shares of both integer peaks. */
export function peakShares(opsPerSecond: number[], limits: MachineLimits[]): PeakShares {
  const shareOf = (peak: 'int8OpsPerSecond' | 'matrixOpsPerSecond') =>
    median(opsPerSecond.map((ops, i) => ops / limits[i]![peak]))
  const matrix = limits.every(({ matrixOpsPerSecond }) => matrixOpsPerSecond > 0)
  return {
    shareOfInt8Peak: shareOf('int8OpsPerSecond'),
    shareOfMatrixPeak: matrix ? shareOf('matrixOpsPerSecond') : null,
  }
}

/** The better of two measurements of each limit: a limit can only be measured too low. */
export function bestLimits(a: MachineLimits, b: MachineLimits): MachineLimits {
  return {
    readBytesPerSecond: Math.max(a.readBytesPerSecond, b.readBytesPerSecond),
    int8OpsPerSecond: Math.max(a.int8OpsPerSecond, b.int8OpsPerSecond),
    matrixOpsPerSecond: Math.max(a.matrixOpsPerSecond, b.matrixOpsPerSecond),
    fmaOpsPerSecond: Math.max(a.fmaOpsPerSecond, b.fmaOpsPerSecond),
    barrierSeconds: Math.min(a.barrierSeconds, b.barrierSeconds),
  }
}
