/**
 * Models with widths that are no multiple of 32 (3 heads of 16, a width of 80): they load when the weights concerned are floats,
 * and compute what the reference computes (on every instruction set: cpp/tests/model/model_test.cpp). Weights are random.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Engine } from 'octavo'
import { afterAll, describe, expect, it } from 'vitest'
import { characterOfByte } from '../lib/text/vocabulary/vocabulary.ts'
import { random } from './hostile-values.ts'
import { type WrittenTensor, writeGguf } from './write-gguf.mjs'

const folder = mkdtempSync(join(tmpdir(), 'octavo-narrow-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

type Format = 'f32' | 'f16' | 'bf16' | 'q8_0'
const ids: Record<Format, number> = { f32: 0, f16: 1, q8_0: 8, bf16: 30 }

/** f16 of a number that is no subnormal of it, cut off. */
function half(value: number): number {
  const bits = new Uint32Array(Float32Array.of(value).buffer)[0]!
  const exponent = ((bits >>> 23) & 0xff) - 112
  return exponent <= 0 ? 0 : ((bits >>> 16) & 0x8000) | (exponent << 10) | ((bits >>> 13) & 0x3ff)
}

function bytes(values: Float32Array, format: Format): Buffer {
  if (format === 'f32') return Buffer.from(values.buffer)
  if (format === 'f16') return Buffer.from(Uint16Array.from(values, half).buffer)
  if (format === 'bf16')
    return Buffer.from(Uint16Array.from(new Uint32Array(values.buffer), (bits) => bits >>> 16).buffer)
  const blocks: Buffer[] = []
  for (let at = 0; at < values.length; at += 32) {
    const group = values.subarray(at, at + 32)
    const scale = Math.max(...group.map(Math.abs)) / 120
    blocks.push(
      Buffer.from(Uint16Array.of(half(scale)).buffer),
      Buffer.from(Int8Array.from(group, (v) => Math.round(v / scale)).buffer),
    )
  }
  return Buffer.concat(blocks)
}

interface Shape {
  width: number
  feedForward: number
  /** Of the tensors whose rows are as wide as the model, as the heads together, as the feed-forward. */
  across: Format
  attnOut: Format
  down: Format
}
const [layers, heads, kvHeads, headSize] = [2, 3, 1, 16]

function write(name: string, { width, feedForward, across, attnOut, down }: Shape): string {
  const tokens = [...characterOfByte, '<|im_end|>']
  const next = random(7)
  const tensors: WrittenTensor[] = []
  const add = (tensor: string, shape: number[], format: Format) => {
    const norm = shape.length === 1
    const values = Float32Array.from({ length: shape.reduce((a, b) => a * b) }, () => {
      const bell = (next(1000) + next(1000) + next(1000) - 1498.5) / 500
      return norm ? 1 + 0.1 * bell : (2 * bell) / Math.sqrt(shape[0]!)
    })
    tensors.push({ name: tensor, shape, type: ids[format], data: bytes(values, format) })
  }
  add('token_embd.weight', [width, tokens.length], across)
  add('output_norm.weight', [width], 'f32')
  for (let layer = 0; layer < layers; layer++) {
    const of = (part: string) => `blk.${layer}.${part}.weight`
    for (const part of ['attn_norm', 'ffn_norm']) add(of(part), [width], 'f32')
    add(of('attn_q'), [width, heads * headSize], across)
    for (const part of ['attn_k', 'attn_v']) add(of(part), [width, kvHeads * headSize], across)
    add(of('attn_output'), [heads * headSize, width], attnOut)
    for (const part of ['ffn_gate', 'ffn_up']) add(of(part), [width, feedForward], across)
    add(of('ffn_down'), [feedForward, width], down)
  }
  const path = join(folder, `${name}.gguf`)
  writeGguf(
    path,
    {
      'general.architecture': ['string', 'llama'],
      'llama.block_count': ['u32', layers],
      'llama.context_length': ['u32', 256],
      'llama.embedding_length': ['u32', width],
      'llama.feed_forward_length': ['u32', feedForward],
      'llama.attention.head_count': ['u32', heads],
      'llama.attention.head_count_kv': ['u32', kvHeads],
      'llama.attention.key_length': ['u32', headSize],
      'llama.attention.value_length': ['u32', headSize],
      'llama.attention.layer_norm_rms_epsilon': ['f32', 1e-5],
      'tokenizer.ggml.model': ['string', 'gpt2'],
      'tokenizer.ggml.pre': ['string', 'gpt-2'],
      'tokenizer.ggml.tokens': ['string', tokens],
      'tokenizer.ggml.token_type': ['i32', tokens.map((_, id) => (id < 256 ? 1 : 3))],
      'tokenizer.ggml.merges': ['string', []],
      'tokenizer.ggml.eos_token_id': ['u32', 256],
    },
    tensors,
  )
  return path
}

const prompt = 'What is narrow is not wide: three heads of sixteen are forty-eight together.'

async function run(model: string, device: 'cpu' | 'reference') {
  await using engine = await Engine.load({ model, device, threads: 2 })
  const { logprobs } = await engine.score({ prompt })
  const options = { prompt, maxTokens: 24, temperature: 0, logprobs: 2, ignoreEos: true }
  const [one, ...others] = await Promise.all([1, 2, 3].map(() => engine.generate(options).result))
  for (const other of others) expect(other.tokens).toEqual(one!.tokens)
  return { scored: Array.from(logprobs), tokens: one!.tokens, logprobs: one!.logprobs }
}

describe('widths that are no multiple of 32', () => {
  it.each<[string, Shape]>([
    ['3 heads of 16, f16', { width: 64, feedForward: 96, across: 'f16', attnOut: 'f16', down: 'f16' }],
    ['3 heads of 16, the rest quantised', { width: 64, feedForward: 96, across: 'q8_0', attnOut: 'f16', down: 'q8_0' }],
    ['width 80, feed-forward 112, bf16', { width: 80, feedForward: 112, across: 'bf16', attnOut: 'bf16', down: 'f32' }],
    ['width 80, f32, down quantised', { width: 80, feedForward: 64, across: 'f32', attnOut: 'f16', down: 'q8_0' }],
  ])('%s: the CPU computes what the reference computes', async (name, shape) => {
    const model = write(name.replace(/\W+/g, '-'), shape)
    const expected = await run(model, 'reference')
    expect(new Set(expected.tokens).size).toBeGreaterThan(1)
    expect(expected.scored.every(Number.isFinite)).toBe(true)
    expect(await run(model, 'cpu')).toEqual(expected)
  })

  it('quantised rows of such a width are no file at all', async () => {
    const model = write('quantised', { width: 64, feedForward: 96, across: 'f16', attnOut: 'q8_0', down: 'f16' })
    await expect(Engine.load({ model })).rejects.toMatchObject({
      code: 'MODEL_INVALID',
      message: expect.stringMatching(/attn_output\.weight: expected rows of whole groups of 32 \(q8_0\), found 48/),
    })
  })
})
