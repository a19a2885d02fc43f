/**
 * What guesses can bring, from measured costs of steps: a step of the target by its rows (batch x (1 + guesses), each sequence with
 * some context), a round of the draft model, and then on paper for guesses right with a given chance: the best chain and its speed to
 * none, and the best tree of as many rows or more. A tree's second choice at each place is right in `--second` of the cases in which
 * the first is wrong (bench/speculation/acceptance.mjs measures it); every row of a tree costs what one of a chain does, every level
 * a round of the draft model. `free` is a machine on which rows cost nothing, as a GPU with few requests nearly is.
 *
 *   node --import tsx bench/speculation/steps.ts [--target synthetic:tinyllama-1.1b] [--draft synthetic:smollm2-135m] [--batch 1,4]
 *                            [--chances 0.6,0.7,0.8,0.9] [--second 0.5] [--context 64] [--rounds 10] [--json FILE]
 */
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { greedySampling, type NativeEngine, native } from '../../lib/base/native.ts'
import { openCheckpoint } from '../../lib/model/checkpoint.ts'
import { locateModel } from '../../lib/model/locate.ts'

const { values } = parseArgs({
  options: {
    target: { type: 'string', default: 'synthetic:tinyllama-1.1b' },
    draft: { type: 'string', default: 'synthetic:smollm2-135m' },
    batch: { type: 'string', default: '1,4' },
    chances: { type: 'string', default: '0.6,0.7,0.8,0.9' },
    second: { type: 'string', default: '0.5' },
    context: { type: 'string', default: '64' },
    rounds: { type: 'string', default: '10' },
    json: { type: 'string' },
  },
})
const [context, rounds, second] = [values.context, values.rounds, values.second].map(Number) as [number, number, number]
const batches = values.batch.split(',').map(Number)
const chances = values.chances.split(',').map(Number)
const rowCounts = [1, 2, 3, 4, 5, 6, 8, 11, 16]
const mostBatch = Math.max(...batches)
const { cpus, model: cpu, isa } = native().cpu()

function load(name: string): NativeEngine {
  const model = new (native().Model)(openCheckpoint(locateModel(name)).desc, 'cpu', null)
  for (let i = 0; i < model.tensorCount; i++) model.loadTensor(i)
  model.finishLoad()
  const kvBlocks = mostBatch * Math.ceil((context + 32) / 16 + 1)
  return new (native().Engine)(model, { threads: cpus, kvBlocks, tune: true, maxStepTokens: 256, prefixCache: false })
}

/** Milliseconds of a step, the quickest of the rounds (it may be held up, never hurried), in which each of `batch` sequences has so many rows, by rows. */
function measure(engine: NativeEngine, batch: number, counts: number[]): Map<number, number> {
  const [tokens, logprobs] = [new Int32Array(512), new Float32Array(512)]
  const sequences = Array.from({ length: batch }, () => engine.sequenceCreate(''))
  const step = (segments: number[], count: number) => {
    const ids = Int32Array.from({ length: count }, (_, i) => 300 + ((i * 91) % 3000))
    engine.submit(Int32Array.from(segments), segments.length / 5, ids, count)
    engine.wait(tokens, logprobs)
  }
  for (const sequence of sequences) {
    engine.setSampler(sequence, { ...greedySampling, promptLength: context })
    engine.sequenceReserve(sequence, context + 32)
    step([sequence, context, 0, 0, 0], context)
  }
  const times = new Map<number, number[]>(counts.map((rows) => [rows, []]))
  for (let round = -1; round < rounds; round++)
    for (const rows of counts) {
      step(
        sequences.flatMap((sequence) => [sequence, rows, rows, 0, 0]),
        batch * rows,
      )
      for (const sequence of sequences) engine.sequenceTruncate(sequence, context)
      for (const sequence of sequences) engine.sequenceReserve(sequence, 32)
      if (round >= 0) times.get(rows)!.push(engine.stepSeconds * 1000)
    }
  for (const sequence of sequences) engine.sequenceFree(sequence)
  return new Map(counts.map((rows) => [rows, Math.min(...times.get(rows)!)]))
}

/** On the line between the sizes that were measured. */
function costOf(costs: Map<number, number>, rows: number): number {
  const sizes = [...costs.keys()]
  const above = sizes.find((size) => size >= rows)!
  const below = sizes.findLast((size) => size <= rows)!
  if (above === below) return costs.get(rows)!
  return costs.get(below)! + ((rows - below) / (above - below)) * (costs.get(above)! - costs.get(below)!)
}

/** Chances that a path of first choices is right up to each of its places. */
const chain = (chance: number, length: number) => Array.from({ length }, (_, i) => chance ** (i + 1))

/** The likeliest nodes of all trees of two choices a place: each with the chance of its path, and its depth. */
function tree(chance: number, size: number): { reach: number; depth: number }[] {
  const open = [{ reach: chance, depth: 1 }]
  const runnerUp = (reach: number, depth: number) => ({ reach: reach * (1 - chance) * second, depth })
  open.push(runnerUp(1, 1))
  const nodes = []
  while (nodes.length < size) {
    open.sort((a, b) => b.reach - a.reach)
    const node = open.shift()!
    nodes.push(node)
    open.push({ reach: node.reach * chance, depth: node.depth + 1 }, runnerUp(node.reach, node.depth + 1))
  }
  return nodes
}

const sum = (of: number[]) => of.reduce((all, one) => all + one, 0)

/** The best speed to none over all sizes up to 15 guesses. */
function best(
  cost: (rows: number) => number,
  roundMs: number,
  nodesOf: (size: number) => { reach: number; depth: number }[],
) {
  let found = { guesses: 0, speed: 1, tokens: 1 }
  for (let guesses = 1; guesses <= 15; guesses++) {
    const nodes = nodesOf(guesses)
    const tokens = 1 + sum(nodes.map(({ reach }) => reach))
    const depth = Math.max(...nodes.map((node) => node.depth))
    const speed = (tokens * cost(1)) / (cost(1 + guesses) + depth * roundMs)
    if (speed > found.speed) found = { guesses, speed, tokens }
  }
  return found
}

const costs: Record<string, Record<string, number>> = {}
const roundMs = new Map<number, number>()
const draft = load(values.draft)
for (const batch of batches) roundMs.set(batch, measure(draft, batch, [1]).get(1)!)
draft.close()
const target = load(values.target)
const rows = []
for (const batch of batches) {
  const measured = measure(target, batch, rowCounts)
  costs[batch] = Object.fromEntries(measured)
  for (const chance of chances) {
    const asNodes = (size: number) => chain(chance, size).map((reach, i) => ({ reach, depth: i + 1 }))
    const cost = (count: number) => costOf(measured, count)
    const flat = () => measured.get(1)!
    const round = roundMs.get(batch)!
    const [ofChain, ofTree] = [best(cost, round, asNodes), best(cost, round, (size) => tree(chance, size))]
    const [freeChain, freeTree] = [best(flat, round, asNodes), best(flat, round, (size) => tree(chance, size))]
    rows.push({
      ...{ batch, chance, guesses: ofChain.guesses, tokens: ofChain.tokens, speed: ofChain.speed },
      ...{ treeGuesses: ofTree.guesses, treeToChain: ofTree.speed / ofChain.speed },
      ...{ freeChain: freeChain.speed, freeTreeToChain: freeTree.speed / freeChain.speed },
    })
  }
}
target.close()
const result = {
  ...{ target: values.target, draft: values.draft, cpu, isa, threads: cpus },
  commit: execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim(),
  ...{ context, rounds, second, stepMs: costs, roundMs: Object.fromEntries(roundMs), rows },
}
console.log(costs, roundMs)
console.table(
  rows.map((row) => Object.fromEntries(Object.entries(row).map(([key, value]) => [key, Number(value.toFixed(3))]))),
)
if (values.json) writeFileSync(values.json, JSON.stringify(result))
