/** Guesses for one request: what they are worth, and what they came to. */
import type { SpeculationTimings } from '../wire/protocol.ts'
import { Acceptance } from './acceptance.ts'

export class RequestDrafts {
  readonly acceptance = Acceptance.ofRequest()
  /** Runs of steps that nobody looks for guesses (controller.ts), and steps that somebody did since. */
  rest = 0
  looked = 0
  /** What guesses save, in the time of a token without: the mean of the latest steps. */
  saved = 0
  proposed = 0
  accepted = 0
  stepsSaved = 0
  /** Guesses by their place in the chain, and those of them that were right. */
  readonly #proposedAt: number[] = []
  readonly #acceptedAt: number[] = []

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
