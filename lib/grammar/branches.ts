/**
 * A set of terms as a union of branches: what each type of value must be, without any combination left. Keywords are formulas over
 * atoms (keywords.ts); a branch takes atoms until one contradicts, alternatives split it. What a branch says of parts of a value
 * (properties, elements) are terms again, so a schema is only ever expanded one level deep, and recursion costs nothing.
 */
import { endless } from './automaton.ts'
import type { Budget } from './refusal.ts'
import { not, type Term } from './schemas.ts'

export const types = {
  null: 1,
  false: 2,
  true: 4,
  integer: 8,
  fraction: 16,
  string: 32,
  array: 64,
  object: 128,
} as const
export const numberTypes = types.integer | types.fraction
export const allTypes = 255

export interface Pattern {
  source: string
  path: string
}

export interface ItemsSpec {
  prefix: Term[]
  rest: Term
}

export interface ContainsSpec {
  term: Term
  min: number
  max: number
  /** Elements before it do not count. */
  from: number
  path: string
}

export interface PropertiesSpec {
  properties: Map<string, Term>
  patterns: { pattern: Pattern; term: Term }[]
  others: Term
}

/** There is a property that is not among `names` and whose value meets `term`. */
export interface ExtraSpec {
  names: ReadonlySet<string>
  term: Term
  path: string
}

export class Branch {
  types = allTypes
  number = {
    min: Number.NEGATIVE_INFINITY,
    minExcluded: false,
    max: Number.POSITIVE_INFINITY,
    maxExcluded: false,
    multiples: [] as number[],
    notMultiples: [] as number[],
    in: undefined as number[] | undefined,
    not: [] as number[],
    path: '',
  }
  string = {
    min: 0,
    max: endless,
    patterns: [] as Pattern[],
    notPatterns: [] as Pattern[],
    in: undefined as string[] | undefined,
    not: [] as string[],
    path: '',
  }
  array = {
    min: 0,
    max: endless,
    items: [] as ItemsSpec[],
    contains: [] as ContainsSpec[],
    unique: undefined as string | undefined,
    path: '',
  }
  object = {
    min: 0,
    max: endless,
    specs: [] as PropertiesSpec[],
    required: [] as string[],
    /** Of minProperties. */
    minPath: '',
    names: [] as Term[],
    extras: [] as ExtraSpec[],
    otherNeeded: false,
    path: '',
  }
  terms = new Set<Term>()

  /** Atoms replace lists and never change them, so the copy may share them. */
  clone(): Branch {
    const copy = new Branch()
    copy.types = this.types
    copy.number = { ...this.number }
    copy.string = { ...this.string }
    copy.array = { ...this.array }
    copy.object = { ...this.object }
    copy.terms = new Set(this.terms)
    return copy
  }

  /** Takes away types of which there are no values for reasons that are seen at once. */
  settle(): void {
    const { number, string, array, object } = this
    if (number.in?.length === 0 || number.min > number.max) this.types &= ~numberTypes
    if (string.in?.length === 0 || string.min > string.max) this.types &= ~types.string
    if (array.min > array.max) this.types &= ~types.array
    if (object.min > object.max || object.required.length > object.max) this.types &= ~types.object
  }
}

interface Choice {
  op: 'or'
  parts: readonly Formula[]
}

export type Formula =
  | { op: 'and'; parts: readonly Formula[] }
  | Choice
  | { op: 'term'; term: Term }
  | { op: 'atom'; apply: (branch: Branch) => void }

export const and = (...parts: Formula[]): Formula => ({ op: 'and', parts })
export const or = (...parts: Formula[]): Formula => ({ op: 'or', parts })
export const holds = (term: Term): Formula => ({ op: 'term', term })
export const atom = (apply: (branch: Branch) => void): Formula => ({ op: 'atom', apply })
export const always: Formula = { op: 'and', parts: [] }
export const never: Formula = { op: 'or', parts: [] }
export const ofTypes = (mask: number): Formula =>
  atom((branch) => {
    branch.types &= mask
  })

/** The branches in which all formulas hold; `formula` gives that of a term. */
export function branches(start: readonly Formula[], formula: (term: Term) => Formula, budget: Budget): Branch[] {
  const found: Branch[] = []
  const run = (branch: Branch, todo: Formula[], choices: Choice[]): void => {
    for (let next = todo.shift(); next !== undefined; next = todo.shift()) {
      budget.spend(2)
      if (next.op === 'and') todo.unshift(...next.parts)
      else if (next.op === 'or') {
        if (next.parts.length === 1) todo.unshift(next.parts[0]!)
        else choices.push(next)
      } else if (next.op === 'term') {
        if (branch.terms.has(next.term)) continue
        if (branch.terms.has(not(next.term))) return
        branch.terms.add(next.term)
        todo.unshift(formula(next.term))
      } else {
        next.apply(branch)
        branch.settle()
        if (branch.types === 0) return
      }
    }
    // The choice with the fewest ways first: one with none ends the branch.
    const choice = choices.reduce<Choice | undefined>(
      (least, one) => (least === undefined || one.parts.length < least.parts.length ? one : least),
      undefined,
    )
    if (choice === undefined) {
      found.push(branch)
      return
    }
    const rest = choices.filter((one) => one !== choice)
    for (const part of choice.parts) {
      budget.spend(20 + branch.terms.size)
      run(branch.clone(), [part], [...rest])
    }
  }
  run(new Branch(), [...start], [])
  return found
}
