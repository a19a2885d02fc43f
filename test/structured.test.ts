/** Answers with a form through the public API: form, types, errors, and the same tokens whatever happens around them. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { deserialize } from 'node:v8'
import type { GenerateOptions, Generation, Session } from 'octavo'
import { Engine } from 'octavo'
import { afterAll, beforeAll, describe, expect, expectTypeOf, it } from 'vitest'
import { z } from 'zod'
import * as mini from 'zod/mini'
import { partialOf } from '../lib/answers/partial-json.ts'
import { native } from '../lib/base/native.ts'
import type { StepRecord } from '../lib/host/record/step-recorder.ts'
import { openCheckpoint } from '../lib/model/checkpoint.ts'
import { enginesOf } from './child-processes.ts'
import { collect, expectIdle, story, withEngine } from './embedded-engine.ts'
import { validator } from './grammar-tools.ts'
import { refusal } from './refusal.ts'
import { expectNothingUnhandled } from './unhandled.ts'

let engine: Engine
beforeAll(async () => {
  engine = await Engine.load({ model: 'stories' })
})
afterAll(() => engine.close())
expectNothingUnhandled()

const wild = { temperature: 1.5, topK: 0, topP: 1 } as const
const animal = z.object({
  name: z.string().max(12),
  age: z.int().min(0).max(120),
  colours: z.array(z.enum(['red', 'green', 'blue'])).max(3),
  born: z.iso.date().optional(),
})
const animalSchema = {
  type: 'object',
  properties: { name: { type: 'string', maxLength: 12 }, wild: { type: 'boolean' }, legs: { enum: [2, 4, 8] } },
  required: ['name', 'legs'],
  additionalProperties: false,
}

const changedByZod = z.object({
  age: z
    .int()
    .min(1)
    .max(9)
    .transform((n) => -n),
  kind: z.literal('x').default('x'),
})

describe('an answer with a form', () => {
  it('of a zod type comes as a value of it', async () => {
    for (let seed = 0; seed < 10; seed++) {
      const { object, finishReason, text } = await engine.generate({ ...story, schema: animal, seed, ...wild }).result
      expect(finishReason).toBe('stop')
      expect(object).toEqual(animal.parse(JSON.parse(text)))
    }
  })

  it('of a JSON Schema is what ajv validates', async () => {
    const valid = validator(animalSchema)
    for (let seed = 0; seed < 10; seed++) {
      const { object, text } = await engine.generate({ prompt: 'The fox', schema: animalSchema, seed, ...wild }).result
      expect([text, valid(object)]).toEqual([text, true])
      expect(object).toEqual(JSON.parse(text))
    }
  })

  it('goes through zod: defaults and transforms', async () => {
    const { object } = await engine.generate({ prompt: 'The fox', schema: changedByZod, seed: 1 }).result
    expect(object!.age).toBeLessThan(0)
    expect(object!.kind).toBe('x')
  })

  it('of zod/mini, whose types have no method for it, and of any copy of zod', async () => {
    const schema = mini.object({ age: mini.int().check(mini.minimum(1), mini.maximum(9)) })
    const { object } = await engine.generate({ prompt: 'The fox', schema, seed: 1 }).result
    expectTypeOf(object).toEqualTypeOf<{ age: number } | undefined>()
    expect(schema.safeParse(object).success).toBe(true)
  })

  it('that zod refuses for reasons no grammar knows is OBJECT_INVALID', async () => {
    const schema = z
      .int()
      .min(1)
      .max(9)
      .refine(() => false, 'never')
    await expect(engine.generate({ prompt: 'The fox', schema }).result).rejects.toMatchObject({
      ...{
        code: 'OBJECT_INVALID',
        details: { text: expect.stringMatching(/^\d$/), issues: [{ message: 'never', path: '' }] },
      },
    })
  })

  it('that a transform cannot take is OBJECT_INVALID, too', async () => {
    const fails = z.literal('x').transform(() => {
      throw new Error('no')
    })
    const waits = z.literal('x').refine(async () => true)
    for (const schema of [fails, waits])
      await expect(engine.generate({ prompt: 'The fox', schema }).result).rejects.toMatchObject({
        code: 'OBJECT_INVALID',
      })
  })

  it('that reaches maxTokens has no value, but what was written of it', async () => {
    const options = { prompt: 'The fox', schema: z.array(z.string()).min(50), maxTokens: 20 }
    const { object, finishReason, partial, text } = await engine.generate(options).result
    expect([object, finishReason]).toEqual([undefined, 'length'])
    expect(partial!.length).toBeGreaterThan(0)
    const [last, whole] = [partial!.at(-1)!, partial!.slice(0, -1)]
    expect(text.replaceAll(/\s/g, '')).toContain(JSON.stringify(whole).slice(0, -1).replaceAll(/\s/g, ''))
    expect(text).toContain(JSON.stringify(last).slice(1, -1))
  })

  it('that ends before its value began has none', async () => {
    const cancelled = engine.generate({ prompt: 'The fox', schema: animal })
    cancelled.cancel()
    const { partial, finishReason } = await cancelled.result
    expect([partial, finishReason]).toEqual([undefined, 'cancelled'])
  })

  it('that a stop string cuts has no value', async () => {
    const options = { prompt: 'The fox', schema: animal, stop: '"age"', seed: 1 }
    const { object, finishReason, partial } = await engine.generate(options).result
    expect([object, finishReason, Object.keys(partial!)]).toEqual([undefined, 'stop', ['name']])
  })

  it('that a stop token of the caller cuts has no value, and no error', async () => {
    const whole = await engine.generate({ prompt: 'The fox', schema: animal, seed: 1 }).result
    const stopTokens = [whole.tokens.at(-2)!]
    const { object, finishReason, text } = await engine.generate({
      prompt: 'The fox',
      schema: animal,
      seed: 1,
      stopTokens,
    }).result
    expect([object, finishReason]).toEqual([undefined, 'stop'])
    expect(whole.text.startsWith(text) && text.length < whole.text.length).toBe(true)
  })

  it('by regex, choice and rules', async () => {
    const ask = async (grammar: GenerateOptions['grammar'], seed: number) =>
      (await engine.generate({ prompt: 'The fox', grammar, seed, ...wild }).result).text
    const seen = new Set<string>()
    for (let seed = 0; seed < 8; seed++) {
      expect(await ask({ regex: /(\d{3}-){2}[a-c]+x?/u }, seed)).toMatch(/^(\d{3}-){2}[a-c]+x?$/u)
      expect(await ask({ regex: 'a|bc' }, seed)).toMatch(/^(a|bc)$/)
      expect(await ask({ ebnf: 'root ::= "[" item ("," item){0,3} "]"\nitem ::= [0-9]{1,3} | "x"' }, seed)).toMatch(
        /^\[.*\]$/,
      )
      seen.add(await ask({ choice: ['yes', 'no', 'both'] }, seed))
    }
    for (const one of seen) expect(['yes', 'no', 'both']).toContain(one)
    expect(seen.size).toBeGreaterThan(1)
  })

  it('streams like any other', async () => {
    const generation = engine.generate({ ...story, schema: animal, seed: 3, ...wild })
    const parts = await collect(generation)
    const { text, tokens } = await generation.result
    expect(parts.map((part) => part.text).join('')).toBe(text)
    expect(parts.flatMap((part) => part.tokens)).toEqual(tokens)
  })

  it('streams its value as far as it is written', async () => {
    // More tokens than four parts hold.
    const schema = z.array(animal).min(4).max(6)
    const generation = engine.generate({ ...story, schema, seed: 3, ...wild })
    let text = ''
    const seen: unknown[] = []
    for await (const part of generation) {
      text += part.text
      expect(part.partial).toEqual(partialOf(text))
      seen.push(part.partial)
    }
    const result = await generation.result
    expect(seen.at(-1)).toEqual(result.object)
    expect('partial' in result).toBe(false)
    expect(new Set(seen.map((value) => JSON.stringify(value))).size).toBeGreaterThan(3)
    const free = engine.generate({ ...story, seed: 3, maxTokens: 5 })
    for await (const part of free) expect('partial' in part).toBe(false)
  })

  it('streams it to those who read late, and before zod changes it', async () => {
    const generation = engine.generate({ prompt: 'The fox', schema: changedByZod, seed: 1 })
    const { object } = await generation.result
    const parts = await collect(generation)
    const last = parts.at(-1)!.partial as { age: number }
    expect(last.age).toBe(-object!.age)
  })

  it('in a session, in samples', async () => {
    const session = engine.session()
    const first = await session.generate('A fox?', { schema: animal, seed: 1, ...wild }).result
    expect(animal.safeParse(first.object).success).toBe(true)
    const second = await session.generate('Another?', { grammar: { choice: ['yes', 'no'] }, seed: 2 }).result
    expect(['yes', 'no']).toContain(second.text)
    const samples = engine.samples({ prompt: 'The fox', schema: animalSchema, seed: 5, ...wild }, 4)
    const results = await Promise.all(samples.map((sample) => sample.result))
    expect(results.every(({ object }) => validator(animalSchema)(object))).toBe(true)
    const alone = await engine.generate({ prompt: 'The fox', schema: animalSchema, seed: 7, ...wild }).result
    expect(results[2]!.tokens).toEqual(alone.tokens)
  })

  it('with log-probabilities, which know nothing of it', async () => {
    const grammar = { choice: ['zebra', 'quartz'] }
    const { logprobs, tokens } = await engine.generate({ prompt: 'The fox', grammar, logprobs: 3, seed: 1 }).result
    const free = await engine.generate({ prompt: 'The fox', maxTokens: 1, logprobs: 3, seed: 1 }).result
    expect(logprobs![0]!.top).toEqual(free.logprobs![0]!.top)
    const scored = await engine.score({ prompt: [...(await engine.tokenize('The fox')), ...tokens] })
    expect(logprobs!.map(({ logprob }) => logprob)).toEqual(scored.logprobs.slice(-tokens.length))
  })
})

describe('what is refused', () => {
  it.each([
    [{ schema: 5 }, 'schema'],
    [{ schema: [] }, 'schema'],
    [{ grammar: { regex: 'a', choice: ['b'] } }, 'grammar'],
    [{ grammar: { choice: [] } }, 'grammar.choice'],
    [{ grammar: 'a' }, 'grammar'],
    [{ grammar: { regex: /a/i } }, 'grammar'],
    [{ schema: {}, reasoning: 'split' }, 'reasoning'],
    [{ schema: {}, grammar: { regex: 'a' } }, 'grammar'],
    [{ schema: {}, ignoreEos: true }, 'ignoreEos'],
  ])('%j', (options, option) => {
    const error = refusal(() => engine.generate({ prompt: 'x', ...options } as GenerateOptions))
    expect([error.code, error.details.option]).toEqual(['INVALID_ARGUMENT', option])
  })

  it('a zod type without a JSON Schema, and a schema that is no data', () => {
    const circular: Record<string, unknown> = {}
    circular.properties = { circular }
    for (const schema of [z.date(), z.map(z.string(), z.string()), circular])
      expect(refusal(() => engine.generate({ prompt: 'x', schema })).code).toBe('INVALID_ARGUMENT')
  })

  it('a schema that cannot be enforced, with keyword and path', async () => {
    const schema = {
      type: 'object',
      properties: { tags: { type: 'array', items: { type: 'string' }, uniqueItems: true } },
    }
    await expect(engine.generate({ prompt: 'x', schema }).result).rejects.toMatchObject({
      ...{ code: 'SCHEMA_UNSUPPORTED', details: { keyword: 'uniqueItems', path: '/properties/tags/uniqueItems' } },
    })
    expectIdle(engine)
  })

  it('a dead end ends its request alone', async () => {
    const banned = Object.fromEntries((await engine.tokenize('zebra')).map((token) => [token, -Infinity]))
    const every = Object.fromEntries(
      Array.from({ length: engine.model.vocabularySize }, (_, token) => [token, -Infinity]),
    )
    const [stuck, fine] = await Promise.allSettled([
      engine.generate({ prompt: 'The fox', grammar: { choice: ['zebra'] }, logitBias: { ...every, ...banned } }).result,
      engine.generate({ prompt: 'The fox', schema: animal, seed: 1 }).result,
    ])
    expect(stuck).toMatchObject({ status: 'rejected', reason: { code: 'GRAMMAR_STUCK' } })
    expect(fine.status).toBe('fulfilled')
    expectIdle(engine)
  })
})

describe('the tokens are the same', () => {
  const requests: GenerateOptions[] = [
    { ...story, schema: animal, seed: 1, ...wild, maxTokens: 120 },
    { prompt: 'The fox', schema: animalSchema, seed: 2, ...wild, maxTokens: 120 },
    { prompt: 'The fox', schema: animalSchema, seed: 3, repetitionPenalty: 1.3, frequencyPenalty: 0.3, maxTokens: 120 },
    {
      prompt: 'Once',
      schema: { type: 'array', items: { type: 'string' }, minItems: 4 },
      seed: 4,
      ...wild,
      maxTokens: 150,
    },
    { prompt: 'Once', grammar: { ebnf: 'root ::= ([a-z]+ " "){20,30} "."' }, seed: 5, ...wild, maxTokens: 150 },
    { prompt: 'Once upon a time', seed: 6, maxTokens: 100 },
    { prompt: 'Once', schema: {}, temperature: 0, maxTokens: 60 },
  ]
  const tokensOf = async (generations: Generation[]) =>
    (await Promise.all(generations.map((generation) => generation.result))).map(({ tokens }) => tokens)
  const together = (of: Engine) => tokensOf(requests.map((request) => of.generate(request)))
  let alone: number[][]
  beforeAll(async () => {
    alone = await withEngine({ threads: 1, prefixCache: false }, async (solo) => {
      const tokens: number[][] = []
      for (const request of requests) tokens.push(...(await tokensOf([solo.generate(request)])))
      return tokens
    })
  })

  it('in a batch, and again from the prefix cache', async () => {
    expect(await together(engine)).toEqual(alone)
    expect(await together(engine)).toEqual(alone)
  })

  it.each([1, 7])('with steps of at most %d tokens', async (stepTokens) => {
    await withEngine({ internal: { stepTokens } }, async (other) => expect(await together(other)).toEqual(alone))
  })

  it('when requests preempt each other', async () => {
    await withEngine({ kv: { memory: '512KiB' }, contextTokens: 200 }, async (tight) => {
      expect(await together(tight)).toEqual(alone)
      expect(tight.stats().preemptions).toBeGreaterThan(0)
      expectIdle(tight)
    })
  })

  it.each([
    ['off', 'off' as const],
    ['with a draft model', { drafters: ['ngram' as const, { model: 'models/octavo-stories-draft-q4_0.gguf' }] }],
  ])('with speculation: %s', async (_, speculation) => {
    await withEngine({ speculation }, async (other) => expect(await together(other)).toEqual(alone))
  })

  it('on the reference backend', async () => {
    // It computes some ten tokens a second.
    const maxTokens = process.env.OCTAVO_DEEP ? 120 : 24
    await withEngine({ device: 'reference' }, async (other) => {
      const [tokens] = await tokensOf([other.generate({ ...requests[1]!, maxTokens })])
      expect(tokens).toEqual(alone[1]!.slice(0, maxTokens))
    })
  })

  it('in a process of its own', async () => {
    await withEngine({ isolation: 'process' }, async (other) => expect(await together(other)).toEqual(alone))
  })

  it('when the process is killed and started again', async () => {
    await withEngine({ isolation: 'process', restart: true }, async (other) => {
      const generations = requests.map((request) => other.generate(request))
      while (generations.every(({ partial }) => partial.tokens.length < 10))
        await new Promise((wait) => setTimeout(wait, 1))
      for (const pid of enginesOf(process.pid)) process.kill(pid, 'SIGKILL')
      expect(await tokensOf(generations)).toEqual(alone)
    })
  })

  it('when the recorded steps are done again', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'octavo-'))
    const recordFile = join(folder, 'steps')
    const live = await Engine.load({ model: 'stories', kv: { memory: '4MiB' }, internal: { recordFile } })
    expect(await together(live)).toEqual(alone)
    const { totalBlocks } = live.stats().kv
    await live.close()
    const { ops, samplers, vocabulary } = deserialize(readFileSync(recordFile)) as StepRecord
    rmSync(folder, { recursive: true })
    const model = new (native().Model)(openCheckpoint('stories').desc, 'cpu', null)
    for (let i = 0; i < model.tensorCount; i++) model.loadTensor(i)
    model.finishLoad()
    const options = { threads: 1, kvBlocks: totalBlocks, maxStepTokens: 512, prefixCache: true }
    const again = new (native().Engine)(model, options)
    expect(() => native().replaySteps(again, ops, samplers)).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
    )
    again.setVocabulary(vocabulary!)
    expect(native().replaySteps(again, ops, samplers).steps).toBeGreaterThan(0)
    again.close()
    model.close()
  })
})

it('types: the value has the type of its schema', () => {
  const typed = (of: Engine) => of.generate({ prompt: 'x', schema: animal })
  expectTypeOf<Awaited<ReturnType<typeof typed>['result']>['object']>().toEqualTypeOf<
    z.output<typeof animal> | undefined
  >()
  const turn = (of: Session) => of.generate('x', { schema: animal })
  expectTypeOf<ReturnType<typeof turn>>().toEqualTypeOf<Generation<z.output<typeof animal>>>()
  const plain = (of: Engine) => of.generate({ prompt: 'x' })
  expectTypeOf<Awaited<ReturnType<typeof plain>['result']>['object']>().toEqualTypeOf<unknown>()
  const json = (of: Engine) => of.generate({ prompt: 'x', schema: animalSchema })
  expectTypeOf<Awaited<ReturnType<typeof json>['result']>['object']>().toEqualTypeOf<unknown>()
  const changed = z.object({ age: z.int().transform(String), kind: z.enum(['x', 'y']).default('x') })
  const streamed = (of: Engine) => of.generate({ prompt: 'x', schema: changed })
  type Part = ReturnType<typeof streamed> extends AsyncIterable<infer P extends { partial?: unknown }> ? P : never
  expectTypeOf<Part['partial']>().toEqualTypeOf<{ age?: number; kind?: string | undefined } | undefined>()
  expectTypeOf<Awaited<ReturnType<typeof streamed>['result']>['partial']>().toEqualTypeOf<Part['partial']>()
  const sampled = (of: Engine) => of.samples({ prompt: 'x', schema: animal }, 2)
  expectTypeOf<ReturnType<typeof sampled>>().toEqualTypeOf<Generation<z.output<typeof animal>>[]>()
  // @ts-expect-error: what is not written yet is missing
  const whole = (part: Part): number => part.partial!.age
  // @ts-expect-error: a schema is a zod type, an object or a boolean
  const wrong = (of: Engine) => of.generate({ prompt: 'x', schema: 'object' })
  // @ts-expect-error: choices are texts
  const wrongChoice = (of: Engine) => of.generate({ prompt: 'x', grammar: { choice: [1] } })
  expect([typed, turn, plain, json, streamed, sampled, whole, wrong, wrongChoice]).toHaveLength(9)
})
