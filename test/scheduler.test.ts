/** The scheduler against a fake native engine: exact block accounting after every step, and every request's solo tokens. */
import { describe, expect, it } from 'vitest'
import type { RequestSpec } from '../lib/host/wire/protocol.ts'
import { tokenLogprob } from './fake-native.ts'
import { random } from './random.ts'
import { Bench, prompt, solo, spec } from './scheduler-bench.ts'

describe('scheduler', () => {
  it('computes one request as prefill chunks of the budget, then one token a step', () => {
    const bench = new Bench(32, 64)
    const request = spec(1, prompt(1, 70), 5)
    bench.add(request)
    bench.run()
    expect(bench.output.get(1)!.tokens).toEqual(solo(request).tokens)
    expect(bench.engine.stepSizes).toEqual([32, 32, 6, 1, 1, 1, 1])
    bench.expectIdle()
  })

  it('decodes running requests in every step while a long prompt is prefilled', () => {
    const bench = new Bench(16, 64)
    bench.add(spec(1, prompt(1, 10), 100))
    bench.step()
    bench.add(spec(2, prompt(2, 150), 3))
    let decoded = bench.output.get(1)!.tokens.length
    while (bench.output.get(2)!.tokens.length === 0) {
      bench.step()
      const now = bench.output.get(1)!.tokens.length
      if (bench.output.get(1)!.end === undefined) expect(now).toBe(decoded + 1)
      decoded = now
    }
    expect(bench.engine.stepSizes[1]).toBe(16)
  })

  it('finds a cached prefix and computes only the rest', () => {
    const bench = new Bench(64, 64)
    bench.add(spec(1, prompt(3, 50), 4))
    bench.run()
    const before = bench.engine.computedTokens
    const again = spec(2, prompt(3, 50), 4, 1)
    bench.add(again)
    bench.run()
    expect(bench.requests.get(2)!.cachedTokens).toBe(48)
    expect(bench.engine.computedTokens - before).toBe(
      2 + bench.output.get(2)!.tokens.length - (bench.output.get(2)!.end !== undefined ? 1 : 0),
    )
    expect(bench.output.get(2)!.tokens).toEqual(solo(again).tokens)
    expect(bench.scheduler.counts).toMatchObject({ promptTokens: 100, cachedTokens: 48 })
  })

  it('scores every token of a prompt, in chunks, without the prefix cache', () => {
    for (const stepTokens of [1, 7, 16, 64]) {
      const bench = new Bench(stepTokens, 64)
      const tokens = prompt(4, 50)
      bench.add(spec(1, tokens, 4))
      bench.run()
      bench.add(spec(2, tokens, 0, 0, 'score'))
      bench.run()
      const end = bench.output.get(2)!.end as { scores: Float32Array; cachedTokens: number }
      expect(end.cachedTokens).toBe(0)
      expect([...end.scores]).toEqual(tokens.slice(1).map((token, i) => tokenLogprob(tokens, i + 1, token)))
      bench.expectIdle()
    }
  })

  it('preempts the youngest when blocks run short, and it still gives its own tokens', () => {
    const bench = new Bench(64, 12)
    const requests = [1, 2, 3].map((id) => spec(id, prompt(id, 30), 120, id + 50))
    for (const request of requests) bench.add(request)
    bench.run()
    expect(bench.scheduler.counts.preemptions).toBeGreaterThan(0)
    for (const request of requests) expect(bench.output.get(request.id)!.tokens).toEqual(solo(request).tokens)
    bench.expectIdle()
  })

  it('refuses a request that could never fit, and only that one', () => {
    const bench = new Bench(64, 4)
    bench.add(spec(1, prompt(1, 60), 30))
    expect(bench.output.get(1)!.end).toMatchObject({ error: { code: 'CONTEXT_OVERFLOW' } })
    const fits = spec(2, prompt(2, 60), 5)
    bench.add(fits)
    bench.run()
    expect(bench.output.get(2)!.tokens).toEqual(solo(fits).tokens)
  })

  it('ends a request that finds no memory even alone, before it starts or while it runs; others go on', () => {
    const bench = new Bench(64, 12)
    bench.engine.withheld = 8
    const large = spec(1, prompt(1, 70), 10)
    const grows = spec(2, prompt(2, 20), 100, 52)
    const fits = spec(3, prompt(3, 40), 5, 53)
    for (const request of [large, grows, fits]) bench.add(request)
    bench.run()
    for (const id of [1, 2]) expect(bench.output.get(id)!.end).toMatchObject({ error: { code: 'OUT_OF_MEMORY' } })
    const { tokens } = bench.output.get(2)!
    expect(tokens.length).toBeGreaterThan(40)
    expect(tokens).toEqual(solo(grows).tokens.slice(0, tokens.length))
    expect(bench.output.get(3)!.tokens).toEqual(solo(fits).tokens)
    bench.engine.withheld = 0
    const again = { ...large, id: 4 }
    bench.add(again)
    bench.run()
    expect(bench.output.get(4)!.tokens).toEqual(solo(again).tokens)
    bench.expectIdle()
  })

  it('skips paused requests, which keep their blocks', () => {
    const bench = new Bench(64, 64)
    for (const id of [1, 2]) bench.add(spec(id, prompt(id, 20), 40, id + 50))
    bench.step()
    bench.scheduler.setPaused(1, true, bench.now)
    const owned = bench.stat('owned')
    bench.run()
    expect(bench.output.get(1)!.tokens.length).toBe(1)
    expect(bench.output.get(2)!.end).toBeDefined()
    expect(bench.stat('owned')).toBeGreaterThanOrEqual(owned / 2)
    bench.scheduler.setPaused(1, false, bench.now)
    bench.run()
    expect(bench.output.get(1)!.tokens).toEqual(solo(bench.requests.get(1)!.spec).tokens)
    bench.expectIdle()
  })

  it('takes blocks from a paused request when nobody else could go on', () => {
    const bench = new Bench(64, 8)
    const [slow, waiting] = [spec(1, prompt(1, 90), 20, 51), spec(2, prompt(2, 90), 20, 52)]
    bench.add(slow)
    bench.step()
    bench.scheduler.setPaused(1, true, bench.now)
    bench.add(waiting)
    bench.run()
    expect(bench.output.get(2)!.tokens).toEqual(solo(waiting).tokens)
    bench.scheduler.setPaused(1, false, bench.now)
    bench.run()
    expect(bench.output.get(1)!.tokens).toEqual(solo(slow).tokens)
    bench.expectIdle()
  })

  it('takes the blocks of one that is paused after another had to wait for them', () => {
    const bench = new Bench(64, 8)
    const [slow, waiting] = [spec(1, prompt(1, 90), 20, 51), spec(2, prompt(2, 90), 20, 52)]
    bench.add(slow)
    for (let i = 0; i < 3; i++) bench.step()
    bench.add(waiting)
    bench.step()
    expect(bench.scheduler.waiting).toBe(1)
    bench.scheduler.setPaused(1, true, bench.now)
    bench.run()
    expect(bench.output.get(2)!.tokens).toEqual(solo(waiting).tokens)
    bench.scheduler.setPaused(1, false, bench.now)
    bench.run()
    expect(bench.output.get(1)!.tokens).toEqual(solo(slow).tokens)
    bench.expectIdle()
  })

  it('takes the sequence of a paused request when all of them are taken', () => {
    const bench = new Bench(64, 64, true, 2)
    const requests = [1, 2, 3].map((id) => spec(id, prompt(id, 20), 20, id + 50))
    for (const request of requests.slice(0, 2)) bench.add(request)
    bench.step()
    for (const id of [1, 2]) bench.scheduler.setPaused(id, true, bench.now)
    bench.add(requests[2]!)
    bench.run()
    expect(bench.output.get(3)!.tokens).toEqual(solo(requests[2]!).tokens)
    expect(bench.scheduler.counts.preemptions).toBe(1)
    for (const id of [1, 2]) bench.scheduler.setPaused(id, false, bench.now)
    bench.run()
    for (const request of requests) expect(bench.output.get(request.id)!.tokens).toEqual(solo(request).tokens)
    bench.expectIdle()
  })

  it('frees everything at once when a request is cancelled: waiting, prefilling, decoding, paused', () => {
    const bench = new Bench(16, 14, false)
    for (const id of [1, 2, 3, 4]) bench.add(spec(id, prompt(id, 60), 40, id + 50))
    for (let i = 0; i < 6; i++) bench.step()
    bench.scheduler.setPaused(1, true, bench.now)
    for (const id of [4, 1, 3, 2]) {
      const request = bench.scheduler.cancel(id, bench.now)!
      bench.collect(request)
      expect(bench.engine.check()).toBe('')
      expect(bench.output.get(id)!.end).toMatchObject({ reason: 'cancelled' })
      expect(bench.scheduler.cancel(id, bench.now)).toBeUndefined()
    }
    expect(bench.step()).toBe(false)
    bench.expectIdle()
  })

  it('plans the same work again when a step was discarded', () => {
    const bench = new Bench(32, 64)
    const request = spec(1, prompt(1, 80), 10)
    bench.add(request)
    let waits = 0
    bench.discard = () => ++waits % 3 !== 0
    bench.run()
    expect(bench.output.get(1)!.tokens).toEqual(solo(request).tokens)
    expect(bench.engine.computedTokens).toBe(
      80 + bench.output.get(1)!.tokens.length - (bench.output.get(1)!.tokens.length < 10 ? 0 : 1),
    )
  })

  it('ends a request whose row has no finite logit, and goes on with the others', () => {
    const bench = new Bench(64, 64)
    const [bad, good] = [spec(1, prompt(1, 10), 5, 51), spec(2, prompt(2, 10), 5, 52)]
    bench.add(bad)
    bench.add(good)
    const wait = bench.engine.wait.bind(bench.engine)
    bench.engine.wait = (drawn, logprobs) => {
      const rows = wait(drawn, logprobs)
      drawn[0] = -1
      bench.engine.wait = wait
      return rows
    }
    bench.run()
    expect(bench.output.get(1)!.end).toMatchObject({ error: { code: 'NUMERIC_ERROR' } })
    expect(bench.output.get(2)!.tokens).toEqual(solo(good).tokens)
    bench.expectIdle()
  })

  const mixes = process.env.OCTAVO_DEEP ? 80 : 30
  it(`gives every request its solo tokens in ${mixes} random mixes of budgets, pools, pauses, cancels and discards`, () => {
    let preemptions = 0
    let cachedTokens = 0
    let cancelled = 0
    for (let seed = 1; seed <= mixes; seed++) {
      const rng = random(seed)
      const stepTokens = [1, 2, 5, 16, 33, 128, 512][rng(7)]!
      const bench = new Bench(stepTokens, 19 + rng(60), rng(4) > 0, 1 + rng(12))
      bench.discard = () => rng(20) === 0
      const requests: RequestSpec[] = []
      const paused = new Set<number>()
      for (let turn = 0; turn < 120; turn++) {
        if (requests.length < 12 && rng(4) === 0) {
          const shared = rng(3) === 0 ? prompt(99, 16 * (1 + rng(4))) : []
          const tokens = [...shared, ...prompt(requests.length + seed, 1 + rng(60))]
          requests.push(
            spec(
              requests.length,
              tokens,
              1 + rng(180),
              rng(1000),
              rng(8) === 0 && tokens.length > 1 ? 'score' : 'generate',
            ),
          )
          bench.add(requests.at(-1)!)
        }
        const target = rng(12)
        if (rng(10) === 0) {
          bench.scheduler.setPaused(target, true, bench.now)
          paused.add(target)
        }
        if (rng(6) === 0 && paused.delete(target)) bench.scheduler.setPaused(target, false, bench.now)
        if (rng(40) === 0) {
          const request = bench.scheduler.cancel(target, bench.now)
          if (request !== undefined) bench.collect(request)
        }
        bench.step()
      }
      for (const id of paused) bench.scheduler.setPaused(id, false, bench.now)
      bench.run()
      bench.expectIdle()
      for (const request of requests) {
        const { tokens, end } = bench.output.get(request.id)!
        if (end === undefined || 'error' in end)
          throw new Error(`request ${request.id} of seed ${seed}: ${JSON.stringify(end)}`)
        const expected = solo(request)
        if (end.reason === 'cancelled') {
          cancelled++
          expect(expected.tokens.slice(0, tokens.length)).toEqual(tokens)
        } else if (request.mode === 'score') {
          const all = [...request.tokens]
          expect([...end.scores!]).toEqual(all.slice(1).map((token, i) => tokenLogprob(all, i + 1, token)))
        } else expect({ tokens, reason: end.reason }).toEqual(expected)
      }
      preemptions += bench.scheduler.counts.preemptions
      cachedTokens += bench.scheduler.counts.cachedTokens
    }
    expect(preemptions).toBeGreaterThan(25)
    expect(cachedTokens).toBeGreaterThan(500)
    expect(cancelled).toBeGreaterThan(25)
  }, 120_000)
})
