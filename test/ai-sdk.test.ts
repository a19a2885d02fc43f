/** octavo/ai-sdk under ai 6 and ai 7: what a program of theirs gets is what `engine.generate` gives. */
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { LanguageModelV3CallOptions, LanguageModelV3StreamPart } from '@ai-sdk/provider'
import * as ai6 from 'ai'
import * as ai7 from 'ai-7'
import { Engine, OctavoError } from 'octavo'
import { octavo } from 'octavo/ai-sdk'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { calling, invalidCall, requestEnd, scripted, validCall } from './adapter-tools.ts'

// What is used of both is the same; the types of one stand for the other.
const versions: [name: string, ai: typeof ai6][] = [
  ['ai 6', ai6],
  ['ai 7', ai7 as unknown as typeof ai6],
]
const smollm = fileURLToPath(new URL('../../shared/models/SmolLM2-135M-Instruct.Q4_1.gguf', import.meta.url))
const story = 'Tell a story about a shy owl named Luna and a golden kite.'

// The tests look at them themselves.
Object.assign(globalThis, { AI_SDK_LOG_WARNINGS: false })

const Hero = z.object({
  name: z.string().min(1).max(12),
  kind: z.enum(['owl', 'fox', 'bear']),
  age: z.int().min(1).max(99),
})

let engine: Engine
beforeAll(async () => {
  engine = await Engine.load({ model: 'stories' })
})
afterAll(() => engine.close())

const user = (content: string) => [{ role: 'user', content }]

describe.each(versions)('%s', (_, ai) => {
  const { generateObject, generateText, jsonSchema, Output, stepCountIs, streamObject, streamText, tool } = ai

  it('generateText: the text, usage and seed of the same request', async () => {
    const settings = { maxOutputTokens: 60, temperature: 0.8, topK: 20, topP: 0.9, seed: 5 }
    const { text, usage, finishReason, warnings, response, providerMetadata } = await generateText({
      ...{ model: octavo(engine), prompt: story, ...settings },
    })
    const { maxOutputTokens: maxTokens, ...sampling } = settings
    const own = await engine.generate({ messages: user(story), maxTokens, ...sampling }).result
    expect(text).toBe(own.text)
    expect(finishReason).toBe('length')
    expect(warnings ?? []).toEqual([])
    expect(usage).toMatchObject({ inputTokens: own.usage.promptTokens, outputTokens: 60 })
    expect(usage.totalTokens).toBe(own.usage.promptTokens + 60)
    expect(response.modelId).toBe(engine.model.name)
    expect(providerMetadata?.octavo).toMatchObject({ seed: 5 })
  })

  it('streamText: pieces that join to it', async () => {
    const { textStream, text, finishReason, usage } = streamText({
      ...{ model: octavo(engine), system: 'Be brief.', prompt: story, seed: 3 },
      stopSequences: ['Luna'],
    })
    const pieces: string[] = []
    for await (const piece of textStream) pieces.push(piece)
    const messages = [{ role: 'system', content: 'Be brief.' }, ...user(story)]
    const own = await engine.generate({ messages, seed: 3, stop: ['Luna'] }).result
    expect(own.stop).toEqual({ text: 'Luna' })
    expect(pieces.join('')).toBe(own.text)
    expect(await text).toBe(own.text)
    expect(await finishReason).toBe('stop')
    expect((await usage).outputTokens).toBe(own.usage.completionTokens)
  })

  it('settings of the model and of a call', async () => {
    const model = octavo(engine, { temperature: 0, maxTokens: 30, repetitionPenalty: 1.3 })
    const { text } = await generateText({
      model,
      prompt: story,
      providerOptions: { octavo: { repetitionPenalty: 1.1 } },
    })
    const options = { messages: user(story), temperature: 0, maxTokens: 30 }
    const [own, other] = await Promise.all(
      [1.1, 1.3].map((repetitionPenalty) => engine.generate({ ...options, repetitionPenalty }).result),
    )
    expect(text).toBe(own!.text)
    expect(text).not.toBe(other!.text)
  })

  it('an abort ends the generation, before and while it runs', async () => {
    // Without an end, so that no machine is done before.
    const logitBias = Object.fromEntries(engine.model.eosIds.map((id) => [id, -Infinity]))
    const options = { model: octavo(engine, { logitBias }), prompt: story }
    const before = AbortSignal.abort(new DOMException('No.', 'AbortError'))
    await expect(generateText({ ...options, abortSignal: before })).rejects.toThrow('No.')
    const controller = new AbortController()
    const ended = requestEnd()
    let aborted = false
    const { textStream } = streamText({
      ...{ ...options, abortSignal: controller.signal },
      onAbort: () => {
        aborted = true
      },
    })
    for await (const _ of textStream) controller.abort()
    expect(aborted).toBe(true)
    expect(await ended).toMatchObject({ type: 'error', error: controller.signal.reason })
  })

  it('errors keep their codes', async () => {
    const model = octavo(engine)
    const refused = generateText({ model, prompt: story, temperature: -1 })
    await expect(refused).rejects.toMatchObject({ name: 'OctavoError', code: 'INVALID_ARGUMENT' })
    const tooLong = 'long '.repeat(engine.model.contextTokens)
    await expect(generateText({ model, prompt: tooLong })).rejects.toMatchObject({ code: 'CONTEXT_OVERFLOW' })
    const errors: unknown[] = []
    const { text } = streamText({ model, prompt: tooLong, onError: ({ error }) => void errors.push(error) })
    await expect(text).rejects.toThrow()
    expect(errors).toMatchObject([{ code: 'CONTEXT_OVERFLOW' }])
  })

  it('what is OVERLOADED is tried again after the time it names', async () => {
    const overloaded = new OctavoError('OVERLOADED', 'The queue is full.', { retryAfterMs: 1 })
    const { engine: busy, asked } = scripted({ error: overloaded }, { error: overloaded }, { parts: [{ text: 'Hi' }] })
    expect((await generateText({ model: octavo(busy), prompt: 'x' })).text).toBe('Hi')
    expect(asked).toHaveLength(3)
    const { engine: full } = scripted({ error: overloaded })
    await expect(generateText({ model: octavo(full), prompt: 'x', maxRetries: 1 })).rejects.toMatchObject({
      lastError: { code: 'OVERLOADED', details: { retryAfterMs: 1 }, cause: overloaded },
    })
    await expect(generateText({ model: octavo(full), prompt: 'x', maxRetries: 0 })).rejects.toMatchObject({
      code: 'OVERLOADED',
    })
  })

  it('reasoning comes apart', async () => {
    const { engine: thinker } = scripted({
      parts: [{ reasoning: 'Hm', reasoningTokens: [1] }, { reasoning: 'm.' }, { text: 'Yes' }, { text: '.' }],
      result: { reasoning: 'Hmm.', reasoningTokens: [1, 2] },
    })
    const whole = await generateText({ model: octavo(thinker), prompt: 'x' })
    expect([whole.reasoningText, whole.text]).toEqual(['Hmm.', 'Yes.'])
    const streamed = streamText({ model: octavo(thinker), prompt: 'x' })
    expect([await streamed.reasoningText, await streamed.text]).toEqual(['Hmm.', 'Yes.'])
  })

  it('Output.object and generateObject: an object of the schema, that of the same request', async () => {
    const model = octavo(engine, { maxTokens: 200 })
    const request = { model, prompt: story, temperature: 1.5, seed: 4 }
    const { output } = await generateText({ ...request, output: Output.object({ schema: Hero }) })
    const { object } = await generateObject({ ...request, schema: Hero })
    const messages = user(story)
    const own = await engine.generate({ messages, schema: Hero, temperature: 1.5, seed: 4, maxTokens: 200 }).result
    expect(own.object).toBeDefined()
    expect(output).toEqual(own.object)
    expect(object).toEqual(own.object)
    const { object: choice } = await generateObject({ ...request, output: 'enum', enum: ['owl', 'kite'] })
    expect(['owl', 'kite']).toContain(choice)
  })

  it('streamed objects grow to it', async () => {
    const request = { model: octavo(engine, { maxTokens: 200 }), prompt: story, temperature: 1.5, seed: 4 }
    const { partialObjectStream, object } = streamObject({ ...request, schema: Hero })
    const partials: unknown[] = []
    for await (const partial of partialObjectStream) partials.push(partial)
    expect(partials.length).toBeGreaterThan(1)
    expect(partials.at(-1)).toEqual(await object)
    const { partialOutputStream, output } = streamText({ ...request, output: Output.object({ schema: Hero }) })
    let last: unknown
    for await (const partial of partialOutputStream) last = partial
    expect(last).toEqual(await output)
    expect(await output).toEqual(await object)
  })

  it('an object that is cut short is none, and a schema that cannot be enforced is refused', async () => {
    const cut = generateObject({ model: octavo(engine), prompt: story, schema: Hero, maxOutputTokens: 3 })
    await expect(cut).rejects.toMatchObject({ name: 'AI_NoObjectGeneratedError', finishReason: 'length' })
    const schema = jsonSchema({ type: 'string', pattern: '(a)\\1' } as object)
    const refused = generateText({ model: octavo(engine), prompt: story, output: Output.object({ schema }) })
    await expect(refused).rejects.toMatchObject({ code: 'SCHEMA_UNSUPPORTED', details: { keyword: 'pattern' } })
  })

  it('tools: calls are run and their results put to the model', async () => {
    const answers = () =>
      scripted(calling(validCall('1', 'weather', { city: 'Rome' }), validCall('2', 'now', {})), {
        parts: [{ text: 'Hot.' }],
      })
    const tools = {
      weather: tool({
        description: 'The weather in a city',
        inputSchema: z.object({ city: z.string() }),
        execute: async ({ city }) => ({ city, degrees: 30 }),
      }),
      now: tool({ inputSchema: z.object({}), execute: async () => 'noon' }),
    }
    const expected = [
      ...user('x'),
      {
        ...{ role: 'assistant', content: 'Wait.' },
        tool_calls: [
          { id: '1', type: 'function', function: { name: 'weather', arguments: { city: 'Rome' } } },
          { id: '2', type: 'function', function: { name: 'now', arguments: {} } },
        ],
      },
      { role: 'tool', tool_call_id: '1', name: 'weather', content: '{"city":"Rome","degrees":30}' },
      { role: 'tool', tool_call_id: '2', name: 'now', content: 'noon' },
    ]
    const request = { prompt: 'x', tools, stopWhen: stepCountIs(4) }
    const first = answers()
    const { text, steps } = await generateText({ model: octavo(first.engine), ...request })
    expect([text, steps.length, steps[0]!.finishReason]).toEqual(['Hot.', 2, 'tool-calls'])
    expect(first.asked[0]).toMatchObject({
      tools: [
        { name: 'weather', description: 'The weather in a city', parameters: { type: 'object' } },
        { name: 'now' },
      ],
    })
    expect(first.asked[1]!.messages).toEqual(expected)
    const second = answers()
    const streamed = streamText({ model: octavo(second.engine), ...request })
    expect(await streamed.text).toBe('Hot.')
    expect(second.asked[1]!.messages).toEqual(expected)
  })

  it('tools: a call that must be, with the arguments of the same request', async () => {
    const inputSchema = z.object({ city: z.enum(['Rome', 'Oslo']), days: z.int().min(1).max(9) })
    const run: unknown[] = []
    const execute = async (args: unknown) => {
      run.push(args)
      return 'sunny'
    }
    const weather = tool({ description: 'w', inputSchema, execute })
    const request = { prompt: 'How is the weather?', seed: 3, tools: { weather } }
    const tools = { weather: { description: 'w', parameters: inputSchema } }
    const messages = user(request.prompt)
    const own = await engine.generate({ messages, tools, toolChoice: 'required', seed: 3, maxTokens: 200 }).result
    const [call] = own.toolCalls!
    expect(call!.invalid).toBeUndefined()
    const model = octavo(engine, { maxTokens: 200 })
    const { toolCalls, toolResults, finishReason } = await generateText({ ...request, model, toolChoice: 'required' })
    expect(toolCalls).toMatchObject([{ toolCallId: call!.id, toolName: 'weather', input: call!.arguments }])
    expect(toolResults).toMatchObject([{ toolCallId: call!.id, output: 'sunny' }])
    expect(finishReason).toBe('tool-calls')
    // A second step that may not call answers.
    const { steps, text } = streamText({
      ...{ ...request, model, stopWhen: stepCountIs(2), toolChoice: { type: 'tool', toolName: 'weather' } },
      prepareStep: ({ stepNumber }) => (stepNumber > 0 ? { toolChoice: 'none' } : {}),
    })
    expect(await text).not.toBe('')
    expect((await steps).map((step) => step.toolCalls.length)).toEqual([1, 0])
    expect(run).toHaveLength(2)
  })

  it('tools: what is wrong with a call the model is told', async () => {
    const called = calling(
      invalidCall('arguments', { id: '1', name: 'weather', argumentsText: '{"town":1}' }),
      invalidCall('unknown', { id: '2', name: 'x', argumentsText: '{}' }),
    )
    const { engine: model, asked } = scripted(called, { parts: [{ text: 'Sorry.' }] })
    const tools = { weather: tool({ inputSchema: z.object({ city: z.string() }), execute: async () => 'never' }) }
    const { text } = await generateText({ model: octavo(model), prompt: 'x', tools, stopWhen: stepCountIs(3) })
    expect(text).toBe('Sorry.')
    const told = asked[1]!.messages!.filter(({ role }) => role === 'tool')
    expect(told.map(({ tool_call_id }) => tool_call_id)).toEqual(['1', '2'])
    for (const { content } of told) expect(content).toMatch(/weather/)
  })

  it('a picture is left out, is not fetched, and there is a warning', async () => {
    const { engine: reader, asked } = scripted({ parts: [{ text: 'Yes.' }] })
    const content = [
      { type: 'text' as const, text: 'What is this?' },
      { type: 'image' as const, image: new URL('http://127.0.0.1:9/never.png') },
    ]
    const { warnings } = await generateText({ model: octavo(reader), messages: [{ role: 'user', content }] })
    expect(warnings).toMatchObject([{ type: 'unsupported', feature: expect.stringMatching(/^file part image/) }])
    expect(asked[0]!.messages).toEqual(user('What is this?'))
  })
})

it('is a model to the types of both', () => {
  const model = octavo(engine)
  model satisfies ai6.LanguageModel
  model satisfies ai7.LanguageModel
  expect(model.specificationVersion).toBe('v3')
})

describe.skipIf(!existsSync(smollm))('SmolLM2 (skipped where ../shared/models is absent)', () => {
  let smol: Engine
  beforeAll(async () => {
    smol = await Engine.load({ model: smollm, contextTokens: 1024 })
  })
  afterAll(() => smol.close())

  it.each(versions)('answers, and gives an object, as the engine does: %s', async (_, { generateText, Output }) => {
    const model = octavo(smol, { temperature: 0, maxTokens: 40 })
    const system = 'You are terse.'
    const question = 'Name the capital of France.'
    const messages = [{ role: 'system', content: system }, ...user(question)]
    const own = await smol.generate({ messages, temperature: 0, maxTokens: 40 }).result
    expect(own.text).toMatch(/Paris/)
    expect((await generateText({ model, system, prompt: question })).text).toBe(own.text)
    const schema = z.object({ capital: z.string().max(20), country: z.enum(['France', 'Spain']) })
    const held = await smol.generate({ messages, schema, temperature: 0, maxTokens: 40 }).result
    const { output } = await generateText({ model, system, prompt: question, output: Output.object({ schema }) })
    expect(held.object).toBeDefined()
    expect(output).toEqual(held.object)
  })
})

describe('a call', () => {
  const ask = async (call: Partial<LanguageModelV3CallOptions>, settings = {}) => {
    const { engine, asked } = scripted({ parts: [{ text: 'Hi' }] })
    const prompt = [{ role: 'user' as const, content: [{ type: 'text' as const, text: 'x' }] }]
    const { warnings } = await octavo(engine, settings).doGenerate({ prompt, ...call })
    return { options: asked[0]!, warnings }
  }

  it('becomes options of generate', async () => {
    const { signal } = new AbortController()
    const { options, warnings } = await ask(
      {
        ...{ maxOutputTokens: 1, temperature: 2, topK: 3, topP: 0.4, presencePenalty: 5, frequencyPenalty: 6, seed: 7 },
        ...{ stopSequences: ['a'], abortSignal: signal, headers: { a: 'b' } },
        providerOptions: { octavo: { minP: 0.1, tenant: 't' }, other: { x: 1 } },
      },
      { topK: 1, tenant: 's', priority: 2 },
    )
    expect(options).toEqual({
      ...{ maxTokens: 1, temperature: 2, topK: 3, topP: 0.4, presencePenalty: 5, frequencyPenalty: 6, seed: 7 },
      ...{ stop: ['a'], signal, minP: 0.1, tenant: 't', priority: 2, messages: user('x') },
    })
    expect(warnings).toEqual([])
  })

  it('leaves settings alone that it does not have', async () => {
    const { options } = await ask({ temperature: undefined } as object, { temperature: 0 })
    expect(options).toEqual({ temperature: 0, messages: user('x') })
  })

  it('asks for JSON', async () => {
    const schema = { type: 'object' as const, properties: { a: { type: 'string' as const } } }
    expect((await ask({ responseFormat: { type: 'json', schema } })).options).toMatchObject({ schema })
    expect((await ask({ responseFormat: { type: 'json' } })).options).toMatchObject({ schema: true })
    expect((await ask({ responseFormat: { type: 'text' } })).options).not.toHaveProperty('schema')
  })

  it('has tools', async () => {
    const inputSchema = { type: 'object' as const }
    const tools: LanguageModelV3CallOptions['tools'] = [
      { type: 'function', name: 'a', description: 'A', inputSchema },
      { type: 'provider', id: 'other.search', name: 'search', args: {} },
    ]
    const { options, warnings } = await ask({ tools, toolChoice: { type: 'tool', toolName: 'a' } })
    expect(options).toMatchObject({
      tools: [{ name: 'a', description: 'A', parameters: inputSchema }],
      toolChoice: { name: 'a' },
    })
    expect(warnings).toMatchObject([{ type: 'unsupported', feature: 'tool other.search' }])
    // What is so anyway needs not be said.
    expect((await ask({ tools, toolChoice: { type: 'auto' } })).options).not.toHaveProperty('toolChoice')
    for (const type of ['none', 'required'] as const)
      expect((await ask({ tools, toolChoice: { type } })).options).toMatchObject({ toolChoice: type })
    expect((await ask({ toolChoice: { type: 'none' } })).options).not.toHaveProperty('toolChoice')
  })

  it('is held to a schema or calls tools', async () => {
    const responseFormat = { type: 'json', schema: { type: 'object' } } as const
    const tools: LanguageModelV3CallOptions['tools'] = [{ type: 'function', name: 'a', inputSchema: {} }]
    const held = await ask({ responseFormat, tools, toolChoice: { type: 'auto' } })
    expect(held.options).toMatchObject({ schema: { type: 'object' }, tools: [{ name: 'a' }] })
    expect(held.options).not.toHaveProperty('toolChoice')
    expect(held.warnings).toEqual([])
    const called = await ask({ responseFormat, tools, toolChoice: { type: 'required' } })
    expect(called.options).toMatchObject({ toolChoice: 'required' })
    expect(called.options).not.toHaveProperty('schema')
    expect(called.warnings).toEqual([])
  })

  it('warns of an effort of reasoning, which ai 7 knows', async () => {
    const { warnings } = await ask({ reasoning: 'high' } as object)
    expect(warnings).toMatchObject([{ type: 'unsupported', feature: 'reasoning' }])
    expect((await ask({ reasoning: 'provider-default' } as object)).warnings).toEqual([])
  })

  it('has a prompt with everything in it', async () => {
    const result = (toolCallId: string, output: object) =>
      ({ type: 'tool-result', toolCallId, toolName: 'w', output }) as never
    const { options, warnings } = await ask({
      prompt: [
        { role: 'system', content: 'S' },
        {
          role: 'user',
          content: [
            { type: 'text', text: 'a' },
            { type: 'file', mediaType: 'image/png', data: 'AA==' },
            { type: 'text', text: 'b' },
          ],
        },
        {
          role: 'assistant',
          content: [
            { type: 'reasoning', text: 'R' },
            { type: 'text', text: 'T' },
            { type: 'tool-call', toolCallId: '1', toolName: 'w', input: { city: 'Rome' } },
            { type: 'tool-call', toolCallId: '2', toolName: '', input: undefined },
          ],
        },
        {
          role: 'tool',
          content: [
            result('1', { type: 'json', value: { sunny: true } }),
            result('2', { type: 'error-text', value: 'E' }),
            result('3', { type: 'execution-denied' }),
            result('4', {
              type: 'content',
              value: [
                { type: 'text', text: 'c' },
                { type: 'image-url', url: 'u' },
              ],
            }),
          ],
        },
      ],
    })
    const call = (id: string, name: string, args: object) => ({
      id,
      type: 'function',
      function: { name, arguments: args },
    })
    const tool = (id: string, content: string) => ({ role: 'tool', tool_call_id: id, name: 'w', content })
    expect(options.messages).toEqual([
      { role: 'system', content: 'S' },
      {
        role: 'user',
        content: [
          { type: 'text', text: 'a' },
          { type: 'text', text: 'b' },
        ],
      },
      {
        ...{ role: 'assistant', content: 'T', reasoning_content: 'R' },
        tool_calls: [call('1', 'w', { city: 'Rome' }), call('2', 'unknown', {})],
      },
      ...[tool('1', '{"sunny":true}'), tool('2', 'E'), tool('3', 'The tool was not allowed to run.'), tool('4', 'c')],
    ])
    expect(warnings).toMatchObject([{ feature: 'file part image/png' }, { feature: 'image-url part' }])
  })
})

describe('a stream', () => {
  const streamed = async (script: Parameters<typeof scripted>[0]) => {
    const { stream } = await octavo(scripted(script).engine).doStream({ prompt: [] })
    const parts: LanguageModelV3StreamPart[] = []
    for await (const part of stream as unknown as AsyncIterable<LanguageModelV3StreamPart>) parts.push(part)
    return parts
  }
  const brief = (parts: LanguageModelV3StreamPart[]) =>
    parts.map((part) => ('id' in part && 'delta' in part ? `${part.type} ${part.id} ${part.delta}` : part.type))

  it('has blocks of text and reasoning, and an end', async () => {
    const parts = await streamed({
      parts: [{ reasoning: 'r' }, { reasoning: 's', text: 't' }, { tokens: [1] }, { text: 'u' }],
      result: { finishReason: 'length', reasoningTokens: [1, 2], stop: { token: 2 } },
    })
    expect(brief(parts)).toEqual([
      ...['stream-start', 'response-metadata'],
      ...['reasoning-start', 'reasoning-delta 1 r', 'reasoning-delta 1 s', 'reasoning-end'],
      ...['text-start', 'text-delta 2 t', 'text-delta 2 u', 'text-end', 'finish'],
    ])
    expect(parts.at(-1)).toMatchObject({
      finishReason: { unified: 'length', raw: 'length' },
      usage: {
        inputTokens: { total: 10, noCache: 6, cacheRead: 4 },
        outputTokens: { total: 7, text: 5, reasoning: 2 },
      },
      providerMetadata: { octavo: { seed: 9, stop: { token: 2 } } },
    })
  })

  it('has calls, their arguments as they come', async () => {
    const unfinished = invalidCall('unfinished', { id: 'c', name: 'f', argumentsText: '{"x' })
    const parts = await streamed(calling(validCall('a', 'f', { x: 1 }), unfinished))
    expect(brief(parts).slice(2)).toEqual([
      ...['text-start', 'text-delta 1 Wait.', 'text-end'],
      ...['tool-input-start', 'tool-input-delta a {"x', 'tool-input-delta a ":1}', 'tool-input-end', 'tool-call'],
      ...['tool-input-start', 'tool-input-delta c {', 'tool-input-delta c "x', 'tool-input-end'],
      'finish',
    ])
    expect(parts).toContainEqual({ type: 'tool-call', toolCallId: 'a', toolName: 'f', input: '{"x":1}' })
    expect(parts.at(-1)).toMatchObject({ finishReason: { unified: 'tool-calls', raw: 'toolCalls' } })
  })

  it('that fails behind its first part says so and ends', async () => {
    const error = new OctavoError('ENGINE_FAILED', 'It died.')
    const parts = await streamed({ parts: [{ text: 'a' }], error })
    expect(parts.slice(-2)).toMatchObject([
      { type: 'error', error },
      { type: 'finish', finishReason: { unified: 'error', raw: 'ENGINE_FAILED' } },
    ])
  })

  it('ends its generation when its reader leaves', async () => {
    const prompt = [{ role: 'user' as const, content: [{ type: 'text' as const, text: story }] }]
    const ended = requestEnd()
    const { stream } = await octavo(engine).doStream({ prompt })
    await stream.cancel()
    expect(await ended).toMatchObject({ type: 'end', finishReason: 'cancelled' })
  })

  it('that fails before rejects', async () => {
    await expect(streamed({ error: new OctavoError('ENGINE_FAILED', 'It died.') })).rejects.toMatchObject({
      code: 'ENGINE_FAILED',
    })
  })
})
