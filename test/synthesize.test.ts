/** Synthetic models: the file and the description in memory hold the same model, and a failed writing leaves nothing behind. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type ModelDesc, native, segmentMode } from '../lib/base/native.ts'
import { describeCheckpoint, openCheckpoint } from '../lib/model/checkpoint.ts'
import { weightBytes } from '../lib/model/memory.ts'
import type { PresetName } from '../lib/model/presets.ts'
import { planParts, planSynthesis, type SyntheticPlan, synthesizeFile } from '../lib/model/synthesize.ts'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'octavo-synthesize-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

/** A preset cut to two layers and 300 tokens, so that all presets together take a moment. */
function smallPlan(name: PresetName, type: 'q4_0' | 'q8_0' = 'q4_0'): SyntheticPlan {
  const { metadata } = openCheckpoint('stories')
  const tokens = (metadata['tokenizer.ggml.tokens'] as string[]).slice(0, 300)
  const types = (metadata['tokenizer.ggml.token_type'] as number[]).slice(0, 300)
  const vocabularyFrom = { ...metadata, 'tokenizer.ggml.tokens': tokens, 'tokenizer.ggml.token_type': types }
  const plan = planSynthesis(name, type, { vocabularyFrom, seed: 5 })
  const prefix = plan.metadata['general.architecture'] as string
  plan.metadata[`${prefix}.block_count`] = 2
  return { ...plan, tensors: plan.tensors.filter(({ name }) => !/^blk\.(?![01]\.)/.test(name)) }
}

/** Log-probabilities of a fixed text: any weight that differs shows. */
function scores(desc: ModelDesc): { logprobs: number[]; residentBytes: number } {
  const model = new (native().Model)(desc, 'cpu', null)
  for (let i = 0; i < model.tensorCount; i++) model.loadTensor(i)
  model.finishLoad()
  const engine = new (native().Engine)(model, { threads: 2, kvBlocks: 4, maxStepTokens: 16, prefixCache: false })
  const sequence = engine.sequenceCreate('')
  expect(engine.sequenceReserve(sequence, 16)).toBe(true)
  const tokens = Int32Array.from({ length: 16 }, (_, i) => (i * 37) % 300)
  engine.submit(Int32Array.of(sequence, 16, 16, segmentMode.score, -1), 1, tokens, 16)
  const logprobs = new Float32Array(16)
  expect(engine.wait(new Int32Array(16), logprobs)).toBe(15)
  engine.close()
  const residentBytes = model.residentBytes
  model.close()
  return { logprobs: [...logprobs.subarray(0, 15)], residentBytes }
}

describe('a synthetic model', () => {
  it.each(['smollm2-135m', 'llama-3.2-3b', 'qwen3-0.6b'] as const)('%s: the file holds what memory holds', (name) => {
    const plan = smallPlan(name)
    const path = join(folder, `${name}.gguf`)
    const seen: number[] = []
    let total = 0
    synthesizeFile(path, plan, ({ writtenBytes, totalBytes }) => {
      seen.push(writtenBytes)
      total = totalBytes
    })
    expect(seen).toHaveLength(plan.tensors.length)
    expect(seen[0]).toBe(0)
    expect(total).toBe(plan.tensors.reduce((sum, tensor) => sum + tensor.bytes, 0))

    const inMemory = describeCheckpoint('memory', planParts(plan), plan.seed)
    const inFile = openCheckpoint(path)
    const place = { file: 0, offset: 0 }
    const shapes = (desc: ModelDesc) =>
      Object.fromEntries(Object.entries(desc.tensors).map(([role, tensor]) => [role, { ...tensor, ...place }]))
    expect(shapes(inFile.desc)).toEqual(shapes(inMemory.desc))
    const { tensors: _a, files: _b, seed: _c, normEps: epsInFile, ...numbersInFile } = inFile.desc
    const { tensors: _d, files: _e, seed: _f, normEps: epsInMemory, ...numbersInMemory } = inMemory.desc
    expect(numbersInFile).toEqual(numbersInMemory)
    expect(epsInFile).toBe(Math.fround(epsInMemory))
    expect(inFile.metadata).toEqual({ ...plan.metadata, ...floats(inFile.metadata, plan.metadata) })

    const fromFile = scores(inFile.desc)
    expect(fromFile).toEqual(scores(inMemory.desc))
    expect(fromFile.logprobs.every((value) => value < 0 && value > -30)).toBe(true)
    expect(fromFile.residentBytes).toBe(weightBytes(inMemory.desc))
  })

  it('keeps integers of 64 bits, and refuses larger ones', () => {
    const path = join(folder, 'integers.gguf')
    const integers = { 'a.u64': 2n ** 64n - 1n, 'a.i64': -(2n ** 63n), 'a.i32': -5 }
    native().ggufSynthesize(path, integers, [], 1)
    expect(native().ggufRead(path).metadata).toEqual(integers)
    for (const value of [2n ** 64n, -(2n ** 63n) - 1n])
      expect(() => native().ggufSynthesize(path, { value }, [], 1)).toThrow(
        expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
      )
  })

  it('is the same file each time, another with another seed', () => {
    const bytes = (seed: number) => {
      const path = join(folder, 'seed.gguf')
      synthesizeFile(path, { ...smallPlan('smollm2-135m', 'q8_0'), seed })
      return readFileSync(path)
    }
    const first = bytes(1)
    expect(bytes(1).equals(first)).toBe(true)
    expect(bytes(2).equals(first)).toBe(false)
  })

  it('that cannot be written says so and leaves nothing', () => {
    const before = readdirSync(folder)
    const plan = smallPlan('smollm2-135m')
    expect(() => synthesizeFile(join(folder, 'no', 'where.gguf'), plan)).toThrow(
      expect.objectContaining({ code: 'IO_ERROR' }),
    )
    expect(() => synthesizeFile('/dev/null', plan)).toThrow(expect.objectContaining({ code: 'IO_ERROR' }))
    const stop = new Error('enough')
    const stopped = join(folder, 'stopped.gguf')
    expect(() =>
      synthesizeFile(stopped, plan, () => {
        throw stop
      }),
    ).toThrow('enough')
    expect(existsSync(stopped)).toBe(false)
    expect(readdirSync(folder)).toEqual(before)
  })
})

/** Numbers that the file keeps as f32. */
function floats(file: Record<string, unknown>, plan: Record<string, unknown>): Record<string, unknown> {
  const rounded = Object.entries(plan).filter(([, value]) => typeof value === 'number' && !Number.isInteger(value))
  return Object.fromEntries(
    rounded.filter(([key, value]) => file[key] === Math.fround(value as number)).map(([key]) => [key, file[key]]),
  )
}

describe('the embedded model', () => {
  it('is what its card says', () => {
    const { info, desc } = openCheckpoint('stories')
    expect(info).toMatchObject({
      name: 'octavo-stories',
      parameters: 4_000_000,
      weightFormat: 'q4_0',
      layers: 4,
      width: 256,
    })
    expect(desc.contextTokens).toBe(768)
    expect(desc.rope.style).toBe('interleaved')
  })
})
