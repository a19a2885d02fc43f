// octavo beside node-llama-cpp and beside llama.cpp's own C API on the same GGUF file: prefill of 512 tokens, decode of one
// request, total of 8 and 32 parallel requests, load time, memory (workload.mjs). Each measurement of each engine is a process of
// its own; the engines take turns at every measurement; medians count. node-llama-cpp, which brings llama.cpp along, is installed
// into a temporary folder from the npm registry (or --folder names one).
//
//   npm run bench:peers -- [--model FILE | --preset smollm2-135m|tinyllama-1.1b] [--rounds 5] [--threads 2] [--folder DIR]
//                          [--skip ENGINE]... [--js-parallel 8,32] [--launcher COMMAND] [--svg FILE] [--json]
//
// --js-parallel: how many requests at once are tried through node-llama-cpp, which takes long with a large model.
// --launcher: a command that starts each process, for example 'taskset -c 2,3'.
import { execFileSync } from 'node:child_process'
import { createReadStream, existsSync, mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { bestLimits } from '../../dist/cli/bounds.js'
import { svg } from '../../dist/load/svg.js'
import { installPeer } from './install.mjs'
import { buildLlamaCpp } from './llama-cpp.mjs'
import { peersCharts, summarisePeers } from './summary.mjs'
import { shapeOf } from './workload.mjs'

const here = fileURLToPath(new URL('.', import.meta.url))
const { values } = parseArgs({
  options: {
    model: { type: 'string' },
    preset: { type: 'string', default: 'smollm2-135m' },
    rounds: { type: 'string', default: '5' },
    threads: { type: 'string', default: '2' },
    folder: { type: 'string' },
    skip: { type: 'string', multiple: true, default: [] },
    'js-parallel': { type: 'string', default: '8,32' },
    launcher: { type: 'string', default: '' },
    svg: { type: 'string' },
    json: { type: 'boolean', default: false },
  },
})
const folder = values.folder ?? mkdtempSync(join(tmpdir(), 'octavo-peers-'))
const log = (text) => console.error(text)

function modelFile() {
  if (values.model) return values.model
  const file = join(folder, `${values.preset}-q4_0.gguf`)
  if (!existsSync(file)) {
    log(`writing ${file}`)
    const main = join(here, '../../dist/cli/main.js')
    execFileSync(process.execPath, [main, 'synthesize', values.preset, file, '--type', 'q4_0'])
  }
  return file
}

function run(...command) {
  const [file, ...args] = [...values.launcher.split(' ').filter(Boolean), ...command]
  const output = execFileSync(file, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] })
  return JSON.parse(output.trim().split('\n').at(-1))
}
const script = (name, ...args) => run(process.execPath, join(here, name), ...args)

installPeer(folder)
const model = modelFile()
const native = buildLlamaCpp(folder)
if (native.reason) log(`llama.cpp is left out: ${native.reason}`)

const spell = (name) => `${name}:${Object.values(shapeOf(name)).join(':')}`
const jsParallel = values['js-parallel'].split(',').map((count) => `parallel${count}`)
const jsDoes = (name) => !name.startsWith('parallel') || jsParallel.includes(name)
const js = (threads) => ({
  does: jsDoes,
  run: (names) => script('node-llama-cpp.mjs', model, threads, folder, ...names),
})
const llamaCpp = (threads) => ({
  does: () => native.program !== undefined,
  run: (names) => run(native.program, model, threads, native.libraries, ...names.map(spell)),
})
const engines = Object.entries({
  octavo: { does: () => true, run: (names) => script('octavo.mjs', model, values.threads, ...names) },
  'node-llama-cpp': js(values.threads),
  'node-llama-cpp, 1 thread': js('1'),
  'llama.cpp': llamaCpp(values.threads),
  'llama.cpp, 1 thread': llamaCpp('1'),
}).filter(([name]) => !values.skip.includes(name))

/** Into the page cache: who comes first shall not load from the disk and the others from memory. */
async function readOnce(file) {
  for await (const _ of createReadStream(file, { highWaterMark: 1 << 20 }));
}

const groups = [['prefill', 'decode'], ['parallel8'], ['parallel32']]
const rounds = []
let limits
for (let round = 0; round < Number(values.rounds); round++) {
  const rows = Object.fromEntries(engines.map(([name]) => [name, {}]))
  await readOnce(model)
  for (const group of groups) {
    log(`round ${round + 1} of ${values.rounds}: ${group.join(', ')}`)
    for (const [name, engine] of round % 2 === 0 ? engines : engines.toReversed()) {
      const names = group.filter(engine.does)
      if (names.length === 0) continue
      const { load, rss, limits: measured, ...speeds } = engine.run(names)
      const row = rows[name]
      rows[name] = { load: row.load ?? load, ...row, ...speeds, rss: Math.max(rss, row.rss ?? 0) }
      if (measured) limits = limits ? bestLimits(limits, measured) : measured
    }
  }
  rounds.push(rows)
}

const result = {
  ...{ model: basename(model), threads: Number(values.threads), limits, leftOut: native.reason ?? null },
  ...summarisePeers(rounds),
  rounds,
}
if (values.svg) writeFileSync(values.svg, svg(peersCharts(result)))
if (values.json) console.log(JSON.stringify(result))
else console.table({ ...result.medians, ...result.ratios })
