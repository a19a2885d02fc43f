/**
 * octavo/server under requests that nobody should send, beside well-behaved ones: no crash, no status that is not by design, nothing left
 * over, nothing of one tenant in another's answers or in the log; its engine killed under streams. Full counts with OCTAVO_DEEP.
 */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { Engine } from 'octavo'
import { describe, expect, it } from 'vitest'
import { childrenOf, enginesOf } from './child-processes.ts'
import { hostileRequest } from './hostile-requests.ts'
import { random as generator } from './random.ts'
import { eventsOf, type Json, post, serve, until } from './server-tools.ts'

const isDeep = process.env.OCTAVO_DEEP === '1'
const count = isDeep ? 10_000 : 120
const atOnce = 8

/** Of requests that cannot be answered, and of what is said to them. 503: more than may wait. */
const byDesign = new Set([200, 204, 400, 401, 403, 404, 405, 408, 413, 415, 431, 503, 504])

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void
const heap = () => {
  collect()
  return process.memoryUsage().heapUsed
}

describe('hostile requests', () => {
  it(`${count} of them`, { timeout: 3_600_000 }, async () => {
    const engine = await Engine.load({ model: 'stories', internal: { checkBlocks: true } })
    const canary = 'canary7391'
    const log: string[] = []
    const note = (...lines: unknown[]) =>
      void log.push(JSON.stringify(lines, (_, value) => (value instanceof Error ? String(value.stack) : value)))
    const logger: Json = { level: 'info', child: () => logger }
    for (const level of ['trace', 'debug', 'info', 'warn', 'error', 'fatal']) logger[level] = note
    const server = await serve({
      models: { stories: engine },
      logger,
      keys: [
        { key: 'bad-key', tenant: 'bad' },
        { key: 'good-key', tenant: 'good' },
      ],
    })
    await server.loaded
    const random = generator(20_260)
    const good = { prompt: 'Once upon a time', max_tokens: 20, temperature: 0.8, logprobs: 1 }
    const ask = async (seed: number) => {
      const { body } = await post(
        `${server.url}/v1/completions`,
        { ...good, seed },
        { headers: { authorization: 'Bearer good-key' } },
      )
      return body.choices
    }
    const alone = await Promise.all([0, 1, 2, 3].map(ask))
    const strange: unknown[] = []
    let sent = 0
    let settled = 0
    const one = async () => {
      while (sent < count) {
        const i = sent++
        const statuses = await hostileRequest(random, { url: server.url, key: 'bad-key', canary })
        for (const status of statuses) if (!byDesign.has(status)) strange.push([i, status])
        // One who behaves is answered as if nobody else were there.
        if (i % 20 === 0) expect(await ask(i % 4)).toEqual(alone[i % 4])
        if (i === count >> 1) settled = heap()
      }
    }
    await Promise.all(Array.from({ length: atOnce }, one))
    expect(strange).toEqual([])
    const idle = { running: 0, waiting: 0, paused: 0 }
    await until(() => JSON.stringify(engine.stats().requests) === JSON.stringify(idle))
    const { kv } = engine.stats()
    expect(kv.freeBlocks + kv.cachedBlocks).toBe(kv.totalBlocks)
    for (const seed of [0, 1, 2, 3]) expect(await ask(seed)).toEqual(alone[seed])
    const lines = log.join('\n')
    expect(lines).not.toContain(canary)
    for (const key of ['bad-key', 'good-key']) expect(lines).not.toContain(key)
    log.length = 0
    // Caches of grammars and ids fill within the first half.
    if (isDeep) expect(heap() - settled).toBeLessThan(32 << 20)
    await server.close()
    await engine.close()
  })
})

describe('an isolated engine that is killed under 32 streams', () => {
  it('goes on where it was: the very texts, log-probabilities and counts', async () => {
    const asked = (seed: number) => ({
      ...{ prompt: ['Once upon a time', 'The little fox', 'A red kite and'][seed % 3], stream: true, seed },
      ...{ temperature: seed % 2, max_tokens: 150, ignore_eos: true, stream_options: { include_usage: true } },
      ...(seed % 4 === 0 && { logprobs: 2 }),
    })
    const answers = async (disturb: boolean) => {
      const server = await serve({ models: { stories: { model: 'stories', isolation: 'process', restart: true } } })
      await server.loaded
      const engines = enginesOf(process.pid)
      const url = `${server.url}/v1/completions`
      const all = Array.from({ length: 32 }, (_, seed) => post(url, asked(seed)))
      if (disturb) {
        const running = async () =>
          /num_requests_running\{[^}]*\} [1-9]/.test(await (await fetch(`${server.url}/metrics`)).text())
        await until(running)
        for (const pid of engines) process.kill(pid, 'SIGKILL')
      }
      const given = (await Promise.all(all)).map(({ status, body }) => {
        const events = eventsOf(body)
        const choices = events.flatMap((event) => event.choices ?? [])
        return {
          status,
          isWhole: events.at(-1) === '[DONE]',
          text: choices.map((choice) => choice.text).join(''),
          logprobs: choices.flatMap((choice) => choice.logprobs?.token_logprobs ?? []),
          finish: choices.at(-1).finish_reason,
          tokens: events.at(-2).usage.total_tokens,
        }
      })
      const replaced = enginesOf(process.pid).every((pid) => !engines.includes(pid))
      await server.close()
      return { given, replaced }
    }
    const undisturbed = await answers(false)
    const killed = await answers(true)
    expect(killed.replaced).toBe(true)
    expect(killed.given).toEqual(undisturbed.given)
    expect(killed.given.every(({ status, isWhole, finish }) => status === 200 && isWhole && finish === 'length')).toBe(
      true,
    )
    expect(childrenOf(process.pid)).toEqual([])
  })
})

it('an engine that died and is not started again is said to have failed', async () => {
  const server = await serve({ models: { stories: { model: 'stories', isolation: 'process' } } })
  await server.loaded
  const url = `${server.url}/v1/completions`
  // More than a busy machine computes before it comes to the kill.
  const endless = { prompt: 'Once', ignore_eos: true, max_tokens: 700, n: 16, stream: true }
  const cut = post(url, endless)
  await until(async () =>
    /num_requests_running\{[^}]*\} [1-9]/.test(await (await fetch(`${server.url}/metrics`)).text()),
  )
  for (const pid of enginesOf(process.pid)) process.kill(pid, 'SIGKILL')
  const { body } = await cut
  const told = typeof body === 'string' ? eventsOf(body).at(-2) : body
  expect(told).toMatchObject({ error: { type: 'server_error', code: 'engine_failed' } })
  const refused = await post(url, { prompt: 'x' })
  expect([refused.status, refused.body.error.code, refused.headers.get('retry-after')]).toEqual([
    503,
    'engine_failed',
    '5',
  ])
  for (const path of ['/health', '/ready']) expect((await fetch(server.url + path)).status).toBe(503)
  await server.close()
})
