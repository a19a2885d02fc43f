// Decode with a full KV cache in each of its types, side by side on the same weights: tokens per second of all sequences together,
// the ratio to f16, and the ratio that the bounds allow (bytes of weights and KV a step / read bandwidth, or operations of matrices
// and attention / 0.8 x peak: int8 for matrices and int8 KV, FMA for the other types). An 8-bit type shall decode 1.4 times as fast
// as f16, or reach 85% of the ratio of the bounds where that is lower. One sequence is computed, its blocks are copied into the
// others, so that each reads blocks of its own. The types take turns, round by round; the limits are measured around each round; every
// figure is the median of the rounds'. Steps are driven from C++'s surface and then through the
// public API, where the saved conversation is restored once for each sequence.
//
//   npm run bench:kv-decode -- [--model synthetic:smollm2-135m] [--sequences 8] [--context 4096] [--steps 6] [--rounds 12]
//                              [--api yes|no] [--apiRounds 5] [--apiTokens 32] [--name 135m]
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Engine } from 'octavo'
import { kvBlockTokens } from '../dist/base/kv-blocks.js'
import { native, segmentMode, segmentStride, statIndex } from '../dist/base/native.js'
import { attentionCost, batchBound, passCost } from '../dist/cli/bounds.js'
import { LimitsBeside, medianLimits } from '../dist/cli/limits-beside.js'
import { openCheckpoint } from '../dist/model/checkpoint.js'
import { kvBytesPerToken } from '../dist/model/memory.js'
import { sampler } from './load/batches.mjs'
import { args, machine, round, save, threads } from './load/common.mjs'
import { median } from './median.mjs'
import { promptIds } from './peers/workload.mjs'

const dtypes = ['f16', 'bf16', 'fp8', 'int8']
const stepTokens = 512
const wanted = { fp8: 1.4, int8: 1.4 }
const wantedShareOfBounds = 0.85
const flags = args({
  ...{ model: 'synthetic:smollm2-135m', sequences: 8, context: 4096, steps: 6, rounds: 12 },
  ...{ api: 'yes', apiRounds: 5, apiTokens: 32, name: '135m' },
})
const { desc } = openCheckpoint(flags.model)

/** An engine whose sequences hold `context` tokens each, in blocks of their own. */
class Filled {
  constructor(model, kvDtype) {
    const blocks = flags.sequences * (Math.ceil(flags.context / kvBlockTokens) + 2)
    const options = { threads: threads(), maxStepTokens: stepTokens, prefixCache: false, kvBlocks: blocks, kvDtype }
    this.engine = new (native().Engine)(model, options)
    this.tokens = new Int32Array(stepTokens)
    this.logprobs = new Float32Array(stepTokens)
    this.sequences = Array.from({ length: flags.sequences }, () => this.engine.sequenceCreate(''))
    for (const [i, sequence] of this.sequences.entries()) {
      const temperature = i % 2 === 0 ? 0 : 0.8
      this.engine.setSampler(sequence, { ...sampler, temperature, seed: i, promptLength: flags.context })
    }
    this.#fill()
  }

  #fill() {
    const [first, ...others] = this.sequences
    const ids = Int32Array.from(promptIds(flags.context, 1, desc.vocabulary))
    for (let at = 0; at < ids.length; at += stepTokens) {
      const part = ids.subarray(at, at + stepTokens)
      this.#run([first], part, part.length, 0)
    }
    const contents = new Uint8Array((flags.context / kvBlockTokens) * this.engine.kvBlockBytes)
    this.engine.kvExport(first, 0, contents)
    for (const other of others) {
      if (!this.engine.kvImport(other, ids, contents)) throw new Error('the pool is too small')
    }
    const stats = new Int32Array(Object.keys(statIndex).length)
    this.engine.stats(stats)
    const owned = flags.sequences * (flags.context / kvBlockTokens)
    if (stats[statIndex.owned] !== owned)
      throw new Error(`expected ${owned} owned blocks, got ${stats[statIndex.owned]}`)
  }

  #run(sequences, tokens, count, rows) {
    const segments = new Int32Array(sequences.length * segmentStride)
    for (const [i, sequence] of sequences.entries()) {
      if (!this.engine.sequenceReserve(sequence, count)) throw new Error('the pool is too small')
      segments.set([sequence, count, rows, segmentMode.draw, -1], i * segmentStride)
    }
    this.engine.submit(segments, sequences.length, tokens, tokens.length)
    return this.engine.wait(this.tokens, this.logprobs)
  }

  /** Tokens per second of all sequences together; the cache is afterwards as it was. */
  decode(steps) {
    const tokens = new Int32Array(flags.sequences).fill(1000)
    const started = performance.now()
    for (let i = 0; i < steps; i++) {
      this.#run(this.sequences, tokens, 1, 1)
      tokens.set(this.tokens.subarray(0, flags.sequences))
    }
    const seconds = (performance.now() - started) / 1000
    for (const sequence of this.sequences) this.engine.sequenceTruncate(sequence, flags.context)
    return (flags.sequences * steps) / seconds
  }
}

const limits = new LimitsBeside(threads())

/** Rounds of all types in turns: tokens per second by type, and the limits. */
async function inTurns(count, decode) {
  const rounds = []
  for (let i = -1; i < count; i++) {
    const round = await limits.of(async () => {
      const speeds = {}
      for (const dtype of i % 2 === 0 ? dtypes : dtypes.toReversed()) speeds[dtype] = await decode(dtype)
      return { speeds }
    })
    if (i >= 0) rounds.push(round)
  }
  return rounds
}

async function throughNative() {
  const model = new (native().Model)(desc, 'cpu', null)
  for (let i = 0; i < model.tensorCount; i++) model.loadTensor(i)
  model.finishLoad()
  const filled = Object.fromEntries(dtypes.map((dtype) => [dtype, new Filled(model, dtype)]))
  const rounds = await inTurns(flags.rounds, (dtype) => filled[dtype].decode(flags.steps))
  for (const { engine } of Object.values(filled)) engine.close()
  model.close()
  return rounds
}

/** A session per sequence, restored from one file, so that none shares a block with another. */
async function restoredSessions(dtype, folder) {
  const tokens = flags.sequences * (flags.context + (flags.apiRounds + 1) * (flags.apiTokens + 32) + 64)
  const contextTokens = flags.context + 4096
  const memory = (tokens + flags.context + 64) * kvBytesPerToken(desc, dtype)
  const engine = await Engine.load({ model: flags.model, contextTokens, kv: { dtype, memory }, speculation: 'off' })
  const session = engine.session()
  const perWord = (await engine.tokenize(' word'.repeat(64))).length / 64
  const content = ' word'.repeat(Math.floor((flags.context - 32) / perWord))
  await session.generate(content, { maxTokens: 1, temperature: 0, ignoreEos: true }).result
  const file = join(folder, `${dtype}.session`)
  await session.save(file)
  session.close()
  const sessions = []
  for (let i = 0; i < flags.sequences; i++) sessions.push(await engine.restoreSession(file))
  rmSync(file)
  return { engine, sessions }
}

async function decodeTogether({ sessions }) {
  const maxTokens = flags.apiTokens
  const all = await Promise.all(
    sessions.map(async (session, i) => {
      const generation = session.generate('go on', {
        maxTokens,
        temperature: i % 2 ? 0.8 : 0,
        seed: i,
        ignoreEos: true,
      })
      const arrivals = []
      for await (const { tokens } of generation) arrivals.push({ at: performance.now(), count: tokens.length })
      const { usage } = await generation.result
      if (usage.promptTokens - usage.cachedTokens > 256)
        throw new Error(`${usage.promptTokens - usage.cachedTokens} tokens of a prompt are computed again`)
      return arrivals
    }),
  )
  const from = Math.max(...all.map((arrivals) => arrivals[0].at))
  const to = Math.min(...all.map((arrivals) => arrivals.at(-1).at))
  const within = all.flat().filter(({ at }) => at > from && at <= to)
  return (within.reduce((sum, { count }) => sum + count, 0) * 1000) / (to - from)
}

async function throughApi() {
  const folder = mkdtempSync(join(tmpdir(), 'octavo-'))
  const restored = {}
  for (const dtype of dtypes) restored[dtype] = await restoredSessions(dtype, folder)
  rmSync(folder, { recursive: true })
  const rounds = await inTurns(flags.apiRounds, (dtype) => decodeTogether(restored[dtype]))
  for (const { engine } of Object.values(restored)) await engine.close()
  return rounds
}

function boundOf(dtype, limits) {
  const cost = { ...passCost(desc), kvBytesPerToken: kvBytesPerToken(desc, dtype) }
  return batchBound(cost, flags.sequences, flags.context, limits, attentionCost(desc, dtype))
}

function summarise(rounds) {
  return Object.fromEntries(
    dtypes.map((dtype) => {
      const of = (figure) => median(rounds.map(({ speeds, limits }) => figure(speeds, (type) => boundOf(type, limits))))
      const boundRatio = of((_, bound) => bound(dtype) / bound('f16'))
      const figures = {
        tokensPerSecond: of((speeds) => speeds[dtype]),
        bound: of((_, bound) => bound(dtype)),
        shareOfBound: of((speeds, bound) => speeds[dtype] / bound(dtype)),
        ratio: of((speeds) => speeds[dtype] / speeds.f16),
        boundRatio,
        target: dtype in wanted ? Math.min(wanted[dtype], wantedShareOfBounds * boundRatio) : undefined,
      }
      return [dtype, { ...figures, runs: rounds.map(({ speeds }) => speeds[dtype]) }]
    }),
  )
}

const steps = await throughNative()
const api = flags.api === 'yes' ? await throughApi() : undefined
const measured = [...steps, ...(api ?? [])].map((round) => round.limits)
const result = {
  ...{ flags, machine: machine(threads()), limits: medianLimits(measured) },
  ...{ steps: summarise(steps), api: api ? summarise(api) : null, limitsOfRounds: measured },
}
const shown = (table) =>
  Object.fromEntries(
    Object.entries(table).map(([dtype, row]) => [
      dtype,
      {
        'tokens/s': round(row.tokensPerSecond),
        '% of bound': round(100 * row.shareOfBound),
        'to f16': round(row.ratio, 2),
        'bounds to f16': round(row.boundRatio, 2),
        target: row.target === undefined ? '' : round(row.target, 2),
        kept: row.target === undefined ? '' : row.ratio >= row.target ? 'yes' : 'NO',
      },
    ]),
  )
console.log(`${flags.sequences} sequences of ${flags.context} tokens, steps:`)
console.table(shown(result.steps))
if (result.api) {
  console.log('through the public API, every other request sampled:')
  console.table(shown(result.api))
}
save(`kv-decode-${flags.name}`, result)
