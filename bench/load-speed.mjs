// How fast a model gets from a file into memory, held against reading the same file: interleaved rounds of (1) read() of the whole
// file into one 1 MiB buffer, (2) read() into fresh memory of the file's size, which is what any loader needs at least, and
// (3) loading it (open, repack all weights). Cold: the file's pages are dropped from the system's cache before each (dd
// iflag=nocache). On a virtual machine fresh memory is slow for a moment now and then, which falls on any of the three: so the
// best and the median of each are given, and both shares.
//
//   npm run bench:load-speed -- <model.gguf> [--rounds 9] [--json]
import { execFileSync } from 'node:child_process'
import { closeSync, openSync, readSync, statSync } from 'node:fs'
import { cpus } from 'node:os'
import { basename } from 'node:path'
import { parseArgs } from 'node:util'
import { native } from '../dist/base/native.js'
import { openCheckpoint } from '../dist/model/checkpoint.js'
import { median } from './median.mjs'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { rounds: { type: 'string', default: '9' }, json: { type: 'boolean', default: false } },
})
const file = positionals[0]
if (file === undefined) throw new Error('usage: node bench/load-speed.mjs <model.gguf> [--rounds n] [--json]')
const { size } = statSync(file)
const stepBytes = 2 ** 20

function readAll(bufferAt) {
  const descriptor = openSync(file)
  for (let at = 0; ; ) {
    const [buffer, offset] = bufferAt(at)
    const count = readSync(descriptor, buffer, offset, Math.min(stepBytes, buffer.length - offset), null)
    if (count === 0) break
    at += count
  }
  closeSync(descriptor)
}

function loadModel() {
  const model = new (native().Model)(openCheckpoint(file, { texts: false }).desc, 'cpu', null)
  const { tensorCount } = model
  for (let i = 0; i < tensorCount; i++) model.loadTensor(i)
  model.finishLoad()
  return model
}

const ways = {
  read: () => {
    const buffer = Buffer.allocUnsafeSlow(stepBytes)
    readAll(() => [buffer, 0])
  },
  readIntoFreshMemory: () => {
    const buffer = Buffer.allocUnsafeSlow(size + 1)
    readAll((at) => [buffer, at])
  },
  load: loadModel,
}

const speed = (ms) => Math.round(size / ms / 1e4) / 100

function measure(cold) {
  const times = Object.fromEntries(Object.keys(ways).map((name) => [name, []]))
  for (let round = 0; round < Number(values.rounds); round++)
    for (const [name, run] of Object.entries(ways)) {
      if (cold) execFileSync('dd', [`if=${file}`, 'iflag=nocache', 'count=0'], { stdio: 'ignore' })
      globalThis.gc?.()
      const started = performance.now()
      const model = run()
      times[name].push(performance.now() - started)
      model?.close()
    }
  const of = (pick) => Object.fromEntries(Object.entries(times).map(([name, list]) => [name, speed(pick(list))]))
  const [best, middle] = [of((list) => Math.min(...list)), of(median)]
  const share = (speeds) => ({
    ofRead: Math.round((100 * speeds.load) / speeds.read) / 100,
    ofReadIntoFreshMemory: Math.round((100 * speeds.load) / speeds.readIntoFreshMemory) / 100,
  })
  return { bestGBps: best, medianGBps: middle, shareOfBest: share(best), shareOfMedian: share(middle) }
}

const report = {
  ...{ model: basename(file), bytes: size, rounds: Number(values.rounds), cpu: cpus()[0]?.model.trim() },
  ...{ cpus: native().cpu().cpus, node: process.version, cold: measure(true), warm: measure(false) },
}
if (values.json) console.log(JSON.stringify(report, null, 1))
else
  for (const state of ['cold', 'warm']) {
    const { bestGBps, medianGBps, shareOfBest, shareOfMedian } = report[state]
    console.log(`${state}, GB/s`)
    console.table({ best: { ...bestGBps, ...shareOfBest }, median: { ...medianGBps, ...shareOfMedian } })
  }
