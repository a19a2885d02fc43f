/**
 * Calls of tools in the text of answers, by the formats of the families. The truth is what templates make of calls: those of
 * goldens/tool-templates, which Jinja2 rendered (scripts/tool_call_goldens.py), read back; and that it makes no difference how a text is
 * cut into pieces.
 */
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { ChatRenderer } from '../lib/text/template-render.ts'
import { TemplateProgram } from '../lib/text/template-sandbox.ts'
import { type CallSpec, unitOf, withUnits } from '../lib/tools/call-format.ts'
import { CallReader, callId } from '../lib/tools/call-reader.ts'
import { type CallRole, CallSplitter } from '../lib/tools/call-splitter.ts'
import type { AnyCall, ToolCallDelta } from '../lib/tools/tool-call.ts'
import { type Toolbox, toolsSchema } from '../lib/tools/toolbox.ts'
import { random as generator } from './random.ts'
import { families, formatOf, templateOf } from './tool-families.ts'

const goldens = new URL('goldens/', import.meta.url)
const read = (name: string) => readFileSync(new URL(name, goldens), 'utf8')

const names = Object.keys(families)

interface Call {
  id: string
  type: 'function'
  function: { name: string; arguments: Record<string, unknown> }
}

const texts = { properties: Object.fromEntries(['a', 'text', 'city', 'marks'].map((key) => [key, { type: 'string' }])) }
const toolbox = toolsSchema.parse([
  { name: 'weather', parameters: texts },
  { name: 'get_time', parameters: texts },
]) as Toolbox

/** A format as a request has it; control tokens are those of the family. */
const formats = Object.fromEntries(names.map((family) => [family, formatOf(family)]))
function specOf(family: string, toolNames = toolbox.names): CallSpec {
  const known = formats[family]!
  return { ...known.format, control: known.control, tools: toolNames }
}

/** What becomes of an answer that comes in pieces: its parts by role, and its calls, read from what is theirs of it. */
function split(spec: CallSpec, pieces: string[], tools = toolbox) {
  const parts: [CallRole, string][] = []
  const reader = new CallReader(spec, tools, (index) => callId(1, 2, index))
  const deltas: ToolCallDelta[] = []
  const splitter = new CallSplitter(spec, (role, text) => {
    const last = parts.at(-1)
    if (last?.[0] === role) last[1] += text
    else parts.push([role, text])
    if (role === 'call') deltas.push(...reader.push(text))
  })
  for (const piece of pieces) splitter.push(piece)
  splitter.end()
  deltas.push(...reader.end())
  const of = (role: CallRole) => parts.flatMap(([one, text]) => (one === role ? [text] : [])).join('')
  return { parts, text: of('text'), calls: reader.calls, deltas }
}

function cut(text: string, random: (n: number) => number): string[] {
  const pieces: string[] = []
  for (let left = Array.from(text); left.length > 0; ) pieces.push(left.splice(0, 1 + random(6)).join(''))
  return pieces
}

const renderers = Object.fromEntries(
  names.map((family) => {
    const source = templateOf(family)
    const special = families[family]!.control.map((text, id) => ({ id, text, leftTrim: false, rightTrim: false }))
    return [family, new ChatRenderer(new TemplateProgram(source), source, special as never, {})]
  }),
)

/** The answer that a template makes of a message, as it comes out of a model: control tokens as units, without the one that ends it. */
function answerOf(family: string, messages: unknown[]): { text: string; answer: string } {
  const renderer = renderers[family]!
  const prompt = renderer.render({ messages: messages.slice(0, 1), tools: null, addGenerationPrompt: true })
  const whole = renderer.render({ messages, tools: null, addGenerationPrompt: false })
  expect(whole.text.startsWith(prompt.text)).toBe(true)
  const { control } = specOf(family)
  let answer = ''
  for (const { from, to, id } of whole.cuts) {
    if (to <= prompt.text.length) continue
    const place = control.findIndex(([, token]) => token === id)
    if (id === undefined) answer += whole.text.slice(Math.max(from, prompt.text.length), to)
    else if (place >= 0) answer += unitOf(place)
    else break
  }
  return { text: whole.text, answer }
}

const given = (calls: AnyCall[]) => calls.map(({ name, arguments: args }) => ({ name, arguments: args }))
const wanted = (calls: Call[]) => calls.map((call) => call.function)

interface Golden {
  template: string
  messages: [unknown, { content: string; tool_calls: Call[] }]
  text: string
}
const golden = JSON.parse(read('tool-calls.json')) as Golden[]

describe.each(names)('%s', (family) => {
  const { format, isBare } = families[family]!

  it('is recognised', () => {
    expect(specOf(family).name).toBe(format)
  })

  it('reads the calls of recorded renderings', () => {
    const mine = golden.filter(({ template }) => template === family)
    expect(mine.length).toBe(7)
    for (const { messages, text } of mine) {
      const { content, tool_calls: calls } = messages[1]
      const rendered = answerOf(family, messages)
      expect(rendered.text).toBe(text)
      // Bare calls are calls only where nothing goes before them; calls have no text beside them in harmony.
      if (isBare && content !== '') continue
      const found = split(specOf(family), [rendered.answer])
      expect(given(found.calls)).toEqual(wanted(calls))
      expect(found.text.trim()).toBe(format === 'harmony' ? '' : content)
    }
  })

  // Two calls each on average.
  const answers = process.env.OCTAVO_DEEP ? 250 : 100
  it(`reads the calls of ${answers} random answers, whole and in pieces`, () => {
    const random = generator(names.indexOf(family) + 1)
    const values = format === 'qwen-xml' ? xmlSafe(random) : randomValues(random)
    for (let round = 0; round < answers; round++) {
      const content = isBare || format === 'harmony' ? '' : ['', 'Let me look.', 'a < b, then'][random(3)]!
      const calls = Array.from({ length: 1 + random(3) }, (_, i): Call => {
        const keys = Array.from(
          { length: random(4) },
          (_, k) => ['a', 'text', 'city', 'marks', 'n', 'list'][(k * 2 + random(2)) % 6]!,
        )
        const args = Object.fromEntries(keys.map((key) => [key, values(Object.hasOwn(texts.properties, key))]))
        return { id: `call0000${i}`, type: 'function', function: { name: toolbox.names[random(2)]!, arguments: args } }
      })
      const { answer } = answerOf(family, [
        { role: 'user', content: 'Hi' },
        { role: 'assistant', content, tool_calls: calls },
      ])
      const whole = split(specOf(family), [answer])
      expect(given(whole.calls)).toEqual(wanted(calls))
      expect(whole.text.trim()).toBe(content)
      const pieces = split(specOf(family), cut(answer, random))
      expect({ ...pieces, deltas: [] }).toEqual({ ...whole, deltas: [] })
      expect(joinedDeltas(pieces.deltas)).toEqual(whole.calls.map(({ argumentsText }) => argumentsText))
    }
  })
})

describe('whatever comes', () => {
  const pieces = [
    ...[
      '<tool_call>',
      '</tool_call>',
      '<tool_call>',
      '{"name": "weather"',
      ', "arguments": {',
      '}',
      '}}',
      '[',
      ']',
      '"',
      '\\',
    ],
    ...[
      '{"name": "get_time", "arguments": {"a": 1}}',
      '{"name": "no_tool", "arguments": {}}',
      'name',
      '\n',
      ' ',
      ';',
      ',',
      '{',
    ],
    ...[
      '<function=weather>',
      '<parameter=a>',
      '</parameter>',
      '</function>',
      '<func',
      'text',
      'to=functions.weather',
      '{}',
    ],
    ...[
      '[TOOL_CALLS]',
      '[ARGS]',
      '<|channel|>',
      'commentary',
      ' to=functions.weather ',
      '<|constrain|>json',
      '<|message|>',
    ],
    ...[
      '<|call|>',
      '<|start|>assistant',
      '<|end|>',
      '<|python_tag|>',
      '<｜tool▁call▁begin｜>',
      '<｜tool▁sep｜>',
      'function',
    ],
    ...[
      '<｜tool▁call▁end｜>',
      '<｜tool▁calls▁begin｜>',
      '```',
      '<|tool_call|>',
      '<|/tool_call|>',
      'x'.repeat(40),
      ' '.repeat(300),
    ],
  ]

  const rounds = process.env.OCTAVO_DEEP ? 2000 : 200
  it.each(names)('%s: is the same however it is cut, and no character is lost', (family) => {
    const random = generator(names.indexOf(family) + 100)
    for (let round = 0; round < rounds; round++) {
      const spec = specOf(family)
      if (random(8) === 0) spec.begun = [{}, { tool: 'weather' }][random(2)]!
      const text = Array.from({ length: 1 + random(12) }, () => pieces[random(pieces.length)]).join('')
      const answer = random(2) === 0 ? text : withUnits(text, spec.control)
      const whole = split(spec, [answer])
      expect(whole.parts.map(([, part]) => part).join('')).toBe(answer)
      const again = split(
        spec,
        random(2) === 0 ? Array.from({ length: answer.length }, (_, i) => answer[i]!) : cut(answer, random),
      )
      expect([again.parts, again.calls]).toEqual([whole.parts, whole.calls])
      expect(joinedDeltas(again.deltas)).toEqual(whole.calls.map(({ argumentsText }) => argumentsText))
      // No text of an answer holds a unit that stands for a control token.
      expect(whole.text).not.toMatch(/(?<![\ud800-\udbff])[\udc00-\udfff]/)
      for (const call of whole.calls) if (!call.invalid) expect(toolbox.names).toContain(call.name)
    }
  })

  it('is said of a call that is none: what is wrong, and how the model wrote it', () => {
    const call = (text: string) => split(specOf('hermes'), [text]).calls
    expect(call('<tool_call>{"name": "weather", "arguments": {"a": 1, }}</tool_call>')).toEqual([
      {
        ...{ id: callId(1, 2, 0), name: 'weather', argumentsText: '{"a": 1, }', invalid: true, reason: 'malformed' },
        ...{ message: 'The arguments are no JSON object.', text: '{"name": "weather", "arguments": {"a": 1, }}' },
      },
    ])
    expect(call('<tool_call>{"name": "nothing", "arguments": {}}</tool_call>')).toMatchObject([
      {
        name: 'nothing',
        invalid: true,
        reason: 'unknown',
        message: 'There is no tool "nothing"; there are weather, get_time.',
      },
    ])
    expect(call('<tool_call>{"name": "weather", "arguments": [1]}</tool_call>')).toMatchObject([
      { invalid: true, reason: 'malformed', argumentsText: '[1]' },
    ])
    expect(call('<tool_call>{"nam')).toMatchObject([{ name: '', invalid: true, reason: 'unfinished', text: '{"nam' }])
    expect(call('<tool_call>{"name": "weather", "arguments": {"a": "x\ny"}}</tool_call> on')).toMatchObject([
      { name: 'weather', invalid: true, reason: 'malformed' },
    ])
    expect(call('<tool_call>{"name": "weather", "arguments": {"text": 1}}</tool_call>')).toMatchObject([
      { invalid: true, reason: 'arguments', message: expect.stringContaining('text: ') },
    ])
  })

  it('leaves marks that no call comes after in the text, control tokens never', () => {
    const hermes = split(specOf('hermes'), ['A call is written <tool_call>, then JSON.'])
    expect([hermes.text, hermes.calls]).toEqual(['A call is written <tool_call>, then JSON.', []])
    const spec = specOf('mistral-args')
    const mistral = split(spec, [withUnits('Well [TOOL_CALLS] ', spec.control)])
    expect([mistral.text, mistral.calls]).toMatchObject(['Well', [{ invalid: true, reason: 'unfinished', text: ' ' }]])
    const llama = split(specOf('llama'), ['{"name": "Anna", "parameters": {}}'])
    expect([llama.text, llama.calls]).toEqual(['{"name": "Anna", "parameters": {}}', []])
  })

  it('costs the more the longer it is, and no more than that', () => {
    // A quadratic reader needs a thousand times as long for these as a linear one: the test would not end.
    for (const family of ['hermes', 'qwen-xml', 'mistral', 'llama']) {
      const spec = specOf(family)
      const open = { 'qwen-xml': '<tool_call><function=weather><parameter=a>', llama: '' }[family] ?? '<tool_call>'
      for (const unit of ['x', ' ', '<', '{"name":', '</', '[{', '"\\'])
        expect(split(spec, [open, ...Array.from({ length: 50_000 }, () => unit)]).parts.length).toBeGreaterThan(0)
    }
  })
})

/** Deltas of each call, joined. */
function joinedDeltas(deltas: ToolCallDelta[]): string[] {
  const joined: string[] = []
  for (const { index, argumentsDelta } of deltas) joined[index] = (joined[index] ?? '') + argumentsDelta
  return joined
}

const words = [
  ...[
    '',
    'Rome',
    'a "quote"',
    'back\\slash',
    'line\nbreak',
    '\t',
    'é',
    '😀',
    '\u2028',
    '\u0000',
    '</tool_call>',
    '<tool_call>',
  ],
  ...[
    '[TOOL_CALLS]',
    '[ARGS]{}',
    '<|call|>',
    '<|channel|>commentary to=',
    '```',
    '<｜tool▁call▁end｜>',
    '}}]',
    '{"name": "weather"',
  ],
  ...['\\"', '</function>', '<function=x>', ' ; ', '\ud83d'.slice(0, 0), '<|tool_call|>', 'to=functions.', '"'],
]

function randomValues(random: (n: number) => number): (isText: boolean, depth?: number) => unknown {
  const text = () => Array.from({ length: random(5) }, () => words[random(words.length)]).join(['', ' '][random(2)])
  const value = (isText: boolean, depth = 0): unknown => {
    if (isText) return text()
    switch (random(depth > 3 ? 5 : 7)) {
      case 0:
        return text()
      case 1:
        return random(2) === 0
      case 2:
        return null
      case 3:
        return random(2 ** 30) - 2 ** 29
      case 4:
        return (random(1000) - 500) / 8
      case 5:
        return Array.from({ length: random(4) }, () => value(false, depth + 1))
      default:
        return Object.fromEntries(Array.from({ length: random(4) }, () => [text(), value(false, depth + 1)]))
    }
  }
  return value
}

/** What the format cannot tell from its own marks is left out: a closing mark in a text, texts where the schema says none. */
function xmlSafe(random: (n: number) => number): (isText: boolean) => unknown {
  const any = randomValues(random)
  return (isText) => {
    const value = any(isText)
    return !isText && typeof value === 'string' ? 12 : value
  }
}
