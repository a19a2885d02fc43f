// What paged attention leaves unfilled of the KV cache: lengths spread as in ShareGPT, every step of the run recorded. After each
// step the tokens that lie in the cache are counted against the blocks that their sequences hold (only the last one of a sequence
// may have room), and against a contiguous reservation of the longest request for each. Sums over all steps, nothing sampled.
// Sequences count from their first output on; what prompts under way have reserved and not yet filled is told apart.
//
//   node bench/load/kv-waste.mjs [--model synthetic:smollm2-135m] [--clients 32] [--rounds 3] [--scale 0.55] [--seed 1]

import { blocksFor, kvBlockTokens } from '../../dist/base/kv-blocks.js'
import { segmentStride } from '../../dist/base/native.js'
import { replayOp } from '../../dist/host/record/step-recorder.js'
import { Random } from '../../dist/load/random.js'
import { createWorkload } from '../../dist/load/workload.js'
import { openCheckpoint } from '../../dist/model/checkpoint.js'
import { args, machine, recordedRun, round, save, threads } from './common.mjs'

/** Walks a record; calls `use(sequences)` after each step with what every sequence holds: { tokens, blocks, drew }. */
function walk(ops, use) {
  const sequences = new Map()
  let at = 0
  const next = () => ops[at++]
  const handlers = {
    [replayOp.create]: () => sequences.set(next(), { tokens: 0, blocks: 0, drew: false }),
    [replayOp.match]: () => {
      next()
      at += next()
    },
    [replayOp.reserve]: () => {
      const sequence = sequences.get(next())
      sequence.blocks = Math.max(sequence.blocks, blocksFor(sequence.tokens + next()))
    },
    [replayOp.truncate]: () => {
      const sequence = sequences.get(next())
      sequence.tokens = next()
      sequence.blocks = blocksFor(sequence.tokens)
    },
    [replayOp.fork]: () => {
      throw new Error('a fork shares blocks: not counted here')
    },
    [replayOp.free]: () => sequences.delete(next()),
    [replayOp.sampler]: () => {
      at += 2
    },
    [replayOp.step]: () => {
      const [segments, tokens] = [next(), next()]
      for (let i = 0; i < segments; i++) {
        const [id, count, rows] = ops.subarray(at + i * segmentStride)
        const sequence = sequences.get(id)
        sequence.tokens += count
        sequence.drew ||= rows > 0
      }
      at += segments * segmentStride + tokens
      use(sequences.values())
    },
  }
  while (at < ops.length) handlers[next()]()
}

const flags = args({ model: 'synthetic:smollm2-135m', clients: 32, rounds: 3, scale: 0.55, seed: 1 })
const { desc } = openCheckpoint(flags.model)
const random = new Random(flags.seed)
const shape = { scale: flags.scale, promptTokens: 0, sharedTokens: 0, outputTokens: 0, vocabulary: desc.vocabulary }
const workload = createWorkload('sharegpt', { ...shape, random: random.child(-1) })
const total = flags.clients * flags.rounds
const { record } = await recordedRun({
  ...{ model: flags.model, workload, clients: flags.clients, total, seed: flags.seed, random },
  kvTokens: Math.max(2 * workload.contextTokens, 2 * flags.clients * workload.meanTokens),
})

let [steps, held, tokens, inBlocks, worst, ahead] = [0, 0, 0, 0, 0, 0]
walk(record.ops, (sequences) => {
  steps++
  for (const sequence of sequences) {
    const unfilled = sequence.blocks * kvBlockTokens - sequence.tokens
    if (!sequence.drew) {
      ahead += unfilled
      continue
    }
    held++
    tokens += sequence.tokens
    inBlocks += sequence.blocks * kvBlockTokens
    worst = Math.max(worst, unfilled)
  }
})
const result = {
  ...{ flags, machine: machine(threads()), requests: total, steps },
  meanTokens: tokens / held,
  unfilledShare: 1 - tokens / inBlocks,
  unfilledTokensPerSequence: (inBlocks - tokens) / held,
  mostUnfilledTokens: worst,
  /** Of all blocks, those of prompts that are being computed. */
  aheadShare: ahead / (inBlocks + ahead),
  reservedTokens: workload.contextTokens,
  contiguousUnfilledShare: 1 - tokens / (held * workload.contextTokens),
}
console.log(
  `${steps} steps, mean length ${round(result.meanTokens)}: ${round(100 * result.unfilledShare, 2)}% of the held blocks unfilled, ` +
    `${round(result.unfilledTokensPerSequence, 2)} tokens a sequence, ${worst} at most; ` +
    `prompts under way hold ${round(100 * result.aheadShare, 2)}% ahead; ` +
    `${workload.contextTokens} tokens reserved for each: ${round(100 * result.contiguousUnfilledShare)}%`,
)
save('load-kv-waste', result)
