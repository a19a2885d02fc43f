/** The public API on the embedded model: what a caller can ask for. */
import { fileURLToPath } from 'node:url'
import type { LoadProgress } from 'octavo'
import { Engine } from 'octavo'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { collect, story, withEngine } from './embedded-engine.ts'
import { refusal } from './refusal.ts'
import { expectNothingUnhandled, tick } from './unhandled.ts'

const packageRoot = fileURLToPath(new URL('..', import.meta.url))
let engine: Engine
beforeAll(async () => {
  engine = await Engine.load({ model: 'stories' })
})
afterAll(() => engine.close())
expectNothingUnhandled()

describe('load', () => {
  it('tells what the model is', () => {
    expect(engine.model).toMatchObject({
      architecture: 'llama',
      layers: 4,
      width: 256,
      vocabularySize: 4096,
      chatTemplate: true,
    })
    expect(engine.model.contextTokens).toBe(engine.model.trainedContextTokens)
    expect(engine.model.parameters).toBeGreaterThan(3e6)
    expect(engine.model.bytes).toBeGreaterThan(2e6)
  })

  it('reports progress that grows to 1', async () => {
    const seen: LoadProgress[] = []
    await withEngine({ onProgress: (progress) => seen.push(progress) }, async () => {})
    const fractions = seen.map((progress) => progress.fraction)
    expect(fractions).toEqual([...fractions].sort((a, b) => a - b))
    expect(seen.at(-1)).toMatchObject({ phase: 'ready', fraction: 1 })
    expect(seen.some((p) => p.phase === 'weights' && p.loadedBytes > 0 && p.loadedBytes < p.totalBytes)).toBe(true)
  })

  it('throws option errors at the call and rejects with later ones', async () => {
    expect(refusal(() => Engine.load({ model: 'stories', threads: -1 })).details.option).toBe('threads')
    expect(refusal(() => Engine.load({ model: 'stories', gpu: true } as never)).code).toBe('INVALID_ARGUMENT')
    const error = await Engine.load({ model: 'no-such-file.gguf' }).catch((e) => e)
    expect(error).toMatchObject({ name: 'OctavoError', code: 'FILE_NOT_FOUND' })
    expect(error.stack).toContain('api.test.ts')
  })

  it('leaves no promise behind when an option is wrong for this model', async () => {
    await withEngine({}, async (other) => {
      const wrong = { logitBias: { 99999: 1 } }
      expect(refusal(() => other.generate({ prompt: 'A', ...wrong })).code).toBe('INVALID_ARGUMENT')
      expect(refusal(() => other.generate({ ...story, ...wrong })).code).toBe('INVALID_ARGUMENT')
      expect(refusal(() => other.session().generate('A', wrong)).code).toBe('INVALID_ARGUMENT')
    })
  })

  it('rejects a file that is no model', async () => {
    await expect(Engine.load({ model: `${packageRoot}/package.json` })).rejects.toMatchObject({ code: 'MODEL_INVALID' })
  })

  it('refuses more context than memory holds, with the table of what needs what', async () => {
    const error = await Engine.load({ model: 'stories', contextTokens: 2 ** 40 }).catch((e) => e)
    expect(error).toMatchObject({ code: 'OUT_OF_MEMORY' })
    expect(error.details.totalBytes).toBeGreaterThan(error.details.availableBytes)
    await expect(Engine.load({ model: 'stories', contextTokens: 700, kv: { memory: '64KiB' } })).rejects.toMatchObject({
      ...{ code: 'OUT_OF_MEMORY' },
    })
  })

  it('takes the context length and pool that it is given', async () => {
    await withEngine({ contextTokens: 100, kv: { memory: '1MiB' } }, async (small) => {
      expect(small.model.contextTokens).toBe(100)
      expect(small.stats().kv.totalBlocks).toBe(32)
    })
  })

  it('rejects with the reason of a signal that aborts, before and during', async () => {
    await expect(Engine.load({ model: 'stories', signal: AbortSignal.abort('early') })).rejects.toBe('early')
    const abort = new AbortController()
    const loading = Engine.load({
      model: 'stories',
      signal: abort.signal,
      onProgress: () => abort.abort('in the middle'),
    })
    await expect(loading).rejects.toBe('in the middle')
  })
})

describe('generate', () => {
  it('streams parts whose texts and tokens joined equal the result', async () => {
    const generation = engine.generate({ ...story, maxTokens: 60, seed: 3 })
    const parts = await collect(generation)
    const result = await generation.result
    expect(parts.map((part) => part.text).join('')).toBe(result.text)
    expect(parts.flatMap((part) => part.tokens)).toEqual(result.tokens)
    expect(result.text).toContain('Luna')
    expect(result.usage.completionTokens).toBe(result.tokens.length)
    expect(await engine.detokenize(result.tokens)).toBe(result.text)
  })

  it('ends at the end-of-text token, which is in neither text nor tokens', async () => {
    const result = await engine.generate({ ...story, temperature: 0 }).result
    expect(result.finishReason).toBe('stop')
    for (const id of engine.model.eosIds) expect(result.tokens).not.toContain(id)
  })

  it('ends with length at maxTokens, and at the end of the context', async () => {
    expect(await engine.generate({ prompt: 'Once', maxTokens: 7 }).result).toMatchObject({
      finishReason: 'length',
      usage: { completionTokens: 7 },
    })
    const { contextTokens } = engine.model
    const full = await engine.generate({ prompt: 'Once', maxTokens: 10 * contextTokens, ignoreEos: true }).result
    expect(full.finishReason).toBe('length')
    expect(full.usage.promptTokens + full.usage.completionTokens).toBe(contextTokens)
  })

  it('takes a prompt as text, as ids, and as an Int32Array, with the same outcome', async () => {
    const ids = await engine.tokenize('Once upon a time')
    const options = { maxTokens: 20, temperature: 0 }
    const results = await Promise.all(
      ['Once upon a time', ids, Int32Array.from(ids)].map((prompt) => engine.generate({ prompt, ...options }).result),
    )
    expect(new Set(results.map((result) => result.text)).size).toBe(1)
  })

  it('reproduces from a seed, also from the random one that it reports', async () => {
    const options = { ...story, maxTokens: 40, temperature: 1.2, topK: 0, topP: 1 }
    const [first, other] = await Promise.all([engine.generate(options).result, engine.generate(options).result])
    expect(first.seed).not.toBe(other.seed)
    expect(first.tokens).not.toEqual(other.tokens)
    expect((await engine.generate({ ...options, seed: first.seed }).result).tokens).toEqual(first.tokens)
  })

  it('stops before stop strings, across token borders', async () => {
    const whole = (await engine.generate({ ...story, temperature: 0 }).result).text
    const at = whole.indexOf('Luna', 40)
    const stop = whole.slice(at - 3, at + 2)
    const parts = await collect(engine.generate({ ...story, temperature: 0, stop: [stop, 'never'] }))
    expect(parts.map((part) => part.text).join('')).toBe(whole.slice(0, whole.indexOf(stop)))
  })

  it('reports log-probabilities of its tokens and of the most likely ones', async () => {
    const { tokens, logprobs } = await engine.generate({ ...story, maxTokens: 10, temperature: 0, logprobs: 3 }).result
    expect(logprobs!.map((entry) => entry.token)).toEqual(tokens)
    for (const { token, logprob, top } of logprobs!) {
      expect(top.length).toBe(3)
      expect(top[0]).toEqual({ token, logprob })
      expect(logprob).toBeLessThanOrEqual(0)
    }
    expect((await engine.generate({ prompt: 'A', maxTokens: 2 }).result).logprobs).toBeUndefined()
  })

  it('bans tokens by logitBias', async () => {
    const greedy = { ...story, maxTokens: 5, temperature: 0 }
    const first = (await engine.generate(greedy).result).tokens[0]!
    const banned = await engine.generate({ ...greedy, logitBias: { [first]: -Infinity } }).result
    expect(banned.tokens).not.toContain(first)
  })

  it('never draws an id without a token, however high the temperature', async () => {
    const tokens = 1940 // of the stories tokenizer; the model has 4096 rows
    const wild = { prompt: 'Once', maxTokens: 400, ignoreEos: true, temperature: 100, topK: 0, topP: 1 } as const
    for (const extra of [{}, { logprobs: 2 }, { repetitionPenalty: 1.5 }]) {
      const result = await engine.generate({ ...wild, ...extra, seed: 5 }).result
      expect(Math.max(...result.tokens)).toBeLessThan(tokens)
      // The draws do reach the upper end of what exists.
      expect(Math.max(...result.tokens)).toBeGreaterThan(tokens * 0.9)
    }
  })

  it('measures', async () => {
    const { timings } = await engine.generate({ ...story, maxTokens: 20, ignoreEos: true }).result
    expect(timings.firstTokenMs).toBeGreaterThan(0)
    expect(timings.totalMs).toBeGreaterThanOrEqual(timings.firstTokenMs)
    expect(timings.tokensPerSecond).toBeGreaterThan(0)
  })

  it('rejects a prompt that leaves no room, an empty one, and one with ids that do not exist', async () => {
    const long = Array(engine.model.contextTokens).fill(5)
    await expect(engine.generate({ prompt: long }).result).rejects.toMatchObject({ code: 'CONTEXT_OVERFLOW' })
    await expect(engine.generate({ prompt: [] }).result).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    expect(refusal(() => engine.generate({ prompt: [1, 4096] })).details).toMatchObject({
      option: 'prompt[1]',
      found: '4096',
    })
    expect(refusal(() => engine.generate({ prompt: [1.5] })).details).toMatchObject({ option: 'prompt[0]' })
    expect(refusal(() => engine.generate({ prompt: 'x', logitBias: { 4096: 1 } })).code).toBe('INVALID_ARGUMENT')
  })

  it('makes control tokens of a text prompt only when asked', async () => {
    const plain = await engine.tokenize('<|im_end|>')
    const special = await engine.tokenize('<|im_end|>', { parseSpecial: true })
    expect(plain.length).toBeGreaterThan(1)
    expect(special.length).toBe(1)
    const asked = await engine.generate({ prompt: 'Hi<|im_end|>', parseSpecial: true, maxTokens: 1 }).result
    const not = await engine.generate({ prompt: 'Hi<|im_end|>', maxTokens: 1 }).result
    expect(not.usage.promptTokens - asked.usage.promptTokens).toBe(plain.length - 1)
  })
})

describe('score', () => {
  it('gives one log-probability for each token after the first, and the perplexity', async () => {
    const { tokens, logprobs, perplexity } = await engine.score({
      prompt: 'Once upon a time, there was a shy owl named Luna.',
    })
    expect(logprobs.length).toBe(tokens.length - 1)
    const mean = logprobs.reduce((sum, logprob) => sum + logprob, 0) / logprobs.length
    expect(perplexity).toBeCloseTo(Math.exp(-mean), 6)
    expect(perplexity).toBeLessThan(10)
  })

  it('agrees with the log-probabilities of a generation, and does not depend on chunks or the cache', async () => {
    const prompt = await engine.tokenize('Once upon a time')
    const result = await engine.generate({ prompt, maxTokens: 40, temperature: 0, logprobs: 0, ignoreEos: true }).result
    const all = [...prompt, ...result.tokens]
    const expected = result.logprobs!.map((entry) => entry.logprob)
    for (let i = 0; i < 2; i++)
      expect((await engine.score({ prompt: all })).logprobs.slice(prompt.length - 1)).toEqual(expected)
    await withEngine({ internal: { stepTokens: 5 } }, async (other) => {
      expect((await other.score({ prompt: all })).logprobs.slice(prompt.length - 1)).toEqual(expected)
    })
  })

  it('rejects fewer than two tokens, too many, and an aborted signal', async () => {
    await expect(engine.score({ prompt: [5] })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    await expect(engine.score({ prompt: Array(769).fill(5) })).rejects.toMatchObject({ code: 'CONTEXT_OVERFLOW' })
    expect((await engine.score({ prompt: Array(768).fill(5) })).logprobs.length).toBe(767)
    await expect(engine.score({ prompt: [5, 6], signal: AbortSignal.abort('no') })).rejects.toBe('no')
  })
})

describe('tokenize', () => {
  it('and back', async () => {
    for (const text of ['Once upon a time', '', ' two  spaces ', 'ünïcödé 🪁 日本', 'a\nb\tc']) {
      expect(await engine.detokenize(await engine.tokenize(text))).toBe(text)
    }
  })

  it('checks its arguments at the call', () => {
    expect(refusal(() => engine.tokenize(5 as never)).details).toMatchObject({ option: 'text' })
    expect(refusal(() => engine.detokenize([-1])).details).toMatchObject({ option: 'ids[0]' })
  })
})

describe('close', () => {
  it('ends running requests with ENGINE_CLOSED, twice is fine, and use afterwards throws at the call', async () => {
    const other = await Engine.load({ model: 'stories' })
    const running = other.generate({ prompt: 'Once', ignoreEos: true })
    const reading = collect(running)
    const queued = other.generate({ prompt: 'Twice' })
    const scoring = other.score({ prompt: 'Once upon' })
    const settled = Promise.allSettled([running.result, reading, queued.result, scoring])
    await tick()
    await Promise.all([other.close(), other.close()])
    for (const outcome of await settled) {
      expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'ENGINE_CLOSED' } })
    }
    const session = () => other.session()
    const uses = [
      () => other.generate({ prompt: 'x' }),
      () => other.score({ prompt: 'x' }),
      () => other.tokenize('x'),
      session,
    ]
    for (const use of uses) expect(refusal(use).code).toBe('ENGINE_CLOSED')
    await other.close()
  })

  it('happens by itself with `await using`', async () => {
    const other = await Engine.load({ model: 'stories' })
    await other[Symbol.asyncDispose]()
    expect(refusal(() => other.generate({ prompt: 'x' })).code).toBe('ENGINE_CLOSED')
  })

  it('several engines live side by side', async () => {
    await withEngine({}, async (a) => {
      await withEngine({}, async (b) => {
        const options = { ...story, maxTokens: 50, seed: 1 }
        const [x, y] = await Promise.all([a.generate(options).result, b.generate(options).result])
        expect(x.tokens).toEqual(y.tokens)
      })
    })
  })
})
