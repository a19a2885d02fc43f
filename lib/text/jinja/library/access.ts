/**
 * What `value.name`, `value[key]`, `value[a:b]` and `value(...)` mean. As in Jinja2, a point asks for Python's attribute first and for an
 * item then, brackets the other way round. Attributes are the methods in methods.ts and nothing else: no name reaches an object of
 * JavaScript.
 */
import { bind } from '../values/arguments.ts'
import { fail } from '../values/faults.ts'
import { step, takeItems } from '../values/limits.ts'
import { str } from '../values/show.ts'
import { characters, substring, lengthOf as textLength } from '../values/strings.ts'
import { concat, isMarkup, isStr, raw, toMarkup } from '../values/text.ts'
import {
  Callable,
  Dict,
  isInt,
  isList,
  isSequence,
  type Keywords,
  known,
  lengthOf,
  Namespace,
  Range,
  Thing,
  Tuple,
  typeName,
  Undefined,
  type Value,
  wantInt,
} from '../values/values.ts'
import { formatText } from './format.ts'
import { attributeOf } from './methods.ts'

function missing(value: Value, name: Value): Undefined {
  const what = isStr(name) ? `attribute '${raw(name)}'` : `element ${raw(str(name))}`
  const owner = value === null ? 'None' : `'${typeName(value)} object'`
  return new Undefined(`${owner} has no ${what}`)
}

/** The item of a key; undefined when there is none. */
function itemOf(value: Value, key: Value): Value | undefined {
  if (value instanceof Dict) return isList(key) || key instanceof Dict ? undefined : value.get(key)
  if (value instanceof Namespace) return undefined
  if (!(isStr(value) || isSequence(value)) || !isInt(key)) return undefined
  const length = lengthOf(value)
  const index = Number(key) < 0 ? length + Number(key) : Number(key)
  if (index < 0 || index >= length) return undefined
  if (isStr(value)) return substring(value, index, index + 1)
  return value instanceof Range ? value.at(index) : (value instanceof Tuple ? value.items : value)[index]
}

/** `value.name` */
export function getAttribute(value: Value, name: string): Value {
  if (value instanceof Undefined) return fail(value.hint)
  const attribute = ownAttribute(value, name)
  if (attribute !== undefined) return attribute
  const item = itemOf(value, name)
  return item === undefined ? missing(value, name) : item
}

/** `value[key]` */
export function getItem(value: Value, key: Value): Value {
  if (value instanceof Undefined) return fail(value.hint)
  const item = itemOf(value, key)
  if (item !== undefined) return item
  const attribute = isStr(key) ? ownAttribute(value, raw(key)) : undefined
  return attribute === undefined ? missing(value, key) : attribute
}

/** The filter `attr`: Python's attribute only. */
export function getOwnAttribute(value: Value, name: string): Value {
  const attribute = ownAttribute(value, name)
  return attribute === undefined ? missing(value, name) : attribute
}

/** `format` looks into values itself: it stands above the other methods. */
function ownAttribute(value: Value, name: string): Value | undefined {
  if (!isStr(value) || (name !== 'format' && name !== 'format_map')) return attributeOf(value, name)
  const keep = (text: Value) => (isMarkup(value) && isStr(text) ? toMarkup(text) : text)
  if (name === 'format') return new Callable(name, (args, keywords) => keep(formatText(value, args, keywords, resolve)))
  return new Callable(name, (args, keywords) => {
    const [values] = bind('format_map()', [['mapping']], args, keywords)
    if (!(values instanceof Dict)) return fail('format_map requires a mapping')
    const named = new Map<string, Value>()
    for (const [key, item] of values.pairs()) if (isStr(key)) named.set(raw(key), item)
    return keep(formatText(value, [], named, resolve))
  })
}

/** `{0.name}` and `{0[key]}` */
function resolve(value: Value, key: string | number, byPoint: boolean): Value {
  return known(byPoint ? getAttribute(value, String(key)) : getItem(value, key))
}

type Bounds = [from: Value, to: Value, by: Value]

/** `value[from:to:by]` */
export function getSlice(value: Value, [fromValue, toValue, byValue]: Bounds): Value {
  if (value instanceof Undefined) return fail(value.hint)
  if (!isStr(value) && !isSequence(value)) return fail(`'${typeName(value)}' object is not subscriptable`)
  const bounds = [fromValue, toValue, byValue]
  if (!bounds.every((bound) => bound === null || isInt(bound)))
    return fail('slice indices must be integers or None or have an __index__ method')
  const part = (bound: Value) => (bound === null ? null : wantInt(bound))
  const [from, to, by] = [part(fromValue), part(toValue), part(byValue) ?? 1]
  if (by === 0) fail('slice step cannot be zero')
  if (isStr(value) && by === 1) return substring(value, from, to)
  const length = isStr(value) ? textLength(value) : lengthOf(value)
  const [lowest, highest] = by < 0 ? [-1, length - 1] : [0, length]
  const clamp = (bound: number) => Math.min(highest, Math.max(lowest, bound < 0 ? length + bound : bound))
  const start = from === null ? (by < 0 ? highest : lowest) : clamp(from)
  const end = to === null ? (by < 0 ? lowest : highest) : clamp(to)
  if (value instanceof Range) return new Range(value.at(start), value.at(end), value.step * by)
  const items: readonly Value[] = isStr(value) ? characters(value) : value instanceof Tuple ? value.items : value
  const chosen: Value[] = []
  for (let at = start; by < 0 ? at > end : at < end; at += by) chosen.push(items[at]!)
  takeItems(chosen.length)
  if (isStr(value)) return chosen.length === 0 ? '' : concat(chosen.filter(isStr))
  return value instanceof Tuple ? new Tuple(chosen) : chosen
}

/** `value(...)` */
export function callValue(value: Value, args: readonly Value[], keywords: Keywords): Value {
  step()
  if (value instanceof Undefined) return fail(value.hint)
  if (value instanceof Callable) return value.call(args, keywords)
  if (value instanceof Thing && value.call) return value.call(args, keywords)
  return fail(`'${typeName(value)}' object is not callable`)
}
