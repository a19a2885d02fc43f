/**
 * Calls under masks that begin at a mark, for each family: a free text, the marks of a call, then whatever the masks allow, until they let the
 * answer be free again. Read back by the family's reader it is a call that its tool takes.
 */
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { Grammars } from '../lib/answers/structured.ts'
import type { Piece } from '../lib/base/control-bytes.ts'
import { native } from '../lib/base/native.ts'
import { compileGrammar } from '../lib/grammar/compile.ts'
import { unitOf } from '../lib/tools/call-format.ts'
import { CallReader, callId } from '../lib/tools/call-reader.ts'
import { heldCalls, pieces } from '../lib/tools/constraint.ts'
import { type Toolbox, toolsSchema } from '../lib/tools/toolbox.ts'
import { byteVocabulary, randomBelow } from './grammar-tools.ts'
import { same } from './same.ts'
import { families, formatOf } from './tool-families.ts'

const toolbox = toolsSchema.parse({
  weather: { parameters: z.object({ city: z.enum(['Rome', 'Oslo']), days: z.int().min(1).max(99).optional() }) },
  note: { parameters: z.object({ text: z.string().max(6), tags: z.array(z.enum(['a', 'b'])).max(2) }) },
  now: {},
}) as Toolbox
const firstControl = 256

async function grammarOf(family: string) {
  const { control } = families[family]!
  const offsets = Uint32Array.from({ length: 258 + control.length }, (_, i) => Math.min(i, 256))
  const vocabulary = {
    bytes: Uint8Array.from({ length: 256 }, (_, byte) => byte),
    ...{ offsets, endTokens: Int32Array.of(firstControl + control.length) },
  }
  const held = heldCalls(formatOf(family, firstControl), toolbox)
  if (held === undefined) return undefined
  const thinking = { open: ['<think>'], close: [['</think>']] }
  const form = new Grammars(async (source) => compileGrammar(source)).held(held, thinking, '')
  await form.after(undefined)
  const grammar = (reasoning: boolean) => new (native().Grammar)(form.source(false, reasoning)!, vocabulary)
  return { held, grammar }
}

const tokensOf = (list: readonly Piece[]): number[] =>
  list.flatMap((piece) => (typeof piece === 'number' ? [piece] : [...Buffer.from(piece)]))
const isFree = (mask: Uint32Array) => mask.every((word) => word === 0xffffffff)
/** The first `count` tokens as far as a mask has them. */
function allowedIn(mask: Uint32Array, count: number): number[] {
  const allowed: number[] = []
  for (let word = 0; word * 32 < count; word++)
    for (let bits = mask[word]!; bits !== 0; bits &= bits - 1) {
      const token = word * 32 + 31 - Math.clz32(bits & -bits)
      if (token < count) allowed.push(token)
    }
  return allowed
}

describe.each(Object.keys(families))('%s', (family) => {
  it('holds calls to their tools from their marks on', async () => {
    const made = await grammarOf(family)
    expect(made === undefined).toBe(family === 'json')
    if (made === undefined) return
    const { format, control } = formatOf(family, firstControl)
    const grammar = made.grammar(false)
    const names = new Set<string>()
    for (let seed = 0; seed < 60; seed++) {
      const random = randomBelow(seed)
      const mark = made.held.marks[random(made.held.marks.length)]!
      const tokens = [...tokensOf(['Sure. < [ ']), ...tokensOf(mark)]
      const from = tokens.length
      for (
        let mask = grammar.mask(Int32Array.from(tokens))!;
        !isFree(mask);
        mask = grammar.mask(Int32Array.from(tokens))!
      ) {
        const allowed = allowedIn(mask, firstControl + families[family]!.control.length + 1)
        const quiet = allowed.filter((t) => t > 32 && t < 127)
        const list = quiet.length > 0 && random(3) > 0 ? quiet : allowed
        tokens.push(list[random(list.length)]!)
        same(tokens.length < 2000, true)
      }
      expect(tokens.length).toBeGreaterThan(from)
      tokens.push(...tokensOf(pieces(format.close[0] ?? '', control)))
      const answer = textOf(tokens, control)
      const reader = new CallReader({ ...format, control, tools: toolbox.names }, toolbox, (i) => callId(1, 2, i))
      reader.push(answer.slice(answer.indexOf(textOf(tokensOf(mark), control))))
      reader.end()
      expect([answer, reader.calls.length > 0, reader.calls.filter(({ invalid }) => invalid)]).toEqual([
        answer,
        true,
        [],
      ])
      for (const { name } of reader.calls) names.add(name)
    }
    expect([...names].sort()).toEqual(['note', 'now', 'weather'])
  })

  it('holds each of several calls', async () => {
    const made = await grammarOf(family)
    if (made === undefined) return expect(family).toBe('json')
    const { format, control } = formatOf(family, firstControl)
    const mark = tokensOf(made.held.marks[0]!)
    const named = format.force.named !== undefined && format.body === 'named'
    const key = format.force.key ?? 'arguments'
    const xml = ['\n<function=now>\n</function>']
    const call =
      family === 'qwen-xml'
        ? tokensOf(xml)
        : named
          ? tokensOf(pieces(`now${format.force.named!.split('{name}')[1]}{}`, control))
          : tokensOf([`{"name":"now","${key}":{}}`])
    const grammar = made.grammar(false)
    const freeAfter = (tokens: number[]) => isFree(grammar.mask(Int32Array.from(tokens))!)
    const tokens: number[] = []
    for (let i = 0; i < 3; i++) {
      tokens.push(...mark)
      expect(freeAfter(tokens)).toBe(false)
      tokens.push(...call)
      expect(freeAfter(tokens)).toBe(true)
    }
  })

  it('holds nothing in reasoning, and nothing that only looks like a mark', async () => {
    const made = await grammarOf(family)
    if (made === undefined) return expect(family).toBe('json')
    const mark = tokensOf(made.held.marks[0]!)
    const free = (reasoning: boolean, ...tokens: number[]) =>
      isFree(made.grammar(reasoning).mask(Int32Array.from(tokens))!)
    expect(free(false, ...mark)).toBe(false)
    expect(free(true, ...mark)).toBe(true)
    expect(free(false, ...tokensOf(['<think>']), ...mark)).toBe(true)
    expect(free(true, ...mark, ...tokensOf(['</think>']), ...mark)).toBe(false)
    expect(free(false, ...mark.slice(1))).toBe(true)
    expect(free(false, ...mark.slice(0, -1), ...tokensOf(['~']))).toBe(true)
  })
})

describe('Qwen3-Coder, whose arguments stand one by one', () => {
  const schemas: Record<string, unknown> = {
    kinds: {
      type: 'object',
      properties: {
        text: { type: 'string', minLength: 2, maxLength: 12 },
        code: { type: 'string', pattern: '^[A-Z]{2}-\\d{3}$' },
        day: { type: 'string', format: 'date' },
        mood: { type: 'string', enum: ['calm', 'a\nb', '</parameter>', '"quoted"'] },
        size: { $ref: '#/$defs/size' },
        list: { type: 'array', items: { enum: ['x', 1, null] }, maxItems: 2 },
        flag: { type: ['boolean', 'null'] },
      },
      required: ['code', 'mood', 'size'],
      $defs: { size: { type: 'integer', minimum: 5, maximum: 7 } },
    },
  }
  const boxOf = (parameters: unknown) =>
    toolsSchema.parse([{ type: 'function', function: { name: 'kinds', parameters } }]) as Toolbox
  const heldOf = (parameters: unknown) => heldCalls(formatOf('qwen-xml', firstControl), boxOf(parameters))
  const reading = (toolbox: Toolbox, answer: string) => {
    const { format, control } = formatOf('qwen-xml', firstControl)
    const reader = new CallReader({ ...format, control, tools: toolbox.names }, toolbox, (i) => callId(1, 2, i))
    reader.push(answer)
    reader.end()
    return reader.calls
  }

  it('a call under masks fits its parameters, whatever they are', async () => {
    const held = heldOf(schemas.kinds)!
    const toolbox = boxOf(schemas.kinds)
    const form = new Grammars(async (source) => compileGrammar(source)).held(held, undefined, '')
    await form.after(undefined)
    const grammar = new (native().Grammar)(form.source(false)!, byteVocabulary)
    const seen = new Set<string>()
    for (let seed = 0; seed < 150; seed++) {
      const random = randomBelow(seed)
      const tokens = [...Buffer.from('<tool_call>')]
      for (let mask = grammar.mask(Int32Array.from(tokens))!; !isFree(mask); ) {
        const allowed = allowedIn(mask, 256)
        const plain = allowed.filter((t) => t < 127)
        const list = plain.length > 0 && random(8) > 0 ? plain : allowed
        tokens.push(list[random(list.length)]!)
        mask = grammar.mask(Int32Array.from(tokens))!
      }
      const answer = Buffer.from(tokens).toString()
      const [one, ...more] = reading(toolbox, `${answer}\n</tool_call>`)
      expect([answer, one?.invalid, more]).toEqual([answer, undefined, []])
      for (const key of Object.keys(one!.arguments as object)) seen.add(key)
      seen.add((one!.arguments as { mood: string }).mood)
    }
    const keys = ['text', 'code', 'day', 'mood', 'size', 'list', 'flag']
    expect([...seen].sort()).toEqual([...keys, 'calm', 'a\nb', '"quoted"'].sort())
  })

  it.each<[string, unknown]>([
    ['more than a list of them', { type: 'object', properties: {}, minProperties: 1 }],
    ['of any name', { type: 'object' }],
    ['with a name that ends a mark', { type: 'object', properties: { 'a>b': {} } }],
    ['that need one which is not listed', { type: 'object', properties: { a: {} }, required: ['b'] }],
  ])('parameters that are %s are free', (_, parameters) => {
    expect(heldOf(parameters)).toBeUndefined()
  })
})

function textOf(tokens: readonly number[], control: readonly [name: string, token: number][]): string {
  let [text, bytes] = ['', [] as number[]]
  const flush = () => {
    text += Buffer.from(bytes).toString()
    bytes = []
  }
  for (const token of tokens) {
    if (token < firstControl) bytes.push(token)
    else {
      flush()
      text += unitOf(control.findIndex(([, id]) => id === token))
    }
  }
  flush()
  return text
}
