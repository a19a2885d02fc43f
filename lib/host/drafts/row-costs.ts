/**
 * What a step takes by its rows, as measured: on a CPU a step of four rows may take as long as one of one, or two and a half times
 * as long, and no straight line through prompts of hundreds tells which. Rows in classes (each up to 16, then four to a power of
 * two); what was not measured lies on the line between neighbours, or goes on as the cost model says.
 */
import type { CostModel } from '../schedule/cost-model.ts'

const exact = 16
const perDoubling = 4
const classes = 64
/** What is left of a class's mean after each step. */
const memory = 0.85
/** A step that was held up counts as so many times what was expected at most. */
const outlier = 1.5

const classOf = (rows: number) =>
  rows <= exact ? rows : Math.min(classes - 1, exact + Math.floor(perDoubling * Math.log2(rows / exact)))
const rowsOf = (index: number) => (index <= exact ? index : Math.round(exact * 2 ** ((index - exact) / perDoubling)))

export class RowCosts {
  readonly #ms = new Float64Array(classes)
  readonly #cost: CostModel
  #largest = 0

  constructor(cost: CostModel) {
    this.#cost = cost
  }

  observe(rows: number, ms: number): void {
    const at = classOf(rows)
    const known = this.#ms[at]!
    this.#ms[at] = known === 0 ? ms : known * memory + Math.min(ms, outlier * known) * (1 - memory)
    this.#largest = Math.max(this.#largest, at)
  }

  /** Expected milliseconds of a step of `rows` rows of sequences with `context` tokens; 0 before anything is known. */
  ms(rows: number, context: number): number {
    const at = classOf(rows)
    if (this.#ms[at]! > 0) return this.#ms[at]!
    const below = this.#known(at, -1)
    const above = this.#known(at, 1)
    if (below === 0) return this.#line(rows, context)
    if (above > 0) {
      const share = (rows - rowsOf(below)) / (rowsOf(above) - rowsOf(below))
      return this.#ms[below]! + share * (this.#ms[above]! - this.#ms[below]!)
    }
    const rise = this.#line(rows, context) - this.#line(rowsOf(below), context)
    return this.#ms[below]! + Math.max(0, rise)
  }

  /** The next class that was measured, 0 for none. */
  #known(from: number, step: number): number {
    for (let at = from + step; at > 0 && at <= this.#largest; at += step) if (this.#ms[at]! > 0) return at
    return 0
  }

  #line(rows: number, context: number): number {
    return this.#cost.stepMs(rows, rows * context, 1)
  }
}
