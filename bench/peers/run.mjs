// octavo beside node-llama-cpp on the same GGUF file: prefill of 512 tokens, decode of one request, total of 8 and 32 parallel
// requests, load time, memory. Each run is a process of its own; runs of the engines alternate; medians count.
// node-llama-cpp is installed into a temporary folder from the npm registry (or --folder names one).
//
//   npm run bench:peers -- [--model FILE | --preset smollm2-135m] [--rounds 5] [--threads 2] [--folder DIR] [--json]
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { installPeer } from './install.mjs'

const here = fileURLToPath(new URL('.', import.meta.url))
const { values } = parseArgs({
  options: {
    model: { type: 'string' },
    preset: { type: 'string', default: 'smollm2-135m' },
    rounds: { type: 'string', default: '5' },
    threads: { type: 'string', default: '2' },
    folder: { type: 'string' },
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
    execFileSync(process.execPath, [
      join(here, '../../dist/cli/main.js'),
      'synthesize',
      values.preset,
      file,
      '--type',
      'q4_0',
    ])
  }
  return file
}

const run = (script, ...args) =>
  JSON.parse(
    execFileSync(process.execPath, [join(here, script), ...args], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'inherit'],
    })
      .trim()
      .split('\n')
      .at(-1),
  )
const median = (numbers) => numbers.toSorted((a, b) => a - b)[numbers.length >> 1]

installPeer(folder)
const model = modelFile()
const engines = {
  octavo: () => run('octavo.mjs', model, values.threads),
  'node-llama-cpp': () => run('node-llama-cpp.mjs', model, values.threads, folder),
  'node-llama-cpp, 1 thread': () => run('node-llama-cpp.mjs', model, '1', folder),
}
const runs = Object.fromEntries(Object.keys(engines).map((name) => [name, []]))
for (let round = 1; round <= Number(values.rounds); round++) {
  log(`round ${round} of ${values.rounds}`)
  for (const [name, engine] of Object.entries(engines)) runs[name].push(engine())
}
const keys = Object.keys(runs.octavo[0])
const medians = Object.fromEntries(
  Object.entries(runs).map(([name, list]) => [
    name,
    Object.fromEntries(keys.map((key) => [key, median(list.map((r) => r[key]))])),
  ]),
)
const less = new Set(['load', 'rss']) // where less is better
const best = Object.fromEntries(
  keys.map((key) => {
    const peers = Object.entries(medians).filter(([name]) => name !== 'octavo')
    const values = peers.map(([, row]) => row[key])
    return [key, less.has(key) ? Math.min(...values) : Math.max(...values)]
  }),
)
const ratio = Object.fromEntries(keys.map((key) => [key, medians.octavo[key] / best[key]]))
if (values.json)
  console.log(
    JSON.stringify({
      model: basename(model),
      threads: Number(values.threads),
      rounds: Number(values.rounds),
      medians,
      ratio,
    }),
  )
else {
  const rounded = (row) =>
    Object.fromEntries(Object.entries(row).map(([key, value]) => [key, Number(value.toPrecision(4))]))
  console.table(
    Object.fromEntries(
      Object.entries({ ...medians, 'octavo / best peer': ratio }).map(([name, row]) => [name, rounded(row)]),
    ),
  )
}
