/** Jinja2's tests: `value is name(args)`. */
import { bind, type Parameter } from '../values/arguments.ts'
import { comparisons } from '../values/compare.ts'
import { fail } from '../values/faults.ts'
import { calculate, toNumber } from '../values/numbers.ts'
import { str } from '../values/show.ts'
import { isCased } from '../values/strings.ts'
import { isMarkup, isStr, raw } from '../values/text.ts'
import {
  Callable,
  Dict,
  Float,
  Generator,
  isNumber,
  isSequence,
  Thing,
  Undefined,
  type Value,
  View,
} from '../values/values.ts'

export type Test = (value: Value, args: readonly Value[], keywords: ReadonlyMap<string, Value>) => boolean

type Check = (value: Value, args: Value[]) => boolean

const rest = (value: Value, by: Value): number => {
  const left = calculate('%', value, by)
  return isNumber(left) ? toNumber(left) : Number.NaN
}

const alone: Record<string, Check> = {
  boolean: (value) => typeof value === 'boolean',
  callable: (value) =>
    value instanceof Callable || value instanceof Undefined || (value instanceof Thing && value.call !== undefined),
  defined: (value) => !(value instanceof Undefined),
  escaped: (value) => isMarkup(value),
  even: (value) => rest(value, 2) === 0,
  false: (value) => value === false,
  float: (value) => value instanceof Float,
  integer: (value) => typeof value === 'number' || typeof value === 'bigint',
  iterable: (value) =>
    isStr(value) ||
    isSequence(value) ||
    value instanceof Dict ||
    value instanceof View ||
    value instanceof Generator ||
    value instanceof Undefined,
  lower: (value) => isCased(str(value), 'lower'),
  mapping: (value) => value instanceof Dict,
  none: (value) => value === null,
  number: (value) => isNumber(value),
  odd: (value) => rest(value, 2) === 1,
  sequence: (value) => isStr(value) || isSequence(value) || value instanceof Dict || value instanceof Undefined,
  string: (value) => isStr(value),
  true: (value) => value === true,
  undefined: (value) => value instanceof Undefined,
  upper: (value) => isCased(str(value), 'upper'),
}

/** Strings and numbers that are equal count as the same object, as CPython keeps one of most. */
function same(a: Value, b: Value): boolean {
  if (isStr(a) && isStr(b)) return raw(a) === raw(b)
  if (a instanceof Float && b instanceof Float) return a.number === b.number
  return a === b
}

const compare =
  (operator: string): Check =>
  (value, [other]) =>
    comparisons[operator]!(value, other!)

const withOther: Record<string, Check> = {
  divisibleby: (value, [by]) => rest(value, by!) === 0,
  in: compare('in'),
  sameas: (value, [other]) => same(value, other!),
}
const names: Record<string, string[]> = {
  '==': ['eq', 'equalto'],
  '!=': ['ne'],
  '<': ['lt', 'lessthan'],
  '<=': ['le'],
  '>': ['gt', 'greaterthan'],
  '>=': ['ge'],
}
for (const [operator, aliases] of Object.entries(names))
  for (const name of [operator, ...aliases]) withOther[name] = compare(operator)

/** `filters` are those that exist, for the test of that name. */
export function makeTests(filters: () => ReadonlyMap<string, unknown>): ReadonlyMap<string, Test> {
  const tests = new Map<string, Test>()
  const put = (name: string, parameters: readonly Parameter[], check: Check) =>
    tests.set(name, (value, args, keywords) => check(value, bind(`the test ${name}`, parameters, args, keywords)))
  for (const [name, check] of Object.entries(alone)) put(name, [], check)
  for (const [name, check] of Object.entries(withOther)) put(name, [['other']], check)
  const key = (value: Value) => (isStr(value) ? raw(value) : fail('expected a name'))
  put('filter', [], (value) => filters().has(key(value)))
  put('test', [], (value) => tests.has(key(value)))
  return tests
}
