// Every weight format end to end against PyTorch: a model of f16 weights is written in each format (test/scripts/requantise.py),
// and octavo's log-probabilities of the texts in test/goldens/stories-oracle.json are compared with a float32 forward pass on
// the weights as the gguf package dequantises them (test/scripts/oracle.py), and with the same pass with octavo's roundings
// (int8 activations, f16 keys and values), from which only the order of additions differs. Exits 1 when a figure misses its bound.
//
//   node scripts/quality/oracle-formats.mjs MODEL-f16.gguf [--python PYTHON] [--types q4_k,q6_k] [--threads N]
import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { Engine } from '../../dist/index.js'

const root = fileURLToPath(new URL('../..', import.meta.url))
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    python: { type: 'string', default: 'python3' },
    types: { type: 'string', default: 'q4_0,q4_1,q5_0,q5_1,q8_0,q2_k,q3_k,q4_k,q5_k,q6_k,iq4_nl,iq4_xs,mxfp4,q4_k_m' },
    threads: { type: 'string', default: '1' },
  },
})
const { python } = values
const types = values.types.split(',')
const folder = join(root, 'build/oracle')
// Of log-probabilities, as in test/oracle.test.ts: the roundings themselves, on text like the model's own and on other text; and
// the median distance from the same roundings made in PyTorch, where an input that another order of additions moves by one int8
// step moves all later positions: measured, over all formats, at most 7.7e-5 and 0.020, bounds six times and twice that.
const bounds = {
  known: { mean: 0.02, largest: 0.25, median: 5e-4 },
  unknown: { mean: 0.08, largest: 0.3, median: 0.04 },
}

function run(...args) {
  const { status } = spawnSync(python, args, { stdio: ['ignore', 'inherit', 'inherit'] })
  if (status !== 0) {
    console.error(`${args[0]} failed (${status})`)
    process.exit(2)
  }
}

if (positionals[0] === undefined) {
  console.error(
    'usage: node scripts/quality/oracle-formats.mjs MODEL-f16.gguf [--python PYTHON] [--types A,B] [--threads N]',
  )
  process.exit(2)
}
mkdirSync(folder, { recursive: true })
const texts = JSON.parse(readFileSync(join(root, 'test/goldens/stories-oracle.json'), 'utf8'))
let failed = false
for (const type of types) {
  const path = join(folder, `${type}.gguf`)
  const goldens = join(folder, `${type}.json`)
  run(join(root, 'test/scripts/requantise.py'), resolve(positionals[0]), path, type)
  writeFileSync(goldens, JSON.stringify(texts.map(({ name, text }) => ({ name, text }))))
  run(join(root, 'test/scripts/oracle.py'), 'goldens', path, goldens)
  const engine = await Engine.load({ model: path, threads: Number(values.threads) })
  const figures = { positions: 0, sum: 0, largest: 0, median: 0, failed: false }
  for (const [i, golden] of JSON.parse(readFileSync(goldens, 'utf8')).entries()) {
    const { logprobs } = await engine.score({ prompt: golden.tokens })
    const differences = golden.logprobs.map((value, at) => Math.abs(value - logprobs[at]))
    const fromInt8 = golden.int8Logprobs.map((value, at) => Math.abs(value - logprobs[at])).sort((a, b) => a - b)
    const sum = differences.reduce((a, b) => a + b)
    const largest = Math.max(...differences)
    const median = fromInt8[fromInt8.length >> 1]
    const bound = bounds[texts[i].greedy === undefined ? 'unknown' : 'known']
    const missed = !(sum / differences.length < bound.mean && largest < bound.largest && median < bound.median)
    if (missed)
      console.error(
        `FAILED: ${type}, ${golden.name}: mean ${sum / differences.length}, largest ${largest}, median ${median}`,
      )
    figures.positions += differences.length
    figures.sum += sum
    figures.largest = Math.max(figures.largest, largest)
    if (texts[i].greedy !== undefined) figures.median = Math.max(figures.median, median)
    failed ||= missed
  }
  await engine.close()
  rmSync(path)
  console.log(
    `${type.padEnd(7)} ${figures.positions} positions: |difference| mean ${(figures.sum / figures.positions).toFixed(4)}, largest ` +
      `${figures.largest.toFixed(3)}; from the same roundings in PyTorch, known text: median ${figures.median.toExponential(1)}`,
  )
}
console.log(failed ? 'failed' : `summary: ${types.length} formats agree with PyTorch on their own weights`)
process.exit(failed ? 1 : 0)
