/** Every way in which a request can end. */
import type { GenerationResult } from 'octavo'
import { Engine } from 'octavo'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { collect, expectIdle } from './embedded-engine.ts'
import { expectNothingUnhandled, tick } from './unhandled.ts'

let engine: Engine
beforeAll(async () => {
  engine = await Engine.load({ model: 'stories' })
})
afterAll(() => engine.close())
expectNothingUnhandled()

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
    expectIdle(engine)
  })

  it('the loop is left by a throw', async () => {
    const generation = engine.generate(long)
    const loop = async () => {
      for await (const _ of generation) throw new Error('mine')
    }
    await expect(loop()).rejects.toThrow('mine')
    cancelled(await generation.result)
    expectIdle(engine)
  })

  it('it is cancelled: queued, prefilling, decoding', async () => {
    for (const delay of [0, 1, 3, 10]) {
      const generation = engine.generate({ ...long, prompt: Array(600).fill(7), maxTokens: 160 })
      await new Promise((resolve) => setTimeout(resolve, delay))
      generation.cancel()
      const result = await generation.result
      expect(result.text).toBe(generation.partial.text)
      expect(result.tokens).toEqual(generation.partial.tokens)
      expectIdle(engine)
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
    let read = 1
    for (let next = await iterator.next(); !next.done; next = await iterator.next()) read += next.value.tokens.length
    expect((await slow.result).tokens.length).toBe(700)
    expect(read).toBe(700)
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
    expectIdle(engine)
  }, 60_000)
})
