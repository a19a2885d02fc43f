/**
 * How much of maxStepMs a step is planned for. What a step takes scatters about what the cost model expects, on some machines by a
 * few percent, on others by half (CPUs that other work wants, too); so the share follows what happens: a planned step that takes
 * longer than the limit lowers it, one that does not raises it by a fiftieth of that, until one in fifty is too long (the stochastic
 * approximation of a quantile; Robbins and Monro, 1951).
 */

const tooLong = 1 / 50
const stride = 0.05
const [least, most] = [0.5, 0.9]

export class StepMargin {
  #share = 0.8

  /** Of the limit. */
  get share(): number {
    return this.#share
  }

  /** A step that was filled up to the limit took so long. */
  observe(ms: number, limitMs: number): void {
    const move = ms > limitMs ? tooLong - 1 : tooLong
    this.#share = Math.min(most, Math.max(least, this.#share + stride * move))
  }
}
