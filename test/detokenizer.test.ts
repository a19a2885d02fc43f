import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { TokenTable } from '../lib/host/output/detokenizer.ts'
import { vocabularyFromJson } from '../lib/text/vocabulary/json-tokenizer.ts'
import { tokenBytes } from '../lib/text/vocabulary/vocabulary.ts'

const golden = (name: string) => readFileSync(new URL(`./goldens/${name}.json`, import.meta.url), 'utf8')
const bytes = tokenBytes(vocabularyFromJson(golden('stories-tokenizer'))).table
const table = new TokenTable(bytes)
const size = bytes.offsets.length - 1

/** mulberry32: a seeded generator, so that a failure can be repeated. */
function generator(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

const whole = (ids: number[]) =>
  new TextDecoder('utf-8', { ignoreBOM: true }).decode(Buffer.concat(ids.map((id) => Buffer.from(table.bytes(id)))))

/** Tokens of one byte each, in the order of the bytes: 'the id of byte b'. */
const ofByte = new Map(
  Array.from({ length: size }, (_, id) => id)
    .filter((id) => table.bytes(id).length === 1)
    .map((id) => [table.bytes(id)[0]!, id]),
)
const spell = (text: string | Uint8Array) => Array.from(Buffer.from(text as string), (byte) => ofByte.get(byte)!)

function streamed(ids: number[], options = {}): string[] {
  const stream = table.stream(options)
  return [...ids.map((id) => stream.push(id)), stream.end()]
}

describe('a stream of tokens', () => {
  it('joined is the text of all bytes at once, for random ids, half of them single bytes', () => {
    const random = generator(7)
    for (let round = 0; round < 2000; round++) {
      const ids = Array.from({ length: 1 + Math.floor(random() * 24) }, () =>
        random() < 0.5 ? ofByte.get(Math.floor(random() * 256))! : Math.floor(random() * size),
      )
      expect(streamed(ids).join('')).toBe(whole(ids))
      expect(table.decode(ids)).toBe(whole(ids))
    }
  })

  it('never shows a part of a character', () => {
    for (const text of ['naïve 😀 你好', '👩‍👩‍👧‍👦', '\ufeffBOM\ufeff', 'e\u0301\u{10ffff}']) {
      const parts = streamed(spell(text))
      expect(parts.join('')).toBe(text)
      for (const part of parts) expect(part).not.toContain('\ufffd')
      expect(parts.filter((part) => part !== '').length).toBe([...text].length)
    }
  })

  it('ends with U+FFFD when a character stays incomplete, at every cut', () => {
    const ids = spell('a😀')
    for (let cut = 2; cut < ids.length; cut++) {
      const parts = streamed(ids.slice(0, cut))
      expect(parts.slice(0, -1).join('')).toBe('a')
      expect(parts.at(-1)).toBe('\ufffd')
    }
  })

  it('gives invalid bytes as U+FFFD and goes on', () => {
    expect(streamed(spell(Uint8Array.of(0x41, 0xff, 0xc3, 0x28, 0x42))).join('')).toBe('A\ufffd\ufffd(B')
  })

  it('gives control tokens and ids outside the vocabulary no text, inside a character too', () => {
    const [first, ...rest] = spell('é')
    expect(streamed([0, first!, 1, 99999, -1, ...rest, 2]).join('')).toBe('é')
  })

  it('drops one leading space when asked to', () => {
    expect(streamed(spell('  a b'), { dropPrefixSpace: true }).join('')).toBe(' a b')
    expect(streamed([0, ...spell('a b')], { dropPrefixSpace: true }).join('')).toBe('a b')
    expect(streamed(spell('  a')).join('')).toBe('  a')
  })

  it('streams that share a table do not touch one another', () => {
    const [a, b] = [table.stream(), table.stream()]
    const ids = spell('é')
    expect([a.push(ids[0]!), b.push(ids[0]!), a.push(ids[1]!), b.end()]).toEqual(['', '', 'é', '\ufffd'])
  })
})
