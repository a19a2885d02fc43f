/**
 * Native drafters under the scheduler, over a fake engine whose guesses are planted: always right, always wrong, at random. Runs,
 * limits, preemption, pauses, cancels and charges are what they are without guesses.
 */
import { describe, expect, it } from 'vitest'
import type { DraftingOptions } from '../lib/host/wire/protocol.ts'
import { type Guess, nextToken } from './fake-native.ts'
import { random } from './random.ts'
import { Bench, eos, prompt, spec, vocabulary } from './scheduler-bench.ts'

const auto: DraftingOptions = { own: true, shared: true, model: undefined, maxModelDrafts: 0, fixed: undefined }
const fixed = (drafts: number): DraftingOptions => ({ ...auto, fixed: drafts })

/** What comes next, each guess wrong with a chance of `errors` in 100. */
function planted(errors: number, confidence: (length: number) => number = () => 3): Guess {
  const rng = random(errors)
  return (tokens, most, seed) => {
    const all = [...tokens]
    for (let i = 0; i < most; i++) {
      const token = nextToken(all, seed, vocabulary)
      all.push(rng(100) < errors ? (token + 1) % vocabulary : token)
    }
    return { tokens: all.slice(tokens.length), confidence: confidence(tokens.length) }
  }
}

/** A row more costs a twentieth of a step. */
const stepMs = (tokens: number) => 0.95 + 0.05 * tokens
const lively = (id: number, maxTokens = 100) => ({ ...spec(id, prompt(id, 30), maxTokens, id), ignoreEos: true })

/** Enough steps for costs to be known. */
function warm(bench: Bench): void {
  bench.add({ ...spec(0, prompt(0, 10), 5, 0), ignoreEos: true })
  bench.run()
}

describe('native drafters', () => {
  it('that are right make fewer steps, exactly up to the limit of a request', () => {
    const bench = new Bench(64, 64, true, 8, { stepMs, guess: planted(0), drafting: fixed(4) })
    warm(bench)
    bench.engine.stepSizes.length = 0
    const { drafts } = bench.scheduler
    const before = { ...drafts }
    bench.add(lively(1, 24))
    bench.run()
    bench.expectSolo(1)
    // One token with the prompt, 5 a step, and 3 at the end: the last of all is drawn and not computed.
    expect(bench.engine.stepSizes).toEqual([30, 5, 5, 5, 5, 3])
    expect(drafts.proposed - before.proposed).toBe(18)
    expect(drafts.accepted - before.accepted).toBe(18)
    expect(drafts.stepsSaved - before.stepsSaved).toBe(18)
    const { end } = bench.output.get(1)!
    expect(end).toMatchObject({ timings: { speculation: { proposed: 18, accepted: 18, stepsSaved: 18 } } })
    expect(end).toHaveProperty('timings.speculation.acceptanceByPosition', [1, 1, 1, 1])
    bench.expectIdle()
  })

  it.each([0, 1, 7, 15])('always wrong, %d at a time, cost rows and no token', (drafts) => {
    const bench = new Bench(128, 96, true, 8, { stepMs, guess: planted(100), drafting: fixed(drafts) })
    warm(bench)
    for (const id of [1, 2, 3]) bench.add(lively(id))
    bench.run()
    for (const id of [1, 2, 3]) bench.expectSolo(id)
    const { proposed, accepted, stepsSaved } = bench.scheduler.drafts
    expect([accepted, stepsSaved]).toEqual([0, 0])
    expect(proposed > 0).toBe(drafts > 0)
    expect(bench.output.get(1)!.end).toHaveProperty('timings')
    const timings = bench.output.get(1)!.end as { timings: { speculation?: object } }
    expect('speculation' in timings.timings).toBe(drafts > 0)
    bench.expectIdle()
  })

  it('serve every step of a run', () => {
    const bench = new Bench(128, 96, true, 8, { stepMs: () => 0.1, guess: planted(30), drafting: fixed(3) })
    warm(bench)
    bench.engine.runs.length = 0
    for (const id of [1, 2]) bench.add(lively(id))
    bench.run()
    for (const id of [1, 2]) bench.expectSolo(id)
    expect(Math.max(...bench.engine.runs)).toBeGreaterThan(5)
  })

  it('leave alone who wants none', () => {
    const bench = new Bench(128, 96, true, 8, { stepMs, guess: planted(0), drafting: fixed(4) })
    warm(bench)
    bench.add({ ...lively(1), speculation: false })
    bench.run()
    expect(bench.output.get(1)!.end).not.toHaveProperty('timings.speculation')
    bench.add({ ...lively(2), speculation: false })
    bench.add(lively(3))
    bench.run()
    for (const id of [1, 2, 3]) bench.expectSolo(id)
    expect(bench.output.get(3)!.end).toHaveProperty('timings.speculation')
    expect(bench.output.get(2)!.end).not.toHaveProperty('timings.speculation')
  })

  it('are asked for more where guesses come true, and for none where they do not pay', () => {
    const rows = (errors: number, cost: (tokens: number) => number) => {
      const bench = new Bench(128, 96, true, 8, { stepMs: cost, guess: planted(errors), drafting: auto })
      warm(bench)
      const before = bench.engine.stepSizes.length
      bench.add(lively(1, 200))
      bench.run()
      bench.expectSolo(1)
      const sizes = bench.engine.stepSizes.slice(before + 1)
      return { steps: sizes.length, wide: sizes.filter((size) => size > 1).length }
    }
    expect(rows(0, stepMs).steps).toBeLessThan(30)
    expect(rows(100, stepMs).wide).toBeLessThan(15)
    // Rows cost a step each.
    expect(rows(0, (tokens) => tokens).wide).toBeLessThan(15)
  })

  it('are charged: a tenant whose guesses are wrong has less of the machine by what they cost', () => {
    const charged = (errors: number) => {
      const bench = new Bench(128, 96, true, 8, { stepMs: (n) => n, guess: planted(errors), drafting: fixed(3) })
      warm(bench)
      bench.add({ ...lively(1, 40), tenant: 'a' })
      const { tenant } = bench.requests.get(1)!
      const before = tenant.virtualTime
      bench.run()
      return tenant.virtualTime - before
    }
    expect(charged(0)).toBe(charged(0))
    // Each of some 39 steps has three wrong rows.
    expect(charged(100) - charged(0)).toBeGreaterThan(80)
  })
})

describe('random services with native drafters', () => {
  it.each([0, 30, 100])('with %d of 100 guesses wrong give what each request has alone', (errors) => {
    let preemptions = 0
    let proposed = 0
    for (let seed = 0; seed < 25; seed++) {
      const rng = random(seed)
      const drafting = rng(3) === 0 ? auto : fixed(1 + rng(15))
      const guess = planted(errors, (length) => length % 4)
      const cost = rng(2) === 0 ? stepMs : () => 0.2
      const bench = new Bench(64, 12 + rng(14), rng(2) === 0, 8, { stepMs: cost, guess, drafting })
      bench.discard = () => rng(30) === 0
      warm(bench)
      const cancelled = new Set<number>()
      const paused = new Set<number>()
      let id = 0
      for (let turn = 0; turn < 400; turn++) {
        if (id < 14 && rng(4) === 0) {
          const request = spec(++id, prompt(id + seed, 1 + rng(40)), 1 + rng(150), seed * 10 + id)
          bench.add({ ...request, speculation: rng(5) > 0, tenant: rng(2) === 0 ? 'a' : 'b', priority: rng(3) })
        }
        const who = 1 + rng(Math.max(1, id))
        if (rng(12) === 0) {
          bench.scheduler.setPaused(who, !paused.has(who), bench.now)
          if (!paused.delete(who)) paused.add(who)
        }
        if (rng(60) === 0 && bench.scheduler.cancel(who, bench.now) !== undefined) {
          cancelled.add(who)
          bench.collect(bench.requests.get(who)!)
        }
        if (rng(20) === 0) bench.engine.nudge()
        bench.step()
      }
      for (const who of paused) bench.scheduler.setPaused(who, false, bench.now)
      bench.run()
      for (let who = 1; who <= id; who++) {
        if (!cancelled.has(who)) bench.expectSolo(who)
        expect(bench.output.get(who)!.tokens).not.toContain(eos)
      }
      preemptions += bench.scheduler.counts.preemptions
      proposed += bench.scheduler.drafts.proposed
      expect(bench.scheduler.drafts.stepsSaved).toBeLessThanOrEqual(bench.scheduler.drafts.accepted)
      bench.expectIdle()
    }
    expect(preemptions).toBeGreaterThan(10)
    expect(proposed).toBeGreaterThan(500)
  })
})
