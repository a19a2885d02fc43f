/**
 * What a tokenizer is made of, whatever file it came from: the tokens with their types, the merge model as the JSON object
 * that @huggingface/tokenizers reads, and the rules around it (spaces, begin and end tokens, chat template).
 * Also the table of each token's bytes. Two spellings of tokens exist: `bytes` (byte-level BPE, GPT-2: each byte is one
 * printable character of a fixed alphabet) and `spaces` (SentencePiece: text with U+2581 for a space, single bytes as
 * <0x0A>).
 */
import { type NativeBytePairs, native } from '../../base/native.ts'
import type { TokenBytes } from '../../host/output/detokenizer.ts'
import type { Texts } from './texts.ts'

/** Token types as GGUF numbers them. */
export const tokenType = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const

/** A token that is found in the text before the merge model sees it. */
export interface SpecialToken {
  id: number
  text: string
  /** White space before / after the token belongs to it and vanishes. */
  stripLeft: boolean
  stripRight: boolean
}

export interface Vocabulary {
  /** Text of each id. */
  tokens: Texts
  types: Uint8Array
  spelling: 'bytes' | 'spaces'
  /** For @huggingface/tokenizers: model, normalizer and pre-tokenizer; no added tokens, no post-processor. */
  model: object
  /** Merges by rank in native code, where that model has none. `whole`: a word that is a token is not merged. */
  ranks?: { pairs: NativeBytePairs; whole: boolean }
  /** Whether some text becomes the token of this name. */
  knows: (name: string) => boolean
  /** Of each token, where they decide what is merged (score-merges.ts); the model above then only says what it is made of. */
  scores?: Float64Array
  /** Control tokens, found only where the caller allows them. */
  control: SpecialToken[]
  /** User-defined tokens, found in every text. */
  userDefined: SpecialToken[]
  /** Which stretches of text between special tokens get a space in front. */
  prefixSpace: 'never' | 'first' | 'always'
  /** The prefix space is left out where the text begins with a space. */
  prefixOnce: boolean
  /** A long text may be tokenised in chunks cut between a letter and a space that is followed by a letter. */
  cutsAtWords: boolean
  addBos: boolean
  bosId: number | undefined
  eosIds: number[]
  /** Texts that templates ask for by name: bos_token, eos_token, unk_token, pad_token. */
  named: Record<string, string>
  chatTemplate: string | undefined
  /** What was found wrong with the file and put right: lines for the log. */
  notes: string[]
}

/** GPT-2's alphabet, by byte: printable Latin-1 stands for itself, the 68 other bytes for U+0100 onwards. */
export const characterOfByte: readonly string[] = (() => {
  let next = 0x100
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte !== 0xad)
    return String.fromCharCode(printable ? byte : next++)
  })
})()

export const byteOfCharacter: ReadonlyMap<string, number> = new Map(
  characterOfByte.map((character, byte) => [character, byte]),
)

/** Control and unknown tokens have no bytes. */
export function tokenBytes({
  tokens,
  types,
  spelling,
}: Pick<Vocabulary, 'tokens' | 'types' | 'spelling'>): SpelledTokens {
  const spelled = native().spellTokens(tokens, types, spelling)
  const bytes = new Uint8Array(new SharedArrayBuffer(spelled.bytes.byteLength))
  bytes.set(spelled.bytes)
  const offsets = new Uint32Array(new SharedArrayBuffer(spelled.offsets.byteLength))
  offsets.set(spelled.offsets)
  return { table: { bytes, offsets }, longest: spelled.longest }
}

export interface SpelledTokens {
  table: TokenBytes
  /** Bytes of the longest. */
  longest: number
}

/** How much text a number of tokens can hold. */
export interface TextBounds {
  /** n tokens stand for at most n times so many bytes. Infinity where text runs into one token or vanishes. */
  maxTextBytes: number
  /** Bytes that vanish, since the vocabulary has no token for them: they do not count. */
  lostBytes: number[]
}

/** No UTF-8 text holds them. */
const neverBytes = new Set([0xc0, 0xc1, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa, 0xfb, 0xfc, 0xfd, 0xfe, 0xff])

/**
 * Normalizing shrinks a text at most fourfold: three jamo of three bytes each become one syllable of three, `▁` counts as the
 * space that it is written for.
 */
export function textBounds(vocabulary: Vocabulary, { longest }: SpelledTokens): TextBounds {
  const { spelling, control, userDefined, knows } = vocabulary
  const { model, normalizer } = vocabulary.model as MergeModelSource
  const lostBytes = Array.from({ length: 256 }, (_, byte) => byte).filter((byte) => {
    const name = spelling === 'bytes' ? characterOfByte[byte]! : byteName(byte)
    return !neverBytes.has(byte) && !knows(name)
  })
  const strips = [...control, ...userDefined].some((token) => token.stripLeft || token.stripRight)
  const steps = normalizer?.normalizers ?? (normalizer ? [normalizer] : [])
  const shrinks = steps.some((step) => step.type !== 'NFC' && !(step.type === 'Replace' && step.content === '▁'))
  // Without a name for every byte, SentencePiece makes one unknown token of a whole run.
  const runs = spelling === 'spaces' && (lostBytes.length > 0 || model.byte_fallback !== true)
  const unknown = spelling === 'bytes' && typeof model.unk_token === 'string'
  if (strips || shrinks || runs || unknown || (lostBytes.length > 0 && steps.length > 0)) {
    return { maxTextBytes: Number.POSITIVE_INFINITY, lostBytes: [] }
  }
  let most = Math.max(1, longest)
  for (const { text } of control) most = Math.max(most, 3 * text.length)
  return { maxTextBytes: most * (steps.length > 0 ? 4 : 1), lostBytes }
}

interface MergeModelSource {
  model: { byte_fallback?: boolean; unk_token?: string | null }
  normalizer: { type: string; content?: string; normalizers?: { type: string; content?: string }[] } | null
}

/** The name of a byte token. */
export const byteName = (byte: number) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`
