/**
 * What is given out of an output: text and ids of one answer agree, whatever cuts it. The truth is computed from the whole output at
 * once: a TextDecoder over all bytes, a search for stop texts, a naive split at the markers.
 */
import { describe, expect, it } from 'vitest'
import { greedySampling } from '../lib/base/native.ts'
import { TokenTable } from '../lib/host/output/detokenizer.ts'
import { OutputText } from '../lib/host/output/output-text.ts'
import { type ReasoningSpec, tokenRole } from '../lib/host/output/token-text.ts'
import { HostRequest } from '../lib/host/schedule/request.ts'
import type { RequestEnd, RequestSpec, StepPart } from '../lib/host/wire/protocol.ts'
import { endsInReasoning, reasoningMarkers, usualMarkers } from '../lib/text/reasoning-markers.ts'
import { random } from './random.ts'
import { same } from './same.ts'

/** Tokens of characters, pieces of characters, pieces of markers, and some without bytes: control tokens. */
const spelled: (string | Uint8Array)[] = [
  ...['a', 'b', 'ab', 'ba', 'aba', ' ', '\n', '\n\n', ' b', 'a\n', 'é', '😀', '🐀', '.'],
  ...[Uint8Array.of(0xc3), Uint8Array.of(0xa9), Uint8Array.of(0xf0, 0x9f), Uint8Array.of(0x98), Uint8Array.of(0x80)],
  ...[Uint8Array.of(0x61, 0xc3), Uint8Array.of(0xa9, 0x62), Uint8Array.of(0xff)],
  ...['<think>', '</think>', '<', '</', 'think', '>', '</thi', 'nk>\n', '', '', ''],
]
const bytesOf = spelled.map((text) => Buffer.from(text as string))
const table = new TokenTable({
  bytes: new Uint8Array(Buffer.concat(bytesOf)),
  offsets: Uint32Array.from([0, ...bytesOf.map((_, i) => Buffer.concat(bytesOf.slice(0, i + 1)).length)]),
})
const [control, opens, closes] = [spelled.length - 3, spelled.length - 2, spelled.length - 1]

const decode = (tokens: readonly number[]) => new TextDecoder('utf-8', { ignoreBOM: true }).decode(joined(tokens))
/** Without the beginning of a character at the end. */
const complete = (tokens: readonly number[]) =>
  new TextDecoder('utf-8', { ignoreBOM: true }).decode(joined(tokens), { stream: true })
const joined = (tokens: readonly number[]) => Buffer.concat(tokens.map((token) => bytesOf[token]!))

/** The first stop text to be complete, the longest of those that end there; where it begins. */
function firstStop(text: string, stops: string[]): number {
  for (let end = 1; end <= text.length; end++) {
    const here = stops.filter((stop) => text.slice(0, end).endsWith(stop)).sort((a, b) => b.length - a.length)
    if (here[0] !== undefined) return end - here[0].length
  }
  return -1
}

const sampling = { ...greedySampling, logprobs: 0, vocabulary: 100 }

function request(more: Partial<RequestSpec> = {}, end: number[] = []): HostRequest {
  const spec: RequestSpec = {
    ...{ id: 1, mode: 'generate', tokens: Int32Array.of(0), maxTokens: 1000, stop: [], ignoreEos: false, sampling },
    ...{ salt: '', askedAtMs: 0, ...more },
  }
  const { stop, reasoning } = spec
  return new HostRequest(spec, 2000, new Set(end), new OutputText(table, { stop, reasoning }))
}

interface Told {
  text: string
  reasoning: string
  /** Of the answer, of the reasoning, and all. */
  tokens: number[]
  thoughts: number[]
  ids: number[]
  logprobs: number[]
  end: RequestEnd | undefined
}

const told = (parts: StepPart[]): Told => {
  const all: Told = { text: '', reasoning: '', tokens: [], thoughts: [], ids: [], logprobs: [], end: undefined }
  for (const { text, reasoning = '', tokens, roles, logprobs = [], end } of parts) {
    all.text += text
    all.reasoning += reasoning
    all.ids.push(...tokens)
    tokens.forEach((token, i) => {
      const role = roles?.[i] ?? tokenRole.answer
      if (role === tokenRole.answer) all.tokens.push(token)
      if (role === tokenRole.reasoning) all.thoughts.push(token)
    })
    all.logprobs.push(...logprobs.map(({ token }) => token))
    all.end ??= end
  }
  return all
}

/** Draws tokens, takes a part after each few, and ends with 'length' or a cancel. */
function run(of: HostRequest, tokens: readonly number[], every: (n: number) => number, cancels = false): StepPart[] {
  const parts: StepPart[] = []
  const take = () => {
    const part = of.takePart()
    if (part !== undefined) parts.push(part)
  }
  for (const token of tokens) {
    if (of.end !== undefined) break
    of.accept(token, -1, undefined, 1)
    if (every(3) === 0) take()
  }
  of.finish(cancels ? 'cancelled' : 'length', 2)
  take()
  return parts
}

/** The longest run of tokens whose text lies wholly within `text`, which is a beginning of what all of them spell. */
function within(tokens: readonly number[], text: string): number[] {
  let most = 0
  for (let n = 1; n <= tokens.length; n++) {
    const [spelled, whole] = [decode(tokens.slice(0, n)), complete(tokens.slice(0, n))]
    // Tokens that share a character belong together.
    if (spelled === whole ? whole.length <= text.length : n === tokens.length && spelled === text) most = n
  }
  return tokens.slice(0, most)
}

const draws = (below: (n: number) => number, most: number) =>
  Array.from({ length: 1 + below(most) }, () => below(spelled.length - 2))

describe('text and ids of one answer agree', () => {
  it('for 3,000 random outputs, stop texts out of them, cuts and cancels: whatever was given out at any moment', () => {
    const below = random(1)
    let cuts = 0
    for (let round = 0; round < 3000; round++) {
      const tokens = draws(below, 24)
      const whole = decode(tokens)
      const stops = Array.from({ length: below(3) }, () => {
        const at = below(whole.length)
        return whole.slice(at, at + 1 + below(5)) || 'never'
      })
      const cut = firstStop(whole, stops)
      const text = cut < 0 ? whole : whole.slice(0, cut)
      const parts = run(request({ stop: stops }), tokens, below, below(4) === 0)
      // Except where a stop text cuts a token apart, at the end, ids spell their text at every moment.
      for (let n = 1; n < parts.length; n++) {
        const { text: sofar, ids } = told(parts.slice(0, n))
        same(decode(ids), sofar)
        same(parts[n - 1]!.tokens.length > 0 || parts[n - 1]!.text === '', true)
      }
      const all = told(parts)
      same(all.text, text)
      const expected = within(tokens, text)
      expect(all.ids).toEqual(expected)
      expect(all.logprobs).toEqual(expected)
      if (decode(expected) === text) cuts++
      else expect(text.startsWith(decode(expected))).toBe(true)
    }
    expect(cuts).toBeGreaterThan(1000)
  })

  it('when the end cuts a character apart: U+FFFD in the text, and the ids that it stands for', () => {
    const half = 14
    const { text, ids, end } = told(run(request(), [0, half], () => 0))
    expect([text, ids]).toEqual(['a\ufffd', [0, half]])
    expect(end).toMatchObject({ reason: 'length', generatedTokens: 2 })
  })

  it('when a stop text begins within a token: its text comes alone, at the end', () => {
    const { text, ids, end } = told(run(request({ stop: ['ba'] }), [3, 2, 2, 0], () => 0))
    // "ba", "ab", "ab": the second begins what ends in the third.
    expect([text, ids]).toEqual(['', []])
    expect(end).toMatchObject({ reason: 'stop', stop: { text: 'ba' }, generatedTokens: 1 })
    const later = told(run(request({ stop: ['ba'] }), [2, 2, 0], () => 0))
    expect([later.text, later.ids]).toEqual(['a', []])
    expect(later.end).toMatchObject({ reason: 'stop', generatedTokens: 2 })
  })

  it('after a restart, wherever the host died, held tokens included', () => {
    const below = random(2)
    for (let round = 0; round < 1500; round++) {
      const tokens = draws(below, 20)
      const whole = decode(tokens)
      const at = below(whole.length)
      const reasoning = [undefined, spec(), spec(true)][below(3)]
      const more = { stop: [whole.slice(at, at + 1 + below(4)) || 'never'], ...(reasoning && { reasoning }) }
      const parts = run(request(more), tokens, below)
      const expected = told(parts)
      for (let n = 0; n < parts.length; n++) {
        const { ids, text, reasoning: thought } = told(parts.slice(0, n))
        const delivered = { tokens: Int32Array.from(ids), text: text.length, reasoning: thought.length }
        const again = request({ ...more, resumed: { ...delivered, calls: 0, firstTokenAtMs: 1 } })
        const rest = run(again, tokens.slice(ids.length), below)
        expect(told([...parts.slice(0, n), ...rest])).toEqual(expected)
      }
    }
  })
})

/** The usual markers, as text or as control tokens. */
function spec(begun = false, asControl = false): ReasoningSpec {
  const tokens: [string, number][] = [
    ['<think>', opens],
    ['</think>', closes],
  ]
  return { ...usualMarkers, control: asControl ? tokens : [], begun }
}

/** Slow and obvious, for a whole output. */
function split(output: string, begun: boolean): { reasoning: string; text: string } {
  const begin = begun ? /^/.exec(output) : /^\s*<think>/.exec(output)
  if (begin === null) return { reasoning: '', text: output }
  const inside = output.slice(begin[0].length)
  const end = inside.indexOf('</think>')
  if (end < 0) return { reasoning: inside.trim(), text: '' }
  const thought = inside.slice(0, end).trim()
  const rest = split(inside.slice(end + '</think>'.length).trimStart(), false)
  return { reasoning: [thought, rest.reasoning].filter((part) => part !== '').join('\n\n'), text: rest.text }
}

describe('reasoning comes apart', () => {
  it('wherever tokens end, for 3,000 random outputs of pieces of markers, white space and text', () => {
    const below = random(3)
    let thoughts = 0
    for (let round = 0; round < 3000; round++) {
      const begun = below(2) === 0
      const tokens = [...(below(2) ? [22] : []), ...draws(below, 8), ...(below(3) ? [23] : []), ...draws(below, 8)]
      const { reasoning, text } = split(decode(tokens), begun)
      const cut = firstStop(text, ['ab'])
      const parts = run(request({ stop: ['ab'], reasoning: spec(begun) }), tokens, below)
      const all = told(parts)
      expect({ reasoning: all.reasoning, text: all.text }).toEqual({
        reasoning,
        text: cut < 0 ? text : text.slice(0, cut),
      })
      if (reasoning !== '') thoughts++
      // Ids of the answer spell it but for pieces of tokens at its ends.
      expect(all.text).toContain(decode(all.tokens).trim())
      expect(all.logprobs).toEqual(all.ids)
      expect(tokens.slice(0, all.ids.length)).toEqual(all.ids)
    }
    expect(thoughts).toBeGreaterThan(500)
  })

  it('in the same way whether the markers are text or control tokens', () => {
    const below = random(4)
    for (let round = 0; round < 1000; round++) {
      const begun = below(2) === 0
      const piece = () => draws(below, 6).map((token) => token % 14)
      const [before, thought, answer] = [below(2) ? [6] : [], piece(), piece()]
      const output = (open: number, close: number) => [
        ...before,
        ...(begun ? [] : [open]),
        ...thought,
        close,
        ...answer,
      ]
      const asText = told(run(request({ reasoning: spec(begun) }), output(22, 23), below))
      const asControl = told(run(request({ reasoning: spec(begun, true) }), output(opens, closes), below))
      const { ids: _, logprobs: _l, ...rest } = asText
      expect(asControl).toMatchObject(rest)
    }
  })

  it('in a stream: a part of reasoning, then a part of text, each with its ids', () => {
    const parts = run(request({ reasoning: spec() }), [22, 6, 0, 1, 6, 23, 7, 1, 0], () => 0)
    expect(parts.map(({ text, reasoning, tokens, roles }) => [reasoning, text, tokens, roles])).toEqual([
      [undefined, '', [22], [2]],
      [undefined, '', [6], [2]],
      ['a', '', [0], [1]],
      ['b', '', [1], [1]],
      [undefined, '', [6, 23], [2, 2]],
      [undefined, '', [7], [2]],
      [undefined, 'b', [1], [0]],
      [undefined, 'a', [0], [0]],
      [undefined, '', [], undefined],
    ])
  })

  it('stop texts are of the answer, not of the reasoning before it', () => {
    const more = { stop: ['ab'], reasoning: spec() }
    const { text, reasoning, end } = told(run(request(more), [22, 2, 23, 1, 2, 0], () => 0))
    expect([reasoning, text]).toEqual(['ab', 'b'])
    expect(end).toMatchObject({ reason: 'stop', stop: { text: 'ab' } })
  })

  it('an output that ends inside its reasoning has no text', () => {
    for (const finish of [false, true]) {
      const { text, reasoning, tokens, thoughts } = told(
        run(request({ reasoning: spec(true) }), [0, 1, 6], () => 0, finish),
      )
      expect([reasoning, text, tokens, thoughts]).toEqual(['ab', '', [], [0, 1]])
    }
  })

  it('a marker of text in the midst of an answer is text', () => {
    const tokens = [0, 22, 1, 23, 0]
    const { text, reasoning, ids } = told(run(request({ reasoning: spec() }), tokens, () => 0))
    expect([text, reasoning, ids]).toEqual(['a<think>b</think>a', '', tokens])
  })

  it('a marker that is a control token counts there, too', () => {
    const { text, reasoning } = told(
      run(request({ reasoning: spec(false, true) }), [0, opens, 1, closes, 7, 0], () => 0),
    )
    expect([text, reasoning]).toEqual(['aa', 'b'])
  })

  it('characters whose halves look like a control token’s stand-in stay whole', () => {
    // U+1F400 ends in the very unit that stands for the first control token.
    const { text, reasoning } = told(run(request({ reasoning: spec(true, true) }), [12, 12, closes, 12, 0], () => 0))
    expect([reasoning, text]).toEqual(['🐀🐀', '🐀a'])
  })

  it('channels: analysis is reasoning, the headers are nobody’s, and <|end|> ends a message, not the answer', () => {
    const names = ['<|channel|>', '<|message|>', '<|start|>', '<|end|>', '<|return|>']
    const words = ['analysis', 'final', 'assistant', 'Hm', 'Hi', '.', 'comment', 'ary']
    const all = [...names.map(() => ''), ...words].map((text) => Buffer.from(text))
    const offsets = Uint32Array.from([0, ...all.map((_, i) => Buffer.concat(all.slice(0, i + 1)).length)])
    const channels = new TokenTable({ bytes: new Uint8Array(Buffer.concat(all)), offsets })
    const markers = reasoningMarkers(
      '{{ "<|channel|>analysis" }}',
      names.map((text, id) => ({ id, text })),
    )!
    const say = (...output: string[]) => {
      const base = { id: 1, mode: 'generate', tokens: Int32Array.of(0), maxTokens: 100, stop: [] } as const
      const reasoning = { ...markers, begun: false }
      const of = new HostRequest(
        { ...base, stop: [], ignoreEos: false, sampling, salt: '', askedAtMs: 0, reasoning },
        2000,
        new Set([3, 4]),
        new OutputText(channels, { reasoning }),
      )
      const tokens = output.map((name) =>
        names.indexOf(name) >= 0 ? names.indexOf(name) : names.length + words.indexOf(name),
      )
      const { reasoning: thought, text, end } = told(run(of, tokens, () => 0))
      return [thought, text, end !== undefined && 'stop' in end ? end.stop : undefined]
    }
    const [channel, message, start, close, stop] = names as [string, string, string, string, string]
    const analysis = [channel, 'analysis', message, 'Hm', '.', close]
    const final = [start, 'assistant', channel, 'final', message, 'Hi', '.', stop]
    expect(say(...analysis, ...final)).toEqual(['Hm.', 'Hi.', { token: 4 }])
    expect(say(channel, 'analysis', message, 'Hm', channel, 'final', message, 'Hi', stop)).toEqual([
      ...['Hm', 'Hi', { token: 4 }],
    ])
    expect(say(...analysis, start, 'assistant', ...analysis, ...final)).toEqual(['Hm.\n\nHm.', 'Hi.', { token: 4 }])
    expect(say(...final)).toEqual(['', 'Hi.', { token: 4 }])
    expect(say(channel, 'comment', 'ary', message, 'Hi', close)).toEqual(['', 'Hi', { token: 3 }])
    expect(say(...analysis, start, 'assistant', channel, 'comment')).toEqual(['Hm.', '', undefined])
  })
})

describe('the markers of a model', () => {
  const tokens = (...texts: string[]) => texts.map((text, i) => ({ id: 100 + i, text }))

  it('are those that its template shows', () => {
    const opening = (template: string) => reasoningMarkers(template, [])?.open
    expect(opening("{{ content.split('</think>')[-1] }}")).toBe('<think>')
    expect(opening('[THINK]{{ thinking }}[/THINK]')).toBe('[THINK]')
    expect(opening('<seed:think>')).toBe('<seed:think>')
    expect(opening('<|START_THINKING|>')).toBe('<|START_THINKING|>')
    expect(opening('<|start|>assistant<|channel|>analysis<|message|>')).toBe('<|channel|>analysis<|message|>')
    expect(opening('<|channel>thought\n')).toBe('<|channel>thought')
    expect(opening('<|user|>{{ content }}<|end|>')).toBeUndefined()
  })

  it('or those of its vocabulary', () => {
    expect(reasoningMarkers(undefined, tokens('<think>', '</think>'))).toMatchObject({
      ...{
        open: '<think>',
        control: [
          ['<think>', 100],
          ['</think>', 101],
        ],
      },
    })
    expect(reasoningMarkers('', tokens('[THINK]'))).toBeUndefined()
    expect(reasoningMarkers('', tokens('<|end|>', '<|user|>'))).toBeUndefined()
  })

  it('open the answer where the prompt ends with them', () => {
    expect(endsInReasoning('<|im_start|>assistant\n<think>\n', usualMarkers)).toBe(true)
    expect(endsInReasoning('<|im_start|>assistant\n<think>\n\n</think>\n\n', usualMarkers)).toBe(false)
    expect(endsInReasoning('say <think> twice<|im_start|>assistant\n', usualMarkers)).toBe(false)
  })
})

it('tokens without text come with the text before them', () => {
  const parts = run(request({ stop: ['ab'] }), [1, 0, control, 0], () => 0)
  expect(parts.map(({ text, tokens }) => [text, tokens])).toEqual([
    ['b', [1]],
    ['a', [0, control]],
    ['a', [0]],
  ])
})
