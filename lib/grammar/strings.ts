/**
 * Strings: patterns, formats, excluded texts and lengths as one automaton between quotes. Lengths are counters where every length
 * between the shortest and the longest text occurs, else part of the automaton.
 */
import {
  endless,
  explore,
  type Lengths,
  lengthMachine,
  lengths,
  literalMachine,
  type Machine,
  type Role,
  type Stepper,
  type TextTable,
} from './automata/automaton.ts'
import { anyCharacter, classOf, type Partition, partition } from './automata/characters.ts'
import { type Classifier, classifier, type Spelling } from './automata/classifier.ts'
import { type Budget, Remembered } from './automata/refusal.ts'
import { patternConditions } from './automata/regex-machine.ts'
import type { Branch, Pattern } from './branches.ts'
import type { Node, ProgramBuilder } from './program.ts'

type Conditions = Branch['string']

export const anyPartition: Partition = partition([anyCharacter]).partition

/** A text automaton and how many characters its texts have. */
interface Made {
  table: TextTable
  span: Lengths
  min: number
  max: number
}

const anyText = { states: 1, classes: 1, next: Int32Array.of(0), label: Int32Array.of(0), partition: anyPartition }
const free = { table: anyText, span: lengths(anyText) }
const tables = new Remembered<Made | undefined>(256)

interface Bound {
  negative: boolean
  stepper: Stepper
  partition: Partition
}

export class Strings {
  readonly #budget: Budget
  readonly #builder: ProgramBuilder
  readonly #classifiers = new Map<string, Classifier>()
  readonly #nodes = new Map<string, Node | undefined>()
  readonly #bound = new Map<string, { list: Bound[]; min: number; max: number }>()

  constructor(builder: ProgramBuilder, budget: Budget) {
    this.#builder = builder
    this.#budget = budget
  }

  /** The string's node, quotes included; undefined: there is none. Not for those with a list of texts. */
  node(conditions: Conditions): Node | undefined {
    const { min, max, patterns, notPatterns, not } = conditions
    const key = JSON.stringify([min, max, patterns.map((p) => p.source), notPatterns.map((p) => p.source), not])
    if (!this.#nodes.has(key)) {
      const plain = patterns.length + notPatterns.length + not.length === 0
      const made = plain ? { ...free, min, max } : tables.get(key, this.#budget, () => this.#table(conditions))
      this.#nodes.set(key, made && this.#quoted(made, plain ? 'free' : 'json'))
    }
    return this.#nodes.get(key)
  }

  #quoted({ table, span, min, max }: Made, spelling: Spelling): Node | undefined {
    if (min > max) return undefined
    const automaton = this.#builder.automaton(table, span, this.classifier(table.partition, spelling))
    const quote = this.#builder.bytes('"')
    return this.#builder.seq(quote, this.#builder.text(automaton, min, max), quote)
  }

  /** The node of what stands without quotes and escapes, and does not hold `end`. */
  bare(conditions: Conditions, end: string): Node | undefined {
    const holding = patternConditions(end.replace(/[^a-zA-Z0-9]/g, '\\$&'), this.#budget, { counted: false })
    const made = this.#table(conditions, holding.conditions[0]!.machine)
    if (made === undefined || made.min > made.max) return undefined
    const automaton = this.#builder.automaton(made.table, made.span, this.classifier(made.table.partition, 'raw'))
    return this.#builder.text(automaton, made.min, made.max)
  }

  #table(conditions: Conditions, without?: Machine): Made | undefined {
    const { machines, min, max } = this.machines(conditions)
    if (without !== undefined) machines.push({ machine: without, role: 'mustNot' })
    this.#budget.at(max < endless ? 'maxLength' : min > 0 ? 'minLength' : 'pattern', conditions.path)
    const table = explore(machines, this.#budget)
    if (table === undefined) return undefined
    const span = lengths(table)
    if ((min > 0 || max < endless) && !span.gapless) {
      const exact = explore([...machines, { machine: lengthMachine(min, max), role: 'must' }], this.#budget)
      return exact && { table: exact, span: lengths(exact), min: 0, max: endless }
    }
    return Math.max(min, span.shortest[0]!) > Math.min(max, span.longest[0]!) ? undefined : { table, span, min, max }
  }

  /** What a string must and must not be, lengths aside. */
  machines({ min, max, patterns, notPatterns, not }: Conditions) {
    const machines: { machine: Machine; role: Role }[] = []
    for (const { source, path } of patterns) {
      this.#budget.at('pattern', path)
      const found = patternConditions(source, this.#budget)
      for (const { machine, negative } of found.conditions)
        machines.push({ machine, role: negative ? 'mustNot' : 'must' })
      min = Math.max(min, found.min)
      max = Math.min(max, found.max)
    }
    for (const pattern of notPatterns) machines.push({ machine: this.#single(pattern), role: 'mustNot' })
    if (not.length > 0) machines.push({ machine: literalMachine(not, this.#budget), role: 'mustNot' })
    return { machines, min, max }
  }

  /** The same with lengths. */
  machinesWithLength(conditions: Conditions) {
    const { machines, min, max } = this.machines(conditions)
    if (conditions.in !== undefined)
      machines.push({ machine: literalMachine(conditions.in, this.#budget), role: 'must' })
    if (min > 0 || max < endless) machines.push({ machine: lengthMachine(min, max), role: 'must' })
    return machines
  }

  /** A pattern as one machine. */
  #single({ source, path }: Pattern): Machine {
    this.#budget.at('pattern', path)
    const { conditions } = patternConditions(source, this.#budget, { counted: false })
    if (conditions.length > 1) throw this.#budget.refuse('the opposite of a pattern with lookahead')
    return conditions[0]!.machine
  }

  /** A pattern of names: its machines, and what they make of each other. */
  nameMachines(pattern: Pattern): { machines: Machine[]; matches: (accepted: readonly boolean[]) => boolean } {
    this.#budget.at('patternProperties', pattern.path)
    const { conditions } = patternConditions(pattern.source, this.#budget, { counted: false })
    return {
      machines: conditions.map(({ machine }) => machine),
      matches: (accepted) => conditions.every(({ negative }, i) => accepted[i] !== negative),
    }
  }

  classifier(partition: Partition, spelling: Spelling): number {
    const key = `${spelling}${partition.starts}/${partition.classes}`
    let known = this.#classifiers.get(key)
    if (known === undefined) {
      known = partition.starts.length === 1 ? ready(partition, spelling) : classifier(partition, spelling)
      this.#budget.spend(20 * partition.starts.length)
      this.#classifiers.set(key, known)
    }
    return this.#builder.classifier(known)
  }

  // ---- single texts -------------------------------------------------------------------------------------------------

  /** Whether a text meets the conditions. */
  holds(text: string, { min, max, patterns, notPatterns, not, in: list }: Conditions): boolean {
    const length = [...text].length
    if (length < min || length > max || not.includes(text) || list?.includes(text) === false) return false
    return patterns.every((p) => this.matches(text, p)) && !notPatterns.some((p) => this.matches(text, p))
  }

  matches(text: string, { source, path }: Pattern): boolean {
    let bound = this.#bound.get(source)
    if (bound === undefined) {
      this.#budget.at('pattern', path)
      const { conditions, min, max } = patternConditions(source, this.#budget)
      const list = conditions.map(({ machine, negative }) => {
        const { partition: cut, members } = partition([...machine.sets, anyCharacter])
        return { negative, partition: cut, stepper: machine.bind(members.slice(0, -1), this.#budget) }
      })
      bound = { list, min, max }
      this.#bound.set(source, bound)
    }
    const characters = [...text]
    if (characters.length < bound.min || characters.length > bound.max) return false
    this.#budget.spend(characters.length * 4)
    return bound.list.every(({ negative, stepper, partition }) => {
      let state = stepper.start
      for (const c of characters) {
        if (state < 0) break
        state = stepper.step(state, classOf(partition, c.codePointAt(0)!))
      }
      return (state >= 0 && stepper.accepts(state)) !== negative
    })
  }
}

const readyMade = new Map<Spelling, Classifier>()

/** Of one class: made once. */
function ready(partition: Partition, spelling: Spelling): Classifier {
  let known = readyMade.get(spelling)
  if (known === undefined) {
    known = classifier(partition, spelling)
    readyMade.set(spelling, known)
  }
  return known
}
