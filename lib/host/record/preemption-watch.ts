/**
 * Notices when requests take each other's blocks so often that much is computed twice: a line for the log, at first after a short
 * while, then ever more rarely.
 */

/** Steps looked at together, and preemptions in them that are worth a line: each costs the request its whole prefill. */
const windowSteps = 256
const manyPreemptions = 32
/** How many times as many steps pass until the next line. */
const backoff = 8

export class PreemptionWatch {
  #steps = 0
  #preemptions = 0
  #quietUntil = 0

  /** Counts so far. A line, or nothing. */
  look(steps: number, preemptions: number): string | undefined {
    if (steps - this.#steps < windowSteps) return undefined
    const [passed, came] = [steps - this.#steps, preemptions - this.#preemptions]
    this.#steps = steps
    this.#preemptions = preemptions
    if (came < manyPreemptions || steps < this.#quietUntil) return undefined
    this.#quietUntil = steps * backoff
    return `${came} preemptions in ${passed} steps: requests take each other's KV blocks and are computed again; a larger kv.memory or fewer requests at once would help.`
  }
}
