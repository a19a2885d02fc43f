// Clients that arrive together with one system prompt, with the prefix cache and without: throughput, time to first token, and
// the tokens, which must be the same. Exits 1 when it brings less than five times of either.
//
//   node test/deep/shared-prefix.mjs [MODEL] [--clients 64] [--shared 1000] [--own 50] [--output 32]
import { Engine } from 'octavo'

const argument = (name, fallback) => {
  const at = process.argv.indexOf(name)
  return at < 0 ? fallback : Number(process.argv[at + 1])
}
const model = process.argv[2]?.startsWith('--') === false ? process.argv[2] : 'synthetic:smollm2-135m'
const clients = argument('--clients', 64)
const [shared, own, output] = [argument('--shared', 1000), argument('--own', 50), argument('--output', 32)]

async function run(prefixCache) {
  const contextTokens = shared + own + output + 16
  const engine = await Engine.load({ model, prefixCache, contextTokens, kv: { memory: '4GiB' } })
  const ids = (from, length) =>
    Array.from({ length }, (_, i) => 10 + ((from * 7919 + i * 31) % (engine.model.vocabularySize - 10)))
  await engine.generate({ prompt: ids(5000, 300), maxTokens: 4, temperature: 0, ignoreEos: true }).result
  const system = ids(0, shared)
  const begun = performance.now()
  const all = Array.from({ length: clients }, (_, i) =>
    engine.generate({
      prompt: [...system, ...ids(i + 1, own)],
      maxTokens: output,
      temperature: 0.8,
      seed: i,
      ignoreEos: true,
    }),
  )
  const results = await Promise.all(all.map((generation) => generation.result))
  const seconds = (performance.now() - begun) / 1000
  const { cachedTokens } = engine.stats()
  await engine.close()
  const waits = results.map((r) => r.timings.firstTokenMs).sort((a, b) => a - b)
  const tokens = results.map((r) => r.tokens.join())
  console.log(
    `prefix cache ${prefixCache ? 'on ' : 'off'}: ${((clients * output) / seconds).toFixed(1)} tokens/s, first token p50 ${waits[clients >> 1].toFixed(0)} ms, p99 ${waits[Math.ceil(0.99 * clients) - 1].toFixed(0)} ms, ${cachedTokens} cached tokens, ${seconds.toFixed(1)} s`,
  )
  return { seconds, median: waits[clients >> 1], tokens: tokens.join(';') }
}

const [on, off] = [await run(true), await run(false)]
const [throughput, first] = [off.seconds / on.seconds, off.median / on.median]
const same = on.tokens === off.tokens
console.log(
  `summary: ${clients} clients with ${shared} shared and ${own} own tokens: ${throughput.toFixed(1)}x throughput, ${first.toFixed(1)}x lower time to first token (p50), tokens ${same ? 'identical' : 'DIFFERENT'}`,
)
process.exit(same && throughput >= 5 && first >= 5 ? 0 : 1)
