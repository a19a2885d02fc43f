// kill -9 of an isolated engine at random moments, again and again: rounds of random requests (greedy and sampled, stop strings,
// log-probabilities, slow readers, cancels, more requests than places) on an engine that restarts, each compared with its own
// undisturbed run. Afterwards nothing may be left: blocks, processes, file descriptors.
//
//   node test/deep/kill.mjs [--model stories] [--kills 120] [--seed 1]
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { Engine } from 'octavo'

const { values } = parseArgs({
  options: {
    model: { type: 'string', default: 'stories' },
    kills: { type: 'string', default: '120' },
    seed: { type: 'string', default: '1' },
  },
})
let state = Number(values.seed) >>> 0
/** 0..n-1. */
function random(n) {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0
  return Math.floor((state / 2 ** 32) * n)
}
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

/** The engine process among our children; undefined while it starts. */
function enginePid() {
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    try {
      const parent = Number(
        readFileSync(`/proc/${name}/stat`, 'latin1')
          .replace(/^.*\) /s, '')
          .split(' ')[1],
      )
      if (parent === process.pid && readFileSync(`/proc/${name}/cmdline`, 'latin1').startsWith('octavo engine')) {
        return Number(name)
      }
    } catch {}
  }
  return undefined
}

const openFiles = () => readdirSync('/proc/self/fd').length

const stops = [[], ['the'], [' was', 'end.'], ['zzz']]
const request = () => ({
  prompt: Array.from({ length: 1 + random(200) }, () => 300 + random(3000)),
  maxTokens: 1 + random(250),
  ignoreEos: random(2) === 0,
  seed: random(1e6),
  temperature: [0, 0.7, 1.3][random(3)],
  repetitionPenalty: [1, 1.15][random(2)],
  presencePenalty: [0, 0.5][random(2)],
  stop: stops[random(stops.length)],
  ...(random(3) === 0 && { logprobs: random(4) }),
})

const pick = ({ text, tokens, logprobs, finishReason, usage }) => {
  return { text, tokens, logprobs, finishReason, completionTokens: usage.completionTokens }
}

async function run(engine, request, reader) {
  const generation = engine.generate(request)
  if (reader === 'slow') for await (const _ of generation) await sleep(1)
  return pick(await generation.result)
}

const alone = await Engine.load({ model: values.model, prefixCache: false, speculation: 'off' })
const wanted = Number(values.kills)
let kills = 0
let requests = 0
let inFlight = 0
const servedMs = []
let files

async function round() {
  let restarts = 0
  const engine = await Engine.load({
    model: values.model,
    isolation: 'process',
    restart: true,
    onLog: (line) => {
      if (line.includes('started again')) restarts++
    },
    internal: { maxSequences: 1 + random(12), stepTokens: [16, 64, 512][random(3)] },
  })
  const specs = Array.from({ length: 1 + random(24) }, request)
  requests += specs.length
  let left = specs.length
  const answers = specs.map((spec) =>
    run(engine, spec, ['slow', 'result'][random(2)]).finally(() => {
      left--
    }),
  )
  const settled = Promise.allSettled(answers)
  for (let k = 0; k < 2 && kills < wanted; k++) {
    let pid
    while (true) {
      pid = enginePid()
      if (pid !== undefined) break
      await sleep(2)
    }
    await sleep(random(80))
    if (left > 0) inFlight++
    kills++
    const before = restarts
    process.kill(pid, 'SIGKILL')
    while (restarts === before) await sleep(1)
    const startedAt = performance.now()
    const probe = engine.generate({ prompt: 'A', maxTokens: 1, temperature: 0 })
    probe.result.then(() => servedMs.push(performance.now() - startedAt))
    await probe.result
  }
  for (const { status, reason } of await settled) assert.equal(status, 'fulfilled', reason?.message)
  const disturbed = await Promise.all(answers)
  const { kv, requests: counts } = engine.stats()
  assert.deepEqual([kv.freeBlocks + kv.cachedBlocks, counts.running, counts.waiting], [kv.totalBlocks, 0, 0])
  await engine.close()
  assert.equal(enginePid(), undefined)
  for (const [i, spec] of specs.entries()) {
    assert.deepEqual(disturbed[i], pick(await alone.generate(spec).result), JSON.stringify(spec))
  }
}

while (kills < wanted) {
  await round()
  files ??= openFiles()
}
await alone.close()
assert.ok(openFiles() <= files, `${openFiles()} open files, ${files} after the first round`)
servedMs.sort((a, b) => a - b)
const at = (share) => servedMs[Math.min(servedMs.length - 1, Math.floor(share * servedMs.length))].toFixed(0)
console.log(
  `summary: ${kills} kills, ${inFlight} of them with requests in flight; ${requests} requests, all as if undisturbed; ` +
    `first answer after a restart: median ${at(0.5)} ms, longest ${at(1)} ms`,
)
