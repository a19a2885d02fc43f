/**
 * Grammars as rules, in the dialect of GBNF: `name ::= alternatives`, the first rule to be matched is `root`. An alternative is a
 * sequence of "texts", [character classes], `.` (any character but a line break), names and (groups), each with *, +, ?, {n}, {n,}
 * or {n,m} behind it; escapes are \n \r \t \\ \" \[ \] \- \xHH \uHHHH \UHHHHHHHH; # begins a comment. A rule that may begin with
 * itself is refused: its texts have no first byte to decide by.
 */
import { endless, lengths } from './automata/automaton.ts'
import { type CharSet, charSet, complement, partition } from './automata/characters.ts'
import { classifier } from './automata/classifier.ts'
import { type Budget, unsupported } from './automata/refusal.ts'
import type { Node, ProgramBuilder } from './program.ts'

type Expression =
  | { kind: 'text'; text: string }
  | { kind: 'set'; set: CharSet }
  | { kind: 'name'; name: string }
  | { kind: 'seq' | 'alt'; parts: Expression[] }
  | { kind: 'repeat'; inner: Expression; min: number; max: number }

const mostCharacters = 1 << 20
const deepest = 100
/** Repetitions of what may be empty, at most: they are all tried. */
const mostEmptyRepeats = 64

export function ebnfNode(source: string, builder: ProgramBuilder, budget: Budget): Node {
  const rules = new Parser(source, budget).rules()
  if (!rules.has('root')) throw unsupported('ebnf', '', "there is no rule 'root'")
  for (const [name, rule] of rules)
    for (const used of namesIn(rule))
      if (!rules.has(used)) throw unsupported('ebnf', name, `there is no rule '${used}'`)
  const empty = emptyRules(rules)
  refuseLeftRecursion(rules, empty)
  const nodes = new Map([...rules.keys()].map((name) => [name, builder.reserve()]))
  const makers = new Maker(builder, budget, nodes, empty)
  for (const [name, rule] of rules) builder.define(nodes.get(name)!, makers.node(rule))
  return nodes.get('root')!
}

function* namesIn(expression: Expression): Generator<string> {
  if (expression.kind === 'name') yield expression.name
  else if (expression.kind === 'repeat') yield* namesIn(expression.inner)
  else if (expression.kind === 'seq' || expression.kind === 'alt')
    for (const part of expression.parts) yield* namesIn(part)
}

/** Whether it may be the empty text. */
function mayBeEmpty(expression: Expression, empty: ReadonlySet<string>): boolean {
  switch (expression.kind) {
    case 'text':
      return expression.text === ''
    case 'set':
      return false
    case 'name':
      return empty.has(expression.name)
    case 'seq':
      return expression.parts.every((part) => mayBeEmpty(part, empty))
    case 'alt':
      return expression.parts.some((part) => mayBeEmpty(part, empty))
    case 'repeat':
      return expression.min === 0 || mayBeEmpty(expression.inner, empty)
  }
}

function emptyRules(rules: ReadonlyMap<string, Expression>): Set<string> {
  const empty = new Set<string>()
  for (let size = -1; size !== empty.size; ) {
    size = empty.size
    for (const [name, rule] of rules) if (mayBeEmpty(rule, empty)) empty.add(name)
  }
  return empty
}

/** Names that a text may begin with. */
function* firstNames(expression: Expression, empty: ReadonlySet<string>): Generator<string> {
  if (expression.kind === 'name') yield expression.name
  else if (expression.kind === 'repeat') yield* firstNames(expression.inner, empty)
  else if (expression.kind === 'alt') for (const part of expression.parts) yield* firstNames(part, empty)
  else if (expression.kind === 'seq') {
    for (const part of expression.parts) {
      yield* firstNames(part, empty)
      if (!mayBeEmpty(part, empty)) return
    }
  }
}

function refuseLeftRecursion(rules: ReadonlyMap<string, Expression>, empty: ReadonlySet<string>): void {
  const first = new Map([...rules].map(([name, rule]) => [name, [...new Set(firstNames(rule, empty))]]))
  const done = new Set<string>()
  for (const start of rules.keys()) {
    // Depth first, without calls: what is on the way, and which of its first names come next.
    const way: { name: string; next: number }[] = [{ name: start, next: 0 }]
    const on = new Set([start])
    while (way.length > 0) {
      const here = way.at(-1)!
      const name = done.has(here.name) ? undefined : first.get(here.name)![here.next++]
      if (name === undefined) {
        done.add(here.name)
        on.delete(here.name)
        way.pop()
      } else if (on.has(name)) throw unsupported('ebnf', name, 'the rule may begin with itself')
      else if (!done.has(name)) {
        way.push({ name, next: 0 })
        on.add(name)
      }
    }
  }
}

class Maker {
  readonly #builder: ProgramBuilder
  readonly #budget: Budget
  readonly #rules: ReadonlyMap<string, Node>
  readonly #empty: ReadonlySet<string>
  readonly #sets = new Map<string, number>()

  constructor(builder: ProgramBuilder, budget: Budget, rules: ReadonlyMap<string, Node>, empty: ReadonlySet<string>) {
    this.#builder = builder
    this.#budget = budget
    this.#rules = rules
    this.#empty = empty
  }

  node(expression: Expression): Node {
    switch (expression.kind) {
      case 'text':
        return this.#builder.bytes(expression.text)
      case 'set':
        return this.#characters(expression.set, 1, 1)
      case 'name':
        return this.#rules.get(expression.name)!
      case 'seq':
        return expression.parts.length === 0
          ? this.#builder.bytes('')
          : this.#builder.seq(...expression.parts.map((part) => this.node(part)))
      case 'alt':
        return this.#builder.alt(expression.parts.map((part) => this.node(part)))
      case 'repeat': {
        const { inner, min, max } = expression
        if (inner.kind === 'set') return this.#characters(inner.set, min, max)
        const empty = mayBeEmpty(inner, this.#empty)
        if (empty && max !== endless && max > mostEmptyRepeats)
          throw this.#budget.refuse(`more than ${mostEmptyRepeats} repetitions of what may be empty`)
        return this.#builder.star(this.node(inner), empty ? 0 : min, max)
      }
    }
  }

  #characters(set: CharSet, min: number, max: number): Node {
    if (set.length === 0) return min === 0 ? this.#builder.bytes('') : this.#builder.alt([])
    const key = set.join()
    let automaton = this.#sets.get(key)
    if (automaton === undefined) {
      const { partition: cut, members } = partition([set])
      const next = new Int32Array(cut.count).fill(-1)
      for (const member of members[0]!) next[member] = 0
      const table = { states: 1, classes: cut.count, next, label: Int32Array.of(0) }
      this.#budget.spend(20 * cut.starts.length)
      automaton = this.#builder.automaton(table, lengths(table), this.#builder.classifier(classifier(cut, 'raw')))
      this.#sets.set(key, automaton)
    }
    return this.#builder.text(automaton, min, max)
  }
}

const anyButBreaks = complement([10, 10, 13, 13])

class Parser {
  readonly #text: string
  readonly #budget: Budget
  #at = 0
  #depth = 0

  constructor(text: string, budget: Budget) {
    if (text.length > mostCharacters) throw unsupported('ebnf', '', 'it is too long')
    this.#text = text
    this.#budget = budget
  }

  rules(): Map<string, Expression> {
    const rules = new Map<string, Expression>()
    for (this.#space(); this.#at < this.#text.length; this.#space()) {
      const name = this.#name()
      this.#budget.at('ebnf', name)
      this.#space()
      if (!this.#take('::=')) throw this.#wrong("'::='")
      if (rules.has(name)) throw unsupported('ebnf', name, 'the rule is there twice')
      rules.set(name, this.#alternatives())
    }
    return rules
  }

  #wrong(expected: string): Error {
    const line = this.#text.slice(0, this.#at).split('\n').length
    return unsupported(
      'ebnf',
      `line ${line}`,
      `expected ${expected}, found ${JSON.stringify(this.#text.slice(this.#at, this.#at + 20))}`,
    )
  }

  #take(text: string): boolean {
    if (!this.#text.startsWith(text, this.#at)) return false
    this.#at += text.length
    return true
  }

  #space(): void {
    space.lastIndex = this.#at
    this.#at += space.exec(this.#text)![0].length
  }

  #name(): string {
    ruleName.lastIndex = this.#at
    const name = ruleName.exec(this.#text)?.[0]
    if (name === undefined) throw this.#wrong('the name of a rule')
    this.#at += name.length
    return name
  }

  #alternatives(): Expression {
    if (++this.#depth > deepest) throw this.#budget.refuse('groups nest too deep')
    const parts = [this.#sequence()]
    while (this.#take('|')) parts.push(this.#sequence())
    this.#depth--
    return parts.length === 1 ? parts[0]! : { kind: 'alt', parts }
  }

  #sequence(): Expression {
    const parts: Expression[] = []
    for (this.#space(); ; this.#space()) {
      this.#budget.spend(4)
      const inner = this.#atom()
      if (inner === undefined) return parts.length === 1 ? parts[0]! : { kind: 'seq', parts }
      parts.push(this.#repeated(inner))
    }
  }

  #atom(): Expression | undefined {
    if (this.#take('"')) return { kind: 'text', text: this.#literal() }
    if (this.#take('[')) return { kind: 'set', set: this.#class() }
    if (this.#take('.')) return { kind: 'set', set: anyButBreaks }
    if (this.#take('(')) {
      const inner = this.#alternatives()
      if (!this.#take(')')) throw this.#wrong("')'")
      return inner
    }
    ruleName.lastIndex = this.#at
    const name = ruleName.exec(this.#text)?.[0]
    if (name === undefined) return undefined
    // The next rule's name.
    definition.lastIndex = this.#at + name.length
    if (definition.test(this.#text)) return undefined
    this.#at += name.length
    return { kind: 'name', name }
  }

  #repeated(inner: Expression): Expression {
    const repeat = (min: number, max: number): Expression => this.#repeated({ kind: 'repeat', inner, min, max })
    if (this.#take('*')) return repeat(0, endless)
    if (this.#take('+')) return repeat(1, endless)
    if (this.#take('?')) return repeat(0, 1)
    counts.lastIndex = this.#at
    const found = counts.exec(this.#text)
    if (found === null) return inner
    this.#at += found[0].length
    const [, first, comma, second] = found
    const [min, max] = [Number(first), comma === undefined ? Number(first) : second === '' ? endless : Number(second)]
    if (min > max || min >= endless) throw this.#budget.refuse('a repetition with bounds that nothing meets')
    return repeat(min, Math.min(max, endless))
  }

  #literal(): string {
    let text = ''
    while (!this.#take('"')) text += String.fromCodePoint(this.#character())
    return text
  }

  #class(): CharSet {
    const negative = this.#take('^')
    const ranges: [number, number][] = []
    while (!this.#take(']')) {
      const first = this.#character()
      const range = this.#text[this.#at] === '-' && this.#text[this.#at + 1] !== ']'
      if (range) this.#at++
      const last = range ? this.#character() : first
      if (last < first) throw this.#wrong('a range that ascends')
      ranges.push([first, last])
    }
    const set = charSet(ranges)
    return negative ? complement(set) : set
  }

  #character(): number {
    const c = this.#text.codePointAt(this.#at)
    if (c === undefined) throw this.#wrong('the end of a text or a class')
    this.#at += c > 0xffff ? 2 : 1
    if (c !== 0x5c) return c
    const letter = this.#text[this.#at++] ?? ''
    const simple = escapes[letter]
    if (simple !== undefined) return simple.charCodeAt(0)
    const digits = { x: 2, u: 4, U: 8 }[letter]
    const hex = this.#text.slice(this.#at, this.#at + (digits ?? 0))
    const value = Number.parseInt(hex, 16)
    if (digits === undefined || !/^[0-9a-fA-F]+$/.test(hex) || hex.length !== digits || value > 0x10ffff)
      throw this.#wrong('an escape')
    this.#at += digits
    return value
  }
}

const escapes: Record<string, string> = {
  n: '\n',
  r: '\r',
  t: '\t',
  '\\': '\\',
  '"': '"',
  '[': '[',
  ']': ']',
  '-': '-',
}
const space = /(?:\s|#.*)*/y
const ruleName = /[a-zA-Z][a-zA-Z0-9_-]*/y
const definition = /\s*::=/y
const counts = /\{\s*(\d+)\s*(?:(,)\s*(\d*)\s*)?\}/y
