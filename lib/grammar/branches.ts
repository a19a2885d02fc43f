/**
 * A set of terms as a union of branches: what each type of value must be, without any combination left. Keywords are formulas over
 * atoms (keywords.ts); a branch takes atoms until one contradicts, alternatives split it. What a branch says of parts of a value
 * (properties, elements) are terms again, so a schema is only ever expanded one level deep, and recursion costs nothing.
 */
import { endless } from './automata/automaton.ts'
import type { Budget } from './automata/refusal.ts'
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

/** A value is one of `in` (undefined: may be any) and none of `out`. */
export interface Listed {
  in: readonly Scalar[] | undefined
  out: readonly Scalar[]
}
export type Scalar = string | number | boolean | null

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
    /** Names that cannot be there, as far as is seen at once. */
    absent: [] as string[],
    /** Of properties that are one of a few scalars: which. */
    listed: new Map() as ReadonlyMap<string, Listed>,
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
    if (object.absent.length > 0 && object.required.some((name) => object.absent.includes(name)))
      this.types &= ~types.object
  }
}

interface Choice {
  op: 'or'
  parts: readonly Formula[]
}

interface Atom {
  op: 'atom'
  apply: (branch: Branch) => void
  /** Whether a branch says it already (true) or says the opposite (false), as far as is seen at once. */
  in?: (branch: Branch) => boolean | undefined
}

export type Formula = { op: 'and'; parts: readonly Formula[] } | Choice | { op: 'term'; term: Term } | Atom

export const and = (...parts: Formula[]): Formula => ({ op: 'and', parts })
export const or = (...parts: Formula[]): Formula => ({ op: 'or', parts })
export const holds = (term: Term): Formula => ({ op: 'term', term })
export const atom = (apply: Atom['apply'], known?: Atom['in']): Formula =>
  known === undefined ? { op: 'atom', apply } : { op: 'atom', apply, in: known }
export const always: Formula = { op: 'and', parts: [] }
export const never: Formula = { op: 'or', parts: [] }
export const ofTypes = (mask: number): Formula =>
  atom(
    (branch) => {
      branch.types &= mask
    },
    (branch) => ((branch.types & ~mask) === 0 ? true : (branch.types & mask) === 0 ? false : undefined),
  )

/** Whether a formula holds in a branch (true) or cannot (false), without a look into terms. */
function known(formula: Formula, branch: Branch): boolean | undefined {
  if (formula.op === 'atom') return formula.in?.(branch)
  if (formula.op === 'term')
    return branch.terms.has(formula.term) ? true : branch.terms.has(not(formula.term)) ? false : undefined
  // All parts of `and` must say true, one that says false is enough; the other way round with `or`.
  const enough = formula.op === 'or'
  let all = true
  for (const part of formula.parts) {
    const one = known(part, branch)
    if (one === enough) return enough
    all &&= one !== undefined
  }
  return all ? !enough : undefined
}

/** The branches in which all formulas hold; `formula` gives that of a term. */
export function branches(start: readonly Formula[], formula: (term: Term) => Formula, budget: Budget): Branch[] {
  const found: Branch[] = []
  /** False: the branch has ended. */
  const take = (branch: Branch, todo: Formula[], choices: Choice[]): boolean => {
    for (let next = todo.pop(); next !== undefined; next = todo.pop()) {
      budget.spend(2)
      if (next.op === 'and') pushAll(todo, next.parts)
      else if (next.op === 'or') {
        if (next.parts.length === 1) todo.push(next.parts[0]!)
        else choices.push(next)
      } else if (next.op === 'term') {
        if (branch.terms.has(next.term)) continue
        if (branch.terms.has(not(next.term))) return false
        branch.terms.add(next.term)
        todo.push(formula(next.term))
      } else {
        next.apply(branch)
        branch.settle()
        if (branch.types === 0) return false
      }
    }
    return true
  }
  /** Takes what choices leave no choice of; those that are left, less the ways that cannot be. Undefined: the branch has ended. */
  const narrow = (branch: Branch, choices: readonly Choice[]): Choice[] | undefined => {
    const open: Choice[] = []
    const taken: Formula[] = []
    for (const choice of choices) {
      budget.spend(1 + (choice.parts.length >> 2))
      const says = choice.parts.map((part) => known(part, branch))
      if (says.includes(true)) continue
      const parts = choice.parts.filter((_, i) => says[i] === undefined)
      if (parts.length === 0) return undefined
      if (parts.length === 1) taken.push(parts[0]!)
      else open.push(parts.length === choice.parts.length ? choice : { op: 'or', parts })
    }
    if (taken.length === 0) return open
    return take(branch, taken.reverse(), open) ? narrow(branch, open) : undefined
  }
  const run = (branch: Branch, todo: Formula[], waiting: Choice[]): void => {
    const choices = take(branch, todo, waiting) ? narrow(branch, waiting) : undefined
    if (choices === undefined) return
    // The choice with the fewest ways first.
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
  run(new Branch(), [...start].reverse(), [])
  return found
}

/** So that the first one is the next to be popped. */
function pushAll(list: Formula[], parts: readonly Formula[]): void {
  for (let i = parts.length - 1; i >= 0; i--) list.push(parts[i]!)
}
