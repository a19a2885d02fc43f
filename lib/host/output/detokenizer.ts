/**
 * Tokens to text, one token at a time. A token is a run of bytes that need not be whole characters: the bytes of a
 * character that several tokens share are held back until it is complete, and a dangling rest becomes U+FFFD at the end.
 * The table is two shared arrays: the bytes of token t are bytes[offsets[t] .. offsets[t + 1]]. A token that is valid
 * UTF-8 by itself, which nearly all are, is decoded once and then costs one array access; only the others, and those
 * after them up to the next ASCII byte, go through a TextDecoder.
 */

/** Both arrays lie on SharedArrayBuffers: threads share one copy. */
export interface TokenBytes {
  bytes: Uint8Array
  /** Vocabulary size + 1 numbers. */
  offsets: Uint32Array
}

export interface DetokenizerOptions {
  /** Drop one leading space of the text, as SentencePiece vocabularies that prepend one want it. */
  dropPrefixSpace?: boolean
}

const undecided = 0

/** A TokenBytes table with the texts of the tokens seen so far. One per vocabulary and thread; streams share it. */
export class TokenTable {
  readonly #bytes: Uint8Array
  readonly #offsets: Uint32Array
  /** The text of a token that is valid UTF-8 by itself; null: it is not; 0: not looked at yet. */
  readonly #texts: (string | null | 0)[]
  readonly #strict = new TextDecoder('utf-8', { ignoreBOM: true, fatal: true })

  constructor(table: TokenBytes) {
    this.#bytes = table.bytes
    this.#offsets = table.offsets
    this.#texts = new Array(table.offsets.length - 1).fill(undecided)
  }

  /** The text of a token, or null when its bytes are not whole characters. Ids outside the vocabulary have no text. */
  text(token: number): string | null {
    const known = this.#texts[token]
    if (known === undefined) return ''
    if (known !== undecided) return known
    let text: string | null
    try {
      text = this.#strict.decode(this.bytes(token))
    } catch {
      text = null
    }
    this.#texts[token] = text
    return text
  }

  bytes(token: number): Uint8Array {
    // A copy: not every TextDecoder takes shared memory.
    return this.#bytes.slice(this.#offsets[token], this.#offsets[token + 1])
  }

  stream(options: DetokenizerOptions = {}): Detokenizer {
    return new Detokenizer(this, options)
  }

  /** The text of all tokens at once: the same as the parts of a stream, joined. */
  decode(tokens: ArrayLike<number>, options: DetokenizerOptions = {}): string {
    const stream = this.stream(options)
    let text = ''
    for (let i = 0; i < tokens.length; i++) text += stream.push(tokens[i]!)
    return text + stream.end()
  }
}

/** The text of one growing sequence of tokens. */
export class Detokenizer {
  readonly #table: TokenTable
  readonly #decoder = new TextDecoder('utf-8', { ignoreBOM: true })
  /** The decoder may hold the beginning of a character. */
  #open = false
  #dropSpace: boolean

  constructor(table: TokenTable, options: DetokenizerOptions = {}) {
    this.#table = table
    this.#dropSpace = options.dropPrefixSpace ?? false
  }

  /** The characters that `token` completes. */
  push(token: number): string {
    const known = this.#table.text(token)
    if (!this.#open && known !== null) return this.#dropSpace ? this.#first(known) : known
    if (known === '') return ''
    const bytes = this.#table.bytes(token)
    this.#open = bytes[bytes.length - 1]! >= 0x80
    return this.#first(this.#decoder.decode(bytes, { stream: true }))
  }

  /** U+FFFD when the last character never became complete, else nothing. */
  end(): string {
    this.#open = false
    return this.#first(this.#decoder.decode())
  }

  #first(text: string): string {
    if (!this.#dropSpace || text === '') return text
    this.#dropSpace = false
    return text.startsWith(' ') ? text.slice(1) : text
  }
}
