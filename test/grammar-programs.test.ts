/** Compiled grammars that are kept: for whom, how many, and what of them tells nothing. */
import { describe, expect, it } from 'vitest'
import { Programs } from '../lib/answers/programs.ts'
import { Grammars } from '../lib/answers/structured.ts'
import { CallSite } from '../lib/base/call-site.ts'
import { Budget, Remembered } from '../lib/grammar/automata/refusal.ts'
import { compileGrammar } from '../lib/grammar/compile.ts'

describe('compiled grammars', () => {
  const sourceOf = (text: string) => ({ kind: 'regex' as const, text })

  it('are kept for each tenant apart', async () => {
    const compiled: string[] = []
    const programs = new Programs(async (source, tenant) => {
      compiled.push(tenant)
      return compileGrammar(source, tenant)
    })
    const all = await Promise.all(
      ['a', 'b', 'a', '', 'b', ''].map((tenant) => programs.of(sourceOf('[a-z]{3}'), tenant)),
    )
    expect(compiled).toEqual(['a', 'b', ''])
    expect(new Set(all.map(({ key }) => key)).size).toBe(1)
  })

  it('are so in the engine, with their masks: the native automaton is named by its tenant', () => {
    const grammars = new Grammars(async (source) => compileGrammar(source))
    const site = new CallSite(() => {})
    const keyOf = async (tenant: string) => {
      const form = grammars.form({ schema: { type: 'boolean' }, tenant }, site)!
      await form.after(undefined)
      return form.source(false)!.key
    }
    return Promise.all(['a', 'b', 'a'].map(keyOf)).then(([a, b, again]) => {
      expect(again).toBe(a)
      expect(b).not.toBe(a)
    })
  })

  it("what is remembered of a pattern is its tenant's, and refuses nothing else", () => {
    let made = 0
    const remembered = new Remembered<number>(8)
    const use = (tenant: string) => {
      const budget = new Budget(tenant)
      const value = remembered.get('[a-z]+', budget, () => {
        budget.spend(1000)
        return ++made
      })
      return [value, budget.spent]
    }
    expect(['a', 'b', 'a', 'b'].map(use)).toEqual([
      [1, 1000],
      [2, 1000],
      [1, 1000],
      [2, 1000],
    ])
  })

  it('are bounded; who has most gives up its oldest, so that others keep theirs', async () => {
    const compiled: string[] = []
    const most = 10_000
    const programs = new Programs(async (source, tenant) => {
      const text = (source as { text: string }).text
      compiled.push(`${tenant}${text}`)
      return { key: text, program: new Int32Array(900) }
    }, most)
    await programs.of(sourceOf('mine'), 'quiet')
    for (let i = 0; i < 100; i++) await programs.of(sourceOf(`${i}`), 'loud')
    expect(programs.words).toBeLessThanOrEqual(most)
    compiled.length = 0
    for (const i of [99, 98, 0]) await programs.of(sourceOf(`${i}`), 'loud')
    await programs.of(sourceOf('mine'), 'quiet')
    expect(compiled).toEqual(['loud0'])
    await programs.of(sourceOf('x'.repeat(2 * most)), 'loud')
    expect(programs.words).toBeLessThan(2 * most + 3000)
    compiled.length = 0
    await programs.of(sourceOf('mine'), 'quiet')
    expect(compiled).toEqual([])
  })

  it('one that is refused is not kept', async () => {
    let made = 0
    const programs = new Programs(async () => {
      made++
      throw new Error('no')
    })
    for (let i = 0; i < 2; i++) await expect(programs.of(sourceOf('a'), 'a')).rejects.toThrow('no')
    expect([made, programs.words]).toEqual([2, 0])
  })
})
