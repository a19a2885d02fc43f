/** Who goes first: priorities with aging within a tenant, weights between tenants, and what a flood does to others. */
import { describe, expect, it } from 'vitest'
import type { RequestSpec } from '../lib/host/wire/protocol.ts'
import { random } from './random.ts'
import { Bench, type BenchOptions, prompt, spec } from './scheduler-bench.ts'

const request = (id: number, more: Partial<RequestSpec> = {}, length = 40, output = 4): RequestSpec => ({
  ...spec(id, prompt(id, length), output, id),
  ignoreEos: true,
  ...more,
})

/** Ids in the order of their first tokens. */
function order(bench: Bench): number[] {
  bench.run()
  for (const id of bench.requests.keys()) expect(bench.output.get(id)!.tokens).toHaveLength(4)
  const first = [...bench.tokenTimes].map(([id, times]) => [times[0]!, id] as const)
  return first.sort(([a], [b]) => a - b).map(([, id]) => id)
}

describe('within a tenant', () => {
  it('the higher priority goes first, then the order of arrival', () => {
    const bench = new Bench(40, 64, false)
    for (const [id, priority] of [0, 0, 5, -3, 5].entries()) bench.add(request(id, { priority }))
    expect(order(bench)).toEqual([2, 4, 0, 1, 3])
  })

  it('a request goes before any that comes a second later for each level it lacks', () => {
    const bench = new Bench(40, 64, false)
    bench.add(request(0, { priority: 0 }))
    bench.now = 2900
    bench.add(request(1, { priority: 3 }))
    bench.now = 3100
    bench.add(request(2, { priority: 3 }))
    expect(order(bench)).toEqual([1, 0, 2])
  })

  it('a request of low priority is served under an endless stream of a higher one', () => {
    const bench = new Bench(40, 64, false, 4, { stepMs: () => 20 })
    bench.add(request(0, { priority: -5 }))
    let id = 1
    while (bench.tokenTimes.get(0)!.length === 0) {
      while (bench.scheduler.waiting < 5) bench.add(request(id++, { priority: 0 }))
      bench.step()
      expect(bench.now).toBeLessThan(6000)
    }
    expect(bench.now).toBeGreaterThan(4500)
  })

  it('a less important one makes way when all places are taken, and gives the same tokens later', () => {
    const bench = new Bench(64, 64, false, 2)
    for (const id of [1, 2]) bench.add(request(id, { priority: 0 }, 20, 60))
    for (let i = 0; i < 5; i++) bench.step()
    bench.add(request(3, { priority: 1 }))
    bench.step()
    expect(bench.tokenTimes.get(3)).toHaveLength(1)
    bench.run()
    expect([1, 2, 3].map((id) => bench.requests.get(id)!.preemptions)).toEqual([0, 1, 0])
    const plain = new Bench(64, 64, false)
    plain.add(request(2, {}, 20, 60))
    plain.run()
    expect(bench.output.get(2)!.tokens).toEqual(plain.output.get(2)!.tokens)
    bench.expectIdle()
  })
})

describe('between tenants', () => {
  it('tokens are shared in proportion to weights while both have work', () => {
    const bench = new Bench(64, 400, false, 8, { weights: { a: 3 } })
    for (let id = 0; id < 120; id++) bench.add(request(id, { tenant: id % 2 ? 'a' : 'b' }, 60, 4))
    while (Math.min(bench.scheduler.waiting, 1e9) > 50) bench.step()
    const { a, b } = bench.scheduler.tenants.stats()
    const ratio = a!.promptTokens / b!.promptTokens
    expect(ratio).toBeGreaterThan(2.5)
    expect(ratio).toBeLessThan(3.5)
    bench.run()
    bench.expectIdle()
  })

  it('priorities do not outbid another tenant', () => {
    const bench = new Bench(40, 400, false, 8)
    for (let id = 0; id < 20; id++) bench.add(request(id, { tenant: 'loud', priority: 100 }))
    bench.add(request(20, { tenant: 'quiet', priority: -100 }))
    expect(order(bench).indexOf(20)).toBeLessThan(2)
  })

  it('a tenant that was away, or lives below its share, goes first for so many tokens, then takes turns', () => {
    const bench = new Bench(64, 400, false, 8)
    bench.checked = false
    bench.add(request(0, { tenant: 'b' }))
    bench.run()
    for (let id = 1; id < 200; id++) bench.add(request(id, { tenant: 'a' }))
    while (bench.scheduler.tenants.stats().a!.promptTokens < 5000) bench.step()
    for (let id = 200; id < 500; id++) bench.add(request(id, { tenant: 'b' }))
    for (let id = 500; id < 800; id++) bench.add(request(id, { tenant: 'a' }))
    const count = (name: string) => {
      const { promptTokens, generatedTokens } = bench.scheduler.tenants.stats()[name]!
      return promptTokens + generatedTokens
    }
    const [a, b] = [count('a'), count('b')]
    while (count('b') - b < 3500) bench.step()
    expect(count('a') - a).toBeLessThan(300)
    while (count('b') - b < 8000) bench.step()
    expect(count('b') - b - (count('a') - a)).toBeGreaterThan(3600)
    expect(count('b') - b - (count('a') - a)).toBeLessThan(4600)
  })

  it('requests of one tenant that arrive together beside a flood do not take turns with it', () => {
    const bench = new Bench(64, 400, false, 8)
    bench.checked = false
    for (let id = 0; id < 100; id++) bench.add(request(id, { tenant: 'loud' }))
    for (let i = 0; i < 40; i++) bench.step()
    const started = () => [...bench.tokenTimes].filter(([id, times]) => id < 100 && times.length > 0).length
    const before = started()
    for (let id = 100; id < 110; id++) bench.add(request(id, { tenant: 'quiet' }))
    while (bench.tokenTimes.get(109)!.length === 0) bench.step()
    // Those that had begun already may come first.
    expect(started() - before).toBeLessThanOrEqual(2)
  })

  it('prompts of a flood fill half a step beside another tenant, and none that holds a prompt of it', () => {
    const bench = new Bench(128, 800, false, 64)
    bench.checked = false
    const prompts = () => {
      const from = new Map([...bench.requests].map(([id, { planned }]) => [id, planned] as const))
      bench.step()
      const sizes: Record<string, number> = { loud: 0, quiet: 0 }
      for (const [id, { planned, promptLength, spec }] of bench.requests)
        sizes[spec.tenant!]! += Math.min(planned, promptLength) - Math.min(from.get(id)!, promptLength)
      return sizes
    }
    for (let id = 0; id < 200; id++) bench.add(request(id, { tenant: 'loud' }, 40, 40))
    expect(prompts()).toEqual({ loud: 128, quiet: 0 })
    for (let i = 0; i < 40; i++) bench.step()
    bench.add(request(200, { tenant: 'quiet' }, 40, 40))
    expect(prompts()).toEqual({ loud: 0, quiet: 40 })
    const beside = Array.from({ length: 20 }, prompts)
    expect(Math.max(...beside.map(({ loud }) => loud!))).toBeGreaterThan(16)
    expect(Math.max(...beside.map(({ loud }) => loud!))).toBeLessThanOrEqual(64)
  })

  it('a cached prompt is free', () => {
    const bench = new Bench(256, 400, true, 4)
    const shared = prompt(77, 160)
    const ask = (id: number, tenant: string, tokens: number[]) =>
      bench.add({ ...spec(id, tokens, 4, id), ignoreEos: true, tenant, salt: tenant })
    ask(0, 'a', shared)
    bench.run()
    const virtualTime = () => bench.requests.get(0)!.tenant.virtualTime
    const before = virtualTime()
    ask(1, 'a', shared)
    bench.run()
    expect(virtualTime() - before).toBe(16 + 4)
  })

  it('one below its share gets a place from the one furthest above, not the other way round', () => {
    const bench = new Bench(64, 64, false, 4)
    for (let id = 0; id < 6; id++) bench.add(request(id, { tenant: 'loud' }, 10, 100))
    for (let i = 0; i < 3; i++) bench.step()
    for (let id = 6; id < 10; id++) bench.add(request(id, { tenant: 'quiet' }, 10, 100))
    bench.step()
    const stats = bench.scheduler.tenants.stats()
    expect([stats.loud!.running, stats.quiet!.running]).toEqual([2, 2])
    bench.run()
    for (let id = 0; id < 10; id++) expect(bench.requests.get(id)!.preemptions).toBeLessThanOrEqual(2)
    bench.expectIdle()
  })

  it('names may be anything, and those long gone are forgotten', () => {
    const bench = new Bench(256, 64, false, 8, { weights: { kept: 2 } })
    bench.add(request(0, { tenant: '__proto__' }))
    bench.run()
    expect(new Map(Object.entries(bench.scheduler.tenants.stats())).get('__proto__')).toMatchObject({
      requests: 1,
      weight: 1,
    })
    for (let id = 1; id < 1000; id++) {
      bench.add(request(id, { tenant: `t${id}` }, 2, 1))
      bench.step()
    }
    bench.run()
    expect(Object.keys(bench.scheduler.tenants.stats()).length).toBeLessThanOrEqual(256)
    bench.add(request(2000, { tenant: 'kept' }))
    expect(bench.requests.get(2000)!.tenant.weight).toBe(2)
  })
})

/** p99 of the quiet tenant's times to first token, with another that sends `rate` requests a second. */
function quietP99(rate: number, seed: number, more: BenchOptions): { p99: number; answered: number } {
  const stepMs = (tokens: number, attended: number, sequences: number) =>
    2 + 0.1 * tokens + attended / 20_000 + 0.02 * sequences
  const bench = new Bench(256, 700, false, 24, { stepMs, maxStepMs: 30, maxQueuedRequests: 500, ...more })
  bench.checked = false
  const rng = random(seed)
  const nextAfter = (perSecond: number) => (-1000 / perSecond) * Math.log((1 + rng(1_000_000)) / 1_000_001)
  let [quietAt, loudAt] = [nextAfter(8), nextAfter(rate)]
  const askedAt = new Map<number, number>()
  let id = 0
  while (bench.now < 8_000) {
    while (Math.min(quietAt, loudAt) <= bench.now) {
      const quiet = quietAt <= loudAt
      const askedAtMs = Math.min(quietAt, loudAt)
      if (quiet) askedAt.set(id, askedAtMs)
      bench.add(request(id++, { tenant: quiet ? 'quiet' : 'loud', askedAtMs }, 40 + rng(120), 10 + rng(40)))
      if (quiet) quietAt += nextAfter(8)
      else loudAt += nextAfter(rate)
    }
    if (!bench.step()) bench.now = Math.max(bench.now, Math.min(quietAt, loudAt))
  }
  const unanswered = (of: number) => bench.tokenTimes.get(of)!.length === 0 && bench.output.get(of)!.end === undefined
  while ([...askedAt.keys()].some(unanswered)) bench.step()
  expect(bench.engine.check()).toBe('')
  const waits = [...askedAt]
    .map(([of, at]) => (bench.tokenTimes.get(of)![0] ?? Number.POSITIVE_INFINITY) - at)
    .sort((a, b) => a - b)
  return { p99: waits[Math.ceil(0.99 * waits.length) - 1]!, answered: waits.length }
}

describe('a flood of ten times its share', () => {
  const calm = [1, 2].map((seed) => quietP99(12, seed, {}))

  it('raises the p99 time to first token of another tenant by less than twice', () => {
    for (const [i, { p99, answered }] of calm.entries()) {
      expect(answered).toBeGreaterThan(40)
      expect(quietP99(120, i + 1, {}).p99).toBeLessThan(2 * p99)
    }
  })

  it('would delay it many times as long if it counted for nothing', () => {
    const flooded = quietP99(120, 1, { weights: { quiet: 1e-9 } })
    expect(flooded.p99).toBeGreaterThan(5 * calm[0]!.p99)
  })
})
