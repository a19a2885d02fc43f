/**
 * What a step takes by its rows, as measured: on a CPU a step of four rows may take as long as one of one, or two and a half times
 * as long, and no straight line through prompts of hundreds tells which. Each size up to 16 rows has a class of its own, larger ones
 * share eight to a power of two, which ends one: the next row begins another tile of a matrix unit. Between classes that were measured
 * costs lie on a line, beyond them they go on as the cost model says, and no flatter than so far: tokens of a prompt have no logits to
 * be computed.
 *
 * A machine is slower at times, and contexts grow: what all sizes have in common is kept apart, in one factor, so that a size
 * measured a while ago compares with one measured now. A step that surprises tells of both, and mostly of what was less sure (two
 * Kalman filters of one measurement, in logarithms). A size that was measured once may have been held up: while it is unsure it leans
 * on the line between its neighbours, so that it is tried again when they turn out quicker.
 */

/** What steps of any size take, as the line that was fitted to them says (lib/host/schedule/cost-model.ts). */
export interface StepLine {
  stepMs(tokens: number, attended: number, sequences: number): number
}

const exact = 16
const perDoubling = 8
const classes = 80
/** Variances of logarithms: of a step around what is expected of it, at least; what a size may move in each step more. */
const leastNoise = 0.0064
const sizeDrift = 0.0001
/**
 * The same of the factor. A machine is held up or let go from one step to the next, and no size should pass for dear or cheap because it
 * was measured just then; but where only the size that pays is measured, what it takes more must not pass for a slow machine.
 */
const factorDrift = 0.001
const freeFactorDrift = 0.01
/** Of a size around the line between its neighbours, for each class that is between. */
const roughness = 0.004
/**
 * A step that was held up, and one that was not where all others are, count as so many deviations at most: so the mean is nearly a
 * median, whatever a machine does, and the same for sizes that are measured often and seldom.
 */
const outlier = 1.4
/** Of the variance that steps show, each step, and of how many times what is expected at most. */
const noiseStep = 0.05
const mostNoise = 4
/** Of the rows of a class that several sizes share, each step. */
const rowsStep = 0.2

const classOf = (rows: number) =>
  rows <= exact
    ? Math.round(rows)
    : Math.min(classes - 1, exact + 1 + Math.floor(perDoubling * Math.log2((rows - 1) / exact)))

/** Places in `#asked`: a fraction that a large function takes or gives is an object for V8, one that lies in an array is not. */
const askedRows = 0
const askedMore = 1
const answered = 2
const perRow = 3
const unsure = 4

export class RowCosts {
  /** Of each class: milliseconds over the common factor, and rows; 0: not measured. */
  readonly #ms = new Float64Array(classes)
  readonly #rows = new Float64Array(classes)
  /** How unsure that is by now. */
  readonly #variance = new Float64Array(classes)
  /** Milliseconds as they are believed: leaning on neighbours. */
  readonly #believed = new Float64Array(classes)
  readonly #line: StepLine
  readonly #factorDrift: number
  #factor = 1
  #factorVariance = 0
  #noise = leastNoise
  #largest = 0
  /** Of the question that is being answered: rows, how many more, the answer, what a row added on the way to a size, a variance. */
  readonly #asked = new Float64Array(5)

  /** `varied`: sizes around the one that pays are measured now and then, so that steps tell what is the machine's. */
  constructor(line: StepLine, varied: boolean) {
    this.#line = line
    this.#factorDrift = varied ? freeFactorDrift : factorDrift
  }

  observe(rows: number, nanoseconds: number): void {
    if (!(nanoseconds > 0)) return
    const at = classOf(rows)
    const known = this.#ms[at]! > 0
    this.#factorVariance += this.#factorDrift
    for (let size = 1; size <= this.#largest; size++) this.#variance[size]! += sizeDrift
    if (this.#largest > 0) this.#learn(at, rows, nanoseconds)
    else {
      this.#ms[at] = nanoseconds / 1e6
      this.#variance[at] = leastNoise
    }
    this.#rows[at] = known ? this.#rows[at]! + rowsStep * (rows - this.#rows[at]!) : rows
    if (known) return
    this.#believed[at] = this.#ms[at]!
    this.#largest = Math.max(this.#largest, at)
  }

  #learn(at: number, rows: number, nanoseconds: number): void {
    const known = this.#ms[at]! > 0
    if (known) {
      this.#asked[answered] = this.#factor * this.#ms[at]!
      this.#asked[unsure] = this.#variance[at]!
    } else {
      this.#findUnsure(at, this.#below(at), this.#above(at))
      this.#asked[askedRows] = rows
      this.#find()
    }
    const expected = this.#asked[answered]!
    const variance = this.#asked[unsure]!
    const all = variance + this.#factorVariance + this.#noise
    const most = outlier * Math.sqrt(all)
    const difference = Math.log(nanoseconds / 1e6 / expected)
    const surprise = Math.max(-most, Math.min(most, difference))
    const shown = Math.min(difference * difference, mostNoise * all)
    this.#noise = Math.max(leastNoise, this.#noise + noiseStep * (shown - this.#noise))
    this.#ms[at] = (expected / this.#factor) * Math.exp((surprise * variance) / all)
    this.#variance[at] = variance * (1 - variance / all)
    this.#factor *= Math.exp((surprise * this.#factorVariance) / all)
    this.#factorVariance *= 1 - this.#factorVariance / all
  }

  #below(at: number): number {
    let below = at - 1
    while (below > 0 && this.#ms[below] === 0) below--
    return below
  }

  #above(at: number): number {
    let above = at + 1
    while (above <= this.#largest && this.#ms[above] === 0) above++
    return above
  }

  /** Variance of a class around what its neighbours say. */
  #findUnsure(at: number, below: number, above: number): void {
    if (below === 0) this.#asked[unsure] = roughness * (above - at) + this.#variance[above]!
    else if (above > this.#largest) this.#asked[unsure] = roughness * (at - below) + this.#variance[below]!
    else {
      const way = ((at - below) * (above - at)) / (above - below)
      this.#asked[unsure] = roughness * way + (this.#variance[below]! + this.#variance[above]!) / 4
    }
  }

  /** What the neighbours of a class say it takes, over the common factor. */
  #findBetween(at: number, below: number, above: number): void {
    if (above > this.#largest) {
      this.#asked[askedRows] = this.#rows[at]!
      this.#findRiseBeyond(below)
      this.#asked[answered] = this.#ms[below]! + this.#asked[answered]! / this.#factor
    } else {
      const share = (this.#rows[at]! - this.#rows[below]!) / (this.#rows[above]! - this.#rows[below]!)
      this.#asked[answered] = this.#ms[below]! + share * (this.#ms[above]! - this.#ms[below]!)
    }
  }

  /** Before questions about a step: what is believed of each size. */
  refresh(): void {
    let below = 0
    for (let at = 1; at <= this.#largest; at++) {
      if (this.#ms[at] === 0) continue
      this.#believed[at] = this.#ms[at]!
      if (below > 0) this.#lean(at, below, this.#above(at))
      below = at
    }
  }

  #lean(at: number, below: number, above: number): void {
    this.#findUnsure(at, below, above)
    this.#findBetween(at, below, above)
    const own = this.#asked[unsure]!
    const theirs = this.#variance[at]!
    this.#believed[at] = (own * this.#ms[at]! + theirs * this.#asked[answered]!) / (own + theirs)
  }

  /**
   * Milliseconds that further rows add. Measurements of neighbours are no better than the machine is quiet; with many rows, which fill
   * it, none costs less than they did in the mean so far.
   */
  rise(rows: number, more: number): number {
    this.#asked[askedRows] = rows
    this.#asked[askedMore] = more
    this.#findRise()
    return this.#asked[answered]!
  }

  #findRise(): void {
    const rows = this.#asked[askedRows]!
    const more = this.#asked[askedMore]!
    this.#find()
    const before = this.#asked[answered]!
    this.#asked[askedRows] = rows + more
    this.#find()
    const measured = Math.max(0, this.#asked[answered]! - before)
    let at = classOf(rows)
    while (at > exact && this.#ms[at] === 0) at--
    if (at <= exact) this.#asked[answered] = measured
    else {
      this.#findMeanRise(at)
      this.#asked[answered] = Math.max(measured, this.#asked[perRow]! * more)
    }
  }

  /** Milliseconds that each row added on the way from the smallest size that was measured to a larger one. */
  #findMeanRise(large: number): void {
    let small = 1
    while (this.#ms[small] === 0) small++
    const rows = this.#rows[large]! - this.#rows[small]!
    this.#asked[perRow] = small === large ? 0 : (this.#factor * (this.#ms[large]! - this.#ms[small]!)) / rows
  }

  /** Milliseconds that rows add to the largest size below them that was measured. */
  #findRiseBeyond(known: number): void {
    const rows = this.#asked[askedRows]!
    const from = this.#rows[known]!
    const line = this.#line.stepMs(rows, 0, 1) - this.#line.stepMs(from, 0, 1)
    this.#findMeanRise(known)
    this.#asked[answered] = Math.max(0, line, this.#asked[perRow]! * (rows - from))
  }

  /** Expected milliseconds of a step of `rows` rows; 0 before anything is known. */
  ms(rows: number): number {
    this.#asked[askedRows] = rows
    this.#find()
    return this.#asked[answered]!
  }

  #find(): void {
    const rows = this.#asked[askedRows]!
    const at = classOf(rows)
    let below = at
    while (below > 0 && (this.#ms[below] === 0 || this.#rows[below]! > rows)) below--
    let above = at
    while (above <= this.#largest && (this.#ms[above] === 0 || this.#rows[above]! < rows)) above++
    if (below === 0 && above > this.#largest) this.#asked[answered] = 0
    else if (below === 0) this.#asked[answered] = this.#factor * this.#believed[above]!
    else if (above <= this.#largest) {
      const span = this.#rows[above]! - this.#rows[below]!
      const share = span > 0 ? (rows - this.#rows[below]!) / span : 0
      this.#asked[answered] =
        this.#factor * (this.#believed[below]! + share * (this.#believed[above]! - this.#believed[below]!))
    } else {
      this.#findRiseBeyond(below)
      this.#asked[answered] = this.#factor * this.#believed[below]! + this.#asked[answered]!
    }
  }
}
