/** octavo/langchain: what a program of LangChain's gets is what `engine.generate` gives. */
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import {
  AIMessage,
  type AIMessageChunk,
  ChatMessage,
  HumanMessage,
  SystemMessage,
  ToolMessage,
} from '@langchain/core/messages'
import type { ToolCall } from '@langchain/core/messages/tool'
import { StringOutputParser } from '@langchain/core/output_parsers'
import { ChatPromptTemplate } from '@langchain/core/prompts'
import { tool } from '@langchain/core/tools'
import { concat } from '@langchain/core/utils/stream'
import { Engine, OctavoError } from 'octavo'
import { ChatOctavo } from 'octavo/langchain'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { calling, invalidCall, requestEnd, scripted, validCall } from './adapter-tools.ts'

const smollm = fileURLToPath(new URL('../../shared/models/SmolLM2-135M-Instruct.Q4_1.gguf', import.meta.url))
const story = 'Tell a story about a shy owl named Luna and a golden kite.'
const user = (content: string) => [{ role: 'user', content }]

let engine: Engine
beforeAll(async () => {
  engine = await Engine.load({ model: 'stories' })
})
afterAll(() => engine.close())

async function joined(chunks: AsyncIterable<AIMessageChunk>): Promise<[AIMessageChunk, count: number]> {
  let whole: AIMessageChunk | undefined
  let count = 0
  for await (const chunk of chunks) {
    whole = whole === undefined ? chunk : concat(whole, chunk)
    count++
  }
  return [whole!, count]
}

describe('ChatOctavo', () => {
  it('invoke: the text, usage and seed of the same request', async () => {
    const model = new ChatOctavo({ engine, temperature: 0.8, topK: 20, seed: 5, maxTokens: 60 })
    const message = await model.invoke([new SystemMessage('Be brief.'), new HumanMessage(story)])
    const messages = [{ role: 'system', content: 'Be brief.' }, ...user(story)]
    const own = await engine.generate({ messages, temperature: 0.8, topK: 20, seed: 5, maxTokens: 60 }).result
    expect(message.content).toBe(own.text)
    const { promptTokens } = own.usage
    expect(message.usage_metadata).toMatchObject({
      ...{ input_tokens: promptTokens, output_tokens: 60, total_tokens: promptTokens + 60 },
    })
    expect(message.response_metadata).toMatchObject({
      ...{ model_provider: 'octavo', model_name: engine.model.name, finish_reason: 'length', seed: 5 },
    })
  })

  it('stream: chunks that join to it, with the options of the call', async () => {
    const model = new ChatOctavo({ engine, temperature: 0, maxTokens: 5 })
    const [whole, count] = await joined(await model.stream(story, { maxTokens: 100, stop: ['kite'] }))
    const own = await engine.generate({ messages: user(story), temperature: 0, maxTokens: 100, stop: 'kite' }).result
    expect(count).toBeGreaterThan(2)
    expect(whole.content).toBe(own.text)
    expect(whole.usage_metadata).toMatchObject({ output_tokens: own.usage.completionTokens })
    expect(whole.response_metadata).toMatchObject({ finish_reason: 'stop', stop: { text: 'kite' } })
  })

  it('stands in chains and batches', async () => {
    const model = new ChatOctavo({ engine, temperature: 0, maxTokens: 20 })
    const prompt = ChatPromptTemplate.fromMessages([['human', 'Tell a story about {hero}.']])
    const heroes = ['a brave fox named Otto', 'a kind bear named Mila']
    const texts = await prompt
      .pipe(model)
      .pipe(new StringOutputParser())
      .batch(heroes.map((hero) => ({ hero })))
    const own = heroes.map((hero) =>
      engine.generate({ messages: user(`Tell a story about ${hero}.`), temperature: 0, maxTokens: 20 }),
    )
    expect(texts).toEqual(await Promise.all(own.map(async ({ result }) => (await result).text)))
  })

  it('tells callbacks of pieces', async () => {
    const model = new ChatOctavo({ engine, temperature: 0, maxTokens: 40 })
    const pieces: string[] = []
    const callbacks = [{ handleLLMNewToken: (piece: string) => void pieces.push(piece) }]
    const stream = await model.stream(story, { callbacks })
    const [whole] = await joined(stream)
    expect(pieces.join('')).toBe(whole.content)
  })

  it('an abort ends the generation, before and while it runs', async () => {
    // Without an end, so that no machine is done before.
    const logitBias = Object.fromEntries(engine.model.eosIds.map((id) => [id, -Infinity]))
    const model = new ChatOctavo({ engine, logitBias })
    await expect(model.invoke(story, { signal: AbortSignal.abort() })).rejects.toThrow(/abort/i)
    for (const method of ['invoke', 'stream'] as const) {
      const controller = new AbortController()
      const ended = requestEnd()
      const read = async () => {
        if (method === 'invoke') {
          setTimeout(() => controller.abort(), 5)
          return model.invoke(story, { signal: controller.signal })
        }
        for await (const _ of await model.stream(story, { signal: controller.signal })) controller.abort()
      }
      await expect(read()).rejects.toThrow(/abort/i)
      expect(await ended).toMatchObject({ type: 'error', error: controller.signal.reason })
    }
  })

  it('a reader who leaves ends the generation', async () => {
    const ended = requestEnd()
    for await (const _ of await new ChatOctavo({ engine }).stream(story)) break
    expect(await ended).toMatchObject({ type: 'end', finishReason: 'cancelled' })
  })

  it('errors keep their codes', async () => {
    const model = new ChatOctavo({ engine })
    await expect(model.invoke(story, { temperature: -1 })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    const picture = new HumanMessage({
      content: [{ type: 'image_url', image_url: { url: 'http://127.0.0.1:9/x.png' } }],
    })
    await expect(model.invoke([picture])).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringMatching(/messages\.0\.content\.0.*images/),
    })
    await expect(model.invoke('long '.repeat(engine.model.contextTokens))).rejects.toBeInstanceOf(OctavoError)
  })

  it('says what it is', () => {
    const model = new ChatOctavo({ engine, temperature: 0.5, maxTokens: 7, tags: ['a'] })
    expect(model._llmType()).toBe('octavo')
    expect(model.settings).toEqual({ temperature: 0.5, maxTokens: 7 })
    expect(model._identifyingParams()).toEqual({ model_name: engine.model.name, temperature: 0.5, maxTokens: 7 })
    expect(model.getLsParams({ stop: ['x'] })).toEqual({
      ...{ ls_provider: 'octavo', ls_model_name: engine.model.name, ls_model_type: 'chat' },
      ...{ ls_temperature: 0.5, ls_max_tokens: 7, ls_stop: ['x'] },
    })
  })
})

describe('withStructuredOutput', () => {
  const Hero = z.object({ name: z.string().min(1).max(12), kind: z.enum(['owl', 'fox']), age: z.int().min(1).max(99) })
  const options = { temperature: 1.5, seed: 4, maxTokens: 200 }
  const own = () => engine.generate({ messages: user(story), schema: Hero, ...options }).result

  it('gives an object of a zod type, that of the same request', async () => {
    const model = new ChatOctavo({ engine, ...options }).withStructuredOutput(Hero)
    const object = await model.invoke(story)
    const { object: expected } = await own()
    expect(expected).toBeDefined()
    expect(object).toEqual(expected)
    // It has the type's type.
    object satisfies { name: string; kind: 'owl' | 'fox'; age: number }
  })

  it('gives one of a JSON Schema, which grows while it streams', async () => {
    const schema = z.toJSONSchema(Hero)
    const model = new ChatOctavo({ engine, ...options }).withStructuredOutput(schema)
    const partials: unknown[] = []
    for await (const partial of await model.stream(story)) partials.push(partial)
    expect(partials.length).toBeGreaterThan(1)
    expect(partials.at(-1)).toEqual((await own()).object)
  })

  it('gives the message, too', async () => {
    const model = new ChatOctavo({ engine, ...options }).withStructuredOutput(Hero, { includeRaw: true })
    const { raw, parsed } = await model.invoke(story)
    expect(parsed).toEqual((await own()).object)
    expect(JSON.parse(raw.content as string)).toEqual(parsed)
    const cut = new ChatOctavo({ engine, ...options, maxTokens: 3 }).withStructuredOutput(Hero, { includeRaw: true })
    expect(await cut.invoke(story)).toMatchObject({
      parsed: null,
      raw: { response_metadata: { finish_reason: 'length' } },
    })
  })

  it('rejects when the answer is cut short, and what cannot be enforced', async () => {
    const cut = new ChatOctavo({ engine, ...options, maxTokens: 3 }).withStructuredOutput(Hero)
    await expect(cut.invoke(story)).rejects.toThrow(/parse/i)
    const refused = new ChatOctavo({ engine }).withStructuredOutput({ type: 'string', pattern: '(a)\\1' })
    await expect(refused.invoke(story)).rejects.toMatchObject({ code: 'SCHEMA_UNSUPPORTED' })
  })

  it('gives JSON of any kind', async () => {
    const { engine, asked } = scripted({ parts: [{ text: '[1]' }] })
    expect(await new ChatOctavo({ engine }).withStructuredOutput({}, { method: 'jsonMode' }).invoke('x')).toEqual([1])
    expect(asked[0]!.schema).toBe(true)
  })
})

describe.skipIf(!existsSync(smollm))('SmolLM2 (skipped where ../shared/models is absent)', () => {
  let smol: Engine
  beforeAll(async () => {
    smol = await Engine.load({ model: smollm, contextTokens: 1024 })
  })
  afterAll(() => smol.close())

  it('answers, and gives an object, as the engine does', async () => {
    const options = { temperature: 0, maxTokens: 40 }
    const model = new ChatOctavo({ engine: smol, ...options })
    const question = 'Name the capital of France.'
    const own = await smol.generate({ messages: user(question), ...options }).result
    expect(own.text).toMatch(/Paris/)
    expect((await model.invoke(question)).content).toBe(own.text)
    const schema = z.object({ capital: z.string().max(20), country: z.enum(['France', 'Spain']) })
    const held = await smol.generate({ messages: user(question), schema, ...options }).result
    expect(held.object).toBeDefined()
    expect(await model.withStructuredOutput(schema).invoke(question)).toEqual(held.object)
  })
})

describe('bindTools', () => {
  const weather = tool(async ({ city }) => `sunny in ${city}`, {
    ...{ name: 'weather', description: 'The weather in a city', schema: z.object({ city: z.string() }) },
  })

  it('tells the model of tools, in whatever way they are written', async () => {
    const { engine, asked } = scripted({ parts: [{ text: 'Hi' }] })
    const model = new ChatOctavo({ engine })
    const bare = { type: 'function', function: { name: 'now', parameters: { type: 'object' } } }
    for (const choice of ['any', 'required', 'none', 'weather', { type: 'function', function: { name: 'now' } }])
      await model.bindTools([weather, bare], { tool_choice: choice }).invoke('x')
    await model.bindTools([weather]).invoke('x')
    expect(asked[0]!.tools).toMatchObject([
      {
        type: 'function',
        function: { name: 'weather', description: 'The weather in a city', parameters: { required: ['city'] } },
      },
      bare,
    ])
    expect(asked.map((options) => (options as { toolChoice?: unknown }).toolChoice)).toEqual([
      ...['required', 'required', 'none', { name: 'weather' }, { name: 'now' }, undefined],
    ])
  })

  it('gives calls, whole and in chunks, which tools run and the model is told of', async () => {
    const answers = [calling(validCall('1', 'weather', { city: 'Rome' })), { parts: [{ text: 'Fine.' }] }]
    const whole = await new ChatOctavo({ engine: scripted(...answers).engine }).bindTools([weather]).invoke('x')
    const { engine, asked } = scripted(...answers)
    const model = new ChatOctavo({ engine }).bindTools([weather])
    const [streamed] = await joined(await model.stream('x'))
    for (const message of [whole, streamed]) {
      expect(message.content).toBe('Wait.')
      expect(message.tool_calls).toMatchObject([
        { type: 'tool_call', id: '1', name: 'weather', args: { city: 'Rome' } },
      ])
      expect(message.response_metadata).toMatchObject({ finish_reason: 'tool_calls' })
    }
    const result = await weather.invoke(streamed.tool_calls![0]! as ToolCall)
    expect((await model.invoke(['x', streamed, result])).content).toBe('Fine.')
    expect(asked[1]!.messages).toEqual([
      ...user('x'),
      {
        ...{ role: 'assistant', content: 'Wait.' },
        tool_calls: [{ id: '1', type: 'function', function: { name: 'weather', arguments: { city: 'Rome' } } }],
      },
      { role: 'tool', tool_call_id: '1', name: 'weather', content: 'sunny in Rome' },
    ])
  })

  it('gives a call that must be, that of the same request', async () => {
    const schema = z.object({ city: z.enum(['Rome', 'Oslo']), days: z.int().min(1).max(9) })
    const parameters = z.toJSONSchema(schema)
    const options = { seed: 3, maxTokens: 200 }
    const tools = { weather: { description: 'w', parameters } }
    const messages = user('How is the weather?')
    const own = await engine.generate({ messages, tools, toolChoice: 'required', ...options }).result
    const bound = { type: 'function', function: { name: 'weather', description: 'w', parameters } }
    const model = new ChatOctavo({ engine, ...options }).bindTools([bound], { tool_choice: 'any' })
    const [streamed] = await joined(await model.stream('How is the weather?'))
    const { id, name, arguments: args } = own.toolCalls![0]!
    expect(args).toBeDefined()
    for (const message of [await model.invoke('How is the weather?'), streamed])
      expect(message.tool_calls).toEqual([{ type: 'tool_call', id, name, args }])
    const extracted = new ChatOctavo({ engine, ...options }).withStructuredOutput(schema, { method: 'functionCalling' })
    expect(schema.safeParse(await extracted.invoke('How is the weather?')).success).toBe(true)
  })

  it('keeps calls apart that cannot be run', async () => {
    const { engine } = scripted(
      calling(
        invalidCall('arguments', { id: '1', name: 'weather', argumentsText: '{"town":1}' }),
        invalidCall('malformed', { id: '2', name: '', argumentsText: '{"a":' }),
        invalidCall('unfinished', { id: '3', name: 'weather', argumentsText: '{}' }),
      ),
    )
    const { tool_calls, invalid_tool_calls } = await new ChatOctavo({ engine }).bindTools([weather]).invoke('x')
    expect(tool_calls).toMatchObject([{ id: '1', args: { town: 1 } }])
    expect(invalid_tool_calls).toMatchObject([
      { id: '2', args: '{"a":', error: 'm' },
      { id: '3', args: '{}', error: 'm' },
    ])
  })

  it('keeps calls apart in a stream, wherever the answer was cut', async () => {
    const text = String.raw`{"city": "Ro\"m\u00e9\\", "list": [1, -2.5e3, [true, null, {}], ""], "deep": {"a": {"b": false}}}`
    for (let length = 0; length < text.length; length++) {
      const call = invalidCall('unfinished', { id: '1', name: 'weather', argumentsText: text.slice(0, length) })
      const [{ tool_calls, invalid_tool_calls }] = await joined(
        await new ChatOctavo({ engine: scripted(calling(call)).engine }).stream('x'),
      )
      expect([length, tool_calls]).toEqual([length, []])
      expect(invalid_tool_calls).toMatchObject([{ id: '1', name: 'weather' }])
    }
  })

  it('serves withStructuredOutput, too', async () => {
    const { engine, asked } = scripted(calling(validCall('1', 'extract', { city: 'Rome' })))
    const schema = z.object({ city: z.string() })
    const model = new ChatOctavo({ engine }).withStructuredOutput(schema, { method: 'functionCalling' })
    expect(await model.invoke('x')).toEqual({ city: 'Rome' })
    expect(asked[0]).toMatchObject({ tools: [{ function: { name: 'extract' } }], toolChoice: { name: 'extract' } })
  })
})

describe('messages', () => {
  it('become those of octavo', async () => {
    const { engine, asked } = scripted({ parts: [{ text: 'Hi' }] })
    await new ChatOctavo({ engine }).invoke([
      new SystemMessage('S'),
      new HumanMessage({ content: [{ type: 'text', text: 'a', cache_control: {} }], name: 'Ann' }),
      new AIMessage({
        content: 'T',
        additional_kwargs: { reasoning_content: 'R' },
        tool_calls: [{ id: '1', name: 'w', args: { city: 'Rome' } }],
        invalid_tool_calls: [{ id: '2', name: 'v', args: '{"a":', error: 'E' }],
      }),
      new ToolMessage({ content: 'sunny', tool_call_id: '1', name: 'w' }),
      new ChatMessage('c', 'critic'),
      new AIMessage({
        content: [
          { type: 'reasoning', reasoning: 'r' },
          { type: 'text', text: 'b' },
          { type: 'tool_call', id: '3', name: 'u', args: {} },
        ],
        tool_calls: [{ id: '3', name: 'u', args: {} }],
      }),
    ])
    const call = (id: string, name: string, args: object) => ({
      id,
      type: 'function',
      function: { name, arguments: args },
    })
    expect(asked[0]!.messages).toEqual([
      { role: 'system', content: 'S' },
      { role: 'user', content: [{ type: 'text', text: 'a' }], name: 'Ann' },
      {
        ...{ role: 'assistant', content: 'T', reasoning_content: 'R' },
        tool_calls: [call('1', 'w', { city: 'Rome' }), call('2', 'v', {})],
      },
      { role: 'tool', content: 'sunny', tool_call_id: '1', name: 'w' },
      { role: 'critic', content: 'c' },
      { role: 'assistant', content: 'b', reasoning_content: 'r', tool_calls: [call('3', 'u', {})] },
    ])
  })

  it('have reasoning apart, whole and in chunks', async () => {
    const script = {
      parts: [{ reasoning: 'Hm' }, { reasoning: 'm.' }, { text: 'Yes' }, { text: '.' }],
      result: { reasoning: 'Hmm.', reasoningTokens: [1, 2] },
    }
    const model = new ChatOctavo({ engine: scripted(script).engine })
    const whole = await model.invoke('x')
    const [streamed] = await joined(await model.stream('x'))
    for (const message of [whole, streamed]) {
      expect([message.content, message.additional_kwargs.reasoning_content]).toEqual(['Yes.', 'Hmm.'])
      expect(message.usage_metadata).toEqual({
        ...{ input_tokens: 10, output_tokens: 7, total_tokens: 17 },
        ...{ input_token_details: { cache_read: 4 }, output_token_details: { reasoning: 2 } },
      })
    }
    // An answer goes back as it came.
    const { engine, asked } = scripted({ parts: [{ text: 'Hi' }] })
    await new ChatOctavo({ engine }).invoke(['x', whole, 'y'])
    expect(asked[0]!.messages![1]).toEqual({ role: 'assistant', content: 'Yes.', reasoning_content: 'Hmm.' })
  })
})
