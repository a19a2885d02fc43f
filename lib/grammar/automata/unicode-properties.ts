/**
 * The characters of a Unicode property, as this version of Node knows them: found by its own regular expressions, run by run, in a text
 * of all characters, a plane at a time. Planes of which nobody expects a character by itself (unassigned ones, private use) are alike
 * but for the two noncharacters at their end, so one character stands for the rest of each.
 */
import { type CharSet, charSet } from './characters.ts'

const planes = [0, 1, 2, 3, 14]
const alike = [4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 15, 16]

/** All characters of a plane, in order; surrogates are none. */
function textOf(plane: number): string {
  const units = new Uint16Array(plane === 0 ? 0x10000 - 0x800 : 0x20000)
  let at = 0
  for (let c = 0; c < 0x10000; c++) {
    if (plane > 0) {
      units[at++] = 0xd800 + ((((plane - 1) << 16) + c) >> 10)
      units[at++] = 0xdc00 + (c & 0x3ff)
    } else if (c < 0xd800 || c > 0xdfff) units[at++] = c
  }
  return Buffer.from(units.buffer).toString('utf16le')
}

/** Made when the first property is asked for. */
let texts: { first: number; text: string }[] | undefined

const known = new Map<string, CharSet>()

export function propertySet(name: string): CharSet {
  let set = known.get(name)
  if (set === undefined) {
    set = find(name)
    known.set(name, set)
  }
  return set
}

function find(name: string): CharSet {
  texts ??= planes.map((plane) => ({ first: plane << 16, text: textOf(plane) }))
  const inside = new RegExp(`\\p{${name}}+`, 'yu')
  const outside = new RegExp(`\\P{${name}}+`, 'yu')
  const ranges: [number, number][] = []
  for (const { first, text } of texts) {
    /** The character at a place of the text. */
    const character = (at: number) => (first > 0 ? first + (at >> 1) : at < 0xd800 ? at : at + 0x800)
    const step = first > 0 ? 2 : 1
    for (let at = 0; at < text.length; ) {
      outside.lastIndex = at
      if (outside.test(text)) at = outside.lastIndex
      inside.lastIndex = at
      if (!inside.test(text)) continue
      const [from, to] = [character(at), character(inside.lastIndex - step)]
      // A run goes on past the place where the surrogates would be.
      if (from < 0xd800 && to >= 0xe000) ranges.push([from, 0xd7ff], [0xe000, to])
      else ranges.push([from, to])
      at = inside.lastIndex
    }
  }
  const one = new RegExp(`\\p{${name}}`, 'u')
  for (const plane of alike) {
    const first = plane << 16
    if (one.test(String.fromCodePoint(first))) ranges.push([first, first + 0xfffd])
    for (const last of [first + 0xfffe, first + 0xffff])
      if (one.test(String.fromCodePoint(last))) ranges.push([last, last])
  }
  return charSet(ranges)
}
