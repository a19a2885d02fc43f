/** What a step, or a run of steps, brings: how much room it takes, and how many steps it was. */
import { draftField, draftStride } from '../../base/native.ts'
import { maxDrafts } from '../drafts/kinds.ts'
import type { TopLogprobs } from './request.ts'
import type { StepPlan } from './step-plan.ts'

/** What was brought; the arrays that `NativeEngine.wait` filled. */
export interface StepResults {
  /** Steps of the run. */
  steps: number
  /** By row, step after step; -1: no finite logit. */
  tokens: Int32Array
  logprobs: Float32Array
  /** The most likely tokens of a row. */
  top: (row: number) => TopLogprobs
  /** What they took together. */
  ms: number
  /** Of a plan with native drafters: what `NativeEngine.wait` reported. */
  drafts: Int32Array
}

/** Arrays for the largest run: every step of it may have as many guesses as there can be. */
export function resultsFor(
  { stepTokens, drafting }: { stepTokens: number; drafting?: object | undefined },
  top: StepResults['top'],
): StepResults {
  const rows = drafting === undefined ? stepTokens : stepTokens * (1 + maxDrafts)
  const drafts = new Int32Array(drafting === undefined ? 0 : stepTokens * draftStride)
  return { tokens: new Int32Array(rows), logprobs: new Float32Array(rows), drafts, top, steps: 1, ms: 0 }
}

/** Steps that brought so many rows. */
export function stepsOf(plan: StepPlan, drafts: Int32Array, rows: number): number {
  if (rows < 0 || (plan.steps === 1 && !plan.drafted)) return 1
  if (!plan.drafted) return rows / plan.nSegments
  let at = 0
  for (let left = rows; left > 0; at += draftStride) left -= drafts[at + draftField.draws]!
  return at / draftStride / plan.nSegments
}
