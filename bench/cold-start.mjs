// Cold start: from the start of a process to the first text of a model's answer, of octavo and of node-llama-cpp on the same
// weights (octavo-stories; the peer's copy has its token list filled up, see peers/padded-vocabulary.mjs). Each start is a process
// of its own that imports, loads, tokenises and generates; starts alternate; files are in the page cache for both.
// node-llama-cpp is installed into a temporary folder from the npm registry (or --folder names one).
//
//   npm run bench:cold-start -- [--rounds 10] [--threads 2] [--folder DIR] [--json]
import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { median } from './median.mjs'
import { installPeer } from './peers/install.mjs'
import { padVocabulary } from './peers/padded-vocabulary.mjs'

const at = (path) => fileURLToPath(new URL(path, import.meta.url))
const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '10' },
    threads: { type: 'string', default: '2' },
    folder: { type: 'string' },
    json: { type: 'boolean', default: false },
  },
})
const { threads } = values
const rounds = Number(values.rounds)
const folder = values.folder ?? mkdtempSync(join(tmpdir(), 'octavo-peers-'))
const embeddingRows = 4096

installPeer(folder)
const model = at('../models/octavo-stories-q4_0.gguf')
const padded = join(mkdtempSync(join(tmpdir(), 'octavo-cold-')), 'stories.gguf')
padVocabulary(model, padded, embeddingRows)

/** Milliseconds from the start of a process to the first byte that it prints. */
function firstByte(args) {
  return new Promise((resolve, reject) => {
    const started = performance.now()
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
    let ms
    child.stdout.once('data', () => {
      ms = performance.now() - started
    })
    child.once('close', (code) =>
      ms !== undefined && code === 0 ? resolve(ms) : reject(new Error(`${args}: ${code}`)),
    )
  })
}

const starts = {
  'empty Node process': ['-e', 'process.stdout.write("x")'],
  'octavo, prompt': [at('peers/cold-octavo.mjs'), model, threads, 'prompt'],
  'octavo, messages': [at('peers/cold-octavo.mjs'), model, threads, 'messages'],
  'node-llama-cpp, prompt': [at('peers/cold-node-llama-cpp.mjs'), padded, threads, 'prompt', folder],
  'node-llama-cpp, messages': [at('peers/cold-node-llama-cpp.mjs'), padded, threads, 'messages', folder],
}
const runs = Object.fromEntries(Object.keys(starts).map((name) => [name, []]))
for (const args of Object.values(starts)) await firstByte(args)
for (let round = 0; round < rounds; round++)
  for (const [name, args] of Object.entries(starts)) runs[name].push(await firstByte(args))

const rounded = (ms) => Math.round(ms * 10) / 10
const rows = Object.fromEntries(
  Object.entries(runs).map(([name, list]) => [
    name,
    { medianMs: rounded(median(list)), bestMs: rounded(Math.min(...list)), worstMs: rounded(Math.max(...list)) },
  ]),
)
if (values.json) {
  const { version } = JSON.parse(readFileSync(join(folder, 'node_modules/node-llama-cpp/package.json'), 'utf8'))
  const about = {
    model: 'octavo-stories-q4_0',
    threads: Number(threads),
    rounds,
    node: process.version,
    nodeLlamaCpp: version,
  }
  console.log(JSON.stringify({ ...about, starts: rows }))
} else console.table(rows)
