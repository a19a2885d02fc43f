/** The filter `wordwrap`: Python's textwrap on each line, without expanding tabs or changing white space. */
import { fail } from '../values/faults.ts'
import { takeItems } from '../values/limits.ts'
import { characters, lengthOf, splitLines, strip } from '../values/strings.ts'
import { concat, raw, type Str, slice } from '../values/text.ts'

const space = String.raw`[\t\n\v\f\r ]`
const noSpace = String.raw`[^\t\n\v\f\r ]`
const wordCharacter = String.raw`[\p{L}\p{N}_]`
const letter = String.raw`[\p{L}\p{Nl}\p{No}_]`
const punctuated = String.raw`[\p{L}\p{N}_!"'&.,?]`
/** A hyphen between parts of two letters at least. */
const hyphen = `-(?:(?<=${letter}{2}-)|(?<=${letter}-${punctuated}-))(?=${letter}-?${letter})`
/** Made when a template asks for it, which takes a millisecond. */
let pattern: RegExp | undefined
/** White space, a dash between words, or a word up to its end, to such a hyphen or to a dash. */
const chunkPattern = () =>
  (pattern ??= new RegExp(
    `${space}+|(?<=${punctuated})-{2,}(?=${wordCharacter})|${noSpace}+?(?:${hyphen}|(?=${space}|$)|(?<=${punctuated})(?=-{2,}${wordCharacter}))`,
    'gu',
  ))
const plainPattern = new RegExp(`${space}+|${noSpace}+`, 'gu')

/** A run of white space or a word, from one of its characters on. */
class Chunk {
  readonly #characters: readonly Str[]
  readonly #from: number

  constructor(characters: readonly Str[], from = 0) {
    this.#characters = characters
    this.#from = from
  }

  get length(): number {
    return this.#characters.length - this.#from
  }

  part(end: number = this.length): readonly Str[] {
    return this.#characters.slice(this.#from, this.#from + end)
  }

  after(end: number): Chunk {
    return new Chunk(this.#characters, this.#from + end)
  }

  get isBlank(): boolean {
    return this.length === 0 || raw(strip(this.#characters[this.#from]!)) === ''
  }
}

function chunksOf(line: Str, hyphens: boolean): Chunk[] {
  const chunks: Chunk[] = []
  for (const match of raw(line).matchAll(hyphens ? chunkPattern() : plainPattern)) {
    if (match[0] !== '') chunks.push(new Chunk(characters(slice(line, match.index, match.index + match[0].length))))
  }
  return chunks
}

/** Where a word that is too long breaks: after a hyphen that is not among its first, when there is one in the room. */
function breakOf(word: Chunk, room: number, hyphens: boolean): number {
  if (!hyphens) return room
  const part = word.part(room).map(raw)
  const at = part.lastIndexOf('-')
  return at > 0 && part.slice(0, at).some((character) => character !== '-') ? at + 1 : room
}

function wrapLine(line: Str, width: number, breakLong: boolean, hyphens: boolean): Str[] {
  if (lengthOf(line) <= width) return raw(strip(line)) === '' ? [] : [strip(line, null, false, true)]
  const chunks = chunksOf(line, hyphens).reverse()
  const lines: Str[] = []
  while (chunks.length > 0) {
    const current: Chunk[] = []
    let room = width
    if (lines.length > 0 && chunks.at(-1)!.isBlank) chunks.pop()
    while (chunks.length > 0 && chunks.at(-1)!.length <= room) {
      room -= chunks.at(-1)!.length
      current.push(chunks.pop()!)
    }
    const next = chunks.at(-1)
    if (next !== undefined && next.length > width) {
      if (breakLong) {
        const cut = breakOf(next, room, hyphens)
        current.push(new Chunk(next.part(cut)))
        chunks[chunks.length - 1] = next.after(cut)
      } else if (current.length === 0) current.push(chunks.pop()!)
    }
    if (current.length > 0 && current.at(-1)!.isBlank) current.pop()
    if (current.length === 0) continue
    lines.push(concat(current.flatMap((chunk) => chunk.part())))
    takeItems(lines.length % 1024 === 0 ? lines.length : 0)
  }
  return lines
}

export function wordWrap(text: Str, width: number, breakLong: boolean, ends: Str, hyphens: boolean): Str {
  if (width <= 0) return fail(`invalid width ${width} (must be > 0)`)
  const parts: Str[] = []
  splitLines(text).forEach((line, i) => {
    if (i > 0) parts.push(ends)
    wrapLine(line, width, breakLong, hyphens).forEach((part, j) => {
      if (j > 0) parts.push(ends)
      parts.push(part)
    })
  })
  return parts.length === 0 ? '' : concat(parts)
}
