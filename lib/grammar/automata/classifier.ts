/**
 * Bytes -> classes of characters, as a table: one row of 256 cells for each place within a character. A cell is a row to go to
 * (a later one), `-1`, or `-2 - c`: a character of class c ends here. Three spellings of characters:
 * `json`: as JSON.stringify writes them in a string, one spelling for each; `free`: in all ways that JSON allows in a string;
 * `raw`: UTF-8. None spells a surrogate by itself.
 */
import type { Partition } from './characters.ts'

export type Spelling = 'json' | 'free' | 'raw'

export interface Classifier {
  rows: number
  /** The cells of all rows as runs: [length, cell], each within a row. */
  runs: readonly number[]
  classes: number
  /** Whether it knows every character that stands for itself in a JSON string. */
  allPlain: boolean
}

type ByteRange = readonly [number, number]
interface Sequence {
  bytes: readonly ByteRange[]
  at: number
  id: number
}

export function classifier(partition: Partition, spelling: Spelling): Classifier {
  const sequences: Sequence[] = []
  const add = (bytes: readonly ByteRange[], id: number) => sequences.push({ bytes, at: 0, id })
  const { starts, classes } = partition
  starts.forEach((first, i) => {
    const last = (starts[i + 1] ?? 0x110000) - 1
    for (const [a, b] of raw(spelling) ?? [[first, last] as const])
      for (const bytes of utf8(Math.max(a, first), Math.min(b, last))) add(bytes, classes[i]!)
    if (spelling !== 'raw') for (const bytes of escapes(first, last, spelling === 'free')) add(bytes, classes[i]!)
  })
  return { ...table(sequences), classes: partition.count, allPlain: true }
}

/** A classifier of single bytes, one class for each of them in order; others are no characters. */
export function byteClassifier(bytes: readonly number[]): Classifier {
  const cells = bytes.map((byte, id) => ({ first: byte, end: byte + 1, cell: -2 - id }))
  return { rows: 1, runs: runsOf(cells.sort((a, b) => a.first - b.first)), classes: bytes.length, allPlain: false }
}

/** Characters that stand for themselves; undefined: all. */
function raw(spelling: Spelling): ByteRange[] | undefined {
  if (spelling === 'raw') return undefined
  return [
    [0x20, 0x21],
    [0x23, 0x5b],
    [0x5d, 0x10ffff],
  ]
}

/** Sequences of byte ranges that spell the characters of a range in UTF-8, without surrogates. */
function utf8(first: number, last: number): ByteRange[][] {
  if (first > last) return []
  if (first <= 0xdfff && last >= 0xd800) return [...utf8(first, 0xd7ff), ...utf8(0xe000, last)]
  for (const border of [0x7f, 0x7ff, 0xffff])
    if (first <= border && border < last) return [...utf8(first, border), ...utf8(border + 1, last)]
  const size = first <= 0x7f ? 1 : first <= 0x7ff ? 2 : first <= 0xffff ? 3 : 4
  // Below a byte in which first and last differ, both must take all that can follow.
  for (let i = 1; i < size; i++) {
    const below = (1 << (6 * i)) - 1
    if ((first & ~below) === (last & ~below)) continue
    if ((first & below) !== 0) return [...utf8(first, first | below), ...utf8((first | below) + 1, last)]
    if ((last & below) !== below) return [...utf8(first, (last & ~below) - 1), ...utf8(last & ~below, last)]
  }
  const [a, b] = [encoded(first, size), encoded(last, size)]
  return [a.map((byte, i) => [byte, b[i]!] as const)]
}

function encoded(character: number, size: number): number[] {
  if (size === 1) return [character]
  const lead = [0, 0, 0xc0, 0xe0, 0xf0][size]!
  const bytes = [lead | (character >> (6 * (size - 1)))]
  for (let i = size - 2; i >= 0; i--) bytes.push(0x80 | ((character >> (6 * i)) & 0x3f))
  return bytes
}

const shortEscapes: Record<number, string> = { 34: '"', 92: '\\', 8: 'b', 12: 'f', 10: 'n', 13: 'r', 9: 't' }
const literal = (text: string): ByteRange[] => Array.from(text, (c) => [c.charCodeAt(0), c.charCodeAt(0)] as const)

function escapes(first: number, last: number, free: boolean): ByteRange[][] {
  const list: ByteRange[][] = []
  for (const [code, letter] of Object.entries(shortEscapes))
    if (first <= Number(code) && Number(code) <= last) list.push(literal(`\\${letter}`))
  if (!free) {
    for (let c = first; c <= Math.min(last, 0x1f); c++)
      if (shortEscapes[c] === undefined) list.push(literal(`\\u${c.toString(16).padStart(4, '0')}`))
    return list
  }
  if (first <= 0x2f && 0x2f <= last) list.push(literal('\\/'))
  list.push(...units(first, Math.min(last, 0xd7ff)), ...units(Math.max(first, 0xe000), Math.min(last, 0xffff)))
  // Above, a pair of surrogates; ranges are cut where the first of them changes.
  for (let c = Math.max(first, 0x10000); c <= last; ) {
    const high = (c - 0x10000) >> 10
    const low = (c - 0x10000) & 0x3ff
    if (low === 0) {
      const highs = Math.floor((last + 1 - c) / 0x400)
      if (highs > 0) {
        list.push(...join(units(0xd800 + high, 0xd800 + high + highs - 1), units(0xdc00, 0xdfff)))
        c += highs * 0x400
        continue
      }
    }
    const end = Math.min(last, c | 0x3ff)
    list.push(...join(units(0xd800 + high, 0xd800 + high), units(0xdc00 + low, 0xdc00 + ((end - 0x10000) & 0x3ff))))
    c = end + 1
  }
  return list
}

const join = (a: ByteRange[][], b: ByteRange[][]) => a.flatMap((x) => b.map((y) => [...x, ...y]))

/** Code units of a range as \uXXXX, digits in both cases. */
function units(first: number, last: number): ByteRange[][] {
  if (first > last) return []
  for (let i = 1; i < 4; i++) {
    const below = (1 << (4 * i)) - 1
    if ((first & ~below) === (last & ~below)) continue
    if ((first & below) !== 0) return [...units(first, first | below), ...units((first | below) + 1, last)]
    if ((last & below) !== below) return [...units(first, (last & ~below) - 1), ...units(last & ~below, last)]
  }
  let list: ByteRange[][] = [literal('\\u')]
  for (let i = 3; i >= 0; i--) list = join(list, digits((first >> (4 * i)) & 15, (last >> (4 * i)) & 15))
  return list
}

function digits(first: number, last: number): ByteRange[][] {
  const list: ByteRange[][] = []
  if (first <= 9) list.push([[48 + first, 48 + Math.min(last, 9)]])
  if (last >= 10) for (const letter of [87, 55]) list.push([[letter + Math.max(first, 10), letter + last] as const])
  return list
}

interface Row {
  cells: { first: number; end: number; id: number; to?: Row }[]
  /** Rows on the longest way from here: more than of any row it leads to. */
  height: number
  index: number
}

/** The sequences as a trie with shared ends; rows only lead to later ones. */
function table(sequences: readonly Sequence[]): { rows: number; runs: number[] } {
  const known = new Map<string, Row>()
  const make = (list: readonly Sequence[]): Row => {
    const key = list.map(({ bytes, at, id }) => `${bytes.slice(at).join('-')}>${id}`).join(' ')
    const same = known.get(key)
    if (same !== undefined) return same
    const row: Row = { cells: [], height: 0, index: -1 }
    const cuts = [...new Set(list.flatMap(({ bytes, at }) => [bytes[at]![0], bytes[at]![1] + 1]))].sort((a, b) => a - b)
    for (let i = 0; i + 1 < cuts.length; i++) {
      const [first, end] = [cuts[i]!, cuts[i + 1]!]
      const here = list.filter(({ bytes, at }) => bytes[at]![0] <= first && first <= bytes[at]![1])
      if (here.length === 0) continue
      const { bytes, at, id } = here[0]!
      if (at + 1 === bytes.length) {
        row.cells.push({ first, end, id })
        continue
      }
      const to = make(here.map(({ bytes, at, id }) => ({ bytes, at: at + 1, id })))
      row.height = Math.max(row.height, to.height + 1)
      row.cells.push({ first, end, id, to })
    }
    known.set(key, row)
    return row
  }
  make(sequences)
  const rows = [...known.values()].sort((a, b) => b.height - a.height)
  rows.forEach((row, i) => {
    row.index = i
  })
  const runs = rows.flatMap(({ cells }) =>
    runsOf(cells.map(({ first, end, id, to }) => ({ first, end, cell: to === undefined ? -2 - id : to.index }))),
  )
  return { rows: rows.length, runs }
}

/** A row, of which all else is -1. */
function runsOf(cells: readonly { first: number; end: number; cell: number }[]): number[] {
  const runs: number[] = []
  let at = 0
  for (const { first, end, cell } of cells) {
    if (first > at) runs.push(first - at, -1)
    if (first === at && runs.at(-1) === cell) runs[runs.length - 2]! += end - first
    else runs.push(end - first, cell)
    at = end
  }
  if (at < 256) runs.push(256 - at, -1)
  return runs
}
