/** Text and ids of one answer agree, on the embedded model: what a reader was shown is what the ids spell, and what a session goes on from. */
import type { GenerateOptions, Generation, GenerationPart, GenerationResult } from 'octavo'
import { Engine } from 'octavo'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { TokenTable } from '../lib/host/output/detokenizer.ts'
import { vocabularyFromGguf } from '../lib/text/vocabulary/gguf-tokenizer.ts'
import { tokenBytes } from '../lib/text/vocabulary/vocabulary.ts'
import { enginesOf } from './child-processes.ts'
import { ggufMetadata } from './gguf-metadata.ts'
import { random } from './random.ts'

const bytes = new TokenTable(tokenBytes(vocabularyFromGguf(ggufMetadata('models/octavo-stories-q4_0.gguf'))).table)
/** All bytes at once. */
const spell = (ids: readonly number[]) =>
  new TextDecoder('utf-8', { ignoreBOM: true }).decode(Buffer.concat(ids.map((id) => bytes.bytes(id))))

/** The first number of tokens from `least` on that do not end within a character. */
function wholeCharacters(ids: readonly number[], least: number): number {
  const open = (n: number) => {
    const decoder = new TextDecoder('utf-8', { ignoreBOM: true })
    return (
      decoder.decode(Buffer.concat(ids.slice(0, n).map((id) => bytes.bytes(id))), { stream: true }) !==
      spell(ids.slice(0, n))
    )
  }
  let n = least
  while (n < ids.length && open(n)) n++
  return n
}

let engine: Engine
beforeAll(async () => {
  engine = await Engine.load({ model: 'stories' })
})
afterAll(() => engine.close())

const prompts = ['Once upon a time', 'The little fox', 'Tell me about the sea, said', 'A red kite and', 'é 😀 ñ']
/** Hot: words are broken into pieces, and characters into bytes. */
const drawn = (below: (n: number) => number, i: number): GenerateOptions => ({
  ...{ prompt: prompts[i % prompts.length]!, seed: i, temperature: [0.8, 1.5, 4][i % 3]!, topK: 0, topP: 1 },
  ...{ maxTokens: 1 + below(60), ignoreEos: i % 2 === 0, logprobs: 0 },
})

const unit = (text: string) => text.length > 0

interface Read {
  parts: GenerationPart[]
  result: GenerationResult
}

async function read(generation: Generation, cancelAt = Number.POSITIVE_INFINITY): Promise<Read> {
  const parts: GenerationPart[] = []
  for await (const part of generation) {
    parts.push(part)
    // What came so far is spelled by its ids, at every moment.
    const { text, tokens } = generation.partial
    expect(text.startsWith(spell(tokens).replace(/\ufffd$/, ''))).toBe(true)
    if (parts.length >= cancelAt) generation.cancel()
  }
  return { parts, result: await generation.result }
}

/** The agreement of a whole answer, given what the same request gives without stop texts. */
function expectAgreement({ parts, result }: Read, whole: GenerationResult, stops: string[]): void {
  const { text, tokens, logprobs, finishReason, stop, usage } = result
  expect(parts.map((part) => part.text).join('')).toBe(text)
  expect(parts.flatMap((part) => part.tokens)).toEqual(tokens)
  expect(logprobs?.map(({ token }) => token) ?? []).toEqual(tokens)
  for (const part of parts.slice(0, -1)) expect(unit(part.text) && part.tokens.length === 0).toBe(false)
  expect(tokens).toEqual(whole.tokens.slice(0, tokens.length))
  expect(usage.completionTokens).toBeGreaterThanOrEqual(tokens.length)
  if (stop?.text !== undefined) {
    expect(stops).toContain(stop.text)
    const at = whole.text.indexOf(stop.text)
    expect(text).toBe(whole.text.slice(0, at))
    // Not one token more is spelled by the text: the next ones, up to whole characters, go beyond it.
    expect(text.startsWith(spell(tokens))).toBe(true)
    const next = spell(whole.tokens.slice(0, wholeCharacters(whole.tokens, tokens.length + 1)))
    expect(next.startsWith(text) && next.length > text.length).toBe(true)
    expect(finishReason).toBe('stop')
  } else {
    expect(spell(tokens)).toBe(text)
    for (const each of stops) expect(text).not.toContain(each)
  }
}

function stopsIn(text: string, below: (n: number) => number): string[] {
  const cut = () => {
    const at = below(Math.max(1, text.length))
    return text.slice(at, at + 1 + below(12))
  }
  const looksLike = cut()
  return [...Array.from({ length: below(3) }, cut), `${looksLike}\u0000never`].filter(unit)
}

describe('text and ids of one answer agree', () => {
  const count = process.env.OCTAVO_DEEP ? 400 : 160
  it(`for ${count} generations: stop texts out of what the model says, cancels and lengths at random`, async () => {
    const below = random(1)
    const one = async (i: number) => {
      const ask = drawn(below, i)
      const stop = ask.maxTokens === 1 ? [] : undefined
      const cancelAt = below(3) === 0 ? 1 + below(4) : undefined
      const whole = await engine.generate(ask).result
      const stops = stop ?? stopsIn(whole.text, below)
      const answer = await read(engine.generate({ ...ask, stop: stops }), cancelAt)
      expectAgreement(answer, whole, stops)
      expect(await engine.detokenize(answer.result.tokens)).toBe(spell(answer.result.tokens))
    }
    for (let i = 0; i < count; i += 8) await Promise.all(Array.from({ length: 8 }, (_, j) => one(i + j)))
  }, 120_000)

  it('after kill -9 of the engine in the midst of it, with tokens that were held back', async () => {
    const below = random(2)
    const deaths: string[] = []
    const onLog = (line: string) => line.includes('started again') && deaths.push(line)
    await using isolated = await Engine.load({ model: 'stories', isolation: 'process', restart: true, onLog })
    const asks = Array.from({ length: 24 }, (_, i) => ({ ...drawn(below, i), maxTokens: 150 + below(100) }))
    const wholes = await Promise.all(asks.map((ask) => engine.generate(ask).result))
    const stops = wholes.map(({ text }) => {
      const at = text.length - 1 - below(text.length >> 1)
      // Held back again and again: beginnings of the stop text are all over the output.
      return [text.slice(at, at + 9), `${text.slice(at - 20, at)}\u0000`, ' \u0000', 'e\u0000', '\ufffd\u0000'].filter(
        unit,
      )
    })
    const undisturbed = await Promise.all(asks.map((ask, i) => engine.generate({ ...ask, stop: stops[i] }).result))
    const generations = asks.map((ask, i) => isolated.generate({ ...ask, stop: stops[i]! }))
    let open = generations.length
    const running = generations.map((generation) => read(generation).finally(() => open--))
    const until = async (what: () => boolean) => {
      while (!what()) await new Promise((resolve) => setTimeout(resolve, 2))
    }
    const came = () => generations.reduce((sum, { partial }) => sum + partial.tokens.length, 0)
    for (const death of [1, 2]) {
      const before = came()
      await until(() => came() > before + 150 || open === 0)
      // One that has just been started has no name yet.
      await until(() => enginesOf(process.pid).length > 0)
      for (const pid of enginesOf(process.pid)) process.kill(pid, 'SIGKILL')
      await until(() => deaths.length === death)
    }
    for (const [i, answer] of (await Promise.all(running)).entries()) {
      expectAgreement(answer, wholes[i]!, stops[i]!)
      const { text, tokens, logprobs, stop, finishReason, usage } = undisturbed[i]!
      expect(answer.result).toMatchObject({ text, tokens, finishReason, ...(stop && { stop }) })
      expect(answer.result.logprobs).toEqual(logprobs)
      expect(answer.result.usage.completionTokens).toBe(usage.completionTokens)
    }
  }, 60_000)

  it('a session goes on from the text it shows, where a stop text ended a turn too', async () => {
    const ask = 'Tell a story about a shy owl named Luna.'
    const greedy = { temperature: 0, maxTokens: 60 } as const
    const { text } = await engine.generate({ messages: [{ role: 'user', content: ask }], ...greedy }).result
    for (let at = 3; at < text.length - 20; at += 17) {
      const session = engine.session()
      const stop = text.slice(at, at + 3 + (at % 20))
      const first = await session.generate(ask, { ...greedy, stop }).result
      expect(text.startsWith(first.text)).toBe(true)
      const next = 'What was the owl called?'
      const history = [...session.history, { role: 'user', content: next }]
      const second = await session.generate(next, { ...greedy, maxTokens: 8 }).result
      const told = await engine.generate({ messages: history, ...greedy, maxTokens: 8 }).result
      expect([second.usage.promptTokens, second.tokens]).toEqual([told.usage.promptTokens, told.tokens])
    }
  })

  it('a length that cuts a character apart: U+FFFD, and the ids that it stands for', async () => {
    const [first] = await engine.tokenize('é')
    const cut = await engine.generate({ prompt: 'A', maxTokens: 1, temperature: 0, logitBias: { [first!]: 200 } })
      .result
    expect(cut).toMatchObject({ text: '\ufffd', tokens: [first], finishReason: 'length' })
    expect(await engine.detokenize(cut.tokens)).toBe(cut.text)
  })

  it('usage counts the tokens of a stop text, which no part brings', async () => {
    const greedy = { prompt: 'Once upon a time', temperature: 0, maxTokens: 40, ignoreEos: true }
    const { tokens } = await engine.generate(greedy).result
    const stop = await engine.detokenize(tokens.slice(10, 14))
    const stopped = await engine.generate({ ...greedy, stop }).result
    expect(stopped.tokens).toEqual(tokens.slice(0, 10))
    expect(stopped.usage.completionTokens).toBe(14)
  })
})
