/**
 * Messages whose ids are known, such as a session's earlier answers: the template renders a placeholder in the place of their
 * content, and where the placeholder comes out these ids stand in the prompt, exactly as the model generated them. (Tokenising
 * the text again may give other ids, and then nothing that was computed for them could be used.)
 */
import type { Piece } from './token-cutter.ts'

interface Message {
  content?: unknown
  tokens?: Int32Array
}

export interface Verbatim {
  /** Messages to render: placeholders in, ids out. */
  messages: unknown[]
  /** Rendered pieces with ids in the place of placeholders; undefined when the template did not keep each exactly once. */
  fill(pieces: Piece[]): Piece[] | undefined
}

/** undefined when no message has ids. */
export function verbatim(messages: readonly unknown[]): Verbatim | undefined {
  const known = messages.filter((message) => idsOf(message) !== undefined)
  if (known.length === 0) return undefined
  const mark = freeMark(JSON.stringify(messages.map(plain)))
  const placeholders = new Map(known.map((message, i) => [message, `${mark}${i}.`]))
  const ids = new Map(known.map((message) => [placeholders.get(message)!, idsOf(message)!]))
  const pattern = new RegExp(`(${mark}\\d+\\.)`)
  return {
    messages: messages.map((message) => {
      const placeholder = placeholders.get(message)
      return placeholder === undefined ? message : { ...plain(message), content: placeholder }
    }),
    fill(pieces) {
      const found: string[] = []
      const filled = pieces.flatMap((piece): Piece[] => {
        if (typeof piece === 'number') return [piece]
        return piece.split(pattern).flatMap((part): Piece[] => {
          const tokens = ids.get(part)
          if (tokens === undefined) return part === '' ? [] : [part]
          found.push(part)
          return Array.from(tokens)
        })
      })
      return found.length === ids.size && new Set(found).size === ids.size ? filled : undefined
    },
  }
}

/** Messages without ids, as templates know them. */
export function plain(message: unknown): object {
  const { tokens: _, ...rest } = message as Message
  return rest
}

function idsOf(message: unknown): Int32Array | undefined {
  const tokens = (message as Message | null)?.tokens
  return tokens instanceof Int32Array ? tokens : undefined
}

/** Letters and digits that no message holds. */
function freeMark(text: string): string {
  let mark = 'verbatim'
  while (text.includes(mark)) mark += 'x'
  return mark
}
