/** What a quick check accepts zod accepts, as the same value; and it accepts what is given all the time. */
import { describe, expect, it } from 'vitest'
import * as z from 'zod'
import { quickCheck, unsure } from '../lib/base/quick-check.ts'
import { generateSchema, idsSchema, loadSchema, scoreSchema, sessionSchema, turnSchema } from '../lib/options.ts'
import { chatShape } from '../lib/server/routes/chat.ts'
import { completionShape } from '../lib/server/routes/completions.ts'
import { responseShape } from '../lib/server/routes/responses.ts'
import { random } from './random.ts'

class WithGetter {
  prompt = 'x'
  get temperature() {
    return 3
  }
}

const signal = new AbortController().signal

/** Of every sort that some option takes, and of some that none does. */
const values: unknown[] = [
  ...[0, 1, 2, 8, 15, 16, 40, 100, 101, -1, -100, -0, 0.5, 1e-45, 1e38, 1e39, 2 ** 31, 2 ** 53, 2 ** 60],
  ...[Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 7n, true, false, null, undefined],
  ...[
    '',
    'a',
    'auto',
    'off',
    'split',
    'keep',
    'none',
    'required',
    'error',
    'dropOldest',
    'f16',
    'fp8',
    'cpu',
    'cuda:1',
  ],
  ...['😀', '😀'.repeat(256), '😀'.repeat(257), 'b'.repeat(256), 'b'.repeat(257), '1GiB', '1GB', '1.5 MiB', 'stories'],
  ...[[], [1], [1, 2], ['a'], ['a', 'b'], [''], [-1], [0.5], ['a', 1], Array(65).fill('a'), Array(1025).fill(1)],
  ...[
    new Int32Array([1, 2]),
    new Uint8Array(2),
    new Date(0),
    /a/,
    new URL('file:///m.gguf'),
    () => 1,
    signal,
    Symbol('s'),
  ],
  ...[{}, { name: 'f' }, { name: 1 }, { weight: 1 }, { 5: 1 }, { 5: Number.NEGATIVE_INFINITY }, { x: 1 }, { a: {} }],
  ...[{ firstTokenMs: 5 }, { totalMs: 0 }, { firstTokenMs: 5, totalMs: undefined }, { totalMs: 5, other: 1 }],
  ...[
    { regex: 'a+' },
    { regex: /a/i },
    { choice: ['a'] },
    { choice: [] },
    { ebnf: 'root ::= "a"' },
    z.object({ a: z.string() }),
  ],
  ...[
    { drafters: ['ngram'] },
    { drafts: 3 },
    { dtype: 'f16' },
    { dtype: 'f8' },
    { memory: '1GiB' },
    { maxRequests: 2 },
  ],
  ...[[{ role: 'user', content: 'hi' }], [{ role: 'user' }], [{ role: 'assistant', content: 'and', name: 'x' }], 'hi'],
  ...[
    { type: 'text' },
    { type: 'json_object' },
    { include_usage: true },
    { include_usage: 1 },
    'unspoken',
    new WithGetter(),
  ],
  ...[JSON.parse('{"__proto__": 1}'), Object.create(null), Object.create({ name: 'f' })],
]

const byName = {
  ...{ generateSchema, turnSchema, sessionSchema, scoreSchema, loadSchema },
  chat: z.strictObject(chatShape),
  completions: z.strictObject(completionShape),
  responses: z.strictObject(responseShape),
}

function expectSame(schema: z.ZodType, value: unknown): boolean {
  const quick = quickCheck(schema)(value)
  const slow = schema.safeParse(value)
  if (quick === unsure) return false
  expect(slow.success, `${String(slow.error)} of ${Object.prototype.toString.call(value)}`).toBe(true)
  expect(quick).toStrictEqual(slow.data)
  return true
}

describe.each(Object.entries(byName))('%s', (_, schema) => {
  const shape = schema.shape as Record<string, z.ZodType>
  const keys = Object.keys(shape)

  it('field by field', () => {
    const accepted = keys.filter((key) => values.filter((value) => expectSame(shape[key]!, value)).length > 0)
    expect(accepted).toEqual(keys.filter((key) => values.some((value) => shape[key]!.safeParse(value).success)))
  })

  it('as objects', () => {
    const below = random(7)
    const pick = <T>(list: readonly T[]): T => list[below(list.length)]!
    const good = Object.fromEntries(
      keys.map((key) => [key, values.filter((value) => shape[key]!.safeParse(value).success)]),
    )
    let accepted = 0
    for (let i = 0; i < 1500; i++) {
      const entries = Array.from({ length: below(7) }, () => {
        const key = pick(i % 2 === 0 ? keys : [...keys, 'prompt', 'messages', 'other', 'toString', '__proto__'])
        return [key, pick(below(10) > 0 ? (good[key] ?? values) : values)] as const
      })
      // What a call of its kind cannot do without.
      const first =
        keys.find((key) => !shape[key]!.safeParse(undefined).success) ??
        pick(['prompt', 'seed'].filter((key) => keys.includes(key)).concat(keys[0]!))
      const value = Object.fromEntries([[first, pick(good[first] ?? [1])], ...entries])
      if (expectSame(schema, value)) accepted++
    }
    expect(accepted).toBeGreaterThan(150)
  })

  it('things that are no options', () => {
    for (const value of values) expectSame(schema, value)
  })
})

describe('what is given all the time is accepted', () => {
  it.each([
    { prompt: 'Once' },
    { prompt: [1, 2], maxTokens: 16, temperature: 0, ignoreEos: true, tenant: 'a' },
    { prompt: new Int32Array([1]), topP: 0.9, topK: 0, seed: 3, stop: ['a'], stopTokens: [1], signal },
    { messages: [{ role: 'user', content: 'hi' }], maxTokens: 5, stop: 'a', logprobs: 2, reasoning: 'keep' },
  ])('%j', (options) => expect(expectSame(generateSchema, options)).toBe(true))

  it('alone, too', () => expect(expectSame(idsSchema, [1, 2])).toBe(true))
})

describe('what zod sees and a look at the names of keys does not', () => {
  it.each([
    ['getters of a class', new WithGetter()],
    ['what is inherited', Object.create({ prompt: 'x' })],
    ['what is not listed', Object.defineProperty({ prompt: 'x' }, 'temperature', { value: 3 })],
  ])('%s', (_, options) => {
    expect(generateSchema.safeParse(options).success).toBe(true)
    expectSame(generateSchema, options)
  })

  it('a key that must be there', () => expectSame(z.strictObject({ a: z.unknown() }), {}))
  it('what a key has that need not be there', () =>
    expectSame(z.strictObject({ a: z.number().default(2).optional() }), {}))
  it('an option that changes what it is given, behind one that does not', () => {
    const schema = z.union([z.string().transform((text) => text.length), z.string()])
    expect(expectSame(schema, 'abc')).toBe(true)
    expectSame(z.union([z.string().regex(/x/), z.string().transform((text) => text.length)]), 'abc')
  })
})
