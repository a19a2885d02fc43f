/** The main thread's end of the wire against a fake host: routing, keeping the process alive, death, closing. */
import { describe, expect, it } from 'vitest'
import type { ErrorData } from '../lib/errors.ts'
import type { StreamControl } from '../lib/generation.ts'
import { controlIndex, type FromHost, type LoadedInfo, type StepPart, type ToHost } from '../lib/host/protocol.ts'
import { packStats } from '../lib/host/stats.ts'
import { HostClient } from '../lib/host-client.ts'

const kv = { totalBlocks: 4, freeBlocks: 4, cachedBlocks: 0 }
const counts = { steps: 0, promptTokens: 0, cachedTokens: 0, generatedTokens: 0, preemptions: 0 }
const stats = {
  ...{ kv, ...counts, requests: { running: 0, waiting: 0, paused: 0 }, drafts: { proposed: 0, accepted: 0 } },
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
  readonly interrupts: number[] = []
  ref = true
  send!: (message: FromHost) => void
  exit!: (error?: ErrorData) => void
  readonly client: HostClient

  constructor(loaded = true) {
    const wire = {
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
    }
    this.client = new HostClient(wire, new SharedArrayBuffer(8), { interrupt: (id) => void this.interrupts.push(id) })
    if (loaded) this.send({ type: 'loaded', info })
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

  step(...parts: StepPart[]): void {
    this.send({ type: 'step', parts, stats: packStats({ ...stats, steps: 7 }) })
  }

  get types(): string[] {
    return this.posted.map((message) => message.type)
  }
}

const end = { error: closed }

describe('host client', () => {
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

  it('discards the step in flight for a cancel only when it is long', () => {
    const host = new FakeHost()
    const [a, b] = [host.open(), host.open()]
    Atomics.store(host.client.control, controlIndex.stepTokens, 2)
    a.control.cancel()
    expect(host.interrupts).toEqual([])
    Atomics.store(host.client.control, controlIndex.stepTokens, 512)
    b.control.cancel()
    expect(host.interrupts).toEqual([5])
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
    expect(host.interrupts).toEqual([5])
    expect(Atomics.load(host.client.control, controlIndex.halt)).toBe(1)
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
    expect(Atomics.load(host.client.control, controlIndex.halt)).toBe(1)
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
