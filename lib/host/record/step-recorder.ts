/**
 * Records what an engine is told to do, so that the very same steps can be driven from C++ alone (`native().replaySteps`): the
 * difference between the two times is what everything around the engine costs. For measurements; a record grows without end.
 */
import { writeFileSync } from 'node:fs'
import { serialize } from 'node:v8'
import type { NativeEngine, NativeVocabulary, SamplerParams } from '../../native.ts'
import { segmentStride } from '../../native.ts'

/** Codes of cpp/step_replay.h. */
export const replayOp = {
  ...{ create: 0, match: 1, reserve: 2, truncate: 3, fork: 4, free: 5, sampler: 6, step: 7 },
} as const

export interface StepRecord {
  ops: Int32Array
  samplers: SamplerParams[]
  /** Of the grammars among the samplers: give it to the engine that is to do the steps again. */
  vocabulary?: NativeVocabulary
}

/** The engine, recorded; `file` is written when it is closed. */
export function recorded(engine: NativeEngine, file: string): NativeEngine {
  const ops: number[] = []
  const samplers: SamplerParams[] = []
  let vocabulary: NativeVocabulary | undefined
  /** The last step without its tokens. */
  let step: number[] = []
  const overrides: Partial<NativeEngine> = {
    sequenceCreate: (salt) => {
      const sequence = engine.sequenceCreate(salt)
      ops.push(replayOp.create, sequence)
      return sequence
    },
    sequenceMatch: (sequence, tokens) => {
      ops.push(replayOp.match, sequence, tokens.length, ...tokens)
      return engine.sequenceMatch(sequence, tokens)
    },
    sequenceReserve: (sequence, count) => {
      const done = engine.sequenceReserve(sequence, count)
      if (done) ops.push(replayOp.reserve, sequence, count)
      return done
    },
    sequenceTruncate: (sequence, length) => {
      ops.push(replayOp.truncate, sequence, length)
      engine.sequenceTruncate(sequence, length)
    },
    sequenceFork: (sequence) => {
      const copy = engine.sequenceFork(sequence)
      ops.push(replayOp.fork, sequence, copy)
      return copy
    },
    sequenceFree: (sequence) => {
      ops.push(replayOp.free, sequence)
      engine.sequenceFree(sequence)
    },
    setSampler: (sequence, params) => {
      ops.push(replayOp.sampler, sequence, samplers.length)
      samplers.push({ ...params })
      engine.setSampler(sequence, params)
    },
    setVocabulary: (given) => {
      // Copies: what threads share is not written to a file.
      vocabulary = { bytes: given.bytes.slice(), offsets: given.offsets.slice(), endTokens: given.endTokens.slice() }
      engine.setVocabulary(given)
    },
    submit: (segments, nSegments, tokens, nTokens) => {
      step = [replayOp.step, nSegments, nTokens, ...segments.subarray(0, nSegments * segmentStride)]
      ops.push(...step)
      for (let i = 0; i < nTokens; i++) ops.push(tokens[i]!)
      engine.submit(segments, nSegments, tokens, nTokens)
    },
    wait: (tokens, logprobs, steps = 1, seconds = 0) => {
      const rows = engine.wait(tokens, logprobs, steps, seconds)
      // The steps of a run after the first: with one token for each segment, drawn in the step before.
      const width = steps === 1 ? rows : step[1]!
      for (let row = 0; row + width < rows; row += width) {
        ops.push(...step)
        for (let i = 0; i < width; i++) ops.push(tokens[row + i]!)
      }
      return rows
    },
    close: () => {
      writeFileSync(
        file,
        serialize({ ops: Int32Array.from(ops), samplers, ...(vocabulary && { vocabulary }) } satisfies StepRecord),
      )
      engine.close()
    },
  }
  return new Proxy(engine, {
    get: (target, name) => {
      const own = overrides[name as keyof NativeEngine]
      if (own !== undefined) return own
      const value = Reflect.get(target, name, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}
