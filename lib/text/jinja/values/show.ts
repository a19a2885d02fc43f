/** Values as text: str(), repr() and JSON as Python's json module writes it. */
import { order } from './compare.ts'
import { fail } from './faults.ts'
import { checkCharacters, look } from './limits.ts'
import { floatText } from './numbers.ts'
import { concat, isMarkup, isStr, mapStretches, Output, raw, type Str } from './text.ts'
import {
  Callable,
  Dict,
  Float,
  Generator,
  isInt,
  isList,
  Namespace,
  Range,
  Thing,
  Tuple,
  typeName,
  Undefined,
  type Value,
  View,
} from './values.ts'

const named: Record<string, string> = { '\\': '\\\\', '\n': '\\n', '\r': '\\r', '\t': '\\t' }

function escapeForRepr(character: string): string {
  const known = named[character]
  if (known !== undefined) return known
  if (character === ' ' || !/[\p{C}\p{Z}]/u.test(character)) return character
  const code = character.codePointAt(0)!
  const hex = (digits: number) => code.toString(16).padStart(digits, '0')
  return code < 0x100 ? `\\x${hex(2)}` : code < 0x10000 ? `\\u${hex(4)}` : `\\U${hex(8)}`
}

function stringRepr(text: Str): Str {
  const quote = raw(text).includes("'") && !raw(text).includes('"') ? '"' : "'"
  const escaped = (character: string) => (character === quote ? `\\${quote}` : escapeForRepr(character))
  const inside = mapStretches(text, (stretch) => stretch.replace(/./gsu, escaped))
  const whole = concat([quote, inside, quote])
  return isMarkup(text) ? concat(['Markup(', whole, ')']) : whole
}

function putList(items: Iterable<Value>, [open, close]: readonly [string, string], out: Output, depth: number): void {
  out.add(open)
  let first = true
  for (const item of items) {
    if (!first) out.add(', ')
    first = false
    putRepr(item, out, depth + 1)
  }
  out.add(close)
}

function putDict(dict: Dict, out: Output, depth: number): void {
  out.add('{')
  let first = true
  for (const [key, item] of dict.pairs()) {
    if (!first) out.add(', ')
    first = false
    putRepr(key, out, depth + 1)
    out.add(': ')
    putRepr(item, out, depth + 1)
  }
  out.add('}')
}

function putRepr(value: Value, out: Output, depth: number): void {
  look(depth)
  if (isStr(value)) out.add(stringRepr(value))
  else if (isList(value)) putList(value, ['[', ']'], out, depth)
  else if (value instanceof Tuple) putList(value.items, ['(', value.items.length === 1 ? ',)' : ')'], out, depth)
  else if (value instanceof View) putList(value.dict.list(value.kind), [`dict_${value.kind}([`, '])'], out, depth)
  else if (value instanceof Dict) putDict(value, out, depth)
  else if (value instanceof Namespace) {
    out.add('<Namespace ')
    putRepr(value.values, out, depth + 1)
    out.add('>')
  } else out.add(value instanceof Undefined ? 'Undefined' : str(value))
}

export function repr(value: Value): Str {
  const out = new Output()
  putRepr(value, out, 0)
  return out.text()
}

export function str(value: Value): Str {
  if (isStr(value)) return value
  if (value === null) return 'None'
  if (typeof value === 'boolean') return value ? 'True' : 'False'
  if (isInt(value)) return String(value)
  if (value instanceof Float) return floatText(value.number)
  if (value instanceof Undefined) return ''
  if (value instanceof Range)
    return value.step === 1 ? `range(${value.from}, ${value.to})` : `range(${value.from}, ${value.to}, ${value.step})`
  if (value instanceof Generator) return '<generator object>'
  if (value instanceof Callable)
    return value.attributes
      ? `<Macro ${value.name === '' ? 'anonymous' : `'${value.name}'`}>`
      : `<function ${value.name}>`
  if (value instanceof Thing) return `<${value.kind}>`
  return repr(value)
}

export interface JsonOptions {
  ascii: boolean
  indent: Str | undefined
  separators: readonly [Str, Str] | undefined
  sortKeys: boolean
}

const jsonNames: Record<string, string> = {
  '"': '\\"',
  '\\': '\\\\',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
  '\b': '\\b',
  '\f': '\\f',
}
const hexOf = (unit: string) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`

class JsonWriter {
  readonly #out = new Output()
  readonly #options: JsonOptions
  readonly #separators: readonly [Str, Str]

  constructor(options: JsonOptions) {
    this.#options = options
    this.#separators = options.separators ?? [options.indent === undefined ? ', ' : ',', ': ']
  }

  write(value: Value): Str {
    this.#put(value, 0)
    return this.#out.text()
  }

  #put(value: Value, depth: number): void {
    look(depth)
    const out = this.#out
    if (isStr(value)) this.#text(value)
    else if (value === null) out.add('null')
    else if (isInt(value)) out.add(String(value))
    else if (value instanceof Float) out.add(jsonFloat(value.number))
    else if (isList(value) || value instanceof Tuple) {
      const items = value instanceof Tuple ? value.items : value
      this.#group('[', ']', items, depth, (item) => this.#put(item, depth + 1))
    } else if (value instanceof Dict) this.#dict(value, depth)
    else fail(`Object of type ${typeName(value)} is not JSON serializable`)
  }

  #dict(value: Dict, depth: number): void {
    const pairs = [...value.pairs()]
    if (this.#options.sortKeys) pairs.sort((a, b) => order(a[0], b[0]))
    this.#group('{', '}', pairs, depth, ([key, item]) => {
      this.#key(key, depth)
      this.#out.add(this.#separators[1])
      this.#put(item, depth + 1)
    })
  }

  #group<Item>(open: string, close: string, items: readonly Item[], depth: number, put: (item: Item) => void): void {
    const out = this.#out
    out.add(open)
    items.forEach((item, i) => {
      if (i > 0) out.add(this.#separators[0])
      this.#line(depth + 1)
      put(item)
    })
    if (items.length > 0) this.#line(depth)
    out.add(close)
  }

  #line(depth: number): void {
    const { indent } = this.#options
    if (indent === undefined) return
    checkCharacters(raw(indent).length * depth)
    this.#out.add('\n')
    for (let i = 0; i < depth; i++) this.#out.add(indent)
  }

  #key(key: Value, depth: number): void {
    if (isStr(key)) {
      this.#text(key)
      return
    }
    if (key !== null && !isInt(key) && !(key instanceof Float))
      fail(`keys must be str, int, float, bool or None, not ${typeName(key)}`)
    this.#out.add('"')
    this.#put(key, depth)
    this.#out.add('"')
  }

  #text(text: Str): void {
    const { ascii } = this.#options
    this.#out.add('"')
    const escaped = mapStretches(text, (stretch) => {
      // biome-ignore lint/suspicious/noControlCharactersInRegex: JSON escapes them
      const safe = stretch.replace(/["\\\u0000-\u001f]/g, (unit) => jsonNames[unit] ?? hexOf(unit))
      // biome-ignore lint/suspicious/noControlCharactersInRegex: ASCII begins there
      return ascii ? safe.replace(/[^\u0000-\u007e]/g, hexOf) : safe
    })
    this.#out.add(escaped)
    this.#out.add('"')
  }
}

function jsonFloat(value: number): string {
  if (Number.isNaN(value)) return 'NaN'
  return Number.isFinite(value) ? floatText(value) : value < 0 ? '-Infinity' : 'Infinity'
}

export const json = (value: Value, options: JsonOptions): Str => new JsonWriter(options).write(value)
