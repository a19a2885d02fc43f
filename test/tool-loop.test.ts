/** Rounds of answers and tools: what is run, with what, what the model is told of it, and how it ends. The answers are planted. */
import { describe, expect, it, vi } from 'vitest'
import { z } from 'zod'
import { CallSite } from '../lib/base/call-site.ts'
import { type GenerationPart, type GenerationResult, RunningGeneration } from '../lib/generation.ts'
import type { VerbatimMessage } from '../lib/messages.ts'
import { ToolLoop } from '../lib/tool-loop.ts'
import { CallReader, callId } from '../lib/tools/call-reader.ts'
import { callFormat } from '../lib/tools/formats.ts'
import type { ToolSet } from '../lib/tools/tool-call.ts'
import { type Toolbox, toolsSchema } from '../lib/tools/toolbox.ts'
import { partsOf, tokensOf } from './planted-answers.ts'

const { format, control } = callFormat('<tool_call>', [])
const site = new CallSite(() => {})
const call = (name: string, args: unknown) => `<tool_call>\n${JSON.stringify({ name, arguments: args })}\n</tool_call>`

interface Options {
  maxRounds?: number
  signal?: AbortSignal
  onEnd?: (result: GenerationResult | undefined, added: readonly VerbatimMessage[]) => void
}

/** A generation whose answers are these, one a round; the last again and again. */
function loop(tools: ToolSet, answers: string[], { maxRounds = 8, signal, onEnd }: Options = {}) {
  const toolbox = toolsSchema.parse(tools) as Toolbox
  const rounds: VerbatimMessage[][] = []
  const start: ConstructorParameters<typeof ToolLoop>[0]['start'] = (added, queue, onRoundEnd) => {
    rounds.push([...added])
    const setup = { site, seed: 7, askedAtMs: 0, now: () => 0, signal, queue, onEnd: onRoundEnd }
    const generation = new RunningGeneration(setup)
    const spec = { ...format, control, tools: toolbox.names }
    const promptTokens = 10 * rounds.length
    const idOf = (index: number) => callId(7, promptTokens, index)
    const controls = { cancel: vi.fn(), pause: () => {}, resume: () => {} }
    const answer = answers[Math.min(rounds.length, answers.length) - 1]!
    const parts = partsOf(tokensOf(answer), { calls: spec })
    const cut = answer.includes('(waits)')
    controls.cancel.mockImplementation(() =>
      generation.part({ ...parts.at(-1)!, text: '', tokens: [], end: cancelled }),
    )
    generation.attach(controls, promptTokens, new CallReader(spec, toolbox, idOf))
    queueMicrotask(() => {
      for (const part of cut ? parts.slice(0, -1) : parts) generation.part(part)
    })
    return generation
  }
  return { rounds, generation: new ToolLoop({ toolbox, maxRounds, signal, start, onEnd }) }
}

const timings = {
  ...{ queueMs: 0, prefillMs: 0, firstTokenMs: 0, totalMs: 0, tokensPerSecond: 0 },
  ...{ interTokenMs: { p50: 0, p99: 0 }, preemptions: 0 },
}
const cancelled = { reason: 'cancelled' as const, cachedTokens: 0, generatedTokens: 0, timings }

async function collect(generation: AsyncIterable<GenerationPart>): Promise<GenerationPart[]> {
  const parts: GenerationPart[] = []
  for await (const part of generation) parts.push(part)
  return parts
}

const weather = { description: 'w', parameters: z.object({ city: z.string(), days: z.int().default(1) }) }

describe('a loop of tools', () => {
  it('runs the calls of an answer side by side and puts their results to the model', async () => {
    const seen: unknown[] = []
    const begun: string[] = []
    let release!: () => void
    const both = new Promise<void>((resolve) => {
      release = resolve
    })
    const tools = {
      weather: {
        ...weather,
        execute: async (args: unknown, { signal, toolCallId }: { signal: AbortSignal; toolCallId: string }) => {
          seen.push(args, toolCallId, signal.aborted)
          begun.push('weather')
          await both
          return { degrees: 30 }
        },
      },
      now: {
        execute: () => {
          begun.push('now')
          release()
          return 'noon'
        },
      },
    }
    const answers = [`Let me see.\n${call('weather', { city: 'Rome' })}\n${call('now', {})}`, 'Hot.']
    const { rounds, generation } = loop(tools, answers)
    const parts = await collect(generation)
    const result = await generation.result
    const [first, second] = [callId(7, 10, 0), callId(7, 10, 1)]
    // The default of the zod type is there.
    expect(seen).toEqual([{ city: 'Rome', days: 1 }, first, false])
    expect(begun).toEqual(['weather', 'now'])
    const messages = [
      {
        role: 'assistant',
        content: 'Let me see.',
        tool_calls: [
          { id: first, type: 'function', function: { name: 'weather', arguments: '{"city":"Rome"}' } },
          { id: second, type: 'function', function: { name: 'now', arguments: '{}' } },
        ],
      },
      { role: 'tool', tool_call_id: first, name: 'weather', content: '{"degrees":30}' },
      { role: 'tool', tool_call_id: second, name: 'now', content: 'noon' },
      { role: 'assistant', content: 'Hot.' },
    ]
    expect(result).toMatchObject({ text: 'Hot.', finishReason: 'stop', seed: 7, usage: { promptTokens: 30 } })
    expect(result.messages).toEqual(messages)
    expect(result.toolCalls).toBeUndefined()
    expect(rounds[0]).toEqual([])
    expect(rounds[1]).toMatchObject(messages.slice(0, 3))
    expect(parts.map(({ text }) => text).join('')).toBe('Let me see.Hot.')
    expect(parts.flatMap(({ toolResult }) => toolResult ?? [])).toEqual([
      { id: second, name: 'now', content: 'noon', isError: false },
      { id: first, name: 'weather', content: '{"degrees":30}', isError: false },
    ])
    const deltas = parts.flatMap(({ toolCall }) => toolCall ?? [])
    expect(deltas.map(({ argumentsDelta }) => argumentsDelta).join('')).toBe('{"city":"Rome"}{}')
    expect(deltas.flatMap((delta) => delta.call ?? [])).toMatchObject([{ id: first }, { id: second }])
  })

  it('gives the model what is wrong with a call as its result, and what a tool throws', async () => {
    const tools = {
      weather: { ...weather, execute: () => Promise.reject(new TypeError('no such city')) },
      odd: { execute: () => 10n },
      nothing: { execute: () => undefined },
    }
    const bad = [
      ...[
        call('weather', { city: 5 }),
        call('wether', {}),
        '<tool_call>{"name": "weather", "arguments": {]}}</tool_call>',
      ],
      ...[call('weather', { city: 'Rome' }), call('odd', {}), call('nothing', {})],
    ]
    const { rounds, generation } = loop(tools, [bad.join('\n'), 'I see.'])
    expect(await generation.result).toMatchObject({ text: 'I see.', finishReason: 'stop' })
    const results = rounds[1]!.slice(1)
    expect(results.map(({ name }) => name)).toEqual(['weather', 'wether', 'weather', 'weather', 'odd', 'nothing'])
    expect(results.map(({ content }) => content)).toEqual([
      expect.stringMatching(/^Error: The arguments do not fit the parameters of weather: city: /),
      'Error: There is no tool "wether"; there are weather, odd, nothing.',
      'Error: The arguments are no JSON object.',
      'Error: no such city',
      expect.stringMatching(/^Error: .*BigInt/),
      '',
    ])
    // What a template could make nothing of has become something it can.
    const calls = rounds[1]![0]!.tool_calls as { function: { arguments: string } }[]
    for (const { function: called } of calls) expect(Object(JSON.parse(called.arguments))).toBeTypeOf('object')
  })

  it('runs nothing in the last round that it may have', async () => {
    const execute = vi.fn(() => 'again')
    const { rounds, generation } = loop({ f: { execute } }, [call('f', {})], { maxRounds: 3 })
    const result = await generation.result
    expect([rounds.length, execute.mock.calls.length, result.finishReason]).toEqual([3, 2, 'toolCalls'])
    expect(result.toolCalls).toMatchObject([{ name: 'f', arguments: {} }])
    expect(result.messages?.map(({ role }) => role)).toEqual(['assistant', 'tool', 'assistant', 'tool', 'assistant'])
    expect(new Set(result.messages?.flatMap(({ tool_calls }) => tool_calls?.map(({ id }) => id) ?? [])).size).toBe(3)
  })

  it('leaves to its caller what it cannot run', async () => {
    const execute = vi.fn(() => 'ran')
    const { generation } = loop({ mine: { parameters: {} }, f: { execute } }, [
      `${call('f', {})}${call('mine', { a: 1 })}`,
    ])
    const result = await generation.result
    expect(result).toMatchObject({
      finishReason: 'toolCalls',
      toolCalls: [{ name: 'f' }, { name: 'mine', arguments: { a: 1 } }],
    })
    expect(result.messages?.slice(1)).toEqual([
      { role: 'tool', tool_call_id: callId(7, 10, 0), name: 'f', content: 'ran' },
    ])
  })

  it('ends with an abort at once, whatever a tool does, and tells the tool', async () => {
    const off = new AbortController()
    let told: AbortSignal | undefined
    const execute = (_: unknown, { signal }: { signal: AbortSignal }) => {
      told = signal
      off.abort(new Error('enough'))
      return new Promise(() => {})
    }
    const ends: unknown[] = []
    const onEnd = (result: unknown) => ends.push(result)
    const { generation, rounds } = loop({ f: { execute } }, [call('f', {})], { signal: off.signal, onEnd })
    await expect(collect(generation)).rejects.toThrow('enough')
    await expect(generation.result).rejects.toThrow('enough')
    expect([told?.aborted, rounds.length, ends]).toEqual([true, 1, [undefined]])
  })

  it.each(['while it answers', 'while a tool runs'])('ends when it is cancelled %s, with what it has', async (when) => {
    let running!: () => void
    const runs = new Promise<void>((resolve) => {
      running = resolve
    })
    const execute = () => {
      running()
      return new Promise(() => {})
    }
    const answers = when === 'while it answers' ? ['Well (waits)'] : [call('f', {})]
    const { generation } = loop({ f: { execute } }, answers)
    if (when === 'while a tool runs') await runs
    else await new Promise((resolve) => setImmediate(resolve))
    generation.cancel()
    const result = await generation.result
    expect(result.finishReason).toBe('cancelled')
    expect(result.messages?.map(({ role, content }) => [role, content])).toEqual(
      when === 'while it answers'
        ? [['assistant', 'Well (waits)']]
        : [
            ['assistant', ''],
            ['tool', 'Error: It was cancelled.'],
          ],
    )
  })

  it('ends when its reader leaves', async () => {
    const { generation, rounds } = loop({ f: { execute: () => 'x' } }, [call('f', {})], { maxRounds: 100 })
    for await (const { toolResult } of generation) if (toolResult !== undefined) break
    expect(await generation.result).toMatchObject({ finishReason: 'cancelled' })
    expect(rounds.length).toBeLessThan(4)
  })

  it('passes on what makes a round fail', async () => {
    const toolbox = toolsSchema.parse({ f: {} }) as Toolbox
    const start: ConstructorParameters<typeof ToolLoop>[0]['start'] = (_, queue, onEnd) => {
      const generation = new RunningGeneration({ site, seed: 1, askedAtMs: 0, now: () => 0, queue, onEnd })
      queueMicrotask(() => generation.fail({ code: 'CONTEXT_OVERFLOW', message: 'too long', details: {} }))
      return generation
    }
    const generation = new ToolLoop({ toolbox, maxRounds: 2, start })
    await expect(collect(generation)).rejects.toMatchObject({ code: 'CONTEXT_OVERFLOW' })
    await expect(generation.result).rejects.toMatchObject({ code: 'CONTEXT_OVERFLOW' })
  })
})
