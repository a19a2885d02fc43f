/** What octavo tells about itself: onLog, the diagnostics channels, and silence everywhere else. */

import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { readdirSync, readFileSync } from 'node:fs'
import type { LoadEvent, LogEvent, RequestEvent } from 'octavo'
import { Engine } from 'octavo'
import { afterEach, describe, expect, it } from 'vitest'
import { PreemptionWatch } from '../lib/host/record/preemption-watch.ts'
import { child, packageRoot } from './child.ts'

const undo: (() => void)[] = []
afterEach(() => {
  for (const call of undo.splice(0)) call()
})

function listen<Event>(name: string): Event[] {
  const events: Event[] = []
  const listener = (event: unknown) => void events.push(event as Event)
  subscribe(name, listener)
  undo.push(() => unsubscribe(name, listener))
  return events
}

describe('a load', () => {
  it('is logged with what was made, to onLog and to the channel alike', async () => {
    const events = listen<LogEvent>('octavo:log')
    const lines: string[] = []
    const engine = await Engine.load({ model: 'stories', threads: 2, onLog: (line) => lines.push(line) })
    await engine.close()
    expect(lines).toHaveLength(1)
    expect(lines[0]).toMatch(
      /^Loaded .+ \(llama\) in \d+ ms: \w+ kernels, 2 threads, .+ MiB of q4_0 weights.*, KV cache of .+ MiB for \d+ tokens/,
    )
    expect(events).toEqual([{ model: 'stories', message: lines[0] }])
  })

  it('logs that memory made the context smaller', async () => {
    const lines: string[] = []
    const engine = await Engine.load({ model: 'stories', kv: { memory: '512KiB' }, onLog: (line) => lines.push(line) })
    await engine.close()
    expect(lines[1]).toBe('contextTokens is 256 instead of the trained 768: kv.memory holds no more.')
  })

  it('is published with its start and its end or error', async () => {
    const events = listen<LoadEvent>('octavo:load')
    const engine = await Engine.load({ model: 'stories' })
    await engine.close()
    const error = await Engine.load({ model: 'missing.gguf' }).catch((e) => e)
    const abort = AbortSignal.abort('no')
    await Engine.load({ model: 'stories', signal: abort }).catch(() => {})
    expect(events).toEqual([
      { type: 'start', model: 'stories' },
      ...[
        {
          type: 'end',
          model: 'stories',
          durationMs: expect.any(Number),
          contextTokens: 768,
          weightBytes: engine.model.bytes,
        },
      ],
      { type: 'start', model: 'missing.gguf' },
      { type: 'error', model: 'missing.gguf', durationMs: expect.any(Number), error },
    ])
  })
})

describe('requests', () => {
  it('are published with start, first token, and end with its figures, or error', async () => {
    const engine = await Engine.load({ model: 'stories' })
    undo.push(() => void engine.close())
    await engine.generate({ prompt: 'A', maxTokens: 2 }).result // before anybody listens
    const events = listen<RequestEvent>('octavo:request')
    const result = await engine.generate({ prompt: 'Once upon', maxTokens: 5, ignoreEos: true }).result
    await engine.score({ prompt: 'Once upon a time' })
    await engine.generate({ prompt: Array(768).fill(5) }).result.catch(() => {})
    const cancelled = engine.generate({ prompt: 'A' })
    cancelled.cancel()
    const { usage, timings } = result
    const [id] = events.map((event) => event.id) as [number]
    const start = (mode: string) => ({ type: 'start', id: expect.any(Number), model: engine.model.name, mode })
    const score = {
      type: 'end',
      finishReason: 'length',
      usage: { promptTokens: 4, cachedTokens: 0, completionTokens: 0 },
    }
    expect(events.slice(0, 3)).toEqual([
      start('generate'),
      { type: 'firstToken', id, elapsedMs: expect.any(Number) },
      { type: 'end', id, finishReason: 'length', usage, timings },
    ])
    expect(events.slice(3)).toMatchObject([
      start('score'),
      score,
      start('generate'),
      { type: 'error', error: { code: 'CONTEXT_OVERFLOW' } },
      start('generate'),
      { type: 'end', finishReason: 'cancelled' },
    ])
  })
})

describe('a preemption storm', () => {
  it('is noticed once it is one, and told ever more rarely', () => {
    const watch = new PreemptionWatch()
    let told = 0
    for (let steps = 1; steps <= 1000; steps++) expect(watch.look(steps, steps >> 4)).toBeUndefined()
    for (let steps = 1001; steps <= 20_000; steps++) if (watch.look(steps, steps) !== undefined) told++
    expect(told).toBe(2)
  })

  it('reaches onLog', async () => {
    const lines: string[] = []
    const options = { kv: { memory: '512KiB' }, contextTokens: 200, internal: { stepTokens: 16 } }
    const engine = await Engine.load({ model: 'stories', ...options, onLog: (line) => lines.push(line) })
    const requests = Array.from({ length: 24 }, (_, i) => ({ prompt: [300 + i, 5], maxTokens: 190, ignoreEos: true }))
    await Promise.all(requests.map((request) => engine.generate(request).result))
    const { preemptions } = engine.stats()
    await engine.close()
    expect(lines.slice(1).join()).toContain(preemptions >= 100 ? 'preemptions in' : '')
  })
})

it('nothing is printed, whatever happens', async () => {
  const source = `import { Engine, OctavoError } from 'octavo'; import { writeFileSync, rmSync } from 'node:fs';
    const quiet = async (call) => { try { return await call() } catch (error) { if (!(error instanceof OctavoError) && error !== 'no') throw error } };
    await quiet(() => Engine.load({ model: 'missing.gguf' })); await quiet(() => Engine.load({ model: 'package.json' }));
    await quiet(() => Engine.load({ model: 'stories', contextTokens: 2 ** 40 }));
    await quiet(() => Engine.load({ model: 'stories', nonsense: 1 }));
    await quiet(() => Engine.load({ model: 'stories', signal: AbortSignal.abort('no') }));
    const engine = await Engine.load({ model: 'stories', kv: { memory: '512KiB' } });
    await quiet(() => engine.generate({ prompt: Array(2000).fill(5) }).result);
    await quiet(() => engine.generate({ messages: [{ role: 'no such role', content: '<|im_end|>' }], maxTokens: 3 }).result);
    const long = Array.from({ length: 12 }, (_, i) => engine.generate({ prompt: [5 + i], ignoreEos: true }));
    long[0].cancel(); for await (const _ of long[1]) break;
    await quiet(() => engine.generate({ prompt: 'A', signal: AbortSignal.timeout(1) }).result.catch(() => {}));
    await quiet(() => engine.score({ prompt: 'A B C' }));
    const session = engine.session({ system: 's', overflow: 'dropOldest' });
    for (let i = 0; i < 5; i++) await session.generate('Hi', { maxTokens: 60, ignoreEos: true }).result;
    engine.generate({ prompt: Array(2000).fill(5) }); engine.generate({ prompt: 'left running', ignoreEos: true });
    await engine.close(); await quiet(() => engine.generate({ prompt: 'A' }))`
  expect(await child(source)).toEqual({ end: 0, stdout: '', stderr: '' })
})

it('no source of the library knows how to print', () => {
  const sources = (folder: string) =>
    readdirSync(`${packageRoot}/${folder}`, { recursive: true }).map((file) => `${folder}/${file}`)
  const files = [...sources('lib'), ...sources('cpp')].filter(
    (file) => /\.(ts|cpp|h|inc)$/.test(file) && !/^(lib\/cli|cpp\/tests|cpp\/fuzz)\//.test(file),
  )
  expect(files.length).toBeGreaterThan(80)
  const script = /\bconsole\.|process\.(stdout|stderr|emitWarning|exit|abort)\b/
  const native = /std::(cout|cerr|clog|abort|exit|terminate)\b|(?<![\w#.])(f?printf|f?puts|perror|abort|exit)\(/
  const found = files.filter((file) =>
    (file.endsWith('.ts') ? script : native).test(withoutComments(readFileSync(`${packageRoot}/${file}`, 'utf8'))),
  )
  expect(found).toEqual([])
})

const withoutComments = (source: string) => source.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|\s)\/\/.*$/gm, '')
