/**
 * RoPE scaling as GGUF tells it -> RopeScaling. Metadata below `<architecture>.rope.scaling.`: type (none, linear, yarn,
 * longrope), factor, original_context_length, attn_factor, yarn_*; before there was a type, `rope.scale_linear`. Llama 3.1's
 * stretching has no keys: the converter stores its divisors as the tensor `rope_freqs.weight`.
 */
import { OctavoError } from '../base/errors.ts'
import type { RopeScaling } from '../base/native.ts'
import { has, type Metadata, readInteger, readNumber, readString } from './metadata.ts'
import type { Llama3Scaling } from './presets.ts'

/** The f32 values of a tensor, or undefined when the file has none of that name. */
export type VectorReader = (name: string) => Float32Array | undefined

export interface RopeInput {
  metadata: Metadata
  /** The architecture's key prefix. */
  prefix: string
  dims: number
  contextTokens: number
  vectors: VectorReader
}

const maxTokens = 2 ** 31 - 1

export function ropeScaling(input: RopeInput): RopeScaling {
  const { metadata, prefix } = input
  const key = (name: string) => `${prefix}.rope.scaling.${name}`
  const legacy = `${prefix}.rope.scale_linear`
  const factorKey = has(metadata, key('factor')) || !has(metadata, legacy) ? key('factor') : legacy
  // A file without a type means linear when it gives a factor.
  const type = readString(metadata, key('type'), has(metadata, factorKey) ? 'linear' : 'none')
  const divisors = readFactors(input, 'rope_freqs.weight')
  const originalContext = () => readInteger(metadata, key('original_context_length'), 1, maxTokens, input.contextTokens)
  switch (type) {
    case 'none':
      return divisors ? { kind: 'factors', factors: divisors, magnitude: 1 } : { kind: 'none' }
    case 'linear': {
      const factor = readNumber(metadata, factorKey, 0, 1)
      if (divisors) return { kind: 'factors', factors: divisors.map((d) => d * factor), magnitude: 1 }
      return factor === 1 ? { kind: 'none' } : { kind: 'linear', factor }
    }
    case 'yarn':
      if (divisors) throw new OctavoError('MODEL_UNSUPPORTED', 'YaRN together with rope_freqs.weight is not supported.')
      return {
        kind: 'yarn',
        factor: readNumber(metadata, factorKey, 0),
        originalContext: originalContext(),
        betaFast: readNumber(metadata, key('yarn_beta_fast'), 0, 32),
        betaSlow: readNumber(metadata, key('yarn_beta_slow'), 0, 1),
        extrapolationFactor: readNumber(metadata, key('yarn_ext_factor'), -1, 1),
        attentionFactor: readNumber(
          metadata,
          key('yarn_attn_factor'),
          0,
          readNumber(metadata, key('attn_factor'), 0, 1),
        ),
      }
    case 'longrope':
      return longrope(input, originalContext(), readNumber(metadata, key('attn_factor'), 0, 1))
    default:
      throw new OctavoError(
        'MODEL_UNSUPPORTED',
        `${key('type')}: expected none, linear, yarn or longrope, found ${type}.`,
        {
          key: key('type'),
          found: type,
        },
      )
  }
}

/**
 * Two sets of divisors, for contexts up to and beyond the original one. Which one applies is decided by what the model was
 * trained for and not by a request's length, so that a cached prefix means the same in every request.
 */
function longrope(input: RopeInput, originalContext: number, magnitude: number): RopeScaling {
  const name = input.contextTokens > originalContext ? 'rope_factors_long.weight' : 'rope_factors_short.weight'
  const factors = readFactors(input, name)
  if (!factors) {
    throw new OctavoError('MODEL_INVALID', `Tensor ${name} is missing: rope scaling is longrope.`, { tensor: name })
  }
  return { kind: 'factors', factors, magnitude }
}

function readFactors({ vectors, dims }: RopeInput, tensor: string): number[] | undefined {
  const values = vectors(tensor)
  if (!values) return undefined
  const bad = values.findIndex((v) => !(Number.isFinite(v) && v > 0))
  if (values.length !== dims / 2 || bad >= 0) {
    const found = bad >= 0 ? `${values[bad]} at ${bad}` : `${values.length} values`
    const expected = `${dims / 2} positive numbers`
    throw new OctavoError('MODEL_INVALID', `Tensor ${tensor}: expected ${expected}, found ${found}.`, {
      tensor,
      expected,
      found,
    })
  }
  return Array.from(values)
}

/**
 * Llama 3.1's divisors as f32: 1 for wavelengths below originalContext / highFreqFactor, `factor` for those above
 * originalContext / lowFreqFactor, a blend of the two frequencies between.
 */
export function llama3Divisors(dims: number, base: number, scaling: Llama3Scaling): Float32Array {
  const { factor, lowFreqFactor, highFreqFactor, originalContext } = scaling
  return Float32Array.from({ length: dims / 2 }, (_, i) => {
    const wavelength = 2 * Math.PI * base ** ((2 * i) / dims)
    if (wavelength < originalContext / highFreqFactor) return 1
    if (wavelength > originalContext / lowFreqFactor) return factor
    const smooth = (originalContext / wavelength - lowFreqFactor) / (highFreqFactor - lowFreqFactor)
    return 1 / ((1 - smooth) / factor + smooth)
  })
}
