/** What a chat API takes: messages, tools and template options as callers send them, and what is refused. */
import vm from 'node:vm'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { parse } from '../lib/arguments.ts'
import { CallSite } from '../lib/base/call-site.ts'
import type { OctavoError } from '../lib/base/errors.ts'
import { turnMessagesSchema } from '../lib/messages.ts'
import { generateSchema, renderSchema } from '../lib/options.ts'
import { messageShape, shapeMessage } from '../lib/text/message-shape.ts'
import { refusal } from './refusal.ts'

function check<S extends z.ZodType>(schema: S, value: unknown): z.output<S> {
  return parse(schema, value, 'options', new CallSite(check))
}
const taken = (...messages: unknown[]) => check(renderSchema, { messages }).messages

function refused(value: object, schema: z.ZodType = generateSchema): OctavoError['details'] {
  const { code, details } = refusal(() => check(schema, value))
  expect(code).toBe('INVALID_ARGUMENT')
  return details
}
const refusedMessages = (...messages: unknown[]) => refused({ messages })

const user = { role: 'user', content: 'Hi' }
const call = { id: 'a', type: 'function', function: { name: 'f', arguments: '{"x":1}' } }

describe('messages', () => {
  it.each([
    ['parts of text', { role: 'user', content: [{ type: 'text', text: 'Hi' }] }],
    ['null content beside tool calls', { role: 'assistant', content: null, tool_calls: [call] }],
    ['an answer of OpenAI', { role: 'assistant', content: 'x', refusal: null, annotations: [], audio: null }],
    ['a refusal without content', { role: 'assistant', content: null, refusal: 'No.' }],
    ['reasoning', { role: 'assistant', content: 'x', reasoning_content: 'y' }],
    ['a result of a tool', { role: 'tool', content: '5', tool_call_id: 'a', name: 'f' }],
    ['a developer', { role: 'developer', content: 'Be brief.' }],
    ['nulls where nothing is', { role: 'user', content: 'x', name: null, tool_calls: null, tool_call_id: null }],
    ['a key named __proto__', JSON.parse('{"role":"user","content":"x","__proto__":{"a":1}}')],
  ])('as they are: %s', (_, message) => {
    const [copy] = taken(message)
    expect(copy).toEqual(message)
    expect(Object.keys(copy!)).toEqual(Object.keys(message))
    expect(Object.getPrototypeOf(copy)).toBe(Object.prototype)
  })

  it('absent content beside tool calls is null, keys without a value are absent', () => {
    expect(taken({ role: 'assistant', tool_calls: [call], name: undefined })).toStrictEqual([
      { role: 'assistant', tool_calls: [call], content: null },
    ])
  })

  it('of another class or realm, frozen, or without a prototype', () => {
    const made = [
      Object.assign(new (class Message {})(), user),
      vm.runInNewContext('({ role: "user", content: "Hi" })'),
      Object.freeze({ ...user }),
      Object.assign(Object.create(null), user),
    ]
    expect(taken(...made)).toStrictEqual(made.map(() => user))
  })

  it('are copied: what the caller changes later reaches no prompt', () => {
    const message = { role: 'user', content: [{ type: 'text', text: 'Hi' }] }
    const copy = taken(message)
    message.content[0]!.text = 'changed'
    expect(copy).toEqual([{ role: 'user', content: [{ type: 'text', text: 'Hi' }] }])
  })

  it.each([
    ['image', 'images'],
    ['image_url', 'images'],
    ['input_audio', 'sound'],
    ['video_url', 'videos'],
    ['file', 'files'],
    ['dance', 'other parts'],
    ['constructor', 'other parts'],
  ])('a part of type %s is refused, and the error says what the model cannot read', (type, what) => {
    const details = refusedMessages(user, {
      role: 'user',
      content: [
        { type: 'text', text: 'a' },
        { type, [type]: 'x' },
      ],
    })
    expect(details).toMatchObject({ option: 'messages.1.content.1.type', found: JSON.stringify(type) })
    expect(details.expected).toBe(`"text": this model reads text and no ${what}`)
  })

  const cyclic: Record<string, unknown> = { ...user }
  cyclic.self = cyclic
  let deep: unknown = 1
  for (let i = 0; i < 100; i++) deep = [deep]
  let wide: unknown = 'x'
  for (let i = 0; i < 40; i++) wide = [wide, wide]
  it.each([
    ['a user without content', [{ role: 'user' }], 'messages.0.content', 'undefined'],
    ['a user with null content', [{ role: 'user', content: null }], 'messages.0.content', 'null'],
    ['an assistant that says nothing at all', [{ role: 'assistant', content: null }], 'messages.0.content', 'null'],
    ['a String object', [{ role: 'user', content: new String('x') }], 'messages.0.content', 'a String'],
    ['a number', [{ role: 'user', content: 5 }], 'messages.0.content', '5'],
    ['no message', [user, 'Hi'], 'messages.1', '"Hi"'],
    ['null', [null], 'messages.0', 'null'],
    ['no role', [{ content: 'x' }], 'messages.0.role', 'undefined'],
    ['an empty role', [{ role: '', content: 'x' }], 'messages.0.role', '""'],
    ['a part without text', [{ role: 'user', content: [{ type: 'text' }] }], 'messages.0.content.0.text', 'undefined'],
    ['a part that is a string', [{ role: 'user', content: ['x'] }], 'messages.0.content.0.type', undefined],
    ['a name that is none', [{ ...user, name: 5 }], 'messages.0.name', '5'],
    ['calls that are none', [{ ...user, tool_calls: {} }], 'messages.0.tool_calls', '{}'],
    [
      'a call without a name',
      [{ ...user, tool_calls: [{ id: 'a', function: {} }] }],
      'messages.0.tool_calls.0.function.name',
      'undefined',
    ],
    ['a function', [{ ...user, a: { b: [() => 1] } }], 'messages.0.a.b.0', 'a function'],
    ['a bigint', [{ ...user, a: 5n }], 'messages.0.a', '5'],
    ['a Date', [{ ...user, at: new Date() }], 'messages.0.at', 'a Date'],
    ['a Map', [{ ...user, at: new Map() }], 'messages.0.at', 'a Map'],
    ['not a number', [{ ...user, a: Number.NaN }], 'messages.0.a', 'NaN'],
    ['a cycle', [cyclic], `messages.0${'.self'.repeat(64)}`, 'an object'],
    ['depth', [{ ...user, deep }], `messages.0.deep${'.0'.repeat(63)}`, undefined],
    ['one value in very many places', [{ ...user, wide }], 'messages.0', undefined],
  ])('refused, with the path: %s', (_, messages, option, found) => {
    expect(refusedMessages(...messages)).toMatchObject({ option, ...(found !== undefined && { found }) })
  })

  it('no messages, and messages that are no array', () => {
    expect(refusedMessages()).toMatchObject({ option: 'messages', expected: 'at least one message' })
    expect(refused({ messages: user })).toMatchObject({ option: 'messages', expected: 'an array of messages' })
  })
})

describe('what a session is told', () => {
  const told = (value: unknown) => check(turnMessagesSchema, value)
  it('a text, parts, a message or messages', () => {
    const parts = [{ type: 'text', text: 'Hi' }]
    const result = { role: 'tool', content: '5', tool_call_id: 'a' }
    expect(told('Hi')).toEqual([user])
    expect(told(parts)).toEqual([{ role: 'user', content: parts }])
    expect(told(result)).toEqual([result])
    expect(told([result, user])).toEqual([result, user])
  })

  it.each([[5], [null], [[]], [['x']], [[{ type: 'image' }]], [[user, 'x']]])('%j is refused', (value) => {
    const call = () => parse(turnMessagesSchema, value, 'message', new CallSite(check))
    expect(call).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT', message: expect.stringMatching(/^Option message/) }),
    )
  })
})

describe('tools', () => {
  const schema = { type: 'object', properties: { items: { type: 'array' } } }
  const bare = { name: 'f', description: 'd', parameters: schema, strict: true }
  const tools = (...tools: unknown[]) => check(renderSchema, { messages: [user], tools }).tools?.list

  it('come in the shape of OpenAI, whichever way they were given', () => {
    const expected = { type: 'function', function: bare }
    for (const tool of [expected, bare, { type: 'function', ...bare }]) expect(tools(tool)).toEqual([expected])
  })

  it.each([
    ['no tools', 5, 'tools'],
    ['a tool that is none', ['f'], 'tools.0'],
    ['no name', [{ description: 'd' }], 'tools.0.name'],
    ['no name within', [{ type: 'function', function: {} }], 'tools.0.function.name'],
    ['another kind', [bare, { type: 'web_search' }], 'tools.1.type'],
    ['two of one name', [bare, bare], 'tools.1.name'],
    ['a function that is none', [{ ...bare, execute: 1 }], 'tools.0.execute'],
    ['an option that there is not, by name', { f: { params: {} } }, 'tools.f.params'],
    ['no tool, by name', { f: 1 }, 'tools.f'],
    ['a type without a JSON Schema', { f: { parameters: z.object({ a: z.bigint() }) } }, 'tools.f.parameters'],
    [
      'what runs and cannot be checked',
      { f: { parameters: { unevaluatedProperties: false }, execute() {} } },
      'tools.f.parameters',
    ],
    ['a schema that is code', [{ name: 'f', parameters: { a: () => 1 } }], 'tools.0.parameters.a'],
  ])('refused: %s', (_, tools, option) => {
    expect(refused({ messages: [user], tools })).toMatchObject({ option })
  })
})

describe('template options, documents, and how a prompt ends', () => {
  const own = { role: 'assistant', content: 'Once' }
  it.each([
    [{ templateOptions: 5 }, 'templateOptions', "an object of the template's variables"],
    [{ templateOptions: { a: { b: Symbol('x') } } }, 'templateOptions.a.b', expect.stringContaining('plain data')],
    [{ templateOptions: { messages: [] } }, 'templateOptions.messages', 'the option messages instead'],
    [
      { templateOptions: { add_generation_prompt: true } },
      'templateOptions.add_generation_prompt',
      'the option addGenerationPrompt instead',
    ],
    [{ documents: ['x'] }, 'documents.0', 'an object'],
    [{ chatTemplate: '' }, 'chatTemplate', 'a non-empty string'],
    [{ continueFinalMessage: true }, 'continueFinalMessage', expect.stringContaining('assistant')],
    [
      { messages: [user, own], continueFinalMessage: true, addGenerationPrompt: true },
      'addGenerationPrompt',
      expect.stringContaining('false'),
    ],
    [
      { messages: [user, { ...own, content: '' }], continueFinalMessage: true },
      'continueFinalMessage',
      expect.stringContaining('text'),
    ],
  ])('refused: %j', (options, option, expected) => {
    expect(refused({ messages: [user], ...options })).toMatchObject({ option, expected })
    expect(refused({ messages: [user], ...options }, renderSchema)).toMatchObject({ option, expected })
  })

  it.each([
    { tools: [] },
    { documents: [] },
    { templateOptions: {} },
    { chatTemplate: 'x' },
    { addGenerationPrompt: true },
    { continueFinalMessage: true },
  ])('refused beside a prompt: %j', (option) => {
    const [name] = Object.keys(option)
    expect(refused({ prompt: 'x', ...option })).toMatchObject({ option: name, expected: `${name} only with messages` })
  })

  it('are taken', () => {
    const given = {
      templateOptions: { enable_thinking: false },
      documents: [{ title: 't', text: 'x' }],
      chatTemplate: 'x',
    }
    expect(check(renderSchema, { messages: [user], ...given })).toMatchObject(given)
    expect(check(renderSchema, { messages: [user, own], continueFinalMessage: true })).toMatchObject({
      continueFinalMessage: true,
    })
  })
})

describe('the shape that a template expects', () => {
  const plain = "{% for message in messages %}{{ message['role'] + message['content'] }}{% endfor %}"
  const shaped = (source: string, message: object) =>
    shapeMessage({ role: 'user', content: 'x', ...message }, messageShape(source))

  it('no content is an empty text, unless the template asks for none', () => {
    expect(shaped(plain, { content: null }).content).toBe('')
    for (const ask of [
      "message['content'] is none",
      'message.content is not none',
      'content == None',
      'content is None',
    ])
      expect(shaped(`${plain}{% if ${ask} %}`, { content: null }).content, ask).toBeNull()
  })

  it('arguments of a tool call are an object, unless the template adds them to text', () => {
    const called = (source: string, args: unknown) => {
      const message = shaped(source, {
        tool_calls: [{ id: 'a', type: 'function', function: { name: 'f', arguments: args } }],
      })
      const [{ id, type, function: called }] = (message as unknown as { tool_calls: [typeof call] }).tool_calls
      expect([id, type, called.name]).toEqual(['a', 'function', 'f'])
      return called.arguments
    }
    const json = '{{ tool_call.arguments | tojson }}'
    for (const [given, expected] of [
      ['{"x": 1}', { x: 1 }],
      [{ x: 1 }, { x: 1 }],
      ['[1]', [1]],
      ['', {}],
      [undefined, {}],
      [null, {}],
      ['{"x": ', '{"x": '],
      ['5', '5'],
    ])
      expect(called(json, given)).toEqual(expected)
    for (const text of [
      "{{ tool['function']['name'] + '\\n' + tool['function']['arguments'] + '\\n' }}",
      '{{- "x" + tool_call.arguments }}',
    ]) {
      expect(called(text, { x: 1 }), text).toBe('{"x":1}')
      expect(called(text, '{"x": 1}'), text).toBe('{"x": 1}')
    }
    expect(called("{{ '{' + (tool_call.arguments | tojson) + '}' }}", '{}')).toEqual({})
  })

  it('a bare tool call gets the shape of OpenAI', () => {
    expect(shaped(plain, { tool_calls: [{ name: 'f', arguments: { x: 1 } }] })).toMatchObject({
      tool_calls: [{ type: 'function', function: { name: 'f', arguments: { x: 1 } } }],
    })
  })

  it('a developer is the system where the template knows none', () => {
    expect(shaped(plain, { role: 'developer' }).role).toBe('system')
    expect(shaped(`${plain}{% if message.role == 'developer' %}`, { role: 'developer' }).role).toBe('developer')
  })

  it('known keys that say nothing are left out, others stay', () => {
    const nothing = { name: null, tool_call_id: null, reasoning_content: null, tool_calls: [] }
    expect(shaped(plain, { ...nothing, refusal: null, annotations: [] })).toStrictEqual({
      ...{ role: 'user', content: 'x', refusal: null, annotations: [] },
    })
    const tokens = Int32Array.of(1, 2)
    expect(shaped(plain, { tokens })).toMatchObject({ tokens })
  })
})
