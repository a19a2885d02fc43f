/**
 * `tokenizer.*` metadata of a GGUF file -> Vocabulary. Two kinds: `gpt2` (byte-level BPE with a merge list, words cut as
 * `tokenizer.ggml.pre` says) and `llama` (SentencePiece BPE, which has scores instead of merges: every way to put a token
 * together from two others becomes a merge, the best scores first, as Hugging Face converts such vocabularies).
 * Control tokens are no part of the model that is made: no text merges into one.
 */
import { OctavoError } from '../errors.ts'
import type { GgufValue } from '../native.ts'
import { preTokenizers } from './pre-tokenizers.ts'
import { endTokens, type SpecialToken, tokenType, type Vocabulary } from './vocabulary.ts'

type Metadata = Record<string, GgufValue>
type Merge = [left: string, right: string]

const get = (metadata: Metadata, key: string): GgufValue | undefined =>
  Object.hasOwn(metadata, key) ? metadata[key] : undefined

/** Four times the largest vocabularies in use (262,144 tokens): beyond it, tables that cost far more than the file. */
const maxTokens = 2 ** 20
const maxMerges = 2 ** 21
/** Characters looked at to find a SentencePiece vocabulary's merges: quadratic in a token's length. Real ones need 2^25. */
const maxMergeWork = 2 ** 30

const unsupported = (message: string, details: Record<string, unknown> = {}) =>
  new OctavoError('MODEL_UNSUPPORTED', message, details)

/** A value of the file, for messages. */
function short(value: unknown): string {
  if (Array.isArray(value)) return `an array of ${value.length}`
  return typeof value === 'string'
    ? JSON.stringify(value.length > 80 ? `${value.slice(0, 80)}...` : value)
    : String(value)
}

const invalid = (message: string, details: Record<string, unknown> = {}) =>
  new OctavoError('MODEL_INVALID', message, details)

/** tokenizer.ggml.<name> as an array of one type, or undefined when there is none. */
function list<T>(metadata: Metadata, name: string, type: 'string' | 'number'): T[] | undefined {
  const value = get(metadata, `tokenizer.ggml.${name}`)
  if (value === undefined) return undefined
  if (!Array.isArray(value) || value.some((item) => typeof item !== type)) {
    throw invalid(`tokenizer.ggml.${name}: expected an array of ${type}s.`, { key: `tokenizer.ggml.${name}` })
  }
  return value as T[]
}

function listPerToken(metadata: Metadata, name: string, count: number): number[] | undefined {
  const values = list<number>(metadata, name, 'number')
  if (values && values.length !== count) {
    throw invalid(`tokenizer.ggml.${name}: expected ${count} entries, one per token, found ${values.length}.`)
  }
  return values
}

function flag(metadata: Metadata, name: string): boolean | undefined {
  const value = get(metadata, `tokenizer.ggml.${name}`)
  if (value === undefined || typeof value === 'boolean') return value
  throw invalid(`tokenizer.ggml.${name}: expected a boolean, found ${typeof value}.`)
}

function tokenId(metadata: Metadata, name: string, count: number): number | undefined {
  const value = get(metadata, `tokenizer.ggml.${name}_token_id`)
  if (value === undefined) return undefined
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value >= count) {
    throw invalid(`tokenizer.ggml.${name}_token_id: expected an id below ${count}, found ${short(value)}.`)
  }
  return value
}

function tokenTypes(metadata: Metadata, tokens: string[]): Uint8Array {
  const values = listPerToken(metadata, 'token_type', tokens.length) ?? tokens.map(() => tokenType.normal)
  values.forEach((type, id) => {
    if (!Number.isInteger(type) || type < tokenType.normal || type > tokenType.byte) {
      throw invalid(`tokenizer.ggml.token_type: token ${id} has type ${type}, expected 1 to 6.`, { token: id, type })
    }
    if (type === tokenType.byte && !/^<0x[0-9A-Fa-f]{2}>$/.test(tokens[id]!)) {
      throw invalid(`tokenizer.ggml.tokens: byte token ${id} is ${short(tokens[id])}, expected <0x00> to <0xFF>.`)
    }
  })
  return Uint8Array.from(values)
}

/**
 * The vocabulary that the merge model knows: what text may become. The object has no prototype, so that a token may be
 * called `__proto__`.
 */
function textVocabulary(tokens: string[], types: Uint8Array): Record<string, number> {
  const vocabulary: Record<string, number> = Object.create(null)
  tokens.forEach((text, id) => {
    const type = types[id]
    if (type !== tokenType.control && type !== tokenType.unused && text !== '') vocabulary[text] = id
  })
  return vocabulary
}

/**
 * "left right" strings, checked: parts and results are tokens, and no part is empty (which would make a merge a cycle). Those that
 * make what no text may become are left out.
 */
function parseMerges(lines: string[], tokens: string[], vocabulary: Record<string, number>): Merge[] {
  /** Whether text may become the token. One lookup for each of a hundred thousand texts: a Map, not the vocabulary's object. */
  const wanted = new Map(tokens.map((text) => [text, false]))
  for (const text of Object.keys(vocabulary)) wanted.set(text, true)
  const merges: Merge[] = []
  lines.forEach((line, index) => {
    const space = line.indexOf(' ', 1)
    const merge: Merge = [line.slice(0, Math.max(space, 0)), line.slice(space + 1)]
    const [left, right] = merge
    const result = wanted.get(left + right)
    if (space < 0 || right === '' || result === undefined || !wanted.has(left) || !wanted.has(right)) {
      throw invalid(
        `tokenizer.ggml.merges: entry ${index} is ${short(line)}, expected two tokens whose concatenation is a token.`,
        { index, merge: line.slice(0, 80) },
      )
    }
    if (result) merges.push(merge)
  })
  return merges
}

function mergesFromScores(
  tokens: string[],
  types: Uint8Array,
  scores: number[],
  vocabulary: Record<string, number>,
): Merge[] {
  const work = tokens.reduce((sum, text) => sum + text.length ** 2, 0)
  if (work > maxMergeWork) {
    const longest = tokens.reduce((most, text) => Math.max(most, text.length), 0)
    throw unsupported(`tokenizer.ggml.tokens: expected tokens of some characters, found up to ${longest}.`, { longest })
  }
  const lengths = new Set(tokens.map((text) => text.length))
  const merges: { merge: Merge; score: number; left: number; right: number }[] = []
  tokens.forEach((text, id) => {
    if (types[id] !== tokenType.normal || vocabulary[text] !== id) return
    const characters = [...text]
    const ways: typeof merges = []
    let cut = 0
    for (let at = 1; at < characters.length; at++) {
      cut += characters[at - 1]!.length
      if (!lengths.has(cut) || !lengths.has(text.length - cut)) continue
      const [left, right] = [text.slice(0, cut), text.slice(cut)]
      if (left in vocabulary && right in vocabulary) {
        ways.push({ merge: [left, right], score: scores[id]!, left: at, right: characters.length - at })
      }
    }
    ways.sort(
      (a, b) => vocabulary[a.merge[0]]! - vocabulary[b.merge[0]]! || vocabulary[a.merge[1]]! - vocabulary[b.merge[1]]!,
    )
    merges.push(...ways)
  })
  merges.sort((a, b) => b.score - a.score || b.left - a.left || b.right - a.right)
  return merges.map(({ merge }) => merge)
}

function specials(tokens: string[], types: Uint8Array, wanted: number): SpecialToken[] {
  const found: SpecialToken[] = []
  tokens.forEach((text, id) => {
    if (types[id] === wanted && text !== '') found.push({ id, text, stripLeft: false, stripRight: false })
  })
  return found
}

type Spelled = Pick<Vocabulary, 'spelling' | 'model' | 'prefixSpace' | 'cutsAtWords' | 'addBos'>

function bytePairs(metadata: Metadata, tokens: string[], types: Uint8Array): Spelled {
  const name = get(metadata, 'tokenizer.ggml.pre') ?? 'default'
  const pre = typeof name === 'string' && Object.hasOwn(preTokenizers, name) ? preTokenizers[name] : undefined
  if (!pre) {
    throw new OctavoError(
      'MODEL_UNSUPPORTED',
      `Pre-tokenizer ${short(name)} is not known; known are ${Object.keys(preTokenizers).join(', ')}.`,
      { key: 'tokenizer.ggml.pre', found: short(name), known: Object.keys(preTokenizers) },
    )
  }
  const lines = list<string>(metadata, 'merges', 'string')
  if (!lines) throw invalid('tokenizer.ggml.merges: missing; a gpt2 vocabulary needs its merges.')
  if (lines.length > maxMerges) {
    throw unsupported(`tokenizer.ggml.merges: expected at most ${maxMerges}, found ${lines.length}.`)
  }
  const vocab = textVocabulary(tokens, types)
  const split = pre.split.map((regex) => ({
    type: 'Split',
    pattern: { Regex: regex },
    behavior: 'Isolated',
    invert: false,
  }))
  return {
    spelling: 'bytes',
    model: {
      model: {
        type: 'BPE',
        vocab,
        merges: parseMerges(lines, tokens, vocab),
        ignore_merges: pre.ignoreMerges ?? false,
      },
      normalizer: pre.nfc ? { type: 'NFC' } : null,
      pre_tokenizer: {
        type: 'Sequence',
        pretokenizers: [...split, { type: 'ByteLevel', add_prefix_space: false, use_regex: false }],
      },
    },
    prefixSpace: 'never',
    cutsAtWords: true,
    addBos: pre.addBos ?? false,
  }
}

function sentencePieces(metadata: Metadata, tokens: string[], types: Uint8Array): Spelled {
  const scores = listPerToken(metadata, 'scores', tokens.length)
  if (!scores) throw invalid('tokenizer.ggml.scores: missing; a llama vocabulary needs its scores.')
  const wrong = scores.findIndex((score) => Number.isNaN(score))
  if (wrong >= 0) throw invalid(`tokenizer.ggml.scores: the score of token ${wrong} is not a number.`, { token: wrong })
  const vocab = textVocabulary(tokens, types)
  const unknown = tokens[types.indexOf(tokenType.unknown)]
  return {
    spelling: 'spaces',
    model: {
      model: {
        type: 'BPE',
        vocab,
        merges: mergesFromScores(tokens, types, scores, vocab),
        byte_fallback: types.includes(tokenType.byte),
        fuse_unk: true,
        unk_token: unknown !== undefined && unknown in vocab ? unknown : null,
      },
      normalizer: { type: 'Replace', pattern: { String: ' ' }, content: '▁' },
      pre_tokenizer: null,
    },
    prefixSpace: (flag(metadata, 'add_space_prefix') ?? true) ? 'always' : 'never',
    // No token goes on over the beginning of a word, so words can be merged apart.
    cutsAtWords: !tokens.some((text, id) => types[id] === tokenType.normal && /[^▁]▁/.test(text)),
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
  const tokens = list<string>(metadata, 'tokens', 'string') ?? []
  if (tokens.length === 0) throw invalid('tokenizer.ggml.tokens: the vocabulary is empty.')
  if (tokens.length > maxTokens) {
    throw unsupported(`tokenizer.ggml.tokens: expected at most ${maxTokens} tokens, found ${tokens.length}.`)
  }
  const types = tokenTypes(metadata, tokens)
  const spelled = kind === 'gpt2' ? bytePairs(metadata, tokens, types) : sentencePieces(metadata, tokens, types)
  const id = (name: string) => tokenId(metadata, name, tokens.length)
  const ids = { bos: id('bos'), eos: id('eos'), unk: id('unknown'), pad: id('padding') }
  const named: Record<string, string> = {}
  for (const [name, value] of Object.entries(ids)) if (value !== undefined) named[`${name}_token`] = tokens[value]!
  const template = get(metadata, 'tokenizer.chat_template')
  if (template !== undefined && typeof template !== 'string') {
    throw invalid(`tokenizer.chat_template: expected a string, found ${typeof template}.`)
  }
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
    eosIds: endTokens([ids.eos, id('eot'), id('eom')], control),
    named,
    chatTemplate: template,
  }
}
