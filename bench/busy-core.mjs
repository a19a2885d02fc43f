// Decode while another program keeps one of the cores busy: a loop pinned to it (taskset), the cores in turns. Tokens per second of
// one request through the public API with two threads, undisturbed and disturbed, and with one thread undisturbed, round by round; a
// ratio is the median of the rounds' ratios. A pool that waits for a late thread would fall to a fraction.
//
//   npm run bench:busy-core -- [--model synthetic:smollm2-135m] [--tokens 256] [--rounds 9] [--least 0.8]
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { Engine } from 'octavo'
import { args, machine, round, save, threads } from './load/common.mjs'
import { median } from './median.mjs'

const flags = args({ model: 'synthetic:smollm2-135m', tokens: 256, rounds: 9, least: 0.8 })
const cores = threads()
if (cores < 2) throw new Error(`expected two cores, found ${cores}`)
/** For the loop to be under way, and for its end to be noticed. */
const settleMs = 300

const engines = {}
for (const count of [1, 2]) {
  const options = { threads: count, contextTokens: 1024, prefixCache: false, speculation: 'off' }
  engines[count] = await Engine.load({ model: flags.model, ...options })
}

async function decode(engine) {
  const options = { temperature: 0, ignoreEos: true, maxTokens: flags.tokens + 1 }
  let [tokens, started, ended] = [0, 0, 0]
  for await (const part of engine.generate({ prompt: [1000, 1001, 1002], ...options })) {
    ended = performance.now()
    if (started === 0) started = ended
    else tokens += part.tokens.length
  }
  return (1000 * tokens) / (ended - started)
}

async function beside(core, work) {
  const loop = spawn('taskset', ['-c', `${core}`, process.execPath, '-e', 'for (;;);'], { stdio: 'ignore' })
  try {
    await once(loop, 'spawn')
    await sleep(settleMs)
    return await work()
  } finally {
    loop.kill('SIGKILL')
    await sleep(settleMs)
  }
}

const ways = {
  oneThread: () => decode(engines[1]),
  twoThreads: () => decode(engines[2]),
  twoThreadsBusyCore: (i) => beside(i % 2, () => decode(engines[2])),
}
const runs = Object.fromEntries(Object.keys(ways).map((way) => [way, []]))
for (let i = -1; i < flags.rounds; i++) {
  for (const [way, measure] of Object.entries(ways)) {
    const speed = await measure(i + 1)
    if (i >= 0) runs[way].push(speed)
  }
}
for (const engine of Object.values(engines)) await engine.close()

const ratios = runs.twoThreadsBusyCore.map((speed, i) => speed / runs.oneThread[i])
const ratio = median(ratios)
const result = {
  ...{ flags, machine: machine(cores), runs, ratios, ratio },
  tokensPerSecond: Object.fromEntries(Object.entries(runs).map(([way, speeds]) => [way, median(speeds)])),
}
for (const [way, speed] of Object.entries(result.tokensPerSecond))
  console.log(`${way.padEnd(20)} ${round(speed)} tokens/s`)
console.log(
  `summary: two threads with a core kept busy decode ${round(ratio, 2)}x as fast as one thread undisturbed ` +
    `(rounds: ${ratios.map((one) => round(one, 2)).join(', ')}): ${ratio >= flags.least ? 'kept' : `LESS THAN ${flags.least}`}`,
)
save('busy-core', result)
process.exitCode = ratio >= flags.least ? 0 : 1
