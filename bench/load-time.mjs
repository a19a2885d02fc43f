// What loading a model costs: a process for each load, at the default settings, from `Engine.load` to its engine, with the memory that
// the process then has; files are in the page cache. Beside it, in processes of their own, the parts that the threads of a load
// do at the same time, each alone: their CPU time, which other work on the machine leaves alone.
//
//   npm run bench:load-time -- <model.gguf> [--rounds 9] [--json]
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { basename } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { median } from './median.mjs'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: '9' },
    json: { type: 'boolean', default: false },
    child: { type: 'string' },
  },
})
const file = positionals[0]
if (file === undefined) throw new Error('usage: node bench/load-time.mjs <model.gguf> [--rounds n] [--json]')

const cpuMs = () => {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}

/** One load, whole. */
async function load() {
  const { Engine } = await import('../dist/index.js')
  const [startedMs, startedCpuMs] = [performance.now(), cpuMs()]
  const engine = await Engine.load({ model: file })
  const [ms, cpu] = [performance.now() - startedMs, cpuMs() - startedCpuMs]
  const residentMiB = Number(/VmRSS:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]) / 1024
  await engine.close()
  return { ms, cpuMs: cpu, residentMiB }
}

/** The CPU time of its parts; the code is there already. */
async function parts() {
  const { native } = await import('../dist/base/native.js')
  const { openCheckpoint } = await import('../dist/model/checkpoint.js')
  const { vocabularyFromGguf } = await import('../dist/text/vocabulary/gguf-tokenizer.js')
  const { Tokenizer } = await import('../dist/text/tokenizer.js')
  const { templateFault } = await import('../dist/text/template-sandbox.js')
  const times = {}
  const part = (name, work) => {
    const started = cpuMs()
    const result = work()
    times[name] = cpuMs() - started
    return result
  }
  const { cpus: threads } = native().cpu()
  const { metadata } = part('header with texts', () => native().ggufRead(file, 'packed'))
  const vocabulary = part('vocabulary and merges', () => vocabularyFromGguf(metadata))
  const tokenizer = part('tokenizer', () => new Tokenizer(vocabulary))
  part('what its first text needs', () => tokenizer.warm())
  part('chat template', () => vocabulary.chatTemplate && templateFault(vocabulary.chatTemplate))
  const { desc } = part('header', () => openCheckpoint(file, { texts: false }))
  const model = new (native().Model)(desc, 'cpu', null)
  part('weights', () => {
    for (let i = 0; i < model.tensorCount; i++) model.loadTensor(i)
    model.finishLoad()
  })
  const options = { threads, kvBlocks: 512, maxStepTokens: 512, prefixCache: true, kvDtype: 'int8' }
  const engine = (tune) => new (native().Engine)(model, { ...options, tune }).close()
  part('engine', () => engine(false))
  part('engine, and what helps this CPU', () => engine(true))
  model.close()
  return times
}

const child = (mode) =>
  JSON.parse(
    execFileSync(process.execPath, [fileURLToPath(import.meta.url), file, '--child', mode], { encoding: 'utf8' }),
  )

if (values.child !== undefined) console.log(JSON.stringify(await (values.child === 'load' ? load() : parts())))
else {
  const rounds = Number(values.rounds)
  const [loads, alone] = [[], []]
  child('load')
  for (let round = 0; round < rounds; round++) {
    loads.push(child('load'))
    alone.push(child('parts'))
  }
  const rows = (list) =>
    Object.fromEntries(
      Object.keys(list[0]).map((name) => {
        const numbers = list.map((row) => row[name])
        const [best, worst] = [Math.min(...numbers), Math.max(...numbers)]
        const rounded = (x) => Math.round(x * 10) / 10
        return [name, { median: rounded(median(numbers)), best: rounded(best), worst: rounded(worst) }]
      }),
    )
  const about = {
    model: basename(file),
    rounds,
    cpu: cpus()[0]?.model.trim(),
    cpus: cpus().length,
    node: process.version,
  }
  const report = { ...about, load: rows(loads), cpuMsOfParts: rows(alone) }
  if (values.json) console.log(JSON.stringify(report, null, 1))
  else {
    console.log(`${about.model}, ${about.cpu}`)
    console.table(report.load)
    console.log('CPU time of the parts, each alone, ms')
    console.table(report.cpuMsOfParts)
  }
}
