/** A generation against a fake host: endings, backpressure, errors. */
import { describe, expect, it } from 'vitest'
import { CallSite } from '../lib/base/call-site.ts'
import type { GenerationPart, GenerationSetup } from '../lib/generation.ts'
import { RunningGeneration } from '../lib/generation.ts'
import type { FinishReason, StepPart } from '../lib/host/wire/protocol.ts'
import { pauseTokens } from '../lib/part-queue.ts'
import { expectNothingUnhandled, tick } from './unhandled.ts'

const timings = {
  queueMs: 1,
  prefillMs: 2,
  firstTokenMs: 3,
  totalMs: 4,
  tokensPerSecond: 5,
  interTokenMs: { p50: 1, p99: 2 },
  preemptions: 0,
}

/** Sends parts, and records what the generation asks for. A cancel is answered with an end, as the host does. */
class FakeHost {
  readonly asked: string[] = []
  readonly generation: RunningGeneration
  #next = 0

  constructor(setup: Partial<GenerationSetup> = {}, attach = true) {
    this.generation = new RunningGeneration({
      site: new CallSite(FakeHost),
      seed: 9,
      askedAtMs: 0,
      now: () => 7,
      ...setup,
    })
    if (attach && !this.generation.ended) this.attach()
  }

  attach(): void {
    const ask = (what: string) => () => {
      this.asked.push(what)
      if (what === 'cancel') setImmediate(() => this.end('cancelled', '!'))
    }
    this.generation.attach({ cancel: ask('cancel'), pause: ask('pause'), resume: ask('resume') }, 11)
  }

  send(count = 1): void {
    for (let i = 0; i < count; i++) this.part({ text: `t${this.#next} `, tokens: [this.#next++] })
  }

  end(reason: FinishReason = 'stop', text = ''): void {
    this.part({ text, tokens: [], end: { reason, cachedTokens: 4, generatedTokens: this.#next, timings } })
  }

  part(part: Omit<StepPart, 'id'>): void {
    this.generation.part({ id: 1, ...part })
  }
}

async function collect(host: FakeHost): Promise<GenerationPart[]> {
  const parts: GenerationPart[] = []
  for await (const part of host.generation) parts.push(part)
  return parts
}

const thrower = (error: Error) => () => {
  throw error
}

describe('endings', () => {
  expectNothingUnhandled()

  it('the iterator yields every part, whether they came before or after it was read', async () => {
    const host = new FakeHost()
    host.send(2)
    const reading = collect(host)
    await tick()
    host.send(1)
    host.end()
    expect((await reading).map((part) => part.text)).toEqual(['t0 ', 't1 ', 't2 '])
  })

  it('awaiting only the result drains', async () => {
    const host = new FakeHost()
    host.send(500)
    host.end('length', 'tail')
    const result = await host.generation.result
    expect(result).toMatchObject({ finishReason: 'length', seed: 9, timings })
    expect(result.usage).toEqual({ promptTokens: 11, cachedTokens: 4, completionTokens: 500 })
    expect(result.text.endsWith('t499 tail')).toBe(true)
    expect(host.asked).toEqual([])
  })

  it('parts joined equal the result, also what is released at the end', async () => {
    const host = new FakeHost()
    const reading = collect(host)
    host.send(3)
    host.end('stop', 'held back')
    expect((await reading).map((part) => part.text).join('')).toBe((await host.generation.result).text)
  })

  it('leaving the loop cancels and keeps the partial text', async () => {
    const host = new FakeHost()
    host.send(3)
    for await (const part of host.generation) if (part.tokens[0] === 1) break
    expect(host.generation.ended).toBe(true)
    expect(await host.generation.result).toMatchObject({
      finishReason: 'cancelled',
      text: 't0 t1 t2 !',
      tokens: [0, 1, 2],
    })
    expect(host.asked).toEqual(['cancel'])
  })

  it('a reader that left gets nothing more; what was on its way belongs to the result', async () => {
    const host = new FakeHost()
    host.send(2)
    const iterator = host.generation[Symbol.asyncIterator]()
    await iterator.next()
    const left = iterator.return!()
    host.send(2)
    await left
    expect(await iterator.next()).toEqual({ done: true, value: undefined })
    expect((await host.generation.result).tokens).toEqual([0, 1, 2, 3])
  })

  it('cancel() resolves the result and ends the iterator; calling it again does nothing', async () => {
    const host = new FakeHost()
    const reading = collect(host)
    host.send(1)
    host.generation.cancel()
    host.generation.cancel()
    expect((await host.generation.result).finishReason).toBe('cancelled')
    expect((await reading).length).toBe(2)
    host.generation.cancel()
    expect(host.asked).toEqual(['cancel'])
  })

  it('read() gives every part at once, then the result', async () => {
    const host = new FakeHost()
    const texts: string[] = []
    host.send(1)
    const reading = host.generation.read(({ text }) => void texts.push(text))
    expect(texts).toEqual(['t0 '])
    host.send(2)
    expect(texts).toEqual(['t0 ', 't1 ', 't2 '])
    host.end('length', 'tail')
    expect(await reading).toBe(await host.generation.result)
    expect(texts.at(-1)).toBe('tail')
  })

  it('read() waits for a promise before the next part; what piles up pauses, and is given in order', async () => {
    const host = new FakeHost()
    const texts: string[] = []
    let go = () => {}
    const reading = host.generation.read(({ text }) => {
      texts.push(text)
      return texts.length > 1 ? undefined : new Promise<void>((resolve) => (go = resolve))
    })
    host.send(pauseTokens + 2)
    expect([texts, host.asked]).toEqual([['t0 '], ['pause']])
    go()
    await tick()
    expect(host.asked).toEqual(['pause', 'resume'])
    host.send(1)
    host.end()
    expect((await reading).text).toBe(texts.join(''))
    expect(texts.length).toBe(pauseTokens + 3)
  })

  it('read() ends with what its function throws or rejects with, and cancels', async () => {
    for (const fail of [() => Promise.reject(new Error('enough')), thrower(new Error('enough'))]) {
      const host = new FakeHost()
      const reading = host.generation.read(fail)
      host.send(3)
      await expect(reading).rejects.toThrow('enough')
      expect((await host.generation.result).finishReason).toBe('cancelled')
      expect(host.asked).toEqual(['cancel'])
    }
  })

  it('read() rejects as the result does, behind the parts that came before', async () => {
    const host = new FakeHost()
    const texts: string[] = []
    const reading = host.generation.read(({ text }) => void texts.push(text))
    host.send(1)
    host.part({ text: '', tokens: [], end: { error: { code: 'ENGINE_FAILED', message: 'broken', details: {} } } })
    await expect(reading).rejects.toMatchObject({ code: 'ENGINE_FAILED' })
    expect(texts).toEqual(['t0 '])
  })

  it('cancel() before the request was posted ends it at once, and nothing is posted', async () => {
    const host = new FakeHost({}, false)
    host.generation.cancel()
    expect(host.generation.ended).toBe(true)
    expect(await host.generation.result).toMatchObject({ text: '', finishReason: 'cancelled' })
    expect(await collect(host)).toEqual([])
  })

  it('an end that was on its way wins over a cancel', async () => {
    const host = new FakeHost()
    host.generation.cancel()
    host.end('stop')
    expect((await host.generation.result).finishReason).toBe('stop')
    await tick()
  })

  it('an aborted signal rejects iterator and result with its reason untouched', async () => {
    for (const reason of [new Error('mine'), 'a string', 0, null]) {
      const abort = new AbortController()
      const host = new FakeHost({ signal: abort.signal })
      const reading = collect(host)
      host.send(2)
      await tick()
      abort.abort(reason)
      expect(await reading.catch((error) => ({ error }))).toEqual({ error: reason })
      expect(await host.generation.result.catch((error) => ({ error }))).toEqual({ error: reason })
      expect(host.asked).toEqual(['cancel'])
      expect(host.generation.partial).toEqual({ text: 't0 t1 ', tokens: [0, 1] })
    }
  })

  it('an abort after the end changes nothing', async () => {
    const abort = new AbortController()
    const host = new FakeHost({ signal: abort.signal })
    host.end()
    abort.abort()
    expect((await host.generation.result).finishReason).toBe('stop')
    expect(host.asked).toEqual([])
  })

  it('a signal that is aborted already rejects without asking the host', async () => {
    const host = new FakeHost({ signal: AbortSignal.abort('early') })
    await expect(host.generation.result).rejects.toBe('early')
    await expect(collect(host)).rejects.toBe('early')
    expect(host.asked).toEqual([])
  })

  it('a failure comes after the parts before it, with the code and the stack of the call', async () => {
    const host = new FakeHost()
    host.send(2)
    host.generation.fail({ code: 'ENGINE_FAILED', message: 'gone', details: { device: 1 } })
    const parts: GenerationPart[] = []
    const reading = async () => {
      for await (const part of host.generation) parts.push(part)
    }
    await expect(reading()).rejects.toMatchObject({ code: 'ENGINE_FAILED', details: { device: 1 }, retryable: true })
    expect(parts.length).toBe(2)
    const error = await host.generation.result.catch((e) => e)
    expect(error.stack).toContain('generation.test.ts')
    expect(error.stack).not.toContain('lib/generation.ts')
  })

  it('reading only the iterator of a generation that fails leaves no unhandled rejection, nor does reading nothing', async () => {
    const read = new FakeHost()
    const reading = collect(read)
    read.generation.fail({ code: 'NUMERIC_ERROR', message: 'x', details: {} })
    await expect(reading).rejects.toMatchObject({ code: 'NUMERIC_ERROR' })
    new FakeHost().generation.fail({ code: 'NUMERIC_ERROR', message: 'x', details: {} })
    await tick()
  })

  it('a second iterator after the end finds nothing', async () => {
    const host = new FakeHost()
    host.send(1)
    host.end()
    expect((await collect(host)).length).toBe(1)
    expect(await collect(host)).toEqual([])
  })

  it('onEnd comes before the result settles, once', async () => {
    const order: string[] = []
    const host = new FakeHost({ onEnd: (result) => order.push(result?.finishReason ?? 'failed') })
    const settled = host.generation.result.then(() => order.push('settled'))
    host.end()
    host.generation.fail({ code: 'ENGINE_CLOSED', message: 'x', details: {} })
    await settled
    expect(order).toEqual(['stop', 'settled'])
  })
})

describe('backpressure', () => {
  it('does not begin before the first next()', () => {
    const host = new FakeHost()
    host.send(pauseTokens * 10)
    expect(host.asked).toEqual([])
  })

  it('pauses when tokens pile up unread, and goes on when they were read', async () => {
    const host = new FakeHost()
    const iterator = host.generation[Symbol.asyncIterator]()
    const first = iterator.next()
    host.send(1 + pauseTokens)
    expect(host.asked).toEqual([])
    host.send(20)
    expect(host.asked).toEqual(['pause'])
    await first
    while (host.asked.length === 1) await iterator.next()
    expect(host.asked).toEqual(['pause', 'resume'])
    host.send(1)
    host.end()
    let count = 0
    while (!(await iterator.next()).done) count++
    expect(count).toBeGreaterThan(1)
    expect((await host.generation.result).tokens.length).toBe(pauseTokens + 22)
  })

  it('counts tokens, however many come in a part', async () => {
    const host = new FakeHost()
    const iterator = host.generation[Symbol.asyncIterator]()
    const first = iterator.next()
    const part = { text: 'x', tokens: Array(pauseTokens / 4).fill(1) }
    for (let i = 0; i < 1 + 4; i++) host.part(part)
    expect(host.asked).toEqual([])
    host.part(part)
    expect(host.asked).toEqual(['pause'])
    await first
    for (let i = 0; i < 3; i++) await iterator.next()
    expect(host.asked).toEqual(['pause'])
    await iterator.next()
    expect(host.asked).toEqual(['pause', 'resume'])
  })

  it('does not pause what was cancelled: its end must come', async () => {
    const host = new FakeHost()
    const iterator = host.generation[Symbol.asyncIterator]()
    const first = iterator.next()
    host.send(1 + pauseTokens)
    host.generation.cancel()
    host.send(5)
    await first
    expect((await host.generation.result).finishReason).toBe('cancelled')
    expect(host.asked).toEqual(['cancel'])
  })

  it('never pauses a reader that keeps up', async () => {
    const host = new FakeHost()
    const reading = collect(host)
    for (let i = 0; i < 100; i++) {
      host.send(3)
      await tick()
    }
    host.end()
    expect((await reading).length).toBe(300)
    expect(host.asked).toEqual([])
  })
})
