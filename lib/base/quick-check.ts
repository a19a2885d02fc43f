/**
 * A first look at what callers give: a check that is made once of a zod schema, accepts what is plainly well formed, and is `unsure` of all
 * else, which is zod's to judge. zod asks every field of a schema, in some hundred small functions; after a step of the engine has filled the
 * caches with weights, each of them is fetched from memory again. Here only what is given is looked at. There is one truth, the schema: what
 * is accepted zod would accept, and as the same value.
 */
import type * as z from './zod.ts'

export const unsure = Symbol('unsure')

/** The value as the schema gives it, or `unsure`. */
export type QuickCheck = (value: unknown) => unknown

/** What zod's definitions say, as far as it is looked at. */
interface Def {
  type: string
  check?: string
  checks?: { _zod: { def: CheckDef; check: (payload: Payload) => unknown } }[]
  innerType: z.ZodType
  defaultValue: unknown
  element: z.ZodType
  options: readonly z.ZodType[]
  /** False: of several options exactly one may accept. */
  inclusive?: boolean
  shape: Shape
  catchall?: z.ZodType
  in: z.ZodType
  out: z.ZodType
  entries: Record<string, unknown>
  values: readonly unknown[]
  fn: (value: unknown) => unknown
  transform: (value: unknown, payload: Payload) => unknown
}

interface CheckDef {
  check?: string
  format?: string
  value: number
  inclusive?: boolean
  minimum: number
  maximum: number
}

interface Payload {
  value: unknown
  issues: unknown[]
}

type Test = (value: unknown) => boolean

type Shape = Record<string, z.ZodType>

const defOf = (schema: z.ZodType): Def => schema.def as unknown as Def

const made = new WeakMap<z.ZodType, QuickCheck>()

export function quickCheck(schema: z.ZodType): QuickCheck {
  const known = made.get(schema)
  if (known !== undefined) return known
  const def = defOf(schema)
  const check = kinds[def.type]?.(def) ?? zods(schema)
  made.set(schema, check)
  return check
}

/** By the type of a definition; undefined: it asks for something that is not known here. */
const kinds: Record<string, (def: Def) => QuickCheck | undefined> = {
  number: (def) => tested((value) => typeof value === 'number' && Number.isFinite(value), def),
  string: (def) => tested((value) => typeof value === 'string', def),
  boolean: (def) => tested((value) => typeof value === 'boolean', def),
  unknown: (def) => tested(() => true, def),
  enum: (def) => {
    const values = Object.values(def.entries)
    // Enums of numbers have their names as values, too.
    return values.every((value) => typeof value === 'string') ? tested(oneOf(values), def) : undefined
  },
  literal: (def) => tested(oneOf(def.values), def),
  custom: (def) => tested((value) => def.fn(value) === true, def),
  array: arrayOf,
  union: firstOf,
  pipe: transformed,
  object: objectOf,
  optional: ({ innerType }) => {
    if (hasDefault(innerType)) return undefined
    const inner = quickCheck(innerType)
    return (value) => (value === undefined ? undefined : inner(value))
  },
  default: withDefault,
  prefault: withDefault,
}

function zods(schema: z.ZodType): QuickCheck {
  return (value) => {
    const { success, data } = schema.safeParse(value)
    return success ? data : unsure
  }
}

/** By the name of a check. Lengths of texts are counted in characters, which have one or two units. */
const tests: Record<string, (def: CheckDef) => Test | undefined> = {
  greater_than: ({ value: bound, inclusive }) =>
    inclusive ? (value) => (value as number) >= bound : (value) => (value as number) > bound,
  less_than: ({ value: bound, inclusive }) =>
    inclusive ? (value) => (value as number) <= bound : (value) => (value as number) < bound,
  number_format: ({ format }) => (format === 'safeint' ? Number.isSafeInteger : undefined),
  min_length:
    ({ minimum }) =>
    (value) =>
      Math.ceil((value as { length: number }).length / 2) >= minimum,
  max_length:
    ({ maximum }) =>
    (value) =>
      (value as { length: number }).length <= maximum,
}

/** Undefined: one of them is not known. */
function testsOf({ check, checks = [], ...own }: Def): Test[] | undefined {
  const all = checks.map(({ _zod: { def } }) => def)
  // Where a schema is a check itself; one of the caller's own is its kind.
  if (check !== undefined && check !== 'custom') all.push({ check, ...own } as unknown as CheckDef)
  const found = all.map((def) => tests[def.check ?? '']?.(def))
  return found.includes(undefined) ? undefined : (found as Test[])
}

function tested(isOfKind: Test, def: Def): QuickCheck | undefined {
  const all = testsOf(def)
  if (all === undefined) return undefined
  if (all.length === 0) return (value) => (isOfKind(value) ? value : unsure)
  return (value) => (isOfKind(value) && all.every((test) => test(value)) ? value : unsure)
}

function oneOf(values: readonly unknown[]): Test {
  const all = new Set(values)
  return (value) => all.has(value)
}

function arrayOf(def: Def): QuickCheck | undefined {
  const own = tested(Array.isArray, def)
  if (own === undefined) return undefined
  const element = quickCheck(def.element)
  return (value) => {
    if (own(value) === unsure) return unsure
    const given = value as unknown[]
    const items: unknown[] = []
    for (let i = 0; i < given.length; i++) {
      const item = element(given[i])
      if (item === unsure) return unsure
      items.push(item)
    }
    return items
  }
}

/** Of a later option it is known that it is the one only where none before it gives something else than it was given. */
function firstOf({ options, inclusive = true, checks = [] }: Def): QuickCheck | undefined {
  if (checks.length > 0 || !inclusive) return undefined
  const all = (options.every(givesTheSame) ? options : options.slice(0, 1)).map(quickCheck)
  return (value) => {
    for (const option of all) {
      const found = option(value)
      if (found !== unsure) return found
    }
    return unsure
  }
}

function givesTheSame(schema: z.ZodType): boolean {
  const { type, element } = defOf(schema)
  if (type === 'array') return givesTheSame(element)
  return ['number', 'string', 'boolean', 'enum', 'literal', 'custom'].includes(type)
}

function transformed({ in: before, out, checks = [] }: Def): QuickCheck | undefined {
  const { type, transform, checks: after = [] } = defOf(out)
  if (type !== 'transform' || checks.length > 0 || after.length > 0) return undefined
  const first = quickCheck(before)
  return (value) => {
    const read = first(value)
    if (read === unsure) return unsure
    const payload = { value: read, issues: [] }
    const found = transform(read, payload)
    return payload.issues.length > 0 ? unsure : found
  }
}

const hasDefault = (schema: z.ZodType) => ['default', 'prefault'].includes(defOf(schema).type)

function withDefault(def: Def): QuickCheck {
  const { type, innerType } = def
  const inner = quickCheck(innerType)
  return (value) => {
    // Where it is an object, it is a new one each time that it is read.
    if (value === undefined) return type === 'default' ? def.defaultValue : inner(def.defaultValue)
    const found = inner(value)
    return found === undefined ? unsure : found
  }
}

/** Of a strict object: others let in what is not looked at here. */
function objectOf({ shape, catchall, checks = [] }: Def): QuickCheck | undefined {
  if (catchall === undefined || defOf(catchall).type !== 'never') return undefined
  const { checks: byKey, constants, asked } = keysOf(shape)
  return (value) => {
    if (!isPlainObject(value)) return unsure
    const object: Record<string, unknown> = { ...constants }
    for (const key of Object.getOwnPropertyNames(value)) {
      const check = byKey.get(key)
      const found = check === undefined ? unsure : check(value[key])
      if (found === unsure) return unsure
      object[key] = found
    }
    for (const key of asked) {
      if (Object.hasOwn(object, key)) continue
      const found = byKey.get(key)!(undefined) ?? unsure
      if (found === unsure) return unsure
      object[key] = found
    }
    const payload: Payload = { value: object, issues: [] }
    for (const { _zod } of checks) _zod.check(payload)
    return payload.issues.length > 0 ? unsure : payload.value
  }
}

/** The keys of a shape: how they are checked, and what becomes of those that are not given. */
export interface Keys {
  checks: Map<string, QuickCheck>
  /** What they are then, if it is the same each time. */
  constants: Record<string, unknown>
  /** Whose check, or zod, has to say: they are new objects, or are required. */
  asked: string[]
}

const keysMade = new WeakMap<Shape, Keys>()

export function keysOf(shape: Shape): Keys {
  const known = keysMade.get(shape)
  if (known !== undefined) return known
  const keys: Keys = { checks: new Map(), constants: {}, asked: [] }
  for (const [key, schema] of Object.entries(shape)) {
    const check = quickCheck(schema)
    keys.checks.set(key, check)
    const unsaid = check(undefined)
    if (unsaid === unsure || typeof unsaid === 'object') keys.asked.push(key)
    else if (unsaid !== undefined) keys.constants[key] = unsaid
    else if (defOf(schema).type !== 'optional') keys.asked.push(key)
  }
  keysMade.set(shape, keys)
  return keys
}

/** No getters of a class, which are seen by their names alone. */
function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}
