/**
 * Everything at once, at random: arrivals of several tenants and priorities with common beginnings, cancels, deadlines, a bounded
 * queue, slow readers, drafts, discarded steps, budgets by cost, pools too small. Blocks add up after every step, whoever finishes has
 * its solo tokens, whoever fails has a reason and a beginning of them, and nothing waits for ever.
 */
import { expect, it } from 'vitest'
import { random } from './random.ts'
import { same } from './same.ts'
import { Bench, Oracle, prompt, solo, spec } from './scheduler-bench.ts'

const failures = ['OVERLOADED', 'DEADLINE_EXCEEDED', 'CONSUMER_TIMEOUT', 'CONTEXT_OVERFLOW']

function mix(seed: number, ends: Map<string, number>): Bench {
  const rng = random(seed)
  const bench = new Bench([3, 17, 64, 256][rng(4)]!, 20 + rng(60), rng(4) > 0, 1 + rng(12), {
    stepMs: (tokens, attended, sequences) =>
      (1 + tokens / 8 + attended / 4000 + sequences / 10) * (0.8 + rng(400) / 1000),
    ...{ maxStepMs: 5 + rng(40), objective: rng(3) === 0 ? 'throughput' : 'latency', weights: { a: 1 + rng(4) } },
    ...{ maxQueuedRequests: 2 + rng(20), idleTimeoutMs: 200 + rng(2000) },
    ...(rng(2) === 0 && { drafter: new Oracle(1 + rng(6)) }),
  })
  bench.discard = () => rng(25) === 0
  const paused = new Set<number>()
  let id = 0
  for (let turn = 0; turn < 220; turn++) {
    if (rng(3) === 0) {
      const tenant = 'abc'[rng(3)]!
      const tokens = [...(rng(2) ? prompt(99, 16 + rng(90)) : []), ...prompt(id + seed, 1 + rng(90))]
      const deadlines = { ...(rng(2) && { firstTokenMs: 1 + rng(400) }), ...(rng(2) && { totalMs: 1 + rng(2000) }) }
      const timing = { askedAtMs: bench.now, ...(rng(5) === 0 && { deadlines }) }
      const output = 1 + rng(rng(3) === 0 ? 120 : 20)
      bench.add({ ...spec(id++, tokens, output, rng(1000)), tenant, salt: tenant, priority: rng(5) - 2, ...timing })
    }
    const other = id - 1 - rng(12)
    if (rng(9) === 0) {
      bench.scheduler.setPaused(other, true, bench.now)
      paused.add(other)
    }
    if (rng(5) === 0 && paused.delete(other)) bench.scheduler.setPaused(other, false, bench.now)
    if (rng(25) === 0) {
      const request = bench.scheduler.cancel(other, bench.now)
      if (request !== undefined) bench.collect(request)
    }
    bench.step()
  }
  // Readers that never come back lose their requests when their time has come.
  for (let turns = 0; bench.scheduler.running + bench.scheduler.waiting > 0; turns++) {
    same(turns < 20_000, true)
    if (!bench.step()) bench.now = Math.max(bench.now, bench.scheduler.nextExpiryMs)
  }
  bench.expectIdle()
  for (const [of, { tokens, end }] of bench.output) {
    const outcome = end === undefined ? 'none' : 'error' in end ? end.error.code : end.reason
    ends.set(outcome, (ends.get(outcome) ?? 0) + 1)
    if (outcome === 'stop' || outcome === 'length') bench.expectSolo(of)
    else {
      expect([...failures, 'cancelled']).toContain(outcome)
      expect(solo(bench.requests.get(of)!.spec).tokens.slice(0, tokens.length)).toEqual(tokens)
    }
  }
  return bench
}

const mixes = process.env.OCTAVO_DEEP ? 60 : 30
/** What so many mixes see of a thing that one of them sees. */
const seen = (each: number) => each * mixes

it(`${mixes} random mixes`, () => {
  const ends = new Map<string, number>()
  const sum = { preemptions: 0, cachedTokens: 0, accepted: 0, rejected: 0 }
  for (let seed = 1; seed <= mixes; seed++) {
    const { scheduler } = mix(seed, ends)
    sum.preemptions += scheduler.counts.preemptions
    sum.cachedTokens += scheduler.counts.cachedTokens
    sum.accepted += scheduler.drafts.accepted
    sum.rejected += scheduler.drafts.proposed - scheduler.drafts.accepted
  }
  for (const outcome of ['OVERLOADED', 'DEADLINE_EXCEEDED', 'CONSUMER_TIMEOUT', 'cancelled'])
    expect(ends.get(outcome) ?? 0, outcome).toBeGreaterThan(seen(2 / 3))
  expect((ends.get('stop') ?? 0) + (ends.get('length') ?? 0)).toBeGreaterThan(seen(50 / 3))
  expect(ends.get('none')).toBeUndefined()
  expect(sum.preemptions).toBeGreaterThan(seen(5 / 3))
  expect(sum.cachedTokens).toBeGreaterThan(seen(250 / 3))
  expect(sum.accepted).toBeGreaterThan(seen(50 / 3))
  expect(sum.rejected).toBeGreaterThan(seen(50 / 3))
}, 120_000)
