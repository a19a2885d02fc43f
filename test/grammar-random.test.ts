/**
 * Random schemas, and random walks under their masks with a real vocabulary: whatever is drawn, a finished answer is one that ajv
 * validates. Answers that are changed a little are allowed when ajv says so, and only then.
 */
import { describe, expect, it } from 'vitest'
import { type NativeVocabulary, native } from '../lib/base/native.ts'
import { compileGrammar } from '../lib/grammar/compile.ts'
import { openCheckpoint } from '../lib/model/checkpoint.ts'
import { locateModel } from '../lib/model/locate.ts'
import { Tokenizer } from '../lib/text/tokenizer.ts'
import { accepts, ofSchema, randomBelow, validator } from './grammar-tools.ts'

type Random = (below: number) => number
type SchemaObject = Record<string, unknown>

const names = ['name', 'id', 'größe', 'a"b', 'tags', 'next', '𝄞', 'is_ok', 'x y', 'count']
const texts = ['red', 'grün', '', 'a "quoted" one', '𝄞', 'line\nbreak', 'back\\slash', 'red2', 'true']
const patterns = [
  '^[a-z]+$',
  '^\\d{3}-\\d{4}$',
  '^(red|green)?$',
  'x',
  '^\\p{Lu}\\p{Ll}*$',
  '^[^"]{0,8}$',
  '^(ab)*c$',
  '^.{2,5}$',
]
const formats = ['date', 'time', 'date-time', 'uuid', 'email', 'ipv4', 'ipv6', 'uri']

const some = <T>(random: Random, list: readonly T[]): T => list[random(list.length)]!
const subset = <T>(random: Random, list: readonly T[]): T[] => list.filter(() => random(3) > 0)

function numberSchema(random: Random): SchemaObject {
  const type = random(2) === 0 ? 'integer' : 'number'
  const schema: SchemaObject = { type }
  if (random(3) > 0) schema[random(3) === 0 ? 'exclusiveMinimum' : 'minimum'] = random(200) - 100
  if (random(3) > 0)
    schema[random(3) === 0 ? 'exclusiveMaximum' : 'maximum'] = 101 + random(300) + (type === 'number' ? 0.5 : 0)
  if (random(4) === 0) schema.multipleOf = type === 'integer' ? 1 + random(12) : some(random, [0.5, 0.01, 2, 0.25])
  return schema
}

function stringSchema(random: Random): SchemaObject {
  switch (random(6)) {
    case 0:
      return { type: 'string', minLength: random(3), maxLength: 3 + random(40) }
    case 1:
      return { type: 'string', pattern: some(random, patterns) }
    case 2:
      return { type: 'string', format: some(random, formats) }
    case 3:
      return { enum: [...new Set([some(random, texts), some(random, texts), random(9), null])] }
    case 4:
      return { type: 'string', pattern: '^[a-zé]*$', minLength: 1 + random(4), maxLength: 5 + random(8) }
    default:
      return { type: 'string', maxLength: 20 + random(30) }
  }
}

function arraySchema(random: Random, depth: number): SchemaObject {
  const schema: SchemaObject = { type: 'array', maxItems: 1 + random(4) }
  switch (random(5)) {
    case 0:
      return { ...schema, items: { enum: [1, 2, 3, 'é'] }, uniqueItems: true, minItems: random(2) }
    case 1:
      return { ...schema, items: { type: 'integer', minimum: 0, maximum: 9 }, contains: { minimum: 5 }, maxContains: 2 }
    case 2:
      return {
        type: 'array',
        prefixItems: [schemaOf(random, depth - 1), schemaOf(random, depth - 1)],
        items: false,
        minItems: 2,
      }
    default:
      return { ...schema, items: schemaOf(random, depth - 1), minItems: random(2) }
  }
}

function objectSchema(random: Random, depth: number): SchemaObject {
  const listed = subset(random, names)
  const schema: SchemaObject = {
    type: 'object',
    properties: Object.fromEntries(listed.map((name) => [name, schemaOf(random, depth - 1)])),
    required: subset(random, listed),
  }
  if (random(3) > 0) schema.additionalProperties = false
  else if (random(2) === 0) schema.additionalProperties = { type: 'integer', minimum: 0, maximum: 99 }
  const third = random(4)
  if (third === 0) schema.maxProperties = Math.max((schema.required as string[]).length, 1) + random(3)
  else if (third === 1 && listed.length > 1) schema.dependentRequired = { [listed[0]!]: [listed[1]!] }
  if (random(5) === 0) {
    schema.patternProperties = { '^x-': { type: 'boolean' } }
    schema.additionalProperties = false
  }
  return schema
}

function combined(random: Random, depth: number): SchemaObject {
  switch (random(4)) {
    case 0:
      return { anyOf: [schemaOf(random, depth - 1), schemaOf(random, depth - 1), { type: 'null' }] }
    case 1:
      return { allOf: [numberSchema(random), { type: ['integer', 'string'] }, { not: { enum: [1, 2, 3] } }] }
    case 2: {
      const kinds = ['cat', 'dog', 'fish'].map((kind) => ({
        type: 'object',
        properties: { kind: { const: kind }, value: schemaOf(random, depth - 1) },
        required: ['kind', 'value'],
        additionalProperties: false,
      }))
      return { oneOf: kinds }
    }
    default:
      return { $ref: '#/$defs/tree' }
  }
}

function schemaOf(random: Random, depth: number): SchemaObject {
  if (depth <= 0)
    return some(random, [numberSchema, stringSchema, () => ({ type: 'boolean' }), () => ({ type: 'null' })])(random)
  return some(random, [numberSchema, stringSchema, arraySchema, objectSchema, objectSchema, combined])(random, depth)
}

/** A schema of a whole document, with a recursive definition. */
function documentSchema(seed: number): SchemaObject {
  const random = randomBelow(seed)
  const tree = {
    type: 'object',
    properties: {
      value: schemaOf(random, 0),
      children: { type: 'array', items: { $ref: '#/$defs/tree' }, maxItems: 2 },
    },
    required: ['value'],
    additionalProperties: false,
  }
  if (seed % 50 === 7) {
    const many = Array.from({ length: 200 }, (_, i) => [`property_${i}`, { type: 'integer', minimum: 0, maximum: 9 }])
    return { type: 'object', properties: Object.fromEntries(many), additionalProperties: false }
  }
  return { ...(seed % 3 === 0 ? objectSchema(random, 2) : schemaOf(random, seed % 5 === 0 ? 3 : 2)), $defs: { tree } }
}

const { info } = Tokenizer.fromMetadata(openCheckpoint(locateModel('stories')).metadata)
const vocabulary: NativeVocabulary = { ...info.tokenBytes, endTokens: Int32Array.from(info.eosIds) }
const decoder = new TextDecoder('utf-8', { fatal: true })
const bytesOf = (token: number) =>
  info.tokenBytes.bytes.slice(info.tokenBytes.offsets[token], info.tokenBytes.offsets[token + 1])

const lengthOf = (token: number) => info.tokenBytes.offsets[token + 1]! - info.tokenBytes.offsets[token]!

/** A text drawn at random, half of the time from the allowed tokens of one byte; undefined: it was still going on. */
function walk(schema: unknown, seed: number, most: number): string | undefined {
  const grammar = new (native().Grammar)(
    { ...compileGrammar({ kind: 'schema', text: JSON.stringify(schema) }), dropSpace: false },
    vocabulary,
  )
  const random = randomBelow(seed)
  const tokens: number[] = []
  const bytes: number[] = []
  while (tokens.length < most) {
    const mask = grammar.mask(Int32Array.from(tokens))!
    const allowed: number[] = []
    mask.forEach((word, i) => {
      for (let bits = word; bits !== 0; bits &= bits - 1) allowed.push(32 * i + 31 - Math.clz32(bits & -bits))
    })
    if (allowed.length === 0) throw new Error(`a dead end after ${Buffer.from(bytes)}`)
    const ends = allowed.filter((token) => info.eosIds.includes(token))
    if (ends.length > 0 && (random(2) === 0 || ends.length === allowed.length))
      return decoder.decode(Uint8Array.from(bytes))
    const small = allowed.filter((token) => lengthOf(token) === 1)
    const token = some(
      random,
      small.length > 0 && random(2) === 0 ? small : allowed.filter((token) => !ends.includes(token)),
    )
    tokens.push(token)
    bytes.push(...bytesOf(token))
  }
  return undefined
}

/** The value with one small change somewhere. */
function changed(value: unknown, random: Random): unknown {
  if (Array.isArray(value)) {
    if (value.length > 0 && random(2) === 0)
      return value.with(random(value.length), changed(some(random, value), random))
    return some(random, [value.slice(0, -1), [...value, value[0] ?? 1], [...value, null], {}])
  }
  if (value !== null && typeof value === 'object') {
    const entries = Object.entries(value)
    const at = random(entries.length + 1)
    if (at === entries.length) return { ...value, zz: some<unknown>(random, [1, 'x', 100]) }
    if (random(3) === 0) return Object.fromEntries(entries.toSpliced(at, 1))
    return Object.fromEntries(entries.with(at, [entries[at]![0], changed(entries[at]![1], random)]))
  }
  if (typeof value === 'number') return some(random, [value + 1, -value, value + 0.5, value * 10, `${value}`])
  if (typeof value === 'string')
    return some<unknown>(random, [`${value}x`, value.slice(1), value.toUpperCase(), '', `${value}${value}`, null])
  return some<unknown>(random, [null, true, false, 0, 'true'])
}

const spelled = (value: unknown): boolean => !/\de[+-]|\d{16}|\.\d{16}/.test(JSON.stringify(value))

describe('random schemas', () => {
  const count = process.env.OCTAVO_DEEP ? 500 : 120
  const parts = 4
  it.each(Array.from({ length: parts }, (_, i) => i))('part %d', (part) => {
    let finished = 0
    let compared = 0
    const verdicts = { true: 0, false: 0 }
    for (let seed = part; seed < count; seed += parts) {
      const schema = documentSchema(seed)
      const text = walk(schema, seed, 700)
      if (text === undefined) continue
      finished++
      const valid = validator(schema)
      const value: unknown = JSON.parse(text)
      expect([seed, text, valid(value)]).toEqual([seed, text, true])
      const grammar = ofSchema(schema)
      expect(accepts(grammar, text)).toBe(true)
      const random = randomBelow(seed + 1000)
      for (let i = 0; i < 20; i++) {
        const other = changed(value, random)
        if (!spelled(other)) continue
        const expected = valid(other)
        verdicts[`${expected}`]++
        compared++
        expect([seed, other, accepts(grammar, JSON.stringify(other))]).toEqual([seed, other, expected])
      }
    }
    expect(finished).toBeGreaterThan((0.6 * count) / parts)
    expect(Math.min(verdicts.true, verdicts.false)).toBeGreaterThan(compared / 20)
  })
})
