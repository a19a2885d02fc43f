/**
 * Tokens to text, one token at a time. A token is a run of bytes that need not be whole characters: the bytes of a
 * character that several tokens share are held back until it is complete, and a dangling rest becomes U+FFFD at the end.
 * The table is two shared arrays: the bytes of token t are bytes[offsets[t] .. offsets[t + 1]]. A token that is valid
 * UTF-8 by itself, which nearly all are, is decoded once and then costs one array access; only the others, and those
 * that complete a character, go through a TextDecoder.
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
  /** The beginning of a character; never more than three bytes. */
  #rest: Uint8Array = nothing
  #dropSpace: boolean

  constructor(table: TokenTable, options: DetokenizerOptions = {}) {
    this.#table = table
    this.#dropSpace = options.dropPrefixSpace ?? false
  }

  /** The last token's bytes end within a character, whose text is still to come. */
  get open(): boolean {
    return this.#rest.length > 0
  }

  /** The characters that `token` completes. */
  push(token: number): string {
    const known = this.#table.text(token)
    if (this.#rest.length === 0 && known !== null) return this.#dropSpace ? this.#first(known) : known
    if (known === '') return ''
    const bytes = joined(this.#rest, this.#table.bytes(token))
    const whole = bytes.length - unfinishedBytes(bytes)
    this.#rest = bytes.subarray(whole)
    return this.#first(decoder.decode(bytes.subarray(0, whole)))
  }

  /** U+FFFD when the last character never became complete, else nothing. */
  end(): string {
    if (this.#rest.length === 0) return ''
    this.#rest = nothing
    return this.#first('\ufffd')
  }

  #first(text: string): string {
    if (!this.#dropSpace || text === '') return text
    this.#dropSpace = false
    return text.startsWith(' ') ? text.slice(1) : text
  }
}

const nothing = new Uint8Array(0)
const decoder = new TextDecoder('utf-8', { ignoreBOM: true })

function joined(a: Uint8Array, b: Uint8Array): Uint8Array {
  if (a.length === 0) return b
  const both = new Uint8Array(a.length + b.length)
  both.set(a)
  both.set(b, a.length)
  return both
}

/** Bytes of a lead byte's character, and what its second byte may be where not every continuation byte may. */
const leads = (lead: number): { length: number; from: number; to: number } => {
  const length = lead < 0xc2 || lead > 0xf4 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4
  const from = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80
  const to = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf
  return { length, from, to }
}

/** How many bytes at the end are the beginning of a character that further bytes may complete. */
function unfinishedBytes(bytes: Uint8Array): number {
  for (let n = 1; n <= Math.min(3, bytes.length); n++) {
    const byte = bytes[bytes.length - n]!
    if (byte >= 0x80 && byte < 0xc0) continue
    const { length, from, to } = leads(byte)
    const second = n > 1 ? bytes[bytes.length - n + 1]! : from
    return n < length && second >= from && second <= to ? n : 0
  }
  return 0
}
