/** The public API on the embedded model: everything a caller can do, and every way it can end. */
import { fileURLToPath } from 'node:url'
import type { GenerateOptions, GenerationPart, GenerationResult, LoadOptions, LoadProgress } from 'octavo'
import { Engine, OctavoError } from 'octavo'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'

const packageRoot = fileURLToPath(new URL('..', import.meta.url))
const story = { messages: [{ role: 'user', content: 'Tell a story about a shy owl named Luna and a golden kite.' }] }

let engine: Engine
beforeAll(async () => {
  engine = await Engine.load({ model: 'stories' })
})
afterAll(() => engine.close())

const unhandled: unknown[] = []
const onUnhandled = (reason: unknown) => void unhandled.push(reason)
beforeEach(() => void process.on('unhandledRejection', onUnhandled))
afterEach(async () => {
  await tick()
  process.off('unhandledRejection', onUnhandled)
  expect(unhandled.splice(0)).toEqual([])
})

const tick = () => new Promise((resolve) => setImmediate(resolve))

async function withEngine<T>(options: Omit<LoadOptions, 'model'>, use: (engine: Engine) => Promise<T>): Promise<T> {
  const other = await Engine.load({ model: 'stories', ...options })
  try {
    return await use(other)
  } finally {
    await other.close()
  }
}

async function collect(generation: AsyncIterable<GenerationPart>): Promise<GenerationPart[]> {
  const parts: GenerationPart[] = []
  for await (const part of generation) parts.push(part)
  return parts
}

function thrown(call: () => unknown): OctavoError {
  try {
    call()
  } catch (error) {
    if (error instanceof OctavoError) return error
    throw error
  }
  throw new Error('nothing was thrown')
}

/** All blocks given back, as the last step's snapshot says. */
function expectIdle(of = engine): void {
  const { kv, requests } = of.stats()
  expect([kv.freeBlocks + kv.cachedBlocks, requests]).toEqual([kv.totalBlocks, { running: 0, waiting: 0, paused: 0 }])
}

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
    expect(thrown(() => Engine.load({ model: 'stories', threads: -1 })).details.option).toBe('threads')
    expect(thrown(() => Engine.load({ model: 'stories', gpu: true } as never)).code).toBe('INVALID_ARGUMENT')
    const error = await Engine.load({ model: 'no-such-file.gguf' }).catch((e) => e)
    expect(error).toMatchObject({ name: 'OctavoError', code: 'FILE_NOT_FOUND' })
    expect(error.stack).toContain('api.test.ts')
  })

  it('leaves no promise behind when an option is wrong for this model', async () => {
    await withEngine({}, async (other) => {
      const wrong = { logitBias: { 99999: 1 } }
      expect(thrown(() => other.generate({ prompt: 'A', ...wrong })).code).toBe('INVALID_ARGUMENT')
      expect(thrown(() => other.generate({ ...story, ...wrong })).code).toBe('INVALID_ARGUMENT')
      expect(thrown(() => other.session().generate('A', wrong)).code).toBe('INVALID_ARGUMENT')
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
    expect(thrown(() => engine.generate({ prompt: [1, 4096] })).details).toMatchObject({
      option: 'prompt[1]',
      found: '4096',
    })
    expect(thrown(() => engine.generate({ prompt: [1.5] })).details).toMatchObject({ option: 'prompt[0]' })
    expect(thrown(() => engine.generate({ prompt: 'x', logitBias: { 4096: 1 } })).code).toBe('INVALID_ARGUMENT')
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

describe('endings: what happens if', () => {
  const long = { prompt: 'Once upon a time', ignoreEos: true, maxTokens: 700 } as const
  const cancelled = (result: GenerationResult) => {
    expect(result.finishReason).toBe('cancelled')
    expect(result.tokens.length).toBeLessThan(700)
    return result
  }

  it('only the iterator is read and the generation fails: no unhandled rejection', async () => {
    const generation = engine.generate({ prompt: Array(engine.model.contextTokens).fill(5) })
    await expect(collect(generation)).rejects.toMatchObject({ code: 'CONTEXT_OVERFLOW' })
  })

  it('nobody looks at a generation that fails: no unhandled rejection', async () => {
    engine.generate({ prompt: Array(engine.model.contextTokens).fill(5) })
    await tick()
  })

  it('only the result is awaited: it drains', async () => {
    expect((await engine.generate(long).result).tokens.length).toBe(700)
  })

  it('the loop is left by break', async () => {
    const generation = engine.generate(long)
    let text = ''
    for await (const part of generation) {
      text += part.text
      if (text.length > 20) break
    }
    const result = cancelled(await generation.result)
    expect(result.text.startsWith(text)).toBe(true)
    expectIdle()
  })

  it('the loop is left by a throw', async () => {
    const generation = engine.generate(long)
    const loop = async () => {
      for await (const _ of generation) throw new Error('mine')
    }
    await expect(loop()).rejects.toThrow('mine')
    cancelled(await generation.result)
    expectIdle()
  })

  it('it is cancelled: queued, prefilling, decoding', async () => {
    for (const delay of [0, 1, 3, 10]) {
      const generation = engine.generate({ ...long, prompt: Array(600).fill(7), maxTokens: 160 })
      await new Promise((resolve) => setTimeout(resolve, delay))
      generation.cancel()
      const result = await generation.result
      expect(result.text).toBe(generation.partial.text)
      expect(result.tokens).toEqual(generation.partial.tokens)
      expectIdle()
    }
  })

  it('it is cancelled before its text was tokenised', async () => {
    const generation = engine.generate(long)
    generation.cancel()
    expect(await generation.result).toMatchObject({ finishReason: 'cancelled', text: '', tokens: [] })
  })

  it('it is cancelled after its end', async () => {
    const generation = engine.generate({ prompt: 'A', maxTokens: 1 })
    await generation.result
    generation.cancel()
    expect((await generation.result).finishReason).toBe('length')
  })

  it('its signal aborts in mid-stream: the reason comes untouched, the partial text stays readable', async () => {
    const abort = new AbortController()
    const reason = { any: 'thing' }
    const generation = engine.generate({ ...long, signal: abort.signal })
    const reading = async () => {
      for await (const part of generation) if (part.tokens.length > 0) abort.abort(reason)
    }
    await expect(reading()).rejects.toBe(reason)
    await expect(generation.result).rejects.toBe(reason)
    expect(generation.partial.tokens.length).toBeGreaterThan(0)
  })

  it('its signal was aborted before', async () => {
    const generation = engine.generate({ ...long, signal: AbortSignal.abort('early') })
    await expect(generation.result).rejects.toBe('early')
    await expect(collect(generation)).rejects.toBe('early')
  })

  it('a reader stops reading: others go on, and it goes on when it reads again', async () => {
    const slow = engine.generate(long)
    const iterator = slow[Symbol.asyncIterator]()
    await iterator.next()
    for (let i = 0; i < 3; i++) await engine.generate({ ...long, maxTokens: 300 }).result
    expect(slow.partial.tokens.length).toBeLessThan(300)
    let count = 1
    while (!(await iterator.next()).done) count++
    expect((await slow.result).tokens.length).toBe(700)
    expect(count).toBeGreaterThan(100)
  })

  it('1,000 requests are cancelled or aborted at random moments: every block is free again', async () => {
    let state = 12345
    const below = (n: number) => {
      state = (Math.imul(state, 1103515245) + 12345) >>> 0
      return (state >>> 8) % n
    }
    const one = async (i: number) => {
      const abort = new AbortController()
      const generation = engine.generate({
        ...{ prompt: Array(1 + below(300)).fill(5 + (i % 50)), maxTokens: 100, ignoreEos: true, signal: abort.signal },
      })
      const reader = below(3) === 0 ? generation[Symbol.asyncIterator]() : undefined
      void reader?.next().catch(() => {})
      await new Promise((resolve) => setTimeout(resolve, below(20)))
      if (below(2) === 0) abort.abort('enough')
      else generation.cancel()
      await generation.result.catch((reason) => expect(reason).toBe('enough'))
    }
    for (let batch = 0; batch < 20; batch++)
      await Promise.all(Array.from({ length: 50 }, (_, i) => one(batch * 50 + i)))
    await engine.generate({ prompt: 'A', maxTokens: 1 }).result
    expectIdle()
  }, 60_000)
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
    expect(thrown(() => engine.tokenize(5 as never)).details).toMatchObject({ option: 'text' })
    expect(thrown(() => engine.detokenize([-1])).details).toMatchObject({ option: 'ids[0]' })
  })
})

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
    expect(thrown(() => session.generate('More')).code).toBe('SESSION_CLOSED')
  })

  it('throws SESSION_BUSY for a second turn while one runs', async () => {
    const session = engine.session({ system: 'You are terse.' })
    const running = session.generate('Hi', { maxTokens: 50 })
    expect(thrown(() => session.generate('Hi again')).code).toBe('SESSION_BUSY')
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
    for (const use of uses) expect(thrown(use).code).toBe('ENGINE_CLOSED')
    await other.close()
  })

  it('happens by itself with `await using`', async () => {
    const other = await Engine.load({ model: 'stories' })
    await other[Symbol.asyncDispose]()
    expect(thrown(() => other.generate({ prompt: 'x' })).code).toBe('ENGINE_CLOSED')
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
