/**
 * Every weight format in whole models: the CPU backend gives the reference's log-probabilities bit for bit, what is resident is
 * what was predicted, and a file rewritten in a format that can hold the same weights gives the same results. (Formats against
 * the gguf package: cpp/tests/files/quant_test.cpp; models against PyTorch: scripts/quality/oracle-formats.mjs.)
 */
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  type GgufValue,
  type ModelDesc,
  native,
  segmentMode,
  type WeightFormat,
  weightFormats,
} from '../lib/base/native.ts'
import { openCheckpoint } from '../lib/model/checkpoint.ts'
import { weightBytes } from '../lib/model/memory.ts'
import { planSynthesis } from '../lib/model/synthesize.ts'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'octavo-formats-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

type Tensors = { name: string; format: WeightFormat; shape: number[] }[]

const metadata: Record<string, GgufValue> = {
  'general.architecture': 'llama',
  'llama.block_count': 2,
  'llama.context_length': 128,
  'llama.embedding_length': 256,
  'llama.feed_forward_length': 512,
  'llama.attention.head_count': 4,
  'llama.attention.head_count_kv': 2,
  'llama.attention.layer_norm_rms_epsilon': 1e-5,
}
const vocabulary = 150

/** Two layers, the embedding is the head; `formatOf` says how a matrix is stored. */
function tensorsOf(formatOf: (name: string, layer: number) => WeightFormat): Tensors {
  const matrix = (name: string, width: number, rows: number, layer = 0) => {
    const prefix = name === 'token_embd' ? '' : `blk.${layer}.`
    return { name: `${prefix}${name}.weight`, format: formatOf(name, layer), shape: [width, rows] }
  }
  const vector = (name: string) => ({ name: `${name}.weight`, format: 'f32' as const, shape: [256] })
  const layers = [0, 1].flatMap((layer) => [
    ...[vector(`blk.${layer}.attn_norm`), vector(`blk.${layer}.ffn_norm`)],
    ...[matrix('attn_q', 256, 256, layer), matrix('attn_k', 256, 128, layer), matrix('attn_v', 256, 128, layer)],
    ...[matrix('attn_output', 256, 256, layer), matrix('ffn_gate', 256, 512, layer), matrix('ffn_up', 256, 512, layer)],
    matrix('ffn_down', 512, 256, layer),
  ])
  return [matrix('token_embd', 256, vocabulary), ...layers, vector('output_norm')]
}

function write(name: string, tensors: Tensors): string {
  const path = join(folder, `${name}.gguf`)
  native().ggufSynthesize(path, metadata, tensors, 3)
  return path
}

/** Log-probabilities of a fixed text of `count` tokens, and what the weights take. */
function scores(desc: ModelDesc, backend: 'cpu' | 'reference', count = 24) {
  const model = new (native().Model)(desc, backend, null)
  for (let i = 0; i < model.tensorCount; i++) model.loadTensor(i)
  model.finishLoad()
  const engine = new (native().Engine)(model, { threads: 2, kvBlocks: 8, maxStepTokens: 64, prefixCache: false })
  const sequence = engine.sequenceCreate('')
  expect(engine.sequenceReserve(sequence, count)).toBe(true)
  const tokens = Int32Array.from({ length: count }, (_, i) => (i * 37) % vocabulary)
  engine.submit(Int32Array.of(sequence, count, count, segmentMode.score, -1), 1, tokens, count)
  const logprobs = new Float32Array(count)
  engine.wait(new Int32Array(count), logprobs)
  engine.close()
  const residentBytes = model.residentBytes
  model.close()
  return { logprobs: [...logprobs.subarray(0, count - 1)], residentBytes }
}

const formats = weightFormats.filter((format) => !['f32', 'f16', 'bf16'].includes(format))

describe('a model', () => {
  const mixes: Record<string, (name: string, layer: number) => WeightFormat> = {
    'q4_k and q6_k as in Q4_K_M, the head in q6_k': (name, layer) =>
      name === 'token_embd' || (layer === 1 && /attn_v|ffn_down/.test(name)) ? 'q6_k' : 'q4_k',
    'another format for each matrix': (name, layer) => formats[(name.length + 3 * layer) % formats.length]!,
  }
  for (const format of formats) mixes[format] = () => format
  it.each(Object.entries(mixes))('%s: equal to the reference, resident as predicted', (name, formatOf) => {
    const { desc } = openCheckpoint(write(name.split(' ')[0]!, tensorsOf(formatOf)))
    const { logprobs, residentBytes } = scores(desc, 'cpu')
    expect(logprobs.every((value) => value < 0 && value > -30)).toBe(true)
    expect(logprobs).toEqual(scores(desc, 'reference').logprobs)
    expect(residentBytes).toBe(weightBytes(desc))
  })

  it.each([
    ['q4_k', 0, [0x00, 0x7c]],
    ['q5_k', 2, [0x01, 0x7e]],
    ['q6_k', 208, [0x00, 0xfc]],
    ['q2_k', 82, [0x00, 0x7c]],
    ['q3_k', 108, [0x01, 0x7e]],
    ['iq4_xs', 0, [0x00, 0x7c]],
    ['iq1_m', 53, [0xcf, 0xff, 0x7f]],
    ['iq2_s', 0, [0x00, 0xfe]],
    ['iq3_xxs', 0, [0x00, 0x7c]],
    ['mxfp4', 0, [0xff]],
  ] as const)('%s with a scale that is no number is refused', (format, at, bytes) => {
    const path = write(
      'broken',
      tensorsOf(() => format),
    )
    const { desc, tensors } = openCheckpoint(path)
    const fd = openSync(path, 'r+')
    writeSync(
      fd,
      Uint8Array.from(bytes),
      0,
      bytes.length,
      tensors.find((t) => t.name === 'blk.1.ffn_up.weight')!.offset + at,
    )
    closeSync(fd)
    for (const backend of ['cpu', 'reference'] as const)
      expect(() => scores(desc, backend)).toThrow(expect.objectContaining({ code: 'MODEL_INVALID' }))
  })
})

/** A row of q4_0 as q5_0 or q8_0: the same scales, and codes that mean the same weights. */
function widened(rows: Uint8Array, format: 'q5_0' | 'q8_0'): Uint8Array {
  const blocks = rows.length / 18
  const size = format === 'q5_0' ? 22 : 34
  const out = new Uint8Array(blocks * size)
  for (let b = 0; b < blocks; b++) {
    const from = rows.subarray(b * 18, b * 18 + 18)
    const to = out.subarray(b * size, (b + 1) * size)
    to.set(from.subarray(0, 2))
    for (let i = 0; i < 32; i++) {
      const value = (i < 16 ? from[2 + i]! & 15 : from[2 + i - 16]! >> 4) - 8
      if (format === 'q8_0') to[2 + i] = value
      else {
        const code = value + 16
        to[2 + (i >> 3)]! |= (code >> 4) << (i & 7)
        to[6 + (i % 16)]! |= (code & 15) << (i < 16 ? 0 : 4)
      }
    }
  }
  return out
}

describe('the embedded model rewritten', () => {
  it.each(['q5_0', 'q8_0'] as const)('in %s holds the same weights and gives the same log-probabilities', (format) => {
    const stories = openCheckpoint('stories')
    const source = readFileSync(stories.desc.files[0]!)
    const path = join(folder, `stories-${format}.gguf`)
    const tensors = stories.tensors.map(({ name, typeName, shape }) => {
      return { name, shape, format: typeName === 'q4_0' ? format : (typeName as WeightFormat) }
    })
    native().ggufSynthesize(path, stories.metadata as Record<string, GgufValue>, tensors, 1)
    const rewritten = openCheckpoint(path)
    const fd = openSync(path, 'r+')
    stories.tensors.forEach(({ offset, bytes, typeName }, i) => {
      const data = source.subarray(offset, offset + bytes)
      const values = typeName === 'q4_0' ? widened(data, format) : data
      writeSync(fd, values, 0, values.length, rewritten.tensors[i]!.offset)
    })
    closeSync(fd)
    expect(rewritten.info.weightFormat).toBe(format)
    expect(scores(rewritten.desc, 'cpu', 60).logprobs).toEqual(scores(stories.desc, 'cpu', 60).logprobs)
  })
})

describe('a synthetic Q4_K_M', () => {
  it('mixes as llama.cpp does, with narrower blocks where the width asks for them', () => {
    const kinds = (name: 'smollm2-135m' | 'tinyllama-1.1b') =>
      new Map(planSynthesis(name, 'q4_k_m').tensors.map((tensor) => [tensor.name, tensor.format]))
    const large = kinds('tinyllama-1.1b')
    expect(large.get('output.weight')).toBe('q6_k')
    expect(large.get('token_embd.weight')).toBe('q4_k')
    expect(large.get('blk.0.ffn_down.weight')).toBe('q6_k')
    expect(large.get('blk.2.ffn_down.weight')).toBe('q4_k')
    expect(large.get('blk.2.attn_q.weight')).toBe('q4_k')
    const small = kinds('smollm2-135m')
    expect(small.get('token_embd.weight')).toBe('q8_0')
    expect(small.get('blk.0.attn_v.weight')).toBe('q8_0')
    expect(small.get('blk.0.attn_q.weight')).toBe('q5_0')
    expect(small.get('blk.0.ffn_down.weight')).toBe('q6_k')
  })
})
