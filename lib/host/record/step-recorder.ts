/**
 * Records what an engine is told to do, so that the very same steps can be driven from C++ alone (`native().replaySteps`): the
 * difference between the two times is what everything around the engine costs. For measurements; a record grows without end.
 */
import { writeFileSync } from 'node:fs'
import { serialize } from 'node:v8'
import type { NativeEngine, NativeVocabulary, SamplerParams } from '../../base/native.ts'
import { draftField, draftStride, segmentMode, segmentStride } from '../../base/native.ts'

/** Codes of cpp/step_replay.h. */
export const replayOp = {
  ...{ create: 0, match: 1, reserve: 2, truncate: 3, fork: 4, free: 5, sampler: 6, step: 7, accept: 8 },
} as const

export interface StepRecord {
  ops: Int32Array
  samplers: SamplerParams[]
  /** Of the grammars among the samplers: give it to the engine that is to do the steps again. */
  vocabulary?: NativeVocabulary
}

const noDrafts = new Int32Array(0)

/** Rows of a segment that came back. */
function rowsOf(segments: Int32Array, s: number, drafts: Int32Array, report: number, rows: number): number {
  const mode = segments[s + 3]!
  if (mode === segmentMode.draft) return drafts[report + draftField.draws]!
  return mode === segmentMode.score && rows > 0 && segments[s + 4]! < 0 ? rows - 1 : rows
}

/** The engine, recorded; `file` is written when it is closed. */
export function recorded(engine: NativeEngine, file: string): NativeEngine {
  const ops: number[] = []
  const samplers: SamplerParams[] = []
  let vocabulary: NativeVocabulary | undefined
  /** The last step that was submitted. */
  let segments = new Int32Array(0)
  let first = new Int32Array(0)
  /** A step with `given[i]` in front of segment i, and after it what `results` says of guesses; its rows begin at `row`. */
  const pushStep = (
    given: Int32Array,
    results: { drawn: Int32Array; row: number; drafts: Int32Array; report: number },
  ) => {
    const accepted: number[] = []
    const at = ops.length
    ops.push(replayOp.step, segments.length / segmentStride, 0, ...segments)
    let { row, report } = results
    let next = 0
    for (let s = 0; s < segments.length; s += segmentStride) {
      const [sequence, count, rows, mode] = segments.subarray(s, s + 4) as unknown as [number, number, number, number]
      for (let i = 0; i < count; i++) ops.push(given[next++]!)
      if (mode === segmentMode.draft) {
        const right = results.drafts[report + draftField.draws]! - 1
        const proposed = results.drafts[report + draftField.proposed]!
        const own = at + 3 + s
        ops[own + 1] = ops[own + 2] = 1 + proposed
        ops[own + 3] = segmentMode.draw
        ops[own + 4] = -1
        // Which guesses were wrong is not known; others cost the same.
        for (let i = 0; i < proposed; i++) ops.push(results.drawn[row + Math.min(i, right)]!)
        if (right > 0) accepted.push(replayOp.accept, sequence, right, ...results.drawn.subarray(row, row + right))
      }
      row += rowsOf(segments, s, results.drafts, report, rows)
      report += draftStride
    }
    ops[at + 2] = ops.length - at - 3 - segments.length
    ops.push(...accepted)
  }
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
    sequenceAccept: (sequence, tokens, from, count) => {
      ops.push(replayOp.accept, sequence, count, ...tokens.subarray(from, from + count))
      engine.sequenceAccept(sequence, tokens, from, count)
    },
    submit: (planned, nSegments, tokens, nTokens) => {
      segments = planned.slice(0, nSegments * segmentStride)
      first = tokens.slice(0, nTokens)
      engine.submit(planned, nSegments, tokens, nTokens)
    },
    wait: (drawn, logprobs, steps = 1, seconds = 0, drafts = noDrafts, draws = undefined) => {
      const rows = engine.wait(drawn, logprobs, steps, seconds, drafts, draws)
      let given = first
      for (let row = 0, report = 0; row < Math.max(rows, 1); ) {
        pushStep(given, { drawn, row, drafts, report })
        // The steps of a run after the first: every segment's last draw.
        const last: number[] = []
        for (let s = 0; s < segments.length; s += segmentStride, report += draftStride) {
          row += rowsOf(segments, s, drafts, report, segments[s + 2]!)
          last.push(drawn[row - 1]!)
        }
        given = Int32Array.from(last)
        if (rows <= 0) break
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
