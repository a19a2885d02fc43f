/**
 * The official clients on octavo/server: what a program of theirs gets is what the engine answers to the same request. openai 6 and 7, and
 * the AI SDK 6 and 7 with its provider for APIs like OpenAI's.
 */
import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { createOpenAICompatible as createOpenAICompatible3 } from '@ai-sdk/openai-compatible-3'
import * as ai6 from 'ai'
import * as ai7 from 'ai-7'
import { Engine, type GenerateOptions } from 'octavo'
import OpenAI6 from 'openai'
import OpenAI7 from 'openai-7'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { requestEnd } from './adapter-tools.ts'
import { type Json, type Running, serve } from './server-tools.ts'

const story = 'Tell a story about a shy owl named Luna and a golden kite.'
const messages = [{ role: 'user' as const, content: story }]
const Hero = z.object({
  name: z.string().min(1).max(12),
  kind: z.enum(['owl', 'fox', 'bear']),
  age: z.int().min(1).max(99),
})
const heroSchema = z.toJSONSchema(Hero) as Record<string, unknown>
const weather = {
  name: 'weather',
  description: 'w',
  parameters: {
    type: 'object',
    properties: { city: { enum: ['Rome', 'Oslo'] }, days: { type: 'integer', minimum: 1, maximum: 9 } },
    required: ['city', 'days'],
    additionalProperties: false,
  },
}

let engine: Engine
let server: Running
let baseURL: string
beforeAll(async () => {
  engine = await Engine.load({ model: 'stories' })
  server = await serve({ models: { stories: engine }, keys: [{ key: 'sk-test' }] })
  await server.loaded
  baseURL = `${server.url}/v1`
})
afterAll(async () => {
  await server.close()
  await engine.close()
})

const own = (options: GenerateOptions) => engine.generate({ messages, ...options }).result
const model = 'stories'

// What is used of both is the same; the types of one stand for the other.
describe.each([
  ['openai 6', OpenAI6],
  ['openai 7', OpenAI7 as unknown as typeof OpenAI6],
])('%s', (_, OpenAI) => {
  const client = (options = {}) => new OpenAI({ baseURL, apiKey: 'sk-test', maxRetries: 0, ...options })

  it('chat: text, usage, seed, log-probabilities', async () => {
    const asked = { model, messages, max_tokens: 40, temperature: 0.8, seed: 5, n: 2, logprobs: true, top_logprobs: 1 }
    const { choices, usage, id, _request_id } = await client().chat.completions.create(asked)
    const expected = await own({ maxTokens: 40, temperature: 0.8, seed: 5, logprobs: 1 })
    expect(choices).toHaveLength(2)
    expect(choices[0]).toMatchObject({ message: { content: expected.text }, finish_reason: 'length' })
    expect(choices[0]!.logprobs!.content!.map(({ logprob }) => logprob)).toEqual(
      expected.logprobs!.map(({ logprob }) => logprob),
    )
    expect(usage).toMatchObject({ prompt_tokens: expected.usage.promptTokens, completion_tokens: 80 })
    expect([id, _request_id]).toEqual([expect.stringMatching(/^chatcmpl-/), expect.stringMatching(/^req-/)])
  })

  it('chat: streamed, with usage, and its helper', async () => {
    const asked = { model, messages, seed: 3, stop: ['Luna'] }
    const expected = await own({ seed: 3, stop: 'Luna' })
    const stream = await client().chat.completions.create({
      ...{ ...asked, stream: true as const, stream_options: { include_usage: true } },
    })
    let text = ''
    let finish: string | null = null
    let total: number | undefined
    for await (const { choices, usage } of stream) {
      text += choices[0]?.delta.content ?? ''
      finish = choices[0]?.finish_reason ?? finish
      total = usage?.total_tokens ?? total
    }
    const { promptTokens, completionTokens } = expected.usage
    expect([text, finish, total]).toEqual([expected.text, 'stop', promptTokens + completionTokens])
    const helped = client().chat.completions.stream(asked)
    expect((await helped.finalChatCompletion()).choices[0]!.message.content).toBe(expected.text)
  })

  it('chat: an object, parsed', async () => {
    const response_format = {
      type: 'json_schema' as const,
      json_schema: { name: 'hero', schema: heroSchema, strict: true },
    }
    const asked = { model, messages, seed: 4, temperature: 1.5, max_tokens: 200, response_format }
    const expected = await own({ seed: 4, temperature: 1.5, maxTokens: 200, schema: heroSchema })
    const { choices } = await client().chat.completions.parse(asked)
    expect(choices[0]!.message.parsed).toEqual(expected.object)
    expect(Hero.parse(choices[0]!.message.parsed)).toEqual(expected.object)
  })

  it('chat: tools, run by its helper', async () => {
    const expected = await own({ seed: 3, maxTokens: 200, tools: [weather], toolChoice: 'required' })
    const run: unknown[] = []
    const tool = {
      type: 'function' as const,
      function: {
        ...weather,
        parse: JSON.parse,
        function: (args: unknown) => {
          run.push(args)
          return 'sunny'
        },
      },
    }
    for (const stream of [false, true]) {
      run.length = 0
      const asked = {
        model,
        messages,
        seed: 3,
        max_tokens: 200,
        tools: [tool],
        stream,
        tool_choice: { type: 'function', function: { name: 'weather' } },
      }
      const runner = (client().chat.completions.runTools as (options: unknown) => Json)(asked)
      await runner.done().catch(() => {})
      expect(run[0]).toEqual(expected.toolCalls![0]!.arguments)
      const all: Json[] = runner.messages
      expect(all.find(({ role }) => role === 'tool')).toMatchObject({
        content: 'sunny',
        tool_call_id: expected.toolCalls![0]!.id,
      })
    }
  })

  it('completions, and a list of models', async () => {
    const expected = await engine.generate({ prompt: 'Once upon', seed: 1, maxTokens: 12 }).result
    const asked = { model, prompt: 'Once upon', seed: 1, max_tokens: 12 }
    expect((await client().completions.create(asked)).choices[0]!.text).toBe(expected.text)
    let text = ''
    for await (const { choices } of await client().completions.create({ ...asked, stream: true }))
      text += choices[0]!.text
    expect(text).toBe(expected.text)
    const names: string[] = []
    for await (const { id } of client().models.list()) names.push(id)
    expect(names).toEqual(['stories'])
    expect((await client().models.retrieve('stories')).owned_by).toBe('octavo')
  })

  it('responses: text, objects, calls, streamed and not', async () => {
    const asked = { model, input: story, instructions: 'Be brief.', seed: 2, max_output_tokens: 30 }
    const whole = [{ role: 'system', content: 'Be brief.' }, ...messages]
    const expected = await engine.generate({ messages: whole, seed: 2, maxTokens: 30 }).result
    const response = await client().responses.create(asked)
    expect([response.output_text, response.status]).toEqual([expected.text, 'incomplete'])
    expect(response.incomplete_details).toEqual({ reason: 'max_output_tokens' })
    expect(response.usage).toMatchObject({ input_tokens: expected.usage.promptTokens, output_tokens: 30 })
    const stream = client().responses.stream(asked)
    const deltas: string[] = []
    stream.on('response.output_text.delta', ({ delta }) => void deltas.push(delta))
    const final = await stream.finalResponse()
    const item = final.output[0] as Json
    expect([item.content[0].text, deltas.join('')]).toEqual([expected.text, expected.text])

    const format = { type: 'json_schema' as const, name: 'hero', schema: heroSchema, strict: true }
    const object = { model, input: story, seed: 4, temperature: 1.5, max_output_tokens: 200, text: { format } }
    const parsed = await client().responses.parse(object)
    expect(parsed.output_parsed).toEqual(
      (await own({ seed: 4, temperature: 1.5, maxTokens: 200, schema: heroSchema })).object,
    )

    const called = await own({ seed: 3, maxTokens: 200, tools: [weather], toolChoice: 'required' })
    const [call] = called.toolCalls!
    const tools = [{ type: 'function' as const, strict: null, ...weather }]
    const calls = { model, input: story, seed: 3, max_output_tokens: 200, tools, tool_choice: 'required' as const }
    const items = (await client().responses.create(calls)).output
    expect(items).toMatchObject([
      { type: 'function_call', call_id: call!.id, name: 'weather', arguments: call!.argumentsText },
    ])
    const streamed = (
      await client()
        .responses.stream(calls as Json)
        .finalResponse()
    ).output
    expect(streamed).toMatchObject([{ type: 'function_call', call_id: call!.id, arguments: call!.argumentsText }])

    const input = [
      { role: 'user' as const, content: [{ type: 'input_text' as const, text: story }] },
      { type: 'function_call' as const, call_id: 'a', name: 'weather', arguments: '{"city":"Rome","days":1}' },
      { type: 'function_call_output' as const, call_id: 'a', output: 'sunny' },
      { role: 'user' as const, content: 'And then?' },
    ]
    const conversation = [
      ...messages,
      {
        role: 'assistant',
        content: '',
        tool_calls: [
          { id: 'a', type: 'function', function: { name: 'weather', arguments: '{"city":"Rome","days":1}' } },
        ],
      },
      { role: 'tool', tool_call_id: 'a', content: 'sunny' },
      { role: 'user', content: 'And then?' },
    ]
    const later = await engine.generate({ messages: conversation, seed: 1, maxTokens: 12 }).result
    expect(
      (await client().responses.create({ model, input, seed: 1, max_output_tokens: 12 } as Json)).output_text,
    ).toBe(later.text)
  })

  it('errors are its own classes', async () => {
    const create = (body: object, options = {}) =>
      client(options).chat.completions.create({ model, messages, ...body } as Json)
    await expect(create({ temperature: -1 })).rejects.toMatchObject({
      constructor: OpenAI.BadRequestError,
      status: 400,
      param: 'temperature',
    })
    await expect(create({ model: 'x' })).rejects.toMatchObject({
      constructor: OpenAI.NotFoundError,
      code: 'model_not_found',
    })
    await expect(create({}, { apiKey: 'wrong' })).rejects.toMatchObject({ constructor: OpenAI.AuthenticationError })
    await expect(
      create({ stream: true, messages: [{ role: 'user', content: 'long '.repeat(4000) }] }),
    ).rejects.toMatchObject({
      ...{ constructor: OpenAI.BadRequestError, code: 'context_length_exceeded' },
    })
    const refused = client().responses.create({ model, input: 'x', previous_response_id: 'resp_1' })
    await expect(refused).rejects.toMatchObject({ status: 400, param: 'previous_response_id' })
  })

  it('an abort ends the generation', async () => {
    for (const stream of [true, false]) {
      const ended = requestEnd()
      const controller = new AbortController()
      const asked = client().chat.completions.create({ model, messages, stream, ignore_eos: true } as Json, {
        signal: controller.signal,
      }) as Promise<Json>
      if (stream) for await (const _ of await asked) controller.abort()
      else {
        setTimeout(() => controller.abort(), 50)
        await expect(asked).rejects.toThrow()
      }
      expect(await ended).toMatchObject({ type: 'end', finishReason: 'cancelled' })
    }
  })
})

Object.assign(globalThis, { AI_SDK_LOG_WARNINGS: false })

describe.each([
  ['ai 6', ai6, createOpenAICompatible],
  ['ai 7', ai7 as unknown as typeof ai6, createOpenAICompatible3 as unknown as typeof createOpenAICompatible],
])('%s', (_, ai, create) => {
  const { generateObject, generateText, stepCountIs, streamObject, streamText, tool } = ai
  const provider = () =>
    create({ name: 'octavo', baseURL, apiKey: 'sk-test', includeUsage: true, supportsStructuredOutputs: true })

  it('text, whole and streamed', async () => {
    const request = { model: provider()('stories'), prompt: story, seed: 3, maxOutputTokens: 50, temperature: 0.9 }
    const expected = await own({ seed: 3, maxTokens: 50, temperature: 0.9 })
    const { text, usage, finishReason } = await generateText(request)
    expect([text, finishReason]).toEqual([expected.text, 'length'])
    expect(usage).toMatchObject({ inputTokens: expected.usage.promptTokens, outputTokens: 50 })
    const streamed = streamText(request)
    let joined = ''
    for await (const piece of streamed.textStream) joined += piece
    expect(joined).toBe(expected.text)
    expect((await streamed.usage).outputTokens).toBe(50)
  })

  it('objects, whole and growing', async () => {
    const request = {
      model: provider()('stories'),
      prompt: story,
      schema: Hero,
      seed: 4,
      temperature: 1.5,
      maxOutputTokens: 200,
    }
    const { object } = await generateObject(request)
    expect(Hero.parse(object)).toEqual(object)
    const streamed = streamObject(request)
    let last: unknown
    for await (const partial of streamed.partialObjectStream) last = partial
    expect(last).toEqual(object)
    expect(await streamed.object).toEqual(object)
  })

  it('tools, run by the SDK', async () => {
    const run: unknown[] = []
    const inputSchema = z.object({ city: z.enum(['Rome', 'Oslo']), days: z.int().min(1).max(9) })
    const tools = {
      weather: tool({
        description: 'w',
        inputSchema,
        execute: async (args) => {
          run.push(args)
          return 'sunny'
        },
      }),
    }
    const request = {
      model: provider()('stories'),
      prompt: story,
      tools,
      toolChoice: 'required' as const,
      seed: 3,
      maxOutputTokens: 200,
    }
    const { toolCalls, finishReason } = await generateText(request)
    expect([toolCalls.length, finishReason, inputSchema.safeParse(toolCalls[0]!.input).success]).toEqual([
      1,
      'tool-calls',
      true,
    ])
    const streamed = streamText({
      ...{ ...request, stopWhen: stepCountIs(2) },
      prepareStep: ({ stepNumber }) => (stepNumber > 0 ? { toolChoice: 'none' } : {}),
    })
    expect(await streamed.text).not.toBe('')
    expect((await streamed.steps).map((step) => step.toolCalls.length)).toEqual([1, 0])
    expect(run).toEqual([toolCalls[0]!.input, toolCalls[0]!.input])
  })

  it('errors and aborts', async () => {
    const request = { model: provider()('stories'), prompt: story, maxRetries: 0 }
    await expect(generateText({ ...request, temperature: -1 })).rejects.toMatchObject({ statusCode: 400 })
    const wrong = create({ name: 'octavo', baseURL, apiKey: 'no' })('stories')
    await expect(generateText({ ...request, model: wrong })).rejects.toMatchObject({ statusCode: 401 })
    const ended = requestEnd()
    const controller = new AbortController()
    const options = { octavo: { ignore_eos: true } }
    const { textStream } = streamText({ ...request, abortSignal: controller.signal, providerOptions: options })
    for await (const _ of textStream) controller.abort()
    expect(await ended).toMatchObject({ type: 'end', finishReason: 'cancelled' })
  })
})
