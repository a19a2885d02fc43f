/**
 * Objects: listed properties in the order in which they are written, then any others. What a name's value must be is known from the
 * name: what lists it, every pattern that it matches, or what is said of all others.
 */
import { explore, type Machine, type Role } from './automata/automaton.ts'
import { unsupported } from './automata/refusal.ts'
import { type Branch, type ExtraSpec, type Pattern, types } from './branches.ts'
import type { Node, ObjectNode } from './program.ts'
import type { Term } from './schemas.ts'
import { anyPartition } from './strings.ts'
import type { ValueMaker } from './value-maker.ts'

type Conditions = Branch['object']
type StringConditions = Branch['string']

const anyName = { states: 1, classes: 1, next: Int32Array.of(0), label: Int32Array.of(0) }

export class Objects {
  readonly #values: ValueMaker

  constructor(values: ValueMaker) {
    this.#values = values
  }

  /** Terms of a listed or required name. */
  value({ specs }: Conditions, name: string): Term[] {
    return specs.flatMap(({ properties, patterns, others }) => {
      const own = properties.get(name)
      const matching = patterns
        .filter(({ pattern }) => this.#values.strings.matches(name, pattern))
        .map(({ term }) => term)
      const terms = own === undefined ? matching : [own, ...matching]
      return terms.length === 0 ? [others] : terms
    })
  }

  node(conditions: Conditions): Node | undefined {
    const { extras } = conditions
    return extras.length === 0 ? this.#object(conditions) : this.#withExtra(conditions, extras)
  }

  /** One of the listed names that may be the extra property is there, or one that is not listed. */
  #withExtra(conditions: Conditions, [extra, ...extras]: readonly ExtraSpec[]): Node | undefined {
    const { names, term, path } = extra!
    const { specs, required } = conditions
    const { schemas, builder, budget } = this.#values
    const listed = new Set([...specs.flatMap(({ properties }) => [...properties.keys()]), ...required])
    const way = (properties: readonly [string, Term][], more: Partial<Conditions>) => {
      budget.spend(20)
      const spec = { properties: new Map(properties), patterns: [], others: schemas.all }
      return this.node({ ...conditions, specs: [...specs, spec], extras, ...more })
    }
    const nodes = [...listed]
      .filter((name) => !names.has(name))
      .map((name) => way([[name, term]], { required: [...new Set([...required, name])] }))
    if (!specs.some(({ others, patterns }) => others === schemas.none && patterns.length === 0)) {
      budget.at('additionalProperties', path)
      if (term !== schemas.all)
        throw budget.refuse("its opposite ('not', 'oneOf', 'if') beside names that are not listed")
      nodes.push(
        way(
          [...names].map((name) => [name, schemas.all]),
          { otherNeeded: true },
        ),
      )
    }
    return builder.alt(nodes.filter((node) => node !== undefined))
  }

  #object(conditions: Conditions): Node | undefined {
    const { specs, required, path, max, otherNeeded } = conditions
    const { budget, builder } = this.#values
    budget.at('properties', path)
    const allowed = this.#names(conditions)
    const names = new Set([
      ...specs.flatMap(({ properties }) => [...properties.keys()]),
      ...required,
      ...(allowed.list ?? []),
    ])
    budget.spend(names.size * 4)
    const properties: ObjectNode['properties'] = []
    for (const name of names) {
      const terms = this.value(conditions, name)
      const possible = allowed.holds(name) && !terms.includes(this.#values.schemas.none)
      const value = possible ? this.#values.node(terms) : undefined
      const needed = required.includes(name)
      if (value === undefined && needed) return undefined
      properties.push({ name, value, required: needed })
    }
    const others = allowed.list === undefined ? this.#others(conditions, allowed.strings) : undefined
    const { min, minPath } = conditions
    if (others !== undefined && min - required.length > 1)
      throw unsupported('minProperties', minPath, 'names that are not listed might repeat')
    return builder.object({ properties, others, otherNeeded, min, max })
  }

  /** What propertyNames say: all names there are, or what each must be. */
  #names({ names, path }: Conditions): {
    list: string[] | undefined
    strings: StringConditions | undefined
    holds: (name: string) => boolean
  } {
    if (names.length === 0) return { list: undefined, strings: undefined, holds: () => true }
    const { strings } = this.#values
    const found = this.#values.branches(names, types.string).map(({ string }) => string)
    const holds = (name: string) => found.some((one) => strings.holds(name, one))
    if (found.every((one) => one.in !== undefined))
      return { list: [...new Set(found.flatMap((one) => one.in!))].filter(holds), strings: undefined, holds }
    if (found.length > 1) throw unsupported('propertyNames', path, 'alternatives that are not lists')
    return { list: undefined, strings: found[0], holds }
  }

  #others({ specs, path }: Conditions, names: StringConditions | undefined): ObjectNode['others'] {
    const { strings, schemas, budget } = this.#values
    const patterns = new Map<string, Pattern>()
    for (const spec of specs) for (const { pattern } of spec.patterns) patterns.set(pattern.source, pattern)
    /** Terms of names that match just these patterns. */
    const terms = (matched: ReadonlySet<string>) =>
      specs.flatMap(({ patterns, others }) => {
        const matching = patterns.filter(({ pattern }) => matched.has(pattern.source)).map(({ term }) => term)
        return matching.length === 0 ? [others] : matching
      })
    const plain = terms(new Set())
    if (patterns.size === 0 && names === undefined) {
      if (plain.includes(schemas.none)) return undefined
      return {
        table: anyName,
        classifier: strings.classifier(anyPartition, 'json'),
        values: [this.#values.node(plain)],
      }
    }
    const machines: { machine: Machine; role: Role }[] = []
    if (names !== undefined) {
      budget.at('propertyNames', path)
      machines.push(...strings.machinesWithLength(names))
    }
    const readers = [...patterns.values()].map((pattern) => {
      const { machines: list, matches } = strings.nameMachines(pattern)
      const first = machines.length
      for (const machine of list) machines.push({ machine, role: 'free' })
      return {
        source: pattern.source,
        matches: (all: readonly boolean[]) => matches(all.slice(first, first + list.length)),
      }
    })
    const values: Node[] = []
    const known = new Map<string, number>()
    const label = (accepted: readonly boolean[]): number => {
      const matched = new Set(readers.filter(({ matches }) => matches(accepted)).map(({ source }) => source))
      const all = terms(matched)
      if (all.includes(schemas.none)) return -1
      const key = [...matched].join('\0')
      let index = known.get(key)
      if (index === undefined) {
        index = values.push(this.#values.node(all)) - 1
        known.set(key, index)
      }
      return index
    }
    budget.at(patterns.size > 0 ? 'patternProperties' : 'propertyNames', path)
    const table = explore(machines, budget, label)
    return table && { table, classifier: strings.classifier(table.partition, 'json'), values }
  }
}
