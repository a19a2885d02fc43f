/** One engine for many callers, through the public API: samples, tenants, priorities, deadlines, a full queue, slow readers. */
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { Engine, type Generation, type LoadOptions, OctavoError } from 'octavo'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const packageRoot = fileURLToPath(new URL('..', import.meta.url))
const words = 'Once upon a time there was a little fox who lived near the river and liked to read. '
const load = (options: Partial<LoadOptions> = {}) =>
  Engine.load({
    model: 'stories',
    contextTokens: 512,
    ...options,
    internal: { checkBlocks: true, ...options.internal },
  })

let engine: Engine
let longPrompt: number[]
beforeAll(async () => {
  engine = await load()
  const ids = await engine.tokenize(words)
  longPrompt = Array.from({ length: 200 }, (_, i) => ids[i % ids.length]!)
})
afterAll(() => engine.close())

const sampled = { temperature: 0.9, maxTokens: 24, ignoreEos: true }

async function failure(generation: Generation): Promise<OctavoError> {
  const error = await generation.result.then(
    () => undefined,
    (e) => e,
  )
  expect(error).toBeInstanceOf(OctavoError)
  return error
}

describe('samples', () => {
  it('are what generate gives for each seed, and their prompt is computed once', async () => {
    const before = engine.stats().cachedTokens
    const results = await Promise.all(
      engine.samples({ prompt: longPrompt, seed: 40, ...sampled }, 6).map((g) => g.result),
    )
    expect(results.map((r) => r.seed)).toEqual([40, 41, 42, 43, 44, 45])
    expect(engine.stats().cachedTokens - before).toBe(5 * 192)
    expect(results.map((r) => r.usage.cachedTokens).sort((a, b) => a - b)).toEqual([0, 192, 192, 192, 192, 192])
    for (const { seed, tokens } of results)
      expect((await engine.generate({ prompt: longPrompt, seed, ...sampled }).result).tokens).toEqual(tokens)
    expect(new Set(results.map((r) => r.text)).size).toBeGreaterThan(3)
  })

  it('draw their seeds themselves when none is given, of messages too', async () => {
    const messages = [{ role: 'user', content: 'Tell a story about a brave fox.' }]
    const results = await Promise.all(engine.samples({ messages, maxTokens: 5 }, 3).map((g) => g.result))
    expect(new Set(results.map((r) => r.seed)).size).toBe(3)
  })

  it('end together when their signal aborts, and nothing is printed', async () => {
    const warnings: Error[] = []
    const onWarning = (warning: Error) => void warnings.push(warning)
    process.on('warning', onWarning)
    const controller = new AbortController()
    const reason = new Error('enough')
    const all = engine.samples({ prompt: 'Once', ignoreEos: true, signal: controller.signal }, 16)
    setTimeout(() => controller.abort(reason), 50)
    const ends = await Promise.allSettled(all.map((generation) => generation.result))
    expect(ends.map((end) => end.status === 'rejected' && end.reason)).toEqual(Array(16).fill(reason))
    await new Promise((resolve) => setTimeout(resolve, 10))
    process.off('warning', onWarning)
    expect(warnings).toEqual([])
  })

  it('are checked at the call', () => {
    for (const n of [0, 1.5, 1025]) expect(() => engine.samples({ prompt: 'x' }, n)).toThrow(/Option n/)
    expect(() => engine.samples({ prompt: 'x', seed: Number.MAX_SAFE_INTEGER }, 2)).toThrow(/Option seed/)
  })
})

describe('tenants', () => {
  it('share no prefix, and are counted apart', async () => {
    const ask = (tenant: string) => engine.generate({ prompt: longPrompt, tenant, seed: 1, ...sampled }).result
    const [a, again, b] = [await ask('a'), await ask('a'), await ask('b')]
    expect([a, again, b].map((r) => r.usage.cachedTokens)).toEqual([0, 192, 0])
    expect(b.tokens).toEqual(a.tokens)
    const { tenants } = engine.stats()
    const counts = { running: 0, waiting: 0, weight: 1, kvBlocks: 0 }
    expect(tenants.a).toEqual({ ...counts, requests: 2, promptTokens: 400, cachedTokens: 192, generatedTokens: 48 })
    expect(tenants.b).toEqual({ ...counts, requests: 1, promptTokens: 200, cachedTokens: 0, generatedTokens: 24 })
  })

  it('hold blocks of the cache, each counted once, which together are all that are held', async () => {
    const asked = { prompt: longPrompt, maxTokens: 300, ignoreEos: true }
    const running = [
      ...engine.samples({ ...asked, tenant: 'many' }, 3),
      engine.generate({ ...asked, tenant: 'one' }),
      engine.generate({ ...asked, prompt: 'Once', tenant: 'one' }),
    ]
    let isOver = false
    const ended = Promise.all(running.map(({ result }) => result)).then(() => {
      isOver = true
    })
    const seen: [number, number][] = []
    while (!isOver) {
      const { tenants, kv } = engine.stats()
      const held = Object.values(tenants).reduce((all, { kvBlocks }) => all + kvBlocks, 0)
      expect(held).toBe(kv.totalBlocks - kv.freeBlocks - kv.cachedBlocks)
      if (tenants.many?.running === 3 && tenants.one?.running === 2)
        seen.push([tenants.many.kvBlocks, tenants.one.kvBlocks])
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
    await ended
    // The 200 tokens of the prompt are there once, in twelve blocks, what follows them three times.
    expect(seen.length).toBeGreaterThan(0)
    for (const [many, one] of seen) expect(many).toBeLessThan(3 * one)
    const { many, one } = engine.stats().tenants
    expect([many?.kvBlocks, one?.kvBlocks]).toEqual([0, 0])
  })

  it('have the weights of the load options', async () => {
    const other = await load({ tenants: { gold: { weight: 4 }, plain: {} } })
    await Promise.all(
      ['gold', 'plain', 'new'].map((tenant) => other.generate({ prompt: 'x', tenant, maxTokens: 2 }).result),
    )
    const { tenants } = other.stats()
    expect([tenants.gold?.weight, tenants.plain?.weight, tenants.new?.weight]).toEqual([4, 1, 1])
    await other.close()
  })
})

describe('a request that cannot be served', () => {
  it('in time is refused: at once when that is certain, else when the deadline passes, with what came so far', async () => {
    for (let i = 0; i < 5; i++)
      await engine.generate({ prompt: longPrompt.slice(i * 30), tenant: `t${i}`, ...sampled }).result
    const late = engine.generate({
      prompt: longPrompt,
      tenant: 'late',
      deadlines: { firstTokenMs: 0.01 },
      maxTokens: 2,
    })
    expect(await failure(late)).toMatchObject({ code: 'DEADLINE_EXCEEDED', retryable: true })
    // Far more than can be done in that time.
    const cut = engine.samples({ prompt: 'Once', ignoreEos: true, seed: 3, deadlines: { totalMs: 150 } }, 64)
    for (const error of await Promise.all(cut.map(failure)))
      expect([error.code, error.details.totalMs]).toEqual(['DEADLINE_EXCEEDED', 150])
    expect(Math.max(...cut.map((generation) => generation.partial.tokens.length))).toBeGreaterThan(0)
    expect(engine.stats().refused.deadline).toBe(65)
  })

  it('because the queue is full is told when to come again; the others are served', async () => {
    const other = await load({ queue: { maxRequests: 2 }, internal: { maxSequences: 1 } })
    const all = Array.from({ length: 8 }, (_, seed) => other.generate({ prompt: longPrompt, seed, ...sampled }))
    const ends = await Promise.allSettled(all.map((g) => g.result))
    const errors = ends.flatMap((end) => (end.status === 'rejected' ? [end.reason as OctavoError] : []))
    expect(errors.length).toBeGreaterThanOrEqual(4)
    expect(errors.length).toBeLessThanOrEqual(6)
    for (const error of errors) {
      expect(error).toMatchObject({ code: 'OVERLOADED', retryable: true })
      expect(error.details.retryAfterMs).toBeGreaterThan(0)
    }
    await other.close()
  })

  it('because its reader stopped reading fails after idleTimeoutMs, in an engine that has nothing else to do', async () => {
    const other = await load({ idleTimeoutMs: 150 })
    const generation = other.generate({ prompt: 'Once', ignoreEos: true, seed: 3 })
    const reader = generation[Symbol.asyncIterator]()
    const first = await reader.next()
    expect(await failure(generation)).toMatchObject({ code: 'CONSUMER_TIMEOUT', details: { idleTimeoutMs: 150 } })
    expect(generation.partial.tokens.length).toBeGreaterThan(30)
    // The reader gets what came before, then the error.
    const read = [...first.value!.tokens]
    await expect(
      (async () => {
        for (let next = await reader.next(); !next.done; next = await reader.next()) read.push(...next.value.tokens)
      })(),
    ).rejects.toMatchObject({ code: 'CONSUMER_TIMEOUT' })
    expect(read).toEqual(generation.partial.tokens)
    expect(other.stats().requests).toEqual({ running: 0, waiting: 0, paused: 0 })
    await other.close()
  })

  it('does not keep the process alive by its clock', async () => {
    const source = `import { Engine } from 'octavo'
      const engine = await Engine.load({ model: 'stories', idleTimeoutMs: 1e9 })
      const reader = engine.generate({ prompt: 'Once', ignoreEos: true })[Symbol.asyncIterator]()
      await reader.next()
      setTimeout(() => console.log('over'), 300)`
    const args = ['--input-type=module', '-e', source]
    const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: packageRoot, timeout: 30_000 })
    expect(stdout.trim()).toBe('over')
  })
})

it('tells of each request how long it waited, when its first token came, and how regularly the others', async () => {
  const { timings } = await engine.generate({ prompt: 'Once upon', seed: 1, speculation: 'off', ...sampled }).result
  const { queueMs, prefillMs, firstTokenMs, interTokenMs, preemptions } = timings
  expect(firstTokenMs).toBeCloseTo(queueMs + prefillMs, 3)
  expect(interTokenMs.p50).toBeGreaterThan(0)
  expect(interTokenMs.p99).toBeGreaterThanOrEqual(interTokenMs.p50)
  expect(preemptions).toBe(0)
})
