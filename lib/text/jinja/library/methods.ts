/**
 * Python's methods of strings, mappings, lists and numbers: tables of name, parameters, function. What changes a list or a mapping in
 * place is refused, as Jinja2's immutable sandbox does.
 */
import { bind, type Parameter } from '../values/arguments.ts'
import { equal } from '../values/compare.ts'
import { fail } from '../values/faults.ts'
import { str } from '../values/show.ts'
import * as strings from '../values/strings.ts'
import { concat, escapeHtml, isMarkup, isStr, mapStretches, raw, type Str, slice, toMarkup } from '../values/text.ts'
import {
  Callable,
  Dict,
  Float,
  type Int,
  isInt,
  isList,
  isTrue,
  itemsOf,
  known,
  listOf,
  Namespace,
  Range,
  type Sequence,
  Thing,
  Tuple,
  Undefined,
  type Value,
  View,
  wantInt,
  wantStr,
} from '../values/values.ts'

type Method<Self> = readonly [parameters: readonly Parameter[], run: (self: Self, args: Value[]) => Value]

const setOf = (value: Value): string | null => (value === null ? null : raw(wantStr(value)))
const intOr = (value: Value): number | null => (value === null ? null : wantInt(value))
const chars: Parameter[] = [['chars', null]]
const within: Parameter[] = [['sub'], ['start', null], ['end', null]]
const filling: Parameter[] = [['width'], ['fillchar', ' ']]

const finder =
  (last: boolean, must: boolean) =>
  (text: Str, [sub, from, to]: Value[]): Value => {
    const at = strings.find(text, wantStr(sub!), intOr(from!), intOr(to!), last)
    return at < 0 && must ? fail('substring not found') : at
  }

const affix =
  (atEnd: boolean) =>
  (text: Str, [wanted, from, to]: Value[]): Value => {
    const part = from === null && to === null ? text : strings.substring(text, intOr(from!), intOr(to!))
    const candidates = wanted instanceof Tuple ? wanted.items : [wanted!]
    const has = (candidate: Value) => {
      const affix = raw(wantStr(candidate, 'an affix'))
      return atEnd ? raw(part).endsWith(affix) : raw(part).startsWith(affix)
    }
    return candidates.some(has)
  }

const every =
  (pattern: RegExp) =>
  (text: Str): Value =>
    pattern.test(raw(text))

const pad =
  (left: boolean) =>
  (text: Str, [width, fill]: Value[]): Value => {
    const missing = Math.max(0, wantInt(width!) - strings.lengthOf(text))
    if (strings.lengthOf(wantStr(fill!)) !== 1) fail('The fill character must be exactly one character long')
    return strings.surround(text, left ? missing : 0, left ? 0 : missing, wantStr(fill!))
  }

function joinText(text: Str, items: readonly Value[]): Str {
  const parts = items.flatMap((item, i) => {
    const part = wantStr(item, `sequence item ${i}:`)
    return i > 0 ? [text, part] : [part]
  })
  if (parts.some(isMarkup)) return toMarkup(concat(parts.map(escapeHtml)))
  return parts.length === 0 ? '' : concat(parts)
}

function countText(text: Str, [sub, from, to]: Value[]): number {
  const part = from === null && to === null ? text : strings.substring(text, intOr(from!), intOr(to!))
  const wanted = raw(wantStr(sub!))
  if (wanted === '') return strings.lengthOf(part) + 1
  let count = 0
  for (let at = raw(part).indexOf(wanted); at >= 0; at = raw(part).indexOf(wanted, at + wanted.length)) count++
  return count
}

const removeAffix =
  (atEnd: boolean) =>
  (text: Str, [affix]: Value[]): Value => {
    const [own, wanted] = [raw(text), raw(wantStr(affix!))]
    if (wanted === '') return text
    if (atEnd) return own.endsWith(wanted) ? slice(text, 0, own.length - wanted.length) : text
    return own.startsWith(wanted) ? slice(text, wanted.length) : text
  }

function isTitle(text: Str): boolean {
  let cased = false
  let inWord = false
  for (const character of raw(text)) {
    const [upper, lower] = [/[\p{Lu}\p{Lt}]/u.test(character), /\p{Ll}/u.test(character)]
    if ((upper && inWord) || (lower && !inWord)) return false
    inWord = upper || lower
    cased ||= inWord
  }
  return cased
}

const stringMethods: Record<string, Method<Str>> = {
  strip: [chars, (text, [set]) => strings.strip(text, setOf(set!))],
  lstrip: [chars, (text, [set]) => strings.strip(text, setOf(set!), true, false)],
  rstrip: [chars, (text, [set]) => strings.strip(text, setOf(set!), false, true)],
  split: [
    [
      ['sep', null],
      ['maxsplit', -1],
    ],
    (text, [sep, most]) => strings.split(text, sep === null ? null : wantStr(sep!), wantInt(most!)),
  ],
  rsplit: [
    [
      ['sep', null],
      ['maxsplit', -1],
    ],
    (text, [sep, most]) => strings.splitRight(text, sep === null ? null : wantStr(sep!), wantInt(most!)),
  ],
  splitlines: [[['keepends', false]], (text, [keep]) => strings.splitLines(text, isTrue(keep!))],
  partition: [[['sep']], (text, [sep]) => new Tuple(strings.partition(text, wantStr(sep!), false))],
  rpartition: [[['sep']], (text, [sep]) => new Tuple(strings.partition(text, wantStr(sep!), true))],
  startswith: [within, affix(false)],
  endswith: [within, affix(true)],
  replace: [
    [['old'], ['new'], ['count', -1]],
    (text, [from, to, count]) => strings.replace(text, wantStr(from!), wantStr(to!), wantInt(count!)),
  ],
  join: [[['iterable']], (text, [items]) => joinText(text, listOf(known(items!)))],
  find: [within, finder(false, false)],
  rfind: [within, finder(true, false)],
  index: [within, finder(false, true)],
  rindex: [within, finder(true, true)],
  count: [within, countText],
  upper: [[], strings.upper],
  lower: [[], strings.lower],
  casefold: [[], (text) => mapStretches(text, (part) => part.toLowerCase().replaceAll('ß', 'ss').replaceAll('ς', 'σ'))],
  swapcase: [[], strings.swapCase],
  title: [[], strings.titleCase],
  capitalize: [[], (text) => strings.capitalize(text)],
  isdigit: [[], every(/^[\p{Nd}\u00b2\u00b3\u00b9\u2070\u2074-\u2079\u2080-\u2089]+$/u)],
  isdecimal: [[], every(/^\p{Nd}+$/u)],
  isnumeric: [[], every(/^\p{N}+$/u)],
  isalpha: [[], every(/^\p{L}+$/u)],
  isalnum: [[], every(/^[\p{L}\p{N}]+$/u)],
  isspace: [[], every(new RegExp(`^[${strings.whiteSpace}]+$`))],
  isascii: [[], (text) => !/[^\0-\x7f]/.test(raw(text))],
  isidentifier: [[], every(/^[\p{ID_Start}_]\p{ID_Continue}*$/u)],
  isprintable: [[], (text) => !/(?! )[\p{C}\p{Z}]/u.test(raw(text))],
  isupper: [[], (text) => strings.isCased(text, 'upper')],
  islower: [[], (text) => strings.isCased(text, 'lower')],
  istitle: [[], isTitle],
  removeprefix: [[['prefix']], removeAffix(false)],
  removesuffix: [[['suffix']], removeAffix(true)],
  zfill: [[['width']], (text, [width]) => strings.zeroFill(text, wantInt(width!))],
  ljust: [filling, pad(false)],
  rjust: [filling, pad(true)],
  center: [filling, (text, [width, fill]) => strings.center(text, wantInt(width!), wantStr(fill!))],
  expandtabs: [[['tabsize', 8]], (text, [size]) => strings.expandTabs(text, wantInt(size!))],
}

const dictMethods: Record<string, Method<Dict>> = {
  get: [[['key'], ['default', null]], (dict, [key, fallback]) => (dict.has(key!) ? dict.get(key!)! : fallback!)],
  items: [[], (dict) => new View('items', dict)],
  keys: [[], (dict) => new View('keys', dict)],
  values: [[], (dict) => new View('values', dict)],
  copy: [[], (dict) => Dict.from(dict.pairs())],
}

const sequenceMethods: Record<string, Method<Sequence>> = {
  index: [
    [['value'], ['start', 0], ['stop', null]],
    (list, [value, start, stop]) => {
      const items = itemsOf(list)
      const from = wantInt(start!) < 0 ? Math.max(0, items.length + wantInt(start!)) : wantInt(start!)
      const end = stop === null ? items.length : wantInt(stop!) < 0 ? items.length + wantInt(stop!) : wantInt(stop!)
      const at = items.findIndex((item, i) => i >= from && i < end && equal(item, value!))
      return at < 0 ? fail(`${raw(str(value!))} is not in list`) : at
    },
  ],
  count: [[['value']], (list, [value]) => itemsOf(list).filter((item) => equal(item, value!)).length],
}

const listMethods: Record<string, Method<readonly Value[]>> = { copy: [[], (list) => [...list]] }

const numberMethods: Record<string, Method<number | bigint | boolean>> = {
  bit_length: [[], (value) => (BigInt(value) === 0n ? 0 : BigInt(value).toString(2).replace('-', '').length)],
  conjugate: [[], (value) => value],
}
const floatMethods: Record<string, Method<Float>> = {
  is_integer: [[], ({ number }) => Number.isInteger(number)],
  conjugate: [[], (value) => value],
}

const mutators = {
  list: new Set('append clear extend insert pop remove reverse sort'.split(' ')),
  dict: new Set('clear pop popitem setdefault update'.split(' ')),
}

function method<Self>(table: Record<string, Method<Self>>, name: string, self: Self, keep?: (value: Value) => Value) {
  if (!Object.hasOwn(table, name)) return undefined
  const [parameters, run] = table[name]!
  return new Callable(name, (args, keywords) => {
    const value = run(self, bind(`${name}()`, parameters, args, keywords))
    return keep ? keep(value) : value
  })
}

const unsafe = (type: string, name: string) =>
  new Undefined(`access to attribute '${name}' of '${type}' object is unsafe.`)

/** What methods of Markup give is Markup, in lists as well. */
function keepMarkup(value: Value): Value {
  if (isStr(value)) return toMarkup(value)
  if (value instanceof Tuple) return new Tuple(value.items.map(keepMarkup))
  return isList(value) ? value.map(keepMarkup) : value
}

function stringAttribute(text: Str, name: string): Value | undefined {
  return method(stringMethods, name, text, isMarkup(text) ? keepMarkup : undefined)
}

/** Python's attribute of that name; undefined when there is none. */
export function attributeOf(value: Value, name: string): Value | undefined {
  if (isStr(value)) return stringAttribute(value, name)
  if (value instanceof Dict) {
    return method(dictMethods, name, value) ?? (mutators.dict.has(name) ? unsafe('dict', name) : undefined)
  }
  if (isList(value)) {
    const found = method(sequenceMethods, name, value as Sequence) ?? method(listMethods, name, value)
    return found ?? (mutators.list.has(name) ? unsafe('list', name) : undefined)
  }
  if (value instanceof Tuple && value.names.includes(name)) return value.items[value.names.indexOf(name)]
  if (value instanceof Tuple) return method(sequenceMethods, name, value as Sequence)
  if (value instanceof Range) return rangeAttribute(value, name) ?? method(sequenceMethods, name, value as Sequence)
  if (value instanceof Namespace) return value.values.get(name)
  if (value instanceof Callable) return value.attributes?.get(name)
  if (value instanceof Thing) return Object.hasOwn(value.attributes, name) ? value.attributes[name]!() : undefined
  if (value instanceof Float)
    return name === 'real' ? value : name === 'imag' ? new Float(0) : method(floatMethods, name, value)
  if (isInt(value)) return intAttribute(value, name) ?? method(numberMethods, name, value)
  return undefined
}

function rangeAttribute(value: Range, name: string): Value | undefined {
  const parts: Record<string, number> = { start: value.from, stop: value.to, step: value.step }
  return Object.hasOwn(parts, name) ? parts[name] : undefined
}

function intAttribute(value: Int, name: string): Value | undefined {
  const parts: Record<string, Value> = { real: value, numerator: value, imag: 0, denominator: 1 }
  return Object.hasOwn(parts, name) ? parts[name] : undefined
}
