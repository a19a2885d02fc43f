/** The filter `wordwrap`: Python's textwrap on each line, without expanding tabs or changing white space. */
import { fail } from '../values/faults.ts'
import { lengthOf, splitLines, strip, substring } from '../values/strings.ts'
import { concat, raw, type Str, slice } from '../values/text.ts'

/** White space, and words that may end at a hyphen between letters or at a dash. */
const chunk =
  /[\t\n\v\f\r ]+|(?:[^\t\n\v\f\r -]|-(?!-))*?(?:[^\W\d_]-(?=[^\W\d_]{2}|[^\W\d_]-[^\W\d_]))|-{2,}(?=\w)|(?:[^\t\n\v\f\r -]|-(?!-+\w))+|-+/gu
const plainChunk = /[\t\n\v\f\r ]+|[^\t\n\v\f\r ]+/g

function chunksOf(line: Str, hyphens: boolean): Str[] {
  const chunks: Str[] = []
  for (const match of raw(line).matchAll(hyphens ? chunk : plainChunk)) {
    if (match[0] !== '') chunks.push(slice(line, match.index, match.index + match[0].length))
  }
  return chunks
}

const isBlank = (text: Str) => raw(strip(text)) === ''

function wrapLine(line: Str, width: number, breakLong: boolean, hyphens: boolean): Str[] {
  const chunks = chunksOf(line, hyphens).reverse()
  const lines: Str[] = []
  while (chunks.length > 0) {
    const current: Str[] = []
    let length = 0
    if (lines.length > 0 && isBlank(chunks.at(-1)!)) chunks.pop()
    while (chunks.length > 0 && length + lengthOf(chunks.at(-1)!) <= width) {
      length += lengthOf(chunks.at(-1)!)
      current.push(chunks.pop()!)
    }
    const next = chunks.at(-1)
    if (next !== undefined && lengthOf(next) > width) {
      chunks.pop()
      const room = breakLong ? width - length : 0
      const cut = breakLong && hyphens ? hyphenBefore(next, room) : room
      if (breakLong && cut > 0) {
        current.push(substring(next, 0, cut))
        chunks.push(substring(next, cut))
      } else if (current.length === 0 && !breakLong) current.push(next)
      else chunks.push(next)
    }
    if (current.length > 0 && isBlank(current.at(-1)!)) current.pop()
    if (current.length > 0) lines.push(concat(current))
  }
  return lines
}

/** A long word breaks after a hyphen that is no first letter, when there is one in the room. */
function hyphenBefore(word: Str, room: number): number {
  const at = raw(substring(word, 0, room)).lastIndexOf('-')
  return lengthOf(word) > room && at > 0 && /[^-]/.test(raw(word).slice(0, at)) ? at + 1 : room
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
