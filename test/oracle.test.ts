/**
 * The embedded model against a float32 PyTorch forward pass on the same dequantised weights (test/scripts/oracle.py, which wrote
 * goldens/stories-oracle.json). What differs is int8 activations: each group of 32 is rounded to 1/127 of its largest value,
 * a relative error of about 1/440 per element, and f16 keys and values.
 */
import { readFileSync } from 'node:fs'
import { Engine } from 'octavo'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

interface Golden {
  name: string
  text: string
  tokens: number[]
  /** After each token: the most likely next one, and its lead over the second in logits. */
  argmax: number[]
  margin: number[]
  /** Of tokens[i + 1]. */
  logprobs: number[]
  greedy?: number[]
  greedyMargin?: number[]
}

const goldens = JSON.parse(readFileSync(new URL('goldens/stories-oracle.json', import.meta.url), 'utf8')) as Golden[]

/** A lead that quantised activations must not turn over. */
const clearMargin = 0.5
const tolerance = { mean: 0.05, largest: 0.5 }

let engine: Engine
beforeAll(async () => {
  engine = await Engine.load({ model: 'stories', threads: 1 })
})
afterAll(() => engine.close())

describe.each(goldens)('$name', (golden) => {
  it('has the tokens that the tokenizers package gives', async () => {
    expect([...(await engine.tokenize(golden.text, { parseSpecial: true }))]).toEqual(golden.tokens)
  })

  it('has the log-probabilities of the oracle', async () => {
    const { logprobs } = await engine.score({ prompt: golden.tokens })
    expect(logprobs.length).toBe(golden.logprobs.length)
    const differences = golden.logprobs.map((value, i) => Math.abs(value - logprobs[i]!))
    const mean = differences.reduce((a, b) => a + b) / differences.length
    if (process.env.OCTAVO_SHOW) console.log(`mean ${mean.toFixed(4)} largest ${Math.max(...differences).toFixed(4)}`)
    expect(mean).toBeLessThan(tolerance.mean)
    expect(Math.max(...differences)).toBeLessThan(tolerance.largest)
  })

  it('agrees on the most likely token wherever the lead is clear', async () => {
    const clear = golden.margin.flatMap((margin, position) => (margin > clearMargin ? [position] : []))
    expect(clear.length).toBeGreaterThan(10)
    const drawn = await Promise.all(
      clear.map(async (position) => {
        const prompt = golden.tokens.slice(0, position + 1)
        const { tokens } = await engine.generate({ prompt, maxTokens: 1, temperature: 0, ignoreEos: true }).result
        return tokens[0]
      }),
    )
    expect(drawn).toEqual(clear.map((position) => golden.argmax[position]))
  })

  it.skipIf(golden.greedy === undefined)(
    'goes on as the oracle does, up to the first token without a clear lead that differs',
    async () => {
      const { greedy, greedyMargin, tokens: prompt } = golden as Required<Golden>
      const { tokens } = await engine.generate({ prompt, maxTokens: greedy.length, temperature: 0, ignoreEos: true })
        .result
      expect(tokens.length).toBe(greedy.length)
      const first = greedy.findIndex((token, i) => token !== tokens[i])
      if (first >= 0) expect(greedyMargin[first], `token ${first}`).toBeLessThan(clearMargin)
    },
  )
})
