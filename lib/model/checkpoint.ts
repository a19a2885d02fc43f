/**
 * Model files -> ModelDesc: hyperparameters from metadata, tensors by role from the architecture table, every size checked
 * against every other before native code sees it. MODEL_INVALID: the file contradicts itself. MODEL_UNSUPPORTED: a sound file
 * of a kind that octavo does not run; tensors nobody would use count as that, since ignoring them would compute something else.
 */
import { closeSync, openSync, readSync } from 'node:fs'
import { OctavoError } from '../base/errors.ts'
import {
  type GgufTensor,
  type ModelDesc,
  type ModelSizes,
  native,
  type TensorSource,
  weightFormats,
} from '../base/native.ts'
import { type Architecture, findArchitecture, ropeTensors, type TensorRow } from './architectures.ts'
import type { CheckpointPart } from './checkpoint-part.ts'
import { formats } from './formats.ts'
import { locateModel, type ModelLocation } from './locate.ts'
import { arrayLength, has, type Metadata, readInteger, readNumber, readString } from './metadata.ts'
import { ropeScaling } from './rope-scaling.ts'
import { syntheticParts } from './synthesize.ts'

/** A tensor and the file it lies in (index into Checkpoint.files; -1 = synthetic). */
export interface CheckpointTensor extends GgufTensor {
  file: number
}

/** What a program may want to know about a loaded model; plain data. */
export interface ModelInfo extends ModelSizes {
  name: string
  architecture: string
  parameters: number
  /** Bytes of all files; what they would be for a synthetic model. */
  fileBytes: number
  /** The format that holds most of the weights. */
  weightFormat: string
  /** Tokens the model was trained for. */
  contextTokens: number
}

export interface Checkpoint {
  name: string
  desc: ModelDesc
  /** Of the first file. */
  metadata: Metadata
  /** All tensors of all files, in file order. */
  tensors: CheckpointTensor[]
  fileBytes: number
  parameters: number
  info: ModelInfo
}

const maxSize = 2 ** 28
const maxHeadSize = 512 // max_head_size of cpp/backend.h

/**
 * Reads the headers of a model's files. Synchronous: some ten ms for a vocabulary of 128,000 tokens, a quarter of that without the
 * `texts` of the metadata's arrays: these and others of a vocabulary's length then have a length alone.
 */
export function openCheckpoint(model: string | ModelLocation, { texts } = { texts: true }): Checkpoint {
  const location = typeof model === 'string' ? locateModel(model) : model
  if (location.kind === 'synthetic') {
    const { parts, seed } = syntheticParts(location.preset, location.type)
    return describeCheckpoint(location.name, parts, seed)
  }
  const parts = location.files.map((path) => ({
    path,
    gguf: native().ggufRead(path, texts),
    read: (tensor: GgufTensor) => readTensor(path, tensor),
  }))
  return describeCheckpoint(location.name, parts)
}

/** Pure but for `read` of the parts, which is asked for RoPE tables alone. */
export function describeCheckpoint(name: string, parts: CheckpointPart[], seed = 0): Checkpoint {
  const metadata = parts[0]!.gguf.metadata
  const tensors = collectTensors(parts)
  const prefix = readString(metadata, 'general.architecture')
  const architecture = findArchitecture(prefix)
  const sizes = readSizes(metadata, prefix, tensors)
  const contextTokens = readInteger(metadata, `${prefix}.context_length`, 1, 2 ** 31 - 1)
  const desc: ModelDesc = {
    architecture: architecture.family,
    files: parts.flatMap((part) => part.path ?? []),
    ...sizes,
    normEps: readNumber(metadata, `${prefix}.attention.layer_norm_rms_epsilon`, 0),
    contextTokens,
    activation: architecture.activation,
    rope: readRope(metadata, prefix, architecture, sizes, contextTokens, (tensor) =>
      readVector(parts, tensors, tensor),
    ),
    slidingWindow: architecture.slidingWindow
      ? readInteger(metadata, `${prefix}.attention.sliding_window`, 0, 2 ** 31 - 1, 0)
      : 0,
    seed,
    tensors: assignRoles(architecture, sizes, tensors),
  }
  const fileBytes = parts.reduce((sum, part) => sum + part.gguf.fileBytes, 0)
  const parameters = [...tensors.values()].reduce((sum, t) => sum + t.shape.reduce((a, b) => a * b, 1), 0)
  const title = metadata['general.name']
  return {
    name,
    desc,
    metadata,
    tensors: [...tensors.values()],
    fileBytes,
    parameters,
    info: {
      name: typeof title === 'string' ? title : name,
      architecture: architecture.family,
      parameters,
      fileBytes,
      weightFormat: mainFormat(desc),
      contextTokens,
      ...sizes,
    },
  }
}

type Tensors = Map<string, CheckpointTensor>

function collectTensors(parts: CheckpointPart[]): Tensors {
  const tensors: Tensors = new Map()
  parts.forEach((part, i) => {
    checkSplit(part, i, parts.length)
    for (const tensor of part.gguf.tensors) {
      if (tensors.has(tensor.name)) throw invalidTensor(tensor.name, 'it once in all parts', 'it twice')
      tensors.set(tensor.name, { ...tensor, file: part.path === undefined ? -1 : i })
    }
  })
  const total = parts[0]!.gguf.metadata['split.tensors.count']
  if (parts.length > 1 && total !== undefined && total !== tensors.size) {
    throw new OctavoError('MODEL_INVALID', `Expected ${String(total)} tensors in all parts, found ${tensors.size}.`, {
      expected: total,
      found: tensors.size,
    })
  }
  return tensors
}

function checkSplit({ path, gguf }: CheckpointPart, index: number, count: number): void {
  const expected = readInteger(gguf.metadata, 'split.count', 0, 99999, 1) || 1
  const number = readInteger(gguf.metadata, 'split.no', 0, 99999, 0)
  if (expected === count && (count === 1 || number === index)) return
  throw new OctavoError(
    'MODEL_INVALID',
    count === 1
      ? `${path} is one of ${expected} parts: expected a name that ends in -00001-of-${String(expected).padStart(5, '0')}.gguf.`
      : `${path}: expected part ${index + 1} of ${count}, found part ${number + 1} of ${expected}.`,
    { path, expected: count, found: expected },
  )
}

function readSizes(metadata: Metadata, prefix: string, tensors: Tensors): ModelSizes {
  const size = (key: string, fallback?: number) => readInteger(metadata, `${prefix}.${key}`, 1, maxSize, fallback)
  const experts = readInteger(metadata, `${prefix}.expert_count`, 0, maxSize, 0)
  if (experts > 0) throw unsupported(`${prefix}.expert_count`, 'no experts (mixtures are not supported)', experts)
  const width = size('embedding_length')
  const heads = size('attention.head_count')
  const kvHeads = size('attention.head_count_kv', heads)
  if (!has(metadata, `${prefix}.attention.key_length`) && width % heads !== 0) {
    throw invalidKey(`${prefix}.attention.head_count`, `a divisor of ${width}`, heads)
  }
  const headSize = size('attention.key_length', width / heads)
  const valueSize = size('attention.value_length', headSize)
  const embed = tensors.get('token_embd.weight')
  if (!embed) throw missingTensor('token_embd.weight')
  const vocabulary = embed.shape[1] ?? 1
  if (vocabulary === 0) throw invalidTensor('token_embd.weight', 'a row for each token', embed.shape.join(' x '))
  const tokens = arrayLength(metadata, 'tokenizer.ggml.tokens')
  if (tokens !== undefined && (tokens > vocabulary || tokens === 0)) {
    throw invalidKey('tokenizer.ggml.tokens', `1 to ${vocabulary} tokens (rows of token_embd.weight)`, tokens)
  }
  const feedForward = size('feed_forward_length')
  if (heads % kvHeads !== 0) throw invalidKey(`${prefix}.attention.head_count_kv`, `a divisor of ${heads}`, kvHeads)
  if (valueSize !== headSize)
    throw unsupported(`${prefix}.attention.value_length`, `the key length, ${headSize}`, valueSize)
  // What each weight's format wants beyond that is seen at its tensor.
  if (width % 16 !== 0) throw unsupported(`${prefix}.embedding_length`, 'a multiple of 16', width)
  if (feedForward % 16 !== 0) throw unsupported(`${prefix}.feed_forward_length`, 'a multiple of 16', feedForward)
  if (headSize % 16 !== 0 || headSize > maxHeadSize)
    throw unsupported(
      `${prefix}.attention.key_length`,
      `a head size that is a multiple of 16, at most ${maxHeadSize}`,
      headSize,
    )
  const layers = readInteger(metadata, `${prefix}.block_count`, 1, 4096)
  return { layers, width, heads, kvHeads, headSize, feedForward, vocabulary }
}

function readRope(
  metadata: Metadata,
  prefix: string,
  architecture: Architecture,
  sizes: ModelSizes,
  contextTokens: number,
  vectors: (name: string) => Float32Array | undefined,
): ModelDesc['rope'] {
  const key = `${prefix}.rope.dimension_count`
  const dims = readInteger(metadata, key, 2, maxSize, sizes.headSize)
  if (dims % 2 !== 0 || dims > sizes.headSize)
    throw invalidKey(key, `an even number up to the head size, ${sizes.headSize}`, dims)
  return {
    style: architecture.ropeStyle,
    dims,
    base: readNumber(metadata, `${prefix}.rope.freq_base`, 1, 10000),
    scaling: ropeScaling({ metadata, prefix, dims, contextTokens, vectors }),
  }
}

function assignRoles(architecture: Architecture, sizes: ModelSizes, tensors: Tensors): ModelDesc['tensors'] {
  const roles: ModelDesc['tensors'] = {}
  const used = new Set<string>()
  const assign = (role: string, row: TensorRow, name: string) => {
    const tensor = tensors.get(name)
    if (!tensor) {
      if (row.optional) return
      throw missingTensor(name)
    }
    roles[role] = source(tensor, row, sizes)
    used.add(name)
  }
  for (const [role, row] of Object.entries(architecture.global)) assign(role, row, row.name)
  for (let layer = 0; layer < sizes.layers; layer++) {
    for (const [role, row] of Object.entries(architecture.layer)) {
      assign(`layer.${layer}.${role}`, row, row.name.replace('{}', String(layer)))
    }
  }
  // A tensor with a zero dimension has nothing that could be used: some files are marked with one.
  const stranger = [...tensors.values()].find(
    ({ name, shape }) => !used.has(name) && !ropeTensors.test(name) && !shape.includes(0),
  )?.name
  if (stranger !== undefined) {
    const what = `a tensor of the ${architecture.family} architecture with ${sizes.layers} layers`
    throw new OctavoError('MODEL_UNSUPPORTED', `Tensor ${stranger}: expected ${what}.`, {
      tensor: stranger,
      expected: what,
    })
  }
  return roles
}

function source(tensor: CheckpointTensor, row: TensorRow, sizes: ModelSizes): TensorSource {
  const format = weightFormats.find((f) => f === tensor.typeName)
  if (!format || (row.vector && !['f32', 'f16', 'bf16'].includes(format))) {
    const expected = row.vector ? 'f32, f16 or bf16' : weightFormats.join(', ')
    const found = tensor.typeName ?? `type ${tensor.type}`
    throw new OctavoError('MODEL_UNSUPPORTED', `Tensor ${tensor.name}: expected ${expected}, found ${found}.`, {
      tensor: tensor.name,
      expected,
      found,
    })
  }
  const [width = 1, rows = 1, ...rest] = tensor.shape
  const expected = [row.width(sizes), row.rows(sizes)]
  if (width !== expected[0] || rows !== expected[1] || rest.some((d) => d !== 1)) {
    throw invalidTensor(
      tensor.name,
      `shape ${(row.vector ? expected.slice(0, 1) : expected).join(' x ')}`,
      tensor.shape.join(' x '),
    )
  }
  const { group } = formats[format]
  if (width % group !== 0) {
    const multiple = `rows that are a multiple of ${group} wide, which ${format} wants`
    throw new OctavoError('MODEL_UNSUPPORTED', `Tensor ${tensor.name}: expected ${multiple}, found ${width}.`, {
      ...{ tensor: tensor.name, expected: `a multiple of ${group}`, found: width },
    })
  }
  return { file: tensor.file, offset: tensor.offset, bytes: tensor.bytes, format, rows, width }
}

function readVector(parts: CheckpointPart[], tensors: Tensors, name: string): Float32Array | undefined {
  const tensor = tensors.get(name)
  if (!tensor) return undefined
  const values = tensor.shape.reduce((a, b) => a * b, 1)
  if (tensor.typeName !== 'f32' || values > 4096) {
    throw invalidTensor(name, 'at most 4096 values of f32', `${values} of ${tensor.typeName}`)
  }
  const bytes = parts[Math.max(0, tensor.file)]!.read(tensor)
  return new Float32Array(bytes.slice().buffer)
}

function readTensor(path: string, tensor: GgufTensor): Uint8Array {
  const bytes = new Uint8Array(tensor.bytes)
  try {
    const fd = openSync(path, 'r')
    try {
      const found = readSync(fd, bytes, 0, bytes.length, tensor.offset)
      if (found !== bytes.length) throw invalidTensor(tensor.name, `${bytes.length} bytes`, `${found} (file cut short)`)
    } finally {
      closeSync(fd)
    }
  } catch (error) {
    if (error instanceof OctavoError) throw error
    throw new OctavoError('IO_ERROR', `Cannot read ${path}: ${(error as Error).message}`, { path }, { cause: error })
  }
  return bytes
}

function mainFormat(desc: ModelDesc): string {
  const weights = new Map<string, number>()
  for (const { format, rows, width } of Object.values(desc.tensors)) {
    weights.set(format, (weights.get(format) ?? 0) + rows * width)
  }
  return [...weights].sort((a, b) => b[1] - a[1])[0]![0]
}

const details = (name: string, value: string, expected: string, found: unknown) => ({ [name]: value, expected, found })

const invalidKey = (key: string, expected: string, found: unknown) =>
  new OctavoError(
    'MODEL_INVALID',
    `${key}: expected ${expected}, found ${found}.`,
    details('key', key, expected, found),
  )

const unsupported = (key: string, expected: string, found: unknown) =>
  new OctavoError(
    'MODEL_UNSUPPORTED',
    `${key}: expected ${expected}, found ${found}.`,
    details('key', key, expected, found),
  )

const invalidTensor = (tensor: string, expected: string, found: string) =>
  new OctavoError(
    'MODEL_INVALID',
    `Tensor ${tensor}: expected ${expected}, found ${found}.`,
    details('tensor', tensor, expected, found),
  )

const missingTensor = (tensor: string) => new OctavoError('MODEL_INVALID', `Tensor ${tensor} is missing.`, { tensor })
