/**
 * The tokens after which native code ends a run of steps: the model's end tokens and, as long as they are open, the stop tokens of
 * requests. Of no consequence for any answer: what was computed past an end is dropped, and a run may end anywhere.
 */
import type { StopToken } from './wire/protocol.ts'

export class RunEnds {
  readonly #set: (tokens: Int32Array) => void
  #always: readonly number[] = []
  /** Open requests by stop token. */
  readonly #requests = new Map<number, number>()

  constructor(set: (tokens: Int32Array) => void) {
    this.#set = set
  }

  setAlways(tokens: readonly number[]): void {
    this.#always = tokens
    this.#tell()
  }

  open(stops: readonly StopToken[] | undefined): void {
    this.#count(stops, 1)
  }

  close(stops: readonly StopToken[] | undefined): void {
    this.#count(stops, -1)
  }

  #count(stops: readonly StopToken[] | undefined, change: number): void {
    if (stops === undefined || stops.length === 0) return
    const before = this.#requests.size
    for (const { token } of stops) {
      const requests = (this.#requests.get(token) ?? 0) + change
      if (requests === 0) this.#requests.delete(token)
      else this.#requests.set(token, requests)
    }
    if (this.#requests.size !== before) this.#tell()
  }

  #tell(): void {
    this.#set(Int32Array.from([...this.#always, ...this.#requests.keys()]))
  }
}
