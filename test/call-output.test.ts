/**
 * Calls of tools on their way through the host: beside reasoning, stop texts and the ids of an answer, and again by a host that takes over
 * from one that died. The answers are planted.
 */
import { describe, expect, it } from 'vitest'
import { tokenRole } from '../lib/host/output/token-text.ts'
import type { StepPart } from '../lib/host/wire/protocol.ts'
import { reasoningMarkers } from '../lib/text/reasoning-markers.ts'
import type { CallSpec } from '../lib/tools/call-format.ts'
import { CallReader } from '../lib/tools/call-reader.ts'
import { callFormat } from '../lib/tools/formats.ts'
import { type Toolbox, toolsSchema } from '../lib/tools/toolbox.ts'
import { firstControl, partsOf, tokensOf } from './planted-answers.ts'

const toolbox = toolsSchema.parse({ weather: { parameters: {} }, now: { parameters: {} } }) as Toolbox

/** What a model with this template and these control tokens is read by, as a request says it. */
function specs(template: string, names: string[]) {
  const control = names.map((text, i) => ({ id: firstControl + i, text }))
  const known = callFormat(template, control)
  const markers = reasoningMarkers(template, control)
  const both = [...new Map([...(markers?.control ?? []), ...known.control])]
  const calls: CallSpec = { ...known.format, control: both, tools: toolbox.names }
  return { calls, reasoning: markers && { ...markers, control: both, begun: false } }
}

function whole(parts: StepPart[], calls: CallSpec) {
  const reader = new CallReader(calls, toolbox, (index) => `id${index}`)
  for (const { calls: text } of parts) if (text !== undefined) reader.push(text)
  reader.end()
  const joined = (of: (part: StepPart) => string | undefined) => parts.map((part) => of(part) ?? '').join('')
  const tokens = parts.flatMap((part) => part.tokens)
  const roles = parts.flatMap((part) => part.roles ?? [])
  return {
    text: joined((part) => part.text),
    reasoning: joined((part) => part.reasoning),
    calls: reader.calls.map(({ name, arguments: args, invalid }) => (invalid ? { name, invalid } : { name, args })),
    answerIds: tokens.filter((_, i) => roles[i] === tokenRole.answer),
    tokens,
  }
}

const harmony = ['<|start|>', '<|channel|>', '<|message|>', '<|constrain|>', '<|end|>', '<|call|>']
const rome = '{"city":"Rome <think> </tool_call>"}'
const cases: [string, string, string[], string, { text: string; reasoning: string; calls: unknown[] }][] = [
  [
    'after reasoning in text',
    '<think></think><tool_call>',
    [],
    `<think>\nHm, <tool_call> it is.\n</think>\n\nLet me see.\n<tool_call>\n{"name":"weather","arguments":${rome}}\n</tool_call>\n`,
    { text: 'Let me see.', reasoning: 'Hm, <tool_call> it is.', calls: [{ name: 'weather', args: JSON.parse(rome) }] },
  ],
  [
    'at the very beginning, with marks that are control tokens',
    '<think></think><tool_call>',
    ['<think>', '</think>', '<tool_call>', '</tool_call>'],
    `<tool_call>{"name":"now","arguments":{}}</tool_call><tool_call>{"name":"weather","arguments":{"city":"ü😀"}}</tool_call>`,
    {
      text: '',
      reasoning: '',
      calls: [
        { name: 'now', args: {} },
        { name: 'weather', args: { city: 'ü😀' } },
      ],
    },
  ],
  [
    'in harmony, behind its analysis',
    '<|channel|>analysis to=',
    harmony,
    `<|channel|>analysis<|message|>Rome, then.<|end|><|start|>assistant<|channel|>commentary to=functions.weather <|constrain|>json<|message|>${rome}<|call|>`,
    { text: '', reasoning: 'Rome, then.', calls: [{ name: 'weather', args: JSON.parse(rome) }] },
  ],
  [
    'in harmony, the recipient before the channel',
    '<|channel|>analysis to=',
    harmony,
    '<|channel|>analysis<|message|>Now.<|end|><|start|>assistant to=functions.now<|channel|>commentary<|message|>{}',
    { text: '', reasoning: 'Now.', calls: [{ name: 'now', args: {} }] },
  ],
  [
    'in harmony, none',
    '<|channel|>analysis to=',
    harmony,
    '<|channel|>analysis<|message|>Easy.<|end|><|start|>assistant<|channel|>final<|message|>Four.',
    { text: 'Four.', reasoning: 'Easy.', calls: [] },
  ],
  [
    'behind [THINK]',
    '[THINK][/THINK][TOOL_CALLS]',
    ['[THINK]', '[/THINK]', '[TOOL_CALLS]', '[ARGS]'],
    '[THINK]Well.[/THINK]Look:[TOOL_CALLS]now[ARGS]{}[TOOL_CALLS]weather[ARGS]{"city":"Oslo"}',
    {
      text: 'Look:',
      reasoning: 'Well.',
      calls: [
        { name: 'now', args: {} },
        { name: 'weather', args: { city: 'Oslo' } },
      ],
    },
  ],
]

describe.each(cases)('calls %s', (_, template, names, answer, expected) => {
  const { calls, reasoning } = specs(template, names)
  const tokens = tokensOf(answer, names)
  const planted = { calls, ...(reasoning && { reasoning }) }

  it('come apart, and every token is given out', () => {
    const found = whole(partsOf(tokens, planted), calls)
    expect(found).toMatchObject(expected)
    expect(found.tokens).toEqual(tokens)
    expect(found.answerIds).toEqual(tokensOf(expected.text))
    expect(whole(partsOf(tokens, { ...planted, step: 5 }), calls)).toEqual(found)
  })

  it('go on where a host that died left them', () => {
    const parts = partsOf(tokens, planted)
    const found = whole(parts, calls)
    for (let n = 0; n < parts.length; n++) {
      const before = parts.slice(0, n)
      const length = (of: (part: StepPart) => string | undefined) =>
        before.reduce((sum, part) => sum + (of(part)?.length ?? 0), 0)
      const resumed = {
        tokens: Int32Array.from(before.flatMap((part) => part.tokens)),
        text: length((part) => part.text),
        reasoning: length((part) => part.reasoning),
        calls: length((part) => part.calls),
        firstTokenAtMs: 1,
      }
      expect(whole([...before, ...partsOf(tokens, { ...planted, resumed })], calls)).toEqual(found)
    }
  })
})

it('stop texts are looked for in the text around calls, not in them', () => {
  const { calls } = specs('<tool_call>', [])
  const call = '<tool_call>{"name":"now","arguments":{"a":"END"}}</tool_call>'
  const found = whole(partsOf(tokensOf(`A${call}BENDC`), { calls, stop: ['END'] }), calls)
  expect(found).toMatchObject({ text: 'AB', calls: [{ name: 'now', args: { a: 'END' } }] })
})

it('reasoning that nobody tells apart is text, its marks are not', () => {
  const { calls } = specs('<|channel|>analysis to=', harmony)
  const answer = '<|start|>assistant<|channel|>commentary to=functions.now<|message|>{}<|call|>'
  expect(whole(partsOf(tokensOf(answer, harmony), { calls }), calls)).toMatchObject({
    text: '',
    calls: [{ name: 'now' }],
  })
})
