/** Shapes of known models, for synthetic weights: what their makers' configurations say. */
import { OctavoError } from '../base/errors.ts'
import type { ModelSizes, WeightFormat } from '../base/native.ts'

/** Llama 3.1's stretching of low RoPE frequencies. */
export interface Llama3Scaling {
  factor: number
  lowFreqFactor: number
  highFreqFactor: number
  originalContext: number
}

export interface Preset extends ModelSizes {
  architecture: 'llama' | 'qwen3'
  normEps: number
  contextTokens: number
  ropeBase: number
  ropeScaling?: Llama3Scaling
  /** The output head is the embedding. */
  tied: boolean
}

const llama3 = (factor: number): Llama3Scaling => ({
  factor,
  lowFreqFactor: 1,
  highFreqFactor: 4,
  originalContext: 8192,
})

const llama2 = {
  architecture: 'llama',
  headSize: 128,
  vocabulary: 32000,
  normEps: 1e-5,
  ropeBase: 10000,
  tied: false,
} as const

export const presets = {
  'smollm2-135m': {
    architecture: 'llama',
    layers: 30,
    width: 576,
    heads: 9,
    kvHeads: 3,
    headSize: 64,
    feedForward: 1536,
    vocabulary: 49152,
    normEps: 1e-5,
    contextTokens: 8192,
    ropeBase: 100000,
    tied: true,
  },
  'tinyllama-1.1b': {
    ...llama2,
    layers: 22,
    width: 2048,
    heads: 32,
    kvHeads: 4,
    headSize: 64,
    feedForward: 5632,
    contextTokens: 2048,
  },
  'llama-3.2-3b': {
    architecture: 'llama',
    layers: 28,
    width: 3072,
    heads: 24,
    kvHeads: 8,
    headSize: 128,
    feedForward: 8192,
    vocabulary: 128256,
    normEps: 1e-5,
    contextTokens: 131072,
    ropeBase: 500000,
    ropeScaling: llama3(32),
    tied: true,
  },
  'llama-2-7b': { ...llama2, layers: 32, width: 4096, heads: 32, kvHeads: 32, feedForward: 11008, contextTokens: 4096 },
  'llama-2-13b': {
    ...llama2,
    layers: 40,
    width: 5120,
    heads: 40,
    kvHeads: 40,
    feedForward: 13824,
    contextTokens: 4096,
  },
  'llama-3.1-8b': {
    architecture: 'llama',
    layers: 32,
    width: 4096,
    heads: 32,
    kvHeads: 8,
    headSize: 128,
    feedForward: 14336,
    vocabulary: 128256,
    normEps: 1e-5,
    contextTokens: 131072,
    ropeBase: 500000,
    ropeScaling: llama3(8),
    tied: false,
  },
  'qwen3-0.6b': {
    architecture: 'qwen3',
    layers: 28,
    width: 1024,
    heads: 16,
    kvHeads: 8,
    headSize: 128,
    feedForward: 3072,
    vocabulary: 151936,
    normEps: 1e-6,
    contextTokens: 40960,
    ropeBase: 1000000,
    tied: true,
  },
} as const satisfies Record<string, Preset>

export type PresetName = keyof typeof presets

export const presetNames = Object.keys(presets) as PresetName[]

/** Formats of a synthetic model's matrices (f32 is that of its norms), and the mix of q4_k and q6_k that is called Q4_K_M. */
export const syntheticTypes = [
  ...(['q4_0', 'q4_1', 'q5_0', 'q5_1', 'q8_0', 'q2_k', 'q3_k', 'q4_k', 'q5_k', 'q6_k', 'q4_k_m'] as const),
  ...(['iq1_s', 'iq1_m', 'iq2_xxs', 'iq2_xs', 'iq2_s', 'iq3_xxs', 'iq3_s', 'iq4_nl', 'iq4_xs'] as const),
  ...(['mxfp4', 'nvfp4', 'f16', 'bf16'] as const),
] satisfies (WeightFormat | 'q4_k_m')[]
export type SyntheticType = (typeof syntheticTypes)[number]

export function parsePreset(name: string): PresetName {
  if (Object.hasOwn(presets, name)) return name as PresetName
  const expected = presetNames.join(', ')
  throw new OctavoError('INVALID_ARGUMENT', `preset: expected one of ${expected}, found '${name}'.`, { preset: name })
}

export function parseSyntheticType(name: string): SyntheticType {
  const type = syntheticTypes.find((t) => t === name.toLowerCase())
  if (type) return type
  const expected = syntheticTypes.join(', ')
  throw new OctavoError('INVALID_ARGUMENT', `type: expected one of ${expected}, found '${name}'.`, { type: name })
}
