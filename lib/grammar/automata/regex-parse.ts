/**
 * Regular expressions of ECMAScript -> a tree over sets of characters, with the `u` flag as JSON Schema asks for; what it forbids but
 * is read without it, such as `\_`, means what it says. What a finite automaton cannot do, or not in one pass, is refused:
 * back-references, word boundaries, lookbehind, and lookahead anywhere but at the beginning (`^(?=...)`, where it is an intersection).
 */
import { type CharSet, charSet, complement, pairs, union } from './characters.ts'
import type { Budget } from './refusal.ts'
import { propertySet } from './unicode-properties.ts'

export type Regex =
  | { kind: 'set'; set: CharSet }
  | { kind: 'seq' | 'alt'; parts: Regex[] }
  | { kind: 'repeat'; inner: Regex; min: number; max: number }
  | { kind: 'start' | 'end' }
  | { kind: 'look'; inner: Regex; negative: boolean }

const longestPattern = 20_000
/** Of each property that a pattern names: some milliseconds where it is the first of its process. */
const propertyWork = 12_000
const deepestPattern = 100
const endless = Number.POSITIVE_INFINITY

const digit: CharSet = [48, 57]
const word: CharSet = charSet([...pairs(digit), [65, 90], [95, 95], [97, 122]])
const white: CharSet = charSet([
  ...([
    [9, 13],
    [32, 32],
    [0xa0, 0xa0],
    [0x1680, 0x1680],
    [0x2000, 0x200a],
  ] as const),
  ...([
    [0x2028, 0x2029],
    [0x202f, 0x202f],
    [0x205f, 0x205f],
    [0x3000, 0x3000],
    [0xfeff, 0xfeff],
  ] as const),
])
const dot: CharSet = complement(
  charSet([
    [10, 10],
    [13, 13],
    [0x2028, 0x2029],
  ]),
)
const classes: Record<string, CharSet> = { d: digit, w: word, s: white }
for (const name of ['d', 'w', 's']) classes[name.toUpperCase()] = complement(classes[name]!)
const controls: Record<string, number> = { n: 10, r: 13, t: 9, f: 12, v: 11, '0': 0 }

const counts = /^\{\d+(,\d*)?\}/

const one = (character: number): CharSet => [character, character]

export function parseRegex(source: string, budget: Budget): Regex {
  if (source.length > longestPattern) throw budget.refuse('the pattern is too long')
  if (!isRegex(source, 'u') && !isRegex(source, '')) throw budget.refuse('it is no regular expression')
  return new Parser(source, budget).parse()
}

function isRegex(source: string, flags: string): boolean {
  try {
    new RegExp(source, flags)
    return true
  } catch {
    return false
  }
}

class Parser {
  readonly #text: string[]
  readonly #budget: Budget
  readonly #properties = new Set<string>()
  #at = 0
  #depth = 0

  constructor(source: string, budget: Budget) {
    this.#text = [...source]
    this.#budget = budget
  }

  parse(): Regex {
    return this.#alternatives()
  }

  get #next(): string | undefined {
    return this.#text[this.#at]
  }

  #take(text: string): boolean {
    if (
      !this.#text
        .slice(this.#at, this.#at + text.length)
        .join('')
        .startsWith(text)
    )
      return false
    this.#at += text.length
    return true
  }

  #alternatives(): Regex {
    if (++this.#depth > deepestPattern) throw this.#budget.refuse('groups nest too deep')
    const parts = [this.#sequence()]
    while (this.#take('|')) parts.push(this.#sequence())
    this.#depth--
    return parts.length === 1 ? parts[0]! : { kind: 'alt', parts }
  }

  #sequence(): Regex {
    const parts: Regex[] = []
    while (this.#next !== undefined && this.#next !== '|' && this.#next !== ')') parts.push(this.#quantified())
    return parts.length === 1 ? parts[0]! : { kind: 'seq', parts }
  }

  #quantified(): Regex {
    const inner = this.#atom()
    const [min, max] = this.#counts() ?? [1, 1]
    // Lazy or not, the same texts match.
    if (min !== 1 || max !== 1) this.#take('?')
    return min === 1 && max === 1 ? inner : { kind: 'repeat', inner, min, max }
  }

  #counts(): [number, number] | undefined {
    if (this.#take('*')) return [0, endless]
    if (this.#take('+')) return [1, endless]
    if (this.#take('?')) return [0, 1]
    if (!counts.test(this.#text.slice(this.#at, this.#at + 24).join(''))) return undefined
    this.#at++
    const min = this.#number()
    const max = this.#take(',') ? (this.#next === '}' ? endless : this.#number()) : min
    this.#at++
    if (min === 1 && max === 1) this.#take('?')
    return [min, max]
  }

  #number(): number {
    let digits = ''
    while (/\d/.test(this.#next ?? '')) digits += this.#text[this.#at++]
    return Number(digits)
  }

  #atom(): Regex {
    const c = this.#text[this.#at++]!
    if (c === '^') return { kind: 'start' }
    if (c === '$') return { kind: 'end' }
    if (c === '.') return { kind: 'set', set: dot }
    if (c === '[') return { kind: 'set', set: this.#class() }
    if (c === '(') return this.#group()
    if (c === '\\') {
      if (this.#next === 'b' || this.#next === 'B') throw this.#budget.refuse('word boundaries')
      return { kind: 'set', set: this.#escape() }
    }
    return { kind: 'set', set: one(c.codePointAt(0)!) }
  }

  #group(): Regex {
    let look: 'ahead' | 'not' | undefined
    if (this.#take('?:')) look = undefined
    else if (this.#take('?=')) look = 'ahead'
    else if (this.#take('?!')) look = 'not'
    else if (this.#take('?<=') || this.#take('?<!')) throw this.#budget.refuse('lookbehind')
    else if (this.#take('?<')) this.#at = this.#text.indexOf('>', this.#at) + 1
    else if (this.#take('?')) throw this.#budget.refuse('flags within a pattern')
    const inner = this.#alternatives()
    this.#at++
    return look === undefined ? inner : { kind: 'look', inner, negative: look === 'not' }
  }

  #class(): CharSet {
    const negative = this.#take('^')
    const sets: CharSet[] = []
    while (this.#next !== ']') {
      const from = this.#classAtom()
      if (this.#next === '-' && this.#text[this.#at + 1] !== ']' && from.length === 2 && from[0] === from[1]) {
        this.#at++
        const to = this.#classAtom()
        if (to.length === 2 && to[0] === to[1]) sets.push([from[0]!, to[0]!])
        else sets.push(from, one(45), to)
      } else sets.push(from)
    }
    this.#at++
    const all = union(...sets)
    return negative ? complement(all) : all
  }

  #classAtom(): CharSet {
    const c = this.#text[this.#at++]!
    if (c !== '\\') return one(c.codePointAt(0)!)
    if (this.#take('b')) return one(8)
    if (this.#take('-')) return one(45)
    return this.#escape()
  }

  #escape(): CharSet {
    const c = this.#text[this.#at++]!
    const known = classes[c]
    if (known !== undefined) return known
    if (controls[c] !== undefined) return one(controls[c])
    switch (c) {
      case 'c':
        return one(this.#text[this.#at++]!.charCodeAt(0) % 32)
      case 'x':
        return one(this.#hex(2))
      case 'u':
        return one(this.#unicode())
      case 'p':
      case 'P':
        return this.#property(c === 'P')
    }
    if (/[1-9k]/.test(c)) throw this.#budget.refuse('back-references')
    return one(c.codePointAt(0)!)
  }

  #hex(length: number): number {
    const text = this.#text.slice(this.#at, this.#at + length).join('')
    this.#at += length
    return Number.parseInt(text, 16)
  }

  #unicode(): number {
    if (this.#take('{')) {
      const end = this.#text.indexOf('}', this.#at)
      const value = this.#hex(end - this.#at)
      this.#at++
      return value
    }
    const high = this.#hex(4)
    if (high < 0xd800 || high > 0xdbff || !this.#take('\\u')) return high
    const low = this.#hex(4)
    if (low >= 0xdc00 && low <= 0xdfff) return 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)
    this.#at -= 6
    return high
  }

  #property(negative: boolean): CharSet {
    const end = this.#text.indexOf('}', this.#at)
    if (this.#next !== '{' || end < 0) return one((negative ? 'P' : 'p').charCodeAt(0))
    const name = this.#text.slice(this.#at + 1, end).join('')
    if (!isRegex(`\\p{${name}}`, 'u')) throw this.#budget.refuse(`\\p{${name.slice(0, 80)}}, which is no property`)
    if (!this.#properties.has(name)) this.#budget.spend(propertyWork)
    this.#properties.add(name)
    this.#at = end + 1
    const set = propertySet(name)
    return negative ? complement(set) : set
  }
}
