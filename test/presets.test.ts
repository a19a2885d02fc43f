/** Presets: their headers are those of models that can be run, of the sizes that their names promise, with a vocabulary made for them. */
import { describe, expect, it } from 'vitest'
import { describeCheckpoint } from '../lib/model/checkpoint.ts'
import { presetNames, presets } from '../lib/model/presets.ts'
import { planParts, planSynthesis } from '../lib/model/synthesize.ts'
import { syntheticVocabulary } from '../lib/model/synthetic-vocabulary.ts'
import { refusal } from './refusal.ts'

describe('presets', () => {
  it.each(presetNames)('%s gives a header that can be run', (name) => {
    const plan = planSynthesis(name, 'q4_0')
    const { desc, metadata, info } = describeCheckpoint(name, planParts(plan), plan.seed)
    const { architecture, tied, ropeBase, ropeScaling, ...sizes } = { ropeScaling: undefined, ...presets[name] }
    expect(desc).toMatchObject({ architecture, ...sizes })
    expect(desc.rope).toMatchObject({
      base: ropeBase,
      dims: sizes.headSize,
      scaling: { kind: ropeScaling ? 'factors' : 'none' },
    })
    expect(desc.tensors.output === undefined).toBe(tied)
    expect(Object.values(desc.tensors).every((tensor) => tensor.file === -1)).toBe(true)
    expect(new Set(Object.values(desc.tensors).map((tensor) => tensor.offset)).size).toBe(
      Object.keys(desc.tensors).length,
    )
    expect((metadata['tokenizer.ggml.tokens'] as string[]).length).toBe(sizes.vocabulary)
    expect(info.weightFormat).toBe('q4_0')
  })

  it('have the sizes that their names promise', () => {
    const millions = presetNames.map((name) => {
      const plan = planSynthesis(name, 'q4_0')
      return Math.round(describeCheckpoint(name, planParts(plan)).parameters / 1e6)
    })
    expect(Object.fromEntries(presetNames.map((name, i) => [name, millions[i]]))).toEqual({
      'smollm2-135m': 135,
      'tinyllama-1.1b': 1100,
      'llama-3.2-3b': 3213,
      'llama-2-7b': 6738,
      'llama-2-13b': 13016,
      'llama-3.1-8b': 8030,
      'qwen3-0.6b': 596,
    })
  })

  it("take another file's vocabulary and its size", () => {
    const vocabularyFrom = {
      'tokenizer.ggml.tokens': ['a', 'b', 'c'],
      'tokenizer.ggml.model': 'gpt2',
      'llama.block_count': 9,
    }
    const plan = planSynthesis('smollm2-135m', 'f16', { vocabularyFrom })
    const { desc, metadata } = describeCheckpoint('x', planParts(plan))
    expect(desc.vocabulary).toBe(3)
    expect(desc.layers).toBe(30)
    expect(metadata['tokenizer.ggml.tokens']).toEqual(['a', 'b', 'c'])
    expect(desc.tensors.embed).toMatchObject({ format: 'f16', rows: 3, bytes: 3 * 576 * 2 })
    expect(refusal(() => planSynthesis('smollm2-135m', 'f16', { vocabularyFrom: {} })).code).toBe('MODEL_INVALID')
  })
})

describe('the synthetic vocabulary', () => {
  it('has unique tokens, and merges whose parts and results are tokens made before', () => {
    const metadata = syntheticVocabulary(49152)
    const tokens = metadata['tokenizer.ggml.tokens'] as string[]
    const merges = metadata['tokenizer.ggml.merges'] as string[]
    expect(new Set(tokens).size).toBe(49152)
    const known = new Map(tokens.map((token, id) => [token, id]))
    merges.forEach((line, i) => {
      const [left, right] = line.split(' ') as [string, string]
      const id = known.get(left + right)!
      if (id !== 259 + i || known.get(left)! >= id || known.get(right)! >= id) throw new Error(`merge ${i}: ${line}`)
    })
    expect(merges).toHaveLength(49152 - 259)
    expect(tokens[3 + 0x20]).toBe('Ġ')
    expect(tokens[3 + 0x0a]).toBe('Ċ')
  })
  it('refuses sizes that it cannot have', () => {
    expect(refusal(() => syntheticVocabulary(258)).code).toBe('INVALID_ARGUMENT')
    expect(refusal(() => syntheticVocabulary(500000)).code).toBe('INVALID_ARGUMENT')
  })
})
