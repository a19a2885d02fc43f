/** Tokenizer files that lie: every one is refused with a typed error, or makes a tokenizer that keeps its promises. */
import { describe, expect, it } from 'vitest'
import { OctavoError } from '../lib/base/errors.ts'
import type { GgufValue } from '../lib/base/native.ts'
import { Tokenizer } from '../lib/text/tokenizer.ts'
import { vocabularyFromJson } from '../lib/text/vocabulary/json-tokenizer.ts'
import { byteOfCharacter } from '../lib/text/vocabulary/vocabulary.ts'
import { choose, type Json, junk, mutate, type Random, random } from './hostile-values.ts'
import { same } from './same.ts'

const alphabet = [...byteOfCharacter.keys()]
const words = ['ab', 'abc', 'Ġa', 'Ġab', 'ĠĠ']
const pairs: [string, string][] = [
  ['a', 'b'],
  ['ab', 'c'],
  ['Ġ', 'a'],
  ['Ġa', 'b'],
  ['Ġ', 'Ġ'],
]
const gpt2 = String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`

/** A byte-level tokenizer of 263 tokens. */
const good = (): Json => ({
  added_tokens: [
    { id: 261, content: '<|im_start|>', special: true },
    { id: 262, content: '<tool>', special: false, lstrip: true },
  ],
  normalizer: { type: 'Sequence', normalizers: [{ type: 'NFC' }] },
  pre_tokenizer: {
    type: 'Sequence',
    pretokenizers: [
      { type: 'Split', pattern: { Regex: gpt2 }, behavior: 'Isolated', invert: false },
      { type: 'ByteLevel', add_prefix_space: false, use_regex: false },
    ],
  },
  decoder: { type: 'ByteLevel' },
  model: {
    type: 'BPE',
    unk_token: null,
    byte_fallback: false,
    vocab: Object.fromEntries([...alphabet, ...words].map((text, id) => [text, id])),
    merges: pairs.map((pair) => pair.join(' ')),
  },
})
const texts = ['', 'abc ab  abc', '<|im_start|>x<tool> ', 'é漢\u{1F98A}\ud800 \n\t', 'a'.repeat(500)]

/** The code of the refusal, or 'works'. */
function outcome(make: () => Tokenizer): string {
  let tokenizer: Tokenizer
  try {
    tokenizer = make()
  } catch (error) {
    if (error instanceof OctavoError && /^MODEL_(INVALID|UNSUPPORTED)$/.test(error.code)) return error.code
    throw error
  }
  const count = tokenizer.info.vocabularySize
  for (const text of texts) {
    for (const parseSpecial of [false, true]) {
      const ids = tokenizer.encode(text, { parseSpecial, addBos: true })
      for (const id of ids) same(Number.isInteger(id) && id >= 0 && id < count, true, `id ${id} of ${text}`)
      same(typeof tokenizer.decode(ids, { special: true }), 'string')
      if (!parseSpecial)
        for (const { id } of tokenizer.control) same(ids.includes(id, 1), false, `control token ${id} of ${text}`)
    }
  }
  return 'works'
}

const fromJson = (file: Json, config?: Json) =>
  outcome(() => new Tokenizer(vocabularyFromJson(JSON.stringify(file), config && JSON.stringify(config))))

const changed = (change: (file: Json) => void): Json => {
  const file = good()
  change(file)
  return file
}
const withModel = (fields: Json) => changed((file) => Object.assign(file.model, fields))

const rounds = process.env.OCTAVO_DEEP ? 5000 : 150
const patient = 600_000

describe('tokenizer.json: what could go wrong if', () => {
  it('it is as it should be: nothing', () => expect(fromJson(good())).toBe('works'))

  const nest = (depth: number, wrap: (inner: Json) => Json, core: Json) => {
    let value = core
    for (let i = 0; i < depth; i++) value = wrap(value)
    return value
  }
  const cases: [string, () => Json, string][] = [
    ['the vocabulary is empty', () => withModel({ vocab: {} }), 'MODEL_INVALID'],
    ['the vocabulary is a list', () => withModel({ vocab: ['a', 'b'] }), 'MODEL_INVALID'],
    ['an id is negative', () => withModel({ vocab: { ...good().model.vocab, a: -1 } }), 'MODEL_INVALID'],
    ['an id is huge', () => withModel({ vocab: { ...good().model.vocab, a: 2 ** 40 } }), 'MODEL_INVALID'],
    ['an id is beyond 2^53', () => withModel({ vocab: { ...good().model.vocab, a: 1e300 } }), 'MODEL_INVALID'],
    ['an id is a text', () => withModel({ vocab: { ...good().model.vocab, a: '7' } }), 'MODEL_INVALID'],
    ['two tokens have one id', () => withModel({ vocab: { ...good().model.vocab, zz: 5 } }), 'MODEL_INVALID'],
    ['ids have gaps', () => withModel({ vocab: { ...good().model.vocab, zz: 900 } }), 'works'],
    ['merges form a cycle', () => withModel({ merges: ['a b', 'ab c', 'a b', 'ab c', 'abc a'] }), 'MODEL_INVALID'],
    ['a merge occurs twice', () => withModel({ merges: ['a b', 'a b'] }), 'works'],
    ['a merge has an empty part', () => withModel({ merges: [['', 'ab']] }), 'MODEL_INVALID'],
    ['a merge makes an unknown token', () => withModel({ merges: ['b a'] }), 'MODEL_INVALID'],
    ['a merge is of an unknown token', () => withModel({ merges: [['zz', 'a']] }), 'MODEL_INVALID'],
    ['a merge has three parts', () => withModel({ merges: ['a b c'] }), 'MODEL_INVALID'],
    ['a merge is a number', () => withModel({ merges: [7] }), 'MODEL_INVALID'],
    ['a merge names a method of objects', () => withModel({ merges: [['to', 'String']] }), 'MODEL_INVALID'],
    ['merges are no list', () => withModel({ merges: { a: 'b' } }), 'MODEL_INVALID'],
    ['the unknown token is an object', () => withModel({ unk_token: {} }), 'MODEL_INVALID'],
    ['the unknown token is not in the vocabulary', () => withModel({ unk_token: '<none>' }), 'MODEL_INVALID'],
    ['word ends are marked', () => withModel({ end_of_word_suffix: '</w>' }), 'MODEL_UNSUPPORTED'],
    [
      'the vocabulary names __proto__',
      () => JSON.parse(JSON.stringify(good()).replace('"ab":', '"__proto__":')),
      'MODEL_INVALID',
    ],
    [
      'added tokens are of wrong types',
      () => changed((f) => (f.added_tokens = [{ id: 261, content: 7 }])),
      'MODEL_INVALID',
    ],
    ['an added token is null', () => changed((f) => (f.added_tokens = [null])), 'MODEL_INVALID'],
    ['an added token takes another id', () => changed((f) => (f.added_tokens[0].id = 3)), 'MODEL_INVALID'],
    ['an added token is a lone surrogate', () => changed((f) => (f.added_tokens[0].content = '\ud800')), 'works'],
    [
      'an added token is full of regular expression',
      () => changed((f) => (f.added_tokens[0].content = '(.*)+$[\\')),
      'works',
    ],
    [
      'there are 20,000 added tokens',
      () =>
        changed(
          (f) =>
            (f.added_tokens = Array.from({ length: 20000 }, (_, i) => ({
              id: 261 + i,
              content: `<${i}>`,
              special: true,
            }))),
        ),
      'MODEL_UNSUPPORTED',
    ],
    [
      'steps are nested a thousand deep',
      () =>
        changed(
          (f) => (f.normalizer = nest(1000, (inner) => ({ type: 'Sequence', normalizers: [inner] }), { type: 'NFC' })),
        ),
      'MODEL_INVALID',
    ],
    [
      'there are a thousand steps',
      () => changed((f) => (f.normalizer.normalizers = Array(1000).fill({ type: 'NFC' }))),
      'MODEL_INVALID',
    ],
    ['a step is unknown', () => changed((f) => (f.normalizer = { type: 'constructor' })), 'MODEL_UNSUPPORTED'],
    [
      'a step blows the text up',
      () => changed((f) => (f.normalizer = { type: 'Replace', pattern: { String: 'a' }, content: 'a'.repeat(1e6) })),
      'MODEL_INVALID',
    ],
    [
      'a step replaces nothing with something',
      () => changed((f) => (f.normalizer = { type: 'Replace', pattern: { String: '' }, content: 'a' })),
      'MODEL_UNSUPPORTED',
    ],
    [
      'a pattern is of no kind',
      () => changed((f) => (f.pre_tokenizer.pretokenizers[0].pattern = {})),
      'MODEL_UNSUPPORTED',
    ],
    [
      'a pattern backtracks exponentially',
      () => changed((f) => (f.pre_tokenizer.pretokenizers[0].pattern = { Regex: '(a+)+$' })),
      'MODEL_UNSUPPORTED',
    ],
    [
      'a pattern backtracks exponentially in disguise',
      () => changed((f) => (f.pre_tokenizer.pretokenizers[0].pattern = { Regex: '(a|a)*b|(\\w|a)*!' })),
      'MODEL_UNSUPPORTED',
    ],
    [
      'a pattern does not compile',
      () => changed((f) => (f.pre_tokenizer.pretokenizers[0].pattern = { Regex: '[z-a]+' })),
      'MODEL_INVALID',
    ],
    [
      'a pattern is a single class',
      () => changed((f) => (f.pre_tokenizer.pretokenizers[0].pattern = { Regex: '\\p{N}{1,3}' })),
      'works',
    ],
  ]
  it.each(cases)('%s', (_, file, expected) => expect(fromJson(file())).toBe(expected))

  it('the configuration beside it is of wrong types', () => {
    for (const config of [
      { bos_token: 7 },
      { bos_token: { content: [] } },
      { chat_template: [{ name: 'default', template: 3 }] },
      { chat_template: 9 },
      { add_bos_token: 'yes' },
    ])
      expect(fromJson(good(), config)).toBe('works')
    expect(fromJson(good(), [])).toBe('MODEL_INVALID')
  })

  it('it is 10 MB of junk', () => {
    const next = random(3)
    const bytes = Buffer.from(Array.from({ length: 2 ** 16 }, () => next(256)))
    for (const text of [
      '['.repeat(10e6),
      '{"a":'.repeat(2e6),
      Buffer.concat(Array(160).fill(bytes)).toString('latin1'),
      `{"model":${'['.repeat(5e5)}${']'.repeat(5e5)}}`,
    ])
      expect(outcome(() => new Tokenizer(vocabularyFromJson(text)))).toMatch(/^MODEL_/)
  })

  it(
    'anything in it is anything else: random changes (seeded)',
    () => {
      const counts: Record<string, number> = {}
      for (let seed = 0; seed < rounds; seed++) {
        const result = fromJson(mutate(good(), random(seed)))
        counts[result] = (counts[result] ?? 0) + 1
      }
      expect(counts.works).toBeGreaterThan(10)
      expect(counts.MODEL_INVALID).toBeGreaterThan(10)
      expect(counts.MODEL_UNSUPPORTED).toBeGreaterThan(3)
    },
    patient,
  )
})

describe('tokenizer metadata of a GGUF file: what could go wrong if', () => {
  const bytes = {
    'tokenizer.ggml.model': 'gpt2',
    'tokenizer.ggml.pre': 'gpt-2',
    'tokenizer.ggml.tokens': [...alphabet, ...words, '<|im_start|>'],
    'tokenizer.ggml.token_type': [...alphabet, ...words].map(() => 1).concat(3),
    'tokenizer.ggml.merges': pairs.map((pair) => pair.join(' ')),
    'tokenizer.ggml.eos_token_id': 261,
  }
  const pieces = ['<unk>', '<s>', '▁', 'a', 'b', 'ab', '▁a', '▁ab']
  const spaces = {
    'tokenizer.ggml.model': 'llama',
    'tokenizer.ggml.tokens': pieces,
    'tokenizer.ggml.token_type': [2, 3, 1, 1, 1, 1, 1, 1],
    'tokenizer.ggml.scores': pieces.map((_, i) => -i),
    'tokenizer.ggml.bos_token_id': 1,
    'tokenizer.ggml.unknown_token_id': 0,
  }
  const from = (metadata: Record<string, GgufValue>) => outcome(() => Tokenizer.fromMetadata(metadata))

  it('it is as it should be: nothing', () => {
    expect(from(bytes)).toBe('works')
    expect(from(spaces)).toBe('works')
  })

  it.each<[string, Record<string, GgufValue>, string]>([
    [
      'every score is infinite',
      { ...spaces, 'tokenizer.ggml.scores': pieces.map(() => Number.POSITIVE_INFINITY) },
      'works',
    ],
    [
      'a token is a million characters long',
      { ...spaces, 'tokenizer.ggml.tokens': [...pieces.slice(0, 7), 'a'.repeat(1e6)] },
      'MODEL_UNSUPPORTED',
    ],
    ['a number is larger than numbers are', { ...bytes, 'tokenizer.ggml.pre': 2n ** 63n }, 'MODEL_UNSUPPORTED'],
    ['an id is larger than numbers are', { ...bytes, 'tokenizer.ggml.eos_token_id': 2n ** 63n }, 'MODEL_INVALID'],
    ['the pre-tokenizer is a list', { ...bytes, 'tokenizer.ggml.pre': Array(1e5).fill('x') }, 'MODEL_UNSUPPORTED'],
    ['the unknown token has no text', { ...spaces, 'tokenizer.ggml.tokens': ['', ...pieces.slice(1)] }, 'works'],
    ['all tokens are one', { ...spaces, 'tokenizer.ggml.tokens': pieces.map(() => 'a') }, 'works'],
    ['a merge repeats for ever', { ...bytes, 'tokenizer.ggml.merges': Array(1000).fill('a b') }, 'works'],
    [
      'there are too many tokens',
      { ...spaces, 'tokenizer.ggml.tokens': Array(2 ** 20 + 1).fill('a') },
      'MODEL_UNSUPPORTED',
    ],
  ])('%s', (_, metadata, expected) => expect(from(metadata)).toBe(expected))

  it('keys are those of a prototype', () => {
    const inherited = Object.create(bytes) as Record<string, GgufValue>
    expect(from(inherited)).toBe('MODEL_UNSUPPORTED')
  })

  it('a message quotes a token of ten million characters', () => {
    try {
      Tokenizer.fromMetadata({ ...bytes, 'tokenizer.ggml.merges': ['x'.repeat(1e7)] })
      expect.unreachable()
    } catch (error) {
      expect((error as Error).message.length).toBeLessThan(400)
    }
  })

  it(
    'anything in it is anything else: random changes (seeded)',
    () => {
      const counts: Record<string, number> = {}
      const wild = (next: Random) =>
        choose(next, [junk(next), next(400) - 20, 2n ** 60n, Number.NaN, ['a', 'b'], [1, 2, 3]])
      for (let seed = 0; seed < rounds; seed++) {
        const next = random(seed)
        const metadata = structuredClone(seed % 2 ? bytes : spaces) as Record<string, Json>
        const key = choose(next, Object.keys(metadata))
        const list = metadata[key]
        if (Array.isArray(list) && next(3) > 0) list[next(list.length)] = wild(next)
        else metadata[key] = wild(next)
        const result = from(metadata)
        counts[result] = (counts[result] ?? 0) + 1
      }
      expect(counts.works).toBeGreaterThan(5)
      expect(counts.MODEL_INVALID).toBeGreaterThan(30)
    },
    patient,
  )
})

describe('the bound on the text that tokens hold: what could go wrong if', () => {
  const bounds = (file: Json) => {
    const tokenizer = new Tokenizer(vocabularyFromJson(JSON.stringify(file)))
    const { maxTextBytes, lostBytes } = tokenizer.info
    return { tokenizer, maxTextBytes, lostBytes }
  }

  it('a random text is held to it: never fewer tokens than the bound says', () => {
    const plain = bounds(changed((file) => (file.added_tokens = [])))
    const lost = bounds(
      changed((file) => {
        file.added_tokens = []
        file.normalizer = null
        delete file.model.vocab['!']
      }),
    )
    expect(lost.lostBytes).toEqual([0x21])
    for (const { tokenizer, maxTextBytes, lostBytes } of [plain, lost]) {
      for (let seed = 1; seed <= 200; seed++) {
        const next = random(seed)
        const text = Array.from({ length: next(300) }, () =>
          choose(next, ['a', 'ab', 'abc', ' ', '!', '각', 'é', '\u{1F98A}', '\ud800']),
        ).join('')
        const bytes = Buffer.from(text).filter((byte) => !lostBytes.includes(byte)).length
        expect(tokenizer.encode(text).length * maxTextBytes).toBeGreaterThanOrEqual(bytes)
      }
    }
  })

  it('text may vanish or run into one token: there is no bound', () => {
    expect(bounds(good()).maxTextBytes).toBe(Number.POSITIVE_INFINITY) // <tool> takes the white space before it
    const without = (change: (file: Json) => void) =>
      bounds(
        changed((file) => {
          file.added_tokens = []
          change(file)
        }),
      ).maxTextBytes
    expect(without(() => {})).toBe(12)
    expect(without((file) => (file.normalizer = { type: 'Strip', strip_left: true }))).toBe(Number.POSITIVE_INFINITY)
    expect(without((file) => delete file.model.vocab['!'])).toBe(Number.POSITIVE_INFINITY)
  })
})
