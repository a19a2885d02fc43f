/**
 * Copies of the embedded model with other vocabularies, and what their ids spell: written here from the file's metadata alone, so that
 * it is independent of what is tested. A control token is a character of plane 15, which no text of these tests has.
 */
import type { GgufValue } from '../../lib/base/native.ts'
import { ggufMetadata } from '../gguf-metadata.ts'
import { renameToken, storiesVariant, type Variant } from '../gguf-variant.ts'

type Metadata = Record<string, GgufValue>

const types = { normal: 1, control: 3, userDefined: 4, unused: 5, byte: 6 }
/** The model says these of itself: its reasoning begins where its stories do. */
const thinking = { Once: '<think>', Ġlived: '</think>' }
const markers = {
  ...{ Ġmarble: '<|start_header_id|>', Ġpepper: '<|end_header_id|>', Ġlemon: '<|eot_id|>', Ġmirror: '[INST]' },
  ...{ Ġwillow: '[/INST]', Ġfeather: '<|user|>', Ġgarden: '<|assistant|>', Ġriver: '<|system|>', Ġhappy: '<|end|>' },
  ...{ Ġtogether: '<start_of_turn>', Ġfriends: '<end_of_turn>' },
}

export const vocabularyNames = ['as it is', 'control tokens', 'user-defined tokens', 'sentence pieces'] as const
export type VocabularyName = (typeof vocabularyNames)[number]

function rename(metadata: Metadata, names: Record<string, string>, type: number): void {
  const tokens = metadata['tokenizer.ggml.tokens'] as string[]
  for (const [from, to] of Object.entries(names)) if (tokens.includes(from)) renameToken(metadata, from, to, type)
}

const changes: Record<VocabularyName, (metadata: Metadata) => void> = {
  'as it is': () => {},
  'control tokens': (metadata) => rename(metadata, { ...thinking, ...markers }, types.control),
  'user-defined tokens': (metadata) => rename(metadata, thinking, types.userDefined),
  'sentence pieces': (metadata) => {
    rename(metadata, { ...thinking, ...markers }, types.control)
    toPieces(metadata)
  },
}

/** SentencePiece's spelling of the same tokens; those of broken characters have none. */
function toPieces(metadata: Metadata): void {
  const tokens = metadata['tokenizer.ggml.tokens'] as string[]
  const kinds = metadata['tokenizer.ggml.token_type'] as number[]
  const spelled = tokens.map((token, id) =>
    kinds[id] === types.normal ? Buffer.from(bytesOfLetters(token)) : undefined,
  )
  for (const [id, bytes] of spelled.entries()) {
    if (bytes === undefined) continue
    const text = bytes.toString()
    if (!text.includes('\ufffd')) tokens[id] = text.replaceAll(' ', '▁')
    else if (bytes.length === 1) [tokens[id], kinds[id]] = [byteName(bytes[0]!), types.byte]
    else [tokens[id], kinds[id]] = [`<unused ${id}>`, types.unused]
  }
  tokens[0] = '<s>'
  metadata['tokenizer.ggml.model'] = 'llama'
  metadata['tokenizer.ggml.scores'] = tokens.map((_, id) => -id - 0.5)
  metadata['tokenizer.ggml.add_bos_token'] = true
}

const byteName = (byte: number) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`

/** GPT-2's alphabet: the bytes that print stand for themselves, the others are U+0100 and on in their order. */
function bytesOfLetters(token: string): number[] {
  const prints = (byte: number) => (byte > 32 && byte < 127) || (byte > 160 && byte !== 173)
  const others = Array.from({ length: 256 }, (_, byte) => byte).filter((byte) => !prints(byte))
  return Array.from(token, (letter) => {
    const code = letter.codePointAt(0)!
    return code < 256 ? code : others[code - 256]!
  })
}

export interface Vocabulary {
  name: VocabularyName
  variant: Variant
  /** By name. */
  control: Map<string, number>
  /** Of every token whose text is its own: ids by text. */
  ids: Map<string, number>
  /** Of tokens that are one byte. */
  byteIds: Map<number, number>
  /** Variables of templates. */
  named: { bos_token: string; eos_token: string; pad_token: string }
  bosId: number
  eosId: number
  addBos: boolean
  /** Each text between control tokens is told with a space in front. */
  prefixSpace: boolean
  /** What a token adds. */
  bytes(id: number): Uint8Array
}

const planeFifteen = 0xf0000
export const controlCharacter = (id: number): string => String.fromCodePoint(planeFifteen + id)

export function vocabulary(name: VocabularyName): Vocabulary {
  const variant = storiesVariant(changes[name])
  const metadata = ggufMetadata(variant.path)
  const tokens = metadata['tokenizer.ggml.tokens'] as string[]
  const kinds = metadata['tokenizer.ggml.token_type'] as number[]
  const pieces = metadata['tokenizer.ggml.model'] === 'llama'
  const named = (key: string) => metadata[`tokenizer.ggml.${key}_token_id`] as number
  const spelled = tokens.map((token, id) => {
    if (kinds[id] === types.control) return Buffer.from(controlCharacter(id))
    if (kinds[id] === types.byte) return Buffer.of(Number(`0x${token.slice(3, 5)}`))
    if (kinds[id] === types.userDefined || kinds[id] === types.unused) return Buffer.from(token)
    return pieces ? Buffer.from(token.replaceAll('▁', ' ')) : Buffer.from(bytesOfLetters(token))
  })
  return {
    ...{ name, variant, prefixSpace: pieces, addBos: metadata['tokenizer.ggml.add_bos_token'] as boolean },
    control: new Map(tokens.flatMap((token, id) => (kinds[id] === types.control ? [[token, id] as const] : []))),
    ids: new Map(spelled.map((bytes, id) => [bytes.toString(), id])),
    byteIds: new Map(spelled.flatMap((bytes, id) => (bytes.length === 1 ? [[bytes[0]!, id] as const] : []))),
    named: { bos_token: tokens[named('bos')]!, eos_token: tokens[named('eos')]!, pad_token: tokens[named('padding')]! },
    ...{ bosId: named('bos'), eosId: named('eos') },
    bytes: (id) => spelled[id] ?? Buffer.from(`<no token ${id}>`),
  }
}
