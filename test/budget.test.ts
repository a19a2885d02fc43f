/** The budget of a step: prompts in chunks that leave those who generate within maxStepMs, and steps planned ahead of results. */
import { describe, expect, it } from 'vitest'
import type { StepResults } from '../lib/host/schedule/step-results.ts'
import { random } from './random.ts'
import { same } from './same.ts'
import { Bench, prompt, spec } from './scheduler-bench.ts'

const stepMs = (tokens: number, attended: number, sequences: number) =>
  3 + 0.2 * tokens + attended / 10_000 + 0.05 * sequences
const generating = (id: number) => ({ ...spec(id, prompt(id, 20), 200, id), ignoreEos: true })

/** Eight requests generate, then prompts of 250 tokens come; the steps until those are computed. */
function mixed(objective: 'latency' | 'throughput') {
  const bench = new Bench(256, 400, false, 32, { stepMs, maxStepMs: 25, objective })
  for (let id = 0; id < 8; id++) bench.add(generating(id))
  for (let i = 0; i < 30; i++) bench.step()
  const from = bench.engine.stepSizes.length
  const generated = bench.tokenTimes.get(0)!.length
  for (let id = 20; id < 24; id++) bench.add({ ...spec(id, prompt(id, 250), 3, id), ignoreEos: true })
  const times: number[] = []
  let begun = bench.now
  while ([20, 21, 22, 23].some((id) => bench.tokenTimes.get(id)!.length === 0)) {
    bench.step()
    times.push(bench.now - begun)
    begun = bench.now
  }
  const beside = bench.tokenTimes.get(0)!.length - generated
  return { bench, times, sizes: bench.engine.stepSizes.slice(from), beside }
}

describe('the budget of a step', () => {
  it('keeps every step under maxStepMs while others generate, and uses most of it', () => {
    const { times, sizes, bench } = mixed('latency')
    // Two milliseconds of the simulation's own clock a step.
    for (const ms of times) expect(ms - 2).toBeLessThanOrEqual(25)
    expect(Math.min(...sizes)).toBeGreaterThan(8)
    expect(times.toSorted((a, b) => a - b)[times.length >> 1]!).toBeGreaterThan(15)
    for (let id = 0; id < 8; id++) expect(bench.tokenTimes.get(id)!.length).toBeGreaterThan(30)
  })

  /** Steps that were full, in the second half of a long run of prompts beside a request that generates, on a machine of that noise. */
  function fullSteps(noise: () => number) {
    const taken: number[] = []
    const noisy = (tokens: number, attended: number, sequences: number) => {
      const ms = stepMs(tokens, attended, sequences) * noise()
      if (tokens > 2 && sequences > 1) taken.push(ms)
      return ms
    }
    const bench = new Bench(256, 400, false, 32, { stepMs: noisy, maxStepMs: 25 })
    let id = 0
    let decoding: number | undefined
    for (let prompts = 0; prompts < 200; prompts++) {
      if (decoding === undefined || bench.output.get(decoding)!.end !== undefined) {
        decoding = id++
        bench.add(generating(decoding))
        bench.step()
      }
      bench.add({ ...spec(id, prompt(id, 250), 1, id), ignoreEos: true })
      while (bench.tokenTimes.get(id)!.length === 0) bench.step()
      id++
    }
    return taken.slice(taken.length >> 1)
  }

  it('leaves room for what steps take beyond expectation: few are too long, on a steady machine none and fuller ones', () => {
    const rng = random(9)
    const noisy = fullSteps(() => (rng(12) === 0 ? 1.6 : 1))
    expect(noisy.length).toBeGreaterThan(300)
    expect(noisy.filter((ms) => ms > 25).length / noisy.length).toBeLessThan(0.04)
    const steady = fullSteps(() => 1)
    expect(Math.max(...steady)).toBeLessThan(25)
    const median = (values: number[]) => values.toSorted((a, b) => a - b)[values.length >> 1]!
    expect(median(steady)).toBeGreaterThan(1.2 * median(noisy))
  })

  it('is the whole step when nobody generates', () => {
    const bench = new Bench(256, 400, false, 32, { stepMs, maxStepMs: 10 })
    for (let id = 0; id < 3; id++) bench.add(spec(id, prompt(id, 250), 3, id))
    bench.step()
    expect(bench.engine.stepSizes).toEqual([256])
  })

  it('is at least eight tokens of a prompt, however slow steps are', () => {
    const bench = new Bench(256, 400, false, 32, { stepMs: () => 500, maxStepMs: 10 })
    bench.add(generating(1))
    for (let i = 0; i < 10; i++) bench.step()
    bench.add(spec(2, prompt(2, 160), 3, 2))
    bench.step()
    expect(bench.engine.stepSizes.at(-1)).toBe(9)
    bench.run()
    bench.expectSolo(2)
  })

  it('grows by half at most from one limited step to the next, when prompts become cheap at once', () => {
    let dear = true
    const stepMs = (tokens: number) => 2 + (dear ? 1 : 0.05) * tokens
    const bench = new Bench(512, 400, false, 32, { stepMs, maxStepMs: 50 })
    bench.checked = false
    bench.add(generating(1))
    for (let id = 2; id < 12; id++) bench.add(spec(id, prompt(id, 250), 1, id))
    for (let i = 0; i < 6; i++) bench.step()
    dear = false
    for (let i = 0; i < 8; i++) bench.step()
    const sizes = bench.engine.stepSizes.slice(4, 14).map((size) => size - 1)
    for (const [i, size] of sizes.slice(1).entries()) expect(size).toBeLessThanOrEqual(Math.ceil(1.5 * sizes[i]!))
    expect(sizes.at(-1)).toBeGreaterThan(4 * sizes[0]!)
  })

  it('with the objective of throughput is full, and prompts come first', () => {
    const { sizes, bench, beside } = mixed('throughput')
    expect(sizes[0]).toBe(256)
    expect(beside).toBeLessThan(6)
    bench.run()
    for (let id = 20; id < 24; id++) expect(bench.output.get(id)!.tokens).toHaveLength(3)
    bench.expectIdle()
  })
})

/**
 * Steps whose results are committed only after the next step was planned; requests come, go and pause in between. fed: the next step is
 * submitted as well, and goes on with what is not known yet.
 */
function runAhead(seed: number, fed: boolean) {
  const rng = random(seed)
  const bench = new Bench([3, 16, 40, 200][rng(4)]!, 24 + rng(40), rng(3) > 0, 1 + rng(10), { ahead: fed })
  const { scheduler, engine } = bench
  if (fed) bench.discard = () => rng(20) === 0
  const pending: { plan: ReturnType<typeof scheduler.plan> & object; results: StepResults }[] = []
  const paused = new Set<number>()
  let [id, ahead, cancelled] = [0, 0, 0]
  const compute = (plan: (typeof pending)[0]['plan']) => {
    const tokens = new Int32Array(256)
    const top = (row: number) => engine.topLogprobs(row)
    // A step takes long, so that nothing runs on.
    const results = { tokens, logprobs: new Float32Array(256), top, steps: 1, ms: 10, drafts: new Int32Array(0) }
    engine.submit(plan.segments, plan.nSegments, plan.tokens, plan.nTokens)
    if (!fed) engine.wait(tokens, results.logprobs)
    pending.push({ plan, results })
  }
  const land = () => {
    const { plan, results } = pending[0]!
    if (fed && engine.wait(results.tokens, results.logprobs) < 0) {
      for (const discarded of pending.splice(0)) scheduler.discard(discarded.plan)
      return
    }
    pending.shift()
    const requests = plan.requests.slice(0, plan.nSegments)
    scheduler.commit(plan, results, bench.now++)
    for (const request of requests) bench.collect(request)
    same(engine.check(), '')
  }
  for (let turn = 0; turn < 400 || scheduler.running + scheduler.waiting > 0; turn++) {
    same(turn < 10_000, true)
    if (turn < 200 && rng(5) === 0 && scheduler.waiting < 6)
      bench.add(spec(id, prompt(id++ % 7, 1 + rng(90)), 1 + rng(80), seed))
    const other = rng(id + 1)
    if (turn < 300 && rng(20) === 0) {
      const request = scheduler.cancel(other, bench.now)
      if (request !== undefined) {
        cancelled++
        bench.collect(request)
      }
    }
    if (turn < 300 && rng(10) === 0) {
      scheduler.setPaused(other, true, bench.now)
      paused.add(other)
    }
    if (turn === 300) for (const of of paused) scheduler.setPaused(of, false, bench.now)
    const plan = scheduler.plan(bench.now++)
    if (plan !== undefined && pending.length > 0) ahead++
    if (fed && plan !== undefined) compute(plan)
    if (pending.length > (fed && plan !== undefined ? 1 : 0)) land()
    if (!fed && plan !== undefined) compute(plan)
  }
  while (pending.length > 0) land()
  bench.expectIdle()
  for (const [of, { end }] of bench.output) {
    if (end !== undefined && 'reason' in end && end.reason === 'cancelled') continue
    bench.expectSolo(of)
  }
  return { ahead, cancelled, fed: engine.tokensFed, preemptions: scheduler.counts.preemptions }
}

describe('steps planned ahead', () => {
  for (const fed of [false, true])
    it(`give every request its solo tokens, whoever ends, pauses or is preempted in between${fed ? ', and go on with what is drawn before it is known' : ''}`, () => {
      const sum = { ahead: 0, cancelled: 0, fed: 0, preemptions: 0 }
      for (let seed = 0; seed < 40; seed++) {
        const counts = runAhead(seed, fed)
        for (const key of ['ahead', 'cancelled', 'fed', 'preemptions'] as const) sum[key] += counts[key]
      }
      expect(sum.ahead).toBeGreaterThan(500)
      expect(sum.cancelled).toBeGreaterThan(40)
      expect(sum.preemptions).toBeGreaterThan(20)
      if (fed) expect(sum.fed).toBeGreaterThan(500)
    })

  it('are two at most', () => {
    const bench = new Bench(16, 40)
    bench.add(spec(1, prompt(1, 100), 5))
    const [a, b] = [bench.scheduler.plan(0)!, bench.scheduler.plan(1)!]
    expect([a.nTokens, b.nTokens, bench.scheduler.plan(2)]).toEqual([16, 16, undefined])
    expect(b.tokens[0]).toBe(prompt(1, 100)[16])
    bench.scheduler.discard(a)
    bench.scheduler.discard(b)
    bench.run()
    bench.expectSolo(1)
  })
})
