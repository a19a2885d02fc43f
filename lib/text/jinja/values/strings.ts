/** What Python does with strings: by code points, with its own idea of white space and line ends. */
import { fail } from './faults.ts'
import { checkCharacters, takeItems } from './limits.ts'
import { concat, mapStretches, raw, type Str, slice } from './text.ts'

/** str.isspace(), as a class of a regular expression. */
export const whiteSpace = String.raw`\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000`
const oneSpace = new RegExp(`^[${whiteSpace}]$`)
/** Where str.splitlines() cuts. */
const lineEnd = String.raw`\n\r\v\f\x1c-\x1e\x85\u2028\u2029`
const lineEnds = new RegExp(`\r\n|[${lineEnd}]`, 'g')
const surrogate = /[\ud800-\udfff]/

/** Where code points begin, in UTF-16 units, and the end. undefined where each is one unit. */
export function places(text: string): number[] | undefined {
  if (!surrogate.test(text)) return undefined
  const starts: number[] = []
  let at = 0
  for (const character of text) {
    starts.push(at)
    at += character.length
  }
  starts.push(at)
  return starts
}

export function lengthOf(text: Str): number {
  const starts = places(raw(text))
  return starts ? starts.length - 1 : raw(text).length
}

/** Code points, each with its origin. */
export function characters(text: Str): Str[] {
  const own = raw(text)
  takeItems(own.length)
  if (typeof text === 'string') return [...text]
  const starts = places(own)
  const count = starts ? starts.length - 1 : own.length
  return Array.from({ length: count }, (_, i) =>
    starts ? slice(text, starts[i]!, starts[i + 1]!) : slice(text, i, i + 1),
  )
}

/** A bound of a slice that steps forwards, as Python reads it. */
const bound = (value: number | null, fallback: number, length: number) =>
  value === null ? fallback : value < 0 ? Math.max(0, length + value) : Math.min(length, value)

/** `text[from:to]` by code points. */
export function substring(text: Str, from: number | null, to: number | null = null): Str {
  const starts = places(raw(text))
  const length = starts ? starts.length - 1 : raw(text).length
  const [start, end] = [bound(from, 0, length), bound(to, length, length)]
  if (start >= end) return ''
  return starts ? slice(text, starts[start]!, starts[end]!) : slice(text, start, end)
}

export function strip(text: Str, set: string | null = null, left = true, right = true): Str {
  const own = raw(text)
  const drops = set === null ? undefined : new Set(set)
  const drop = (character: string) => (drops ? drops.has(character) : oneSpace.test(character))
  const before = (at: number) =>
    surrogate.test(own[at - 1]!) && at >= 2 && own.codePointAt(at - 2)! > 0xffff ? at - 2 : at - 1
  let start = 0
  let end = own.length
  while (left && start < end) {
    const character = String.fromCodePoint(own.codePointAt(start)!)
    if (!drop(character)) break
    start += character.length
  }
  while (right && end > start && drop(own.slice(before(end), end))) end = before(end)
  return start === 0 && end === own.length ? text : slice(text, start, end)
}

export function replace(text: Str, from: Str, to: Str, count = -1): Str {
  const [own, old] = [raw(text), raw(from)]
  const most = count < 0 ? Number.POSITIVE_INFINITY : count
  const parts: Str[] = []
  let total = 0
  const put = () => {
    parts.push(to)
    total += raw(to).length + 1
    checkCharacters(total)
  }
  if (old === '') {
    const each = characters(text)
    for (let i = 0; i <= each.length; i++) {
      if (i < most) put()
      if (i < each.length) parts.push(each[i]!)
    }
    return concat(parts)
  }
  let at = 0
  for (let done = 0; done < most; done++) {
    const next = own.indexOf(old, at)
    if (next < 0) break
    if (next > at) parts.push(slice(text, at, next))
    put()
    at = next + old.length
  }
  if (at === 0) return text
  parts.push(slice(text, at))
  return concat(parts)
}

export function splitLines(text: Str, keepEnds = false): Str[] {
  const lines: Str[] = []
  let at = 0
  for (const match of raw(text).matchAll(lineEnds)) {
    const end = match.index + match[0].length
    lines.push(slice(text, at, keepEnds ? end : match.index))
    at = end
  }
  if (at < raw(text).length) lines.push(slice(text, at))
  takeItems(lines.length)
  return lines
}

/** Words of white space and `most` cuts, from the left. */
function splitWords(text: Str, most: number): Str[] {
  const own = raw(text)
  const words: Str[] = []
  let at = 0
  for (;;) {
    while (at < own.length && oneSpace.test(own[at]!)) at++
    if (at >= own.length) break
    if (words.length >= most) {
      words.push(slice(text, at))
      break
    }
    const start = at
    while (at < own.length && !oneSpace.test(own[at]!)) at++
    words.push(slice(text, start, at))
  }
  takeItems(words.length)
  return words
}

function splitWordsRight(text: Str, most: number): Str[] {
  const own = raw(text)
  const words: Str[] = []
  let end = own.length
  for (;;) {
    while (end > 0 && oneSpace.test(own[end - 1]!)) end--
    if (end <= 0) break
    if (words.length >= most) {
      words.push(slice(text, 0, end))
      break
    }
    let start = end
    while (start > 0 && !oneSpace.test(own[start - 1]!)) start--
    words.push(slice(text, start, end))
    end = start
  }
  takeItems(words.length)
  return words.reverse()
}

export function split(text: Str, separator: Str | null, limit = -1): Str[] {
  const most = limit < 0 ? Number.POSITIVE_INFINITY : limit
  if (separator === null) return splitWords(text, most)
  const [own, cut] = [raw(text), raw(separator)]
  if (cut === '') fail('empty separator')
  const parts: Str[] = []
  let at = 0
  while (parts.length < most) {
    const next = own.indexOf(cut, at)
    if (next < 0) break
    parts.push(slice(text, at, next))
    at = next + cut.length
  }
  parts.push(slice(text, at))
  takeItems(parts.length)
  return parts
}

export function splitRight(text: Str, separator: Str | null, limit = -1): Str[] {
  if (separator === null) return splitWordsRight(text, limit < 0 ? Number.POSITIVE_INFINITY : limit)
  if (limit < 0) return split(text, separator)
  const [own, cut] = [raw(text), raw(separator)]
  if (cut === '') fail('empty separator')
  const parts: Str[] = []
  let end = own.length
  while (parts.length < limit && end >= cut.length) {
    const next = own.lastIndexOf(cut, end - cut.length)
    if (next < 0) break
    parts.push(slice(text, next + cut.length, end))
    end = next
  }
  parts.push(slice(text, 0, end))
  takeItems(parts.length)
  return parts.reverse()
}

export function repeat(text: Str, count: number): Str {
  if (count <= 0 || raw(text) === '') return ''
  checkCharacters(raw(text).length * count)
  if (typeof text === 'string') return concat([text.repeat(count), ''])
  return concat(Array<Str>(takeItems(count)).fill(text))
}

/** `text` with `left` and `right` fillings of one character. */
export const surround = (text: Str, left: number, right: number, fill: Str = ' '): Str =>
  concat([repeat(fill, left), text, repeat(fill, right)])

export function center(text: Str, width: number, fill: Str = ' '): Str {
  const missing = width - lengthOf(text)
  if (missing <= 0) return text
  const left = Math.floor(missing / 2) + (missing & width & 1)
  return surround(text, left, missing - left, fill)
}

/** The place of a text in a part of another, -1 for none: str.find, str.rfind. */
export function find(text: Str, wanted: Str, from: number | null, to: number | null, last: boolean): number {
  const own = raw(text)
  const starts = places(own)
  const length = starts ? starts.length - 1 : own.length
  if (from !== null && from > length) return -1
  const [start, end] = [bound(from, 0, length), bound(to, length, length)]
  if (start > end) return -1
  const part = own.slice(starts ? starts[start] : start, starts ? starts[end] : end)
  const at = last ? part.lastIndexOf(raw(wanted)) : part.indexOf(raw(wanted))
  return at < 0 ? -1 : start + lengthOf(part.slice(0, at))
}

const upperFirst = (word: string) => {
  const [first = ''] = word
  const upper = first.toUpperCase()
  // Ligatures: only the first of their letters.
  return first === 'ǆ' || first === 'ǅ'
    ? 'ǅ'
    : upper.length > first.length
      ? upper[0]! + upper.slice(1).toLowerCase()
      : upper
}

/** One word, whatever stretches it has, with its first letter large and the others small. */
export function capitalize(word: Str, enlarge = upperFirst): Str {
  const first = mapStretches(substring(word, 0, 1), enlarge)
  return concat([first, mapStretches(substring(word, 1), (rest) => rest.toLowerCase())])
}

/** str.title(): words are runs of letters. */
export const titleCase = (text: Str): Str => byWords(text, upperFirst, /[\p{Uppercase}\p{Lowercase}\p{Lt}]+/gu)

/** The filter `title`: words end at white space and opening brackets. */
export const titleWords = (text: Str): Str =>
  byWords(text, (first) => first.toUpperCase(), new RegExp(`[^-${whiteSpace}({\\[<]+`, 'g'))

function byWords(text: Str, enlarge: (first: string) => string, word: RegExp): Str {
  const parts: Str[] = []
  let at = 0
  for (const match of raw(text).matchAll(word)) {
    parts.push(slice(text, at, match.index))
    at = match.index + match[0].length
    parts.push(capitalize(slice(text, match.index, at), enlarge))
  }
  parts.push(slice(text, at))
  return concat(parts)
}

export const upper = (text: Str) => mapStretches(text, (stretch) => stretch.toUpperCase())
export const lower = (text: Str) => mapStretches(text, (stretch) => stretch.toLowerCase())
export const swapCase = (text: Str) =>
  mapStretches(text, (stretch) =>
    stretch.replace(/\p{L}/gu, (c) => (/\p{Lu}/u.test(c) ? c.toLowerCase() : c.toUpperCase())),
  )

export function expandTabs(text: Str, size: number): Str {
  const parts: Str[] = []
  let column = 0
  for (const character of characters(text)) {
    if (raw(character) === '\t') {
      const missing = size > 0 ? size - (column % size) : 0
      parts.push(repeat(' ', missing))
      column += missing
      continue
    }
    parts.push(character)
    column = /[\n\r]/.test(raw(character)) ? 0 : column + 1
  }
  return concat(parts)
}

/** Before the cut, the cut, after it: str.partition; str.rpartition with `last`. */
export function partition(text: Str, cut: Str, last: boolean): [Str, Str, Str] {
  const [own, wanted] = [raw(text), raw(cut)]
  if (wanted === '') fail('empty separator')
  const at = last ? own.lastIndexOf(wanted) : own.indexOf(wanted)
  if (at < 0) return last ? ['', '', text] : [text, '', '']
  return [slice(text, 0, at), cut, slice(text, at + wanted.length)]
}

export function zeroFill(text: Str, width: number): Str {
  const sign = /^[+-]/.test(raw(text)) ? 1 : 0
  const missing = width - lengthOf(text)
  return missing <= 0 ? text : concat([slice(text, 0, sign), repeat('0', missing), slice(text, sign)])
}

/** Whether a text has cased letters and none of the other case. */
export function isCased(text: Str, wanted: 'upper' | 'lower'): boolean {
  const other = wanted === 'upper' ? /[\p{Lowercase}\p{Lt}]/u : /[\p{Uppercase}\p{Lt}]/u
  const own = wanted === 'upper' ? /\p{Uppercase}/u : /\p{Lowercase}/u
  return own.test(raw(text)) && !other.test(raw(text))
}
