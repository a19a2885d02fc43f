/** The sampling options of a request -> what its host is told. */

import type { CallSite } from './base/call-site.ts'
import type { SamplingSpec } from './host/wire/protocol.ts'
import type { ParsedSampling } from './options.ts'
import { tokenIds } from './prompts.ts'

export function samplingSpec(
  options: ParsedSampling,
  { seed, vocabulary, modelVocabulary }: { seed: number; vocabulary: number; modelVocabulary: number },
  site: CallSite,
): SamplingSpec {
  const { temperature, topK, topP, minP, repetitionPenalty, presencePenalty, frequencyPenalty } = options
  const bias = Object.entries(options.logitBias)
  const biasTokens = tokenIds(
    bias.map(([id]) => Number(id)),
    modelVocabulary,
    'logitBias',
    site,
  )
  const biasValues = Float32Array.from(bias, ([, value]) => value)
  const logprobs = options.logprobs === false ? -1 : Math.min(options.logprobs, modelVocabulary)
  const numbers = { temperature, topK, topP, minP, repetitionPenalty, presencePenalty, frequencyPenalty }
  return { ...numbers, seed, logprobs, vocabulary, biasTokens, biasValues }
}
