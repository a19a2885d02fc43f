/**
 * Whether a value is what a JSON Schema (draft 2020-12) describes, and the first places where it is not. A table of keywords, each a
 * function of its own; a keyword that is neither in it nor an annotation is refused when the schema is looked at, never passed over.
 * `format` is an annotation, as the draft has it.
 */
import { isDeepStrictEqual } from 'node:util'
import { isObject } from '../base/plain-data.ts'

export type Report = (path: readonly PropertyKey[], message: string) => void

type Schema = boolean | { [keyword: string]: unknown }
type Members = { [key: string]: unknown }

interface Place {
  value: unknown
  path: readonly PropertyKey[]
  report: Report
  /** The keyword's schema. */
  schema: { [keyword: string]: unknown }
  check: Check
}

/** True: nothing is wrong. */
type Check = (schema: unknown, value: unknown, path: readonly PropertyKey[], report: Report) => boolean

/** Values in values in values: a schema that refers to itself cannot ask for more. */
const deepest = 512
const most = 8

const silent: Report = () => {}
const plural = (count: number, what: string) => `${count} ${what}${count === 1 ? '' : 's'}`

const types: Record<string, (value: unknown) => boolean> = {
  object: isObject,
  array: Array.isArray,
  string: (value) => typeof value === 'string',
  number: (value) => typeof value === 'number',
  integer: (value) => typeof value === 'number' && Number.isInteger(value),
  boolean: (value) => typeof value === 'boolean',
  null: (value) => value === null,
}

type Keyword = (given: never, place: Place) => boolean

/** A keyword of values of one kind; to others it says nothing. */
const of =
  <V, G>(
    is: (value: unknown) => boolean,
    meets: (value: V, given: G) => boolean,
    wanted: (given: G) => string,
  ): Keyword =>
  (given: G, { value, path, report }: Place) => {
    if (!is(value) || meets(value as V, given)) return true
    report(path, `expected ${wanted(given)}`)
    return false
  }

const number = (meets: (value: number, given: number) => boolean, wanted: string) =>
  of<number, number>(types.number!, meets, (given) => `${wanted} ${given}`)
const characters = (text: string) => [...text].length
const keysOf = (value: unknown) => Object.keys(value as object)
const all = <T>(items: Iterable<T>, each: (item: T) => boolean): boolean => {
  let isFine = true
  for (const item of items) if (!each(item)) isFine = false
  return isFine
}

/** The quotient is looked at as decimal: 0.07 is a multiple of 0.01. */
function isMultiple(value: number, of: number): boolean {
  const quotient = value / of
  return Math.abs(quotient - Math.round(quotient)) < 1e-9 * Math.max(1, Math.abs(quotient))
}

const members =
  (each: (place: Place, value: Members) => boolean): Keyword =>
  (_given, place) =>
    !isObject(place.value) || each(place, place.value as Members)

const elements =
  (each: (place: Place, value: unknown[]) => boolean): Keyword =>
  (_given, place) =>
    !Array.isArray(place.value) || each(place, place.value)

/** Properties that neither `properties` nor `patternProperties` name. */
function otherKeys(schema: { [keyword: string]: unknown }, value: Members): string[] {
  const { properties = {}, patternProperties = {} } = schema as { [keyword: string]: object }
  const patterns = Object.keys(patternProperties).map((pattern) => new RegExp(pattern, 'u'))
  return keysOf(value).filter((key) => !Object.hasOwn(properties, key) && !patterns.some((one) => one.test(key)))
}

const countOf = (schema: unknown, { value, check }: Place) =>
  (value as unknown[]).filter((item) => check(schema, item, [], silent)).length

const keywords: Record<string, Keyword> = {
  type: (given: string | string[], { value, path, report }: Place) => {
    const wanted = [given].flat()
    if (wanted.some((type) => types[type]?.(value))) return true
    report(path, `expected ${wanted.join(' or ')}`)
    return false
  },
  enum: of<unknown, unknown[]>(
    () => true,
    (value, given) => given.some((one) => isDeepStrictEqual(one, value)),
    (given) => `one of ${JSON.stringify(given)}`,
  ),
  const: of<unknown, unknown>(
    () => true,
    (value, given) => isDeepStrictEqual(given, value),
    (given) => JSON.stringify(given),
  ),
  minimum: number((value, given) => value >= given, 'at least'),
  maximum: number((value, given) => value <= given, 'at most'),
  exclusiveMinimum: number((value, given) => value > given, 'more than'),
  exclusiveMaximum: number((value, given) => value < given, 'less than'),
  multipleOf: number(isMultiple, 'a multiple of'),
  minLength: of<string, number>(
    types.string!,
    (text, n) => characters(text) >= n,
    (n) => `at least ${plural(n, 'character')}`,
  ),
  maxLength: of<string, number>(
    types.string!,
    (text, n) => characters(text) <= n,
    (n) => `at most ${plural(n, 'character')}`,
  ),
  pattern: of<string, string>(
    types.string!,
    (text, given) => new RegExp(given, 'u').test(text),
    (given) => `a text that matches ${given}`,
  ),
  minItems: of<unknown[], number>(
    types.array!,
    (list, n) => list.length >= n,
    (n) => `at least ${n === 1 ? '1 entry' : `${n} entries`}`,
  ),
  maxItems: of<unknown[], number>(
    types.array!,
    (list, n) => list.length <= n,
    (n) => `at most ${n === 1 ? '1 entry' : `${n} entries`}`,
  ),
  uniqueItems: of<unknown[], boolean>(
    types.array!,
    (list, given) => !given || list.every((one, i) => !list.slice(0, i).some((other) => isDeepStrictEqual(one, other))),
    () => 'entries that differ',
  ),
  minProperties: of<object, number>(
    types.object!,
    (value, n) => keysOf(value).length >= n,
    (n) => `at least ${n} properties`,
  ),
  maxProperties: of<object, number>(
    types.object!,
    (value, n) => keysOf(value).length <= n,
    (n) => `at most ${n} properties`,
  ),
  required: (given: string[], { value, path, report }: Place) =>
    !isObject(value) ||
    all(given, (key) => {
      if (Object.hasOwn(value, key)) return true
      report([...path, key], 'is missing')
      return false
    }),
  properties: members(({ schema, path, report, check }, value) =>
    all(
      Object.entries(schema.properties as object),
      ([key, inner]) => !Object.hasOwn(value, key) || check(inner, value[key], [...path, key], report),
    ),
  ),
  patternProperties: members(({ schema, path, report, check }, value) =>
    all(Object.entries(schema.patternProperties as object), ([pattern, inner]) => {
      const matches = new RegExp(pattern, 'u')
      return all(keysOf(value), (key) => !matches.test(key) || check(inner, value[key], [...path, key], report))
    }),
  ),
  additionalProperties: members(({ schema, path, report, check }, value) =>
    all(otherKeys(schema, value), (key) => check(schema.additionalProperties, value[key], [...path, key], report)),
  ),
  propertyNames: members(({ schema, path, report, check }, value) =>
    all(keysOf(value), (key) => check(schema.propertyNames, key, [...path, key], report)),
  ),
  dependentRequired: members(({ schema, ...place }, value) =>
    all(
      Object.entries(schema.dependentRequired as object),
      ([key, keys]) => !Object.hasOwn(value, key) || keywords.required!(keys as never, { schema, ...place }),
    ),
  ),
  dependentSchemas: members(({ schema, path, report, check }, value) =>
    all(
      Object.entries(schema.dependentSchemas as object),
      ([key, inner]) => !Object.hasOwn(value, key) || check(inner, value, path, report),
    ),
  ),
  prefixItems: elements(({ schema, path, report, check }, value) =>
    all((schema.prefixItems as unknown[]).slice(0, value.length).entries(), ([i, inner]) =>
      check(inner, value[i], [...path, i], report),
    ),
  ),
  items: elements(({ schema, path, report, check }, value) => {
    const first = Array.isArray(schema.prefixItems) ? schema.prefixItems.length : 0
    return all(value.slice(first).entries(), ([i, item]) => check(schema.items, item, [...path, first + i], report))
  }),
  contains: elements((place, value) => {
    const { minContains = 1, maxContains = value.length } = place.schema as {
      minContains?: number
      maxContains?: number
    }
    const found = countOf(place.schema.contains, place)
    if (found >= minContains && found <= maxContains) return true
    place.report(place.path, `expected ${minContains} to ${maxContains} entries of a kind, found ${found}`)
    return false
  }),
  allOf: (given: unknown[], { value, path, report, check }: Place) =>
    all(given, (one) => check(one, value, path, report)),
  anyOf: (given: unknown[], { value, path, report, check }: Place) => {
    if (given.some((one) => check(one, value, path, silent))) return true
    if (given.length === 1) return check(given[0], value, path, report)
    report(path, `expected one of ${given.length} forms, it is none`)
    return false
  },
  oneOf: (given: unknown[], { value, path, report, check }: Place) => {
    const count = given.filter((one) => check(one, value, path, silent)).length
    if (count !== 1) report(path, `expected exactly one of ${given.length} forms, it is ${count}`)
    return count === 1
  },
  not: (given: unknown, { value, path, report, check }: Place) => {
    if (!check(given, value, path, silent)) return true
    report(path, 'is what it must not be')
    return false
  },
  if: (given: unknown, { value, path, report, check, schema }: Place) => {
    const next = check(given, value, path, silent) ? schema.then : schema.else
    return next === undefined || check(next, value, path, report)
  },
}

/** Keywords that hold schemas, and how. */
const holdOne = ['additionalProperties', 'propertyNames', 'items', 'contains', 'not', 'if', 'then', 'else']
const holdList = ['allOf', 'anyOf', 'oneOf', 'prefixItems']
const holdNamed = ['properties', 'patternProperties', 'dependentSchemas', '$defs', 'definitions']
const others = new Set([
  ...[
    'then',
    'else',
    'minContains',
    'maxContains',
    '$ref',
    '$defs',
    'definitions',
    '$schema',
    '$id',
    '$comment',
    'title',
  ],
  ...['description', 'default', 'examples', 'format', 'deprecated', 'readOnly', 'writeOnly', 'contentEncoding'],
  ...['contentMediaType', 'contentSchema'],
])

/** Throws for a schema that cannot be checked; gives what checks a value, and the first places that are wrong. */
export function schemaCheck(root: unknown): (value: unknown) => { path: readonly PropertyKey[]; message: string }[] {
  survey(root, root, '#')
  let depth = 0
  const check: Check = (schema, value, path, report) => {
    if (typeof schema === 'boolean') {
      if (!schema) report(path, 'must not be there')
      return schema
    }
    if (++depth > deepest) throw new Error('the schema refers to itself without end')
    const given = schema as { [keyword: string]: unknown }
    const place = { value, path, report, schema: given, check }
    const isFine = all(Object.entries(given), ([keyword, of]) =>
      keyword === '$ref'
        ? check(target(root, of as string), value, path, report)
        : !Object.hasOwn(keywords, keyword) || keywords[keyword]!(of as never, place),
    )
    depth--
    return isFine
  }
  return (value) => {
    const issues: { path: readonly PropertyKey[]; message: string }[] = []
    depth = 0
    check(root, value, [], (path, message) => issues.length < most && issues.push({ path, message }))
    return issues
  }
}

/** Looks at every schema in a schema. */
function survey(root: unknown, schema: unknown, at: string): void {
  if (typeof schema === 'boolean') return
  if (!isObject(schema)) throw new Error(`expected a schema at ${at}`)
  for (const [keyword, given] of Object.entries(schema)) {
    const here = `${at}/${keyword}`
    if (!Object.hasOwn(keywords, keyword) && !others.has(keyword)) throw new Error(`there is no check of ${here}`)
    if (keyword === '$ref') target(root, given as string)
    if (keyword === 'pattern') new RegExp(given as string, 'u')
    if (holdOne.includes(keyword)) survey(root, given, here)
    if (holdList.includes(keyword))
      for (const [i, one] of listAt(given, here).entries()) survey(root, one, `${here}/${i}`)
    if (!holdNamed.includes(keyword)) continue
    if (!isObject(given)) throw new Error(`expected an object at ${here}`)
    for (const [name, one] of Object.entries(given)) {
      if (keyword === 'patternProperties') new RegExp(name, 'u')
      survey(root, one, `${here}/${name}`)
    }
  }
}

function listAt(given: unknown, at: string): Schema[] {
  if (!Array.isArray(given)) throw new Error(`expected an array at ${at}`)
  return given
}

/** References within the schema. */
function target(root: unknown, ref: string): unknown {
  const steps = /^#(?:\/(.*))?$/s.exec(ref)
  if (steps === null) throw new Error(`there is no check of a reference to ${ref}`)
  let place = root
  for (const step of steps[1]?.split('/') ?? []) {
    const key = decodeURIComponent(step).replaceAll('~1', '/').replaceAll('~0', '~')
    if (typeof place !== 'object' || place === null || !Object.hasOwn(place, key))
      throw new Error(`there is nothing at ${ref}`)
    place = (place as Members)[key]
  }
  return place
}
