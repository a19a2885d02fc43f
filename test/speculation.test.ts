/** Speculation as a user of the library sees it: fewer steps, and the very answers of an engine that never guesses. */
import { fileURLToPath } from 'node:url'
import type { GenerateOptions, GenerationResult, LoadOptions } from 'octavo'
import { Engine } from 'octavo'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { enginesOf } from './child-processes.ts'
import { expectIdle } from './embedded-engine.ts'

const draft = fileURLToPath(new URL('../models/octavo-stories-draft-q4_0.gguf', import.meta.url))

const tale = 'The little fox went to the river. The river was cold and wide. The little fox sat down and said,'
const prompts = ['Once upon a time', tale, `${tale} "I am cold." ${tale}`, 'A red kite and a blue kite. A red kite and']
const kinds: GenerateOptions[] = [
  { temperature: 0 },
  { temperature: 0.7, seed: 1 },
  { temperature: 1, topP: 0.9, topK: 0, seed: 2, logprobs: 2 },
  { temperature: 1, minP: 0.1, seed: 3 },
  { temperature: 0.8, repetitionPenalty: 1.1, frequencyPenalty: 0.2, presencePenalty: 0.1, seed: 4, logprobs: 0 },
  { temperature: 0, stop: ['the end', ' was', 'ing.'], logitBias: { 20: 2 } },
]
const requests: GenerateOptions[] = prompts.flatMap((prompt, p) =>
  kinds.map((kind, k) => ({ prompt, ...kind, maxTokens: 40 + 20 * ((p + k) % 4), ignoreEos: k % 2 === 0 })),
)

/** What an answer is, apart from its times and what the prefix cache gave. */
const answer = ({ text, tokens, logprobs, finishReason, usage }: GenerationResult) => {
  const { promptTokens, completionTokens } = usage
  return { text, tokens, logprobs, finishReason, promptTokens, completionTokens }
}

const load = (options: Partial<LoadOptions> = {}) =>
  Engine.load({ model: 'stories', contextTokens: 400, internal: { checkBlocks: true }, ...options })

/** All requests, so many at a time. */
async function ask(engine: Engine, batch: number, of = requests): Promise<GenerationResult[]> {
  const results: GenerationResult[] = []
  for (let i = 0; i < of.length; i += batch)
    results.push(...(await Promise.all(of.slice(i, i + batch).map((request) => engine.generate(request).result))))
  return results
}

async function until(what: () => boolean): Promise<void> {
  while (!what()) await new Promise((resolve) => setTimeout(resolve, 5))
}

const short = requests.map((request) => ({ ...request, maxTokens: 60 }))

/** The answers of an engine that never guesses. */
let plain: ReturnType<typeof answer>[]
let plainShort: ReturnType<typeof answer>[]
beforeAll(async () => {
  const engine = await load({ speculation: 'off' })
  plain = (await ask(engine, 8)).map(answer)
  plainShort = (await ask(engine, 24, short)).map(answer)
  expect(engine.stats().drafts).toEqual({ proposed: 0, accepted: 0, stepsSaved: 0 })
  await engine.close()
})

/** With memory for a few of the requests. */
const kindsOfSpeculation: [string, LoadOptions['speculation'], string][] = [
  ['auto', 'auto', '640KiB'],
  ['the own text', { drafters: ['ngram'], drafts: 4 }, '640KiB'],
  ["the tenant's texts, as many as there can be", { drafters: ['shared'], drafts: 15 }, '640KiB'],
  ['a draft model', { drafters: [{ model: draft }], drafts: 4 }, '800KiB'],
  ['a draft model that is the model', { drafters: [{ model: 'stories', maxDrafts: 3 }], drafts: 3 }, '1280KiB'],
  ['all of them, as many as pay', { drafters: ['ngram', 'shared', { model: draft, maxDrafts: 5 }] }, '800KiB'],
]

/** So many requests at a time: each kind with one of these numbers, each number with two kinds. All: npm run test:deep. */
const batches = [1, 5, 16]
const batchesOf = (name: string) => {
  const place = kindsOfSpeculation.findIndex(([one]) => one === name)
  return process.env.OCTAVO_DEEP ? batches : [batches[place % batches.length]!]
}

describe.each(kindsOfSpeculation)('guesses of %s', (name, speculation, memory) => {
  it.each(batchesOf(name))('change no answer, %d requests at a time', async (batch) => {
    const engine = await load({ speculation })
    const results = await ask(engine, batch)
    expect(results.map(answer)).toEqual(plain)
    const { proposed, accepted, stepsSaved } = engine.stats().drafts
    // Where only as many are made as pay, their number is the machine's: it may be few.
    const isFixed = typeof speculation === 'object' && speculation.drafts !== undefined
    expect(proposed).toBeGreaterThan(isFixed ? 50 : 0)
    if (isFixed) expect(accepted).toBeGreaterThan(0)
    expect(accepted).toBeLessThanOrEqual(proposed)
    expect(stepsSaved).toBeLessThanOrEqual(accepted)
    const each = results.map(({ timings }) => timings.speculation ?? { proposed: 0, accepted: 0, stepsSaved: 0 })
    expect(each.reduce((sum, { proposed }) => sum + proposed, 0)).toBeLessThanOrEqual(proposed)
    expect(each.reduce((sum, { stepsSaved }) => sum + stepsSaved, 0)).toBe(stepsSaved)
    for (const { timings } of results) {
      if (timings.speculation === undefined) continue
      expect(timings.speculation.acceptanceByPosition.length).toBeGreaterThan(0)
      for (const share of timings.speculation.acceptanceByPosition) expect(share >= 0 && share <= 1).toBe(true)
    }
    expectIdle(engine)
    await engine.close()
  })

  it('change no answer when requests preempt each other', async () => {
    const engine = await load({ speculation, kv: { memory }, contextTokens: 200 })
    expect((await ask(engine, 24, short)).map(answer)).toEqual(plainShort)
    expect(engine.stats().preemptions).toBeGreaterThan(0)
    expect(engine.stats().drafts.proposed).toBeGreaterThan(0)
    expectIdle(engine)
    await engine.close()
  })
})

describe('a model that guesses for itself', () => {
  it('is right every time, at every temperature, and saves the steps', async () => {
    const engine = await load({ speculation: { drafters: [{ model: 'stories' }], drafts: 3 }, prefixCache: false })
    // No guess is kept past the end of a text.
    const logitBias = Object.fromEntries(engine.model.eosIds.map((id) => [id, -100]))
    const options = { prompt: tale, maxTokens: 80, ignoreEos: true, logitBias }
    await engine.generate({ ...options, maxTokens: 10 }).result
    for (const temperature of [0, 0.7, 1.5]) {
      const { timings } = await engine.generate({ ...options, temperature, seed: 5 }).result
      const { proposed, accepted, acceptanceByPosition } = timings.speculation!
      expect(accepted).toBe(proposed)
      expect(proposed).toBeGreaterThanOrEqual(54)
      expect(acceptanceByPosition).toEqual([1, 1, 1])
      // Four tokens a step share its time: the middle one of all gaps is some time, not none.
      expect(timings.interTokenMs.p50).toBeGreaterThan(0)
      expect(timings.interTokenMs.p50).toBeLessThanOrEqual(timings.interTokenMs.p99)
    }
    await engine.close()
  })
})

describe('an isolated engine that guesses', () => {
  let engine: Engine
  const log: string[] = []
  beforeAll(async () => {
    const speculation = {
      drafters: ['ngram', 'shared', { model: draft }],
      drafts: 5,
    } satisfies LoadOptions['speculation']
    const onLog = (line: string) => line.includes('started again') && log.push(line)
    engine = await load({ speculation, isolation: 'process', restart: true, onLog })
  })
  afterAll(() => engine.close())

  it('gives the same answers when it is killed in the middle', async () => {
    const results = Promise.all(requests.map((request) => engine.generate(request).result))
    for (let deaths = 0; deaths < 2; deaths++) {
      await until(() => enginesOf(process.pid).length > 0)
      await new Promise((resolve) => setTimeout(resolve, 40))
      for (const pid of enginesOf(process.pid)) process.kill(pid, 'SIGKILL')
      await until(() => log.length > deaths)
    }
    expect((await results).map(answer)).toEqual(plain)
    expect(engine.stats().drafts.proposed).toBeGreaterThan(0)
  })
})

describe('speculation as an option', () => {
  it('is off for a request that wants none', async () => {
    const engine = await load({ speculation: { drafters: ['ngram'], drafts: 4 } })
    const { timings, ...rest } = await engine.generate({ ...requests[6]!, speculation: 'off' }).result
    expect(timings.speculation).toBeUndefined()
    expect(engine.stats().drafts.proposed).toBe(0)
    const guessed = await engine.generate(requests[6]!).result
    expect(guessed.timings.speculation?.proposed).toBeGreaterThan(0)
    expect(answer(guessed)).toEqual(answer({ timings, ...rest }))
    await engine.close()
  })

  it.each([
    ['another word', 'on'],
    ['a drafter that is not there', { drafters: ['tree'] }],
    ['no drafter', { drafters: [] }],
    ['too many guesses', { drafters: ['ngram'], drafts: 16 }],
    ['too many of a model', { drafters: [{ model: draft, maxDrafts: 99 }] }],
  ])('refuses %s', async (_what, speculation) => {
    const loading = async () => load({ speculation: speculation as 'auto' })
    await expect(loading()).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
  })

  it('refuses a draft model that is not there, and one with another vocabulary', async () => {
    const missing = { drafters: [{ model: '/nowhere/draft.gguf' }] }
    await expect(load({ speculation: missing })).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' })
    const other = { drafters: [{ model: 'synthetic:smollm2-135m' }] }
    await expect(load({ speculation: other })).rejects.toMatchObject({ code: 'MODEL_UNSUPPORTED' })
  })

  it('counts the memory of a draft model', async () => {
    const lines: string[] = []
    const speculation = { drafters: [{ model: draft }] }
    const engine = await load({ speculation, onLog: (line) => lines.push(line) })
    expect(lines.some((line) => line.includes('octavo-stories-draft') && line.includes('MiB'))).toBe(true)
    await engine.close()
    await expect(load({ speculation, kv: { memory: '1TiB' } })).rejects.toMatchObject({
      code: 'OUT_OF_MEMORY',
    })
  })
})
