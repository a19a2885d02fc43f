/**
 * tokenizer.json (+ tokenizer_config.json, chat_template.jinja) -> Vocabulary, for BPE models. The file's own pipeline is
 * kept, with three changes: special tokens leave it (the Tokenizer cuts the text at them), a prefix space leaves it (the
 * Tokenizer knows what the first stretch is), and steps that the JavaScript implementation reads in ASCII or JavaScript
 * terms (digits, white space) are spelled out as the Unicode expressions that Hugging Face's own implementation uses.
 */
import { OctavoError } from '../../base/errors.ts'
import { claimMarkers, endTokens } from './markers.ts'
import { gpt2Split, preTokenizers, wordExpressions } from './pre-tokenizers.ts'
import { Texts } from './texts.ts'
import { type SpecialToken, tokenType, type Vocabulary } from './vocabulary.ts'

// biome-ignore lint/suspicious/noExplicitAny: a foreign file, looked at field by field
type Json = any

interface AddedToken {
  id: number
  content: string
  special?: boolean
  lstrip?: boolean
  rstrip?: boolean
}

const invalid = (message: string) => new OctavoError('MODEL_INVALID', `tokenizer.json: ${message}`)
const unsupported = (message: string) => new OctavoError('MODEL_UNSUPPORTED', `tokenizer.json: ${message}`)

function parse(text: string, name: string): Json {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw new OctavoError('MODEL_INVALID', `${name}: ${(error as Error).message}`)
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new OctavoError('MODEL_INVALID', `${name}: expected an object.`)
  }
  return value
}

/** More steps than any tokenizer has. */
const maxSteps = 64

/** A step and the steps of a Sequence, flat. */
function steps(step: Json, depth = 0): Json[] {
  if (!step) return []
  const inner = step.normalizers ?? step.pretokenizers ?? step.processors ?? step.decoders
  if (step.type !== 'Sequence' || !Array.isArray(inner)) return [step]
  if (depth > 8) throw invalid('expected sequences of steps that are at most 8 deep.')
  const flat = inner.flatMap((part) => steps(part, depth + 1))
  if (flat.length > maxSteps) throw invalid(`expected at most ${maxSteps} steps, found ${flat.length}.`)
  return flat
}

/** One class of characters, repeated or not: no text makes it backtrack. */
const singleClass = /^(\\[pP]\{[\w=]+\}|\\[dDsSwW]|\[\^?[^\\[\]]+\]|[\w ])([+*]|\{\d{1,3}(,\d{1,3})?\})?$/
const knownExpressions = new Set(Object.values(preTokenizers).flatMap((row) => row.split))
const maxPatternChars = 64

/** Whether the step cuts at every beginning of a word by itself, whatever the others do. */
const beginsWords = (step: Json) =>
  step.type === 'Split' && step.behavior === 'Isolated' && !step.invert && wordExpressions.has(step.pattern?.Regex)

/**
 * A pattern is a program out of a file: an expression can take exponential time. Known expressions are run, and those that
 * cannot backtrack.
 */
function checkPattern(step: Json): void {
  const { Regex: regex, String: text } = step.pattern ?? {}
  if (typeof text === 'string' && text !== '' && text.length <= maxPatternChars) return
  if (typeof regex === 'string' && (knownExpressions.has(regex) || singleClass.test(regex))) return
  throw unsupported(`step ${short(step.type)}: its pattern is not one that octavo knows: ${short(step.pattern)}.`)
}

const short = (value: unknown) => (JSON.stringify(value) ?? 'nothing').slice(0, 200)

const isFlag = (value: unknown) => value === undefined || value === null || typeof value === 'boolean'
const isAbsentOrText = (value: unknown) => value === undefined || value === null || typeof value === 'string'
const isShortText = (value: unknown) => typeof value === 'string' && value.length <= maxPatternChars

/** Steps that octavo runs, and what they need to be sound. */
const normalizerChecks: Record<string, (step: Json) => void> = {
  ...Object.fromEntries(['NFC', 'NFD', 'NFKC', 'NFKD', 'Lowercase', 'StripAccents'].map((name) => [name, () => {}])),
  Strip: (step) => expectSound(isFlag(step.strip_left) && isFlag(step.strip_right), step),
  Prepend: (step) => expectSound(isShortText(step.prepend), step),
  Replace(step) {
    expectSound(isShortText(step.content), step)
    checkPattern(step)
  },
}
const preTokenizerChecks: Record<string, (step: Json) => void> = {
  ByteLevel: (step) => expectSound([step.add_prefix_space, step.use_regex, step.trim_offsets].every(isFlag), step),
  Digits: (step) => expectSound(isFlag(step.individual_digits), step),
  Metaspace: (step) => expectSound(isShortText(step.replacement), step),
  Whitespace: () => {},
  WhitespaceSplit: () => {},
  Split(step) {
    expectSound(
      ['Isolated', 'Removed', 'MergedWithPrevious', 'MergedWithNext', 'Contiguous'].includes(step.behavior),
      step,
    )
    expectSound(isFlag(step.invert), step)
    checkPattern(step)
  },
}

function expectSound(sound: boolean, step: Json): void {
  if (!sound) throw invalid(`step ${short(step.type)} is not as expected: ${short(step)}.`)
}

function checkSteps(list: Json[], checks: Record<string, (step: Json) => void>): Json[] {
  for (const step of list) {
    const check = typeof step.type === 'string' && Object.hasOwn(checks, step.type) ? checks[step.type] : undefined
    if (!check) {
      throw unsupported(`steps ${Object.keys(checks).join(', ')} are supported; found ${short(step.type)}.`)
    }
    check(step)
  }
  return list
}

const splitAt = (regex: string) => ({ type: 'Split', pattern: { Regex: regex }, behavior: 'Isolated', invert: false })

function unicodeStep(step: Json): Json[] {
  if (step.type === 'Digits') return [splitAt(step.individual_digits ? String.raw`\p{N}` : String.raw`\p{N}+`)]
  if (step.type === 'ByteLevel' && (step.use_regex ?? true) && !step.add_prefix_space) {
    return [splitAt(gpt2Split), { ...step, use_regex: false }]
  }
  return [step]
}

interface Prefix {
  prefixSpace: Vocabulary['prefixSpace']
  prefixOnce: boolean
}

/** Takes the steps that put a space in front out of the pipeline. */
function takePrefix(normalizers: Json[], preTokenizersIn: Json[]): Prefix & { normalizers: Json[]; split: Json[] } {
  let prefix: Prefix = { prefixSpace: 'never', prefixOnce: false }
  const kept = normalizers.filter((step) => {
    if (step.type !== 'Prepend' || (step.prepend !== '▁' && step.prepend !== ' ')) return true
    prefix = { prefixSpace: 'always', prefixOnce: false }
    return false
  })
  const split = preTokenizersIn.filter((step) => {
    if (step.type !== 'Metaspace' || step.replacement !== '▁') return true
    prefix = {
      prefixSpace: step.prepend_scheme ?? (step.add_prefix_space === false ? 'never' : 'always'),
      prefixOnce: true,
    }
    kept.push({ type: 'Replace', pattern: { String: ' ' }, content: '▁' })
    return false
  })
  return { ...prefix, normalizers: kept, split }
}

/** As for GGUF vocabularies: four times the largest in use. */
const maxTokens = 2 ** 20
const maxMerges = 2 ** 21

const contentOf = (token: Json): string | undefined =>
  typeof token === 'string' ? token : typeof token?.content === 'string' ? token.content : undefined

/** The tokens by id, and their types. */
function readTokens(model: Json, added: AddedToken[]): { tokens: string[]; types: Uint8Array } {
  const entries = Object.entries(model.vocab) as [string, number][]
  const count = entries.length + added.length
  if (count > maxTokens) throw unsupported(`at most ${maxTokens} tokens are supported; found ${count}.`)
  const tokens: string[] = []
  const types = new Map<number, number>()
  const put = (text: string, id: number, type: number) => {
    if (typeof text !== 'string' || !Number.isInteger(id) || id < 0 || id >= 4 * count + 1024) {
      throw invalid(`token ${short(text)} has id ${short(id)}, expected 0 to about ${count}.`)
    }
    if (tokens[id] !== undefined && tokens[id] !== text) {
      throw invalid(`tokens ${short(tokens[id])} and ${short(text)} have the same id, ${id}.`)
    }
    tokens[id] = text
    types.set(id, type)
  }
  for (const [text, id] of entries) {
    const byte = model.byte_fallback && /^<0x[0-9A-Fa-f]{2}>$/.test(text)
    put(text, id, byte ? tokenType.byte : text === model.unk_token ? tokenType.unknown : tokenType.normal)
  }
  for (const token of added) {
    if (typeof token !== 'object' || token === null || ![token.special, token.lstrip, token.rstrip].every(isFlag)) {
      throw invalid(`expected an added token, found ${short(token)}.`)
    }
    put(token.content, token.id, token.special ? tokenType.control : tokenType.userDefined)
  }
  return {
    tokens: Array.from(tokens, (text) => text ?? ''),
    types: Uint8Array.from(tokens, (_, id) => types.get(id) ?? tokenType.unused),
  }
}

/** The tokens of a type, with what is said of them where they were added. */
function specials(tokens: string[], types: Uint8Array, wanted: number, added: AddedToken[]): SpecialToken[] {
  const told = new Map(added.map((token) => [token.id, token]))
  return tokens.flatMap((text, id) => {
    if (types[id] !== wanted || text === '') return []
    return [{ id, text, stripLeft: told.get(id)?.lstrip ?? false, stripRight: told.get(id)?.rstrip ?? false }]
  })
}

/** The model without its control tokens: no text merges into one. The unknown token stays, under its own type. */
function withoutControl(model: Json, control: SpecialToken[]): Json {
  const names = new Set(control.map((token) => token.text))
  names.delete(model.unk_token)
  const vocab = Object.assign(Object.create(null), model.vocab)
  for (const name of names) delete vocab[name]
  const known = (text: string) => Object.hasOwn(model.vocab, text)
  const merges = (model.merges as (string | [string, string])[])
    .map((merge) => (typeof merge === 'string' ? (merge.split(' ', 3) as [string, string]) : merge))
    .filter((pair, index) => {
      const [left, right] = pair
      const sound = pair.length === 2 && typeof left === 'string' && typeof right === 'string'
      if (!sound || left === '' || right === '' || !known(left) || !known(right) || !known(left + right)) {
        throw invalid(`merge ${index} is ${short(pair)}, expected two tokens whose concatenation is a token.`)
      }
      return !names.has(left + right)
    })
  return { ...model, vocab, merges }
}

function beginsWithBos(postProcessor: Json, bos: string | undefined): boolean {
  return steps(postProcessor).some(
    (step) => step.type === 'TemplateProcessing' && bos !== undefined && step.single?.[0]?.SpecialToken?.id === bos,
  )
}

function chatTemplateOf(config: Json, file: string | undefined): string | undefined {
  if (file !== undefined) return file
  const template = config.chat_template
  if (!Array.isArray(template)) return typeof template === 'string' ? template : undefined
  const found = template.find((entry) => entry?.name === 'default')?.template
  return typeof found === 'string' ? found : undefined
}

/** Throws MODEL_INVALID for a file that is not what its format says, MODEL_UNSUPPORTED for steps that octavo does not run. */
export function vocabularyFromJson(json: string, configJson?: string, templateFile?: string): Vocabulary {
  const file = parse(json, 'tokenizer.json')
  const config = configJson === undefined ? {} : parse(configJson, 'tokenizer_config.json')
  try {
    return readVocabulary(file, config, templateFile)
  } catch (error) {
    if (error instanceof OctavoError) throw error
    // A value of a type that no check above names.
    throw new OctavoError('MODEL_INVALID', `tokenizer.json: ${(error as Error).message}`, {}, { cause: error })
  }
}

function readVocabulary(file: Json, config: Json, templateFile: string | undefined): Vocabulary {
  const { model } = file
  if (model?.type !== 'BPE') throw unsupported(`model type BPE is supported; found ${JSON.stringify(model?.type)}.`)
  if (typeof model.vocab !== 'object' || model.vocab === null || Object.keys(model.vocab).length === 0) {
    throw invalid('the vocabulary is empty.')
  }
  if (!Array.isArray(model.merges)) throw invalid('the merges are missing.')
  if (model.merges.length > maxMerges) throw unsupported(`at most ${maxMerges} merges are supported.`)
  if (!isAbsentOrText(model.unk_token) || ![model.byte_fallback, model.ignore_merges].every(isFlag)) {
    throw invalid('the unknown token, byte_fallback or ignore_merges are not of their types.')
  }
  if (typeof model.unk_token === 'string' && !Object.hasOwn(model.vocab, model.unk_token)) {
    throw invalid(`the unknown token, ${short(model.unk_token)}, is not in the vocabulary.`)
  }
  for (const name of ['end_of_word_suffix', 'continuing_subword_suffix']) {
    if (model[name]) throw unsupported(`${name} is not supported; found ${short(model[name])}.`)
  }
  const added: AddedToken[] = Array.isArray(file.added_tokens) ? file.added_tokens : []
  const { tokens, types } = readTokens(model, added)
  const ids = new Map(tokens.map((text, id) => [text, id]))
  const named: Record<string, string> = {}
  for (const name of ['bos_token', 'eos_token', 'unk_token', 'pad_token']) {
    const text = contentOf(config[name])
    if (text !== undefined) named[name] = text
  }
  const [bosId, eosId] = [ids.get(named.bos_token ?? ''), ids.get(named.eos_token ?? '')]
  const chatTemplate = chatTemplateOf(config, templateFile)
  const texts = Texts.of(tokens)
  const notes = claimMarkers(texts, types, { chatTemplate, namedIds: [bosId, eosId] })
  const control = specials(tokens, types, tokenType.control, added)
  const pre = steps(file.pre_tokenizer)
  const byteLevel = [...pre, ...steps(file.decoder)].some((step) => step.type === 'ByteLevel')
  if (!byteLevel && !JSON.stringify([file.normalizer, file.pre_tokenizer, file.decoder]).includes('▁')) {
    throw unsupported('neither a byte-level nor a SentencePiece spelling of tokens was found.')
  }
  const { normalizers, split, ...prefix } = takePrefix(
    checkSteps(steps(file.normalizer), normalizerChecks),
    checkSteps(pre, preTokenizerChecks),
  )
  const expressions = split.flatMap(unicodeStep)
  const merged = withoutControl(model, control)
  return {
    tokens: texts,
    types,
    spelling: byteLevel ? 'bytes' : 'spaces',
    model: {
      model: merged,
      normalizer: normalizers.length > 0 ? { type: 'Sequence', normalizers } : null,
      pre_tokenizer: expressions.length > 0 ? { type: 'Sequence', pretokenizers: expressions } : null,
    },
    knows: (text) => Object.hasOwn(merged.vocab, text),
    control,
    userDefined: specials(tokens, types, tokenType.userDefined, added),
    ...prefix,
    cutsAtWords: byteLevel
      ? expressions.every((step) => step.type === 'ByteLevel' || knownExpressions.has(step.pattern?.Regex)) &&
        expressions.some(beginsWords)
      : expressions.length === 0 && !tokens.some((text, id) => types[id] === tokenType.normal && /[^▁]▁/.test(text)),
    addBos:
      bosId !== undefined && (beginsWithBos(file.post_processor, named.bos_token) || config.add_bos_token === true),
    bosId,
    eosIds: endTokens([eosId], control),
    named,
    chatTemplate,
    notes,
  }
}
