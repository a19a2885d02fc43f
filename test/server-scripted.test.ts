/** The routes of octavo/server where an engine's answers are written down: reasoning, calls of tools, errors before and after the first token. */
import { OctavoError } from 'octavo'
import { describe, expect, it } from 'vitest'
import { calling, invalidCall, scripted, validCall } from './adapter-tools.ts'
import { eventsOf, type Json, joined, post, serve } from './server-tools.ts'

const chat = { messages: [{ role: 'user', content: 'How is the weather?' }] }

/** What a route says, at once and in events, where the engine answers as `script` has it. */
async function answers(script: Parameters<typeof scripted>[0], body: object = chat, path = '/v1/chat/completions') {
  const { engine } = scripted(script)
  Object.assign(engine, { stats: () => ({ queue: { drainMs: 0 } }), model: { name: 'scripted' } })
  const server = await serve({ models: { scripted: engine }, metrics: 'off' })
  await server.loaded
  const whole = await post(server.url + path, body)
  const streamed = (await post(server.url + path, { ...body, stream: true })).body
  await server.close()
  return { whole, events: typeof streamed === 'string' ? eventsOf(streamed) : [streamed] }
}

describe('an engine whose answers are written down', () => {
  it('reasoning comes apart', async () => {
    const script = {
      parts: [{ reasoning: 'Hm', reasoningTokens: [1] }, { reasoning: 'm.' }, { text: 'Yes.' }],
      result: { reasoning: 'Hmm.', reasoningTokens: [1, 2] },
    }
    const { whole, events } = await answers(script)
    expect(whole.body.choices[0].message).toMatchObject({ content: 'Yes.', reasoning_content: 'Hmm.' })
    expect(whole.body.usage.completion_tokens_details).toEqual({ reasoning_tokens: 2 })
    const thought = events.map((event) => event.choices?.[0].delta.reasoning_content ?? '').join('')
    expect([thought, joined(events)[0]!.content]).toEqual(['Hmm.', 'Yes.'])
  })

  it('several calls, their pieces by index; only the first where it is asked for no more', async () => {
    const script = calling(
      validCall('1', 'weather', { city: 'Rome' }),
      invalidCall('malformed', { id: '2', name: 'now', argumentsText: '{"a"' }),
    )
    const tools = [{ type: 'function', function: { name: 'weather' } }]
    const { whole, events } = await answers(script, { ...chat, tools })
    const calls = whole.body.choices[0].message.tool_calls
    expect(calls.map((call: Json) => [call.id, call.function.arguments])).toEqual([
      ['1', '{"city":"Rome"}'],
      ['2', '{"a"'],
    ])
    const deltas = events.flatMap((event) => event.choices?.[0].delta.tool_calls ?? [])
    for (const [index, call] of calls.entries())
      expect(
        deltas
          .filter((delta) => delta.index === index)
          .map((delta) => delta.function.arguments)
          .join(''),
      ).toBe(call.function.arguments)
    const one = await answers(script, { ...chat, tools, parallel_tool_calls: false })
    expect(one.whole.body.choices[0].message.tool_calls).toHaveLength(1)
    expect(one.events.some((event) => event.choices?.[0].delta.tool_calls?.[0].index === 1)).toBe(false)
  })

  it.each([
    ['OVERLOADED', { retryAfterMs: 1500 }, 503, '2'],
    ['OUT_OF_MEMORY', {}, 503, '1'],
    ['DEADLINE_EXCEEDED', {}, 504, null],
    ['CONTEXT_OVERFLOW', {}, 400, null],
    ['ENGINE_FAILED', {}, 503, '5'],
    ['NUMERIC_ERROR', {}, 500, null],
  ] as const)('%s before the first token is a status', async (code, details, status, retryAfter) => {
    const { whole } = await answers({ error: new OctavoError(code, 'secret', details) })
    expect([whole.status, whole.headers.get('retry-after')]).toEqual([status, retryAfter])
    expect(whole.body.error.message.includes('secret')).toBe(status !== 500)
  })

  it('/v1/responses: reasoning, text and calls are items, each with its events', async () => {
    const script = calling(validCall('1', 'weather', { city: 'Rome' }))
    script.parts!.unshift({ reasoning: 'Hm', reasoningTokens: [1] }, { reasoning: 'm.' })
    Object.assign(script.result!, { reasoning: 'Hmm.', reasoningTokens: [1, 2] })
    const body = { input: 'x', tools: [{ type: 'function', name: 'weather' }] }
    const { whole, events } = await answers(script, body, '/v1/responses')
    const { output } = whole.body
    expect(output).toMatchObject([
      { type: 'reasoning', content: [{ type: 'reasoning_text', text: 'Hmm.' }] },
      { type: 'message', role: 'assistant', content: [{ type: 'output_text', text: 'Wait.' }] },
      { type: 'function_call', call_id: '1', name: 'weather', arguments: '{"city":"Rome"}' },
    ])
    expect(events.map(({ sequence_number }) => sequence_number)).toEqual(events.map((_, i) => i))
    const item = (name: string, deltas: number, part = true) => [
      ...['response.output_item.added', ...(part ? ['response.content_part.added'] : [])],
      ...Array(deltas).fill(`response.${name}.delta`),
      ...[`response.${name}.done`, ...(part ? ['response.content_part.done'] : []), 'response.output_item.done'],
    ]
    expect(events.map(({ type }) => type)).toEqual([
      ...['response.created', 'response.in_progress', ...item('reasoning_text', 2), ...item('output_text', 1)],
      ...[...item('function_call_arguments', 2, false), 'response.completed'],
    ])
    const withoutIds = (output: Json[]) => output.map(({ id: _, ...rest }) => rest)
    expect(withoutIds(events.at(-1).response.output)).toEqual(withoutIds(output))
  })

  it('after it is an event, and the stream ends', async () => {
    const script = { parts: [{ text: 'Once' }], error: new OctavoError('ENGINE_FAILED', 'It died.') }
    const { events } = await answers(script)
    expect(joined(events.filter((event) => event.choices))[0]).toEqual({ content: 'Once', finish: null })
    expect(events.at(-2)).toMatchObject({ error: { type: 'server_error', code: 'engine_failed' } })
    expect(events.at(-1)).toBe('[DONE]')
  })
})
