/**
 * How much of maxStepMs a step is planned for. What a step takes scatters about what the cost model expects, on some machines by a
 * few percent, on others by half (CPUs that other work wants, too); so the share follows what happens: a planned step that takes
 * longer than the limit lowers it, one that does not raises it by a hundredth of that, until one in a hundred is too long (the
 * stochastic approximation of a quantile; Robbins and Monro, 1951). Never above four fifths: what lies between two steps takes time,
 * too, and the first long prompt after a quiet time finds nothing learned yet.
 */

const tooLong = 1 / 100
const stride = 0.1
const [least, most] = [0.5, 0.8]

export class StepMargin {
  #share = most

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
