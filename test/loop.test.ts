/** The engine thread's loop against a fake native engine and a port that is two arrays. */
import { describe, expect, it } from 'vitest'
import { greedySampling } from '../lib/base/native.ts'
import { HostLoop } from '../lib/host/loop.ts'
import type { TokenBytes } from '../lib/host/output/detokenizer.ts'
import { unpackStats } from '../lib/host/record/stats.ts'
import { unpackParts } from '../lib/host/wire/plain-parts.ts'
import type { FromHost, RequestEnd, RequestSpec, SamplingSpec, ToHost } from '../lib/host/wire/protocol.ts'
import { controlIndex } from '../lib/host/wire/protocol.ts'
import { FakeNativeEngine, type FakeOptions, nextToken, policy } from './fake-native.ts'

const vocabulary = 26
const eos = 25

/** Token t is the letter 'a' + t, followed by a space for every fifth. */
const words = Array.from({ length: vocabulary }, (_, t) => String.fromCharCode(97 + t) + (t % 5 === 0 ? ' ' : ''))

function tokenBytes(): TokenBytes {
  const bytes = new TextEncoder().encode(words.join(''))
  const offsets = new Uint32Array(vocabulary + 1)
  for (const [t, word] of words.entries()) offsets[t + 1] = offsets[t]! + word.length
  return { bytes, offsets }
}

const sampling: SamplingSpec = { ...greedySampling, temperature: 1 }

const request = (id: number, tokens: number[], maxTokens: number, more: Partial<RequestSpec> = {}): ToHost => {
  const base = {
    id,
    mode: 'generate',
    maxTokens,
    stop: [],
    ignoreEos: false,
    sampling,
    salt: '',
    askedAtMs: 0,
  } as const
  return { type: 'request', request: { ...base, stop: [], tokens: Int32Array.from(tokens), ...more } }
}

const cancel = (id: number): ToHost => ({ type: 'cancel', id })

/** What the fake model says after a prompt, until the end-of-text token. */
function answer(tokens: number[], length: number, ignoreEos = false): number[] {
  const all = [...tokens]
  while (all.length < tokens.length + length) {
    const token = nextToken(all, 1, vocabulary)
    if (token === eos && !ignoreEos) break
    all.push(token)
  }
  return all.slice(tokens.length)
}

class Host {
  readonly inbox: ToHost[] = []
  readonly posted: FromHost[] = []
  readonly engine: FakeNativeEngine
  readonly loop: HostLoop
  readonly control = new Int32Array(new SharedArrayBuffer(8))
  released = 0
  wakeAt = Number.POSITIVE_INFINITY
  clock = 0

  constructor(options: Partial<FakeOptions> = {}, stepTokens = 32, eosIds = [eos]) {
    this.engine = new FakeNativeEngine({ kvBlocks: 64, prefixCache: true, vocabulary, ...options })
    const port = {
      receive: () => this.inbox.shift(),
      // As the other end reads them.
      post: (message: FromHost) =>
        void this.posted.push(message.type === 'step' ? { ...message, parts: unpackParts(message) } : message),
      wakeAt: (ms: number) => {
        this.wakeAt = ms
      },
    }
    this.loop = new HostLoop(port, this.engine, {
      ...{ stepTokens, maxSequences: 16, prefixCache: true, contextTokens: 400, control: this.control, policy },
      ...{ now: () => ++this.clock, release: () => this.released++ },
    })
    this.loop.run({ type: 'vocabulary', vocabulary: { tokenBytes: tokenBytes(), eosIds } })
  }

  send(...messages: ToHost[]): void {
    this.inbox.push(...messages)
    this.loop.run()
  }

  output(id: number): { text: string; tokens: number[]; end: RequestEnd | undefined } {
    const parts = this.posted.flatMap((m) => (m.type === 'step' ? m.parts.filter((part) => part.id === id) : []))
    const ends = parts.filter((part) => part.end !== undefined)
    expect(ends.length).toBeLessThan(2)
    if (ends.length === 1) expect(parts.at(-1)).toBe(ends[0])
    return { text: parts.map((p) => p.text).join(''), tokens: parts.flatMap((p) => p.tokens), end: ends[0]?.end }
  }

  get idleBlocks(): number {
    const { freeBlocks, cachedBlocks } = this.loop.stats().kv
    return freeBlocks + cachedBlocks
  }
}

const text = (tokens: number[]) => tokens.map((t) => words[t]).join('')

describe('loop', () => {
  it('ends a request whose parameters the engine refuses, and only that one', () => {
    const host = new Host()
    const bad = request(2, [4, 5], 20, { sampling: { ...sampling, temperature: -1 } })
    host.send(request(1, [1, 2, 3], 20), bad)
    expect(host.output(2).end).toMatchObject({ error: { code: 'INVALID_ARGUMENT' } })
    expect(host.output(1).tokens).toEqual(answer([1, 2, 3], 20))
    expect(host.idleBlocks).toBe(64)
    host.send(bad)
    expect(host.idleBlocks).toBe(64)
  })

  it('returns at once without work, and posts nothing', () => {
    const host = new Host()
    host.send()
    expect(host.posted).toEqual([])
  })

  it('streams a request: one message a step, texts joined are the text, then it is idle', () => {
    const host = new Host()
    host.send(request(1, [1, 2, 3], 20))
    const tokens = answer([1, 2, 3], 20)
    expect(host.output(1)).toMatchObject({ tokens, text: text(tokens) })
    expect(host.posted.length).toBe(host.engine.stepSizes.length)
    expect(host.idleBlocks).toBe(64)
    const last = host.posted.at(-1) as Extract<FromHost, { type: 'step' }>
    expect(unpackStats(last.stats!)).toMatchObject({ requests: { running: 0, waiting: 0 }, promptTokens: 3 })
  })

  it('ends at the end-of-text token, which is in neither tokens nor text, unless it is ignored', () => {
    const prompt = Array.from({ length: 100 }, (_, i) => [i % 7, 3, i % 5]).find((p) => answer(p, 40).length < 40)!
    const host = new Host()
    host.send(request(1, prompt, 40), request(2, prompt, 40, { ignoreEos: true }))
    expect(host.output(1)).toMatchObject({ tokens: answer(prompt, 40), end: { reason: 'stop' } })
    expect(host.output(2)).toMatchObject({ tokens: answer(prompt, 40, true), end: { reason: 'length' } })
  })

  it('ends at whichever of several end tokens comes first', () => {
    const whole = answer([1, 2, 3], 40, true)
    const [first, second] = [whole[9]!, whole[4]!]
    const host = new Host({}, 32, [first, second])
    host.send(request(1, [1, 2, 3], 40))
    const end = whole.findIndex((token) => token === first || token === second)
    expect(host.output(1)).toMatchObject({ tokens: whole.slice(0, end), end: { reason: 'stop' } })
    expect(host.idleBlocks).toBe(64)
  })

  it('ends before a stop string across token borders, and releases what only looked like one', () => {
    const prompt = Array.from({ length: 100 }, (_, i) => [i % 7, 4, i % 5]).find((p) => answer(p, 30).length === 30)!
    const whole = text(answer(prompt, 30))
    const stop = whole.slice(3, 7)
    const host = new Host()
    host.send(
      request(1, prompt, 30, { stop: ['never!', stop] }),
      request(2, prompt, 5, { stop: [`${whole.slice(2, 6)}!`] }),
    )
    expect(host.output(1)).toMatchObject({ text: whole.slice(0, whole.indexOf(stop)), end: { reason: 'stop' } })
    expect(host.output(2).text).toBe(text(answer(prompt, 5)))
  })

  it('goes on with the exact rest wherever a host before it stopped, without saying anything twice', () => {
    const prompt = Array.from({ length: 100 }, (_, i) => [i % 7, 4, i % 5]).find((p) => answer(p, 30).length === 30)!
    const whole = text(answer(prompt, 30))
    for (const stop of [[], [`${whole.slice(2, 9)}!`], [whole.slice(20, 24)]]) {
      const undisturbed = new Host()
      undisturbed.send(request(1, prompt, 30, { stop }))
      const parts = undisturbed.posted.flatMap((m) => (m.type === 'step' ? m.parts : []))
      for (let n = 1; n < parts.length; n++) {
        const before = parts.slice(0, n)
        const tokens = Int32Array.from(before.flatMap((part) => part.tokens))
        const told = before.reduce((sum, part) => sum + part.text.length, 0)
        const host = new Host()
        host.send(
          request(1, prompt, 30, { stop, resumed: { tokens, text: told, reasoning: 0, calls: 0, firstTokenAtMs: 1 } }),
        )
        const rest = parts.slice(n)
        expect(host.output(1)).toMatchObject({
          text: rest.map((part) => part.text).join(''),
          tokens: rest.flatMap((part) => part.tokens),
          end: { reason: stop[0] === whole.slice(20, 24) ? 'stop' : 'length' },
        })
        expect(host.idleBlocks).toBe(64)
      }
    }
  })

  it('reports log-probabilities of each token and the most likely ones', () => {
    const host = new Host()
    host.send(request(1, [5], 3, { sampling: { ...sampling, logprobs: 2 } }))
    const logprobs = host.posted.flatMap((m) =>
      m.type === 'step' ? m.parts.flatMap((part) => part.logprobs ?? []) : [],
    )
    expect(logprobs.map((l) => l.token)).toEqual(host.output(1).tokens)
    for (const entry of logprobs) expect(entry.top.length).toBe(2)
  })

  it('batches requests that arrive while others run, and each gives what it gives alone', () => {
    const prompts = Array.from({ length: 10 }, (_, i) => Array.from({ length: 1 + 7 * i }, (_, j) => (i + j * j) % 20))
    const host: Host = new Host({
      onWait: () => {
        if (prompts.length > next) host.inbox.push(request(next, prompts[next++]!, 30))
        return false
      },
    })
    let next = 1
    host.send(request(0, prompts[0]!, 30))
    for (const [i, prompt] of prompts.entries()) expect(host.output(i).tokens).toEqual(answer(prompt, 30))
    expect(host.engine.stepSizes.length).toBeLessThan(60)
  })

  it('answers a cancel before the next step, with the partial text, and frees its blocks', () => {
    const host: Host = new Host({
      onWait: () => {
        if (host.engine.stepSizes.length === 4) host.inbox.push(cancel(1))
        return false
      },
    })
    host.send(request(1, [1, 2], 300, { ignoreEos: true }))
    const { tokens, end } = host.output(1)
    expect(end).toMatchObject({ reason: 'cancelled' })
    expect(tokens).toEqual(answer([1, 2], 5, true))
    expect(host.idleBlocks).toBe(64)
  })

  it('plans a step again that was discarded, and stops computing when it is told to halt', () => {
    let waits = 0
    const host: Host = new Host({ onWait: () => ++waits % 2 === 0 })
    host.send(request(1, [3, 1], 6, { ignoreEos: true }))
    expect(host.output(1).tokens).toEqual(answer([3, 1], 6, true))
    Atomics.store(host.control, controlIndex.halt, 1)
    const before = waits
    host.send(request(2, [3, 1], 6))
    expect(waits).toBe(before)
  })

  it('offers a discarded step to no further cancel, so that everybody gets on while others cancel all the time', () => {
    const offered: number[] = []
    const host: Host = new Host({
      onWait: () => {
        offered.push(Atomics.load(host.control, controlIndex.stepTokens))
        return offered.at(-1)! > 0
      },
    })
    host.send(request(1, [1, 2, 3], 3))
    expect(host.output(1).tokens).toEqual(answer([1, 2, 3], 3))
    expect(offered).toEqual([3, 0, 1, 0, 1, 0])
  })

  it('skips a paused request without a spin, and goes on when it is resumed', () => {
    const host = new Host()
    host.send(request(1, [2, 2], 10, { ignoreEos: true }), { type: 'pause', id: 1 })
    // Statistics say so, once.
    const [told, ...more] = host.posted as Extract<FromHost, { type: 'step' }>[]
    expect([told?.parts, unpackStats(told!.stats!).requests, more]).toEqual([
      [],
      { running: 0, waiting: 1, paused: 1 },
      [],
    ])
    host.send({ type: 'resume', id: 1 })
    expect(host.output(1).tokens).toEqual(answer([2, 2], 10, true))
  })

  it('ignores messages about requests that ended', () => {
    const host = new Host()
    host.send(request(1, [2, 2], 3))
    const posted = host.posted.length
    host.send(cancel(1), { type: 'pause', id: 1 }, { type: 'resume', id: 1 }, cancel(7))
    expect(host.posted.length).toBe(posted)
  })

  it('closes in the middle of work: everything freed once, nothing posted after `closed`', () => {
    const host: Host = new Host({
      onWait: () => {
        if (host.engine.stepSizes.length === 3) host.inbox.push({ type: 'close' }, request(2, [1], 5))
        return false
      },
    })
    host.send(request(1, [1, 2], 300, { ignoreEos: true }))
    expect(host.posted.at(-1)).toEqual({ type: 'closed' })
    expect([host.released, host.idleBlocks, host.loop.closed]).toEqual([1, 64, true])
  })

  it('reports a broken engine as ENGINE_FAILED, once, and frees it', () => {
    const host = new Host({
      onWait: () => {
        throw Object.assign(new Error('the device fell off'), { code: 'ENGINE_FAILED', details: { device: 0 } })
      },
    })
    host.send(request(1, [1, 2], 3))
    expect(host.posted).toEqual([
      { type: 'failed', error: { code: 'ENGINE_FAILED', message: 'the device fell off', details: { device: 0 } } },
    ])
    expect([host.released, host.loop.closed]).toEqual([1, true])
  })

  it('tells the main thread how large the step in flight is', () => {
    const seen: number[] = []
    const host: Host = new Host({
      onWait: () => {
        seen.push(host.control[controlIndex.stepTokens]!)
        return false
      },
    })
    host.send(request(1, Array(50).fill(1), 2, { ignoreEos: true }))
    expect(seen).toEqual([32, 18, 1])
    expect(host.control[controlIndex.stepTokens]).toBe(0)
  })
})

describe('two steps in flight', () => {
  const prompts = [1, 2, 3, 4, 5].map((id) => Array.from({ length: 30 * id }, (_, i) => (i * id) % 24))
  /** Requests that come while others are computed. */
  const hostOf = (ms: number, options: Partial<FakeOptions> = {}): Host => {
    let waits = 0
    const host: Host = new Host({
      stepsAhead: 2,
      stepMs: () => ms,
      ...options,
      onWait: (engine) => {
        host.clock += ms
        if (++waits % 3 === 0 && waits < 16) host.inbox.push(request(waits / 3, prompts[waits / 3 - 1]!, 60))
        return options.onWait?.(engine) ?? false
      },
    })
    return host
  }
  const check = (host: Host) => {
    for (const [i, prompt] of prompts.entries()) expect(host.output(i + 1).tokens).toEqual(answer(prompt, 60))
    expect(host.idleBlocks).toBe(64)
  }

  it('has the next step submitted before it waits, with tokens that are not drawn yet', () => {
    const host = hostOf(30)
    host.send(request(9, [1, 2, 3], 100, { ignoreEos: true }))
    check(host)
    expect(host.output(9).tokens).toEqual(answer([1, 2, 3], 100, true))
    const { stepsBehind, tokensFed, stepSizes } = host.engine
    expect([stepsBehind, tokensFed].map((n) => n > stepSizes.length * 0.8)).toEqual([true, true])
  })

  it('lets steps that only decode run on instead, where they are short', () => {
    const host = hostOf(1)
    host.send(request(9, [1, 2, 3], 100, { ignoreEos: true }))
    check(host)
    expect(host.engine.stepsBehind).toBeGreaterThan(5)
    expect(Math.max(...host.engine.runs)).toBeGreaterThan(5)
  })

  it('plans both anew when one was discarded', () => {
    let waits = 0
    const host = hostOf(30, { onWait: () => ++waits % 5 === 0 })
    host.send(request(9, [1, 2, 3], 100, { ignoreEos: true }))
    check(host)
    expect(host.output(9).tokens).toEqual(answer([1, 2, 3], 100, true))
  })

  it('plans nothing ahead while a grammar has to see each token: else its request would be in every other step', () => {
    const host = new Host({ stepsAhead: 2, stepMs: () => 30 })
    const grammar = { key: 'any', program: new Int32Array(1), dropSpace: false }
    const prompts = [
      [1, 2, 3],
      [4, 5],
    ]
    const long = { ignoreEos: true }
    host.send(
      request(1, prompts[0]!, 20, { ...long, sampling: { ...sampling, grammar } }),
      request(2, prompts[1]!, 60, long),
    )
    expect(host.output(1).tokens).toEqual(answer(prompts[0]!, 20, true))
    expect(host.output(2).tokens).toEqual(answer(prompts[1]!, 60, true))
    expect(host.engine.stepSizes.slice(1, 20)).toEqual(Array(19).fill(2))
    // The other one alone after that.
    expect([host.engine.stepSizes.length, host.engine.stepsBehind]).toEqual([60, 39])
  })

  it('tells of a broken engine once, and gives everything back', () => {
    let waits = 0
    const host = hostOf(30, {
      onWait: () => {
        if (++waits < 8) return false
        throw Object.assign(new Error('the device fell off'), { code: 'ENGINE_FAILED', details: {} })
      },
    })
    host.send(request(9, [1, 2, 3], 100))
    expect(host.posted.filter(({ type }) => type === 'failed')).toEqual([
      { type: 'failed', error: { code: 'ENGINE_FAILED', message: 'the device fell off', details: {} } },
    ])
    expect([host.released, host.loop.closed, host.engine.stepsBehind > 0]).toEqual([1, true, true])
  })
})

describe('runs of short steps', () => {
  /** A fake whose steps take `ms` of the host's clock too, and a host that has seen enough steps to know that. */
  const hostOf = (ms: number, options: Partial<FakeOptions> = {}, eosIds = [eos]): Host => {
    const stepped = {
      stepMs: () => ms,
      onWait: (engine: FakeNativeEngine) => {
        host.clock += ms
        return options.onWait?.(engine) ?? false
      },
    }
    const host: Host = new Host({ ...options, ...stepped }, 32, eosIds)
    return host
  }
  const parts = (host: Host, id: number) =>
    host.posted.flatMap((m) => (m.type === 'step' ? m.parts.filter((part) => part.id === id) : []))
  const lastStats = (host: Host) =>
    unpackStats((host.posted.findLast((m) => m.type === 'step') as Extract<FromHost, { type: 'step' }>).stats!)
  const long = { ignoreEos: true }

  it('tells the first token at once, then what each run brought in one part, whole and in order', () => {
    const host = hostOf(2.3, {}, [])
    host.send(request(1, [1, 2, 3], 100, long))
    const tokens = answer([1, 2, 3], 100, true)
    expect(host.output(1)).toMatchObject({ tokens, text: text(tokens), end: { reason: 'length' } })
    const sizes = parts(host, 1).map((part) => part.tokens.length)
    expect(sizes[0]).toBe(1)
    // After some steps their cost is known: six take 13.8 ms, seven would take 16.1.
    expect(new Set(sizes.slice(5, -1))).toEqual(new Set([6]))
    expect(host.posted.length).toBe(host.engine.runs.length)
    expect(lastStats(host)).toMatchObject({
      steps: 100,
      generatedTokens: 100,
      promptTokens: 3,
      requests: { running: 0 },
    })
    expect(host.idleBlocks).toBe(64)
  })

  it('are single steps where these take long', () => {
    const host = hostOf(8.5)
    host.send(request(1, [1, 2, 3], 50, long))
    expect(new Set(host.engine.runs)).toEqual(new Set([1]))
    expect(parts(host, 1).length).toBe(50)
  })

  it('end at the end-of-text token, and give what each request gives alone', () => {
    const prompts = Array.from({ length: 6 }, (_, i) => [i, 3 * i, 7])
    const host = hostOf(1)
    host.send(...prompts.map((prompt, i) => request(i, prompt, 60)))
    for (const [i, prompt] of prompts.entries()) expect(host.output(i).tokens).toEqual(answer(prompt, 60))
    expect(Math.max(...host.engine.runs)).toBeGreaterThan(4)
    expect(host.idleBlocks).toBe(64)
    const generated = prompts.reduce((sum, prompt) => {
      const tokens = answer(prompt, 60)
      return sum + tokens.length + (tokens.length < 60 ? 1 : 0)
    }, 0)
    expect(lastStats(host).generatedTokens).toBe(generated)
  })

  it('end at the stop tokens of requests that are open, as at an end-of-text token, and at no others', () => {
    const whole = answer([1, 2, 3], 60, true)
    const at = 40 + whole.slice(40).findIndex((token, i) => token !== eos && whole.indexOf(token) === 40 + i)
    const stopTokens = [{ token: whole[at]! }]
    const host = hostOf(1)
    host.send(request(1, [1, 2, 3], 60, { ignoreEos: true, stopTokens }))
    expect(host.output(1)).toMatchObject({ tokens: whole.slice(0, at), end: { reason: 'stop', stop: stopTokens[0] } })
    // Nothing was computed past it.
    expect(host.engine.runs.reduce((sum, steps) => sum + steps, 0)).toBe(at + 1)
    expect(Math.max(...host.engine.runs)).toBeGreaterThan(4)
    expect(lastStats(host).generatedTokens).toBe(at + 1)
    expect(host.idleBlocks).toBe(64)
    const before = host.engine.runs.length
    host.send(request(2, [1, 2, 3], 60, { ignoreEos: true }))
    expect(host.output(2).tokens).toEqual(whole)
    const unstopped = hostOf(1)
    unstopped.send(request(2, [1, 2, 3], 60, { ignoreEos: true }))
    expect(host.engine.runs.slice(before).length).toBeLessThanOrEqual(unstopped.engine.runs.length)
  })

  it('say nothing of what was computed beyond a stop string', () => {
    const prompt = Array.from({ length: 100 }, (_, i) => [i % 7, 4, i % 5]).find((p) => answer(p, 40).length === 40)!
    const whole = text(answer(prompt, 40))
    for (let at = 20; at < 30; at++) {
      const stop = whole.slice(at, at + 4)
      const host = hostOf(1)
      host.send(request(1, prompt, 40, { stop: [stop] }), request(2, [5], 60, long))
      expect(host.output(1)).toMatchObject({ text: whole.slice(0, whole.indexOf(stop)), end: { reason: 'stop' } })
      expect(host.output(2).tokens).toEqual(answer([5], 60, true))
      expect(host.idleBlocks).toBe(64)
    }
  })

  it('end after the step in which a message comes', () => {
    let steps = 0
    const host = hostOf(1, {
      onWait: (engine) => {
        if (++steps === 40) {
          host.inbox.push(request(2, [4], 3, long))
          engine.nudge()
        }
        return false
      },
    })
    host.send(request(1, [1, 2], 120, long))
    let before = 0
    const at = host.engine.runs.findIndex((run) => {
      before += run
      return before >= 40
    })
    expect(before).toBe(40)
    // Its prompt is in the next step, alone and with an answer at once.
    expect(host.engine.runs[at + 1]).toBe(1)
    expect(parts(host, 2)[0]!.tokens.length).toBe(1)
    expect(host.output(2).tokens).toEqual(answer([4], 3, true))
    expect(host.output(1).tokens).toEqual(answer([1, 2], 120, true))
  })

  it('keep what came before an interrupt', () => {
    let steps = 0
    const host = hostOf(1, { onWait: () => ++steps % 7 === 0 })
    host.send(request(1, [1, 2], 120, long))
    expect(host.output(1).tokens).toEqual(answer([1, 2], 120, true))
    expect(lastStats(host)).toMatchObject({ steps: 120, generatedTokens: 120 })
  })

  it('take no blocks from others: a full pool makes single steps', () => {
    const prompts = Array.from({ length: 8 }, (_, i) => [i, 2, 3])
    const host = hostOf(1, { kvBlocks: 25 })
    host.send(...prompts.map((prompt, i) => request(i, prompt, 60, long)))
    for (const [i, prompt] of prompts.entries()) expect(host.output(i).tokens).toEqual(answer(prompt, 60, true))
    expect(host.idleBlocks).toBe(25)
  })

  it('tell statistics now and then, and exact ones with every end', () => {
    const host = hostOf(2)
    host.send(request(1, [1, 2], 30, long), request(2, [3], 100, long))
    const steps = host.posted.filter((m) => m.type === 'step')
    const told = steps.filter((m) => m.stats !== undefined)
    // 200 ms, and the host's clock goes on a little between runs.
    expect(told.length).toBeGreaterThan(8)
    expect(told.length).toBeLessThan(0.7 * steps.length)
    const ends = steps.filter((m) => m.parts.some((part) => part.end !== undefined))
    expect(ends.map((m) => unpackStats(m.stats!))).toMatchObject([
      { generatedTokens: 60, requests: { running: 1 } },
      { generatedTokens: 130, requests: { running: 0 } },
    ])
  })

  // Of 30 ms each step tells statistics by itself.
  it.each([2, 30])('leave no statistics untold when everybody is paused (steps of %i ms)', (ms) => {
    let steps = 0
    const host = hostOf(ms, {
      onWait: () => {
        if (++steps === 3) host.inbox.push({ type: 'pause', id: 1 })
        return false
      },
    })
    host.send(request(1, [1, 2], 100, long))
    expect(lastStats(host)).toMatchObject({ generatedTokens: 3, requests: { running: 1, paused: 1 } })
  })

  it('count the time between tokens by the steps that drew them', () => {
    const host = hostOf(2)
    host.send(request(1, [1, 2], 100, long))
    const { timings } = host.output(1).end as Extract<RequestEnd, { timings: unknown }>
    expect(timings.interTokenMs.p50).toBeCloseTo(2, 6)
    // The host's clock goes on by a few readings between two runs.
    expect(timings.interTokenMs.p99).toBeLessThan(8)
  })
})
