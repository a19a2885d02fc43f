/** Equality, order and membership. */
import { fail } from './faults.ts'
import { look } from './limits.ts'
import { compareNumbers } from './numbers.ts'
import { isStr, raw } from './text.ts'
import {
  Dict,
  Generator,
  isNumber,
  isSequence,
  itemsOf,
  iterate,
  known,
  Range,
  typeName,
  Undefined,
  type Value,
  View,
} from './values.ts'

const kindOf = (value: Value) => (Array.isArray(value) ? Array : (value as object).constructor)

export function equal(a: Value, b: Value, depth = 0): boolean {
  look(depth)
  if (isStr(a)) return isStr(b) && raw(a) === raw(b)
  if (isNumber(a)) return isNumber(b) && compareNumbers(a, b) === 0
  if (isSequence(a)) {
    if (!isSequence(b) || kindOf(a) !== kindOf(b)) return false
    const [left, right] = [itemsOf(a), itemsOf(b)]
    return (
      left.length === right.length && left.every((item, i) => item === right[i] || equal(item, right[i]!, depth + 1))
    )
  }
  if (a instanceof Dict) {
    if (!(b instanceof Dict) || a.size !== b.size) return false
    for (const [key, value] of a.pairs()) {
      const other = b.get(key)
      if (other === undefined || !(value === other || equal(value, other, depth + 1))) return false
    }
    return true
  }
  if (a instanceof Undefined) return b instanceof Undefined
  return a === b
}

/** Python orders strings by code points, JavaScript by UTF-16 units. */
function compareStrings(a: string, b: string): number {
  let at = 0
  while (at < a.length && at < b.length && a[at] === b[at]) at++
  if (at === a.length || at === b.length) return Math.sign(a.length - b.length)
  const rank = (text: string) => {
    const unit = text.charCodeAt(at)
    return unit >= 0xd800 && unit <= 0xdfff ? unit + 0x10000 : unit
  }
  return Math.sign(rank(a) - rank(b))
}

/** -1, 0, 1, or NaN for floats without order. */
export function order(a: Value, b: Value, operator = '<', depth = 0): number {
  look(depth)
  if (isNumber(a) && isNumber(b)) return compareNumbers(a, b)
  if (isStr(a) && isStr(b)) return compareStrings(raw(a), raw(b))
  if (isSequence(a) && isSequence(b) && kindOf(a) === kindOf(b) && !(a instanceof Range)) {
    const [left, right] = [itemsOf(a), itemsOf(b)]
    for (let i = 0; i < Math.min(left.length, right.length); i++) {
      if (!equal(left[i]!, right[i]!, depth + 1)) return order(left[i]!, right[i]!, operator, depth + 1)
    }
    return Math.sign(left.length - right.length)
  }
  const [left, right] = [typeName(known(a)), typeName(known(b))]
  return fail(`'${operator}' not supported between instances of '${left}' and '${right}'`)
}

export function contains(container: Value, item: Value): boolean {
  if (isStr(container)) {
    if (!isStr(item)) fail(`'in <string>' requires string as left operand, not ${typeName(known(item))}`)
    return raw(container).includes(raw(item))
  }
  if (container instanceof Dict) return container.has(item)
  if (container instanceof View && container.kind === 'keys') return container.dict.has(item)
  if (
    !(container instanceof Generator) &&
    !isSequence(container) &&
    !(container instanceof View || container instanceof Undefined)
  )
    fail(`argument of type '${typeName(container)}' is not iterable`)
  const items = iterate(container)
  for (let next = items.next(); !next.done; next = items.next()) {
    if (next.value === item || equal(next.value, item)) return true
  }
  return false
}

export type Comparison = (a: Value, b: Value) => boolean

export const comparisons: Record<string, Comparison> = {
  '==': (a, b) => equal(a, b),
  '!=': (a, b) => !equal(a, b),
  '<': (a, b) => order(a, b, '<') < 0,
  '<=': (a, b) => order(a, b, '<=') <= 0,
  '>': (a, b) => order(a, b, '>') > 0,
  '>=': (a, b) => order(a, b, '>=') >= 0,
  in: (a, b) => contains(b, a),
  'not in': (a, b) => !contains(b, a),
}
