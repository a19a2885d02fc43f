/**
 * `tokenizer.*` metadata of a GGUF file -> Vocabulary. Two kinds: `gpt2` (byte-level BPE with a merge list, words cut as
 * `tokenizer.ggml.pre` says) and `llama` (SentencePiece BPE, which has scores instead of merges). Control tokens are no part of the
 * model that is made: no text merges into one. What a file says of single tokens is not always so (types of markers, ids that are
 * no token, merges that make none): it is put right where there is no doubt, and a note says so.
 */
import { OctavoError } from '../../base/errors.ts'
import { type FileTexts, type GgufPacked, type GgufValue, type NativeBytePairs, native } from '../../base/native.ts'
import { claimMarkers, endTokens } from './markers.ts'
import { type PreTokenizer, preTokenizers } from './pre-tokenizers.ts'
import { Texts } from './texts.ts'
import { type SpecialToken, tokenType, type Vocabulary } from './vocabulary.ts'

type Metadata = Record<string, GgufPacked>

const get = (metadata: Metadata, key: string): GgufPacked | undefined =>
  Object.hasOwn(metadata, key) ? metadata[key] : undefined

/** Four times the largest vocabularies in use (262,144 tokens): beyond it, tables that cost far more than the file. */
const maxTokens = 2 ** 20
const maxMerges = 2 ** 21
/** Of a SentencePiece token: a merge looks at so many. Real ones have 16, a few some hundred spaces. */
const maxPieceChars = 4096

const unsupported = (message: string, details: Record<string, unknown> = {}) =>
  new OctavoError('MODEL_UNSUPPORTED', message, details)

/** A value of the file, for messages. */
function short(value: unknown): string {
  if (Array.isArray(value) || value instanceof Float64Array) return `an array of ${value.length}`
  if (isPacked(value)) return `an array of ${value.offsets.length - 1}`
  return typeof value === 'string'
    ? JSON.stringify(value.length > 80 ? `${value.slice(0, 80)}...` : value)
    : String(value)
}

const invalid = (message: string, details: Record<string, unknown> = {}) =>
  new OctavoError('MODEL_INVALID', message, details)

const isPacked = (value: unknown): value is FileTexts =>
  typeof value === 'object' && value !== null && 'offsets' in value

/** A value as an array of one type. */
function list<T extends GgufValue>(value: GgufPacked, name: string, type: 'string' | 'number'): T[] {
  if (!Array.isArray(value) || value.some((item) => typeof item !== type)) {
    throw invalid(`tokenizer.ggml.${name}: expected an array of ${type}s.`, { key: `tokenizer.ggml.${name}` })
  }
  return value as T[]
}

/** tokenizer.ggml.<name>, or undefined when there is none. */
function texts(metadata: Metadata, name: string): Texts | undefined {
  const value = get(metadata, `tokenizer.ggml.${name}`)
  if (value === undefined) return undefined
  return isPacked(value) ? Texts.from(value) : Texts.of(list<string>(value, name, 'string'))
}

function listPerToken(metadata: Metadata, name: string, count: number): ArrayLike<number> | undefined {
  const value = get(metadata, `tokenizer.ggml.${name}`)
  if (value === undefined) return undefined
  const values = value instanceof Float64Array ? value : list<number>(value, name, 'number')
  if (values.length !== count) {
    throw invalid(`tokenizer.ggml.${name}: expected ${count} entries, one per token, found ${values.length}.`)
  }
  return values
}

function flag(metadata: Metadata, name: string): boolean | undefined {
  const value = get(metadata, `tokenizer.ggml.${name}`)
  if (value === undefined || typeof value === 'boolean') return value
  if (value === 0 || value === 1) return value === 1
  throw invalid(`tokenizer.ggml.${name}: expected a boolean, found ${typeof value}.`)
}

/** Ids by the names that metadata has for them. */
type NamedIds = Record<string, number | undefined>

/** Ids that say something to octavo, and two that are looked at for the log alone. */
const idNames = ['bos', 'eos', 'eot', 'eom', 'unknown', 'padding', 'seperator', 'mask'] as const

/** Files write "no such token" as -1, as 2^32 - 1, or as the number after the last token: then there is none. */
function namedIds(metadata: Metadata, count: number, notes: string[]): NamedIds {
  const ids: NamedIds = {}
  for (const name of idNames) {
    const key = `tokenizer.ggml.${name}_token_id`
    const value = get(metadata, key)
    if (value === undefined) continue
    if (typeof value !== 'bigint' && !Number.isInteger(value)) {
      throw invalid(`${key}: expected an id below ${count}, found ${short(value)}.`)
    }
    if (Number(value) >= 0 && Number(value) < count) ids[name] = Number(value)
    else notes.push(`${key} is ${value}, which is no token of the ${count} there are: it is ignored.`)
  }
  return ids
}

/** An end token that the file names wrongly must be known otherwise. */
function endIds(metadata: Metadata, ids: NamedIds, control: SpecialToken[], count: number): number[] {
  const found = endTokens([ids.eos, ids.eot, ids.eom], control)
  const eos = get(metadata, 'tokenizer.ggml.eos_token_id')
  if (found.length === 0 && eos !== undefined) {
    throw invalid(
      `tokenizer.ggml.eos_token_id: expected an id below ${count}, found ${short(eos)}, and no other end token is known.`,
    )
  }
  return found
}

function tokenTypes(metadata: Metadata, tokens: Texts): Uint8Array {
  const types = new Uint8Array(tokens.length).fill(tokenType.normal)
  const given = listPerToken(metadata, 'token_type', tokens.length)
  if (given === undefined) return types
  const numbers = given instanceof Float64Array ? given : Float64Array.from(given)
  const wrong = native().tokenTypes(numbers, types)
  if (wrong >= 0) {
    const type = numbers[wrong]
    throw invalid(`tokenizer.ggml.token_type: token ${wrong} has type ${type}, expected 1 to 6.`, {
      token: wrong,
      type,
    })
  }
  for (let id = types.indexOf(tokenType.byte); id >= 0; id = types.indexOf(tokenType.byte, id + 1)) {
    if (!/^<0x[0-9A-Fa-f]{2}>$/.test(tokens.at(id)))
      throw invalid(`tokenizer.ggml.tokens: byte token ${id} is ${short(tokens.at(id))}, expected <0x00> to <0xFF>.`)
  }
  return types
}

/**
 * "left right" strings, checked: no part is empty (which would make a merge a cycle). Those that make what no text may become are
 * left out, as are those of no tokens, with a note, and the line that a merges.txt begins with.
 */
function bytePairsOf(tokens: Texts, types: Uint8Array, merges: Texts, notes: string[]): NativeBytePairs {
  const pairs = new (native().BytePairs)(tokens, native().usableTokens(tokens, types), merges)
  const { fault, strange, firstStrange } = pairs
  if (fault >= 0) {
    const merge = merges.at(fault)
    throw invalid(`tokenizer.ggml.merges: entry ${fault} is ${short(merge)}, expected two tokens.`, {
      ...{ index: fault, merge: merge.slice(0, 80) },
    })
  }
  if (strange > 0) {
    const number = `${strange} of ${merges.length} merges, first ${short(merges.at(firstStrange))}`
    notes.push(`tokenizer.ggml.merges: ${number}, are not of tokens or make none; they are left out.`)
  }
  return pairs
}

function specials(tokens: Texts, types: Uint8Array, wanted: number): SpecialToken[] {
  const found: SpecialToken[] = []
  for (let id = types.indexOf(wanted); id >= 0; id = types.indexOf(wanted, id + 1)) {
    if (!tokens.isEmpty(id)) found.push({ id, text: tokens.at(id), stripLeft: false, stripRight: false })
  }
  return found
}

type Spelled = Pick<
  Vocabulary,
  'spelling' | 'model' | 'ranks' | 'knows' | 'scores' | 'prefixSpace' | 'cutsAtWords' | 'addBos'
>

function preTokenizer(metadata: Metadata, notes: string[]): PreTokenizer {
  const name = get(metadata, 'tokenizer.ggml.pre')
  if (name === undefined) {
    notes.push(
      'tokenizer.ggml.pre is missing: text is cut into words as "default" does, which is GPT-2\'s way. If the model learnt another one, its answers are worse than they could be; convert it anew.',
    )
    return preTokenizers.default!
  }
  const pre = typeof name === 'string' && Object.hasOwn(preTokenizers, name) ? preTokenizers[name] : undefined
  if (!pre) {
    throw new OctavoError(
      'MODEL_UNSUPPORTED',
      `Pre-tokenizer ${short(name)} is not known; known are ${Object.keys(preTokenizers).join(', ')}.`,
      { key: 'tokenizer.ggml.pre', found: short(name), known: Object.keys(preTokenizers) },
    )
  }
  return pre
}

function bytePairs(metadata: Metadata, tokens: Texts, types: Uint8Array, notes: string[]): Spelled {
  const pre = preTokenizer(metadata, notes)
  const merges = texts(metadata, 'merges')
  if (!merges) throw invalid('tokenizer.ggml.merges: missing; a gpt2 vocabulary needs its merges.')
  if (merges.length > maxMerges) {
    throw unsupported(`tokenizer.ggml.merges: expected at most ${maxMerges}, found ${merges.length}.`)
  }
  const pairs = bytePairsOf(tokens, types, merges, notes)
  const split = pre.split.map((regex) => ({
    type: 'Split',
    pattern: { Regex: regex },
    behavior: 'Isolated',
    invert: false,
  }))
  return {
    spelling: 'bytes',
    model: {
      model: { type: 'BPE', vocab: {}, merges: [] },
      normalizer: pre.nfc ? { type: 'NFC' } : null,
      pre_tokenizer: {
        type: 'Sequence',
        pretokenizers: [...split, { type: 'ByteLevel', add_prefix_space: false, use_regex: false }],
      },
    },
    ranks: { pairs, whole: pre.ignoreMerges ?? false },
    knows: (name) => pairs.find(name) >= 0,
    prefixSpace: 'never',
    cutsAtWords: !pre.acrossWords,
    addBos: pre.addBos ?? false,
  }
}

function sentencePieces(metadata: Metadata, tokens: Texts, types: Uint8Array): Spelled {
  const given = listPerToken(metadata, 'scores', tokens.length)
  if (!given) throw invalid('tokenizer.ggml.scores: missing; a llama vocabulary needs its scores.')
  const scores = Float64Array.from(given)
  const wrong = scores.findIndex((score) => Number.isNaN(score))
  if (wrong >= 0) throw invalid(`tokenizer.ggml.scores: the score of token ${wrong} is not a number.`, { token: wrong })
  const strings = [...tokens]
  const longest = strings.reduce((most, text) => Math.max(most, text.length), 0)
  if (longest > maxPieceChars) {
    throw unsupported(
      `tokenizer.ggml.tokens: expected tokens of up to ${maxPieceChars} characters, found ${longest}.`,
      {
        longest,
      },
    )
  }
  const usable = native().usableTokens(tokens, types)
  const known = new Set(strings.filter((_, id) => usable[id] !== 0))
  const unknown = strings[types.indexOf(tokenType.unknown)]
  return {
    spelling: 'spaces',
    model: {
      model: {
        ...{ type: 'BPE', vocab: {}, merges: [] },
        byte_fallback: types.includes(tokenType.byte),
        fuse_unk: true,
        unk_token: unknown !== undefined && known.has(unknown) ? unknown : null,
      },
      normalizer: { type: 'Replace', pattern: { String: ' ' }, content: '▁' },
      pre_tokenizer: null,
    },
    scores,
    knows: (name) => known.has(name),
    prefixSpace: (flag(metadata, 'add_space_prefix') ?? true) ? 'always' : 'never',
    // No token goes on over the beginning of a word, so words can be merged apart.
    cutsAtWords: !strings.some(
      (text, id) => (types[id] === tokenType.normal || types[id] === tokenType.userDefined) && /[^▁]▁/.test(text),
    ),
    addBos: true,
  }
}

export function vocabularyFromGguf(metadata: Metadata): Vocabulary {
  const kind = get(metadata, 'tokenizer.ggml.model')
  if (kind !== 'gpt2' && kind !== 'llama') {
    const found = kind === undefined ? 'no tokenizer.ggml.model' : `tokenizer.ggml.model ${short(kind)}`
    throw new OctavoError('MODEL_UNSUPPORTED', `Tokenizer kinds gpt2 and llama are supported; found ${found}.`, {
      key: 'tokenizer.ggml.model',
      found: short(kind),
    })
  }
  const tokens = texts(metadata, 'tokens')
  if (tokens === undefined || tokens.length === 0) throw invalid('tokenizer.ggml.tokens: the vocabulary is empty.')
  if (tokens.length > maxTokens) {
    throw unsupported(`tokenizer.ggml.tokens: expected at most ${maxTokens} tokens, found ${tokens.length}.`)
  }
  const types = tokenTypes(metadata, tokens)
  const notes: string[] = []
  const ids = namedIds(metadata, tokens.length, notes)
  const chatTemplate = template(metadata, notes)
  notes.push(...claimMarkers(tokens, types, { chatTemplate, namedIds: [ids.bos, ids.eos, ids.eot, ids.eom] }))
  const spelled = kind === 'gpt2' ? bytePairs(metadata, tokens, types, notes) : sentencePieces(metadata, tokens, types)
  const named: Record<string, string> = {}
  for (const [name, id] of Object.entries({ bos: ids.bos, eos: ids.eos, unk: ids.unknown, pad: ids.padding }))
    if (id !== undefined) named[`${name}_token`] = tokens.at(id)
  const control = specials(tokens, types, tokenType.control)
  const userDefined = specials(tokens, types, tokenType.userDefined)
  return {
    ...spelled,
    tokens,
    types,
    control,
    userDefined,
    prefixOnce: false,
    addBos: ids.bos !== undefined && (flag(metadata, 'add_bos_token') ?? spelled.addBos),
    bosId: ids.bos,
    eosIds: endIds(metadata, ids, control, tokens.length),
    named,
    chatTemplate,
    notes,
  }
}

function template(metadata: Metadata, notes: string[]): string | undefined {
  const found = get(metadata, 'tokenizer.chat_template')
  if (found === undefined || typeof found === 'string') return found
  notes.push(`tokenizer.chat_template: expected a string, found ${short(found)}; the model has no chat template.`)
  return undefined
}
