// The invariance contract on real text, through the public API: requests of random lengths run together, with random step
// sizes, threads and pool sizes, half of the mixes so tight that requests are preempted, and every one of them must give
// the tokens it gives alone. Exits 1 at the first difference and names it.
//
//   node test/deep/invariance.mjs --model stories --mixes 160 --seed 1
import { readFileSync } from 'node:fs'
import { Engine } from 'octavo'
import { randomSource } from './random-source.mjs'

const argument = (name, fallback) => {
  const at = process.argv.indexOf(name)
  return at < 0 ? fallback : process.argv[at + 1]
}
const model = argument('--model', 'stories')
const mixes = Number(argument('--mixes', 10))
const baseSeed = Number(argument('--seed', 1))

const texts = JSON.parse(readFileSync(new URL('../goldens/oracle-texts.json', import.meta.url), 'utf8'))
const source = (Array.isArray(texts) ? texts : texts.texts)
  .map((t) => (typeof t === 'string' ? t : t.text))
  .join('\n\n')

function requestOf(random, ids, tight) {
  const length = random(0, 3) === 0 ? random(1, 600) : random(1, tight ? 40 : 160)
  const start = random(0, 2) === 0 ? 0 : random(0, ids.length - length - 1) // some share a prefix
  const greedy = random(0, 1) === 0
  return {
    prompt: ids.slice(start, start + length),
    maxTokens: tight ? random(40, 100) : random(1, 24), // a running request must outgrow the block that admission leaves it
    ignoreEos: true,
    seed: random(0, 1 << 30),
    ...(greedy
      ? { temperature: 0 }
      : { temperature: 0.5 + random(0, 100) / 100, topK: random(0, 1) * 40, topP: random(0, 1) ? 0.9 : 1 }),
    ...(random(0, 3) === 0 ? { repetitionPenalty: 1.1, frequencyPenalty: 0.2 } : {}),
  }
}

const base = { model, contextTokens: 700 }
const solo = await Engine.load({ ...base, prefixCache: false, speculation: 'off' })
const { layers, kvHeads, headSize } = solo.model
const bytesPerToken = layers * kvHeads * headSize * 2 * 2 // keys and values in f16
let ids = [...(await solo.tokenize(source))]
while (ids.length < 1400) ids = ids.concat(ids)

let compared = 0
let tokens = 0
let preemptions = 0
let preemptingMixes = 0
let cachedTokens = 0
for (let mix = 0; mix < mixes; mix++) {
  const random = randomSource(baseSeed * 100003 + mix)
  const tight = mix % 20 < 12 // somewhat more than half: not every tight pool makes its requests collide
  const requests = Array.from({ length: random(tight ? 8 : 4, 32) }, () => requestOf(random, ids, tight))
  // A tight pool holds the largest request and little more, so that running requests take each other's blocks.
  const longest = Math.max(...requests.map((r) => r.prompt.length + r.maxTokens))
  const totalTokens = requests.reduce((sum, r) => sum + r.prompt.length + r.maxTokens, 0)
  const poolTokens = tight ? longest + 16 * random(1, 4) : totalTokens + 16 * requests.length
  const engine = await Engine.load({
    ...base,
    threads: random(1, 3),
    internal: { stepTokens: random(0, 1) ? random(1, 512) : random(1, 40) },
    kv: { memory: Math.ceil(poolTokens / 16) * 16 * bytesPerToken },
    contextTokens: Math.min(700, Math.floor(poolTokens / 16) * 16),
  })
  const together = await Promise.all(requests.map((request) => engine.generate(request).result))
  const stats = engine.stats()
  preemptions += stats.preemptions
  if (stats.preemptions > 0) preemptingMixes++
  cachedTokens += stats.cachedTokens
  await engine.close()
  for (const [i, request] of requests.entries()) {
    const alone = await solo.generate(request).result
    compared++
    tokens += alone.tokens.length
    if (alone.tokens.join() !== together[i].tokens.join()) {
      console.error(
        `mix ${mix}, request ${i} differs:\n alone    ${alone.tokens.join()}\n together ${together[i].tokens.join()}`,
      )
      console.error(JSON.stringify({ ...request, prompt: request.prompt.length }))
      process.exit(1)
    }
  }
}
await solo.close()
console.log(
  `summary: ${mixes} mixes, ${compared} requests equal (${tokens} tokens), ${preemptions} preemptions in ${preemptingMixes} mixes, ${cachedTokens} cached tokens`,
)
if (mixes >= 10 && preemptingMixes * 2 < mixes) {
  console.error('fewer than half of the mixes preempted a request: they do not test what they claim')
  process.exit(1)
}
