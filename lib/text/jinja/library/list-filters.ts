/** Jinja2's filters of lists and mappings. Those that give generators in Python do so here: nothing is computed that nobody asks for. */

import type { Parameter } from '../values/arguments.ts'
import { equal, order } from '../values/compare.ts'
import { fail } from '../values/faults.ts'
import { step, takeItems } from '../values/limits.ts'
import { calculate } from '../values/numbers.ts'
import { str } from '../values/show.ts'
import { lower, substring } from '../values/strings.ts'
import { concat, isStr, raw, type Str } from '../values/text.ts'
import {
  Dict,
  Generator,
  isNumber,
  isTrue,
  iterate,
  known,
  listOf,
  Tuple,
  typeName,
  Undefined,
  type Value,
  wantInt,
} from '../values/values.ts'
import { getItem } from './access.ts'
import type { Filter, FreeFilter } from './filter.ts'

type FilterOf = (name: string) => FreeFilter
type Steps = IterableIterator<Value>
type TestOf = (name: string) => (value: Value, args: readonly Value[]) => boolean

function* each(iterator: Iterator<Value>): Steps {
  for (let next = iterator.next(); !next.done; next = iterator.next()) {
    step()
    yield next.value
  }
}
const lazy = (steps: () => Iterator<Value>) => new Generator(steps())

/** 'a.0.b' or a number -> what it finds in an item; `fallback` in the place of what is not there. */
function pathOf(path: Value, fallback: Value = null): (item: Value) => Value {
  if (path === null) return (item) => item
  const parts = isStr(path)
    ? raw(path)
        .split('.')
        .map((part) => (/^\d+$/.test(part) ? Number(part) : part))
    : [path]
  return (item) => {
    let value = item
    for (const part of parts) {
      value = getItem(value, part)
      if (fallback !== null && value instanceof Undefined) value = fallback
    }
    return value
  }
}

const folded = (value: Value, caseSensitive: Value): Value =>
  !isTrue(caseSensitive) && isStr(value) ? lower(value) : value

function sorted<Item>(items: readonly Item[], key: (item: Item) => Value, reverse: boolean): Item[] {
  takeItems(items.length)
  const rows = items.map((item, at) => ({ item, key: key(item), at }))
  const sign = reverse ? -1 : 1
  rows.sort((a, b) => sign * order(a.key, b.key) || a.at - b.at)
  return rows.map(({ item }) => item)
}

function sortKey(attribute: Value, caseSensitive: Value): (item: Value) => Value {
  const paths = isStr(attribute) && raw(attribute).includes(',') ? raw(attribute).split(',') : [attribute]
  const gets = paths.map((path) => pathOf(path))
  if (gets.length === 1) return (item) => folded(gets[0]!(item), caseSensitive)
  return (item) => new Tuple(gets.map((get) => folded(get(item), caseSensitive)))
}

function extreme(sign: number): Filter {
  return {
    parameters: [
      ['case_sensitive', false],
      ['attribute', null],
    ],
    run: (value, [caseSensitive, attribute]) => {
      const get = pathOf(attribute!)
      const key = (item: Value) => folded(get(item), caseSensitive!)
      let best: Value | undefined
      for (const item of each(iterate(value))) {
        if (best === undefined || sign * order(key(item), key(best)) > 0) best = item
      }
      return best === undefined ? new Undefined('No aggregated item, sequence was empty.') : best
    },
  }
}

function chooser(test: TestOf, keep: boolean, byAttribute: boolean): FreeFilter {
  return (value, args, keywords) => {
    if (byAttribute && args.length === 0) return fail('Missing parameter for attribute name')
    const get = byAttribute ? pathOf(args[0]!) : (item: Value) => item
    const [name, ...rest] = byAttribute ? args.slice(1) : args
    if (keywords.size > 0) return fail('a test takes no keyword arguments here')
    const passes = name === undefined ? isTrue : testOf(test, name, rest)
    return lazy(function* () {
      if (!isTrue(value)) return
      for (const item of each(iterate(value))) if (passes(get(item)) === keep) yield item
    })
  }
}

function testOf(test: TestOf, name: Value, args: readonly Value[]): (item: Value) => boolean {
  const run = test(raw(str(name)))
  return (item) => run(item, args)
}

function mapFilter(filter: FilterOf): FreeFilter {
  return (value, args, keywords) => {
    if (args.length === 0 && keywords.has('attribute')) {
      for (const name of keywords.keys())
        if (name !== 'attribute' && name !== 'default') fail(`Unexpected keyword argument '${name}'`)
      const get = pathOf(keywords.get('attribute')!, keywords.has('default') ? keywords.get('default')! : null)
      return mapped(value, get)
    }
    if (args.length === 0) return fail('map requires a filter argument')
    const [name, ...rest] = args
    const run = filter(raw(str(name!)))
    return mapped(value, (item) => run(item, rest, keywords))
  }
}

const mapped = (value: Value, change: (item: Value) => Value) =>
  lazy(function* () {
    if (!isTrue(value)) return
    for (const item of each(iterate(value))) yield change(item)
  })

function groupBy(value: Value, [attribute, fallback, caseSensitive]: Value[]): Value {
  const get = pathOf(attribute!, fallback!)
  const key = (item: Value) => folded(get(item), caseSensitive!)
  const groups: { key: Value; name: Value; items: Value[] }[] = []
  for (const item of sorted(listOf(value), key, false)) {
    const last = groups.at(-1)
    if (last && equal(last.key, key(item))) last.items.push(item)
    else groups.push({ key: key(item), name: get(item), items: [item] })
  }
  return groups.map(({ name, items }) => new Tuple([name, items], ['grouper', 'list']))
}

function join(value: Value, [separator, attribute]: Value[]): Value {
  const get = pathOf(attribute!)
  const between = str(separator!)
  const parts: Str[] = []
  for (const item of each(iterate(value))) {
    if (parts.length > 0 && raw(between) !== '') parts.push(between)
    parts.push(str(get(item)))
    if (parts.length % 4096 === 0) takeItems(parts.length)
  }
  return parts.length === 0 ? '' : concat(parts)
}

function first(value: Value): Value {
  const next = isStr(value) ? undefined : iterate(value).next()
  const item = isStr(value) ? substring(value, 0, 1) : next!.done ? undefined : next!.value
  return item === undefined || item === '' ? new Undefined('No first item, sequence was empty.') : item
}

function last(value: Value): Value {
  if (value instanceof Generator) return fail("'generator' object is not reversible")
  known(value)
  const items = isStr(value) ? [substring(value, -1)].filter((item) => item !== '') : listOf(value)
  const item = items[items.length - 1]
  return item === undefined ? new Undefined('No last item, sequence was empty.') : item
}

function reverse(value: Value): Value {
  if (isStr(value)) {
    const items = listOf(value).filter(isStr)
    return items.length === 0 ? '' : concat(items.reverse())
  }
  const items = [...listOf(value)].reverse()
  return new Generator(items.values())
}

function batch(value: Value, [countValue, filling]: Value[]): Value {
  const count = wantInt(countValue!)
  return lazy(function* () {
    let part: Value[] = []
    for (const item of each(iterate(value))) {
      if (part.length === count) {
        yield part
        part = []
      }
      part.push(item)
    }
    if (part.length === 0) return
    if (filling !== null) {
      takeItems(Math.max(0, count - part.length))
      while (part.length < count) part.push(filling!)
    }
    yield part
  })
}

function sliceFilter(value: Value, [countValue, filling]: Value[]): Value {
  const items = listOf(value)
  const count = takeItems(wantInt(countValue!))
  if (count === 0) return fail('division or modulo by zero')
  const [size, more] = [Math.floor(items.length / count), items.length % count]
  let at = 0
  const parts: Value[][] = []
  for (let i = 0; i < count; i++) {
    const length = size + (i < more ? 1 : 0)
    const part = items.slice(at, at + length)
    at += length
    if (filling !== null && i >= more) part.push(filling!)
    parts.push(part)
  }
  return new Generator(parts.values())
}

function unique(value: Value, [caseSensitive, attribute]: Value[]): Value {
  const get = pathOf(attribute!)
  return lazy(function* () {
    const seen = new Dict()
    for (const item of each(iterate(value))) {
      const key = folded(get(item), caseSensitive!)
      if (seen.has(key)) continue
      seen.set(key, true)
      yield item
    }
  })
}

function sum(value: Value, [attribute, start]: Value[]): Value {
  const get = pathOf(attribute!)
  let total: Value = start!
  for (const item of each(iterate(value))) total = add(total, get(item))
  return total
}

function add(a: Value, b: Value): Value {
  if (isNumber(a) && isNumber(b)) return calculate('+', a, b)
  if (Array.isArray(a) && Array.isArray(b)) {
    takeItems(a.length + b.length)
    return [...a, ...b]
  }
  if (isStr(a) || isStr(b)) return fail("sum() can't sum strings [use ''.join(seq) instead]")
  return calculate('+', a, b)
}

function dictSort(value: Value, [caseSensitive, by, backwards]: Value[]): Value {
  if (!(value instanceof Dict)) return fail(`'${typeName(known(value))}' object has no attribute 'items'`)
  const place = { key: 0, value: 1 }[raw(str(by!))]
  if (place === undefined) return fail('You can only sort by either "key" or "value"')
  const pairs = value.list('items') as Tuple[]
  return sorted(pairs, (pair) => folded(pair.items[place]!, caseSensitive!), isTrue(backwards!))
}

function items(value: Value): Value {
  if (value instanceof Undefined) return new Generator([].values())
  return value instanceof Dict
    ? new Generator(value.list('items').values())
    : fail('Can only get item pairs from a mapping.')
}

const caseAndAttribute: Parameter[] = [
  ['case_sensitive', false],
  ['attribute', null],
]

export function listFilters(filter: FilterOf, test: TestOf): Record<string, Filter | FreeFilter> {
  return {
    batch: { parameters: [['linecount'], ['fill_with', null]], run: batch },
    dictsort: {
      parameters: [
        ['case_sensitive', false],
        ['by', 'key'],
        ['reverse', false],
      ],
      run: dictSort,
    },
    first: { parameters: [], run: first },
    groupby: { parameters: [['attribute'], ['default', null], ['case_sensitive', false]], run: groupBy },
    items: { parameters: [], run: items },
    join: {
      parameters: [
        ['d', ''],
        ['attribute', null],
      ],
      run: join,
    },
    last: { parameters: [], run: last },
    list: { parameters: [], run: (value) => [...listOf(value)] },
    map: mapFilter(filter),
    max: extreme(1),
    min: extreme(-1),
    reject: chooser(test, false, false),
    rejectattr: chooser(test, false, true),
    reverse: { parameters: [], run: reverse },
    select: chooser(test, true, false),
    selectattr: chooser(test, true, true),
    slice: { parameters: [['slices'], ['fill_with', null]], run: sliceFilter },
    sort: {
      parameters: [['reverse', false], ...caseAndAttribute],
      run: (value, [backwards, caseSensitive, attribute]) =>
        sorted(listOf(value), sortKey(attribute!, caseSensitive!), isTrue(backwards!)),
    },
    sum: {
      parameters: [
        ['attribute', null],
        ['start', 0],
      ],
      run: sum,
    },
    unique: { parameters: caseAndAttribute, run: unique },
  }
}
