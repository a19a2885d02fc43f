/** The main thread's end of the wire against a fake host: routing, keeping the process alive, death, closing. */
import { describe, expect, it } from 'vitest'
import type { ErrorData } from '../lib/base/errors.ts'
import type { StreamControl } from '../lib/generation.ts'
import { packStats } from '../lib/host/record/stats.ts'
import { packParts } from '../lib/host/wire/plain-parts.ts'
import type { FromHost, LoadedInfo, StepPart, ToHost } from '../lib/host/wire/protocol.ts'
import { HostClient } from '../lib/host-client.ts'

const kv = { totalBlocks: 4, freeBlocks: 4, cachedBlocks: 0 }
const counts = { steps: 0, promptTokens: 0, cachedTokens: 0, generatedTokens: 0, preemptions: 0 }
const stats = {
  ...{
    kv,
    ...counts,
    requests: { running: 0, waiting: 0, paused: 0 },
    drafts: { proposed: 0, accepted: 0, stepsSaved: 0 },
  },
  ...{
    queue: { tokens: 0, oldestMs: 0, drainMs: 0 },
    refused: { overloaded: 0, deadline: 0, consumer: 0 },
    tenants: {},
  },
}
const info = { engineId: 5, model: { name: 'm' }, contextTokens: 64, stats } as LoadedInfo
const closed: ErrorData = { code: 'ENGINE_CLOSED', message: 'closed', details: {} }

class FakeHost {
  readonly posted: ToHost[] = []
  readonly signals: string[] = []
  readonly log: string[] = []
  /** The context length that each host was started with. */
  readonly started: (number | undefined)[] = []
  now = 0
  ref = true
  send!: (message: FromHost) => void
  exit!: (error?: ErrorData) => void
  readonly client: HostClient

  constructor(loaded = true, restart = false) {
    const start = (contextTokens?: number) => {
      this.started.push(contextTokens)
      return this.wire()
    }
    this.client = new HostClient({ start, restart, now: () => this.now }, { onLog: (line) => this.log.push(line) })
    if (loaded) this.send({ type: 'loaded', info })
  }

  wire() {
    return {
      post: (message: ToHost) => void this.posted.push(message),
      setRef: (ref: boolean) => {
        this.ref = ref
      },
      onMessage: (listener: (message: FromHost) => void) => {
        this.send = listener
      },
      onExit: (listener: (error: ErrorData | undefined) => void) => {
        this.exit = (error) => listener(error)
      },
      halt: () => void this.signals.push('halt'),
      discardLongStep: () => void this.signals.push('discard'),
      abandon: () => void this.signals.push('abandon'),
    }
  }

  open(): { parts: StepPart[]; errors: ErrorData[]; control: StreamControl; id: number } {
    const parts: StepPart[] = []
    const errors: ErrorData[] = []
    const stream = {
      part: (part: StepPart) => void parts.push(part),
      fail: (error: ErrorData) => void errors.push(error),
    }
    const control = this.client.open(stream, { mode: 'generate' } as never)
    const { request } = this.posted.at(-1) as Extract<ToHost, { type: 'request' }>
    return { parts, errors, control, id: request.id }
  }

  /** As the host sends them. */
  step(...parts: StepPart[]): void {
    this.send({ type: 'step', ...packParts(parts), stats: packStats({ ...stats, steps: 7 }) })
  }

  get types(): string[] {
    return this.posted.map((message) => message.type)
  }
}

const end = { error: closed }

describe('host client', () => {
  it('parts arrive as they were sent, whatever they have', async () => {
    const host = new FakeHost()
    await host.client.loaded
    const all = Array.from({ length: 6 }, () => host.open())
    const sent: StepPart[] = all.map(({ id }, i) => ({
      id,
      text: ['', 'é', 'a b', '7'][i % 4]!,
      tokens: [7, 8, 9].slice(0, i % 4),
    }))
    Object.assign(sent[1]!, { reasoning: 'r', roles: [0] })
    Object.assign(sent[3]!, { logprobs: [] })
    Object.assign(sent[4]!, { calls: '{' })
    Object.assign(sent[5]!, { end })
    host.step(...sent)
    expect(all.flatMap(({ parts }) => parts)).toEqual(sent)
  })

  it('what came before the end comes first', async () => {
    const host = new FakeHost()
    await host.client.loaded
    const { parts, id } = host.open()
    host.step({ id, text: 'a', tokens: [1] }, { id, text: '', tokens: [], end })
    expect(parts.map(({ text }) => text)).toEqual(['a', ''])
  })

  it('routes parts by id and keeps the last statistics', async () => {
    const host = new FakeHost()
    await host.client.loaded
    const [a, b] = [host.open(), host.open()]
    host.step(
      { id: a.id, text: 'a', tokens: [1] },
      { id: b.id, text: 'b', tokens: [2] },
      { id: 99, text: 'c', tokens: [3] },
    )
    expect([a.parts.map((p) => p.text), b.parts.map((p) => p.text)]).toEqual([['a'], ['b']])
    expect(host.client.stats!.steps).toBe(7)
    host.exit()
  })

  it('keeps the process alive while loading and while somebody waits, not when idle or all are paused', () => {
    const host = new FakeHost(false)
    expect(host.ref).toBe(true)
    host.send({ type: 'loaded', info })
    expect(host.ref).toBe(false)
    const [a, b] = [host.open(), host.open()]
    expect(host.ref).toBe(true)
    host.step({ id: a.id, text: '', tokens: [], end })
    expect(host.ref).toBe(true)
    b.control.pause()
    expect(host.ref).toBe(false)
    b.control.resume()
    expect(host.ref).toBe(true)
    b.control.pause()
    host.step({ id: b.id, text: '', tokens: [], end })
    expect(host.ref).toBe(false)
    host.open()
    expect(host.ref).toBe(true)
    host.exit()
  })

  it('says nothing more about a request that ended', () => {
    const host = new FakeHost()
    const a = host.open()
    host.step({ id: a.id, text: '', tokens: [], end })
    a.control.cancel()
    a.control.pause()
    a.control.resume()
    expect(host.types).toEqual(['request'])
    host.exit()
  })

  it('asks to discard the step in flight for a cancel', () => {
    const host = new FakeHost()
    host.open().control.cancel()
    expect([host.types, host.signals]).toEqual([['request', 'cancel'], ['discard']])
    host.exit()
  })

  it('fails every stream when the host dies, and stays failed', () => {
    const host = new FakeHost()
    const [a, b] = [host.open(), host.open()]
    host.exit({ code: 'ENGINE_FAILED', message: 'out of heap', details: {} })
    for (const { errors } of [a, b]) expect(errors).toMatchObject([{ code: 'ENGINE_FAILED', message: 'out of heap' }])
    expect(host.client.failure).toMatchObject({ code: 'ENGINE_FAILED' })
    expect(host.ref).toBe(true)
  })

  it('fails every stream once when the engine breaks and the thread ends after it', () => {
    const host = new FakeHost()
    const a = host.open()
    host.send({ type: 'failed', error: { code: 'ENGINE_FAILED', message: 'device', details: {} } })
    host.exit()
    expect(a.errors).toMatchObject([{ message: 'device' }])
  })

  it('rejects a load that fails or dies', async () => {
    const failed = new FakeHost(false)
    failed.send({ type: 'failed', error: { code: 'MODEL_INVALID', message: 'x', details: {} } })
    failed.exit()
    await expect(failed.client.loaded).rejects.toMatchObject({ code: 'MODEL_INVALID' })
    const died = new FakeHost(false)
    died.exit()
    await expect(died.client.loaded).rejects.toMatchObject({ code: 'ENGINE_FAILED' })
  })

  it('closing fails running requests at once, halts the step, and resolves when the host is gone', async () => {
    const host = new FakeHost()
    const a = host.open()
    let done = false
    const closing = host.client.close(closed).then(() => {
      done = true
    })
    expect(a.errors).toEqual([closed])
    expect(host.signals).toEqual(['halt'])
    expect(host.types).toEqual(['request', 'close'])
    expect(host.ref).toBe(true)
    expect(host.client.close(closed)).toBe(host.client.close(closed))
    await Promise.resolve()
    expect(done).toBe(false)
    host.exit()
    await closing
  })

  it('closing during load calls it off, also when the model is loaded just then', async () => {
    const host = new FakeHost(false)
    const closing = host.client.close(closed)
    expect(host.signals).toEqual(['halt'])
    await expect(host.client.loaded).rejects.toEqual(closed)
    host.send({ type: 'loaded', info })
    host.exit()
    await closing
  })

  it('closing after the host died resolves', async () => {
    const host = new FakeHost()
    host.exit()
    await host.client.close(closed)
  })
})

const vocabulary = { tokenBytes: { bytes: new Uint8Array(0), offsets: new Uint32Array(1) }, eosIds: [] }
const killed: ErrorData = { code: 'ENGINE_FAILED', message: 'killed.', details: {} }

describe('a host that is started again', () => {
  const restartable = () => {
    const host = new FakeHost(true, true)
    host.client.setVocabulary(vocabulary)
    return host
  }
  /** What was posted to the new host. */
  const die = (host: FakeHost, error = killed) => {
    host.posted.length = 0
    host.exit(error)
    return host.posted
  }

  it('gets every open request again, in order, with the tokens that came and its state', () => {
    const host = restartable()
    const [a, b, c, d] = [host.open(), host.open(), host.open(), host.open()]
    host.now = 3
    host.step(
      { id: a.id, text: 'x', tokens: [7, 8] },
      { id: b.id, text: '', tokens: [], end },
      { id: d.id, text: 'y', tokens: [5] },
    )
    host.now = 4
    host.step({ id: a.id, text: 'x', tokens: [9] })
    c.control.pause()
    d.control.cancel()
    const posted = die(host)
    expect(host.started).toEqual([undefined, 64])
    expect(posted.map((message) => [message.type, 'id' in message ? message.id : 0])).toEqual([
      ...[
        ['vocabulary', 0],
        ['request', 0],
        ['request', 0],
        ['pause', c.id],
        ['request', 0],
        ['cancel', d.id],
      ],
    ])
    const again = posted.flatMap((message) => (message.type === 'request' ? [message.request] : []))
    expect(again.map(({ id, resumed }) => [id, resumed])).toEqual([
      [a.id, { tokens: Int32Array.of(7, 8, 9), text: 2, reasoning: 0, calls: 0, firstTokenAtMs: 3 }],
      [c.id, { tokens: Int32Array.of(), text: 0, reasoning: 0, calls: 0, firstTokenAtMs: 0 }],
      [d.id, { tokens: Int32Array.of(5), text: 1, reasoning: 0, calls: 0, firstTokenAtMs: 3 }],
    ])
    expect(host.log).toEqual(['killed. It is started again (1 of 2).'])
    expect([a, c, d].flatMap(({ errors }) => errors)).toEqual([])
    host.exit()
    host.exit()
  })

  it('keeps the process alive only for those who wait', () => {
    const host = restartable()
    die(host)
    expect(host.ref).toBe(false)
    host.open()
    expect(host.ref).toBe(true)
    die(host)
    expect(host.ref).toBe(true)
    host.exit()
  })

  it('is started twice at most, until the deaths are long ago', () => {
    const host = restartable()
    die(host)
    die(host)
    host.now += 600_001
    const a = host.open()
    die(host)
    die(host)
    expect(a.errors).toEqual([])
    expect(die(host)).toEqual([])
    expect(a.errors).toEqual([killed])
    expect(host.client.failure).toEqual(killed)
    expect(host.started.length).toBe(5)
  })

  it('gets a request no more that met two deaths', () => {
    const host = restartable()
    const a = host.open()
    die(host)
    die(host)
    host.now += 600_001
    const b = host.open()
    die(host)
    expect(a.parts.at(-1)?.end).toEqual({ error: killed })
    expect([b.errors, b.parts, host.client.failure]).toEqual([[], [], undefined])
    host.exit()
    host.exit()
  })

  it('goes on after an engine that broke and says so first', () => {
    const host = restartable()
    const a = host.open()
    host.send({ type: 'failed', error: { code: 'ENGINE_FAILED', message: 'device.', details: {} } })
    expect(a.errors).toEqual([])
    host.posted.length = 0
    host.exit()
    expect(host.types).toEqual(['vocabulary', 'request'])
    expect(host.log[0]).toContain('device.')
    host.send({ type: 'failed', error: { code: 'FILE_NOT_FOUND', message: 'gone.', details: {} } })
    host.exit()
    host.send({ type: 'failed', error: { code: 'FILE_NOT_FOUND', message: 'gone.', details: {} } })
    expect(a.errors).toMatchObject([{ code: 'ENGINE_FAILED', message: 'gone.' }])
    host.exit()
  })

  it('is not started again while closing, nor when the first load fails', async () => {
    const host = restartable()
    const closing = host.client.close(closed)
    host.exit(killed)
    await closing
    const loading = new FakeHost(false, true)
    loading.exit(killed)
    await expect(loading.client.loaded).rejects.toEqual(killed)
    expect([host.started.length, loading.started.length]).toEqual([1, 1])
  })

  it('does not hear what the dead one still had to say', () => {
    const host = restartable()
    const late = host.send
    const a = host.open()
    die(host)
    late({ type: 'step', parts: [{ id: a.id, text: 'late', tokens: [1] }], stats: packStats(stats) })
    expect(a.parts).toEqual([])
    host.exit()
    host.exit()
  })
})
