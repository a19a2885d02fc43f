/**
 * Schemas -> nodes. A node stands for a set of terms that must all hold; it is made once for each set, which is what makes recursive
 * schemas, and intersections of recursive schemas, finite. Sets wait in a queue, so that no depth of schemas is a depth of calls.
 */

import { Arrays } from './arrays.ts'
import { endless, type Table } from './automata/automaton.ts'
import { byteClassifier } from './automata/classifier.ts'
import { type Budget, Remembered } from './automata/refusal.ts'
import { allTypes, type Branch, branches, type Formula, holds, numberTypes, ofTypes, types } from './branches.ts'
import type { Context } from './keyword.ts'
import { formulaOf } from './keywords.ts'
import { holdsNumber, type NumberConditions, numberBytes, numberTable } from './numbers.ts'
import { Objects } from './objects.ts'
import type { Node, ProgramBuilder } from './program.ts'
import type { Json, Schemas, Term } from './schemas.ts'
import { Strings } from './strings.ts'
import type { ValueMaker } from './value-maker.ts'

/** How deep two schemas are looked at for a contradiction. */
const disjointDepth = 3

export class Values implements Context, ValueMaker {
  readonly schemas: Schemas
  readonly strings: Strings
  readonly builder: ProgramBuilder
  readonly budget: Budget
  readonly #arrays: Arrays
  readonly #objects: Objects
  readonly #nodes = new Map<string, Node>()
  readonly #queue: { node: Node; terms: Term[] }[] = []
  readonly #formulas = new Map<Term, Formula | undefined>()
  /** Terms that do not refer to themselves in place. */
  readonly #ends = new Set<Term>()
  /** Two schemas are being looked at while the formula of another one is being made, which they may refer to. */
  #looking = false
  readonly #numbers = new Map<string, Node | undefined>()

  constructor(schemas: Schemas, builder: ProgramBuilder, budget: Budget) {
    this.schemas = schemas
    this.builder = builder
    this.budget = budget
    this.strings = new Strings(builder, budget)
    this.#arrays = new Arrays(this)
    this.#objects = new Objects(this)
  }

  /** The node of a set of terms; its children are made by `finish`. */
  node(all: readonly Term[]): Node {
    if (all.includes(this.schemas.none)) return this.builder.alt([])
    const terms = [...new Set(all)].filter((term) => term !== this.schemas.all).sort((a, b) => a - b)
    const key = terms.join()
    let node = this.#nodes.get(key)
    if (node === undefined) {
      node = this.builder.reserve()
      this.#nodes.set(key, node)
      this.#queue.push({ node, terms })
    }
    return node
  }

  /** The texts that meet a term, without quotes, as far as they do not hold `end`. */
  bareText(term: Term, end: string): Node {
    const nodes = this.branches([term], types.string).flatMap((branch) => {
      if (branch.string.in === undefined) return this.strings.bare(branch.string, end) ?? []
      const texts = this.#stringsIn(branch).filter((text) => !text.includes(end))
      return texts.length === 0 ? [] : this.builder.texts(texts)
    })
    return this.builder.alt(nodes)
  }

  finish(): void {
    for (let next = this.#queue.pop(); next !== undefined; next = this.#queue.pop())
      this.builder.define(next.node, this.#make(this.branches(next.terms)))
  }

  branches(terms: readonly Term[], mask = 255): Branch[] {
    const path = terms.length === 0 ? '' : this.schemas.path(terms.at(-1)!)
    this.budget.at('schema', path)
    return branches([ofTypes(mask), ...terms.map(holds)], (term) => this.#formula(term), this.budget)
  }

  #formula(term: Term): Formula {
    let formula = this.#formulas.get(term)
    if (formula === undefined) {
      if (this.#formulas.has(term)) throw this.#looking ? unknown : this.#endless(term)
      this.#formulas.set(term, undefined)
      try {
        formula = formulaOf(term, this)
      } catch (error) {
        this.#formulas.delete(term)
        throw error
      }
      this.#formulas.set(term, formula)
      this.#refuseEndless(term)
    }
    return formula
  }

  #endless(term: Term) {
    this.budget.at('$ref', this.schemas.path(term))
    return this.budget.refuse('it refers to itself without a property or an element between')
  }

  /** Depth first, without calls: what is on the way, and what is left of the terms in each one's formula. */
  #refuseEndless(start: Term): void {
    if (this.#ends.has(start)) return
    const way = [{ term: start, left: [...termsIn(this.#formula(start))] }]
    const on = new Set([start])
    for (let here = way.at(-1); here !== undefined; here = way.at(-1)) {
      const next = here.left.pop()
      this.budget.spend(2)
      if (next === undefined) {
        this.#ends.add(here.term)
        on.delete(here.term)
        way.pop()
      } else if (on.has(next)) throw this.#endless(next)
      else if (!this.#ends.has(next)) {
        on.add(next)
        way.push({ term: next, left: [...termsIn(this.#formula(next))] })
      }
    }
  }

  #make(list: readonly Branch[]): Node {
    const texts = new Set<string>()
    const nodes: Node[] = []
    const add = (node: Node | undefined) => {
      if (node !== undefined) nodes.push(node)
    }
    for (const branch of list) {
      const { types: mask, number, string } = branch
      for (const name of ['null', 'true', 'false'] as const) if ((mask & types[name]) !== 0) texts.add(name)
      if ((mask & numberTypes) !== 0) {
        if (number.in === undefined) add(this.#number(numberConditions(branch)))
        else for (const value of this.#numbersIn(branch)) texts.add(JSON.stringify(value))
      }
      if ((mask & types.string) !== 0) {
        if (string.in === undefined) add(this.strings.node(string))
        else for (const text of this.#stringsIn(branch)) texts.add(JSON.stringify(text))
      }
      if ((mask & types.array) !== 0) add(this.#arrays.node(branch.array))
      if ((mask & types.object) !== 0) add(this.#objects.node(branch.object))
    }
    if (texts.size > 0) nodes.push(this.builder.texts([...texts]))
    return this.builder.alt(nodes)
  }

  #number(conditions: NumberConditions & { path: string }): Node | undefined {
    const key = JSON.stringify({ ...conditions, min: String(conditions.min), max: String(conditions.max), path: '' })
    if (!this.#numbers.has(key)) {
      this.budget.at(conditions.path.slice(conditions.path.lastIndexOf('/') + 1), conditions.path)
      const table = tables.get(key, this.budget, () => numberTable(conditions, this.budget))
      let node: Node | undefined
      if (table !== undefined) {
        const spans = { shortest: new Int32Array(table.states), longest: new Int32Array(table.states).fill(endless) }
        const automaton = this.builder.automaton(
          table,
          { ...spans, gapless: true },
          this.builder.classifier(numberClassifier),
        )
        node = this.builder.text(automaton, 0, endless)
      }
      this.#numbers.set(key, node)
    }
    return this.#numbers.get(key)
  }

  #numbersIn(branch: Branch): number[] {
    const conditions = numberConditions(branch)
    return branch.number.in!.filter((value) => holdsNumber(value, conditions))
  }

  #stringsIn({ string }: Branch): string[] {
    this.budget.spend(string.in!.length)
    return string.in!.filter((text) => this.strings.holds(text, { ...string, in: undefined }))
  }

  /** All values of a set of terms, where they are few and no arrays or objects; undefined: they are not. */
  finite(terms: readonly Term[]): Json[] | undefined {
    const values = new Set<Json>()
    for (const branch of this.branches(terms)) {
      const { types: mask, number, string } = branch
      if ((mask & (types.array | types.object)) !== 0) return undefined
      if ((mask & numberTypes) !== 0 && number.in === undefined) return undefined
      if ((mask & types.string) !== 0 && string.in === undefined) return undefined
      if ((mask & types.null) !== 0) values.add(null)
      if ((mask & types.true) !== 0) values.add(true)
      if ((mask & types.false) !== 0) values.add(false)
      if ((mask & numberTypes) !== 0) for (const value of this.#numbersIn(branch)) values.add(value)
      if ((mask & types.string) !== 0) for (const text of this.#stringsIn(branch)) values.add(text)
    }
    return [...values]
  }

  disjoint(terms: readonly Term[], mask = allTypes): boolean {
    const before = this.#looking
    this.#looking = true
    try {
      return this.#empty(terms, disjointDepth, mask)
    } catch (error) {
      if (error === unknown) return false
      throw error
    } finally {
      this.#looking = before
    }
  }

  #empty(terms: readonly Term[], depth: number, among: number): boolean {
    return this.branches(terms, among).every((branch) => {
      const { types: mask, array, object } = branch
      if ((mask & (types.null | types.true | types.false)) !== 0) return false
      if ((mask & numberTypes) !== 0 && (branch.number.in === undefined || this.#numbersIn(branch).length > 0))
        return false
      if ((mask & types.string) !== 0 && (branch.string.in === undefined || this.#stringsIn(branch).length > 0))
        return false
      const part = (part: readonly Term[]) =>
        part.includes(this.schemas.none) || (depth > 0 && this.#empty(part, depth - 1, allTypes))
      if ((mask & types.array) !== 0) {
        const needed = Math.min(array.min, Math.max(0, ...array.items.map(({ prefix }) => prefix.length)) + 1)
        if (!Array.from({ length: needed }, (_, i) => this.#arrays.element(array, i)).some(part)) return false
      }
      if ((mask & types.object) === 0) return true
      return object.required.some((name) => part(this.#objects.value(object, name)))
    })
  }
}

/** Thrown where a formula that is being made is asked for. */
const unknown = Symbol('unknown')

function* termsIn(formula: Formula): Generator<Term> {
  if (formula.op === 'term') yield formula.term
  else if (formula.op !== 'atom') for (const part of formula.parts) yield* termsIn(part)
}

const tables = new Remembered<Table | undefined>(64)
const numberClassifier = byteClassifier(numberBytes)

function numberConditions({ types: mask, number }: Branch): NumberConditions & { path: string } {
  const kind = (mask & numberTypes) === numberTypes ? 'any' : (mask & types.integer) !== 0 ? 'integer' : 'fraction'
  return { kind, ...number }
}
