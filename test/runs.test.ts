/** Runs of short steps as a user of the library sees them: a model so small that a step takes far less than a millisecond. */
import { Engine, type GenerationPart } from 'octavo'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

let engine: Engine
/** Its steps have room for one token: no step can be followed by another one with two. */
let stepwise: Engine
beforeAll(async () => {
  // Guesses would make fewer steps.
  const options = { model: 'stories', contextTokens: 256, prefixCache: false, speculation: 'off' } as const
  engine = await Engine.load(options)
  stepwise = await Engine.load({ ...options, internal: { stepTokens: 1 } })
})
afterAll(async () => {
  await Promise.all([engine.close(), stepwise.close()])
})

const story = { prompt: 'Once upon a time', maxTokens: 120, ignoreEos: true, seed: 1 }
const read = async (generation: AsyncIterable<GenerationPart>) => {
  const parts: GenerationPart[] = []
  for await (const part of generation) parts.push(part)
  return parts
}

describe('runs of short steps', () => {
  it('deliver the first token alone, then several at once, whole and in order', async () => {
    const generation = engine.generate({ ...story, temperature: 0 })
    const parts = await read(generation)
    const sizes = parts.map(({ tokens }) => tokens.length)
    expect(sizes[0]).toBe(1)
    expect(Math.max(...sizes)).toBeGreaterThan(1)
    expect(Math.max(...sizes)).toBeLessThanOrEqual(16)
    const { text, tokens } = await generation.result
    expect(parts.map((part) => part.text).join('')).toBe(text)
    expect(parts.flatMap((part) => part.tokens)).toEqual(tokens)
  })

  it.each([
    ['greedy', { temperature: 0 }],
    ['sampled', { temperature: 0.8, topK: 40, seed: 5 }],
    ['with penalties and log-probabilities', { temperature: 1, seed: 9, repetitionPenalty: 1.2, logprobs: 3 }],
    ['to the end of the text', { temperature: 0.7, seed: 3, ignoreEos: false, maxTokens: 200 }],
  ])('change no answer: %s', async (_what, options) => {
    const ask = (of: Engine) => of.generate({ ...story, ...options }).result
    const { timings: _a, ...run } = await ask(engine)
    const { timings: _b, ...single } = await ask(stepwise)
    expect(run).toEqual(single)
  })

  it('end where a stop string begins, wherever in a run that is', async () => {
    const { text } = await stepwise.generate({ ...story, temperature: 0 }).result
    for (let at = 100; at < 130; at += 3) {
      const stop = [text.slice(at, at + 7)]
      const { text: stopped, finishReason } = await engine.generate({ ...story, temperature: 0, stop }).result
      expect([stopped, finishReason]).toEqual([text.slice(0, text.indexOf(stop[0]!)), 'stop'])
    }
  })

  it('leave statistics exact when a result is there', async () => {
    for (let i = 1; i <= 5; i++) {
      const before = engine.stats()
      await engine.generate({ ...story, maxTokens: 20 * i, seed: i }).result
      const { steps, generatedTokens, requests } = engine.stats()
      expect(generatedTokens - before.generatedTokens).toBe(20 * i)
      expect(steps - before.steps).toBe(20 * i)
      expect(requests).toMatchObject({ running: 0, waiting: 0 })
    }
  })

  it('give requests that come one by one what each has alone', async () => {
    const ask = (of: Engine, seed: number) =>
      of.generate({ ...story, maxTokens: 40 + seed, seed, temperature: 0.9 }).result
    const together = Array.from({ length: 12 }, async (_, seed) => {
      await new Promise((resolve) => setTimeout(resolve, 2 * seed))
      return (await ask(engine, seed)).tokens
    })
    for (const [seed, tokens] of (await Promise.all(together)).entries())
      expect(tokens).toEqual((await ask(stepwise, seed)).tokens)
  })
})
