/**
 * Cuts a text at special tokens: at each place the longest token that begins there, from left to right, as Hugging Face
 * finds added tokens. One regular expression with the tokens as alternatives, longest first.
 */
import { OctavoError } from '../errors.ts'
import type { SpecialToken } from './vocabulary.ts'

/** What one regular expression can hold; vocabularies in use have up to 7,000 special tokens of some 20 characters. */
const maxSpecials = { tokens: 2 ** 14, characters: 2 ** 18 }

/** A stretch of text, or the id of a special token. */
export type Piece = string | number

export class TokenCutter {
  readonly #tokens: ReadonlyMap<string, SpecialToken>
  readonly #pattern: RegExp | undefined

  constructor(tokens: readonly SpecialToken[]) {
    this.#tokens = new Map(tokens.map((token) => [token.text, token]))
    const characters = tokens.reduce((sum, token) => sum + token.text.length, 0)
    if (tokens.length > maxSpecials.tokens || characters > maxSpecials.characters) {
      throw new OctavoError(
        'MODEL_UNSUPPORTED',
        `Expected at most ${maxSpecials.tokens} control and user-defined tokens of ${maxSpecials.characters} characters together, found ${tokens.length} of ${characters}.`,
        { expected: maxSpecials, found: { tokens: tokens.length, characters } },
      )
    }
    const texts = [...this.#tokens.keys()].sort((a, b) => b.length - a.length)
    const escaped = texts.map((text) => text.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&'))
    if (texts.length > 0) this.#pattern = new RegExp(escaped.join('|'), 'g')
  }

  /** Whether any special token occurs in the text. */
  finds(text: string): boolean {
    return this.#pattern !== undefined && text.search(this.#pattern) >= 0
  }

  /** Pieces in order; no empty stretches. */
  cut(text: string): Piece[] {
    if (!this.#pattern) return text === '' ? [] : [text]
    const pieces: Piece[] = []
    let end = 0
    let trimNext = false
    const stretch = (from: number, to: number, trimEnd: boolean) => {
      let part = text.slice(from, to)
      if (trimNext) part = part.trimStart()
      if (trimEnd) part = part.trimEnd()
      if (part !== '') pieces.push(part)
    }
    for (const match of text.matchAll(this.#pattern)) {
      const token = this.#tokens.get(match[0])!
      stretch(end, match.index, token.stripLeft)
      pieces.push(token.id)
      end = match.index + match[0].length
      trimNext = token.stripRight
    }
    stretch(end, text.length, false)
    return pieces
  }
}
