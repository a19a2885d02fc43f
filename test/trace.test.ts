/** The step trace: a valid trace event document that says what the engine did. */
import type { Trace, TraceEvent } from 'octavo'
import { Engine } from 'octavo'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const places = ['thread', 'process'] as const

const prompt = (length: number, first = 400) => Array.from({ length }, (_, i) => first + (i % 500))
const options = { ignoreEos: true, temperature: 0 } as const

/** What the format asks for: known phases, numbers, spans that nest, beginnings and ends in pairs. */
function expectValid({ traceEvents }: Trace): void {
  expect(JSON.parse(JSON.stringify(traceEvents))).toEqual(traceEvents)
  const open = new Map<string, TraceEvent[]>()
  const spans: TraceEvent[] = []
  for (const event of traceEvents) {
    expect(['M', 'X', 'C', 'b', 'e']).toContain(event.ph)
    expect(event.name).not.toBe('')
    for (const number of [event.ts, event.pid, event.tid]) expect(Number.isFinite(number)).toBe(true)
    expect(event.ts).toBeGreaterThanOrEqual(0)
    if (event.ph === 'X') {
      expect(event.dur).toBeGreaterThanOrEqual(0)
      spans.push(event)
    }
    if (event.ph === 'C') for (const value of Object.values(event.args!)) expect(value).toBeTypeOf('number')
    if (event.ph !== 'b' && event.ph !== 'e') continue
    const key = `${event.cat} ${event.id} ${event.name}`
    const begun = open.get(key) ?? []
    open.set(key, begun)
    if (event.ph === 'b') begun.push(event)
    else expect(begun.pop()!.ts).toBeLessThanOrEqual(event.ts)
  }
  for (const [key, begun] of open) expect([key, begun]).toEqual([key, []])
  spans.sort((a, b) => a.ts - b.ts || b.dur! - a.dur!)
  const stack: TraceEvent[] = []
  for (const span of spans) {
    while (stack.length > 0 && stack.at(-1)!.ts + stack.at(-1)!.dur! <= span.ts + 1e-6) stack.pop()
    const outer = stack.at(-1)
    if (outer) expect(span.ts + span.dur!).toBeLessThanOrEqual(outer.ts + outer.dur! + 0.01)
    stack.push(span)
  }
}

const named = (trace: Trace, name: string, ph: string) =>
  trace.traceEvents.filter((event) => event.name === name && event.ph === ph)

describe.each(places)('a trace of an engine in a %s', (isolation) => {
  let engine: Engine
  beforeAll(async () => {
    engine = await Engine.load({ model: 'stories', isolation, internal: { stepTokens: 64, maxSequences: 3 } })
  })
  afterAll(() => engine.close())

  it('holds every step, token and request', async () => {
    const lengths: [number, number][] = [
      [150, 20],
      [10, 30],
      [1, 5],
      [90, 12],
    ]
    /** Each attempt has prompts of its own, which no cache knows. */
    let attempt = 0
    const recorded = async () => {
      attempt++
      const before = engine.stats()
      engine.startTrace()
      const generations = lengths.map(([length, maxTokens], i) =>
        engine.generate({
          prompt: prompt(length, 400 + 600 * i + 31 * attempt),
          maxTokens,
          ...options,
          tenant: i === 0 ? 'a' : '',
        }),
      )
      const still = engine.generate({ prompt: prompt(5), maxTokens: 600, ...options })
      await Promise.all(generations.map(({ result }) => result))
      still.cancel()
      const running = engine.generate({ prompt: prompt(7), maxTokens: 600, ...options })
      await running[Symbol.asyncIterator]().next()
      const trace = await engine.stopTrace()
      running.cancel()
      const reasons = (await Promise.all([still.result, running.result])).map(({ finishReason }) => finishReason)
      return { before, trace, reasons }
    }
    let { before, trace, reasons } = await recorded()
    // A machine that is fast, or was busy elsewhere, may have come to an end before it was told to.
    while (reasons.includes('length')) ({ before, trace, reasons } = await recorded())
    expectValid(trace)
    const summary = trace.otherData
    expect(summary.steps - summary.discardedSteps).toBeGreaterThanOrEqual(30)
    expect(summary.steps - summary.discardedSteps).toBeLessThanOrEqual(engine.stats().steps - before.steps)
    // Runs of short steps are one event.
    const runs = named(trace, 'step', 'X')
    const inRuns = runs.reduce((sum, { args }) => sum + (args!.steps as number), 0)
    expect(inRuns).toBe(summary.steps - summary.discardedSteps)
    const events = runs.length + summary.discardedSteps
    for (const part of ['plan', 'compute', 'commit', 'post']) expect(named(trace, part, 'X').length).toBe(events)
    const tracks = trace.traceEvents.filter(({ ph, name }) => ph === 'b' && name.startsWith('request '))
    expect(tracks).toHaveLength(6)
    const facts = tracks.map(({ args }) => args!)
    for (const [promptTokens, outputTokens] of lengths)
      expect(facts).toContainEqual(expect.objectContaining({ promptTokens, outputTokens, ended: 'length' }))
    expect(facts).toContainEqual(expect.objectContaining({ promptTokens: 150, tenant: 'a' }))
    expect(facts.map(({ ended }) => ended)).toEqual(expect.arrayContaining(['cancelled', 'running']))
    // The chunks of the longest prompt, in the budget of a step.
    const id = tracks.find(({ args }) => args!.promptTokens === 150)!.id
    const chunks = named(trace, 'prompt', 'b').filter((event) => event.id === id)
    expect(chunks.length).toBeGreaterThanOrEqual(3)
    expect(chunks.reduce((sum, { args }) => sum + (args!.tokens as number), 0)).toBe(150)
    expect(named(trace, 'KV blocks', 'C')).toHaveLength(events)
    expect(summary.nativeSeconds).toBeGreaterThan(0)
    expect(summary.nativeSeconds).toBeLessThanOrEqual(summary.stepSeconds)
    expect(summary.overheadShare).toBeGreaterThan(0)
    expect(summary.overheadShare).toBeLessThan(1)
  })

  it('is empty when nothing ran, or when nobody began it', async () => {
    const never = await engine.stopTrace()
    expect(never.otherData.steps).toBe(0)
    engine.startTrace()
    const empty = await engine.stopTrace()
    expect(empty.otherData).toMatchObject({ steps: 0, promptTokens: 0, overheadShare: 0 })
    expectValid(empty)
  })

  it('changes no answer', async () => {
    const request = { prompt: prompt(100), maxTokens: 50, seed: 3 }
    const { tokens } = await engine.generate(request).result
    engine.startTrace()
    expect((await engine.generate(request).result).tokens).toEqual(tokens)
    await engine.stopTrace()
  })
})

describe('a trace', () => {
  it('rejects when the engine closes', async () => {
    const engine = await Engine.load({ model: 'stories' })
    engine.startTrace()
    const trace = engine.stopTrace()
    const rejected = expect(trace).rejects.toMatchObject({ code: 'ENGINE_CLOSED' })
    await engine.close()
    await rejected
    expect(() => engine.startTrace()).toThrow('closed')
  })
})
