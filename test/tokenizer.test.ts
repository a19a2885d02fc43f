import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Tokenizer as MergeModel } from '@huggingface/tokenizers'
import { describe, expect, it } from 'vitest'
import { type GgufValue, native } from '../lib/base/native.ts'
import { Tokenizer } from '../lib/text/tokenizer.ts'
import { vocabularyFromGguf } from '../lib/text/vocabulary/gguf-tokenizer.ts'
import { vocabularyFromJson } from '../lib/text/vocabulary/json-tokenizer.ts'
import { preTokenizers, wordExpressions } from '../lib/text/vocabulary/pre-tokenizers.ts'
import { Texts } from '../lib/text/vocabulary/texts.ts'
import { characterOfByte } from '../lib/text/vocabulary/vocabulary.ts'
import { ggufMetadata } from './gguf-metadata.ts'

const at = (path: string) => fileURLToPath(new URL(path, import.meta.url))
const read = (name: string) => JSON.parse(readFileSync(at(`goldens/${name}.json`), 'utf8'))
const unpack = (packed: string) => {
  const bytes = Buffer.from(packed, 'base64')
  return Array.from({ length: bytes.length / 2 }, (_, i) => bytes.readUInt16LE(2 * i))
}

const texts: string[] = read('tokenizer-texts')
const storiesJson = readFileSync(at('goldens/stories-tokenizer.json'), 'utf8')
const storiesConfig = JSON.stringify({ bos_token: '<|endoftext|>', eos_token: '<|im_end|>', chat_template: 'x' })
const stories = new Tokenizer(vocabularyFromJson(storiesJson, storiesConfig))

/** The stories vocabulary as GGUF metadata. */
function storiesMetadata(change: Record<string, GgufValue | undefined> = {}): Record<string, GgufValue> {
  const { model } = JSON.parse(storiesJson)
  const tokens = Object.entries(model.vocab as Record<string, number>).sort((a, b) => a[1] - b[1])
  const all: Record<string, GgufValue | undefined> = {
    'tokenizer.ggml.model': 'gpt2',
    'tokenizer.ggml.pre': 'gpt-2',
    'tokenizer.ggml.tokens': tokens.map(([text]) => text),
    'tokenizer.ggml.token_type': tokens.map((_, id) => (id < 3 ? 3 : 1)),
    'tokenizer.ggml.merges': model.merges.map((merge: string[]) => merge.join(' ')),
    'tokenizer.ggml.bos_token_id': 0,
    'tokenizer.ggml.eos_token_id': 2,
    'tokenizer.ggml.add_bos_token': false,
    ...change,
  }
  return Object.fromEntries(Object.entries(all).filter((entry) => entry[1] !== undefined)) as Record<string, GgufValue>
}

const spmGolden = read('tokenizer-spm')
const spmMetadata = (change: Record<string, GgufValue> = {}): Record<string, GgufValue> => ({
  'tokenizer.ggml.model': 'llama',
  'tokenizer.ggml.tokens': spmGolden.tokens,
  'tokenizer.ggml.scores': spmGolden.scores,
  'tokenizer.ggml.token_type': spmGolden.types,
  'tokenizer.ggml.unknown_token_id': 0,
  'tokenizer.ggml.bos_token_id': 1,
  'tokenizer.ggml.eos_token_id': 2,
  ...change,
})
const spmTexts = [...texts.filter((_, i) => i % spmGolden.every === 0), ...spmGolden.extra] as string[]

const differing = (tokenizer: Tokenizer, of: string[], packed: string[]) =>
  of.filter((text, i) => tokenizer.encode(text).join() !== unpack(packed[i]!).join())

describe("ids equal Hugging Face's", () => {
  it('stories, from tokenizer.json', () => {
    const golden = read('tokenizer-stories')
    expect(texts.length).toBe(300)
    expect(differing(stories, texts, golden.ids)).toEqual([])
  })

  it('as metadata or in one piece, a vocabulary is the same', () => {
    const path = at('../models/octavo-stories-q4_0.gguf')
    const [plain, packed] = [ggufMetadata(path), native().ggufRead(path, 'packed').metadata].map((metadata) =>
      Tokenizer.fromMetadata(metadata),
    )
    expect(packed!.info).toEqual(plain!.info)
    expect(packed!.control).toEqual(plain!.control)
    expect(texts.filter((text) => packed!.encode(text).join() !== plain!.encode(text).join())).toEqual([])
  })

  it('texts in one piece are those of a list, whatever bytes they have', () => {
    const rows = ['', 'a', '\u00e9', '\ufeff\u2581x', '\u{1f600}'].map((text) => Buffer.from(text))
    rows.push(
      Buffer.from([0xff]),
      Buffer.from([0xe2, 0x96]),
      Buffer.from([0x81]),
      Buffer.from([0x61, 0xc3]),
      Buffer.from([0xa9]),
    )
    const decoder = new TextDecoder('utf-8', { ignoreBOM: true })
    for (let count = 0; count <= rows.length; count++) {
      const some = rows.slice(0, count)
      const offsets = Uint32Array.from([0, ...some], (_, i) =>
        some.slice(0, i).reduce((sum, row) => sum + row.length, 0),
      )
      const beginCharacters = !some.some((row) => (row[0]! & 0xc0) === 0x80)
      const found = Texts.from({ bytes: Buffer.concat(some), offsets, beginCharacters })
      expect([...found]).toEqual(some.map((row) => decoder.decode(row)))
      expect([...Texts.of([...found])]).toEqual([...found])
      expect(found.among(['a', '\u2581x', '\u{1f600}', 'b'])).toEqual(
        [...found].flatMap((text, id) => (['a', '\u{1f600}'].includes(text) ? [{ id, text }] : [])),
      )
    }
  })

  it('stories, from GGUF metadata', () => {
    expect(differing(Tokenizer.fromMetadata(storiesMetadata()), texts, read('tokenizer-stories').ids)).toEqual([])
  })

  it.each(['llama-bpe', 'qwen2', 'tekken', 'gpt-4o'])('pre-tokenizer %s', (name) => {
    const golden = read('tokenizer-pre')
    const tokenizer = Tokenizer.fromMetadata(storiesMetadata({ 'tokenizer.ggml.pre': name }))
    const some = texts.filter((_, i) => i % golden.every === 0)
    expect(differing(tokenizer, some, golden.ids[name])).toEqual([])
  })

  it('SentencePiece, merges made from scores', () => {
    expect(differing(Tokenizer.fromMetadata(spmMetadata()), spmTexts, spmGolden.ids)).toEqual([])
  })

  it('SentencePiece, from tokenizer.json', () => {
    const json = readFileSync(at('goldens/tokenizer-spm.tokenizer.json'), 'utf8')
    const tokenizer = new Tokenizer(vocabularyFromJson(json, '{"bos_token":"<s>","eos_token":"</s>"}'))
    expect(differing(tokenizer, spmTexts, spmGolden.ids)).toEqual([])
    expect(tokenizer.encode('<s>the fox</s> a dog', { parseSpecial: true })).toEqual(unpack(spmGolden.special))
  })

  const smollm = at('../../shared/models/SmolLM2-135M-Instruct.Q4_1.gguf')
  it.skipIf(!existsSync(smollm))('SmolLM2, from its GGUF file (skipped where ../shared/models is absent)', () => {
    const tokenizer = Tokenizer.fromMetadata(ggufMetadata(smollm))
    expect(differing(tokenizer, texts, read('tokenizer-smollm2').ids)).toEqual([])
    expect(tokenizer.info).toMatchObject({
      vocabularySize: 49152,
      bosId: 1,
      eosIds: [0, 2],
      addBos: false,
      hasChatTemplate: true,
    })
  })

  it('a text in chunks has the ids of the whole text', () => {
    const spm = Tokenizer.fromMetadata(spmMetadata())
    const long = `${texts.join(' and the ')} `.repeat(2)
    for (const tokenizer of [stories, spm]) {
      const whole = new Tokenizer({ ...tokenizer.vocabulary, cutsAtWords: false })
      const steps = tokenizer.encodeSteps(long)
      let pauses = 0
      let step = steps.next()
      for (; !step.done; step = steps.next()) pauses++
      expect(pauses).toBeGreaterThan(3)
      expect(step.value).toEqual(whole.encode(long))
    }
  })
})

/** A vocabulary of the bytes alone. */
const bytesMetadata = (pre: string): Record<string, GgufValue> => ({
  'tokenizer.ggml.model': 'gpt2',
  'tokenizer.ggml.pre': pre,
  'tokenizer.ggml.tokens': [...characterOfByte],
  'tokenizer.ggml.merges': [],
})

/** Cuts a text into words: spelled in GPT-2's alphabet, or as they are, which is ten times as fast. */
function cutter(pre: string, isSpelled = true): (text: string) => string[] {
  const source = { post_processor: null, decoder: null, added_tokens: [] }
  const model = vocabularyFromGguf(bytesMetadata(pre)).model as { pre_tokenizer: { pretokenizers: object[] } }
  const { pretokenizers, ...rest } = model.pre_tokenizer
  const steps = { ...rest, pretokenizers: isSpelled ? pretokenizers : pretokenizers.slice(0, -1) }
  const all = { ...source, ...model, pre_tokenizer: steps }
  return new MergeModel(all, {}).pre_tokenizer as unknown as (text: string) => string[]
}

/** One name for each way of cutting. */
const ways = [...new Map(Object.entries(preTokenizers).map(([name, row]) => [row.split.join(' '), name])).values()]

describe('pre-tokenizers of the field', () => {
  const golden = read('tokenizer-words')
  const some: string[] = [...texts.filter((_, i) => i % golden.every === 0), ...golden.more]

  it.each(Object.keys(golden.words))("%s cuts words where Hugging Face's tokenizers cuts them", (name) => {
    const cut = cutter(name)
    const lengths = (text: string) => cut(text).map((word) => word.length)
    const wrong = some.filter((text, i) => lengths(text).join() !== unpack(golden.words[name][i]).join())
    expect(wrong).toEqual([])
  })

  it.each([
    ['llama-bpe', 'falcon3', 'pixtral', 'midm-2.0', 'lfm2'],
    ['gpt-2', 'a.x-4.0', 'mellum', 'trillion'],
    ['smollm', 'minerva-7b', 'refact', 'command-r', 'exaone'],
    ['deepseek-r1-qwen', 'megrez', 'stablelm2'],
    ['gpt-4o', 'llama4'],
    ['deepseek-v3', 'hunyuan-dense'],
  ])('%s goes by other names, too: %s ...', (name, ...others) => {
    for (const other of others) expect(preTokenizers[other]).toEqual(preTokenizers[name])
  })

  // Long runs that expressions with a choice of ways would try them all for: quadratic time would run into the test's limit.
  const runs = ['aA', ' ', ' \t', ' \n', '12', "'s", '.', 'e\u0301', '漢']
  it.each(ways)('%s takes no time to speak of for any long run', (name) => {
    const cut = cutter(name, false)
    for (const run of runs) {
      const text = `${run.repeat(2 ** 16 / run.length)}漢`
      expect(cut(text).reduce((sum, word) => sum + word.length, 0)).toBe(text.length)
    }
  })

  it.each(ways)('%s: a long text in chunks has the ids of the whole text', (name) => {
    const tokenizer = Tokenizer.fromMetadata(storiesMetadata({ 'tokenizer.ggml.pre': name }))
    const long = texts.filter((_, i) => i % 3 === 0).join(' and the ')
    const whole = new Tokenizer({ ...tokenizer.vocabulary, cutsAtWords: false }).encode(long)
    expect(tokenizer.encode(long)).toEqual(whole)
  })

  it('each expression that counts as beginning words begins one, whatever is around it', () => {
    const metadata = JSON.parse(storiesJson)
    for (const expression of wordExpressions) {
      const pre_tokenizer = { type: 'Split', pattern: { Regex: expression }, behavior: 'Isolated', invert: false }
      const model = { ...metadata.model, vocab: metadata.model.vocab }
      const { pre_tokenizer: cut } = new MergeModel({ ...metadata, model, normalizer: null, pre_tokenizer }, {})
      for (const before of ['', '.', "'", '5', ' ', '\n', '漢', '\u0301']) {
        for (const after of ['', '.', "'s", '5', '漢', '\u0301']) {
          const text = `${before}ab cd${after}`
          let end = 0
          const borders = (cut as unknown as (text: string) => string[])(text).map((word) => (end += word.length))
          expect(borders, `${expression} on ${JSON.stringify(text)}`).toContain(before.length + 2)
        }
      }
    }
  })

  it('a tokenizer.json that cuts at digits alone is not tokenised in chunks of words', () => {
    const file = JSON.parse(storiesJson)
    file.model.vocab['e\u0120t'] = 1940
    file.model.merges.push(['e', '\u0120t'])
    file.pre_tokenizer = {
      type: 'Sequence',
      pretokenizers: [
        { type: 'Split', pattern: { Regex: '\\p{N}' }, behavior: 'Isolated', invert: false },
        { type: 'ByteLevel', add_prefix_space: false, use_regex: false },
      ],
    }
    expect(vocabularyFromJson(JSON.stringify(file)).cutsAtWords).toBe(false)
    expect(vocabularyFromJson(storiesJson).cutsAtWords).toBe(true)
  })
})

describe('SentencePiece: tokens of equal scores', () => {
  it("are merged leftmost first: ids equal llama.cpp's", () => {
    const { tokens, scores, types, cases } = read('tokenizer-scores')
    const tokenizer = Tokenizer.fromMetadata({
      'tokenizer.ggml.model': 'llama',
      'tokenizer.ggml.tokens': tokens,
      'tokenizer.ggml.scores': scores,
      'tokenizer.ggml.token_type': types,
    })
    expect(new Set(scores.slice(263)).size).toBe(3)
    for (const [text, ids] of cases) expect(tokenizer.encode(text), text).toEqual(ids)
  })

  it('a score decides before the place does', () => {
    const pieces = ['<unk>', '▁', 'a', 'b', 'c', 'ab', 'bc', 'abc']
    const encode = (scores: number[]) =>
      Tokenizer.fromMetadata({
        'tokenizer.ggml.model': 'llama',
        'tokenizer.ggml.tokens': pieces,
        'tokenizer.ggml.scores': [0, 0, 0, 0, 0, ...scores],
        'tokenizer.ggml.token_type': [2, 1, 1, 1, 1, 1, 1, 5],
        'tokenizer.ggml.add_space_prefix': false,
      }).encode('abc')
    expect(encode([-1, -1, 0])).toEqual([5, 4])
    expect(encode([-2, -1, 0])).toEqual([2, 6])
    expect(encode([-1, -2, 0])).toEqual([5, 4])
  })
})

describe('control tokens', () => {
  it('come out of a text only with parseSpecial', () => {
    for (const { text, id } of stories.vocabulary.control) {
      for (const around of [text, `${text} x`, `x ${text}`, `x${text}${text}y`]) {
        const control = new Set(stories.vocabulary.control.map((token) => token.id))
        expect(stories.encode(around).some((token) => control.has(token))).toBe(false)
        expect(stories.decode(stories.encode(around))).toBe(around)
        expect(stories.encode(around, { parseSpecial: true })).toContain(id)
      }
    }
  })

  it('never come from merges, even if scores or merges make one', () => {
    const tokenizer = Tokenizer.fromMetadata(spmMetadata())
    expect(spmGolden.tokens).toContain('s')
    for (const text of ['<s>', '</s>', 'a <s> b', '<0x0A>']) {
      expect(tokenizer.encode(text).some((id) => id === 1 || id === 2)).toBe(false)
      expect(tokenizer.decode(tokenizer.encode(text))).toBe(text)
    }
    expect(tokenizer.encode('<0x0A>')).not.toContain(4 + 0x0a)
    const merged = storiesMetadata()
    ;(merged['tokenizer.ggml.merges'] as string[]).push('< |', '<| i', '<|i m')
    ;(merged['tokenizer.ggml.tokens'] as string[]).push('<|', '<|i', '<|im')
    ;(merged['tokenizer.ggml.token_type'] as number[]).push(1, 1, 3)
    expect(Tokenizer.fromMetadata(merged).encode('<|im')).not.toContain(1942)
  })

  it('user-defined tokens are found in every text', () => {
    const tokenizer = Tokenizer.fromMetadata(spmMetadata())
    expect(tokenizer.encode('the <|mark|> fox')).toContain(3)
    expect(tokenizer.decode(tokenizer.encode('the <|mark|> fox'))).toBe('the <|mark|>  fox')
  })

  it('BOS comes exactly once', () => {
    expect(stories.encode('hi', { addBos: true })[0]).toBe(0)
    const ids = stories.encode('<|endoftext|>hi', { addBos: true, parseSpecial: true })
    expect(ids.filter((id) => id === 0)).toEqual([0])
    expect(stories.encode('', { addBos: true })).toEqual([0])
    const spm = Tokenizer.fromMetadata(spmMetadata())
    expect(spm.info.addBos).toBe(true)
    expect(spm.encode('<s>the', { addBos: true, parseSpecial: true })).toEqual(spm.encode('the', { addBos: true }))
  })

  it('have a text only when asked for', () => {
    const ids = stories.encode('<|im_start|>user\nhi<|im_end|>', { parseSpecial: true })
    expect(stories.decode(ids)).toBe('user\nhi')
    expect(stories.decode(ids, { special: true })).toBe('<|im_start|>user\nhi<|im_end|>')
  })
})

describe('decode', () => {
  it('gives every text back', () => {
    for (const text of texts) expect(stories.decode(stories.encode(text))).toBe(text)
  })

  it("SentencePiece: equals Hugging Face's, prefix space dropped", () => {
    const tokenizer = Tokenizer.fromMetadata(spmMetadata())
    spmTexts.forEach((text, i) => {
      expect(tokenizer.decode(tokenizer.encode(text))).toBe(spmGolden.decoded[i])
    })
  })

  it('ids outside the vocabulary have no text', () => {
    expect(stories.decode([1e6, -1, ...stories.encode('ok'), 1940])).toBe('ok')
  })

  it('add_space_prefix false neither adds nor drops a space', () => {
    const tokenizer = Tokenizer.fromMetadata(spmMetadata({ 'tokenizer.ggml.add_space_prefix': false }))
    for (const text of ['the', ' the', '  the']) expect(tokenizer.decode(tokenizer.encode(text))).toBe(text)
  })
})

describe('words that were met', () => {
  const word = 'xylographicalsecret'
  /** How often a map that was asked for the word had it. */
  function found(run: () => unknown): number {
    const { has } = Map.prototype
    let count = 0
    Map.prototype.has = function (key) {
      const known = has.call(this, key)
      if (known && String(key).includes(word)) count++
      return known
    }
    try {
      run()
    } finally {
      Map.prototype.has = has
    }
    return count
  }

  it('are remembered within a text, and not in the next one, whose time would tell', () => {
    expect(found(() => stories.encode(`a ${word} b ${word} c ${word}`))).toBe(2)
    expect(found(() => stories.encode(`a ${word}`))).toBe(0)
  })

  it('nor in one that is worked on in between', () => {
    const long = stories.encodeSteps(`one ${word} two `.repeat(2000))
    expect(found(() => long.next())).toBeGreaterThan(50)
    expect(found(() => stories.encode(`a ${word}`))).toBe(0)
    expect(found(() => long.next())).toBeGreaterThan(50)
    expect(found(() => stories.encode(`a ${word}`))).toBe(0)
  })
})

describe('end tokens', () => {
  it('are those of the metadata and well-known control tokens', () => {
    expect(vocabularyFromGguf(storiesMetadata()).eosIds).toEqual([0, 2])
    expect(vocabularyFromGguf(storiesMetadata({ 'tokenizer.ggml.eot_token_id': 1 })).eosIds).toEqual([0, 1, 2])
  })
})

describe('bad metadata is refused with what was found', () => {
  const cases: [string, Record<string, GgufValue | undefined>, string, RegExp][] = [
    ['unknown kind', { 'tokenizer.ggml.model': 't5' }, 'MODEL_UNSUPPORTED', /"t5"/],
    ['no kind', { 'tokenizer.ggml.model': undefined }, 'MODEL_UNSUPPORTED', /no tokenizer/],
    ['unknown pre-tokenizer', { 'tokenizer.ggml.pre': 'toString' }, 'MODEL_UNSUPPORTED', /"toString"/],
    ['empty vocabulary', { 'tokenizer.ggml.tokens': [] }, 'MODEL_INVALID', /empty/],
    ['no vocabulary', { 'tokenizer.ggml.tokens': undefined }, 'MODEL_INVALID', /empty/],
    ['tokens of a wrong type', { 'tokenizer.ggml.tokens': [1, 2] }, 'MODEL_INVALID', /array of strings/],
    ['too few types', { 'tokenizer.ggml.token_type': [1, 1] }, 'MODEL_INVALID', /1940 entries.*found 2/],
    ['an unknown type', { 'tokenizer.ggml.token_type': new Array(1940).fill(9) }, 'MODEL_INVALID', /type 9/],
    [
      'a malformed byte token',
      { 'tokenizer.ggml.token_type': new Array(1940).fill(6) },
      'MODEL_INVALID',
      /byte token 0/,
    ],
    ['an id that is no number', { 'tokenizer.ggml.eos_token_id': 'x' }, 'MODEL_INVALID', /below 1940, found "x"/],
    ['no merges', { 'tokenizer.ggml.merges': undefined }, 'MODEL_INVALID', /merges: missing/],
    ['a merge with an empty part', { 'tokenizer.ggml.merges': ['a '] }, 'MODEL_INVALID', /entry 0 is "a "/],
    ['a merge without a space', { 'tokenizer.ggml.merges': ['ab'] }, 'MODEL_INVALID', /entry 0/],
    ['SentencePiece without scores', { 'tokenizer.ggml.model': 'llama' }, 'MODEL_INVALID', /scores: missing/],
  ]
  it.each(cases)('%s', (_, change, code, message) => {
    expect(() => Tokenizer.fromMetadata(storiesMetadata(change))).toThrow(
      expect.objectContaining({ code, message: expect.stringMatching(message) }),
    )
  })

  it('scores that are not numbers', () => {
    const scores = [...spmGolden.scores]
    scores[5] = Number.NaN
    expect(() => Tokenizer.fromMetadata(spmMetadata({ 'tokenizer.ggml.scores': scores }))).toThrow(/token 5/)
  })

  it('tokens named like properties of objects', () => {
    const metadata = storiesMetadata()
    const extra = ['__proto__', 'constructor']
    ;(metadata['tokenizer.ggml.tokens'] as string[]).push(...extra)
    ;(metadata['tokenizer.ggml.token_type'] as number[]).push(1, 1)
    const tokenizer = Tokenizer.fromMetadata({ ...metadata, 'tokenizer.ggml.pre': 'llama-bpe' })
    expect(tokenizer.encode('constructor')).toEqual([1941])
    expect(tokenizer.decode([1940])).toBe('__proto__')
  })

  it('tokenizer.json', () => {
    const bad = (json: string) => () => vocabularyFromJson(json)
    expect(bad('{')).toThrow(expect.objectContaining({ code: 'MODEL_INVALID' }))
    expect(bad('[]')).toThrow(expect.objectContaining({ code: 'MODEL_INVALID' }))
    expect(bad('{"model":{"type":"WordPiece"}}')).toThrow(/found "WordPiece"/)
    expect(bad('{"model":{"type":"BPE","vocab":{}}}')).toThrow(/empty/)
    expect(() => Tokenizer.fromFile(at('goldens/absent.json'))).toThrow(
      expect.objectContaining({ code: 'FILE_NOT_FOUND' }),
    )
  })
})
