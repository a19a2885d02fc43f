/**
 * A grammar as cpp/grammar/program.h reads it: nodes over bytes, collected here, each once, then laid out as one array of int32.
 * Nodes may refer to nodes that are defined later (`reserve`, `define`), which is how rules are recursive. Nodes of which no text
 * exists are found (the least fixed point of "a text exists") and left out of everything that offers a choice.
 */
import { endless, type Lengths, lengths, relabel, type Table } from './automata/automaton.ts'
import type { Classifier } from './automata/classifier.ts'
import type { Budget } from './automata/refusal.ts'

const programVersion = 1
const kinds = ['bytes', 'seq', 'alt', 'text', 'trie', 'star', 'array', 'list', 'object'] as const

export type Node = number

export interface ListState {
  accept: boolean
  edges: { node: Node; to: number }[]
}

export interface ObjectNode {
  /** Listed properties in their order; `value` undefined: the name may not occur. */
  properties: { name: string; value: Node | undefined; required: boolean }[]
  /** An automaton over other names, labelled with indices of `values`. */
  others: { table: Table; classifier: number; values: Node[] } | undefined
  /** One that is not listed must be there. */
  otherNeeded: boolean
  min: number
  max: number
}

type NodeData =
  | { kind: 'bytes'; bytes: Uint8Array }
  | { kind: 'seq' | 'alt'; children: Node[] }
  | { kind: 'text'; automaton: number; min: number; max: number }
  | { kind: 'trie'; trie: number }
  | { kind: 'star'; child: Node; min: number; max: number }
  | { kind: 'array'; prefix: Node[]; rest: Node | undefined; min: number; max: number }
  | { kind: 'list'; states: ListState[] }
  | ({ kind: 'object'; names: number } & ObjectNode)

interface TrieState {
  edges: Map<number, number>
  label: number
}

const encoder = new TextEncoder()
const mostNodes = 200_000

export class ProgramBuilder {
  readonly whiteSpace: Node
  readonly #budget: Budget
  readonly #nodes: (NodeData | undefined)[] = []
  readonly #known = new Map<string, Node>()
  readonly #classifiers: Classifier[] = []
  readonly #automata: { classifier: number; table: Table; lengths: Lengths }[] = []
  readonly #tries: TrieState[][] = []
  readonly #namesTries = new Map<string, number>()

  constructor(budget: Budget, whiteSpace: { table: Table; lengths: Lengths; classifier: Classifier }) {
    this.#budget = budget
    for (const text of '[]{},:"') this.bytes(text)
    const { table, lengths, classifier } = whiteSpace
    this.whiteSpace = this.text(this.automaton(table, lengths, this.classifier(classifier)), 0, longestWhiteSpace)
  }

  #add(data: NodeData, key: string): Node {
    const known = this.#known.get(key)
    if (known !== undefined) return known
    const node = this.reserve()
    this.#nodes[node] = data
    this.#known.set(key, node)
    return node
  }

  /** A node to be defined later. */
  reserve(): Node {
    this.#budget.spend(4)
    if (this.#nodes.length >= mostNodes) throw this.#budget.refuse('it makes too large a grammar')
    return this.#nodes.push(undefined) - 1
  }

  define(node: Node, as: Node): void {
    this.#nodes[node] = { kind: 'alt', children: [as] }
  }

  bytes(text: string): Node {
    this.#budget.spend(text.length)
    return this.#add({ kind: 'bytes', bytes: encoder.encode(text) }, `b${text}`)
  }

  /** Bytes that are no text. */
  raw(bytes: Uint8Array): Node {
    this.#budget.spend(bytes.length)
    return this.#add({ kind: 'bytes', bytes }, `x${bytes}`)
  }

  seq(...children: Node[]): Node {
    this.#budget.spend(children.length)
    return children.length === 1 ? children[0]! : this.#add({ kind: 'seq', children }, `s${children}`)
  }

  alt(list: readonly Node[]): Node {
    const children = [...new Set(list)]
    this.#budget.spend(children.length)
    return children.length === 1 ? children[0]! : this.#add({ kind: 'alt', children }, `a${children}`)
  }

  text(automaton: number, min: number, max: number): Node {
    return this.#add({ kind: 'text', automaton, min, max }, `t${automaton},${min},${max}`)
  }

  /** One of some texts. */
  texts(list: readonly string[]): Node {
    return this.#add({ kind: 'trie', trie: this.#trie(list, () => 0) }, `w${JSON.stringify(list)}`)
  }

  star(child: Node, min: number, max: number): Node {
    if (min === 1 && max === 1) return child
    return this.#add({ kind: 'star', child, min, max }, `*${child},${min},${max}`)
  }

  array(prefix: Node[], rest: Node | undefined, min: number, max: number): Node {
    return this.#add({ kind: 'array', prefix, rest, min, max }, `r${prefix};${rest ?? -1},${min},${max}`)
  }

  list(states: ListState[]): Node {
    const node = this.reserve()
    this.#nodes[node] = { kind: 'list', states }
    return node
  }

  object(object: ObjectNode): Node {
    const names = object.properties.map(({ name }) => JSON.stringify(name).slice(1, -1))
    const trie = names.length === 0 ? -1 : this.#namesTrie(names)
    const node = this.reserve()
    this.#nodes[node] = { kind: 'object', names: trie, ...object }
    return node
  }

  /** Branches of a schema often have the same names. */
  #namesTrie(names: readonly string[]): number {
    const key = JSON.stringify(names)
    let trie = this.#namesTries.get(key)
    if (trie === undefined) {
      trie = this.#trie(names, (i) => i)
      this.#namesTries.set(key, trie)
    }
    return trie
  }

  classifier(classifier: Classifier): number {
    const known = this.#classifiers.indexOf(classifier)
    return known >= 0 ? known : this.#classifiers.push(classifier) - 1
  }

  automaton(table: Table, lengths: Lengths, classifier: number): number {
    return this.#automata.push({ classifier, table, lengths }) - 1
  }

  #trie(texts: readonly string[], label: (index: number) => number): number {
    const states: TrieState[] = [{ edges: new Map(), label: -1 }]
    texts.forEach((text, index) => {
      this.#budget.spend(text.length * 2 + 4)
      let at = 0
      for (const byte of encoder.encode(text)) {
        let to = states[at]!.edges.get(byte)
        if (to === undefined) {
          to = states.push({ edges: new Map(), label: -1 }) - 1
          states[at]!.edges.set(byte, to)
        }
        at = to
      }
      states[at]!.label = label(index)
    })
    return this.#tries.push(states) - 1
  }

  // ---- which nodes have a text --------------------------------------------------------------------------------------

  /** Least fixed point; the answer for each node. */
  productive(): Uint8Array {
    const yes = new Uint8Array(this.#nodes.length)
    for (let changed = true; changed; ) {
      changed = false
      this.#budget.spend(this.#nodes.length)
      for (let node = this.#nodes.length - 1; node >= 0; node--) {
        if (yes[node] === 1 || !this.#hasText(this.#nodes[node]!, yes)) continue
        yes[node] = 1
        changed = true
      }
    }
    return yes
  }

  #hasText(data: NodeData, yes: Uint8Array): boolean {
    switch (data.kind) {
      case 'bytes':
      case 'text':
        return true
      case 'trie':
        return this.#tries[data.trie]!.some(({ label }) => label >= 0)
      case 'seq':
        return data.children.every((child) => yes[child] === 1)
      case 'alt':
        return data.children.some((child) => yes[child] === 1)
      case 'star':
        return data.min === 0 || yes[data.child] === 1
      case 'array':
        return data.min <= data.max && data.min <= this.#elements(data, yes)
      case 'list':
        return aliveStates(data.states, yes)[0] === 1
      case 'object': {
        const { required, possible, free } = this.#properties(data, yes)
        const must = data.properties.every(
          ({ value, required }) => !required || (value !== undefined && yes[value] === 1),
        )
        if (data.otherNeeded && !free) return false
        return must && required + (data.otherNeeded ? 1 : 0) <= data.max && data.min <= Math.min(data.max, possible)
      }
    }
  }

  /** How many elements an array may have. */
  #elements({ prefix, rest }: NodeData & { kind: 'array' }, yes: Uint8Array): number {
    const dead = prefix.findIndex((node) => yes[node] === 0)
    if (dead >= 0) return dead
    return rest !== undefined && yes[rest] === 1 ? endless : prefix.length
  }

  #properties({ properties, others }: NodeData & { kind: 'object' }, yes: Uint8Array) {
    const alive = properties.filter(({ value }) => value !== undefined && yes[value] === 1).length
    const free = others?.values.some((value) => yes[value] === 1) === true
    return { required: properties.filter(({ required }) => required).length, possible: free ? endless : alive, free }
  }

  // ---- layout -------------------------------------------------------------------------------------------------------

  /** Undefined: there is no text. */
  build(start: Node): Int32Array<ArrayBuffer> | undefined {
    const yes = this.productive()
    if (yes[start] === 0) return undefined
    const parts: Parts = { bytes: [], children: [], arrays: [], lists: [], objects: [] }
    const out = new Words()
    out.push(programVersion, start, this.#nodes.length)
    for (const [node, data] of this.#nodes.entries()) {
      // What has no text is never reached: any node that does no harm.
      if (yes[node] === 0) out.push(kinds.indexOf('alt'), 0, 0, 0)
      else out.push(kinds.indexOf(data!.kind), ...this.#numbers(data!, yes, parts))
    }
    for (const list of [parts.bytes, parts.children]) out.pushAll([list.length], list)
    out.push(this.#classifiers.length)
    for (const { rows, runs, classes, allPlain } of this.#classifiers) {
      out.push(rows, classes, allPlain ? 1 : 0)
      out.pushAll(runs)
    }
    out.push(this.#automata.length)
    for (const { classifier, table, lengths } of this.#automata) {
      out.push(classifier, table.states)
      out.pushAll(table.next, table.label, lengths.shortest, lengths.longest)
    }
    out.push(this.#tries.length)
    for (const states of this.#tries) layTrie(out, states)
    for (const list of [parts.arrays, parts.lists, parts.objects]) {
      out.push(list.length)
      for (const words of list) out.pushAll(words)
    }
    return out.take()
  }

  #numbers(data: NodeData, yes: Uint8Array, to: Parts): [number, number, number] {
    switch (data.kind) {
      case 'bytes':
        for (const byte of data.bytes) to.bytes.push(byte)
        return [to.bytes.length - data.bytes.length, data.bytes.length, 0]
      case 'seq':
      case 'alt': {
        const children = data.kind === 'seq' ? data.children : data.children.filter((child) => yes[child] === 1)
        for (const child of children) to.children.push(child)
        return [to.children.length - children.length, children.length, 0]
      }
      case 'text':
        return [data.automaton, data.min, data.max]
      case 'trie':
        return [data.trie, 0, 0]
      case 'star':
        return [data.child, data.min, yes[data.child] === 1 ? data.max : 0]
      case 'array': {
        const most = this.#elements(data, yes)
        const prefix = data.prefix.slice(0, most)
        const rest = data.rest !== undefined && most === endless ? data.rest : -1
        to.arrays.push([prefix.length, ...prefix, rest])
        return [to.arrays.length - 1, data.min, Math.min(data.max, most)]
      }
      case 'list':
        to.lists.push(listWords(data.states, yes))
        return [to.lists.length - 1, 0, 0]
      case 'object':
        to.objects.push(this.#objectWords(data, yes))
        return [to.objects.length - 1, data.min, data.max]
    }
  }

  #objectWords({ names, properties, others, otherNeeded }: NodeData & { kind: 'object' }, yes: Uint8Array): number[] {
    let automaton = -1
    if (others !== undefined) {
      const { values, classifier } = others
      // Names whose values have no text may not begin.
      const table = relabel(others.table, (label) => (yes[values[label]!] === 1 ? values[label]! : -1))
      if (table !== undefined) automaton = this.automaton(table, lengths(table), classifier)
    }
    const values = properties.flatMap(({ value, required }) => [
      value !== undefined && yes[value] === 1 ? value : -1,
      required ? 1 : 0,
    ])
    return [names, automaton, automaton >= 0 && otherNeeded ? 1 : 0, properties.length, ...values]
  }
}

/** What nodes refer to, as words. */
interface Parts {
  bytes: number[]
  children: number[]
  arrays: number[][]
  lists: number[][]
  objects: number[][]
}

/** Characters of white space between two tokens of JSON, at most: a line break and an indent. */
export const longestWhiteSpace = 49

function aliveStates(states: readonly ListState[], yes: Uint8Array): Uint8Array {
  const alive = Uint8Array.from(states, ({ accept }) => (accept ? 1 : 0))
  for (let changed = true; changed; ) {
    changed = false
    states.forEach(({ edges }, i) => {
      if (alive[i] === 1 || !edges.some(({ node, to }) => yes[node] === 1 && alive[to] === 1)) return
      alive[i] = 1
      changed = true
    })
  }
  return alive
}

function listWords(states: readonly ListState[], yes: Uint8Array): number[] {
  const alive = aliveStates(states, yes)
  const words = [states.length]
  for (const { accept, edges } of states) {
    const kept = edges.filter(({ node, to }) => yes[node] === 1 && alive[to] === 1)
    words.push(accept ? 1 : 0, kept.length, ...kept.flatMap(({ node, to }) => [node, to]))
  }
  return words
}

function layTrie(out: Words, states: readonly TrieState[]): void {
  out.push(states.length)
  for (const { edges, label } of states) {
    out.push(label, edges.size)
    for (const [byte, to] of [...edges].sort((a, b) => a[0] - b[0])) out.push(byte, to)
  }
}

/** A growing Int32Array. */
class Words {
  #words = new Int32Array(1024)
  #length = 0

  push(...values: number[]): void {
    this.pushAll(values)
  }

  pushAll(...lists: ArrayLike<number>[]): void {
    for (const list of lists) {
      if (this.#length + list.length > this.#words.length) {
        const grown = new Int32Array(2 * (this.#length + list.length))
        grown.set(this.#words.subarray(0, this.#length))
        this.#words = grown
      }
      this.#words.set(list, this.#length)
      this.#length += list.length
    }
  }

  take(): Int32Array<ArrayBuffer> {
    return this.#words.slice(0, this.#length)
  }
}
