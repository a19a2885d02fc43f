import type { ModelDesc } from '../lib/base/native.ts'

/** A model to plan memory for: 1 KiB of keys and values a token, 16 KiB a block. */
export const desc: ModelDesc = {
  ...{ architecture: 'llama', files: [], layers: 4, width: 128, heads: 2, kvHeads: 1, headSize: 64, feedForward: 256 },
  ...{ vocabulary: 1000, normEps: 1e-5, contextTokens: 2048, activation: 'silu', slidingWindow: 0, seed: 0 },
  rope: { style: 'half', dims: 64, base: 10000, scaling: { kind: 'none' } },
  tensors: { embed: { file: 0, offset: 0, bytes: 0, format: 'q4_0', rows: 1000, width: 128 } },
}
export const stepTokens = 64
