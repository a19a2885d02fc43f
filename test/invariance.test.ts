/** The tokens of a request depend on nothing but the request. */
import type { GenerateOptions, GenerationPart } from 'octavo'
import { Engine } from 'octavo'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { expectIdle, story, withEngine } from './embedded-engine.ts'
import { expectNothingUnhandled } from './unhandled.ts'

let engine: Engine
beforeAll(async () => {
  engine = await Engine.load({ model: 'stories' })
})
afterAll(() => engine.close())
expectNothingUnhandled()

describe('a request gives the same tokens', () => {
  const requests: GenerateOptions[] = [
    { ...story, maxTokens: 80, seed: 1 },
    { ...story, maxTokens: 80, seed: 2, temperature: 1.5, topK: 0, topP: 1 },
    { prompt: 'Once upon a time', maxTokens: 120, temperature: 0, ignoreEos: true },
    { prompt: Array.from({ length: 300 }, (_, i) => 300 + i), maxTokens: 50, seed: 3 },
    { prompt: 'The', maxTokens: 90, seed: 4, repetitionPenalty: 1.3, presencePenalty: 0.5, frequencyPenalty: 0.2 },
    { ...story, maxTokens: 80, seed: 5, minP: 0.1, temperature: 2 },
  ]
  let alone: number[][]
  beforeAll(async () => {
    alone = await withEngine({ threads: 1, prefixCache: false }, async (solo) => {
      const tokens: number[][] = []
      for (const request of requests) tokens.push((await solo.generate(request).result).tokens)
      return tokens
    })
  })

  const together = async (of: Engine) =>
    (await Promise.all(requests.map((request) => of.generate(request).result))).map((result) => result.tokens)

  it('alone, in a batch, and again from the prefix cache', async () => {
    expect(await together(engine)).toEqual(alone)
    expect(await together(engine)).toEqual(alone)
    expect((await engine.generate({ ...requests[3]!, maxTokens: 1 }).result).usage.cachedTokens).toBe(288)
  })

  it.each([1, 7, 64])('with steps of at most %d tokens and any number of threads', async (stepTokens) => {
    await withEngine({ threads: 1 + (stepTokens % 3), internal: { stepTokens } }, async (other) => {
      expect(await together(other)).toEqual(alone)
    })
  })

  it('when requests preempt each other', async () => {
    const growing = Array.from({ length: 6 }, (_, i): GenerateOptions => {
      return { prompt: [300 + i, 400 + i, 500], maxTokens: 100 + i, seed: i, ignoreEos: true }
    })
    const expected: number[][] = []
    for (const options of growing) expected.push((await engine.generate(options).result).tokens)
    await withEngine({ kv: { memory: '512KiB' }, contextTokens: 200 }, async (tight) => {
      const results = await Promise.all(growing.map((options) => tight.generate(options).result))
      expect(results.map((result) => result.tokens)).toEqual(expected)
      expect(tight.stats().preemptions).toBeGreaterThan(0)
      expectIdle(tight)
    })
  })

  it('when others are cancelled around it', async () => {
    const disturb = setInterval(() => {
      const other = engine.generate({ prompt: Array(200).fill(9), ignoreEos: true })
      setTimeout(() => other.cancel(), 3)
    }, 10)
    try {
      expect(await together(engine)).toEqual(alone)
    } finally {
      clearInterval(disturb)
    }
  })

  it('when its reader is slow', async () => {
    const parts: GenerationPart[] = []
    for await (const part of engine.generate(requests[2]!)) {
      parts.push(part)
      if (parts.length % 10 === 0) await new Promise((resolve) => setTimeout(resolve, 5))
    }
    expect(parts.flatMap((part) => part.tokens)).toEqual(alone[2])
  })
})
