/** When waiting ends: deadlines, the bounded queue, readers that stopped reading. */
import { describe, expect, it } from 'vitest'
import { errorCodes } from '../lib/base/errors.ts'
import type { RequestSpec } from '../lib/host/wire/protocol.ts'
import { Bench, type BenchOptions, prompt, solo, spec } from './scheduler-bench.ts'

const stepMs = (tokens: number) => 1 + tokens / 10
const request = (id: number, more: Partial<RequestSpec> = {}, length = 40, output = 10): RequestSpec => ({
  ...spec(id, prompt(id, length), output, id + 50),
  ...more,
})

/** A bench whose cost model has seen steps of all sizes. */
function warm(more: BenchOptions = {}, prefixCache = true): Bench {
  const bench = new Bench(256, 200, prefixCache, 8, { stepMs, ...more })
  for (const [i, length] of [200, 3, 50, 100, 20].entries()) {
    bench.add(request(900 + i, {}, length))
    bench.run()
  }
  return bench
}

const errorOf = (bench: Bench, id: number) => {
  const { end } = bench.output.get(id)!
  return end !== undefined && 'error' in end ? end.error : undefined
}

describe('deadlines', () => {
  it('for the first token end a request that still waits, and that one only', () => {
    const bench = new Bench(16, 200, false, 8, { stepMs })
    bench.add(request(1, {}, 200))
    bench.add(request(2, { deadlines: { firstTokenMs: 20 } }))
    bench.add(request(3, { deadlines: { firstTokenMs: 100_000 } }))
    bench.run()
    expect(errorOf(bench, 2)).toMatchObject({ code: 'DEADLINE_EXCEEDED', details: { firstTokenMs: 20 } })
    for (const id of [1, 3]) bench.expectSolo(id)
    expect(bench.scheduler.refused).toEqual({ overloaded: 0, deadline: 1, consumer: 0 })
    bench.expectIdle()
  })

  it('for the end come in the middle of the output, which is kept', () => {
    const bench = new Bench(64, 200, false, 8, { stepMs })
    bench.add(request(1, { ignoreEos: true, deadlines: { firstTokenMs: 30, totalMs: 60 } }, 20, 200))
    bench.run()
    expect(errorOf(bench, 1)).toMatchObject({ code: 'DEADLINE_EXCEEDED', details: { totalMs: 60 } })
    const { tokens } = bench.output.get(1)!
    expect(tokens.length).toBeGreaterThan(5)
    const whole = new Bench(64, 200, false)
    whole.add(request(1, { ignoreEos: true }, 20, 200))
    whole.run()
    expect(whole.output.get(1)!.tokens.slice(0, tokens.length)).toEqual(tokens)
    bench.expectIdle()
  })

  it('that cannot be met are refused at once, without a step', () => {
    const bench = warm()
    const steps = bench.engine.stepSizes.length
    bench.add(request(1, { askedAtMs: bench.now, deadlines: { firstTokenMs: 5 } }, 200))
    expect(errorOf(bench, 1)).toMatchObject({ code: 'DEADLINE_EXCEEDED', details: { firstTokenMs: 5 } })
    expect((errorOf(bench, 1)!.details as { expectedMs: number }).expectedMs).toBeGreaterThan(15)
    expect(bench.engine.stepSizes.length).toBe(steps)
    bench.add(request(2, { askedAtMs: bench.now, deadlines: { firstTokenMs: 50 } }, 200))
    bench.run()
    bench.expectSolo(2)
    bench.expectIdle()
  })

  it('can be met when the prefix cache has the prompt', () => {
    const bench = warm()
    bench.add(request(1, { askedAtMs: bench.now }, 200))
    bench.run()
    bench.add(request(1003, { askedAtMs: bench.now, deadlines: { firstTokenMs: 8 } }, 200))
    const again = { ...request(1, {}, 200), id: 2, askedAtMs: bench.now, deadlines: { firstTokenMs: 8 } }
    bench.add(again)
    bench.run()
    expect(errorOf(bench, 1003)?.code).toBe('DEADLINE_EXCEEDED')
    bench.expectSolo(2)
  })

  it('out of reach by the time a request would begin end it before it costs anything', () => {
    const bench = warm({}, false)
    bench.add(request(1, {}, 290))
    bench.add(request(2, {}, 280))
    const computed = bench.engine.computedTokens
    bench.add(request(3, { askedAtMs: bench.now, deadlines: { firstTokenMs: 62 } }, 270))
    bench.run()
    expect(errorOf(bench, 3)?.code).toBe('DEADLINE_EXCEEDED')
    for (const id of [1, 2]) bench.expectSolo(id)
    const outputs = [1, 2].reduce((sum, id) => sum + solo(bench.requests.get(id)!.spec).tokens.length, 0)
    expect(bench.engine.computedTokens - computed).toBeLessThanOrEqual(290 + 280 + outputs)
    bench.expectIdle()
  })
})

describe('the queue', () => {
  it('takes no more than its requests, and says when to come again', () => {
    const bench = warm({ maxQueuedRequests: 3 })
    for (let id = 1; id <= 5; id++) bench.add(request(id))
    for (const id of [4, 5]) {
      const error = errorOf(bench, id)!
      expect(error).toMatchObject({ code: 'OVERLOADED', details: { waitingRequests: 3 } })
      expect(error.details.retryAfterMs).toBeGreaterThan(0)
      expect(error.details.retryAfterMs).toBeLessThan(1000)
    }
    expect(errorCodes.OVERLOADED.retryable).toBe(true)
    bench.run()
    for (const id of [1, 2, 3]) bench.expectSolo(id)
    bench.add(request(6))
    bench.run()
    bench.expectSolo(6)
    expect(bench.scheduler.refused.overloaded).toBe(2)
  })

  it('takes no more than its tokens, but any request alone', () => {
    const bench = new Bench(64, 200, false, 8, { maxQueuedTokens: 100 })
    bench.add(request(1, {}, 150))
    bench.add(request(2, {}, 20))
    expect(errorOf(bench, 1)).toBeUndefined()
    expect(errorOf(bench, 2)).toMatchObject({ code: 'OVERLOADED', details: { waitingTokens: 150 } })
    bench.run()
    bench.expectSolo(1)
  })

  it('filled by one tenant has room for another', () => {
    const bench = new Bench(64, 200, false, 8, { maxQueuedRequests: 8 })
    for (let id = 0; id < 10; id++) bench.add(request(id, { tenant: 'loud' }))
    for (let id = 10; id < 16; id++) bench.add(request(id, { tenant: 'quiet' }))
    const refused = [...bench.output.keys()].filter((id) => errorOf(bench, id) !== undefined)
    expect(refused).toEqual([8, 9, 14, 15])
    bench.run()
    bench.expectIdle()
  })
})

describe('a reader that stopped reading', () => {
  it('loses its generation after idleTimeoutMs: running, preempted or waiting', () => {
    const bench = new Bench(64, 20, false, 2, { idleTimeoutMs: 1000 })
    for (const id of [1, 2, 3]) bench.add(request(id, {}, 60, 100))
    for (let i = 0; i < 4; i++) bench.step()
    for (const id of [1, 3]) bench.scheduler.setPaused(id, true, bench.now)
    expect(bench.scheduler.paused).toBe(2)
    bench.run()
    bench.expectSolo(2)
    expect(bench.scheduler.nextExpiryMs).toBeLessThan(bench.now + 1000)
    bench.now += 1000
    expect(bench.step()).toBe(false)
    for (const id of [1, 3]) expect(errorOf(bench, id)).toMatchObject({ code: 'CONSUMER_TIMEOUT' })
    expect(bench.output.get(1)!.tokens.length).toBeGreaterThan(0)
    expect([bench.scheduler.paused, bench.scheduler.refused.consumer]).toEqual([0, 2])
    expect(bench.scheduler.nextExpiryMs).toBe(Number.POSITIVE_INFINITY)
    bench.expectIdle()
  })

  it('keeps it by reading on in time', () => {
    const bench = new Bench(64, 40, false, 2, { idleTimeoutMs: 1000 })
    bench.add(request(1, {}, 60, 100))
    for (let i = 0; i < 5; i++) {
      bench.step()
      bench.scheduler.setPaused(1, true, bench.now)
      bench.now += 900
      bench.step()
      bench.scheduler.setPaused(1, false, bench.now)
    }
    bench.run()
    bench.expectSolo(1)
  })
})
