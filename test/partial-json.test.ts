/**
 * Values while they are written. The truth about a cut text is JSON.parse of the same text, closed by hand: what is open is ended, what
 * is not complete is left out.
 */
import type { DeepPartial } from 'octavo'
import { describe, expect, expectTypeOf, it } from 'vitest'
import { PartialReader, partialOf } from '../lib/answers/partial-json.ts'
import { randomBelow } from './grammar-tools.ts'

const some = <T>(random: (below: number) => number, list: readonly T[]): T => list[random(list.length)]!
const texts = ['', 'a', 'a "quote"', '\\', 'line\nend', 'größe', '𝄞𝄞', '\ud834', '\udd1e', '[{', 'true', '12', '/']
const names = ['', 'a', 'b"', '__proto__', 'constructor', 'größe', '𝄞', 'length']

function randomValue(random: (below: number) => number, depth: number): unknown {
  const kind = random(depth > 0 ? 7 : 4)
  if (kind === 0) return some(random, texts)
  if (kind === 1) return some(random, [0, -1, 1.5, 1e21, -2.5e-7, 123456])
  if (kind === 2) return some(random, [true, false, null])
  if (kind === 3) return some(random, texts).repeat(random(4))
  const inner = Array.from({ length: random(4) }, () => randomValue(random, depth - 1))
  if (kind === 4) return inner
  return Object.fromEntries(inner.map((value, i) => [`${some(random, names)}${i > 1 ? `_${i}` : ''}`, value]))
}

/** All values that a text cut somewhere may stand for: ends are tried until JSON.parse takes one. */
function closed(text: string): unknown {
  const open: string[] = []
  let inString = false
  let nameFrom = -1
  let last = -1 // behind what is complete
  for (let i = 0; i < text.length; i++) {
    const c = text[i]!
    if (inString) {
      if (c === '\\') i++
      else if (c === '"') {
        inString = false
        if (nameFrom < 0) last = i + 1
      }
    } else if (c === '"') {
      inString = true
      const before = text.slice(0, i).trimEnd().at(-1)
      nameFrom = open.at(-1) === '}' && (before === '{' || before === ',') ? i : -1
    } else if (c === '{' || c === '[') {
      open.push(c === '{' ? '}' : ']')
      last = i + 1
    } else if (c === '}' || c === ']') {
      open.pop()
      last = i + 1
    } else if (/[,\s]/.test(c) && /[\w.]/.test(text[i - 1] ?? '')) last = i
    else if (/(true|false|null)$/.test(text.slice(0, i + 1))) last = i + 1
  }
  const ends = open.toReversed().join('')
  if (!inString || nameFrom >= 0) return last < 0 ? undefined : JSON.parse(text.slice(0, last) + ends)
  const whole = text.replace(/\\(u[\da-f]{0,3})?$/i, (found, _, at) =>
    /(^|[^\\])(\\\\)*$/.test(text.slice(0, at)) ? '' : found,
  )
  return cutPair(JSON.parse(`${whole}"${ends}`), ends === '' ? 0 : ends.length)
}

/** The value without half a character at the end of its last string. */
function cutPair(value: unknown, depth: number): unknown {
  if (typeof value === 'string') return value.replace(/[\ud800-\udbff]$/, '')
  if (depth === 0) return value
  if (Array.isArray(value)) return value.with(-1, cutPair(value.at(-1), depth - 1))
  const entries = Object.entries(value as object)
  const [name, inner] = entries.at(-1)!
  return Object.fromEntries([...entries.slice(0, -1), [name, cutPair(inner, depth - 1)]])
}

const spellings: ((value: unknown) => string)[] = [
  (value) => JSON.stringify(value),
  (value) => JSON.stringify(value, null, 2),
  (value) => JSON.stringify(value).replace(/[^\0-\x7e]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`),
]

describe('a value while it is written', () => {
  it('at each place of 600 random texts is what JSON.parse makes of the text, closed there', () => {
    for (let seed = 0; seed < 600; seed++) {
      const random = randomBelow(seed)
      const value = randomValue(random, 3)
      const text = spellings[seed % 3]!(value)
      const reader = new PartialReader()
      for (let i = 0; i < text.length; i++) {
        const partial = reader.push(text[i]!)
        expect([seed, text.slice(0, i + 1), partial]).toEqual([
          seed,
          text.slice(0, i + 1),
          closed(text.slice(0, i + 1)),
        ])
      }
      const isNumber = typeof value === 'number'
      expect([text, reader.push(isNumber ? ' ' : '')]).toEqual([text, JSON.parse(text)])
    }
  })

  it('is the same however the text was cut into parts', () => {
    for (let seed = 0; seed < 200; seed++) {
      const random = randomBelow(seed)
      const text = spellings[seed % 3]!(randomValue(random, 3))
      const reader = new PartialReader()
      for (let at = 0; at < text.length; ) {
        const to = at + random(6)
        expect(reader.push(text.slice(at, to))).toEqual(partialOf(text.slice(0, to)))
        at = to
      }
    }
  })

  it('never changes, and what is complete in it stays the same object', () => {
    const text = '{"a": {"x": [1, 2]}, "b": [{"y": "long text"}, {"z": 1}], "c": "d"}'
    const reader = new PartialReader()
    const seen: [unknown, string][] = []
    for (const c of text) {
      const value = reader.push(c)
      seen.push([value, JSON.stringify(value)])
    }
    for (const [value, then] of seen) expect(JSON.stringify(value)).toBe(then)
    const [early, late] = [seen[30]![0], seen.at(-1)![0]] as { a: unknown; b: unknown[] }[]
    expect(early!.a).toBe(late!.a)
    expect(early!.b).not.toBe(late!.b)
  })

  it('of text that is no JSON is what came before', () => {
    expect(partialOf('{"a": 1, "b": nonsense, "c": 2}')).toEqual({ a: 1 })
    expect(partialOf('{"a" 1}')).toEqual({})
    expect(partialOf('once upon a time')).toBeUndefined()
    expect(partialOf('')).toBeUndefined()
  })

  it('has a name like the prototype as a property of its own', () => {
    const value = partialOf('{"__proto__": {"polluted": true}, "x') as object
    expect(Object.keys(value)).toEqual(['__proto__'])
    expect((value as { polluted?: boolean }).polluted).toBeUndefined()
  })
})

it('types: everything may be missing, texts may be cut', () => {
  type Shape = { kind: 'a' | 'b'; size: number; tags: { name: string }[]; note: string | null; any: unknown }
  expectTypeOf<DeepPartial<Shape>>().toEqualTypeOf<{
    kind?: string
    size?: number
    tags?: { name?: string }[]
    note?: string | null
    any?: unknown
  }>()
  expectTypeOf<DeepPartial<unknown>>().toBeUnknown()
  expect(true).toBe(true)
})
