/**
 * The values of a template, as Python has them. JavaScript's own stand for None, bool, int (a bigint beyond 2^53), str and list;
 * the classes here for the rest. Lists, tuples and mappings never change: the sandbox of chat templates forbids it. Only a
 * namespace does.
 */
import { fail } from './faults.ts'
import { checkRange, look, takeItems } from './limits.ts'
import { characters, lengthOf as textLength } from './strings.ts'
import { isStr, raw, type Str, Text } from './text.ts'

export class Float {
  readonly number: number
  constructor(number: number) {
    this.number = number
  }
}

export class Tuple {
  readonly items: readonly Value[]
  /** Of a named tuple. */
  readonly names: readonly string[]
  constructor(items: readonly Value[], names: readonly string[] = []) {
    this.items = items
    this.names = names
  }
}

export class Range {
  readonly from: number
  readonly to: number
  readonly step: number
  readonly length: number
  constructor(from: number, to: number, step: number) {
    this.from = from
    this.to = to
    this.step = step
    this.length = Math.max(0, Math.ceil((to - from) / step))
    checkRange(this.length)
  }
  at(index: number): number {
    return this.from + index * this.step
  }
  get items(): number[] {
    return Array.from({ length: this.length }, (_, i) => this.at(i))
  }
}

/** What a name, an attribute or an item is that does not exist; `hint` is what is said when it is used all the same. */
export class Undefined {
  readonly hint: string
  constructor(hint: string) {
    this.hint = hint
  }
}

/** Items that come one by one, once. */
export class Generator {
  readonly iterator: Iterator<Value>
  constructor(iterator: Iterator<Value>) {
    this.iterator = iterator
  }
}

export type Keywords = ReadonlyMap<string, Value>
export const noKeywords: Keywords = new Map()

/** A function, a method or a macro. */
export class Callable {
  readonly name: string
  readonly call: (args: readonly Value[], keywords: Keywords) => Value
  /** Set for a macro. */
  readonly attributes: ReadonlyMap<string, Value> | undefined
  constructor(name: string, call: Callable['call'], attributes?: ReadonlyMap<string, Value>) {
    this.name = name
    this.call = call
    this.attributes = attributes
  }
}

/** Something with attributes of its own, such as `loop`; `call` when it can be called, `length` when it has one. */
export class Thing {
  readonly kind: string
  readonly attributes: Record<string, () => Value>
  readonly call: Callable['call'] | undefined
  readonly length: (() => number) | undefined
  constructor(kind: string, attributes: Thing['attributes'], call?: Callable['call'], length?: () => number) {
    this.kind = kind
    this.attributes = attributes
    this.call = call
    this.length = length
  }
}

export class Namespace {
  readonly values: Dict
  constructor(values: Dict) {
    this.values = values
  }
}

export type Value =
  | null
  | boolean
  | number
  | bigint
  | Float
  | Str
  | readonly Value[]
  | Tuple
  | Range
  | Dict
  | View
  | Generator
  | Callable
  | Thing
  | Namespace
  | Undefined

type Hash = string | number | object | null

/** Python's equality of keys: 1, 1.0 and True are one. */
function hash(key: Value): Hash {
  if (isStr(key)) return `s${raw(key)}`
  if (key instanceof Float)
    return Number.isInteger(key.number) && !Number.isSafeInteger(key.number) ? `i${BigInt(key.number)}` : key.number
  if (typeof key === 'number' || typeof key === 'boolean') return Number(key)
  if (typeof key === 'bigint') return `i${key}`
  if (key instanceof Tuple) {
    const parts = key.items.map((item) => {
      look()
      const part = hash(item)
      if (typeof part === 'object' && part !== null) fail('a tuple of such items is no key')
      return `${typeof part}${String(part).length}:${part}`
    })
    return `t${parts.join()}`
  }
  if (key instanceof Dict || Array.isArray(key)) fail(`unhashable type: '${typeName(key)}'`)
  return key as object | null
}

export class Dict {
  readonly #entries = new Map<Hash, [Value, Value]>()

  static from(pairs: Iterable<readonly [Value, Value]>): Dict {
    const dict = new Dict()
    for (const [key, value] of pairs) dict.set(key, value)
    return dict
  }
  set(key: Value, value: Value): void {
    const known = this.#entries.get(hash(key))
    if (known) known[1] = value
    else {
      this.#entries.set(hash(key), [key, value])
      takeItems(1)
      if (this.#entries.size % 1024 === 0) takeItems(this.#entries.size)
    }
  }
  get(key: Value): Value | undefined {
    return this.#entries.get(hash(key))?.[1]
  }
  has(key: Value): boolean {
    return this.#entries.has(hash(key))
  }
  get size(): number {
    return this.#entries.size
  }
  pairs(): IterableIterator<readonly [Value, Value]> {
    return this.#entries.values()
  }
  list(kind: ViewKind): Value[] {
    takeItems(this.size)
    const of = { keys: 0, values: 1, items: -1 }[kind]
    return Array.from(this.#entries.values(), (pair) => (of < 0 ? new Tuple([pair[0], pair[1]]) : pair[of]!))
  }
}

export type ViewKind = 'keys' | 'values' | 'items'

/** What `dict.items()` gives. */
export class View {
  readonly kind: ViewKind
  readonly dict: Dict
  constructor(kind: ViewKind, dict: Dict) {
    this.kind = kind
    this.dict = dict
  }
}

export type Sequence = readonly Value[] | Tuple | Range

export const isList = (value: Value): value is readonly Value[] => Array.isArray(value)
export const isSequence = (value: Value): value is Sequence =>
  Array.isArray(value) || value instanceof Tuple || value instanceof Range
export const itemsOf = (value: Sequence): readonly Value[] =>
  value instanceof Tuple || value instanceof Range ? value.items : value

export type Int = number | bigint | boolean
export const isInt = (value: Value): value is Int =>
  typeof value === 'number' || typeof value === 'bigint' || typeof value === 'boolean'
export const isNumber = (value: Value): value is Int | Float => isInt(value) || value instanceof Float

const classNames: [new (...args: never[]) => object, string][] = [
  [Text, 'str'],
  [Float, 'float'],
  [Tuple, 'tuple'],
  [Range, 'range'],
  [Dict, 'dict'],
  [Generator, 'generator'],
  [Namespace, 'Namespace'],
  [Undefined, 'Undefined'],
]

/** What Python calls the type. */
export function typeName(value: Value): string {
  if (value === null) return 'NoneType'
  if (typeof value === 'string') return 'str'
  if (typeof value === 'boolean') return 'bool'
  if (typeof value === 'number' || typeof value === 'bigint') return 'int'
  if (Array.isArray(value)) return 'list'
  if (value instanceof View) return `dict_${value.kind}`
  if (value instanceof Callable) return value.attributes ? 'Macro' : 'function'
  if (value instanceof Thing) return value.kind
  return classNames.find(([type]) => value instanceof type)?.[1] ?? 'object'
}

/** The value, which is used, so that it must exist. */
export function known(value: Value): Exclude<Value, Undefined> {
  if (value instanceof Undefined) fail(value.hint)
  return value
}

export function isTrue(value: Value): boolean {
  if (value === null || value === false || value === 0 || value === '') return false
  if (value instanceof Text) return value.raw !== ''
  if (value instanceof Undefined) return false
  if (value instanceof Float) return value.number !== 0
  if (isSequence(value)) return (value instanceof Tuple ? value.items : value).length > 0
  if (value instanceof Dict) return value.size > 0
  if (value instanceof View) return value.dict.size > 0
  return true
}

/** What a loop goes over, without making a list of it. */
export function iterate(value: Value): Iterator<Value> {
  if (value instanceof Generator) return value.iterator
  return listOf(value).values()
}

/** The items of anything that has some. */
export function listOf(value: Value): readonly Value[] {
  if (isSequence(value)) return itemsOf(value)
  if (isStr(value)) return characters(value)
  if (value instanceof Dict) return value.list('keys')
  if (value instanceof View) return value.dict.list(value.kind)
  if (value instanceof Undefined) return []
  if (value instanceof Generator) {
    const items: Value[] = []
    for (let next = value.iterator.next(); !next.done; next = value.iterator.next()) {
      items.push(next.value)
      if (items.length % 1024 === 0) takeItems(items.length)
    }
    return items
  }
  return fail(`'${typeName(value)}' object is not iterable`)
}

export function lengthOf(value: Value): number {
  if (isStr(value)) return textLength(value)
  if (isSequence(value)) return value instanceof Tuple ? value.items.length : value.length
  if (value instanceof Dict) return value.size
  if (value instanceof View) return value.dict.size
  if (value instanceof Undefined) return 0
  if (value instanceof Thing && value.length) return value.length()
  return fail(`object of type '${typeName(value)}' has no len()`)
}

export function wantStr(value: Value, what = 'argument'): Str {
  return isStr(value) ? value : fail(`${what} must be str, not ${typeName(known(value))}`)
}

/** A place, a width or a count: one beyond 2^53 is as good as infinite. */
export function wantInt(value: Value): number {
  if (isInt(value)) return Number(value)
  return fail(`'${typeName(known(value))}' object cannot be interpreted as an integer`)
}
