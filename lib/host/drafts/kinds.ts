/**
 * What guesses are told apart by: the native drafter that made them and, of a text that was found again, how many tokens of it had
 * matched. Each kind has an acceptance of its own, and a number of guesses that pays (cpp/drafts/drafting.h: same kinds, same order).
 */
import { draftField, draftSource } from '../../base/native.ts'

/** Most guesses of one request in one step: max_drafts of cpp/drafts/drafting.h. */
export const maxDrafts = 15

/** Matches of 2, 3-4, 5-8 and more tokens in the own text; of up to 4 and more in a text of the tenant; the draft model. */
export const draftKinds = ['own2', 'own4', 'own8', 'own', 'shared4', 'shared', 'model'] as const
export const nDraftKinds = draftKinds.length
export const firstSharedKind = 4
export const modelKind = 6

const fieldBits = 4
const fieldMask = 15

/** Most guesses of each kind in one number, as a segment carries them. */
export function packMost(most: ArrayLike<number>): number {
  let packed = 0
  for (let kind = 0; kind < nDraftKinds; kind++) packed |= most[kind]! << (fieldBits * kind)
  return packed
}

/** In their place: no guess is computed, and looked up in the first step of a run only. */
export const lookOnce = 1 << (fieldBits * nDraftKinds)

/** The largest of the packed numbers. */
export function largestOf(packed: number): number {
  let largest = 0
  for (let kind = 0; kind < nDraftKinds; kind++) largest = Math.max(largest, (packed >> (fieldBits * kind)) & fieldMask)
  return largest
}

/** Of a report (`draftStride` numbers from `at`): the kind of its guess, -1 for none. */
export function kindOf(reports: Int32Array, at: number): number {
  switch (reports[at + draftField.source]) {
    case draftSource.own:
      return reports[at + draftField.confidence]!
    case draftSource.shared:
      return firstSharedKind + reports[at + draftField.confidence]!
    case draftSource.model:
      return modelKind
    default:
      return -1
  }
}
