/**
 * A preset and a weight type -> the GGUF file such a model would be: metadata and tensor list as llama.cpp's converter writes
 * them, weights from the seeded generator (cpp/files/synthetic.h). The same plan gives a file (`synthesizeFile`) or a description in
 * memory (`syntheticParts`); tensors carry the same numbers in both, so the weights are identical.
 */
import { closeSync, openSync, renameSync, rmSync, statSync, writeSync } from 'node:fs'
import { OctavoError } from '../base/errors.ts'
import { type GgufTensor, type GgufValue, native, type WeightFormat } from '../base/native.ts'
import { findArchitecture, type TensorRow } from './architectures.ts'
import type { CheckpointPart } from './checkpoint-part.ts'
import { formats } from './formats.ts'
import type { Metadata } from './metadata.ts'
import { type Preset, type PresetName, presets, type SyntheticType } from './presets.ts'
import { llama3Divisors } from './rope-scaling.ts'
import { syntheticVocabulary } from './synthetic-vocabulary.ts'

export interface SyntheticTensor {
  name: string
  /** f32 for vectors: norm weights around 1. */
  format: WeightFormat
  /** ggml order. */
  shape: number[]
  bytes: number
  /** Fixed values instead of generated ones. */
  values?: Float32Array
}

export interface SyntheticPlan {
  metadata: Record<string, GgufValue>
  tensors: SyntheticTensor[]
  seed: number
}

export interface SynthesisOptions {
  /** Metadata of another model: its `tokenizer.*` keys are copied, and its number of tokens replaces the preset's. */
  vocabularyFrom?: Metadata
  seed?: number
}

/** `general.file_type` */
const fileTypes: Record<SyntheticType, number> = {
  ...{ f16: 1, bf16: 32, q4_0: 2, q4_1: 3, q5_0: 8, q5_1: 9, q8_0: 7 },
  ...{ q2_k: 10, q3_k: 11, q4_k: 14, q4_k_m: 15, q5_k: 16, q6_k: 18, iq4_nl: 25, iq4_xs: 30, mxfp4: 38, nvfp4: 39 },
  ...{ iq1_s: 24, iq1_m: 31, iq2_xxs: 19, iq2_xs: 20, iq2_s: 28, iq3_xxs: 23, iq3_s: 26 },
}

/** What takes the place of a format of 256-wide blocks where the width is no multiple of them. */
const narrower: Partial<Record<WeightFormat, WeightFormat>> = { q4_k: 'q5_0', q5_k: 'q5_1', q6_k: 'q8_0' }
const narrowest: WeightFormat = 'iq4_nl'

/** llama.cpp's choices: Q4_K_M keeps the head, and the values and down projections of about half of the layers, in q6_k. */
function matrixFormat(type: SyntheticType, role: string, layer: number, layers: number, width: number): WeightFormat {
  const eighth = Math.floor(layers / 8)
  const finer = layer < eighth || layer >= Math.floor((7 * layers) / 8) || (layer - eighth) % 3 === 2
  const head = role === 'output'
  const mixed = head || (finer && ['v', 'down'].includes(role)) ? 'q6_k' : 'q4_k'
  const format = type === 'q4_k_m' ? mixed : type
  return width % formats[format].group === 0 ? format : (narrower[format] ?? narrowest)
}

/** The order in which the converter meets a layer's tensors. */
const layerOrder = ['attnNorm', 'down', 'gate', 'up', 'ffnNorm', 'kNorm', 'k', 'attnOut', 'qNorm', 'q', 'v']

export function planSynthesis(name: PresetName, type: SyntheticType, options: SynthesisOptions = {}): SyntheticPlan {
  const preset: Preset = presets[name]
  const tokenizer = options.vocabularyFrom
    ? copyTokenizer(options.vocabularyFrom)
    : syntheticVocabulary(preset.vocabulary)
  const vocabulary = (tokenizer['tokenizer.ggml.tokens'] as GgufValue[]).length
  const sizes = { ...preset, vocabulary }
  const architecture = findArchitecture(preset.architecture)
  const tensors: SyntheticTensor[] = []
  const add = (row: TensorRow | undefined, role: string, layer = 0) => {
    if (!row) return
    const format = row.vector ? 'f32' : matrixFormat(type, role, layer, preset.layers, row.width(sizes))
    const shape = row.vector ? [row.width(sizes)] : [row.width(sizes), row.rows(sizes)]
    tensors.push({ name: row.name.replace('{}', String(layer)), format, shape, bytes: tensorBytes(format, shape) })
  }
  if (preset.ropeScaling) {
    const values = llama3Divisors(preset.headSize, preset.ropeBase, preset.ropeScaling)
    tensors.push({ name: 'rope_freqs.weight', format: 'f32', shape: [values.length], bytes: values.byteLength, values })
  }
  if (!preset.tied) add(architecture.global.output, 'output')
  add(architecture.global.embed, preset.tied ? 'output' : 'embed')
  for (let layer = 0; layer < preset.layers; layer++)
    for (const role of layerOrder) add(architecture.layer[role], role, layer)
  add(architecture.global.outputNorm, 'outputNorm')
  return {
    metadata: { ...hyperparameters(name, preset, vocabulary, type), ...tokenizer },
    tensors,
    seed: options.seed ?? 1,
  }
}

function hyperparameters(
  name: string,
  preset: Preset,
  vocabulary: number,
  type: SyntheticType,
): Record<string, GgufValue> {
  const a = preset.architecture
  return {
    'general.architecture': a,
    'general.name': `synthetic ${name}`,
    'general.file_type': fileTypes[type],
    'general.quantization_version': 2,
    [`${a}.block_count`]: preset.layers,
    [`${a}.context_length`]: preset.contextTokens,
    [`${a}.embedding_length`]: preset.width,
    [`${a}.feed_forward_length`]: preset.feedForward,
    [`${a}.attention.head_count`]: preset.heads,
    [`${a}.attention.head_count_kv`]: preset.kvHeads,
    [`${a}.attention.key_length`]: preset.headSize,
    [`${a}.attention.value_length`]: preset.headSize,
    [`${a}.attention.layer_norm_rms_epsilon`]: preset.normEps,
    [`${a}.rope.dimension_count`]: preset.headSize,
    [`${a}.rope.freq_base`]: preset.ropeBase,
    [`${a}.vocab_size`]: vocabulary,
  }
}

function copyTokenizer(metadata: Metadata): Record<string, GgufValue> {
  const tokenizer = Object.fromEntries(Object.entries(metadata).filter(([key]) => key.startsWith('tokenizer.')))
  const tokens = tokenizer['tokenizer.ggml.tokens']
  if (!Array.isArray(tokens) || tokens.length === 0) {
    throw new OctavoError('MODEL_INVALID', 'The file to take the vocabulary from has no tokenizer.ggml.tokens.')
  }
  return tokenizer
}

const tensorBytes = (format: SyntheticTensor['format'], shape: number[]): number => {
  const { group, groupBytes } = formats[format]
  return (shape.reduce((a, b) => a * b, 1) / group) * groupBytes
}

/** The plan as the header of a file that does not exist: tensors are numbered where a file has offsets. */
export function planParts({ metadata, tensors }: SyntheticPlan): CheckpointPart[] {
  const listed: GgufTensor[] = tensors.map(({ name, format, shape, bytes }, number) => {
    return { name, type: formats[format].id, typeName: format, shape, offset: number, bytes }
  })
  const fileBytes = tensors.reduce((sum, tensor) => sum + tensor.bytes, 0)
  const read = ({ offset }: GgufTensor) => {
    const { values, name } = tensors[offset]!
    if (!values) throw new OctavoError('INTERNAL', `Tensor ${name} has no values on this side.`)
    return new Uint8Array(values.buffer)
  }
  return [{ gguf: { version: 3, alignment: 32, fileBytes, metadata, tensors: listed }, read }]
}

export function syntheticParts(preset: PresetName, type: SyntheticType): { parts: CheckpointPart[]; seed: number } {
  const plan = planSynthesis(preset, type)
  return { parts: planParts(plan), seed: plan.seed }
}

export interface SynthesisProgress {
  tensor: string
  writtenBytes: number
  totalBytes: number
}

/** Writes the file; it appears under its name when it is complete. Throws IO_ERROR. */
export function synthesizeFile(
  path: string,
  plan: SyntheticPlan,
  onProgress?: (progress: SynthesisProgress) => void,
): void {
  const existing = statSync(path, { throwIfNoEntry: false })
  if (existing && !existing.isFile()) {
    throw new OctavoError('IO_ERROR', `Cannot write ${path}: it exists and is not a regular file.`, { path })
  }
  const totalBytes = plan.tensors.reduce((sum, tensor) => sum + tensor.bytes, 0)
  let writtenBytes = 0
  const unfinished = `${path}.unfinished`
  const tensors = plan.tensors.map(({ name, format, shape }) => ({ name, format, shape }))
  try {
    native().ggufSynthesize(unfinished, plan.metadata, tensors, plan.seed, (index) => {
      const { name, bytes } = plan.tensors[index]!
      onProgress?.({ tensor: name, writtenBytes, totalBytes })
      writtenBytes += bytes
    })
    writeFixedValues(unfinished, plan)
    renameSync(unfinished, path)
  } catch (error) {
    rmSync(unfinished, { force: true })
    if (typeof (error as NodeJS.ErrnoException).syscall !== 'string') throw error
    throw new OctavoError('IO_ERROR', `Cannot write ${path}: ${(error as Error).message}`, { path }, { cause: error })
  }
}

function writeFixedValues(path: string, plan: SyntheticPlan): void {
  const fixed = plan.tensors.filter((tensor) => tensor.values)
  if (fixed.length === 0) return
  const offsets = new Map(
    native()
      .ggufRead(path)
      .tensors.map((tensor) => [tensor.name, tensor.offset]),
  )
  const fd = openSync(path, 'r+')
  try {
    for (const { name, values } of fixed)
      writeSync(fd, new Uint8Array(values!.buffer), 0, values!.byteLength, offsets.get(name)!)
  } finally {
    closeSync(fd)
  }
}
