/**
 * What a model takes in memory, from its description alone. Quantised weights are repacked into blocks of 32 rows x 32 columns
 * (cpp/cpu/isa/kernels.h, packed.h: q4_0 takes 512 bytes of codes and 64 of scales; most formats take what the file takes, q3_k,
 * q4_k, q5_k, iq4_xs and mxfp4 1 to 6% more, the formats with codebooks a quarter to twice as much more), so rows are rounded up to 32; float weights stay as stored, of any width, rows rounded up alike. The scratch mirrors the buffers of cpp/model/model.cpp.
 */
import { blocksFor, kvBlockTokens } from '../base/kv-blocks.ts'
import { type KvDtype, type ModelDesc, native, type TensorSource, type WeightFormat } from '../base/native.ts'

const tileRows = 32
/** Bytes of D numbers of a key or a value; the 8-bit types have a scale of 2 bytes beside them. */
const kvRowBytes: Record<KvDtype, (headSize: number) => number> = {
  f16: (headSize) => 2 * headSize,
  bf16: (headSize) => 2 * headSize,
  fp8: (headSize) => headSize + 2,
  int8: (headSize) => headSize + 2,
}
/** Rows of logits that exist at once. */
const maxLogitRows = 64

/** Bytes of 32 rows x 32 columns once loaded. */
const tileBytes: Record<WeightFormat, number> = {
  ...{ f32: 4096, f16: 2048, bf16: 2048, q8_0: 1088, q4_0: 576, q4_1: 640, q5_0: 704, q5_1: 768 },
  ...{ q2_k: 336, q3_k: 456, q4_k: 592, q5_k: 720, q6_k: 840, iq4_nl: 576, iq4_xs: 552, mxfp4: 576, nvfp4: 640 },
  ...{ iq1_s: 424, iq1_m: 456, iq2_xxs: 424, iq2_xs: 456, iq2_s: 456, iq3_xxs: 552, iq3_s: 552 },
}

/** What an engine takes, whatever the size of its pool. */
export interface Footprint {
  weightBytes: number
  /** Keys and values of a block of the pool. */
  blockBytes: number
  /** Of a step. */
  bufferBytes: number
  /** What each block of the pool adds to them. */
  bufferBytesPerBlock: number
}

export interface MemoryNeeds {
  weightBytes: number
  kvBytes: number
  scratchBytes: number
  totalBytes: number
}

function residentBytes({ format, rows, width }: TensorSource): number {
  if (rows === 1) return 4 * width
  return (Math.ceil(rows / tileRows) * width * tileBytes[format]) / 32
}

export function weightBytes(desc: ModelDesc): number {
  return Object.values(desc.tensors).reduce((sum, tensor) => sum + residentBytes(tensor), 0)
}

/** Keys and values of one token in all layers. */
export function kvBytesPerToken(desc: ModelDesc, dtype: KvDtype): number {
  return 2 * desc.layers * desc.kvHeads * kvRowBytes[dtype](desc.headSize)
}

/** Of a pool that holds `tokens` tokens of one sequence. */
export function kvBytes(desc: ModelDesc, tokens: number, dtype: KvDtype): number {
  return blocksFor(tokens) * kvBlockTokens * kvBytesPerToken(desc, dtype)
}

/** Of a pool of `blocks` blocks, what is touched at load: little, and the rest as it fills. */
export const kvBytesAtLoad = ({ layers, kvHeads, headSize }: ModelDesc, blocks: number, kvDtype: KvDtype): number =>
  native().kvBytesAtLoad({ layers, kvHeads, headSize, blocks, kvDtype })

/**
 * About what the vocabulary takes: texts and merges in native memory, what the tokenizer keeps of them. Measured
 * (test/deep/load-memory.mjs): 210 bytes a token of a BPE vocabulary, 280 of a SentencePiece one.
 */
export const textBytes = (desc: ModelDesc): number => 240 * desc.vocabulary

/** Activations of a step of up to `stepTokens` tokens. */
export function scratchBytes(desc: ModelDesc, stepTokens: number): number {
  const attended = desc.heads * desc.headSize
  const perToken = [
    desc.width,
    desc.width,
    attended + 2 * desc.kvHeads * desc.headSize,
    attended,
    2 * desc.feedForward,
    desc.rope.dims,
    Math.max(desc.width, attended),
  ]
  const buffers = [...perToken.map((n) => n * stepTokens), Math.min(stepTokens, maxLogitRows) * desc.vocabulary]
  return 4 * buffers.reduce((sum, floats) => sum + Math.ceil(floats / 16) * 16, 0)
}

export function cpuFootprint(desc: ModelDesc, dtype: KvDtype, stepTokens: number): Footprint {
  return {
    weightBytes: weightBytes(desc),
    blockBytes: kvBytesPerToken(desc, dtype) * kvBlockTokens,
    bufferBytes: scratchBytes(desc, stepTokens),
    bufferBytesPerBlock: 0,
  }
}

export function memoryNeeds(desc: ModelDesc, kvTokens: number, dtype: KvDtype, stepTokens: number): MemoryNeeds {
  const needs = {
    weightBytes: weightBytes(desc),
    kvBytes: kvBytes(desc, kvTokens, dtype),
    scratchBytes: scratchBytes(desc, stepTokens),
  }
  return { ...needs, totalBytes: needs.weightBytes + needs.kvBytes + needs.scratchBytes }
}
