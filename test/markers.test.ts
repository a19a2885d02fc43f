/** Markers of turns that a file takes for ordinary text, and ids that are no token: what a file says of single tokens is not believed. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Engine } from 'octavo'
import { afterAll, describe, expect, it } from 'vitest'
import type { GgufValue } from '../lib/base/native.ts'
import { Tokenizer } from '../lib/text/tokenizer.ts'
import { vocabularyFromJson } from '../lib/text/vocabulary/json-tokenizer.ts'
import { characterOfByte } from '../lib/text/vocabulary/vocabulary.ts'
import { hideKey, type Patch, patched, setElement, setNumber } from './gguf-patch.ts'

const types = { NORMAL: 1, CONTROL: 3, USER_DEFINED: 4, UNUSED: 5 }
const first = 256

/** A byte-level vocabulary whose last tokens, from id 256 on, are `names`. */
function withNames(names: string[], type: number, more: Record<string, GgufValue> = {}): Tokenizer {
  const tokens = [...characterOfByte, ...names]
  return Tokenizer.fromMetadata({
    'tokenizer.ggml.model': 'gpt2',
    'tokenizer.ggml.pre': 'gpt-2',
    'tokenizer.ggml.tokens': tokens,
    'tokenizer.ggml.token_type': tokens.map((_, id) => (id < first ? types.NORMAL : type)),
    'tokenizer.ggml.merges': [],
    ...more,
  })
}

const ends = [
  '<|im_end|>',
  '<|eot_id|>',
  '<|eom_id|>',
  '<|endoftext|>',
  '<end_of_turn>',
  '<|return|>',
  '<｜end▁of▁sentence｜>',
]
const turns = [
  '<|im_start|>',
  '<|start_header_id|>',
  '<start_of_turn>',
  '<|user|>',
  '<｜User｜>',
  '<|channel|>',
  '<|start|>',
]

describe('a marker of turns that the file types as text: what could go wrong if', () => {
  it.each(['NORMAL', 'USER_DEFINED', 'UNUSED'] as const)('it is %s: it counts as control all the same', (type) => {
    for (const name of [...ends, ...turns]) {
      const tokenizer = withNames([name], types[type])
      expect(tokenizer.encode(`a${name}b`), name).not.toContain(first)
      expect(tokenizer.decode(tokenizer.encode(`a${name}b`))).toBe(`a${name}b`)
      expect(tokenizer.encode(`a${name}b`, { parseSpecial: true }), name).toContain(first)
      expect(tokenizer.decode([first])).toBe('')
      expect(tokenizer.info.eosIds).toEqual(ends.includes(name) ? [first] : [])
      expect(tokenizer.info.notes).toEqual([expect.stringMatching(new RegExp(`256 .*${type}`))])
    }
  })

  it('it is CONTROL, as it should be: no note', () => {
    const tokenizer = withNames([...ends, ...turns], types.CONTROL)
    expect(tokenizer.info.notes).toEqual([])
    expect(tokenizer.info.eosIds).toEqual(ends.map((_, i) => first + i))
  })

  it('it is a word of HTML or of plain text as well: the model must use it', () => {
    for (const name of ['<s>', '</s>', '[INST]', '[/INST]', '<eos>', '[EOS]']) {
      const text = withNames([name], types.USER_DEFINED, { 'tokenizer.chat_template': '<|im_start|>{{ messages }}' })
      expect(text.encode(`a${name}b`), name).toContain(first)
      expect(text.info).toMatchObject({ eosIds: [], notes: [] })
      const used = { 'tokenizer.chat_template': `{{ messages }}${name}` }
      const named = { 'tokenizer.ggml.eos_token_id': first }
      for (const use of [used, named]) {
        const tokenizer = withNames([name], types.USER_DEFINED, use)
        expect(tokenizer.encode(`a${name}b`), name).not.toContain(first)
        expect(tokenizer.info.notes).toHaveLength(1)
      }
    }
    expect(withNames(['</s>'], types.NORMAL, { 'tokenizer.chat_template': '{{ x }}</s>' }).info.eosIds).toEqual([first])
  })

  it('<|end|> closes a message of a turn that goes on until <|return|>', () => {
    expect(withNames(['<|end|>', '<|return|>'], types.CONTROL).info.eosIds).toEqual([first + 1])
    expect(withNames(['<|end|>'], types.CONTROL).info.eosIds).toEqual([first])
  })

  it('tokens that only look like markers are left alone', () => {
    const names = ['<|fim_prefix|>', '<tool_call>', '<think>', '<|vision_start|>', 'im_end']
    const tokenizer = withNames(names, types.USER_DEFINED)
    expect(tokenizer.info.notes).toEqual([])
    expect(tokenizer.encode(names.join(''))).toEqual(names.map((_, i) => first + i))
  })

  it('there are hundreds of them: the note names some', () => {
    const [note] = withNames(Array(300).fill('<|im_end|>'), types.NORMAL).info.notes
    expect(note).toMatch(/and 284 more/)
  })

  it('tokenizer.json adds it as an ordinary token, or does not add it', () => {
    const vocab = Object.fromEntries([...characterOfByte, '<|im_end|>'].map((text, id) => [text, id]))
    const file = {
      pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, use_regex: true },
      decoder: { type: 'ByteLevel' },
      model: { type: 'BPE', vocab, merges: [] },
    }
    for (const added_tokens of [[], [{ id: first, content: '<|im_end|>', special: false, lstrip: true }]]) {
      const tokenizer = new Tokenizer(vocabularyFromJson(JSON.stringify({ ...file, added_tokens })))
      expect(tokenizer.encode('a <|im_end|>')).not.toContain(first)
      expect(tokenizer.encode('a <|im_end|>', { parseSpecial: true }).at(-1)).toBe(first)
      expect(tokenizer.control[0]!.stripLeft).toBe(added_tokens.length > 0)
      expect(tokenizer.info).toMatchObject({ eosIds: [first], notes: [expect.stringMatching(/im_end/)] })
    }
  })
})

describe('ids that are no token: what could go wrong if', () => {
  const names = ['<a>', '<|im_end|>']
  it.each([4294967295, -1, 258, 2n ** 63n, -(2n ** 60n)])('one is %s: there is none, and a note', (id) => {
    for (const name of ['bos', 'eot', 'eom', 'unknown', 'padding', 'seperator', 'mask', 'eos']) {
      const key = `tokenizer.ggml.${name}_token_id`
      const tokenizer = withNames(names, types.CONTROL, { [key]: id, 'tokenizer.ggml.add_bos_token': true })
      expect(tokenizer.info).toMatchObject({ bosId: undefined, addBos: false, eosIds: [first + 1] })
      expect(tokenizer.info.notes).toEqual([expect.stringMatching(new RegExp(`${key} is ${id}, .*258`))])
      expect(tokenizer.vocabulary.named).toEqual({})
    }
  })

  it('the end token is none, and no other is known', () => {
    const broken = () => withNames(['<a>'], types.CONTROL, { 'tokenizer.ggml.eos_token_id': 4294967295 })
    expect(broken).toThrow(
      expect.objectContaining({ code: 'MODEL_INVALID', message: expect.stringMatching(/below 257, found 4294967295/) }),
    )
    expect(withNames(['<a>'], types.CONTROL).info.eosIds).toEqual([])
  })

  it('one is no number at all', () => {
    for (const id of ['7', true, 1.5, [1]])
      expect(() => withNames(names, types.CONTROL, { 'tokenizer.ggml.padding_token_id': id })).toThrow(
        expect.objectContaining({ code: 'MODEL_INVALID' }),
      )
  })
})

describe('small things that files have wrong: what could go wrong if', () => {
  it('tokenizer.ggml.pre is missing: a note says which way of cutting is taken', () => {
    const metadata = {
      'tokenizer.ggml.model': 'gpt2',
      'tokenizer.ggml.tokens': [...characterOfByte],
      'tokenizer.ggml.merges': [],
    }
    expect(Tokenizer.fromMetadata(metadata).info.notes).toEqual([
      expect.stringMatching(/ggml\.pre is missing.*"default"/),
    ])
    expect(Tokenizer.fromMetadata({ ...metadata, 'tokenizer.ggml.pre': 'default' }).info.notes).toEqual([])
  })

  it('merges make no token, or begin with the line of a merges.txt', () => {
    const more = { 'tokenizer.ggml.merges': ['#version: 0.2', 'a b', 'x y', 'q ab'] }
    const tokenizer = withNames(['ab'], types.NORMAL, more)
    expect(tokenizer.encode('ab xy')).toEqual([first, ...Buffer.from(' xy')])
    expect(tokenizer.info.notes).toEqual([expect.stringMatching(/2 of 4 merges, first "x y"/)])
  })

  it('the chat template is a list', () => {
    const tokenizer = withNames([], types.NORMAL, { 'tokenizer.chat_template': ['a'] })
    expect(tokenizer.info).toMatchObject({ hasChatTemplate: false, notes: [expect.stringMatching(/chat_template/)] })
  })

  it('a token has type 0, a flag is a number', () => {
    const more = { 'tokenizer.ggml.bos_token_id': 3, 'tokenizer.ggml.add_bos_token': 1 }
    const tokenizer = withNames(['<x>'], 0, more)
    expect(tokenizer.vocabulary.types[first]).toBe(types.NORMAL)
    expect(tokenizer.info.addBos).toBe(true)
    expect(() => withNames([], 0, { ...more, 'tokenizer.ggml.add_bos_token': 2 })).toThrow(/expected a boolean/)
  })
})

describe('through the public API', () => {
  const folder = mkdtempSync(join(tmpdir(), 'octavo-markers-'))
  afterAll(() => rmSync(folder, { recursive: true, force: true }))
  const stories = fileURLToPath(new URL('../models/octavo-stories-q4_0.gguf', import.meta.url))
  const messages = [{ role: 'user' as const, content: 'Tell a story about a shy owl named Luna and a golden kite.' }]

  async function chat(...patches: Patch[]) {
    const model = patched(stories, join(folder, 'stories.gguf'), ...patches)
    const lines: string[] = []
    await using engine = await Engine.load({ model, threads: 1, onLog: (line) => lines.push(line) })
    const { tokens, finishReason, text, usage } = await engine.generate({ messages, temperature: 0, maxTokens: 600 })
      .result
    return { answer: { tokens, finishReason, text, promptTokens: usage.promptTokens }, lines: lines.join('\n') }
  }
  const typed = (type: number): Patch[] => [1, 2].map((id) => setElement('tokenizer.ggml.token_type', id, type))

  it.each(['USER_DEFINED', 'NORMAL'] as const)(
    '<|im_end|> is %s and not the end token: a chat ends as ever',
    async (type) => {
      const right = await chat()
      expect(right.answer.finishReason).toBe('stop')
      expect(right.lines).not.toMatch(/im_end/)
      const wrong = await chat(...typed(types[type]), setNumber('tokenizer.ggml.eos_token_id', 0))
      expect(wrong.answer).toEqual(right.answer)
      expect(wrong.lines).toMatch(
        new RegExp(`1 "<\\|im_start\\|>" \\(${type}\\), 2 "<\\|im_end\\|>" \\(${type}, ends a turn\\)`),
      )
    },
  )

  it('what is put right is told to the log', async () => {
    const { lines } = await chat(hideKey('tokenizer.ggml.pre'), setNumber('tokenizer.ggml.bos_token_id', 4294967295))
    expect(lines).toMatch(/tokenizer\.ggml\.pre is missing/)
    expect(lines).toMatch(/bos_token_id is 4294967295/)
  })

  it('a context beyond what the model was trained for is told to the log', async () => {
    const lines: string[] = []
    const load = (contextTokens: number) =>
      Engine.load({ model: stories, threads: 1, contextTokens, onLog: (line) => lines.push(line) })
    await (await load(512)).close()
    expect(lines.join()).not.toMatch(/trained/)
    const engine = await load(8192)
    expect(engine.model.trainedContextTokens).toBeLessThan(8192)
    await engine.close()
    expect(lines.join()).toMatch(
      `contextTokens is 8192, the model was trained for ${engine.model.trainedContextTokens}`,
    )
  })
})
