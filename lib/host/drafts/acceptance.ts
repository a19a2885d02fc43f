/**
 * How likely guesses of each kind are right: right ones over those looked at, with the past fading. Of a text that was found again the
 * first guess and those after a right one have chances of their own: a match of two tokens is chance as a rule, but where its first
 * guess is right, a copy has begun. A request's own numbers count for the last dozen of its guesses, so that it sees a text change
 * from copying to free within some twenty tokens; what all requests show stands in where it has few.
 */
import { draftField } from '../../base/native.ts'
import { maxDrafts, modelKind, nDraftKinds } from './kinds.ts'

/** What is left of a request's counts after each guess, and of the engine's. */
const requestMemory = 0.9
const engineMemory = 0.995
/** What all requests show counts like so many guesses of the request: texts copy or do not, a draft model is as good as it is. */
const priorWeight = 3
const modelPriorWeight = 16
/** Before anything is known: of first guesses by kind, then of those after. */
const expected = Float64Array.of(...[0.4, 0.55, 0.75, 0.9, 0.3, 0.75, 0.7], ...[0.5, 0.65, 0.75, 0.9, 0.4, 0.75, 0.7])

/** What is left after so many guesses. */
const powers = (memory: number) => Float64Array.from({ length: maxDrafts + 2 }, (_, seen) => memory ** seen)
const ofRequests = powers(requestMemory)
const ofEngines = powers(engineMemory)

export class Acceptance {
  readonly #right = new Float64Array(expected.length)
  readonly #seen = new Float64Array(expected.length)
  readonly #left: Float64Array

  private constructor(left: Float64Array) {
    this.#left = left
  }

  static ofEngine(): Acceptance {
    const engine = new Acceptance(ofEngines)
    for (const [at, chance] of expected.entries()) engine.#add(at, priorWeight * chance, priorWeight)
    return engine
  }

  static ofRequest(): Acceptance {
    return new Acceptance(ofRequests)
  }

  /** One step's report; guesses that were looked up and not computed tell of their first. */
  observe(kind: number, reports: Int32Array, at: number): void {
    const proposed = reports[at + draftField.proposed]!
    const right = reports[at + draftField.draws]! - 1
    const seen = Math.min(proposed, right + 1)
    if (proposed === 0) this.#add(kind, reports[at + draftField.foreseen]!, 1)
    else if (kind === modelKind) this.#add(kind, right, seen)
    else {
      this.#add(kind, Math.min(1, right), 1)
      if (seen > 1) this.#add(nDraftKinds + kind, right - 1, seen - 1)
    }
  }

  /** It was not asked for any: what it was worth to the request fades, or it would never be asked again. */
  forget(kind: number): void {
    this.#right[kind] = this.#right[kind]! * requestMemory
    this.#seen[kind] = this.#seen[kind]! * requestMemory
  }

  /** The chance of the first guess, of the draft model of each. */
  chance(kind: number): number {
    return this.#seen[kind]! > 0 ? this.#right[kind]! / this.#seen[kind]! : expected[kind]!
  }

  /** The same, leaning on `prior` where little is known. */
  chanceWith(kind: number, prior: Acceptance): number {
    const weight = kind === modelKind ? modelPriorWeight : priorWeight
    return (this.#right[kind]! + weight * prior.chance(kind)) / (this.#seen[kind]! + weight)
  }

  /** The chance of a guess after a right one. */
  following(kind: number, prior: Acceptance): number {
    return this.chanceWith(nDraftKinds + kind, prior)
  }

  #add(at: number, right: number, seen: number): void {
    const left = this.#left[seen]!
    this.#right[at] = this.#right[at]! * left + right
    this.#seen[at] = this.#seen[at]! * left + seen
  }
}
