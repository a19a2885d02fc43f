// A service's day, at random, on the real backend: requests of several tenants and priorities that arrive in bursts, samples, forked
// sessions, aborts, deadlines, slow readers and some that never read on, a KV pool too small for all of them. Every request that
// finishes must equal its solo run, what fails must have a reason and a beginning of it, the block manager is checked after every
// step, memory may not grow. Exits 1 at the first difference.
//
//   node test/deep/service.mjs --model stories --requests 10000 --seed 1
import { Engine } from 'octavo'
import { randomSource } from './random-source.mjs'

const argument = (name, fallback) => {
  const at = process.argv.indexOf(name)
  return at < 0 ? fallback : process.argv[at + 1]
}
const model = argument('--model', 'stories')
const total = Number(argument('--requests', 10_000))
const distinct = Number(argument('--distinct', Math.min(2000, total)))
const baseSeed = Number(argument('--seed', 1))
const atOnce = 48

const base = { model, contextTokens: 512 }
const solo = await Engine.load({ ...base, prefixCache: false, speculation: 'off' })
const { layers, kvHeads, headSize, vocabularySize } = solo.model
const engine = await Engine.load({
  ...base,
  kv: { memory: 96 * 16 * layers * kvHeads * headSize * 4 },
  tenants: { gold: { weight: 3 } },
  queue: { maxRequests: 40 },
  idleTimeoutMs: 400,
  internal: { checkBlocks: true, maxSequences: 24 },
})

/** What a request asks: a function of its number; many share a beginning. */
function question(number) {
  const random = randomSource(baseSeed * 1_000_003 + number)
  const length = random(0, 2) === 0 ? random(1, 400) : random(1, 120)
  const family = randomSource(random(0, 6))
  const shared = random(0, 1) * random(0, length)
  const prompt = Array.from({ length }, (_, i) => (i < shared ? family : random)(3, vocabularySize - 1))
  const maxTokens = random(0, 3) === 0 ? random(1, 100) : random(1, 30)
  const draw = random(0, 1) ? { temperature: 0 } : { temperature: 0.5 + random(0, 100) / 100, topK: random(0, 1) * 40 }
  const penalty = random(0, 3) === 0 ? { repetitionPenalty: 1.1, frequencyPenalty: 0.2 } : {}
  return { prompt, maxTokens, seed: random(0, 1 << 30), ignoreEos: random(0, 1) === 0, ...draw, ...penalty }
}

const alone = new Map()
/** Tokens of the request computed with nothing beside it, once. */
function expected(number, offset = 0) {
  const key = `${number}+${offset}`
  if (!alone.has(key)) {
    const asked = question(number)
    alone.set(
      key,
      queued(() => solo.generate({ ...asked, seed: asked.seed + offset }).result.then((r) => r.tokens.join())),
    )
  }
  return alone.get(key)
}
let last = Promise.resolve()
function queued(work) {
  last = last.then(work)
  return last
}

const ends = {}
let [tokens, compared, forks] = [0, 0, 0]
function wrong(what, details) {
  console.error(`${what}: ${JSON.stringify(details)}`)
  process.exit(1)
}
const allowed = ['OVERLOADED', 'DEADLINE_EXCEEDED', 'CONSUMER_TIMEOUT', 'ABORTED']

async function settle(number, offset, generation) {
  let outcome
  let found
  try {
    const result = await generation.result
    outcome = result.finishReason
    found = result.tokens
  } catch (error) {
    outcome = error === aborted ? 'ABORTED' : (error.code ?? error.message)
    found = generation.partial.tokens
    if (!allowed.includes(outcome)) wrong('unexpected end', { number, outcome, message: error.message })
  }
  ends[outcome] = (ends[outcome] ?? 0) + 1
  const whole = await expected(number, offset)
  const finished = outcome === 'stop' || outcome === 'length'
  const text = found.join()
  if (finished ? text !== whole : !`${whole},`.startsWith(text === '' ? '' : `${text},`))
    wrong('a request differs from its solo run', { number, offset, outcome, found: text, whole })
  if (finished) compared++
  tokens += found.length
}

const aborted = new Error('aborted by its caller')
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

/** One request in one of many manners; they never change its tokens. */
async function ask(number, random) {
  const manner = random(0, 99)
  const timing = manner < 6 ? { deadlines: { firstTokenMs: random(1, 400), totalMs: random(50, 2000) } } : {}
  const tenant = ['', 'gold', 'blue'][random(0, 2)]
  const controller = new AbortController()
  const options = { ...question(number), ...timing, tenant, priority: random(-2, 2), signal: controller.signal }
  if (manner >= 6 && manner < 10) {
    await Promise.all(engine.samples(options, random(2, 4)).map((g, i) => settle(number, i, g)))
    return
  }
  const generation = engine.generate(options)
  const settled = settle(number, 0, generation)
  if (manner >= 10 && manner < 14) setTimeout(() => controller.abort(aborted), random(0, 300))
  else if (manner >= 14 && manner < 17) setTimeout(() => generation.cancel(), random(0, 300))
  else if (manner >= 17 && manner < 23) {
    try {
      let parts = 0
      for await (const _ of generation) if (++parts % 5 === 0) await pause(random(1, 15))
    } catch {}
  } else if (manner === 23)
    generation[Symbol.asyncIterator]()
      .next()
      .catch(() => {})
  await settled
}

/** A conversation whose fork goes on as it does itself. */
async function forked(number, on) {
  const options = { maxTokens: 12, seed: number, temperature: 0.8 }
  const session = on.session()
  const said = [await session.generate(`Tell a story about fox number ${number % 9}.`, options).result]
  const fork = session.fork()
  said.push(...(await Promise.all([session, fork].map((s) => s.generate('And then?', options).result))))
  return said.map((r) => r.tokens.join())
}

async function askForked(number) {
  const key = `fork ${number % 40}`
  if (!alone.has(key))
    alone.set(
      key,
      queued(() => forked(number % 40, solo)),
    )
  let found
  try {
    found = await forked(number % 40, engine)
  } catch (error) {
    if (error.code !== 'OVERLOADED') throw error
    return
  }
  if (found.join(';') !== (await alone.get(key)).join(';') || found[1] !== found[2])
    wrong('a fork differs', { number, found })
  forks++
}

const random = randomSource(baseSeed)
const rss = []
let [started, running] = [0, 0]
const begun = Date.now()
while (started < total) {
  for (let burst = random(1, 12); burst > 0 && running < atOnce && started < total; burst--) {
    running++
    const number = random(0, distinct - 1)
    started++
    const asked = started % 100 === 0 ? askForked(number) : ask(number, random)
    asked.then(
      () => running--,
      (error) => wrong('a request threw', { number, message: error.message, stack: error.stack }),
    )
    if (started % Math.max(1, Math.floor(total / 20)) === 0) rss.push(process.memoryUsage().rss / 2 ** 20)
  }
  await pause(random(0, 12))
}
while (running > 0) await pause(5)
const { kv, requests, preemptions, cachedTokens, steps } = engine.stats()
if (kv.freeBlocks + kv.cachedBlocks !== kv.totalBlocks || Object.values(requests).some((n) => n !== 0))
  wrong('something is held after the last request', { kv, requests })
await engine.close()
await solo.close()
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length
const [early, late] = [mean(rss.slice(5, 10)), mean(rss.slice(15))]
console.log(`ends: ${JSON.stringify(ends)}; memory (MiB): ${rss.map((m) => m.toFixed(0)).join(' ')}`)
console.log(
  `summary: ${started} requests, ${compared} finished and equal to their solo runs, ${forks} forked conversations, ${tokens} tokens, ${steps} steps checked, ${preemptions} preemptions, ${cachedTokens} cached tokens, memory ${early.toFixed(0)} -> ${late.toFixed(0)} MiB, ${((Date.now() - begun) / 1000).toFixed(0)} s`,
)
// Solo results are kept: some KiB each until every distinct request has come once.
if (total >= 5000 && late > early * 1.1 + 16) wrong('memory grew', { early, late })
if (total >= 5000 && preemptions < 50) wrong('hardly anything was preempted: the pool is not tight', { preemptions })
