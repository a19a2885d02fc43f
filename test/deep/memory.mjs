// Memory over many requests: prompts as ids, text and conversations, read part by part, awaited, cancelled and aborted, eight at a
// time. Each request takes and gives back blocks, messages, streams and promises; what is left of it shows as growth of the
// process. The first fifth warms up (caches of texts, compiled code); over the rest the resident set may grow by --limit bytes a
// request, and this thread's heap by --heap-limit. Fitted as straight lines through a sample every 100 requests, each after a
// collection on this thread. Exits 1 otherwise.
//
// With --gc-global every collection, in every thread, is a full one, so that what is measured is what is kept. Without it V8 lets
// garbage lie until its heaps have reached their working size (some 50 MiB for the four threads, after 2,500 requests); from then
// on samples are some 8 MiB apart, and the slope over 8,000 requests is noise of a few hundred bytes. With --no-opt --no-maglev
// nothing is compiled a second time either, which V8 does late, for memory of some MiB at once: then 1,500 requests say as much.
//
//   node --expose-gc --gc-global --max-semi-space-size=1 test/deep/memory.mjs [--requests 10000] [--limit 100] [--heap-limit 100]
import { Engine } from 'octavo'

const argument = (name, fallback) => {
  const at = process.argv.indexOf(name)
  return at < 0 ? fallback : Number(process.argv[at + 1])
}
const requests = argument('--requests', 10_000)
const limitBytes = argument('--limit', 100)
const heapLimitBytes = argument('--heap-limit', 100)
const outputTokens = argument('--tokens', 24)
const together = 8

const engine = await Engine.load({ model: 'stories', threads: 1 })
const samples = []
let begun = 0
let ended = 0

async function request(i) {
  const abort = new AbortController()
  const options = { maxTokens: 1 + (i % outputTokens), ignoreEos: true, signal: abort.signal, stop: i % 3 ? 'xyz' : [] }
  const input = [
    { prompt: Array.from({ length: 1 + (i % 40) }, (_, t) => 5 + ((i + t) % 900)) },
    { prompt: `Once upon a time there were ${i % 100} foxes` },
    { messages: [{ role: 'user', content: `Tell me about number ${i % 100}.` }] },
  ][i % 3]
  const generation = engine.generate({ ...input, ...options, logprobs: i % 4 === 0 && 2 })
  if (i % 2 === 0) for await (const part of generation) if (i % 10 === 0 && part.tokens.length > 0) break
  if (i % 7 === 0) generation.cancel()
  if (i % 11 === 0) abort.abort()
  await generation.result.catch(() => {})
}

async function client() {
  while (begun < requests) {
    await request(begun++)
    if (++ended % 100 !== 0) continue
    globalThis.gc?.()
    const { rss, heapUsed } = process.memoryUsage()
    samples.push({ at: ended, rss, heapUsed })
  }
}

await Promise.all(Array.from({ length: together }, client))
const { kv } = engine.stats()
const blocksHeld = kv.totalBlocks - kv.freeBlocks - kv.cachedBlocks
await engine.close()

const settled = samples.filter(({ at }) => at > requests / 5)
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length
/** Bytes a request: the slope of the fitted line. */
function growthOf(bytesOf) {
  const [atMean, bytesMean] = [mean(settled.map((s) => s.at)), mean(settled.map(bytesOf))]
  const covariance = settled.reduce((sum, s) => sum + (s.at - atMean) * (bytesOf(s) - bytesMean), 0)
  return covariance / settled.reduce((sum, s) => sum + (s.at - atMean) ** 2, 0)
}
const growth = growthOf((s) => s.rss)
const heapGrowth = growthOf((s) => s.heapUsed)
const mebibytes = (bytes) => (bytes / 2 ** 20).toFixed(1)
if (process.argv.includes('--samples'))
  console.log(
    samples
      .filter((_, i) => i % 5 === 0)
      .map((s) => `${s.at} ${mebibytes(s.rss)}`)
      .join('\n'),
  )
console.log(
  `summary: ${requests} requests, RSS ${mebibytes(samples[0].rss)} MiB after the first 100, ${mebibytes(settled[0].rss)} after the warm-up, ${mebibytes(settled.at(-1).rss)} at the end: ${growth.toFixed(0)} bytes a request (limit ${limitBytes}), heap ${heapGrowth.toFixed(0)} (limit ${heapLimitBytes}); ${blocksHeld} blocks held`,
)
process.exitCode = growth < limitBytes && heapGrowth < heapLimitBytes && blocksHeld === 0 ? 0 : 1
