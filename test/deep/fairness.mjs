// What a flood does to another tenant: one sends a quarter of what the engine can do, the other first its share, a half, then ten times
// that. The first one's p99 time to first token may not double. Rates are of the capacity that is measured first. Exits 1 otherwise.
//
//   node test/deep/fairness.mjs [MODEL] [--seconds 30] [--seed 1]
import { Engine } from 'octavo'

const argument = (name, fallback) => {
  const at = process.argv.indexOf(name)
  return at < 0 ? fallback : Number(process.argv[at + 1])
}
const model = process.argv[2]?.startsWith('--') === false ? process.argv[2] : 'synthetic:smollm2-135m'
const seconds = argument('--seconds', 30)
let state = argument('--seed', 1) >>> 0
/** Uniform in (0, 1) (a 32-bit mix of a counter). */
function random() {
  state = (state + 0x9e3779b9) >>> 0
  let z = state
  z = Math.imul(z ^ (z >>> 16), 0x85ebca6b)
  z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35)
  return (((z ^ (z >>> 16)) >>> 0) + 0.5) / 2 ** 32
}

async function load() {
  const engine = await Engine.load({ model, contextTokens: 512, prefixCache: false, kv: { memory: '512MiB' } })
  const ask = (tenant) => {
    const length = 60 + Math.floor(120 * random())
    const prompt = Array.from({ length }, () => 10 + Math.floor(random() * (engine.model.vocabularySize - 10)))
    const maxTokens = 10 + Math.floor(30 * random())
    return engine.generate({ prompt, tenant, maxTokens, ignoreEos: true })
  }
  return { engine, ask }
}

/** Requests a second of which 32 run at a time. */
async function measuredCapacity() {
  const { engine, ask } = await load()
  await Promise.all(Array.from({ length: 8 }, () => ask('').result))
  const begun = performance.now()
  await Promise.all(Array.from({ length: 64 }, () => ask('').result))
  const rate = 64_000 / (performance.now() - begun)
  await engine.close()
  return rate
}

/** p99 of the quiet tenant's times to first token while the other sends `loudRate` requests a second. */
async function quietP99(quietRate, loudRate) {
  const { engine, ask } = await load()
  const waits = []
  const running = []
  const arrive = async (rate, begin) => {
    const end = performance.now() + seconds * 1000
    for (let at = performance.now(); at < end; at += (-1000 / rate) * Math.log(random())) {
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, at - performance.now())))
      begin()
    }
  }
  const loud = new Set()
  await Promise.all([
    arrive(quietRate, () => running.push(ask('quiet').result.then((r) => waits.push(r.timings.firstTokenMs)))),
    arrive(loudRate, () => {
      const generation = ask('loud')
      loud.add(generation)
      generation.result.then(
        () => loud.delete(generation),
        () => loud.delete(generation),
      )
    }),
  ])
  await Promise.all(running)
  const { tenants } = engine.stats()
  for (const generation of loud) generation.cancel()
  await engine.close()
  waits.sort((a, b) => a - b)
  const at = (share) => waits[Math.ceil(share * waits.length) - 1]
  console.log(
    `quiet ${quietRate.toFixed(1)}/s, loud ${loudRate.toFixed(1)}/s: quiet tenant's first token p50 ${at(0.5).toFixed(0)} ms, p99 ${at(0.99).toFixed(0)} ms of ${waits.length}; loud began ${tenants.loud.requests}`,
  )
  return at(0.99)
}

const capacity = await measuredCapacity()
const calm = await quietP99(capacity / 4, capacity / 2)
const flooded = await quietP99(capacity / 4, 5 * capacity)
console.log(
  `summary: capacity ${capacity.toFixed(1)} requests/s; p99 to first token ${calm.toFixed(0)} ms beside a tenant at its share, ${flooded.toFixed(0)} ms beside ten times that: ${(flooded / calm).toFixed(2)}x`,
)
process.exit(flooded <= 2 * calm ? 0 : 1)
