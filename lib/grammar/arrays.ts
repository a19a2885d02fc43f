/**
 * Arrays: elements by their place, counted. Where that is not enough (contains, uniqueItems) the elements run through an automaton
 * whose states say how many there were, how many of them counted, and which values are used up.
 */
import { endless } from './automata/automaton.ts'
import { unsupported } from './automata/refusal.ts'
import type { Branch } from './branches.ts'
import type { ListState, Node } from './program.ts'
import { not, type Term } from './schemas.ts'
import type { ValueMaker } from './value-maker.ts'

type Conditions = Branch['array']

const mostStates = 20_000
/** More statements about what an array contains are refused: their combinations are edges. */
const mostContains = 4

export class Arrays {
  readonly #values: ValueMaker

  constructor(values: ValueMaker) {
    this.#values = values
  }

  /** Terms of the element at a place. */
  element({ items }: Conditions, index: number): Term[] {
    return items.map(({ prefix, rest }) => prefix[index] ?? rest)
  }

  node(conditions: Conditions): Node | undefined {
    const { items, contains, unique, min, max } = conditions
    const prefix = Math.max(0, ...items.map((spec) => spec.prefix.length))
    const node = (index: number) => this.#values.node(this.element(conditions, index))
    if (contains.length > 0 || (unique !== undefined && max > 1)) return this.#list(conditions, prefix)
    const rest = this.element(conditions, prefix)
    const closed = rest.includes(this.#values.schemas.none)
    const first = Array.from({ length: Math.min(prefix, max) }, (_, index) => node(index))
    return this.#values.builder.array(first, closed ? undefined : this.#values.node(rest), min, max)
  }

  #list(conditions: Conditions, prefix: number): Node {
    const { contains, unique, min, max } = conditions
    const { budget, builder, schemas } = this.#values
    if (unique !== undefined) budget.at('uniqueItems', unique)
    else budget.at('contains', contains[0]!.path)
    if (contains.length > mostContains)
      throw budget.refuse(`more than ${mostContains} statements about what an array contains`)
    // Places from here on are alike.
    const last = max === endless ? Math.max(prefix, min, ...contains.map(({ from }) => from)) : max
    if (last > mostStates) throw budget.refuse('the array may be too long')
    const choices = this.#choices(conditions, prefix)
    const states: ListState[] = []
    const known = new Map<string, number>()
    const open: { index: number; counts: number[]; used: string[]; state: number }[] = []
    const intern = (index: number, counts: number[], used: string[]): number => {
      const key = `${index};${counts};${used.join()}`
      let state = known.get(key)
      if (state === undefined) {
        budget.spend(20)
        if (states.length >= mostStates) throw budget.refuse('it needs too many states')
        const accept = index >= min && contains.every((spec, i) => counts[i]! >= spec.min)
        state = states.push({ accept, edges: [] }) - 1
        known.set(key, state)
        open.push({ index, counts, used, state })
      }
      return state
    }
    intern(
      0,
      contains.map(() => 0),
      [],
    )
    for (let next = open.pop(); next !== undefined; next = open.pop()) {
      const { index, counts, used, state } = next
      if (index >= max) continue
      for (const { terms, name } of choices(index)) {
        if (name !== undefined && used.includes(name)) continue
        if (terms.includes(schemas.none)) continue
        const nowUsed = name === undefined ? used : [...used, name].sort()
        for (const { extra, counts: counted } of counting(contains, index, counts)) {
          budget.spend(8)
          const to = intern(Math.min(index + 1, last), counted, nowUsed)
          states[state]!.edges.push({ node: this.#values.node([...terms, ...extra]), to })
        }
      }
    }
    return builder.list(states)
  }

  /** What an element at a place may be: anything its schemas allow, or each of the values where they must differ. */
  #choices(conditions: Conditions, prefix: number): (index: number) => { terms: Term[]; name?: string }[] {
    const { unique, max } = conditions
    if (unique === undefined || max <= 1) return (index) => [{ terms: this.element(conditions, index) }]
    const { schemas } = this.#values
    const known = new Map<number, { terms: Term[]; name: string }[]>()
    return (index) => {
      const place = Math.min(index, prefix)
      let choices = known.get(place)
      if (choices === undefined) {
        const values = this.#values.finite(this.element(conditions, place))
        if (values === undefined)
          throw unsupported('uniqueItems', unique, 'elements of which there are not just a few values')
        choices = values.map((value) => ({
          terms: [schemas.literal(value, unique)],
          name: JSON.stringify(value),
        }))
        known.set(place, choices)
      }
      return choices
    }
  }
}

/** The ways in which an element may count: what must hold of it then, and the counts after it. */
function counting(contains: Conditions['contains'], index: number, counts: readonly number[]) {
  let ways: { extra: Term[]; counts: number[] }[] = [{ extra: [], counts: [] }]
  contains.forEach(({ term, min, max, from }, i) => {
    const count = counts[i]!
    const bounded = max !== endless
    const options: { extra: Term[]; count: number }[] = []
    if (index < from) options.push({ extra: [], count })
    else {
      // Without an upper bound an element that could count need not.
      options.push({ extra: bounded ? [not(term)] : [], count })
      if (bounded ? count < max : count < min) options.push({ extra: [term], count: count + 1 })
    }
    ways = ways.flatMap((way) =>
      options.map(({ extra, count }) => ({ extra: [...way.extra, ...extra], counts: [...way.counts, count] })),
    )
  })
  return ways
}
