/** Which stop ends an answer, and what the result says of it. The embedded model's control tokens: 0 <|endoftext|>, 1 <|im_start|>, 2 <|im_end|>. */
import { Engine } from 'octavo'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { refusal } from './refusal.ts'

let engine: Engine
beforeAll(async () => {
  engine = await Engine.load({ model: 'stories' })
})
afterAll(() => engine.close())

const greedy = { prompt: 'Once upon a time', temperature: 0, maxTokens: 60, ignoreEos: true } as const
/** Draws a token and nothing else. */
const always = (token: number) => ({ prompt: 'Once', temperature: 0, maxTokens: 4, logitBias: { [token]: 200 } })

describe('a stop text that names a control token', () => {
  it('ends the answer when that token is drawn', async () => {
    const result = await engine.generate({ ...always(1), stop: '<|im_start|>' }).result
    expect(result).toMatchObject({ text: '', tokens: [], finishReason: 'stop', usage: { completionTokens: 0 } })
    expect(result.stop).toEqual({ text: '<|im_start|>', token: 1 })
  })

  it('does so although the end tokens of the model are ignored', async () => {
    const ignoring = { ...always(2), ignoreEos: true }
    expect(await engine.generate(ignoring).result).toMatchObject({ finishReason: 'length', tokens: [2, 2, 2, 2] })
    const stopped = await engine.generate({ ...ignoring, stop: ['x', '<|im_end|>'] }).result
    expect(stopped).toMatchObject({ finishReason: 'stop', stop: { text: '<|im_end|>', token: 2 } })
  })

  it('ends it, too, where its name is spelled in letters', async () => {
    const letters = await engine.tokenize('<|im_start|>')
    const spelled = { ...always(letters[0]!), maxTokens: 20, stop: '<|im_start|>' }
    expect((await engine.generate(spelled).result).text).toBe('<'.repeat(20))
  })
})

describe('stop tokens', () => {
  it('end an answer wherever they are drawn, alone, in a batch and in a run of steps', async () => {
    const { tokens } = await engine.generate(greedy).result
    const ends = [3, 17, 30, 41].map((at) => tokens[at]!)
    const results = await Promise.all(
      ends.map((token) => engine.generate({ ...greedy, stopTokens: [999, token] }).result),
    )
    for (const [i, { tokens: stopped, stop, finishReason, usage }] of results.entries()) {
      const expected = tokens.slice(0, tokens.indexOf(ends[i]!))
      expect([stopped, stop, finishReason]).toEqual([expected, { token: ends[i] }, 'stop'])
      expect(usage.completionTokens).toBe(expected.length)
      expect((await engine.generate({ ...greedy, stopTokens: [ends[i]!] }).result).tokens).toEqual(expected)
    }
  })

  it('release what was held back for a stop text', async () => {
    const { tokens, text } = await engine.generate(greedy).result
    const at = 20
    const before = await engine.detokenize(tokens.slice(0, at))
    const stop = `${text.slice(before.length - 4, before.length)}never`
    const token = tokens[at]!
    if (tokens.indexOf(token) < at) throw new Error('another token is needed')
    const result = await engine.generate({ ...greedy, stop, stopTokens: [token] }).result
    expect(result).toMatchObject({ text: before, tokens: tokens.slice(0, at), stop: { token } })
  })

  it('must be tokens', async () => {
    for (const stopTokens of [[4096], [1, 99999]])
      expect(refusal(() => engine.generate({ prompt: 'A', stopTokens }))).toMatchObject({
        ...{ code: 'INVALID_ARGUMENT', details: { option: `stopTokens[${stopTokens.length - 1}]` } },
      })
    for (const stopTokens of [[-1], [1.5], 3])
      expect(refusal(() => engine.generate({ prompt: 'A', stopTokens: stopTokens as number[] })).code).toBe(
        'INVALID_ARGUMENT',
      )
  })
})

describe('result.stop', () => {
  it('is the stop text, the end token, or nothing', async () => {
    const { text } = await engine.generate(greedy).result
    const stop = [text.slice(50, 56), text.slice(30, 35)]
    expect((await engine.generate({ ...greedy, stop }).result).stop).toEqual({ text: stop[1] })
    expect((await engine.generate(always(2)).result).stop).toEqual({ token: 2 })
    expect(await engine.generate(greedy).result).not.toHaveProperty('stop')
    const cancelled = engine.generate(greedy)
    cancelled.cancel()
    expect(await cancelled.result).not.toHaveProperty('stop')
  })
})

describe('endTokens', () => {
  it("add to the model's own", async () => {
    const { tokens } = await engine.generate(greedy).result
    const token = tokens[12]!
    await using other = await Engine.load({ model: 'stories', endTokens: [token] })
    expect(other.model.eosIds).toEqual([...engine.model.eosIds, token].sort((a, b) => a - b))
    const result = await other.generate({ ...greedy, ignoreEos: false }).result
    expect(result).toMatchObject({ tokens: tokens.slice(0, tokens.indexOf(token)), stop: { token } })
    expect((await other.generate(greedy).result).tokens).toEqual(tokens)
    expect((await other.generate(always(2)).result).stop).toEqual({ token: 2 })
  })

  it('must be tokens of the model', async () => {
    await expect(Engine.load({ model: 'stories', endTokens: [4096] })).rejects.toMatchObject({
      ...{ code: 'INVALID_ARGUMENT', details: { option: 'endTokens[0]' } },
    })
  })
})
