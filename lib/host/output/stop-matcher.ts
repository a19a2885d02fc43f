/**
 * Stop strings in a stream of text parts. Text that may be the beginning of a stop string is held back until it is clear
 * what it is; `end` releases it. The first stop string to be complete wins, the longest of those that end at the same
 * place: so the result is a function of the text alone, never of how it was cut into parts. Neither the stop string nor
 * what follows belongs to the text.
 */

export interface StopResult {
  /** Text that is certain: no stop string can begin in it. */
  text: string
  /** The stop string that ended the text. */
  stop?: string
}

export class StopMatcher {
  readonly #stops: readonly string[]
  readonly #firstUnits: ReadonlySet<number>
  /** A held text is shorter than the longest stop string. */
  readonly #longest: number
  #held = ''
  #done = false

  /** Empty stop strings are ignored. */
  constructor(stops: readonly string[]) {
    this.#stops = stops.filter((stop) => stop !== '')
    this.#firstUnits = new Set(this.#stops.map((stop) => stop.charCodeAt(0)))
    this.#longest = this.#stops.reduce((longest, stop) => Math.max(longest, stop.length), 0)
  }

  /** After a stop string has matched, every further part is nothing. */
  push(part: string): StopResult {
    if (this.#done) return { text: '' }
    if (this.#longest === 0) return { text: part }
    const text = this.#held + part
    const found = this.#find(text)
    if (found) {
      this.#done = true
      this.#held = ''
      return { text: text.slice(0, found.start), stop: found.stop }
    }
    const certain = this.#certain(text)
    this.#held = text.slice(certain)
    return { text: text.slice(0, certain) }
  }

  /** What was held back: the text ended before a stop string was complete. */
  end(): string {
    const held = this.#held
    this.#held = ''
    this.#done = true
    return held
  }

  #find(text: string): { start: number; stop: string } | undefined {
    let best: { start: number; stop: string } | undefined
    let bestEnd = Number.POSITIVE_INFINITY
    for (const stop of this.#stops) {
      const start = text.indexOf(stop)
      if (start < 0) continue
      const end = start + stop.length
      if (end > bestEnd || (end === bestEnd && start >= best!.start)) continue
      best = { start, stop }
      bestEnd = end
    }
    return best
  }

  /** Where the longest possible beginning of a stop string starts. */
  #certain(text: string): number {
    for (let at = Math.max(0, text.length - this.#longest + 1); at < text.length; at++) {
      if (!this.#firstUnits.has(text.charCodeAt(at))) continue
      const tail = text.slice(at)
      if (this.#stops.some((stop) => stop.startsWith(tail))) return at
    }
    return text.length
  }
}
