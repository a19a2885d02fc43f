/** Threads that are handed on: who gets which, what they remember, and what is left of those that nobody wants. */
import { once } from 'node:events'
import type { Worker } from 'node:worker_threads'
import { Engine } from 'octavo'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { endSpareThreads, takeThread } from '../lib/base/threads.ts'

const entry = 'text/template-worker'
const silent = { message: () => {}, error: () => {}, exit: () => {} }
const take = (listeners = {}) => takeThread(entry, {}, { ...silent, ...listeners })
/** The answer to a call of lib/text/worker-client.ts. */
const ask = async ({ worker }: { worker: Worker }, op: string, args?: unknown) => {
  worker.postMessage({ id: 1, op, args })
  return (await once(worker, 'message'))[0]
}

afterEach(async () => {
  vi.useRealTimers()
  await endSpareThreads()
})

describe('a thread that was given back', () => {
  it('is the next one of its entry, and its first owner hears no more of it', async () => {
    const heard: string[] = []
    const first = take({ message: () => heard.push('first'), exit: () => heard.push('exit') })
    await ask(first, 'start', { source: 'a', control: [], named: {} })
    first.giveBack()
    const second = take({ message: () => heard.push('second') })
    expect(second.worker).toBe(first.worker)
    expect(take().worker).not.toBe(first.worker)
    await ask(second, 'start', { source: 'b', control: [], named: {} })
    const request = { messages: [], tools: null, addGenerationPrompt: false }
    expect(await ask(second, 'render', request)).toMatchObject({ result: { text: 'b' } })
    expect(heard).toEqual(['first', 'second', 'second'])
  })

  it('ends when two wait already, or when nobody wanted it for five seconds', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    const [one, two, three] = [take(), take(), take()]
    const ended = [one, two, three].map(({ worker }) => once(worker, 'exit').then(() => worker))
    for (const thread of [one, two, three]) thread.giveBack()
    expect(await Promise.race(ended)).toBe(three.worker)
    vi.advanceTimersByTime(4900)
    const taken = take()
    vi.advanceTimersByTime(200)
    const other = taken.worker === one.worker ? two.worker : one.worker
    expect(await Promise.race(ended.slice(0, 2))).toBe(other)
    expect(await ask(taken, 'start', { source: 'b', control: [], named: {} })).toMatchObject({ id: 1 })
    await taken.worker.terminate()
  })

  it('is not handed on when it died meanwhile', async () => {
    const first = take()
    first.giveBack()
    await first.worker.terminate()
    const second = take()
    expect(second.worker).not.toBe(first.worker)
    await second.worker.terminate()
  })
})

describe('an engine that is loaded when another one was closed', () => {
  let started = 0
  const count = () => started++
  beforeEach(() => {
    // However long this machine stands still, no thread has waited too long.
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    process.on('worker', count)
  })
  afterEach(() => void process.off('worker', count))

  const tell = async () => {
    const engine = await Engine.load({ model: 'stories' })
    started = 0
    const { text } = await engine.generate({ prompt: 'Once upon a time', maxTokens: 20, seed: 1 }).result
    await engine.close()
    return text
  }

  it('has its threads, and says the same', async () => {
    const first = await tell()
    const second = await Engine.load({ model: 'stories' })
    expect(started).toBe(0)
    await second.close()
    expect(await tell()).toBe(first)
  })

  it('has no thread whose load failed', async () => {
    const load = (options = {}) => Engine.load({ model: 'stories', ...options })
    // Whatever other tests left waiting is taken; one is given back.
    const [one, ...others] = await Promise.all([load(), load(), load()])
    await one.close()
    started = 0
    await expect(load({ contextTokens: 1e9 })).rejects.toMatchObject({ code: 'OUT_OF_MEMORY' })
    expect(started).toBe(0)
    others.push(await load())
    expect(started).toBeGreaterThan(0)
    await Promise.all(others.map((engine) => engine.close()))
  })
})
