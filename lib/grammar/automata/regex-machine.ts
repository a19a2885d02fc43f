/**
 * A parsed pattern as machines: Thompson's construction, made deterministic while it is walked. JSON Schema's patterns are searched
 * for anywhere in a text; once one is found, whatever follows is fine.
 */
import { endless, type Machine, type Stepper } from './automaton.ts'
import type { CharSet } from './characters.ts'
import { anyCharacter } from './characters.ts'
import type { Budget } from './refusal.ts'
import { parseRegex, type Regex } from './regex-parse.ts'

/** What a text must (or must not) match, and how many characters it has where the pattern is no more than that. */
export interface Condition {
  machine: Machine
  negative: boolean
}

export interface PatternConditions {
  conditions: Condition[]
  min: number
  max: number
}

const mostNfaStates = 50_000

/**
 * The conditions that make up a pattern: more than one for lookahead at the beginning. `whole`: it must match the whole text;
 * `counted` false: a length is part of the machine in any case.
 */
export function patternConditions(
  source: string,
  budget: Budget,
  { whole = false, counted = true }: { whole?: boolean; counted?: boolean } = {},
): PatternConditions {
  budget.spend(source.length * 4)
  const parsed = parseRegex(source, budget)
  const regex: Regex = whole ? { kind: 'seq', parts: [{ kind: 'start' }, parsed, { kind: 'end' }] } : parsed
  const parts = flat(regex)
  while (parts.length > 1 && parts[0]!.kind === 'start' && parts[1]!.kind === 'start') parts.shift()
  while (parts.length > 1 && parts.at(-1)!.kind === 'end' && parts.at(-2)!.kind === 'end') parts.pop()
  // ^ one class {m,n} $: nothing but a length.
  const [first, middle, last] = parts
  if (parts.length === 3 && first?.kind === 'start' && last?.kind === 'end' && middle?.kind === 'repeat') {
    const { inner, min, max } = middle
    if (counted && inner.kind === 'set' && (min > 1 || (max > 1 && max !== Number.POSITIVE_INFINITY))) {
      const any: Regex = { kind: 'repeat', inner, min: 0, max: Number.POSITIVE_INFINITY }
      const machine = regexMachine({ kind: 'seq', parts: [first, any, last] }, budget)
      return { conditions: [{ machine, negative: false }], min, max: Math.min(max, endless) }
    }
  }
  const conditions: Condition[] = []
  if (first?.kind === 'start') {
    while (parts[1]?.kind === 'look') {
      const [look] = parts.splice(1, 1) as [Regex & { kind: 'look' }]
      const inner: Regex = { kind: 'seq', parts: [{ kind: 'start' }, look.inner] }
      conditions.push({ machine: regexMachine(inner, budget), negative: look.negative })
    }
  }
  conditions.push({ machine: regexMachine({ kind: 'seq', parts }, budget), negative: false })
  return { conditions, min: 0, max: endless }
}

/** Parts of nested sequences in one list. */
function flat(regex: Regex): Regex[] {
  return regex.kind === 'seq' ? regex.parts.flatMap(flat) : [regex]
}

interface NfaState {
  /** Where it leads without a character; -1 in `set`. */
  free: number[]
  /** Index of the set that it takes, and where to. */
  set: number
  to: number
  /** Leads on only at the beginning or the end of the text. */
  assertion: 'start' | 'end' | undefined
}

function regexMachine(regex: Regex, budget: Budget): Machine {
  const sets: CharSet[] = []
  const setIndex = new Map<CharSet, number>()
  const states: NfaState[] = [{ free: [], set: -1, to: -1, assertion: undefined }]
  const found = 0
  const add = (state: Partial<NfaState>): number => {
    budget.spend(2)
    if (states.length >= mostNfaStates) throw budget.refuse('the pattern is too large')
    states.push({ free: [], set: -1, to: -1, assertion: undefined, ...state })
    return states.length - 1
  }
  const take = (set: CharSet, to: number): number => {
    let index = setIndex.get(set)
    if (index === undefined) {
      index = sets.length
      sets.push(set)
      setIndex.set(set, index)
    }
    return add({ set: index, to })
  }
  /** The state from which `node` and then what `to` stands for are matched. */
  const build = (node: Regex, to: number): number => {
    switch (node.kind) {
      case 'set':
        return take(node.set, to)
      case 'seq':
        return node.parts.reduceRight((next, part) => build(part, next), to)
      case 'alt':
        return add({ free: node.parts.map((part) => build(part, to)) })
      case 'start':
      case 'end':
        return add({ assertion: node.kind, to })
      case 'look':
        throw budget.refuse('lookahead that is not at the beginning, after ^')
      case 'repeat':
        return repeat(node, to)
    }
  }
  const repeat = ({ inner, min, max }: Regex & { kind: 'repeat' }, to: number): number => {
    let next = to
    if (max === Number.POSITIVE_INFINITY) {
      next = add({})
      states[next]!.free = [build(inner, next), to]
    } else {
      for (let i = min; i < max; i++) next = add({ free: [build(inner, next), to] })
    }
    for (let i = 0; i < min; i++) next = build(inner, next)
    return next
  }
  const search = add({})
  states[search]!.free = [build(regex, found), take(anyCharacter, search)]
  return { sets, bind: (members, budget) => determinise(states, search, found, members, budget) }
}

/** Sets of states, numbered; a row of moves is made when it is first asked for. */
function determinise(
  states: readonly NfaState[],
  start: number,
  found: number,
  members: readonly (readonly number[])[],
  budget: Budget,
): Stepper {
  const classes = 1 + members.reduce((most, list) => Math.max(most, ...list), 0)
  const closures: (readonly number[] | undefined)[] = []
  /** What is reached without a character: states that take one, those that wait for the end, and `found`. */
  const closure = (from: number, atStart: boolean, atEnd: boolean): number[] => {
    const reached = new Set<number>()
    const open = [from]
    for (let id = open.pop(); id !== undefined; id = open.pop()) {
      if (reached.has(id)) continue
      reached.add(id)
      const { free, assertion, to } = states[id]!
      open.push(...free)
      if ((assertion === 'start' && atStart) || (assertion === 'end' && atEnd)) open.push(to)
    }
    budget.spend(reached.size)
    return [...reached].filter((id) => id === found || states[id]!.set >= 0 || states[id]!.assertion === 'end')
  }
  const known = new Map<string, number>()
  const sets: { list: readonly number[]; accepts: boolean; row: Int32Array | undefined }[] = []
  const intern = (reached: ReadonlySet<number>, atStart: boolean): number => {
    const full = reached.has(found)
    const list = full ? [found] : [...reached].sort((a, b) => a - b)
    const key = `${atStart ? '^' : ''}${list.join()}`
    let id = known.get(key)
    if (id === undefined) {
      const ends = list.filter((one) => states[one]!.assertion === 'end')
      const accepts = full || ends.some((one) => closure(one, atStart, true).includes(found))
      id = sets.push({ list, accepts, row: undefined }) - 1
      known.set(key, id)
    }
    return id
  }
  const rowOf = (state: number): Int32Array => {
    const { list } = sets[state]!
    const row = new Int32Array(classes).fill(list[0] === found ? state : -1)
    if (list[0] === found) return row
    const next: (Set<number> | undefined)[] = new Array(classes)
    for (const id of list) {
      const { set, to } = states[id]!
      if (set < 0) continue
      closures[to] ??= closure(to, false, false)
      for (const c of members[set]!) {
        next[c] ??= new Set()
        for (const one of closures[to]) next[c].add(one)
      }
      budget.spend((members[set]!.length * (closures[to].length + 1)) >> 1)
    }
    next.forEach((reached, c) => {
      if (reached !== undefined && reached.size > 0) row[c] = intern(reached, false)
    })
    return row
  }
  return {
    start: intern(new Set(closure(start, true, false)), true),
    step: (state, characterClass) => {
      const set = sets[state]!
      set.row ??= rowOf(state)
      return set.row[characterClass] ?? -1
    },
    accepts: (state) => sets[state]!.accepts,
    full: (state) => sets[state]!.list[0] === found,
  }
}
