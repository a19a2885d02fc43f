/** The time between one token of an output and the next, and its percentiles. */
export class Gaps {
  #gaps = new Float32Array(0)
  #count = 0
  #lastMs = 0

  token(nowMs: number): void {
    if (this.#lastMs > 0) {
      if (this.#count === this.#gaps.length) {
        const grown = new Float32Array(Math.max(32, 2 * this.#count))
        grown.set(this.#gaps)
        this.#gaps = grown
      }
      this.#gaps[this.#count++] = nowMs - this.#lastMs
    }
    this.#lastMs = nowMs
  }

  /** Of the nearest rank; 0 without gaps. */
  percentiles(): { p50: number; p99: number } {
    const sorted = this.#gaps.subarray(0, this.#count).sort()
    const at = (share: number) => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? 0
    return { p50: at(0.5), p99: at(0.99) }
  }
}
