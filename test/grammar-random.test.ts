/**
 * Random schemas, and random walks under their masks with a real vocabulary: whatever is drawn, a finished answer is one that ajv
 * validates. Answers that are changed a little are allowed when ajv says so, and only then.
 */
import { describe, expect, it } from 'vitest'
import { type NativeGrammar, type NativeVocabulary, native } from '../lib/base/native.ts'
import { compileGrammar } from '../lib/grammar/compile.ts'
import { openCheckpoint } from '../lib/model/checkpoint.ts'
import { locateModel } from '../lib/model/locate.ts'
import { Tokenizer } from '../lib/text/tokenizer.ts'
import { accepts, ofSchema, randomBelow, validator } from './grammar-tools.ts'
import { documentSchema, type Random, some } from './random-schemas.ts'

const { info } = Tokenizer.fromMetadata(openCheckpoint(locateModel('stories')).metadata)
const vocabulary: NativeVocabulary = { ...info.tokenBytes, endTokens: Int32Array.from(info.eosIds) }
const decoder = new TextDecoder('utf-8', { fatal: true })
const bytesOf = (token: number) =>
  info.tokenBytes.bytes.slice(info.tokenBytes.offsets[token], info.tokenBytes.offsets[token + 1])

const lengthOf = (token: number) => info.tokenBytes.offsets[token + 1]! - info.tokenBytes.offsets[token]!

/** The tokens that may come, each tried for itself. */
function stepped(grammar: NativeGrammar, bytes: readonly number[]): number[] {
  const text = new Uint8Array(bytes.length + 4096)
  text.set(bytes)
  const isWhole = grammar.match(text.subarray(0, bytes.length)) === 2
  return Array.from({ length: info.vocabularySize }, (_, token) => token).filter((token) => {
    if (info.eosIds.includes(token)) return isWhole
    const added = bytesOf(token)
    text.set(added, bytes.length)
    return added.length > 0 && grammar.match(text.subarray(0, bytes.length + added.length)) > 0
  })
}

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
    if (random(300) === 0) expect(allowed).toEqual(stepped(grammar, bytes))
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

/** As answers are spelled; and no sum that is off in its last digits, which ajv takes for a multiple all the same. */
const spelled = (value: unknown): boolean => !/\de[+-]|\d{16}|\.\d{10}/.test(JSON.stringify(value))

describe('random schemas', () => {
  const count = process.env.OCTAVO_DEEP ? 500 : 40
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
