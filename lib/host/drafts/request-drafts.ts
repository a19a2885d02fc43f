/** Guesses for one request: what they are worth, and what they came to. */
import type { SpeculationTimings } from '../wire/protocol.ts'
import { Acceptance } from './acceptance.ts'

export class RequestDrafts {
  #acceptance: Acceptance | undefined
  /** Runs of steps in which nobody is to look for guesses, and single looks in a row that foresaw the draw (controller.ts). */
  rest = 0
  promise = 0
  /** What guesses save, in the time of a token without: the mean of the latest steps. */
  saved = 0
  /** Tokens of the text before, as far as the draft model was given them; whether it has guessed, which takes all of them. */
  read = 0
  guessed = false
  proposed = 0
  accepted = 0
  stepsSaved = 0
  /** Guesses by their place in the chain, and those of them that were right. */
  readonly #proposedAt: number[] = []
  readonly #acceptedAt: number[] = []

  /** Made when it is asked for: many requests are hardly looked at. */
  get acceptance(): Acceptance {
    this.#acceptance ??= Acceptance.ofRequest()
    return this.#acceptance
  }

  /** `proposed` guesses were computed in a step, the first `right` of them were right. */
  count(proposed: number, right: number): void {
    this.proposed += proposed
    this.accepted += right
    for (let place = 0; place < proposed; place++) {
      this.#proposedAt[place] = (this.#proposedAt[place] ?? 0) + 1
      this.#acceptedAt[place] = (this.#acceptedAt[place] ?? 0) + Number(place < right)
    }
  }

  timings(): SpeculationTimings {
    const { proposed, accepted, stepsSaved } = this
    const acceptanceByPosition = this.#proposedAt.map((guesses, place) => this.#acceptedAt[place]! / guesses)
    return { proposed, accepted, stepsSaved, acceptanceByPosition }
  }
}
