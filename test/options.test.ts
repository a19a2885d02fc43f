/** Every public option: defaults, what is rejected, and what the error says. */
import { describe, expect, it } from 'vitest'
import type { z } from 'zod'
import { parse } from '../lib/arguments.ts'
import { CallSite } from '../lib/base/call-site.ts'
import { generateSchema, loadSchema, sessionSchema, tokenizeSchema } from '../lib/options.ts'
import { refusal } from './refusal.ts'

function check(schema: z.ZodType, value: unknown): unknown {
  return parse(schema, value, 'options', new CallSite(check))
}

function errorOf(schema: z.ZodType, value: unknown) {
  const caller = () => check(schema, value)
  return refusal(caller)
}

const generate = (options: object) => errorOf(generateSchema, { prompt: 'x', ...options })
const load = (options: object) => errorOf(loadSchema, { model: 'm.gguf', ...options })

describe('defaults', () => {
  it('of load', () => {
    expect(check(loadSchema, { model: 'm.gguf' })).toEqual({
      ...{ model: 'm.gguf', device: 'auto', threads: 'auto', kv: { dtype: 'f16' }, prefixCache: true, endTokens: [] },
      ...{ objective: 'latency', maxStepMs: 50, tenants: {}, idleTimeoutMs: 60_000 },
      queue: { maxRequests: 4096, maxTokens: Number.MAX_SAFE_INTEGER },
      internal: { stepTokens: 512, maxSequences: 256, checkBlocks: false },
      ...{ isolation: 'thread', restart: false, shareWeights: false, speculation: 'auto' },
    })
  })

  it('of generate', () => {
    expect(check(generateSchema, { prompt: 'x' })).toEqual({
      ...{ prompt: 'x', parseSpecial: false, continueFinalMessage: false },
      ...{ temperature: 0.7, topK: 40, topP: 0.95, minP: 0, repetitionPenalty: 1 },
      ...{
        presencePenalty: 0,
        frequencyPenalty: 0,
        logitBias: {},
        stop: [],
        stopTokens: [],
        logprobs: false,
        ignoreEos: false,
      },
      ...{ priority: 0, tenant: '', toolChoice: 'auto', maxRounds: 8, speculation: 'auto' },
    })
  })

  it('stand in for undefined', () => {
    expect(
      check(generateSchema, { prompt: 'x', temperature: undefined, stop: undefined, messages: undefined }),
    ).toMatchObject({
      ...{ temperature: 0.7, stop: [] },
    })
    expect(check(tokenizeSchema, {})).toEqual({ parseSpecial: false, addBos: false })
  })
})

describe('sizes', () => {
  it.each([
    [123, 123],
    ['7B', 7],
    ['1GiB', 2 ** 30],
    ['1.5 MiB', 1.5 * 2 ** 20],
    ['64KiB', 65536],
  ])('%j is %d bytes', (memory, bytes) => {
    expect(check(loadSchema, { model: 'm', kv: { memory } })).toMatchObject({ kv: { memory: bytes } })
  })

  it.each(['1GB', '1', 'GiB', '-1GiB', '', true])('%j is rejected', (memory) => {
    expect(load({ kv: { memory } }).details).toMatchObject({
      option: 'kv.memory',
      expected: expect.stringContaining("'512MiB'"),
    })
  })

  it.each([0, -5, 1.5, Number.NaN, Number.POSITIVE_INFINITY])('%j is rejected', (memory) => {
    expect(load({ kv: { memory } }).details).toMatchObject({ option: 'kv.memory', found: String(memory) })
  })
})

describe('rejected, naming option, expected and found', () => {
  it.each([
    [{ temperature: -1 }, 'temperature', 'a number, at least 0', '-1'],
    [{ temperature: 'hot' }, 'temperature', 'a number', '"hot"'],
    [{ temperature: Number.NaN }, 'temperature', 'a number', 'NaN'],
    [{ topK: 1.5 }, 'topK', 'an integer', '1.5'],
    [{ topP: 0 }, 'topP', 'a number, more than 0', '0'],
    [{ topP: 1.01 }, 'topP', 'a number, at most 1', '1.01'],
    [{ maxTokens: 0 }, 'maxTokens', 'a number, at least 1', '0'],
    [{ seed: -1 }, 'seed', 'a number, at least 0', '-1'],
    [{ seed: 2 ** 53 }, 'seed', 'a number, at most 9007199254740991', '9007199254740992'],
    [{ stop: '' }, 'stop', 'a non-empty string', '""'],
    [{ stop: ['a', ''] }, 'stop.1', 'a non-empty string', '""'],
    [{ stop: 5 }, 'stop', 'a non-empty string, or at most 64 of them', '5'],
    [{ logprobs: true }, 'logprobs', 'false or an integer from 0 to 100', 'true'],
    [{ logitBias: { x: 1 } }, 'logitBias.x', undefined, undefined],
    [
      { logitBias: { 5: Number.POSITIVE_INFINITY } },
      'logitBias.5',
      expect.stringMatching(/^a number from .* or -Infinity$/),
      'Infinity',
    ],
    [{ logitBias: { 5: 1e39 } }, 'logitBias.5', expect.stringMatching(/3\.40/), '1e+39'],
    [{ logitBias: { 5: -1e39 } }, 'logitBias.5', expect.stringMatching(/3\.40/), '-1e+39'],
    [{ signal: {} }, 'signal', 'an AbortSignal', '{}'],
    [{ prompt: 5 }, 'prompt', 'a string, an array of token ids or an Int32Array', '5'],
    [{ prompt: undefined }, 'prompt', 'either prompt or messages', 'undefined'],
    [{ messages: [{ role: 'user', content: 'x' }] }, 'messages', 'either prompt or messages', undefined],
    [{ prompt: [1], parseSpecial: true }, 'parseSpecial', 'parseSpecial only with a prompt that is text', 'true'],
    [{ prompt: undefined, messages: [] }, 'messages', 'at least one message', '[]'],
    [{ topk: 3 }, 'topk', undefined, '3'],
  ])('generate %j', (options, option, expected, found) => {
    const error = generate(options)
    expect(error.code).toBe('INVALID_ARGUMENT')
    expect(error.details).toMatchObject({ option, ...(expected && { expected }), ...(found && { found }) })
    expect(error.message).toContain(`Option ${option}: expected `)
  })

  it.each([
    [{ model: 5 }, 'model', "a file's path or file: URL, 'stories' or 'synthetic:<preset>'", '5'],
    [{ model: '' }, 'model', "a file's path or file: URL, 'stories' or 'synthetic:<preset>'", '""'],
    [{ model: new URL('https://example.org/m.gguf') }, 'model', expect.stringContaining('file: URL'), 'a URL'],
    [{ chatTemplate: '' }, 'chatTemplate', 'a non-empty string', '""'],
    [{ device: 'tpu' }, 'device', "'auto', 'cpu', 'cuda', 'cuda:N' or 'reference'", '"tpu"'],
    [{ threads: 0 }, 'threads', 'a number, at least 1', '0'],
    [{ threads: 'all' }, 'threads', "'auto' or an integer from 1 to 1024", '"all"'],
    [{ contextTokens: 1 }, 'contextTokens', 'a number, at least 2', '1'],
    [{ kv: { dtype: 'f8' } }, 'kv.dtype', '"f16" or "bf16" or "fp8" or "int8"', '"f8"'],
    [{ kv: { size: 1 } }, 'kv.size', 'no such option; there are dtype, memory', '1'],
    [{ onProgress: 1 }, 'onProgress', 'a function', '1'],
    [{ prefixCache: 'yes' }, 'prefixCache', 'a boolean', '"yes"'],
  ])('load %j', (options, option, expected, found) => {
    expect(load(options).details).toEqual({ option, expected, found })
  })

  it('an unknown option, with the ones there are', () => {
    expect(load({ gpuLayers: 3 }).message).toBe(
      'Option gpuLayers: expected no such option; there are model, chatTemplate, device, threads, contextTokens, kv, endTokens, prefixCache, objective, speculation, maxStepMs, queue, tenants, idleTimeoutMs, isolation, restart, shareWeights, onProgress, onLog, signal, found 3.',
    )
  })

  it('something that is no object at all', () => {
    for (const value of [null, 'x', 5, []]) {
      expect(errorOf(sessionSchema, value).details).toMatchObject({ option: 'options', expected: 'an object' })
    }
  })

  it('long values are cut in the message', () => {
    expect(generate({ temperature: 'x'.repeat(1000) }).message.length).toBeLessThan(200)
  })
})

it('the error carries the stack of the caller, without frames of the library', () => {
  const error = generate({ topK: -1 })
  expect(error.stack).toMatch(/^OctavoError \[INVALID_ARGUMENT\]: Option topK/)
  expect(error.stack!.split('\n')[1]).toContain('caller')
})

it('positive numbers stay positive as f32', () => {
  const { topP, repetitionPenalty } = check(generateSchema, {
    ...{ prompt: 'x', topP: 1e-60, repetitionPenalty: 1e-60 },
  }) as z.output<typeof generateSchema>
  expect(Math.fround(topP)).toBeGreaterThan(0)
  expect(Math.fround(repetitionPenalty)).toBeGreaterThan(0)
})

it('an application with its own Error.prepareStackTrace gets the error all the same', () => {
  const { prepareStackTrace } = Error
  Error.prepareStackTrace = (_, sites) => sites
  try {
    expect(generate({ topK: -1 }).code).toBe('INVALID_ARGUMENT')
  } finally {
    Error.prepareStackTrace = prepareStackTrace
  }
})

it('bans by -Infinity are allowed', () => {
  expect(check(generateSchema, { prompt: [1], logitBias: { 5: -Infinity, 7: 2.5 } })).toMatchObject({
    logitBias: { 5: -Infinity },
  })
})
