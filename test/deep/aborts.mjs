// Requests that are given up at random moments: queued (more run at once than the pool holds), prefilling (long prompts), decoding,
// held by a slow reader, before they were tokenised, and after their end. By cancel, by a signal, or by leaving the loop. Afterwards
// every block is free, no handle is left, and the process ends by itself; the resident set may grow by --limit bytes a request over
// the second half. Exits 1 otherwise.
//
//   node --expose-gc --gc-global --max-semi-space-size=1 test/deep/aborts.mjs [--requests 1000] [--limit 500] [--seed 1]
import { Engine } from 'octavo'

const argument = (name, fallback) => {
  const at = process.argv.indexOf(name)
  return at < 0 ? fallback : Number(process.argv[at + 1])
}
const requests = argument('--requests', 1000)
const limitBytes = argument('--limit', 500)
let state = argument('--seed', 1) >>> 0
const below = (n) => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0
  return Math.floor((state / 2 ** 32) * n)
}
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

const engine = await Engine.load({ model: 'stories', threads: 1, kv: { memory: '4MiB' } })
const outcomes = {}
const count = (outcome) => {
  outcomes[outcome] = (outcomes[outcome] ?? 0) + 1
}

async function slowReader(generation) {
  const iterator = generation[Symbol.asyncIterator]()
  for (let i = 0; i < 3; i++) await iterator.next()
  // Reads no further: the generation is held until it is given up.
  return iterator
}

async function one(i) {
  const abort = new AbortController()
  const prompt = below(4) === 0 ? 'Once upon a time' : Array(1 + below(500)).fill(5 + (i % 500))
  const generation = engine.generate({ prompt, maxTokens: 200, ignoreEos: true, signal: abort.signal })
  const reader = below(3)
  let iterator
  if (reader === 0)
    slowReader(generation).then(
      (it) => {
        iterator = it
      },
      () => {},
    )
  if (reader === 1)
    void (async () => {
      for await (const _ of generation) if (below(20) === 0) break
    })().catch(() => {})
  await wait(below(40))
  const way = below(3)
  if (way === 0) abort.abort('enough')
  else if (way === 1 || iterator === undefined) generation.cancel()
  else await iterator.return()
  count(
    await generation.result.then(
      (result) => result.finishReason,
      (reason) => reason,
    ),
  )
}

const rss = []
for (let done = 0; done < requests; ) {
  const batch = Math.min(50, requests - done)
  await Promise.all(Array.from({ length: batch }, (_, i) => one(done + i)))
  done += batch
  globalThis.gc?.()
  rss.push(process.memoryUsage.rss())
}
await engine.generate({ prompt: 'A', maxTokens: 1 }).result
const { kv, requests: open } = engine.stats()
const held = kv.totalBlocks - kv.freeBlocks - kv.cachedBlocks + open.running + open.waiting
await engine.close()
const handles = process.getActiveResourcesInfo().filter((name) => !/^(Pipe|TTY|FSReq)/.test(name))
const half = rss.slice(rss.length >> 1)
const growth = (Math.min(...half.slice(-3)) - Math.min(...half.slice(0, 3))) / (requests / 2)
console.log(
  `summary: ${requests} requests given up (${Object.entries(outcomes)
    .map((entry) => entry.reverse().join(' '))
    .join(
      ', ',
    )}), ${held} blocks and requests held, ${handles.length} handles left, RSS ${growth.toFixed(0)} bytes a request over the second half (limit ${limitBytes})`,
)
if (held > 0 || handles.length > 0 || growth > limitBytes) {
  console.error(`left behind: ${handles.join(', ')}`)
  process.exitCode = 1
}
