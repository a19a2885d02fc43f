/** Model descriptions: what a header must say to be run, and what becomes of it: roles of tensors, RoPE scaling, memory. */
import { describe, expect, it } from 'vitest'
import type { GgufTensor, GgufValue } from '../lib/base/native.ts'
import { architectures } from '../lib/model/architectures.ts'
import { describeCheckpoint } from '../lib/model/checkpoint.ts'
import type { CheckpointPart } from '../lib/model/checkpoint-part.ts'
import { kvBytes, kvBytesAtLoad, kvBytesPerToken, memoryNeeds, scratchBytes, weightBytes } from '../lib/model/memory.ts'
import { presets } from '../lib/model/presets.ts'
import { llama3Divisors } from '../lib/model/rope-scaling.ts'
import { refusal } from './refusal.ts'

const typeIds: Record<string, number> = { f32: 0, f16: 1, q4_0: 2, q4_1: 3, q8_0: 8, tq1_0: 34 }

interface Small {
  architecture?: string
  metadata?: Record<string, GgufValue | undefined>
  /** Added to or, by name, replacing the model's own tensors; undefined removes one. */
  tensors?: Record<string, { shape: number[]; type?: string; values?: number[] } | undefined>
}

/** The header of a sound model with 2 layers, width 64, 4 heads of 16, 2 KV heads, 96 wide inside, 40 tokens. */
function small({ architecture = 'llama', metadata = {}, tensors = {} }: Small = {}): CheckpointPart {
  const all: Record<string, GgufValue | undefined> = {
    'general.architecture': architecture,
    [`${architecture}.block_count`]: 2,
    [`${architecture}.context_length`]: 512,
    [`${architecture}.embedding_length`]: 64,
    [`${architecture}.feed_forward_length`]: 96,
    [`${architecture}.attention.head_count`]: 4,
    [`${architecture}.attention.head_count_kv`]: 2,
    [`${architecture}.attention.layer_norm_rms_epsilon`]: 1e-5,
    ...metadata,
  }
  const shapes: NonNullable<Small['tensors']> = {
    'token_embd.weight': { shape: [64, 40], type: 'q8_0' },
    'output_norm.weight': { shape: [64], type: 'f32' },
  }
  for (const layer of [0, 1]) {
    const add = (name: string, shape: number[]) => {
      shapes[`blk.${layer}.${name}`] = { shape, type: shape.length === 1 ? 'f32' : 'q4_0' }
    }
    for (const norm of ['attn_norm', 'ffn_norm']) add(`${norm}.weight`, [64])
    for (const [name, rows] of [
      ['q', 64],
      ['k', 32],
      ['v', 32],
    ] as const)
      add(`attn_${name}.weight`, [64, rows])
    add('attn_output.weight', [64, 64])
    for (const name of ['gate', 'up']) add(`ffn_${name}.weight`, [64, 96])
    add('ffn_down.weight', [96, 64])
    if (architecture === 'qwen2')
      for (const [n, size] of [
        ['q', 64],
        ['k', 32],
        ['v', 32],
      ] as const)
        add(`attn_${n}.bias`, [size])
    if (architecture === 'qwen3') for (const n of ['q', 'k']) add(`attn_${n}_norm.weight`, [16])
  }
  const values = new Map<string, number[]>()
  const list: GgufTensor[] = []
  for (const [name, tensor] of Object.entries({ ...shapes, ...tensors })) {
    if (!tensor) continue
    const type = tensor.type ?? 'f32'
    if (tensor.values) values.set(name, tensor.values)
    list.push({ name, type: typeIds[type]!, typeName: type, shape: tensor.shape, offset: 32 * list.length, bytes: 32 })
  }
  const kept = Object.entries(all).filter((entry): entry is [string, GgufValue] => entry[1] !== undefined)
  return {
    path: 'small.gguf',
    gguf: { version: 3, alignment: 32, fileBytes: 100000, metadata: Object.fromEntries(kept), tensors: list },
    read: ({ name }) => new Uint8Array(Float32Array.from(values.get(name)!).buffer),
  }
}

const open = (options?: Small) => describeCheckpoint('small', [small(options)])

describe('a sound header', () => {
  it('becomes a description with every tensor under its role', () => {
    const { desc, info } = open()
    expect(desc).toMatchObject({
      architecture: 'llama',
      files: ['small.gguf'],
      layers: 2,
      width: 64,
      heads: 4,
      kvHeads: 2,
      headSize: 16,
      feedForward: 96,
      vocabulary: 40,
      normEps: 1e-5,
      contextTokens: 512,
      activation: 'silu',
      rope: { style: 'interleaved', dims: 16, base: 10000, scaling: { kind: 'none' } },
      slidingWindow: 0,
    })
    expect(Object.keys(desc.tensors)).toHaveLength(2 + 2 * 9)
    expect(desc.tensors['layer.1.down']).toMatchObject({ file: 0, format: 'q4_0', rows: 64, width: 96 })
    expect(desc.tensors.output).toBeUndefined()
    expect(info).toMatchObject({ name: 'small', vocabulary: 40, weightFormat: 'q4_0', fileBytes: 100000 })
    expect(info.parameters).toBe(40 * 64 + 64 + 2 * (2 * 64 + 2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 96))
  })

  it('takes the traits of its family', () => {
    expect(open({ architecture: 'qwen2' }).desc.rope.style).toBe('half')
    expect(open({ architecture: 'qwen2' }).desc.tensors['layer.0.kBias']).toMatchObject({ rows: 1, width: 32 })
    expect(open({ architecture: 'qwen3' }).desc.tensors['layer.1.qNorm']).toMatchObject({ rows: 1, width: 16 })
    const window = { 'llama.attention.sliding_window': 256, 'qwen2.attention.sliding_window': 256 }
    expect(open({ metadata: window }).desc.slidingWindow).toBe(256)
    expect(open({ architecture: 'qwen2', metadata: window }).desc.slidingWindow).toBe(0)
  })

  it('may have a head size of its own', () => {
    const tensors: Small['tensors'] = {}
    for (const layer of [0, 1]) {
      tensors[`blk.${layer}.attn_q.weight`] = { shape: [64, 128], type: 'f16' }
      tensors[`blk.${layer}.attn_k.weight`] = { shape: [64, 64], type: 'f16' }
      tensors[`blk.${layer}.attn_v.weight`] = { shape: [64, 64], type: 'f16' }
      tensors[`blk.${layer}.attn_output.weight`] = { shape: [128, 64], type: 'f16' }
    }
    expect(open({ metadata: { 'llama.attention.key_length': 32 }, tensors }).desc.headSize).toBe(32)
  })

  it('may have tensors with a zero dimension that nobody uses, and a name that is no text', () => {
    const flags = { __flag__: { shape: [0] }, 'blk.0.marker': { shape: [64, 0, 2], type: 'q4_0' } }
    const { desc, info } = open({ tensors: flags, metadata: { 'general.name': ['a'] } })
    expect(desc).toEqual(open().desc)
    expect(info).toEqual(open().info)
  })

  it('may have 3 heads of 16, and other widths that are no multiple of 32, in float formats', () => {
    const tensors: Small['tensors'] = {
      'token_embd.weight': { shape: [80, 40], type: 'f16' },
      'output_norm.weight': { shape: [80] },
    }
    for (const layer of [0, 1]) {
      for (const name of ['attn_norm', 'ffn_norm']) tensors[`blk.${layer}.${name}.weight`] = { shape: [80] }
      for (const [name, shape] of [
        ...([
          ['attn_q', [80, 48]],
          ['attn_k', [80, 16]],
          ['attn_v', [80, 16]],
          ['attn_output', [48, 80]],
        ] as const),
        ...([
          ['ffn_gate', [80, 112]],
          ['ffn_up', [80, 112]],
          ['ffn_down', [112, 80]],
        ] as const),
      ])
        tensors[`blk.${layer}.${name}.weight`] = { shape: [...shape], type: layer === 0 ? 'f16' : 'f32' }
    }
    const metadata = {
      ...{ 'llama.embedding_length': 80, 'llama.feed_forward_length': 112 },
      ...{ 'llama.attention.head_count': 3, 'llama.attention.head_count_kv': 1, 'llama.attention.key_length': 16 },
    }
    const { desc } = open({ metadata, tensors })
    expect(desc).toMatchObject({ width: 80, heads: 3, headSize: 16, feedForward: 112 })
    // Rows in whole tiles of 32, of just their width.
    expect(weightBytes({ ...desc, tensors: { down: desc.tensors['layer.0.down']! } })).toBe(96 * 112 * 2)
  })

  it('may have an output head, biases and one value per layer', () => {
    const { desc } = open({
      metadata: { 'llama.attention.head_count': [4, 4], 'llama.feed_forward_length': [96, 96] },
      tensors: { 'output.weight': { shape: [64, 40], type: 'f16' }, 'blk.0.attn_output.bias': { shape: [64] } },
    })
    expect(desc.tensors.output).toMatchObject({ format: 'f16', rows: 40 })
    expect(desc.tensors['layer.0.attnOutBias']).toMatchObject({ format: 'f32' })
  })
})

describe('a header that is not sound is refused', () => {
  const cases: [string, Small, string, RegExp][] = [
    ['no architecture', { metadata: { 'general.architecture': undefined } }, 'MODEL_INVALID', /general.architecture/],
    ['a number for a name', { metadata: { 'general.architecture': 7 } }, 'MODEL_INVALID', /expected a string, found 7/],
    ['an unknown architecture', { architecture: 'mamba' }, 'MODEL_UNSUPPORTED', /"mamba".*llama, qwen2, qwen3/],
    ['no layer count', { metadata: { 'llama.block_count': undefined } }, 'MODEL_INVALID', /block_count.*found nothing/],
    [
      'a layer too many',
      { metadata: { 'llama.block_count': 3 } },
      'MODEL_INVALID',
      /blk\.2\.attn_norm\.weight is missing/,
    ],
    ['a layer too few', { metadata: { 'llama.block_count': 1 } }, 'MODEL_UNSUPPORTED', /blk\.1\.attn_norm\.weight/],
    ['a huge layer count', { metadata: { 'llama.block_count': 2 ** 32 } }, 'MODEL_INVALID', /from 1 to 4096/],
    [
      'a width of no groups',
      { metadata: { 'llama.embedding_length': 60 } },
      'MODEL_UNSUPPORTED',
      /multiple of 16, found 60/,
    ],
    ['a fractional width', { metadata: { 'llama.embedding_length': 64.5 } }, 'MODEL_INVALID', /an integer/],
    ['a bigint width', { metadata: { 'llama.embedding_length': 2n ** 60n } }, 'MODEL_INVALID', /an integer/],
    ['heads that do not divide', { metadata: { 'llama.attention.head_count': 5 } }, 'MODEL_INVALID', /a divisor of 64/],
    [
      'KV heads that do not divide',
      { metadata: { 'llama.attention.head_count_kv': 3 } },
      'MODEL_INVALID',
      /a divisor of 4/,
    ],
    [
      'a head size of 8',
      { metadata: { 'llama.attention.head_count': 8 } },
      'MODEL_UNSUPPORTED',
      /multiple of 16, at most 512, found 8/,
    ],
    [
      'a head size of 528',
      { metadata: { 'llama.attention.key_length': 528, 'llama.attention.value_length': 528 } },
      'MODEL_UNSUPPORTED',
      /multiple of 16, at most 512, found 528/,
    ],
    [
      'layers that differ',
      { metadata: { 'llama.attention.head_count_kv': [2, 4] } },
      'MODEL_UNSUPPORTED',
      /different sizes/,
    ],
    [
      'values of another size',
      { metadata: { 'llama.attention.value_length': 32 } },
      'MODEL_UNSUPPORTED',
      /key length, 16/,
    ],
    ['experts', { metadata: { 'llama.expert_count': 8 } }, 'MODEL_UNSUPPORTED', /experts/],
    [
      'a negative epsilon',
      { metadata: { 'llama.attention.layer_norm_rms_epsilon': -1 } },
      'MODEL_INVALID',
      /above 0, found -1/,
    ],
    [
      'NaN for epsilon',
      { metadata: { 'llama.attention.layer_norm_rms_epsilon': Number.NaN } },
      'MODEL_INVALID',
      /found NaN/,
    ],
    [
      'odd RoPE dimensions',
      { metadata: { 'llama.rope.dimension_count': 15 } },
      'MODEL_INVALID',
      /even number up to .* 16/,
    ],
    [
      'more RoPE dimensions than the head',
      { metadata: { 'llama.rope.dimension_count': 32 } },
      'MODEL_INVALID',
      /found 32/,
    ],
    [
      'more tokens than rows',
      { metadata: { 'tokenizer.ggml.tokens': Array(41).fill('a') } },
      'MODEL_INVALID',
      /1 to 40 tokens/,
    ],
    ['no tokens', { metadata: { 'tokenizer.ggml.tokens': [] } }, 'MODEL_INVALID', /1 to 40 tokens.*found 0/],
    ['no embedding', { tensors: { 'token_embd.weight': undefined } }, 'MODEL_INVALID', /token_embd.weight is missing/],
    [
      'a tensor of the wrong shape',
      { tensors: { 'blk.1.attn_k.weight': { shape: [64, 64], type: 'q4_0' } } },
      'MODEL_INVALID',
      /blk\.1\.attn_k\.weight: expected shape 64 x 32, found 64 x 64/,
    ],
    [
      'a third dimension',
      { tensors: { 'blk.1.attn_k.weight': { shape: [64, 32, 2], type: 'q4_0' } } },
      'MODEL_INVALID',
      /64 x 32 x 2/,
    ],
    [
      'quantised weights that reduce heads of no multiple of 32',
      {
        metadata: {
          'llama.attention.head_count': 3,
          'llama.attention.head_count_kv': 1,
          'llama.attention.key_length': 16,
        },
        tensors: Object.fromEntries(
          [0, 1].flatMap((layer) => [
            [`blk.${layer}.attn_q.weight`, { shape: [64, 48], type: 'q4_0' }],
            [`blk.${layer}.attn_k.weight`, { shape: [64, 16], type: 'q4_0' }],
            [`blk.${layer}.attn_v.weight`, { shape: [64, 16], type: 'q4_0' }],
            [`blk.${layer}.attn_output.weight`, { shape: [48, 64], type: layer === 0 ? 'f16' : 'q8_0' }],
          ]),
        ),
      },
      'MODEL_UNSUPPORTED',
      /blk\.1\.attn_output\.weight: expected rows that are a multiple of 32 wide.*found 48/,
    ],
    [
      'a tensor with a zero dimension where weights are wanted',
      { tensors: { 'blk.1.attn_k.weight': { shape: [64, 0], type: 'q4_0' } } },
      'MODEL_INVALID',
      /blk\.1\.attn_k\.weight: expected shape 64 x 32, found 64 x 0/,
    ],
    [
      'an optional tensor with a zero dimension',
      { tensors: { 'output.weight': { shape: [0, 40], type: 'q8_0' } } },
      'MODEL_INVALID',
      /output\.weight: expected shape 64 x 40, found 0 x 40/,
    ],
    [
      'an embedding without rows',
      { tensors: { 'token_embd.weight': { shape: [64, 0], type: 'q8_0' } } },
      'MODEL_INVALID',
      /token_embd\.weight: expected a row for each token, found 64 x 0/,
    ],
    [
      'a format that is not computed with',
      { tensors: { 'blk.0.ffn_up.weight': { shape: [64, 96], type: 'tq1_0' } } },
      'MODEL_UNSUPPORTED',
      /blk\.0\.ffn_up\.weight: expected .*q4_0.*, found tq1_0/,
    ],
    [
      'a quantised norm',
      { tensors: { 'output_norm.weight': { shape: [64], type: 'q8_0' } } },
      'MODEL_UNSUPPORTED',
      /found q8_0/,
    ],
    [
      'a tensor nobody would use',
      { tensors: { 'blk.0.ffn_gate_exps.weight': { shape: [64] } } },
      'MODEL_UNSUPPORTED',
      /ffn_gate_exps/,
    ],
    [
      'a part of a split file',
      { metadata: { 'split.count': 3, 'split.no': 0 } },
      'MODEL_INVALID',
      /one of 3 parts.*-00001-of-00003/,
    ],
  ]
  it.each(cases)('%s', (_, options, code, message) => {
    const error = refusal(() => open(options))
    expect(error.code).toBe(code)
    expect(error.message).toMatch(message)
  })

  it('qwen families without their own tensors', () => {
    const bias = refusal(() => open({ architecture: 'qwen2', tensors: { 'blk.1.attn_v.bias': undefined } }))
    expect(bias.message).toMatch(/blk\.1\.attn_v\.bias is missing/)
    const norm = refusal(() => open({ architecture: 'qwen3', tensors: { 'blk.0.attn_k_norm.weight': undefined } }))
    expect(norm.message).toMatch(/blk\.0\.attn_k_norm\.weight is missing/)
  })
})

describe('parts of a split file', () => {
  const parts = (numbers: [number, number]) => {
    const whole = small()
    return numbers.map((no, i) => ({
      ...whole,
      path: `part${i}.gguf`,
      gguf: {
        ...whole.gguf,
        metadata: {
          ...(i === 0 ? whole.gguf.metadata : {}),
          'split.count': 2,
          'split.no': no,
          'split.tensors.count': 20,
        },
        tensors: i === 0 ? whole.gguf.tensors.slice(0, 7) : whole.gguf.tensors.slice(7),
      },
    }))
  }
  it('are one model', () => {
    const { desc, fileBytes } = describeCheckpoint('split', parts([0, 1]))
    expect(desc.files).toEqual(['part0.gguf', 'part1.gguf'])
    expect(desc.tensors.embed!.file).toBe(0)
    expect(desc.tensors['layer.1.down']!.file).toBe(1)
    expect(fileBytes).toBe(200000)
  })
  it('must be in order, complete and disjoint', () => {
    expect(refusal(() => describeCheckpoint('split', parts([1, 0])))).toMatchObject({ code: 'MODEL_INVALID' })
    const doubled = parts([0, 1])
    doubled[1]!.gguf.tensors.push(doubled[0]!.gguf.tensors[0]!)
    expect(refusal(() => describeCheckpoint('split', doubled)).message).toMatch(/token_embd.weight.*twice/)
    const short = parts([0, 1])
    short[1]!.gguf.tensors.pop()
    expect(refusal(() => describeCheckpoint('split', short)).message).toMatch(/20 tensors in all parts, found 19/)
  })
})

describe('RoPE scaling', () => {
  const scaling = (metadata: Record<string, GgufValue>, tensors: Small['tensors'] = {}) => {
    const keys = Object.entries(metadata).map(([key, value]) => [`llama.rope.${key}`, value])
    return open({ metadata: Object.fromEntries(keys), tensors }).desc.rope.scaling
  }
  const vector = (values: number[]) => ({ shape: [values.length], values })
  const eight = [1, 1, 1, 1.5, 2, 4, 8, 8]

  it('none, linear, and linear as it used to be told', () => {
    expect(scaling({ 'scaling.type': 'none', 'scaling.factor': 4 })).toEqual({ kind: 'none' })
    expect(scaling({ 'scaling.type': 'linear', 'scaling.factor': 4 })).toEqual({ kind: 'linear', factor: 4 })
    expect(scaling({ 'scaling.factor': 4 })).toEqual({ kind: 'linear', factor: 4 })
    expect(scaling({ scale_linear: 2 })).toEqual({ kind: 'linear', factor: 2 })
    expect(scaling({ scale_linear: 1 })).toEqual({ kind: 'none' })
  })
  it('yarn, with its defaults', () => {
    expect(scaling({ 'scaling.type': 'yarn', 'scaling.factor': 4, 'scaling.original_context_length': 128 })).toEqual({
      kind: 'yarn',
      factor: 4,
      originalContext: 128,
      betaFast: 32,
      betaSlow: 1,
      extrapolationFactor: 1,
      attentionFactor: 1,
    })
    const given = {
      'scaling.type': 'yarn',
      'scaling.factor': 4,
      'scaling.attn_factor': 0.5,
      'scaling.yarn_beta_fast': 16,
    }
    expect(scaling(given)).toMatchObject({ originalContext: 512, betaFast: 16, attentionFactor: 0.5 })
  })
  it('divisors in a tensor, alone or on top of linear', () => {
    const tensors = { 'rope_freqs.weight': vector(eight) }
    expect(scaling({}, tensors)).toEqual({ kind: 'factors', factors: eight, magnitude: 1 })
    expect(scaling({ 'scaling.type': 'linear', 'scaling.factor': 2 }, tensors)).toMatchObject({
      factors: eight.map((v) => 2 * v),
    })
  })
  it('longrope: the set for the trained context', () => {
    const tensors = { 'rope_factors_long.weight': vector(eight), 'rope_factors_short.weight': vector(Array(8).fill(1)) }
    const keys = { 'scaling.type': 'longrope', 'scaling.attn_factor': 1.25 }
    expect(scaling({ ...keys, 'scaling.original_context_length': 128 }, tensors)).toEqual({
      kind: 'factors',
      factors: eight,
      magnitude: 1.25,
    })
    expect(scaling({ ...keys, 'scaling.original_context_length': 512 }, tensors)).toMatchObject({
      factors: Array(8).fill(1),
    })
    expect(refusal(() => scaling({ ...keys, 'scaling.original_context_length': 128 })).message).toMatch(
      /rope_factors_long/,
    )
  })
  it('refuses nonsense', () => {
    const code = (run: () => unknown) => refusal(run).code
    expect(code(() => scaling({ 'scaling.type': 'spiral' }))).toBe('MODEL_UNSUPPORTED')
    expect(code(() => scaling({ 'scaling.type': 'linear', 'scaling.factor': 0 }))).toBe('MODEL_INVALID')
    expect(code(() => scaling({ 'scaling.type': 'yarn' }))).toBe('MODEL_INVALID')
    expect(code(() => scaling({}, { 'rope_freqs.weight': vector([1, 2]) }))).toBe('MODEL_INVALID')
    expect(code(() => scaling({}, { 'rope_freqs.weight': vector([1, 1, 1, 1, 0, 1, 1, 1]) }))).toBe('MODEL_INVALID')
    expect(code(() => scaling({}, { 'rope_freqs.weight': { shape: [8], type: 'f16' } }))).toBe('MODEL_INVALID')
  })
  it("Llama 3's divisors are those of transformers (unscaled inv_freq / inv_freq, factors 8 and 32)", () => {
    const golden = {
      'llama-3.1-8b': { 0: 1, 28: 1, 29: 1.207484, 31: 2.026313, 34: 5.257327, 35: 8, 63: 8 },
      'llama-3.2-3b': { 0: 1, 28: 1, 29: 1.234937, 31: 2.276659, 34: 9.666731, 35: 32, 63: 32 },
    }
    for (const [name, values] of Object.entries(golden)) {
      const { headSize, ropeBase, ropeScaling } = presets[name as keyof typeof golden]
      const divisors = llama3Divisors(headSize, ropeBase, ropeScaling)
      for (const [i, value] of Object.entries(values)) expect(divisors[Number(i)]).toBeCloseTo(value, 5)
    }
  })
})

describe('memory', () => {
  it('counts repacked weights, KV and buffers', () => {
    const { desc } = open({ tensors: { 'output.weight': { shape: [64, 40], type: 'f16' } } })
    const layer = (2 * 64 * 64 + 2 * 32 * 64 + 3 * 96 * 64) / 1024
    expect(weightBytes(desc)).toBe(2 * 2 * 1088 + 64 * 64 * 2 + 5 * 64 * 4 + 2 * layer * 576)
    expect(kvBytesPerToken(desc, 'f16')).toBe(2 * 2 * 2 * 2 * 16)
    expect(kvBytesPerToken(desc, 'bf16')).toBe(2 * 2 * 2 * 2 * 16)
    for (const dtype of ['fp8', 'int8'] as const) expect(kvBytesPerToken(desc, dtype)).toBe(2 * 2 * 2 * (16 + 2))
    expect(kvBytes(desc, 17, 'f16')).toBe(32 * kvBytesPerToken(desc, 'f16'))
    // 512 blocks fill a huge page, 1024 of a layer in a pool of more than 1 GiB.
    expect(kvBytesAtLoad(desc, 100, 'f16')).toBe(100 * 16 * kvBytesPerToken(desc, 'f16'))
    expect(kvBytesAtLoad(desc, 65536, 'f16')).toBe(2 ** 21)
    expect(kvBytesAtLoad(desc, 524288, 'f16')).toBe(2 * 2 ** 21)
    // The second layer begins in the middle of one.
    expect(kvBytesAtLoad(desc, 280000, 'f16')).toBe(3 * 2 ** 21)
    expect(scratchBytes(desc, 8)).toBe(4 * 8 * (64 + 64 + 128 + 64 + 192 + 16 + 64 + 40))
    const needs = memoryNeeds(desc, 17, 'int8', 8)
    expect(needs.totalBytes).toBe(weightBytes(desc) + kvBytes(desc, 17, 'int8') + scratchBytes(desc, 8))
  })
})

it('the architecture table names no tensor twice', () => {
  for (const { global, layer } of architectures) {
    const names = [...Object.values(global), ...Object.values(layer)].map((row) => row.name)
    expect(new Set(names).size).toBe(names.length)
  }
})
