/** Abort signals: one listener however many requests, none afterwards, and signals that are not Node's own. */
import { getEventListeners } from 'node:events'
import vm from 'node:vm'
import { Engine } from 'octavo'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { abortReason, isAbortSignal, onAbort } from '../lib/signals.ts'
import { expectNothingUnhandled } from './unhandled.ts'

let engine: Engine
beforeAll(async () => {
  engine = await Engine.load({ model: 'stories', threads: 1 })
})
afterAll(() => engine.close())
expectNothingUnhandled()

const listeners = (signal: AbortSignal) => getEventListeners(signal, 'abort').length

/** As jsdom or a polyfill makes it. */
class OtherSignal extends EventTarget {
  aborted = false
  reason: unknown
  abort(reason?: unknown) {
    this.aborted = true
    this.reason = reason
    this.dispatchEvent(new Event('abort'))
  }
}
const other = () => new OtherSignal() as OtherSignal & AbortSignal

describe('50 requests on one signal', () => {
  it('hang one listener on it, print no warning, and leave none', async () => {
    const warnings: Error[] = []
    const warned = (warning: Error) => warnings.push(warning)
    process.on('warning', warned)
    const { signal } = new AbortController()
    const requests = Array.from({ length: 50 }, () => engine.generate({ prompt: 'Once', maxTokens: 2, signal }))
    const scores = Array.from({ length: 20 }, () => engine.score({ prompt: 'Once upon a time', signal }))
    const samples = engine.samples({ prompt: 'Once', maxTokens: 2, signal }, 20)
    expect(listeners(signal)).toBe(1)
    await Promise.all([...[...requests, ...samples].map(({ result }) => result), ...scores])
    expect(listeners(signal)).toBe(0)
    await new Promise((resolve) => setTimeout(resolve, 10))
    process.off('warning', warned)
    expect(warnings).toEqual([])
  })

  it('all end when it aborts, with its reason', async () => {
    const abort = new AbortController()
    const { signal } = abort
    const requests = Array.from({ length: 50 }, () =>
      engine.generate({ prompt: 'Once', maxTokens: 700, ignoreEos: true, signal }),
    )
    const reason = new Error('enough')
    abort.abort(reason)
    expect(listeners(signal)).toBe(0)
    for (const outcome of await Promise.allSettled(requests.map(({ result }) => result)))
      expect(outcome).toEqual({ status: 'rejected', reason })
    await expect(engine.generate({ prompt: 'Once', signal }).result).rejects.toBe(reason)
  })

  it('a request on a signal leaves those of others alone', async () => {
    const { signal } = new AbortController()
    const long = engine.generate({ prompt: 'Once', maxTokens: 300, ignoreEos: true, signal })
    await engine.generate({ prompt: 'Once', maxTokens: 1, signal }).result
    expect(listeners(signal)).toBe(1)
    long.cancel()
    await long.result
    expect(listeners(signal)).toBe(0)
  })
})

describe('a signal of another realm or implementation', () => {
  it.each([
    ['jsdom, a polyfill', other],
    ['another realm', () => vm.runInNewContext('Object.create(signal)', { signal: other() }) && other()],
  ])('aborts: %s', async (_, make) => {
    const signal = make()
    const running = engine.generate({ prompt: 'Once', maxTokens: 700, ignoreEos: true, signal })
    signal.abort('enough')
    await expect(running.result).rejects.toBe('enough')
    await expect(engine.generate({ prompt: 'Once', signal }).result).rejects.toBe('enough')
    await expect(Engine.load({ model: 'stories', signal })).rejects.toBe('enough')
  })

  it('that tells no reason gives an AbortError', async () => {
    const signal = other()
    const running = engine.generate({ prompt: 'Once', maxTokens: 700, ignoreEos: true, signal })
    signal.abort()
    await expect(running.result).rejects.toMatchObject({ name: 'AbortError' })
    await expect(Engine.load({ model: 'stories', signal })).rejects.toMatchObject({ name: 'AbortError' })
    expect(abortReason(AbortSignal.abort('why'))).toBe('why')
  })

  it.each([[{}], [null], ['x'], [{ aborted: false }], [new EventTarget()], [new AbortController()]])(
    '%o is none',
    (value) => expect(isAbortSignal(value)).toBe(false),
  )
})

describe('listeners', () => {
  it('are called once each, in order, and not after they were taken away, even by one before them', () => {
    const abort = new AbortController()
    const calls: string[] = []
    onAbort(abort.signal, () => {
      calls.push('a')
      offC()
    })
    const offB = onAbort(abort.signal, () => calls.push('b'))
    const offC = onAbort(abort.signal, () => calls.push('c'))
    onAbort(abort.signal, () => calls.push('d'))
    offB()
    offB()
    abort.abort()
    offC()
    expect(calls).toEqual(['a', 'd'])
    expect(listeners(abort.signal)).toBe(0)
  })
})
