/** Draft tokens through the scheduler: whatever is guessed, the tokens are the same; right guesses make fewer steps. */
import { describe, expect, it } from 'vitest'
import { random } from './random.ts'
import { Bench, eos, Oracle, prompt, spec } from './scheduler-bench.ts'

const lively = (id: number) => ({ ...spec(id, prompt(id, 30), 100, id), ignoreEos: true })

describe('drafts', () => {
  it('that are right are taken, up to the limit of the request, in fewer steps', () => {
    const bench = new Bench(64, 64, true, 8, { drafter: new Oracle(0) })
    bench.add({ ...spec(1, prompt(1, 30), 100, 9), ignoreEos: true })
    bench.run()
    const { tokens } = bench.output.get(1)!
    const plain = new Bench(64, 64)
    plain.add({ ...spec(1, prompt(1, 30), 100, 9), ignoreEos: true })
    plain.run()
    expect(tokens).toEqual(plain.output.get(1)!.tokens)
    // One token with the prompt, then 16 a step; the last of all is drawn and not computed.
    expect(bench.engine.stepSizes).toEqual([30, 16, 16, 16, 16, 16, 16, 3])
    expect(bench.scheduler.drafts).toEqual({ proposed: 92, accepted: 92, stepsSaved: 92 })
    bench.expectIdle()
  })

  it.each([1, 2, 3, 7, 20])(
    'of which each %dth is wrong give the same tokens, and blocks hold no wrong one',
    (every) => {
      const bench = new Bench(128, 96, true, 8, { drafter: new Oracle(every) })
      const plain = new Bench(128, 96)
      for (const id of [1, 2, 3, 4]) {
        bench.add(lively(id))
        plain.add(lively(id))
      }
      bench.run()
      plain.run()
      for (const id of [1, 2, 3, 4]) expect(bench.output.get(id)!.tokens).toEqual(plain.output.get(id)!.tokens)
      const { proposed, accepted } = bench.scheduler.drafts
      expect(accepted).toBeLessThan(proposed)
      if (every > 1) expect(bench.engine.stepSizes.length).toBeLessThan(plain.engine.stepSizes.length)
      // What the prefix cache gives to those who ask again is what was said.
      for (const id of [1, 2, 3, 4]) {
        const said = plain.output.get(id)!.tokens
        const again = { ...spec(id + 10, [...prompt(id, 30), ...said.slice(0, 80)], 10, id), ignoreEos: true }
        bench.add(again)
        bench.run()
        expect(bench.requests.get(id + 10)!.cachedTokens).toBe(96)
        expect(bench.output.get(id + 10)!.tokens).toEqual(said.slice(80, 90))
      }
      bench.expectIdle()
    },
  )

  it("end where the text ends, and take nobody's place", () => {
    let preemptions = 0
    for (let seed = 0; seed < 30; seed++) {
      const rng = random(seed)
      const bench = new Bench(64, 12 + rng(14), rng(2) === 0, 8, { drafter: new Oracle(1 + rng(9)) })
      const ids = [1, 2, 3, 4, 5]
      for (const id of ids) bench.add(spec(id, prompt(id + seed, 1 + rng(40)), 1 + rng(150), seed * 10 + id))
      bench.run()
      for (const id of ids) bench.expectSolo(id)
      for (const id of ids) expect(bench.output.get(id)!.tokens).not.toContain(eos)
      preemptions += bench.scheduler.counts.preemptions
      bench.expectIdle()
    }
    expect(preemptions).toBeGreaterThan(10)
  })
})
