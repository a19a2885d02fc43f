/** Sessions on the embedded model. */
import type { GenerationResult } from 'octavo'
import { Engine } from 'octavo'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { withEngine } from './embedded-engine.ts'
import { refusal } from './refusal.ts'
import { expectNothingUnhandled } from './unhandled.ts'

let engine: Engine
beforeAll(async () => {
  engine = await Engine.load({ model: 'stories' })
})
afterAll(() => engine.close())
expectNothingUnhandled()

describe('session', () => {
  it('remembers, and computes only what is new and the unfilled last block', async () => {
    const session = engine.session()
    const greedy = { temperature: 0 }
    const first = await session.generate('Tell a story about a shy owl named Luna and a golden kite.', greedy).result
    const second = await session.generate('What color was the kite?', greedy).result
    expect(second.text).toContain('golden')
    const before = first.usage.promptTokens + first.usage.completionTokens
    expect(second.usage.cachedTokens).toBeGreaterThan(before - 17)
    expect(second.usage.promptTokens).toBeGreaterThan(before)
    expect(session.history.map(({ role }) => role)).toEqual(['user', 'assistant', 'user', 'assistant'])
    session.close()
    expect(refusal(() => session.generate('More')).code).toBe('SESSION_CLOSED')
  })

  it('throws SESSION_BUSY for a second turn while one runs', async () => {
    const session = engine.session({ system: 'You are terse.' })
    const running = session.generate('Hi', { maxTokens: 50 })
    expect(refusal(() => session.generate('Hi again')).code).toBe('SESSION_BUSY')
    running.cancel()
    await running.result
    await session.generate('Hi again', { maxTokens: 5 }).result
  })

  it("overflow 'dropOldest': goes on for ever, keeps the system message and the newest turns, and computes what changed", async () => {
    await withEngine({ contextTokens: 200 }, async (small) => {
      const session = small.session({ system: 'You are terse.', overflow: 'dropOldest' })
      const cached: number[] = []
      for (let turn = 0; turn < 12; turn++) {
        const { usage, finishReason } = await session.generate(`Question ${turn}?`, {
          ...{ maxTokens: 30, ignoreEos: true, seed: turn },
        }).result
        expect([finishReason, usage.completionTokens]).toEqual(['length', 30])
        cached.push(usage.cachedTokens)
        expect(session.history[0]).toEqual({ role: 'system', content: 'You are terse.' })
        expect(session.history.at(-2)).toEqual({ role: 'user', content: `Question ${turn}?` })
      }
      expect(session.history.length).toBeLessThan(2 * 6)
      expect(session.history.length % 2).toBe(1)
      // Growing while everything fits, and less again after the first turn that was dropped.
      expect(Math.max(...cached)).toBeGreaterThan(cached.at(-1)!)
      await expect(session.generate('word '.repeat(300)).result).rejects.toMatchObject({ code: 'CONTEXT_OVERFLOW' })
      expect(session.history.at(-2)?.content).toBe('Question 11?')
    })
  })

  it('the blocks of an idle session are evicted: the next turn is computed again, unnoticed', async () => {
    const turns = ['Tell a story about a shy owl.', 'What did the owl do?', 'And then?']
    const options = { temperature: 0, maxTokens: 20, ignoreEos: true }
    const talk = async (of: Engine, between: () => Promise<unknown>) => {
      const session = of.session()
      const results: GenerationResult[] = []
      for (const text of turns) {
        results.push(await session.generate(text, options).result)
        await between()
      }
      return results
    }
    const undisturbed = await talk(engine, async () => {})
    await withEngine({ contextTokens: 200, kv: { memory: '416KiB' } }, async (tiny) => {
      const flood = () => tiny.generate({ prompt: Array(199).fill(7), maxTokens: 1 }).result
      const evicted = await talk(tiny, flood)
      expect(evicted.map((result) => result.tokens)).toEqual(undisturbed.map((result) => result.tokens))
      expect(evicted.map((result) => result.usage.cachedTokens)).toEqual([0, 0, 0])
    })
    expect(undisturbed[2]!.usage.cachedTokens).toBeGreaterThan(0)
  })

  it('a cancelled turn keeps its partial answer, and the next turn goes on from it', async () => {
    const session = engine.session()
    const generation = session.generate('Tell a story.', { ignoreEos: true })
    for await (const part of generation) if (part.tokens.length > 0 && generation.partial.tokens.length >= 20) break
    const { text, tokens, usage } = await generation.result
    expect(session.history.at(-1)).toEqual({ role: 'assistant', content: text })
    const next = await session.generate('Go on.', { maxTokens: 3 }).result
    expect(next.usage.cachedTokens).toBeGreaterThanOrEqual(usage.promptTokens + tokens.length - 16)
  })

  it('an answer that the caller began: what the model added is found again, however it was spelled', async () => {
    const session = engine.session()
    const letters = await Promise.all(Array.from('abcdefghijklmnopqrstuvwxyz', (letter) => engine.tokenize(letter)))
    const spelled = { logitBias: Object.fromEntries(letters.map(([id]) => [id!, 30])), ignoreEos: true, seed: 1 }
    const begun = [
      { role: 'user', content: 'Tell a story.' },
      { role: 'assistant', content: 'Once upon a time' },
    ]
    const options = { ...spelled, maxTokens: 80, continueFinalMessage: true }
    const { usage, text, tokens } = await session.generate(begun, options).result
    expect((await engine.tokenize(text)).length).toBeLessThan(tokens.length)
    const next = await session.generate('Go on.', { maxTokens: 3 }).result
    expect(next.usage.cachedTokens).toBeGreaterThanOrEqual(usage.promptTokens + tokens.length - 16)
  })

  it('a fork and its parent go on by themselves, and each finds what both computed', async () => {
    const session = engine.session()
    const greedy = { temperature: 0, maxTokens: 30, ignoreEos: true }
    const first = await session.generate('Tell a story about a brave fox.', greedy).result
    const fork = session.fork()
    const [a, b] = await Promise.all([session.generate('And?', greedy).result, fork.generate('And?', greedy).result])
    expect(b.tokens).toEqual(a.tokens)
    for (const { usage } of [a, b])
      expect(usage.cachedTokens).toBeGreaterThanOrEqual(first.usage.promptTokens + first.tokens.length - 16)
    expect(session.undo()).toBe(true)
    expect((await session.generate('And?', greedy).result).tokens).toEqual(a.tokens)
    expect(fork.history).toEqual(session.history)
  })

  it('rejects a turn that overflows the context and can go on with a shorter one', async () => {
    const session = engine.session()
    await expect(session.generate('word '.repeat(2000)).result).rejects.toMatchObject({ code: 'CONTEXT_OVERFLOW' })
    expect(session.history).toEqual([])
    await session.generate('Hi', { maxTokens: 5 }).result
  })
})
