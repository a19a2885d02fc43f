/**
 * The architecture table: one row per family. A row says which `general.architecture` names it answers to, what its
 * tensors are called and shaped, and the traits in which its mathematics differs. Adding an architecture is adding a row.
 */
import { OctavoError } from '../base/errors.ts'
import type { ModelDesc, ModelSizes } from '../base/native.ts'

export interface TensorRow {
  /** Name in the file; `{}` stands for the layer number. */
  name: string
  rows(sizes: ModelSizes): number
  width(sizes: ModelSizes): number
  /** A norm's weights or a bias: kept as f32 values, never quantised. */
  vector: boolean
  optional?: boolean
}

export interface Architecture {
  family: string
  /** Values of general.architecture; metadata keys begin with the name that matched. */
  names: readonly string[]
  /** Which elements RoPE pairs: (2i, 2i+1), or (i, i + dims/2). */
  ropeStyle: ModelDesc['rope']['style']
  activation: ModelDesc['activation']
  /** Whether `<name>.attention.sliding_window` applies to every layer; else it is ignored. */
  slidingWindow: boolean
  /** By role (ModelDesc.tensors in native.ts). */
  global: Readonly<Record<string, TensorRow>>
  layer: Readonly<Record<string, TensorRow>>
}

const one = () => 1
const width = (s: ModelSizes) => s.width
const queries = (s: ModelSizes) => s.heads * s.headSize
const keys = (s: ModelSizes) => s.kvHeads * s.headSize
const feedForward = (s: ModelSizes) => s.feedForward
const vocabulary = (s: ModelSizes) => s.vocabulary
const headSize = (s: ModelSizes) => s.headSize

type Size = (s: ModelSizes) => number
const matrix = (name: string, rows: Size, columns: Size): TensorRow => ({ name, rows, width: columns, vector: false })
const vector = (name: string, size: Size): TensorRow => ({ name, rows: one, width: size, vector: true })
const optional = (row: TensorRow): TensorRow => ({ ...row, optional: true })

const globalTensors = {
  embed: matrix('token_embd.weight', vocabulary, width),
  outputNorm: vector('output_norm.weight', width),
  /** Absent: tied to the embedding. */
  output: optional(matrix('output.weight', vocabulary, width)),
}

const layerTensors = {
  attnNorm: vector('blk.{}.attn_norm.weight', width),
  q: matrix('blk.{}.attn_q.weight', queries, width),
  k: matrix('blk.{}.attn_k.weight', keys, width),
  v: matrix('blk.{}.attn_v.weight', keys, width),
  attnOut: matrix('blk.{}.attn_output.weight', width, queries),
  ffnNorm: vector('blk.{}.ffn_norm.weight', width),
  gate: matrix('blk.{}.ffn_gate.weight', feedForward, width),
  up: matrix('blk.{}.ffn_up.weight', feedForward, width),
  down: matrix('blk.{}.ffn_down.weight', width, feedForward),
}

const biases = {
  qBias: vector('blk.{}.attn_q.bias', queries),
  kBias: vector('blk.{}.attn_k.bias', keys),
  vBias: vector('blk.{}.attn_v.bias', keys),
}
const attnOutBias = optional(vector('blk.{}.attn_output.bias', width))

export const architectures: readonly Architecture[] = [
  {
    // Llama 2 and 3, Mistral, SmolLM2, TinyLlama, and everything else converted under that name.
    family: 'llama',
    names: ['llama'],
    ropeStyle: 'interleaved',
    activation: 'silu',
    slidingWindow: true,
    global: globalTensors,
    layer: {
      ...layerTensors,
      qBias: optional(biases.qBias),
      kBias: optional(biases.kBias),
      vBias: optional(biases.vBias),
      attnOutBias,
    },
  },
  {
    family: 'qwen2',
    names: ['qwen2'],
    ropeStyle: 'half',
    activation: 'silu',
    slidingWindow: false,
    global: globalTensors,
    layer: { ...layerTensors, ...biases, attnOutBias },
  },
  {
    family: 'qwen3',
    names: ['qwen3'],
    ropeStyle: 'half',
    activation: 'silu',
    slidingWindow: false,
    global: globalTensors,
    layer: {
      ...layerTensors,
      qNorm: vector('blk.{}.attn_q_norm.weight', headSize),
      kNorm: vector('blk.{}.attn_k_norm.weight', headSize),
    },
  },
]

/** Tensors that carry no weights of the forward pass: RoPE tables, read (rope-scaling.ts) or recomputed. */
export const ropeTensors = /^(rope_freqs|rope_factors_(long|short)|blk\.\d+\.(attn_rot_embd|rope_freqs))(\.weight)?$/

/** Throws MODEL_UNSUPPORTED, listing what there is. */
export function findArchitecture(name: string): Architecture {
  const row = architectures.find((a) => a.names.includes(name))
  if (row) return row
  const expected = architectures.flatMap((a) => a.names)
  const text = JSON.stringify(name.slice(0, 80))
  throw new OctavoError(
    'MODEL_UNSUPPORTED',
    `Architecture ${text} is not supported; these are: ${expected.join(', ')}.`,
    {
      architecture: name,
      expected,
    },
  )
}
