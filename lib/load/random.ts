/** Seeded random numbers for load tests: the same seed gives the same requests at the same times. */

export class Random {
  #state: number

  constructor(seed: number) {
    this.#state = (seed ^ 0x9e3779b9) >>> 0
  }

  /** 0 <= x < 1; mulberry32. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let t = this.#state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }

  /** 0..n-1. */
  below(n: number): number {
    return Math.floor(this.next() * n)
  }

  /** With this mean: the gaps of a Poisson process. */
  exponential(mean: number): number {
    return -Math.log(1 - this.next()) * mean
  }

  /** With this mean; sigma is the standard deviation of the logarithm. */
  logNormal(mean: number, sigma: number): number {
    const normal = Math.sqrt(-2 * Math.log(1 - this.next())) * Math.cos(2 * Math.PI * this.next())
    return mean * Math.exp(sigma * normal - (sigma * sigma) / 2)
  }

  /** 0..n-1, k with probability proportional to 1 / (k + 1). */
  zipf(n: number): number {
    let total = 0
    for (let k = 1; k <= n; k++) total += 1 / k
    let left = this.next() * total
    for (let k = 1; k < n; k++) {
      left -= 1 / k
      if (left < 0) return k - 1
    }
    return n - 1
  }

  /** A generator of its own, for one part of a test: what other parts draw does not change it. */
  child(part: number): Random {
    return new Random((Math.imul(this.#state ^ 0x85ebca6b, part + 1) + part) >>> 0)
  }
}
