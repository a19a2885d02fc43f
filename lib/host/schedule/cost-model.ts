/**
 * What a step takes, learned from the steps themselves: ms = base + a * tokens + b * attended keys + c * sequences, by least squares
 * of the relative error. Steps of different sizes tell different things, and a service may decode for minutes between two
 * prompts: so each size class (powers of two) keeps its own sums and forgets only when it is measured again, or when steps surprise:
 * then the machine has changed. A step that took many times what was expected (the machine was suspended) counts as a few times.
 * Coefficients are never negative. Deterministic, no clock, no allocation after construction.
 */

const features = 4
/** Sums of one size class: the upper triangle of sum(x x^T), sum(x y), sum(weights). */
const triangle = (features * (features + 1)) / 2
const stride = triangle + features + 1
const classes = 16
/** What a step takes beside its tokens, in tokens, roughly: for weights only. */
const nominalBase = 16
/** A class remembers some ten of its steps. */
const memory = 0.9
/** Steps before its word is taken. */
const fewest = 4
/** An outlier counts as this many times what was expected. */
const outlier = 2
/** A relative error that is no noise, and what is left of everything known after each such step. */
const surprise = 0.25
const surprised = 0.95
/** Sizes of attention and sequences in the units of a token, to keep the sums of one magnitude. */
const attendedUnit = 1 / 1024
/** Pulls coefficients that no step has told anything about to 0, relative to the weight of the sums. */
const ridge = 1e-7
/** A step is not planned beyond this many times the largest size class that was measured: costs need not be linear out there. */
const reach = 4

export class CostModel {
  readonly #sums = new Float64Array(classes * stride)
  readonly #matrix = new Float64Array(features * (features + 1))
  readonly #x = new Float64Array(features)
  readonly #theta = new Float64Array(features)
  #largestClass = -1
  #steps = 0
  #stale = false

  /** Whether it has seen enough to be asked. */
  get ready(): boolean {
    return this.#steps >= fewest
  }

  observe(tokens: number, attended: number, sequences: number, ms: number): void {
    if (!(ms > 0) || tokens < 1) return
    const expected = this.ready ? this.stepMs(tokens, attended, sequences) : 0
    const y = expected > 0 ? Math.min(ms, outlier * expected) : ms
    if (expected > 0 && Math.abs(y - expected) > surprise * expected)
      for (let i = 0; i < this.#sums.length; i++) this.#sums[i] = this.#sums[i]! * surprised
    this.#features(tokens, attended, sequences)
    const sizeClass = Math.min(classes - 1, 31 - Math.clz32(tokens))
    const at = sizeClass * stride
    const sums = this.#sums
    // A relative error counts about the same in a small step and in a large one, whatever the machine's speed is just now.
    const weight = 1 / (nominalBase + tokens) ** 2
    let k = at
    for (let i = 0; i < features; i++)
      for (let j = i; j < features; j++, k++) sums[k] = sums[k]! * memory + weight * this.#x[i]! * this.#x[j]!
    for (let i = 0; i < features; i++, k++) sums[k] = sums[k]! * memory + weight * this.#x[i]! * y
    sums[k] = sums[k]! * memory + weight
    this.#largestClass = Math.max(this.#largestClass, sizeClass)
    this.#steps++
    this.#stale = true
  }

  /** Expected milliseconds; 0 before anything was measured. */
  stepMs(tokens: number, attended: number, sequences: number): number {
    if (this.#stale) this.#solve()
    const t = this.#theta
    return t[0]! + t[1]! * tokens + t[2]! * attended * attendedUnit + t[3]! * sequences
  }

  /**
   * The most tokens, up to `most`, that a sequence with `context` tokens may add to a step of that load so that it takes `limitMs`
   * at most.
   */
  fit(tokens: number, attended: number, sequences: number, context: number, most: number, limitMs: number): number {
    const farthest = this.#largestClass < 0 ? 0 : reach * 2 ** (this.#largestClass + 1) - tokens
    let high = Math.max(0, Math.min(most, farthest))
    let low = 0
    if (this.stepMs(tokens + high, attended + high * (context + (high + 1) / 2), sequences + 1) <= limitMs) return high
    while (high - low > 1) {
      const n = (low + high) >> 1
      const ms = this.stepMs(tokens + n, attended + n * (context + (n + 1) / 2), sequences + 1)
      if (ms <= limitMs) low = n
      else high = n
    }
    return low
  }

  /** At least what it takes to compute `count` tokens after `context` others in steps of `stepTokens`, with nothing beside. */
  prefillMs(context: number, count: number, stepTokens: number): number {
    if (!this.ready || count < 1) return 0
    const steps = Math.ceil(count / stepTokens)
    return (steps - 1) * this.stepMs(0, 0, 0) + this.stepMs(count, count * (context + (count + 1) / 2), steps)
  }

  #features(tokens: number, attended: number, sequences: number): void {
    this.#x[0] = 1
    this.#x[1] = tokens
    this.#x[2] = attended * attendedUnit
    this.#x[3] = sequences
  }

  /** Normal equations with every coefficient that came out negative held at 0. */
  #solve(): void {
    this.#stale = false
    let held = 0
    for (let round = 0; round < features; round++) {
      this.#gather(held)
      this.#eliminate()
      let worst = -1
      for (let i = 0; i < features; i++)
        if (this.#theta[i]! < 0 && (worst < 0 || this.#theta[i]! < this.#theta[worst]!)) worst = i
      if (worst < 0) return
      held |= 1 << worst
    }
    for (let i = 0; i < features; i++) this.#theta[i] = Math.max(0, this.#theta[i]!)
  }

  #gather(held: number): void {
    const m = this.#matrix
    const columns = features + 1
    m.fill(0)
    for (let c = 0; c <= this.#largestClass; c++) {
      let k = c * stride
      for (let i = 0; i < features; i++)
        for (let j = i; j < features; j++, k++) m[i * columns + j] = m[i * columns + j]! + this.#sums[k]!
      for (let i = 0; i < features; i++, k++) m[i * columns + features] = m[i * columns + features]! + this.#sums[k]!
    }
    for (let i = 0; i < features; i++) {
      for (let j = 0; j < i; j++) m[i * columns + j] = m[j * columns + i]!
    }
    const weight = m[0]! * ridge
    for (let i = 0; i < features; i++) {
      m[i * columns + i] = m[i * columns + i]! * (1 + ridge) + weight
      if ((held & (1 << i)) === 0) continue
      for (let j = 0; j < features; j++) m[i * columns + j] = m[j * columns + i] = 0
      m[i * columns + i] = 1
      m[i * columns + features] = 0
    }
  }

  /** Gauss-Jordan; the matrix is symmetric and, with the ridge, positive definite: no pivots needed. */
  #eliminate(): void {
    const m = this.#matrix
    const columns = features + 1
    for (let p = 0; p < features; p++) {
      const pivot = m[p * columns + p]!
      for (let i = 0; i < features; i++) {
        if (i === p) continue
        const factor = m[i * columns + p]! / pivot
        for (let j = p; j < columns; j++) m[i * columns + j] = m[i * columns + j]! - factor * m[p * columns + j]!
      }
    }
    for (let i = 0; i < features; i++) this.#theta[i] = m[i * columns + features]! / m[i * columns + i]!
  }
}
