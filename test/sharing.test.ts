/** Prefixes in flight: requests that arrive together compute their common beginning once, and nobody waits for ever. */
import { describe, expect, it } from 'vitest'
import { random } from './random.ts'
import { Bench, prompt, spec } from './scheduler-bench.ts'

const shared = prompt(50, 160)
const withOwn = (id: number, own = 10) => spec(id, [...shared, ...prompt(id, own)], 5, id)

function arrivingTogether(prefixCache: boolean, stepTokens = 64): Bench {
  const bench = new Bench(stepTokens, 400, prefixCache)
  for (let id = 1; id <= 16; id++) bench.add(withOwn(id))
  bench.run()
  for (let id = 1; id <= 16; id++) bench.expectSolo(id)
  bench.expectIdle()
  return bench
}

describe('prefixes in flight', () => {
  it('are computed once by requests that arrive together', () => {
    const on = arrivingTogether(true)
    const off = arrivingTogether(false)
    const own = on.engine.computedTokens - shared.length
    expect(on.scheduler.counts.cachedTokens).toBe(15 * shared.length)
    expect(off.engine.computedTokens).toBe(own + 16 * shared.length)
  })

  it('are computed once also if a step takes the whole prompt', () => {
    expect(arrivingTogether(true, 512).scheduler.counts.cachedTokens).toBe(15 * shared.length)
  })

  it('of identical prompts too, up to the last block', () => {
    const bench = new Bench(32, 200)
    for (let id = 1; id <= 4; id++) bench.add(spec(id, shared, 5, id))
    bench.run()
    for (let id = 1; id <= 4; id++) bench.expectSolo(id)
    expect(bench.scheduler.counts.cachedTokens).toBe(3 * (shared.length - 16))
  })

  it('are not shared between salts', () => {
    const bench = new Bench(64, 400)
    for (let id = 1; id <= 4; id++) bench.add({ ...withOwn(id), salt: `${id % 2}` })
    bench.run()
    // Of each pair one; the second may have come for the last block before it was worth a wait.
    expect(bench.scheduler.counts.cachedTokens).toBeLessThanOrEqual(2 * shared.length)
    expect(bench.scheduler.counts.cachedTokens).toBeGreaterThanOrEqual(2 * (shared.length - 16))
  })

  it('hold up nobody who shares less than two blocks', () => {
    const bench = new Bench(256, 400)
    bench.add(spec(1, [...prompt(50, 20), ...prompt(1, 100)], 5))
    bench.add(spec(2, [...prompt(50, 20), ...prompt(2, 100)], 5))
    bench.step()
    expect(bench.engine.stepSizes).toEqual([240])
  })

  it.each(['cancelled', 'paused', 'preempted'])('go on when the one that computes them is %s', (what) => {
    const bench = new Bench(16, 24, true, 8)
    for (let id = 1; id <= 3; id++) bench.add(withOwn(id))
    bench.step()
    expect([bench.scheduler.running, bench.scheduler.waiting]).toEqual([1, 2])
    if (what === 'cancelled') bench.collect(bench.scheduler.cancel(1, bench.now)!)
    if (what === 'paused') bench.scheduler.setPaused(1, true, bench.now)
    if (what === 'preempted') bench.add({ ...spec(9, prompt(9, 290), 5, 9), priority: 50 })
    bench.run()
    for (const id of [2, 3]) bench.expectSolo(id)
    if (what === 'preempted') expect(bench.requests.get(1)!.preemptions).toBe(1)
    bench.scheduler.setPaused(1, false, bench.now)
    bench.run()
    if (what !== 'cancelled') bench.expectSolo(1)
    bench.expectIdle()
  })

  it('survive a crowd of requests with nested beginnings, cancelled and paused at random', () => {
    let cached = 0
    for (let seed = 0; seed < 40; seed++) {
      const rng = random(seed)
      const bench = new Bench(8 << rng(5), 40 + rng(60), true, 2 + rng(10))
      const prompts = Array.from({ length: 14 }, (_, i) => [
        ...shared.slice(0, 20 + rng(140)),
        ...prompt(i, 1 + rng(60)),
      ])
      const gone = new Set<number>()
      for (const [id, tokens] of prompts.entries()) {
        bench.add(spec(id, tokens, 1 + rng(40), id))
        for (let i = rng(3); i > 0; i--) bench.step()
        const other = rng(id + 1)
        if (rng(6) === 0) bench.scheduler.setPaused(other, rng(2) === 0, bench.now)
        if (rng(8) === 0) {
          const request = bench.scheduler.cancel(other, bench.now)
          if (request !== undefined) {
            bench.collect(request)
            gone.add(other)
          }
        }
      }
      for (const id of prompts.keys()) bench.scheduler.setPaused(id, false, bench.now)
      bench.run()
      for (const id of prompts.keys()) if (!gone.has(id)) bench.expectSolo(id)
      cached += bench.scheduler.counts.cachedTokens
      bench.expectIdle()
    }
    expect(cached).toBeGreaterThan(10_000)
  })
})
