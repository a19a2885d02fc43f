// Streams of operations (cpp/step_replay.h) for ways of serving that octavo does not offer, so that they can be timed with its
// kernels: static batching (a batch starts together and ends together) and one request after the other. Prompts are packed into
// steps as well as they can be; only decoding differs. Ids are without meaning: the time does not depend on them.

import { blocksFor, kvBlockTokens } from '../../dist/base/kv-blocks.js'
import { greedySampling } from '../../dist/base/native.js'
import { replayOp } from '../../dist/host/record/step-recorder.js'

const stepTokens = 512
const token = 1000

export const sampler = { ...greedySampling, temperature: 0.8, topK: 40, topP: 0.95, promptLength: 1 }

function pushStep(ops, chunks) {
  const total = chunks.reduce((sum, { count }) => sum + count, 0)
  for (const { id, count } of chunks) ops.push(replayOp.reserve, id, count)
  ops.push(replayOp.step, chunks.length, total)
  for (const { id, count, rows } of chunks) ops.push(id, count, rows, 0, -1)
  for (let i = 0; i < total; i++) ops.push(token)
}

/** Prompts of a batch, several in a step. Their last token draws the first output. */
function pushPrompts(ops, batch) {
  let chunks = []
  let room = stepTokens
  for (const { id, promptTokens } of batch) {
    for (let left = promptTokens; left > 0; ) {
      const count = Math.min(left, room)
      left -= count
      room -= count
      chunks.push({ id, count, rows: left === 0 ? 1 : 0 })
      if (room > 0) continue
      pushStep(ops, chunks)
      chunks = []
      room = stepTokens
    }
  }
  if (chunks.length > 0) pushStep(ops, chunks)
}

/**
 * Requests in batches of `size`, in their order. `padded`: rows whose request is done are computed until the longest is (the
 * literature's static batching); else they drop out, but nobody takes their place.
 */
export function staticBatches(requests, size, padded) {
  const ops = []
  let outputTokens = 0
  for (let first = 0; first < requests.length; first += size) {
    const batch = requests.slice(first, first + size).map((request, id) => ({ ...request, id }))
    for (const { id } of batch) ops.push(replayOp.create, id, replayOp.sampler, id, 0)
    pushPrompts(ops, batch)
    const longest = Math.max(...batch.map((request) => request.outputTokens))
    for (let made = 1; made < longest; made++) {
      const rows = batch.filter((request) => padded || request.outputTokens > made)
      pushStep(
        ops,
        rows.map(({ id }) => ({ id, count: 1, rows: 1 })),
      )
    }
    for (const { id } of batch) ops.push(replayOp.free, id)
    outputTokens += batch.reduce((sum, request) => sum + request.outputTokens, 0)
  }
  return { ops: Int32Array.from(ops), samplers: [sampler], outputTokens }
}

/** Tokens of KV cache that the largest padded batch takes. */
export function largestBatch(requests, size) {
  let most = 0
  for (let first = 0; first < requests.length; first += size) {
    const batch = requests.slice(first, first + size)
    const longest = Math.max(...batch.map((request) => request.outputTokens))
    const blocks = batch.map(({ promptTokens }) => blocksFor(promptTokens + longest))
    most = Math.max(most, blocks.reduce((sum, count) => sum + count, 0) * kvBlockTokens)
  }
  return most
}
