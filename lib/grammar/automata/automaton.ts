/**
 * Finite automata over classes of characters, as programs have them: dense tables, made by exploring what some machines do side by
 * side. Every state of the result reaches an accepting one.
 */
import type { CharSet, Partition } from './characters.ts'
import { partition } from './characters.ts'
import type { Budget } from './refusal.ts'

export interface Table {
  states: number
  classes: number
  /** [states * classes], -1: none. */
  next: Int32Array
  /** [states], -1: not accepting. */
  label: Int32Array
}

export interface TextTable extends Table {
  partition: Partition
}

/** A deterministic machine over classes. State -1: nothing that begins like this is accepted. */
export interface Stepper {
  start: number
  step(state: number, characterClass: number): number
  accepts(state: number): boolean
  /** Accepting, and so it stays whatever comes. */
  full(state: number): boolean
}

export interface Machine {
  sets: readonly CharSet[]
  /** `members[i]`: the classes of sets[i]. */
  bind(members: readonly number[][], budget: Budget): Stepper
}

/** Whether a machine must accept, must not, or only has a say in the label. */
export type Role = 'must' | 'mustNot' | 'free'

/** Numbers of a table, at most: a mebibyte. */
const mostCells = 1 << 18

/** Undefined: nothing is accepted. `label` says what accepting machines make of a state that must and must not allow. */
export function explore(
  machines: readonly { machine: Machine; role: Role }[],
  budget: Budget,
  label: (accepted: readonly boolean[]) => number = () => 0,
): TextTable | undefined {
  budget.spend(
    8 * machines.reduce((sum, { machine }) => sum + machine.sets.reduce((all, set) => all + set.length, 0), 0),
  )
  const cut = partition([...machines.flatMap(({ machine }) => machine.sets), [0, 0x10ffff]])
  let first = 0
  const steppers = machines.map(({ machine }) => {
    const members = cut.members.slice(first, first + machine.sets.length)
    first += machine.sets.length
    return machine.bind(members, budget)
  })
  const dead = (states: readonly number[]) =>
    states.some((state, i) => {
      const { role } = machines[i]!
      return role === 'must' ? state < 0 : role === 'mustNot' && state >= 0 && steppers[i]!.full(state)
    })
  const result = (states: readonly number[]): number => {
    const accepted = states.map((state, i) => state >= 0 && steppers[i]!.accepts(state))
    const fails = accepted.some((yes, i) => machines[i]!.role === (yes ? 'mustNot' : 'must'))
    return fails ? -1 : label(accepted)
  }
  const { count } = cut.partition
  const table = tabulate(
    {
      ...{ start: steppers.map((stepper) => stepper.start), classes: count, budget },
      key: (states: readonly number[]) => (states.length === 1 ? states[0]! : states.join()),
    },
    (states, characterClass) => {
      budget.spend(states.length)
      const next = states.map((state, i) => (state < 0 ? -1 : steppers[i]!.step(state, characterClass)))
      return dead(next) ? undefined : next
    },
    result,
  )
  return table && { ...table, partition: cut.partition }
}

/** All states that `step` finds from `start` and that reach one with a label. `key`: another one for each state. */
export function tabulate<State>(
  {
    start,
    classes,
    budget,
    key,
    work = 2,
  }: {
    start: State
    classes: number
    budget: Budget
    key: (state: State) => number | string
    /** Of each cell. */
    work?: number
  },
  step: (state: State, symbol: number) => State | undefined,
  label: (state: State) => number,
): Table | undefined {
  const known = new Map<number | string, number>([[key(start), 0]])
  const found: State[] = [start]
  const rows: number[] = []
  for (let i = 0; i < found.length; i++) {
    budget.spend(work * classes)
    if (found.length * classes > mostCells) throw budget.refuse('it needs too many states')
    for (let c = 0; c < classes; c++) {
      const to = step(found[i]!, c)
      if (to === undefined) {
        rows.push(-1)
        continue
      }
      const name = key(to)
      let id = known.get(name)
      if (id === undefined) {
        id = found.length
        known.set(name, id)
        found.push(to)
      }
      rows.push(id)
    }
  }
  return trim(rows, found.map(label), classes)
}

function trim(rows: readonly number[], labels: readonly number[], classes: number): Table | undefined {
  const alive = new Uint8Array(labels.length)
  const into: number[][] = labels.map(() => [])
  rows.forEach((to, i) => {
    if (to >= 0) into[to]!.push(Math.floor(i / classes))
  })
  const open: number[] = []
  labels.forEach((label, i) => {
    if (label < 0) return
    alive[i] = 1
    open.push(i)
  })
  while (open.length > 0) {
    for (const from of into[open.pop()!]!) {
      if (alive[from] === 1) continue
      alive[from] = 1
      open.push(from)
    }
  }
  if (alive[0] === 0) return undefined
  const number = new Int32Array(labels.length).fill(-1)
  let states = 0
  labels.forEach((_, i) => {
    if (alive[i] === 1) number[i] = states++
  })
  const next = new Int32Array(states * classes)
  const label = new Int32Array(states)
  labels.forEach((value, i) => {
    if (alive[i] === 0) return
    const row = number[i]! * classes
    label[number[i]!] = value
    for (let c = 0; c < classes; c++) {
      const to = rows[i * classes + c]!
      next[row + c] = to < 0 ? -1 : number[to]!
    }
  })
  return { states, classes, next, label }
}

/** The same automaton with other labels, of which -1 takes states away. */
export function relabel({ next, label, classes }: Table, by: (label: number) => number): Table | undefined {
  return trim(
    Array.from(next),
    Array.from(label, (old) => (old < 0 ? -1 : by(old))),
    classes,
  )
}

export interface Lengths {
  shortest: Int32Array
  /** `endless` where there is no longest. */
  longest: Int32Array
  /** Whether from each state every length between the two leads to an accepting state. */
  gapless: boolean
}

export const endless = 1 << 30

export function lengths({ states, classes, next, label }: Table): Lengths {
  const successors = Array.from({ length: states }, (_, q) => {
    const row = next.subarray(q * classes, (q + 1) * classes)
    return [...new Set(row)].filter((to) => to >= 0)
  })
  const into: number[][] = successors.map(() => [])
  successors.forEach((list, q) => {
    for (const to of list) into[to]!.push(q)
  })
  const shortest = new Int32Array(states).fill(-1)
  let front = [...label.keys()].filter((q) => label[q]! >= 0)
  for (let length = 0; front.length > 0; length++) {
    for (const q of front) shortest[q] = length
    front = [...new Set(front.flatMap((q) => into[q]!))].filter((q) => shortest[q]! < 0)
  }
  // States all of whose ways end, from the last ones back; the others can go round.
  const longest = new Int32Array(states).fill(endless)
  const left = successors.map((list) => list.length)
  const open = [...left.keys()].filter((q) => left[q] === 0)
  for (let q = open.pop(); q !== undefined; q = open.pop()) {
    longest[q] = successors[q]!.reduce((most, to) => Math.max(most, longest[to]! + 1), 0)
    for (const from of into[q]!) if (--left[from]! === 0) open.push(from)
  }
  const gapless = successors.every((list, q) => {
    const spans = list.map((to) => [shortest[to]! + 1, longest[to]!] as const)
    if (label[q]! >= 0) spans.push([0, -1])
    let reached = shortest[q]! - 1
    for (const [first, last] of spans.sort((a, b) => a[0] - b[0])) {
      if (first > reached + 1) return false
      reached = Math.max(reached, last + 1)
    }
    return true
  })
  return { shortest, longest, gapless }
}

/** Texts of so many characters. */
export function lengthMachine(min: number, max: number): Machine {
  const last = max === endless ? min : max
  return {
    sets: [],
    bind: () => ({
      start: 0,
      step: (length) => (length < last ? length + 1 : max === endless ? last : -1),
      accepts: (length) => length >= min,
      full: (length) => max === endless && length >= min,
    }),
  }
}

/** Some texts. */
export function literalMachine(texts: readonly string[], budget: Budget): Machine {
  budget.spend(4 * texts.reduce((sum, text) => sum + text.length, 0))
  const characters = [...new Set(texts.flatMap((text) => [...text]))]
  const index = new Map(characters.map((c, i) => [c, i]))
  const edges: Map<number, number>[] = [new Map()]
  const ends = new Set<number>()
  for (const text of texts) {
    let at = 0
    for (const c of text) {
      let to = edges[at]!.get(index.get(c)!)
      if (to === undefined) {
        to = edges.length
        edges.push(new Map())
        edges[at]!.set(index.get(c)!, to)
      }
      at = to
    }
    ends.add(at)
  }
  return {
    sets: characters.map((c) => [c.codePointAt(0)!, c.codePointAt(0)!]),
    bind: (members) => {
      const setOf = new Map(members.map(([only], i) => [only, i]))
      return {
        start: 0,
        step: (state, c) => edges[state]!.get(setOf.get(c) ?? -1) ?? -1,
        accepts: (state) => ends.has(state),
        full: () => false,
      }
    },
  }
}
