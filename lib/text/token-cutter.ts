/**
 * Cuts a text at special tokens: at each place the longest token that begins there, from left to right, as Hugging Face
 * finds added tokens. One regular expression with the tokens as alternatives, longest first. Foreign stretches of the text hold no
 * tokens, nor do tokens reach over their borders.
 */
import { OctavoError } from '../base/errors.ts'
import type { SpecialToken } from './vocabulary/vocabulary.ts'

/** What one regular expression can hold; vocabularies in use have up to 7,000 special tokens of some 20 characters. */
const maxSpecials = { tokens: 2 ** 14, characters: 2 ** 18 }

/** A stretch of text, or the id of a special token. */
export type Piece = string | number

/** A piece and where it is in the text; `id` is missing for text. */
export interface Cut {
  from: number
  to: number
  id?: number
}

export const piecesOf = (text: string, cuts: readonly Cut[]): Piece[] =>
  cuts.map(({ from, to, id }) => id ?? text.slice(from, to))

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
    return piecesOf(text, this.cuts(text))
  }

  /** The same with their places; `foreign` are stretches that hold no tokens, ascending. */
  cuts(text: string, foreign: readonly { from: number; to: number }[] = []): Cut[] {
    const cuts: Cut[] = []
    let end = 0
    let trimNext = false
    const stretch = (to: number, trimEnd: boolean) => {
      let [from, until] = [end, to]
      if (trimNext) from = until - text.slice(from, until).trimStart().length
      if (trimEnd) until = from + text.slice(from, until).trimEnd().length
      if (from < until) cuts.push({ from, to: until })
    }
    for (const { at, token } of this.#tokensIn(text, foreign)) {
      stretch(at, token.stripLeft)
      end = at + token.text.length
      cuts.push({ from: at, to: end, id: token.id })
      trimNext = token.stripRight
    }
    stretch(text.length, false)
    return cuts
  }

  *#tokensIn(text: string, foreign: readonly { from: number; to: number }[]) {
    if (!this.#pattern) return
    let at = 0
    for (const { from, to } of [...foreign, { from: text.length, to: text.length }]) {
      if (from > at) {
        for (const match of text.slice(at, from).matchAll(this.#pattern))
          yield { at: at + match.index, token: this.#tokens.get(match[0])! }
      }
      at = to
    }
  }
}
