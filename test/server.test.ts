/** The routes of octavo/server: what an answer over HTTP is, against the same request to the engine itself; what is refused, and how. */
import { Engine, type GenerateOptions } from 'octavo'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { requestEnd } from './adapter-tools.ts'
import {
  dial,
  eventsOf,
  get,
  httpRequest,
  type Json,
  joined,
  post,
  type Running,
  serve,
  until,
} from './server-tools.ts'

const messages = [{ role: 'user', content: 'Tell a story about a shy owl named Luna and a golden kite.' }]
const chat = { model: 'stories', messages }

let engine: Engine
let server: Running
beforeAll(async () => {
  engine = await Engine.load({ model: 'stories' })
  server = await serve({ models: { stories: engine }, aliases: { 'gpt-4o-mini': 'stories' } })
  await server.loaded
})
afterAll(async () => {
  await server.close()
  // It was handed in: it is ours to close.
  expect(engine.failure).toBeUndefined()
  await engine.close()
  expect(engine.failure).toMatchObject({ code: 'ENGINE_CLOSED' })
})

const ask = (body: object, path = '/v1/chat/completions') => post(server.url + path, body)
const own = (options: GenerateOptions) => engine.generate({ messages, ...options }).result
const usage = ({ usage: { promptTokens, completionTokens } }: Awaited<ReturnType<typeof own>>) => ({
  prompt_tokens: promptTokens,
  completion_tokens: completionTokens,
  total_tokens: promptTokens + completionTokens,
})

describe('/v1/chat/completions', () => {
  const sampling = { temperature: 0.9, top_p: 0.8, top_k: 30, min_p: 0.01, seed: 7, max_tokens: 40 }
  const options = { temperature: 0.9, topP: 0.8, topK: 30, minP: 0.01, seed: 7, maxTokens: 40 }

  it('is what the engine answers', async () => {
    const expected = await own(options)
    const { status, body } = await ask({ ...chat, ...sampling })
    expect(status).toBe(200)
    expect(body).toMatchObject({ object: 'chat.completion', model: 'stories', usage: usage(expected) })
    expect(body.id).toMatch(/^chatcmpl-/)
    expect(body.choices).toEqual([
      {
        index: 0,
        message: { role: 'assistant', content: expected.text, refusal: null },
        logprobs: null,
        finish_reason: 'length',
        stop_reason: null,
        seed: 7,
      },
    ])
  })

  it('comes in chunks that join to it', async () => {
    const expected = await own(options)
    const { body, headers } = await ask({
      ...{ ...chat, ...sampling, stream: true, stream_options: { include_usage: true } },
    })
    expect(headers.get('content-type')).toMatch('text/event-stream')
    const events = eventsOf(body)
    expect(events.at(-1)).toBe('[DONE]')
    expect(events[0].choices[0].delta).toEqual({ role: 'assistant', content: '' })
    expect(events.at(-2)).toMatchObject({ choices: [], usage: usage(expected) })
    for (const event of events.slice(0, -2)) expect(event).toMatchObject({ id: events[0].id, usage: null })
    expect(joined(events.slice(0, -2))).toEqual([{ content: expected.text, finish: 'length' }])
    const plain = eventsOf((await ask({ ...chat, ...sampling, stream: true })).body)
    expect(plain.some((event) => event.usage !== undefined)).toBe(false)
  })

  it('n answers: those of the seeds that follow', async () => {
    const expected = await Promise.all([7, 8, 9].map((seed) => own({ ...options, seed })))
    const whole = (await ask({ ...chat, ...sampling, n: 3 })).body
    expect(whole.choices.map((choice: Json) => choice.message.content)).toEqual(expected.map(({ text }) => text))
    expect(whole.usage).toMatchObject({
      prompt_tokens: expected[0]!.usage.promptTokens,
      completion_tokens: 120,
    })
    const events = eventsOf((await ask({ ...chat, ...sampling, n: 3, stream: true })).body)
    expect(joined(events).map(({ content }) => content)).toEqual(expected.map(({ text }) => text))
  })

  it('log-probabilities with the bytes of their tokens', async () => {
    const expected = await own({ ...options, logprobs: 2 })
    const { body } = await ask({ ...chat, ...sampling, logprobs: true, top_logprobs: 2 })
    const { content } = body.choices[0].logprobs
    expect(content.map((entry: Json) => entry.logprob)).toEqual(expected.logprobs!.map(({ logprob }) => logprob))
    expect(content.map((entry: Json) => entry.top_logprobs.length)).toEqual(content.map(() => 2))
    const bytes = content.flatMap((entry: Json) => entry.bytes)
    expect(Buffer.from(bytes).toString().trimStart()).toBe(expected.text)
    const events = eventsOf((await ask({ ...chat, ...sampling, logprobs: true, top_logprobs: 2, stream: true })).body)
    expect(events.flatMap((event) => event.choices?.[0].logprobs?.content ?? [])).toEqual(content)
  })

  it('stop, penalties, biases', async () => {
    const stop = await own({ seed: 3, stop: ['Luna'] })
    const { body } = await ask({ ...chat, seed: 3, stop: 'Luna' })
    expect(body.choices[0]).toMatchObject({
      message: { content: stop.text },
      finish_reason: 'stop',
      stop_reason: 'Luna',
    })
    const [token] = await engine.tokenize(' owl')
    const others: [object, GenerateOptions][] = [
      [
        { presence_penalty: 1.5, frequency_penalty: 0.5 },
        { presencePenalty: 1.5, frequencyPenalty: 0.5 },
      ],
      [{ repetition_penalty: 1.4 }, { repetitionPenalty: 1.4 }],
      [{ logit_bias: { [token!]: -100 } }, { logitBias: { [token!]: -100 } }],
      [{ stop_token_ids: [token] }, { stopTokens: [token!] }],
      [
        { top_k: -1, top_p: 1 },
        { topK: 0, topP: 1 },
      ],
      [{ top_p: 0 }, { topK: 1 }],
      [{ max_completion_tokens: 30, max_tokens: null }, { maxTokens: 30 }],
    ]
    for (const [fields, options] of others) {
      const base = { maxTokens: 40, seed: 5 }
      const answer = (await ask({ ...chat, max_tokens: 40, seed: 5, ...fields })).body.choices[0].message.content
      expect([fields, answer]).toEqual([fields, (await own({ ...base, ...options })).text])
    }
  })

  it('objects: JSON of any kind, of a schema, and other forms', async () => {
    const schema = {
      type: 'object',
      properties: { name: { type: 'string', maxLength: 12 }, age: { type: 'integer', minimum: 1, maximum: 99 } },
      required: ['name', 'age'],
      additionalProperties: false,
    }
    const asked = { ...chat, seed: 4, temperature: 1.5, max_tokens: 200 }
    const expected = await own({ seed: 4, temperature: 1.5, maxTokens: 200, schema })
    const format = { type: 'json_schema', json_schema: { name: 'hero', strict: true, schema } }
    const { body } = await ask({ ...asked, response_format: format })
    expect(JSON.parse(body.choices[0].message.content)).toEqual(expected.object)
    const events = eventsOf((await ask({ ...asked, response_format: format, stream: true })).body)
    expect(JSON.parse(joined(events)[0]!.content)).toEqual(expected.object)
    for (const guided of [{ guided_json: schema }, { structured_outputs: { json: JSON.stringify(schema) } }]) {
      const other = (await ask({ ...asked, ...guided })).body.choices[0].message.content
      expect(JSON.parse(other)).toEqual(expected.object)
    }
    const any = (await ask({ ...asked, response_format: { type: 'json_object' }, max_tokens: 40 })).body.choices[0]
    expect(any.message.content).toBe((await own({ ...expectedOptions, schema: { type: 'object' } })).text)
    const choice = (await ask({ ...asked, guided_choice: ['owl', 'kite'] })).body.choices[0].message.content
    expect(['owl', 'kite']).toContain(choice)
    const regex = (await ask({ ...asked, structured_outputs: { regex: '[0-9]{3}' } })).body.choices[0].message.content
    expect(regex).toMatch(/^\d{3}$/)
    const ebnf = (await ask({ ...asked, guided_grammar: 'root ::= "a" "b"' })).body.choices[0].message.content
    expect(ebnf).toBe('ab')
  })
  const expectedOptions = { seed: 4, temperature: 1.5, maxTokens: 40 }

  const weather = {
    name: 'weather',
    description: 'w',
    parameters: {
      type: 'object',
      properties: { city: { enum: ['Rome', 'Oslo'] } },
      required: ['city'],
      additionalProperties: false,
    },
  }
  const tools = [{ type: 'function' as const, function: weather }]

  it('a call that must be, and its pieces', async () => {
    const { toolCalls } = await own({ tools, toolChoice: 'required', seed: 3, maxTokens: 100 })
    const [call] = toolCalls!
    const called = { id: call!.id, type: 'function', function: { name: 'weather', arguments: call!.argumentsText } }
    const choices = ['required', { type: 'function', function: { name: 'weather' } }]
    for (const tool_choice of choices) {
      const asked = { ...chat, tools, tool_choice, seed: 3, max_tokens: 100 }
      const { message, finish_reason } = (await ask(asked)).body.choices[0]
      expect([message.tool_calls, message.content, finish_reason]).toEqual([[called], null, 'tool_calls'])
      const deltas = eventsOf((await ask({ ...asked, stream: true })).body).flatMap(
        (event) => event.choices?.[0].delta.tool_calls ?? [],
      )
      expect(deltas[0]).toMatchObject({ index: 0, id: call!.id, type: 'function', function: { name: 'weather' } })
      expect(deltas.map((delta) => delta.function.arguments).join('')).toBe(call!.argumentsText)
      expect(deltas.slice(1).every((delta) => delta.id === undefined)).toBe(true)
    }
  })

  it('tools beside a form are not called, with a warning; none are told of where none may be called', async () => {
    const form = { response_format: { type: 'json_object' }, max_tokens: 20, seed: 1 }
    const { headers, body } = await ask({ ...chat, tools, ...form })
    expect(headers.get('x-octavo-warning')).toMatch('tools are not called')
    const alone = await own({ schema: { type: 'object' }, tools, toolChoice: 'none', maxTokens: 20, seed: 1 })
    expect(body.choices[0].message.content).toBe(alone.text)
    const none = await ask({ ...chat, tools, tool_choice: 'none', max_tokens: 20, seed: 1 })
    expect(none.body.choices[0].message.content).toBe((await own({ maxTokens: 20, seed: 1 })).text)
  })

  it('the template gets its variables, and an answer may be begun', async () => {
    const begun = [...messages, { role: 'assistant', content: 'Once upon a time, Luna' }]
    const { body } = await ask({ ...chat, messages: begun, continue_final_message: true, seed: 1, max_tokens: 20 })
    const expected = await engine.generate({ messages: begun, continueFinalMessage: true, seed: 1, maxTokens: 20 })
      .result
    expect(body.choices[0].message.content).toBe(expected.text)
  })
})

describe('/v1/completions', () => {
  it('goes on with texts and ids, n of each', async () => {
    const ids = await engine.tokenize('The little fox')
    const sampling = { max_tokens: 12, seed: 2 }
    const expected = await Promise.all(
      ['Once upon', 'The little fox'].flatMap((prompt) =>
        [2, 3].map((seed) => engine.generate({ prompt, maxTokens: 12, seed }).result),
      ),
    )
    const { body } = await ask({ prompt: ['Once upon', 'The little fox'], n: 2, ...sampling }, '/v1/completions')
    expect(body.choices.map((choice: Json) => [choice.index, choice.text])).toEqual(
      expected.map(({ text }, i) => [i, text]),
    )
    expect(body.usage.prompt_tokens).toBe(expected[0]!.usage.promptTokens + expected[2]!.usage.promptTokens)
    const streamed = eventsOf(
      (await ask({ prompt: ['Once upon', 'The little fox'], n: 2, ...sampling, stream: true }, '/v1/completions')).body,
    )
    expect(joined(streamed).map(({ content }) => content)).toEqual(expected.map(({ text }) => text))
    const withBos = engine.model.addsBos ? [engine.model.bosId!, ...ids] : ids
    const byIds = (await ask({ prompt: withBos, ...sampling }, '/v1/completions')).body.choices[0].text
    expect(byIds).toBe(expected[2]!.text)
    const echoed = (await ask({ prompt: 'Once upon', echo: true, ...sampling }, '/v1/completions')).body.choices[0]
    expect(echoed.text).toBe(`Once upon${expected[0]!.text}`)
  })

  it('has 16 tokens where nothing is said, and log-probabilities in its own shape', async () => {
    const { body } = await ask({ prompt: 'Once upon', logprobs: 1, seed: 2 }, '/v1/completions')
    const { tokens, token_logprobs, top_logprobs, text_offset } = body.choices[0].logprobs
    expect(body.usage.completion_tokens).toBe(16)
    expect([tokens.length, token_logprobs.length, top_logprobs.length]).toEqual([16, 16, 16])
    expect(tokens.join('')).toBe(body.choices[0].text)
    for (const [i, at] of text_offset.entries()) expect(body.choices[0].text.startsWith(tokens[i], at)).toBe(true)
  })
})

describe('/tokenize and /detokenize', () => {
  it('are the tokens of prompts, and their text', async () => {
    const ids = await engine.tokenize('A shy owl', { addBos: engine.model.addsBos })
    const { body } = await ask({ prompt: 'A shy owl', return_token_strs: true }, '/tokenize')
    expect(body).toMatchObject({ count: ids.length, tokens: ids, max_model_len: engine.model.contextTokens })
    expect(body.token_strs.join('').trimStart()).toBe('A shy owl')
    const { tokens } = (await ask({ messages }, '/tokenize')).body
    expect(tokens).toEqual((await engine.renderPrompt({ messages })).tokens)
    const plain = (await ask({ prompt: 'A shy owl', add_special_tokens: false }, '/tokenize')).body.tokens
    expect((await ask({ tokens: plain }, '/detokenize')).body).toEqual({ prompt: 'A shy owl' })
  })
})

describe('what is refused', () => {
  const json = (type: string, param: string | null, code: string) => ({ error: { type, param, code } })
  const wrong = 'invalid_request_error'
  it.each([
    [{ ...chat, temperature: -1 }, 'temperature'],
    [{ ...chat, temperature: 'hot' }, 'temperature'],
    [{ ...chat, max_completion_tokens: 0 }, 'max_completion_tokens'],
    [{ ...chat, max_tokens: 1.5 }, 'max_tokens'],
    [{ ...chat, top_k: -2 }, 'top_k'],
    [{ ...chat, n: 0 }, 'n'],
    [{ ...chat, stream: 'yes' }, 'stream'],
    [{ ...chat, stop: [1] }, 'stop'],
    [{ ...chat, stop: '' }, 'stop'],
    [{ ...chat, seed: -1 }, 'seed'],
    [{ ...chat, logit_bias: { a: 1 } }, 'logit_bias.a'],
    [{ ...chat, logit_bias: { 999999999: 1 } }, 'logit_bias[0]'],
    [{ ...chat, top_logprobs: 2 }, 'logprobs'],
    [{ ...chat, messages: [] }, 'messages'],
    [{ ...chat, messages: 'x' }, 'messages'],
    [{ model: 'stories' }, 'messages'],
    [{ ...chat, messages: [{ role: 'user', content: [{ type: 'image_url' }] }] }, 'messages.0.content.0.type'],
    [{ ...chat, tools: [{ type: 'retrieval' }] }, 'tools.0.type'],
    [{ ...chat, tools: {} }, 'tools'],
    [{ ...chat, tool_choice: 'required' }, 'tools'],
    [{ ...chat, tool_choice: 'sometimes' }, 'tool_choice'],
    [
      {
        ...chat,
        tools: [{ type: 'function', function: { name: 'a' } }],
        tool_choice: { type: 'function', function: { name: 'b' } },
      },
      'tool_choice',
    ],
    [{ ...chat, response_format: { type: 'xml' } }, 'response_format.type'],
    [{ ...chat, response_format: { type: 'json_schema' } }, 'response_format.json_schema'],
    [{ ...chat, guided_regex: '(' }, 'guided_regex'],
    [{ ...chat, chat_template_kwargs: { messages: 1 } }, 'chat_template_kwargs.messages'],
    [{ ...chat, deadline_ms: 0 }, 'deadline_ms.totalMs'],
  ] as [object, string][])('%j names %s', async (body, param) => {
    for (const stream of [false, true]) {
      const { status, body: told } = await ask({ stream, ...body })
      expect([status, told.error?.param, told.error?.type]).toEqual([400, param, wrong])
      expect(told.error.message).not.toMatch(/Option |undefined\.$/)
    }
  })

  it('schemas that cannot be enforced, prompts that are too long', async () => {
    const schema = { type: 'string', pattern: '(a)\\1' }
    const format = { response_format: { type: 'json_schema', json_schema: { name: 'x', schema } } }
    expect((await ask({ ...chat, ...format })).body).toMatchObject(json(wrong, 'response_format', 'schema_unsupported'))
    const long = [{ role: 'user', content: 'long '.repeat(4000) }]
    for (const stream of [false, true])
      expect(await ask({ ...chat, messages: long, stream })).toMatchObject({
        ...{ status: 400, body: json(wrong, 'messages', 'context_length_exceeded') },
      })
    const completion = await ask({ prompt: 'long '.repeat(4000) }, '/v1/completions')
    expect(completion.body).toMatchObject(json(wrong, 'prompt', 'context_length_exceeded'))
  })

  it('models, routes and bodies that are none', async () => {
    expect(await ask({ ...chat, model: 'gpt-9' })).toMatchObject({
      ...{ status: 404, body: json('not_found_error', 'model', 'model_not_found') },
    })
    expect(await ask(chat, '/v1/nothing')).toMatchObject({
      status: 404,
      body: json('not_found_error', null, 'unknown_url'),
    })
    const url = `${server.url}/v1/chat/completions`
    expect(await post(url, '{"a":')).toMatchObject({ status: 400, body: json(wrong, null, 'invalid_json') })
    expect(await post(url, '')).toMatchObject({ status: 400, body: json(wrong, null, 'invalid_json') })
    expect(await post(url, '[1]')).toMatchObject({ status: 400, body: json(wrong, null, 'invalid_type') })
    expect(await post(url, chat, { headers: { 'content-type': 'text/plain' } })).toMatchObject({
      ...{ status: 415, body: json(wrong, null, 'unsupported_media_type') },
    })
    const large = { ...chat, user: 'x'.repeat(9 << 20) }
    expect(await post(url, large)).toMatchObject({ status: 413, body: json(wrong, null, 'body_too_large') })
  })

  it('unknown fields are not, but named in a header', async () => {
    const fields = { foo: 1, 'a\r\nset-cookie: x': 2, metadata: {}, user: 'me', store: true }
    const { status, headers } = await ask({ ...chat, max_tokens: 2, ...fields })
    expect(status).toBe(200)
    expect(headers.get('x-octavo-warning')).toBe(
      "'foo' is not known and was ignored; 'a??set-cookie??x' is not known and was ignored",
    )
    expect(headers.get('set-cookie')).toBeNull()
    expect(
      (await ask({ ...chat, max_tokens: 2, temperature: null, stop: null })).headers.get('x-octavo-warning'),
    ).toBeNull()
  })
})

describe('/openapi.json', () => {
  it('describes every route, with schemas that bodies meet', async () => {
    const { paths, components, openapi } = (await get(`${server.url}/openapi.json`)).body
    expect([openapi, Object.keys(components.schemas)]).toEqual(['3.1.0', ['Error']])
    expect(Object.keys(paths).sort()).toEqual([
      ...['/detokenize', '/health', '/metrics', '/ready', '/tokenize'],
      ...['/v1/chat/completions', '/v1/completions', '/v1/models', '/v1/responses'],
    ])
    const { default: Ajv2020 } = await import('ajv/dist/2020.js')
    const check = (path: string) =>
      new (Ajv2020 as unknown as typeof Ajv2020.default)({ strict: true, allowUnionTypes: true }).compile(
        paths[path].post.requestBody.content['application/json'].schema,
      )
    const isChat = check('/v1/chat/completions')
    const format = { type: 'json_schema', json_schema: { name: 'x', schema: true } }
    expect(isChat({ ...chat, temperature: 1, stop: ['a'], tools: [], response_format: format, new_field: 1 })).toBe(
      true,
    )
    for (const wrong of [{ ...chat, temperature: 'x' }, { model: 'stories' }, { ...chat, n: 0 }])
      expect(isChat(wrong)).toBe(false)
    expect(check('/v1/responses')({ input: 'x', text: { format: { type: 'text' } } })).toBe(true)
    expect(check('/tokenize')({ prompt: 'x' })).toBe(true)
  })
})

describe('models', () => {
  it('are listed with their aliases, and answer to both', async () => {
    const { data } = (await get(`${server.url}/v1/models`)).body
    expect(data.map((model: Json) => [model.id, model.root])).toEqual([
      ['stories', 'stories'],
      ['gpt-4o-mini', 'stories'],
    ])
    expect((await get(`${server.url}/v1/models/gpt-4o-mini`)).body).toMatchObject({
      id: 'gpt-4o-mini',
      object: 'model',
    })
    expect((await get(`${server.url}/v1/models/none`)).status).toBe(404)
    const [a, b] = await Promise.all(
      ['stories', 'gpt-4o-mini'].map((model) => ask({ ...chat, model, seed: 1, max_tokens: 9 })),
    )
    expect(a!.body.choices).toEqual(b!.body.choices)
    expect(b!.body.model).toBe('stories')
  })

  it('several are loaded one after the other; /ready says when they answer, and what failed', async () => {
    const other = await serve({
      models: {
        a: { model: 'stories', aliases: ['first'], kv: { memory: '8MiB' } },
        b: { model: 'stories', contextTokens: 64 },
      },
    })
    const early = await get(`${other.url}/ready`)
    expect([early.status, early.body.models.b]).toEqual([503, 'loading'])
    const waiting = await post(`${other.url}/v1/completions`, { model: 'b', prompt: 'x' })
    expect(waiting).toMatchObject({ status: 503, body: { error: { code: 'model_not_ready' } } })
    expect(waiting.headers.get('retry-after')).toBe('1')
    await other.loaded
    expect(await get(`${other.url}/ready`)).toMatchObject({ status: 200, body: { models: { a: 'ready', b: 'ready' } } })
    for (const model of ['a', 'first', 'b'])
      expect((await post(`${other.url}/v1/completions`, { model, prompt: [5, 6], max_tokens: 2 })).status).toBe(200)
    await other.close()
    const broken = await serve({ models: { none: '/no/such/file.gguf' } })
    await expect(broken.loaded).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' })
    expect((await get(`${broken.url}/ready`)).body.models).toEqual({ none: 'failed' })
    expect((await get(`${broken.url}/health`)).status).toBe(503)
    expect((await post(`${broken.url}/v1/completions`, { prompt: 'x' })).status).toBe(503)
    await broken.close()
  })
})

describe('a client that goes away', () => {
  // Without an end, so that no machine is done before.
  const endless = { ...chat, ignore_eos: true, seed: 1 }
  it.each([true, false])('ends its generation (stream: %s)', async (stream) => {
    const ended = requestEnd()
    const controller = new AbortController()
    const asked = post(`${server.url}/v1/chat/completions`, { ...endless, stream }, { signal: controller.signal })
    await until(() => engine.stats().requests.running > 0)
    controller.abort()
    await expect(asked).rejects.toThrow()
    expect(await ended).toMatchObject({ type: 'end', finishReason: 'cancelled' })
    expect(engine.stats().requests).toEqual({ running: 0, waiting: 0, paused: 0 })
  })

  it('of several answers ends all of them, and so does one that closes its half', async () => {
    for (const leave of ['destroy', 'end'] as const) {
      const before = engine.stats().generatedTokens
      const { socket, text } = await dial(server.url)
      socket.write(httpRequest('/v1/chat/completions', { ...endless, n: 3, stream: true }))
      await until(() => text().includes('"content":"') && engine.stats().generatedTokens > before)
      socket[leave]()
      await until(() => engine.stats().requests.running === 0)
    }
  })

  it('with requests that wait behind another on its connection ends them, too', async () => {
    const other = await serve({ models: { stories: engine } })
    const { socket } = await dial(other.url)
    const one = httpRequest('/v1/chat/completions', { ...endless, stream: true })
    socket.write(one + one + one)
    await until(() => engine.stats().requests.running === 3)
    socket.destroy()
    await until(() => engine.stats().requests.running === 0)
    // It would wait for those that it believes to run.
    await other.close()
  })
})

it('mounts in applications that exist', async () => {
  const { default: fastify } = await import('fastify')
  const { octavo } = await import('octavo/server')
  const app = fastify()
  app.get('/own', async () => 'mine')
  await app.register(octavo, { prefix: '/llm', models: { stories: engine } })
  const url = await app.listen({ port: 0 })
  expect((await get(`${url}/own`)).body).toBe('mine')
  expect((await get(`${url}/llm/v1/models`)).body.data[0].id).toBe('stories')
  const { body } = await post(`${url}/llm/v1/chat/completions`, { ...chat, seed: 1, max_tokens: 8 })
  expect(body.choices[0].message.content).toBe((await own({ seed: 1, maxTokens: 8 })).text)
  expect((await post(`${url}/llm/v1/completions`, { prompt: 1 })).body.error.param).toBe('prompt')
  await app.close()

  // It has no types.
  const name = 'express'
  const { default: express } = await import(name)
  const other = express().use('/ai', server.handler)
  const listener = other.listen(0)
  const { port } = listener.address() as { port: number }
  expect((await get(`http://127.0.0.1:${port}/ai/v1/models`)).body.data).toHaveLength(2)
  listener.close()
})

it('is loaded by its own entry alone', async () => {
  const { execFileSync } = await import('node:child_process')
  const loaded = (entry: string) => {
    const program = `import { createRequire } from 'node:module'
      await import('${entry}')
      const names = Object.keys(createRequire(import.meta.url).cache)
      console.log(['fastify', 'prom-client'].filter((name) => names.some((path) => path.includes('/' + name + '/'))).join())`
    return execFileSync(process.execPath, ['--input-type=module', '-e', program], { encoding: 'utf8' }).trim()
  }
  expect([loaded('octavo'), loaded('octavo/server')]).toEqual(['', 'fastify,prom-client'])
})
