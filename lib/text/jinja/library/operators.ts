/** The operators of expressions: arithmetic on numbers is in numbers.ts, here is what they do with strings and lists. */

import { takeItems } from '../values/limits.ts'
import { calculate, unsupported } from '../values/numbers.ts'
import { repeat } from '../values/strings.ts'
import { concat, escapeHtml, isMarkup, isStr, type Str, toMarkup } from '../values/text.ts'
import { isInt, isList, isNumber, Tuple, type Value } from '../values/values.ts'
import { percent } from './format.ts'

function add(a: Value, b: Value): Value {
  if (isStr(a) && isStr(b)) return addText(a, b)
  if (isList(a) && isList(b)) {
    takeItems(a.length + b.length)
    return [...a, ...b]
  }
  if (a instanceof Tuple && b instanceof Tuple) {
    takeItems(a.items.length + b.items.length)
    return new Tuple([...a.items, ...b.items])
  }
  return calculate('+', a, b)
}

/** Markup escapes what is added to it. */
function addText(a: Str, b: Str): Str {
  if (!isMarkup(a) && !isMarkup(b)) return concat([a, b])
  return toMarkup(concat([escapeHtml(a), escapeHtml(b)]))
}

function times(list: readonly Value[], count: number): Value[] {
  takeItems(list.length * Math.max(0, count))
  const result: Value[] = []
  for (let i = 0; i < count; i++) for (const item of list) result.push(item)
  return result
}

function multiply(a: Value, b: Value): Value {
  if (isNumber(a) && isNumber(b)) return calculate('*', a, b)
  const [value, count] = isInt(a) ? [b, a] : [a, b]
  if (!isInt(count)) return unsupported('*', a, b)
  if (isStr(value)) {
    const text = repeat(value, Number(count))
    return isMarkup(value) ? toMarkup(text) : text
  }
  if (isList(value)) return times(value, Number(count))
  if (value instanceof Tuple) return new Tuple(times(value.items, Number(count)))
  return unsupported('*', a, b)
}

export const operators: Record<string, (a: Value, b: Value) => Value> = {
  '+': add,
  '-': (a, b) => calculate('-', a, b),
  '*': multiply,
  '/': (a, b) => calculate('/', a, b),
  '//': (a, b) => calculate('//', a, b),
  '%': (a, b) => (isStr(a) ? percent(a, b) : calculate('%', a, b)),
  '**': (a, b) => calculate('**', a, b),
}
