/** The sampling options of a request -> what its host is told. */

import type { CallSite } from './base/call-site.ts'
import type { SamplingSpec } from './host/wire/protocol.ts'
import type { ParsedSampling } from './options.ts'
import { tokenIds } from './prompts.ts'

const noBias = { biasTokens: new Int32Array(0), biasValues: new Float32Array(0) }

export function samplingSpec(
  options: ParsedSampling,
  { seed, vocabulary, modelVocabulary }: { seed: number; vocabulary: number; modelVocabulary: number },
  site: CallSite,
): SamplingSpec {
  const { temperature, topK, topP, minP, repetitionPenalty, presencePenalty, frequencyPenalty } = options
  const logprobs = options.logprobs === false ? -1 : Math.min(options.logprobs, modelVocabulary)
  const numbers = { temperature, topK, topP, minP, repetitionPenalty, presencePenalty, frequencyPenalty }
  return { ...numbers, seed, logprobs, vocabulary, ...biasOf(options, modelVocabulary, site) }
}

function biasOf(
  { logitBias }: ParsedSampling,
  modelVocabulary: number,
  site: CallSite,
): Pick<SamplingSpec, 'biasTokens' | 'biasValues'> {
  const bias = Object.entries(logitBias)
  if (bias.length === 0) return noBias
  const ids = bias.map(([id]) => Number(id))
  const biasTokens = tokenIds(ids, modelVocabulary, 'logitBias', site)
  return { biasTokens, biasValues: Float32Array.from(bias, ([, value]) => value) }
}
