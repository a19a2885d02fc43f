/**
 * What a step takes by its rows, as measured: on a CPU a step of four rows may take as long as one of one, or two and a half times
 * as long, and no straight line through prompts of hundreds tells which. Each size up to 16 rows has a class of its own, larger ones
 * share eight to a power of two; between classes that were measured costs lie on a line, beyond them they go on as the cost model says,
 * and with many rows, which fill the machine, no flatter than so far: tokens of a prompt have no logits to be computed.
 *
 * A machine is slower at times, and contexts grow: what all sizes have in common is kept apart, in one factor, so that a size
 * measured a while ago compares with one measured now. A step may be held up, never hurried: what is quick is believed sooner.
 */

/** What steps of any size take, as the line that was fitted to them says (lib/host/schedule/cost-model.ts). */
export interface StepLine {
  stepMs(tokens: number, attended: number, sequences: number): number
}

const exact = 16
const perDoubling = 8
const classes = 80
/** Of a difference from what was expected: how much the common factor takes, then the size class, when it is quicker and slower. */
const factorStep = 0.1
const quickerStep = 0.3
const slowerStep = 0.12
/** A step that was held up counts as so many times what was expected at most. */
const outlier = 1.5
/** The first of its size has no measurement to be compared with. */
const firstOutlier = 3

const classOf = (rows: number) =>
  rows <= exact
    ? Math.round(rows)
    : Math.min(classes - 1, exact + 1 + Math.floor(perDoubling * Math.log2(rows / exact)))

/** Places in `#asked`: a fraction that a large function takes or gives is an object for V8, one that lies in an array is not. */
const askedRows = 0
const askedMore = 1
const answered = 2

export class RowCosts {
  /** Of each class: milliseconds over the common factor, and rows; 0: not measured. */
  readonly #ms = new Float64Array(classes)
  readonly #rows = new Float64Array(classes)
  readonly #line: StepLine
  #factor = 1
  #largest = 0
  /** Of the question that is being answered: rows, how many more, and the answer. */
  readonly #asked = new Float64Array(3)

  constructor(line: StepLine) {
    this.#line = line
  }

  observe(rows: number, ms: number): void {
    if (!(ms > 0)) return
    const at = classOf(rows)
    const expected = this.ms(rows)
    if (this.#ms[at] === 0) {
      this.#ms[at] = (expected > 0 ? Math.min(ms, firstOutlier * expected) : ms) / this.#factor
      this.#rows[at] = rows
      this.#largest = Math.max(this.#largest, at)
      return
    }
    const bounded = Math.min(ms, outlier * expected)
    this.#factor *= (bounded / expected) ** factorStep
    const difference = (bounded - expected) / this.#factor
    const step = difference < 0 ? quickerStep : slowerStep
    this.#ms[at] = this.#ms[at]! + step * difference
    this.#rows[at] = this.#rows[at]! + step * (rows - this.#rows[at]!)
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
    const measured = Math.max(0, this.ms(rows + more) - this.ms(rows))
    let at = classOf(rows)
    while (at > exact && this.#ms[at] === 0) at--
    this.#asked[answered] = at <= exact ? measured : Math.max(measured, this.#meanRise(at) * more)
  }

  /** Milliseconds that each row added on the way from the smallest size that was measured to a large one. */
  #meanRise(large: number): number {
    let small = 1
    while (this.#ms[small] === 0) small++
    if (large <= exact || small === large) return 0
    return (this.#factor * (this.#ms[large]! - this.#ms[small]!)) / (this.#rows[large]! - this.#rows[small]!)
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
    else if (below === 0) this.#asked[answered] = this.#factor * this.#ms[above]!
    else if (above <= this.#largest) {
      const span = this.#rows[above]! - this.#rows[below]!
      const share = span > 0 ? (rows - this.#rows[below]!) / span : 0
      this.#asked[answered] = this.#factor * (this.#ms[below]! + share * (this.#ms[above]! - this.#ms[below]!))
    } else {
      const known = this.#rows[below]!
      const rise = this.#line.stepMs(rows, 0, 1) - this.#line.stepMs(known, 0, 1)
      this.#asked[answered] =
        this.#factor * this.#ms[below]! + Math.max(0, rise, this.#meanRise(below) * (rows - known))
    }
  }
}
