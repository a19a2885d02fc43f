/** The fitted cost of a step against known ones: exact, noisy, changing, with outliers, and with gaps in what was measured. */
import { describe, expect, it } from 'vitest'
import { CostModel } from '../lib/host/schedule/cost-model.ts'
import { random } from './random.ts'

type Cost = (tokens: number, attended: number, sequences: number) => number
const plain: Cost = (tokens, attended, sequences) => 2 + 0.1 * tokens + attended / 5000 + 0.05 * sequences

function feed(model: CostModel, cost: Cost, steps: number, seed = 1, largest = 512): void {
  const rng = random(seed)
  for (let i = 0; i < steps; i++) {
    const sequences = 1 + rng(16)
    const tokens = sequences + (rng(3) === 0 ? rng(largest) : 0)
    const attended = tokens * (1 + rng(1000))
    model.observe(tokens, attended, sequences, cost(tokens, attended, sequences))
  }
}

const near = (found: number, expected: number, share: number) =>
  expect(Math.abs(found / expected - 1), `${found} for ${expected}`).toBeLessThan(share)

describe('the cost model', () => {
  it('finds a linear cost exactly', () => {
    const model = new CostModel()
    feed(model, plain, 200)
    for (const [t, a, s] of [
      [1, 100, 1],
      [16, 8000, 16],
      [500, 200_000, 3],
    ] as const)
      near(model.stepMs(t, a, s), plain(t, a, s), 0.001)
  })

  it('knows nothing at first, and plans nothing on that', () => {
    const model = new CostModel()
    expect([model.ready, model.stepMs(100, 1, 1), model.prefillMs(0, 100, 512)]).toEqual([false, 0, 0])
    expect(model.fit(0, 0, 0, 0, 512, 50)).toBe(0)
  })

  it('gives the most tokens whose step stays below a limit, and never more than asked for', () => {
    const model = new CostModel()
    feed(model, plain, 200)
    const n = model.fit(16, 4000, 16, 700, 512, 40)
    const ms = (count: number) => model.stepMs(16 + count, 4000 + count * (700 + (count + 1) / 2), 17)
    expect(ms(n)).toBeLessThanOrEqual(40)
    expect(ms(n + 1)).toBeGreaterThan(40)
    expect(model.fit(16, 4000, 16, 700, 10, 40)).toBe(10)
    expect(model.fit(16, 4000, 16, 700, 512, 0.5)).toBe(0)
  })

  it('plans no step far beyond what it has seen', () => {
    const model = new CostModel()
    feed(model, plain, 200, 2, 1)
    expect(model.fit(16, 0, 16, 0, 512, 1e9)).toBeLessThan(128)
  })

  it('stays close under noise and follows a machine that becomes slower or faster', () => {
    const model = new CostModel()
    const rng = random(3)
    const noisy =
      (factor: number): Cost =>
      (...load) =>
        plain(...load) * factor * (0.9 + rng(2001) / 10_000)
    feed(model, noisy(1), 400)
    near(model.stepMs(200, 40_000, 8), plain(200, 40_000, 8), 0.1)
    feed(model, noisy(4), 400)
    near(model.stepMs(200, 40_000, 8), 4 * plain(200, 40_000, 8), 0.15)
    feed(model, noisy(1), 400)
    near(model.stepMs(200, 40_000, 8), plain(200, 40_000, 8), 0.15)
  })

  it('shrugs off a step during which the machine was suspended', () => {
    const model = new CostModel()
    feed(model, plain, 100)
    model.observe(16, 4000, 16, 60_000)
    near(model.stepMs(16, 4000, 16), plain(16, 4000, 16), 0.25)
    feed(model, plain, 100, 5)
    near(model.stepMs(16, 4000, 16), plain(16, 4000, 16), 0.1)
  })

  it('keeps what prompts cost through a long time of decoding alone', () => {
    const model = new CostModel()
    feed(model, plain, 200)
    for (let i = 0; i < 100_000; i++) model.observe(8, 800, 8, plain(8, 800, 8))
    near(model.stepMs(500, 200_000, 3), plain(500, 200_000, 3), 0.05)
  })

  it('never expects a step to be cheaper for having more to do', () => {
    const rng = random(7)
    const model = new CostModel()
    for (let i = 0; i < 300; i++) model.observe(1 + rng(600), rng(100_000), 1 + rng(20), 1 + rng(50))
    for (let i = 0; i < 100; i++) {
      const [t, a, s] = [1 + rng(500), rng(100_000), 1 + rng(20)]
      expect(model.stepMs(t + rng(50), a + rng(9000), s + rng(3))).toBeGreaterThanOrEqual(model.stepMs(t, a, s))
    }
  })
})
