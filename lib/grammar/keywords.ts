/**
 * What each keyword of JSON Schema (2020-12, and what older drafts called otherwise) says, and what its opposite says, as formulas.
 * A keyword that is not in the tables is an annotation; one whose opposite is asked for and cannot be said is refused.
 */
import { endless } from './automata/automaton.ts'
import { unsupported } from './automata/refusal.ts'
import {
  allTypes,
  always,
  and,
  atom,
  type Branch,
  type Formula,
  holds,
  type Listed,
  never,
  numberTypes,
  ofTypes,
  or,
  type PropertiesSpec,
  type Scalar,
  types,
} from './branches.ts'
import { evaluated } from './evaluated.ts'
import { formatPattern } from './formats.ts'
import { escapePointer, type Json, not, type SchemaObject, type Schemas, type Term } from './schemas.ts'

/** What keywords need to know. */
export interface Context {
  schemas: Schemas
  /** Whether no value (of some types) meets all terms, as far as is seen without looking deep. */
  disjoint(terms: Term[], mask?: number): boolean
}

interface Place {
  schema: SchemaObject
  /** Of the keyword. */
  path: string
  context: Context
}

/** A keyword's formula and its opposite, each made when it is asked for. */
interface Says {
  yes: () => Formula
  no: () => Formula
}

type Keyword = (value: Json, place: Place) => Says

const typeMasks: Record<string, number> = {
  ...{ null: types.null, boolean: types.false | types.true, integer: types.integer, number: numberTypes },
  ...{ string: types.string, array: types.array, object: types.object },
}

function count(value: Json, keyword: string, path: string): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= 0) return Math.min(value, endless)
  throw unsupported(keyword, path, 'it is no non-negative integer')
}
function list(value: Json, keyword: string, path: string): Json[] {
  if (Array.isArray(value)) return value
  throw unsupported(keyword, path, 'it is no array')
}
function object(value: Json, keyword: string, path: string): SchemaObject {
  if (value !== null && typeof value === 'object' && !Array.isArray(value)) return value
  throw unsupported(keyword, path, 'it is no object')
}
function texts(value: Json, keyword: string, path: string): string[] {
  const all = list(value, keyword, path)
  if (all.every((text) => typeof text === 'string')) return [...new Set(all)]
  throw unsupported(keyword, path, 'it is no array of strings')
}
function number(value: Json, keyword: string, path: string): number {
  if (typeof value === 'number' && Number.isFinite(value)) return value
  throw unsupported(keyword, path, 'it is no number')
}

const schemaList = (value: Json, keyword: string, { path, context }: Place): Term[] =>
  list(value, keyword, path).map((schema, i) => context.schemas.term(schema, `${path}/${i}`))

/** Why a keyword is refused of which only the opposite is wanted. */
const opposite = "its opposite ('not', 'oneOf', 'if')"

// ---- atoms ----------------------------------------------------------------------------------------------------------

const atLeast = (value: number, excluded: boolean, path: string): Formula =>
  atom(({ number }) => {
    if (value < number.min || (value === number.min && !excluded)) return
    Object.assign(number, { min: value, minExcluded: excluded, path })
  })
const atMost = (value: number, excluded: boolean, path: string): Formula =>
  atom(({ number }) => {
    if (value > number.max || (value === number.max && !excluded)) return
    Object.assign(number, { max: value, maxExcluded: excluded, path })
  })
type Counted = 'string' | 'array' | 'object'
const least = (part: Counted, value: number, path: string): Formula =>
  atom((branch) => {
    branch[part].min = Math.max(branch[part].min, value)
    branch[part].path = path
    if (part === 'object') branch.object.minPath = path
  })
const most = (part: Counted, value: number, path: string): Formula =>
  value < 0
    ? atom((branch) => {
        branch.types &= ~types[part]
      })
    : atom((branch) => {
        branch[part].max = Math.min(branch[part].max, value)
        branch[part].path = path
      })
const required = (names: readonly string[], path: string): Formula =>
  atom(
    ({ object }) => {
      object.required = [...new Set([...object.required, ...names])]
      object.path = path
    },
    ({ types: mask, object }) => {
      if ((mask & types.object) === 0 || names.every((name) => object.required.includes(name))) return true
      return mask === types.object && names.some((name) => object.absent.includes(name)) ? false : undefined
    },
  )
/** What is seen at once of properties that are one of a few scalars: those of which no value is left cannot be there. */
const properties = (
  spec: Partial<PropertiesSpec>,
  path: string,
  listed: readonly (readonly [string, Listed])[] = [],
): Formula =>
  atom(
    ({ object }) => {
      object.specs = [...object.specs, { properties: new Map(), patterns: [], others: 0, ...spec }]
      object.path = path
      if (listed.length === 0) return
      const both = listed.map(([name, one]) => [name, together(object.listed.get(name), one)] as const)
      object.listed = new Map([...object.listed, ...both])
      object.absent = [...object.absent, ...both.filter(([, { in: left }]) => left?.length === 0).map(([name]) => name)]
    },
    listed.length === 0
      ? undefined
      : ({ types: mask, object }) => {
          if ((mask & types.object) === 0) return true
          const gone = ([name, one]: readonly [string, Listed]) =>
            object.required.includes(name) && together(object.listed.get(name), one).in?.length === 0
          return mask === types.object && listed.some(gone) ? false : undefined
        },
  )
const together = (a: Listed | undefined, b: Listed): Listed => {
  const out = a === undefined ? b.out : [...a.out, ...b.out]
  const left = a?.in === undefined ? b.in : b.in === undefined ? a.in : a.in.filter((value) => b.in!.includes(value))
  return { in: left?.filter((value) => !out.includes(value)), out }
}
const property = (name: string, term: Term, schemas: Schemas, path: string) => {
  const listed = listedValues(term, schemas)
  return properties({ properties: new Map([[name, term]]) }, path, listed === undefined ? [] : [[name, listed]])
}
/** Of const and enum. */
function listedValues(term: Term, schemas: Schemas): Listed | undefined {
  const schema = schemas.schema(term)
  if (typeof schema !== 'object') return undefined
  const { const: one, enum: several } = schema as SchemaObject
  const values = one !== undefined ? [one] : Array.isArray(several) ? several : undefined
  if (values === undefined || values.length > 64 || values.some((value) => value !== null && typeof value === 'object'))
    return undefined
  if ((term & 1) === 0) return { in: values as Scalar[], out: [] }
  // The opposite leaves them out where nothing else is said.
  const alone = Object.keys(schema as SchemaObject).every(
    (name) => name === 'const' || name === 'enum' || name === 'title' || name === 'description',
  )
  return alone && (one === undefined || several === undefined) ? { in: undefined, out: values as Scalar[] } : undefined
}
const absent = (name: string, { none }: Schemas, path: string): Formula =>
  atom(
    ({ object }) => {
      object.specs = [...object.specs, { properties: new Map([[name, none]]), patterns: [], others: 0 }]
      object.absent = [...object.absent, name]
      object.path = path
    },
    ({ types: mask, object }) => {
      if ((mask & types.object) === 0 || object.absent.includes(name)) return true
      return mask === types.object && object.required.includes(name) ? false : undefined
    },
  )
const elements = (prefix: Term[], rest: Term, path: string): Formula =>
  atom(({ array }) => {
    array.items = [...array.items, { prefix, rest }]
    array.path = path
  })
const only = (mask: number, ...parts: Formula[]): Formula => and(ofTypes(mask), ...parts)
const intersect = <T>(old: T[] | undefined, list: readonly T[]) =>
  old === undefined ? [...list] : old.filter((v) => list.includes(v))

// ---- one keyword each -----------------------------------------------------------------------------------------------

function counted(part: Counted, which: 'min' | 'max', keyword: string): Keyword {
  return (value, { path }) => {
    const n = count(value, keyword, path)
    return which === 'min'
      ? { yes: () => least(part, n, path), no: () => only(types[part], most(part, n - 1, path)) }
      : { yes: () => most(part, n, path), no: () => only(types[part], least(part, n + 1, path)) }
  }
}

function bound(which: 'min' | 'max', excluded: boolean, keyword: string): Keyword {
  return (value, { path, schema }) => {
    // Draft 4: a boolean beside minimum or maximum.
    if (typeof value === 'boolean' && excluded) return { yes: () => always, no: () => never }
    const n = number(value, keyword, path)
    const strict = excluded || schema[which === 'min' ? 'exclusiveMinimum' : 'exclusiveMaximum'] === true
    const [same, opposite] = which === 'min' ? [atLeast, atMost] : [atMost, atLeast]
    return { yes: () => same(n, strict, path), no: () => only(numberTypes, opposite(n, !strict, path)) }
  }
}

const multipleOf: Keyword = (value, { path }) => {
  const n = number(value, 'multipleOf', path)
  if (n <= 0) throw unsupported('multipleOf', path, 'it is not above 0')
  return {
    yes: () =>
      atom(({ number }) => {
        number.multiples = [...number.multiples, n]
        number.path = path
      }),
    no: () =>
      only(
        numberTypes,
        atom(({ number }) => {
          number.notMultiples = [...number.notMultiples, n]
          number.path = path
        }),
      ),
  }
}

function matches(source: string, path: string): Says {
  const add = (key: 'patterns' | 'notPatterns') =>
    atom(({ string }) => {
      string[key] = [...string[key], { source, path }]
    })
  return { yes: () => add('patterns'), no: () => only(types.string, add('notPatterns')) }
}

const pattern: Keyword = (value, { path }) => {
  if (typeof value !== 'string') throw unsupported('pattern', path, 'it is no string')
  return matches(value, path)
}

const format: Keyword = (value, { path }) => {
  const source = typeof value === 'string' ? formatPattern(value) : undefined
  return source === undefined ? { yes: () => always, no: () => never } : matches(source, path)
}

const type: Keyword = (value, { path }) => {
  let mask = 0
  for (const name of Array.isArray(value) ? value : [value]) {
    if (typeof name !== 'string' || typeMasks[name] === undefined)
      throw unsupported('type', path, `${JSON.stringify(name)} is no type`)
    mask |= typeMasks[name]
  }
  return { yes: () => ofTypes(mask), no: () => ofTypes(allTypes & ~mask) }
}

const mostValues = 20_000

function oneOfValues(values: readonly Json[], path: string, { schemas }: Context): Says {
  const scalar = (type: string) => values.filter((value) => typeof value === type)
  const numbers = [...new Set(scalar('number') as number[])].map((n) => n + 0)
  const strings = [...new Set(scalar('string') as string[])]
  const parts = values.filter((value) => value !== null && typeof value === 'object')
  const literals = parts.map((value, i) => schemas.literal(value, `${path}/${i}`))
  let mask = 0
  for (const value of values) if (value === null || typeof value === 'boolean') mask |= types[`${value}`]
  return {
    yes: () =>
      or(
        ...(mask === 0 ? [] : [ofTypes(mask)]),
        ...(numbers.length === 0
          ? []
          : [
              only(
                numberTypes,
                atom(({ number }) => {
                  number.in = intersect(number.in, numbers)
                }),
              ),
            ]),
        ...(strings.length === 0
          ? []
          : [
              only(
                types.string,
                atom(({ string }) => {
                  string.in = intersect(string.in, strings)
                }),
              ),
            ]),
        ...literals.map(holds),
      ),
    no: () =>
      and(
        ofTypes(allTypes & ~mask),
        atom(({ number, string }) => {
          number.not = [...number.not, ...numbers]
          string.not = [...string.not, ...strings]
        }),
        ...literals.map((term) => holds(not(term))),
      ),
  }
}

const enumeration: Keyword = (value, { path, context }) => {
  const values = list(value, 'enum', path)
  if (values.length > mostValues) throw unsupported('enum', path, `it has more than ${mostValues} values`)
  return oneOfValues(values, path, context)
}

// ---- combinations ---------------------------------------------------------------------------------------------------

const allOf: Keyword = (value, place) => {
  const terms = schemaList(value, 'allOf', place)
  return { yes: () => and(...terms.map(holds)), no: () => or(...terms.map((term) => holds(not(term)))) }
}
const anyOf: Keyword = (value, place) => {
  const terms = schemaList(value, 'anyOf', place)
  return { yes: () => or(...terms.map(holds)), no: () => and(...terms.map((term) => holds(not(term)))) }
}
const negation: Keyword = (value, { path, context }) => {
  const term = context.schemas.term(value, path)
  return { yes: () => holds(not(term)), no: () => holds(term) }
}

/** Exactly one: of alternatives that may both hold, the other must not. */
const oneOf: Keyword = (value, place) => {
  const terms = schemaList(value, 'oneOf', place)
  const { context } = place
  /** What of the other is left to say beside one: often nothing of objects, which a property tells apart. */
  const butNot = (i: number, j: number): Formula[] => {
    const pair = [terms[i]!, terms[j]!]
    if (i === j || context.disjoint(pair)) return []
    const other = holds(not(terms[j]!))
    return [context.disjoint(pair, types.object) ? or(ofTypes(types.object), other) : other]
  }
  return {
    yes: () => or(...terms.map((term, i) => and(holds(term), ...terms.flatMap((_, j) => butNot(i, j))))),
    no: () =>
      or(
        and(...terms.map((term) => holds(not(term)))),
        ...terms.flatMap((a, i) => terms.slice(i + 1).map((b) => and(holds(a), holds(b)))),
      ),
  }
}

const conditional: Keyword = (value, { schema, path, context }) => {
  const { schemas } = context
  const base = path.slice(0, path.lastIndexOf('/'))
  const condition = schemas.term(value, path)
  const part = (name: 'then' | 'else') =>
    schema[name] === undefined ? schemas.all : schemas.term(schema[name], `${base}/${name}`)
  const [then, otherwise] = [part('then'), part('else')]
  return {
    yes: () => or(and(holds(condition), holds(then)), and(holds(not(condition)), holds(otherwise))),
    no: () => or(and(holds(condition), holds(not(then))), and(holds(not(condition)), holds(not(otherwise)))),
  }
}

const reference =
  (keyword: '$ref' | '$dynamicRef'): Keyword =>
  (_, { schema, path, context }) => {
    const term = context.schemas.resolve(schema, keyword, path)
    return { yes: () => holds(term), no: () => holds(not(term)) }
  }

// ---- objects --------------------------------------------------------------------------------------------------------

const has = (name: string, path: string): Formula => only(types.object, required([name], path))

const requires: Keyword = (value, { path, context }) => {
  const names = texts(value, 'required', path)
  return {
    yes: () => required(names, path),
    no: () => or(...names.map((name) => only(types.object, absent(name, context.schemas, path)))),
  }
}

/** properties, patternProperties and additionalProperties are one statement. */
const propertyGroup: Keyword = (_, { schema, path, context }) => {
  const { schemas } = context
  const base = path.slice(0, path.lastIndexOf('/'))
  const entries = (keyword: string) =>
    Object.entries(schema[keyword] === undefined ? {} : object(schema[keyword], keyword, `${base}/${keyword}`)).map(
      ([name, value]) => ({ name, term: schemas.term(value, `${base}/${keyword}/${escapePointer(name)}`) }),
    )
  const listed = entries('properties')
  const patterns = entries('patternProperties').map(({ name, term }) => ({
    pattern: { source: name, path: `${base}/patternProperties` },
    term,
  }))
  const closing = `${base}/additionalProperties`
  const others =
    schema.additionalProperties === undefined ? schemas.all : schemas.term(schema.additionalProperties, closing)
  return {
    yes: () =>
      properties(
        { properties: new Map(listed.map(({ name, term }) => [name, term])), patterns, others },
        path,
        listed.flatMap(({ name, term }) => {
          const values = listedValues(term, schemas)
          return values === undefined ? [] : [[name, values] as const]
        }),
      ),
    no: () => {
      if (patterns.length > 0) throw unsupported('patternProperties', `${base}/patternProperties`, opposite)
      const extra = atom(({ object }) => {
        const names = new Set(listed.map(({ name }) => name))
        object.extras = [...object.extras, { names, term: not(others), path: closing }]
      })
      const violated = listed.map(({ name, term }) => and(has(name, path), property(name, not(term), schemas, path)))
      return or(...violated, ...(others === schemas.all ? [] : [only(types.object, extra)]))
    },
  }
}

/** Properties that nothing which holds here in any case speaks of. */
const unevaluatedProperties: Keyword = (value, { schema, path, context }) => {
  const { schemas } = context
  const term = schemas.term(value, path)
  if (term === schemas.all) return { yes: () => always, no: () => never }
  return {
    yes: () => {
      const known = evaluated(schema, schemas, 'unevaluatedProperties', path)
      if (known.properties) return always
      const patterns = [...known.patterns].map((source) => ({ pattern: { source, path }, term: schemas.all }))
      return properties(
        { properties: new Map([...known.names].map((name) => [name, schemas.all])), patterns, others: term },
        path,
      )
    },
    no: () => {
      throw unsupported('unevaluatedProperties', path, opposite)
    },
  }
}

const propertyNames: Keyword = (value, { path, context }) => {
  const term = context.schemas.term(value, path)
  return {
    yes: () =>
      term === context.schemas.all
        ? always
        : atom(({ object }) => {
            object.names = [...object.names, term]
            object.path = path
          }),
    no: () => {
      throw unsupported('propertyNames', path, opposite)
    },
  }
}

/** Where a property is there, others must be too, or a schema must hold. */
const dependencies =
  (keyword: string): Keyword =>
  (value, { path, context }) => {
    const { schemas } = context
    const entries = Object.entries(object(value, keyword, path)).map(([name, needs]) => {
      const at = `${path}/${escapePointer(name)}`
      const names = Array.isArray(needs) ? texts(needs, keyword, at) : undefined
      const term = names === undefined ? schemas.term(needs, at) : undefined
      return { name, at, names: names ?? [], term }
    })
    return {
      yes: () =>
        and(
          ...entries.map(({ name, at, names, term }) =>
            or(
              absent(name, schemas, at),
              and(has(name, at), ...(term === undefined ? [required(names, at)] : [holds(term)])),
            ),
          ),
        ),
      no: () =>
        or(
          ...entries.map(({ name, at, names, term }) =>
            and(
              has(name, at),
              term === undefined ? or(...names.map((other) => absent(other, schemas, at))) : holds(not(term)),
            ),
          ),
        ),
    }
  }

// ---- arrays ---------------------------------------------------------------------------------------------------------

/** prefixItems and items (before 2020: items as an array, and additionalItems) are one statement. */
const itemGroup: Keyword = (_, { schema, path, context }) => {
  const { schemas } = context
  const base = path.slice(0, path.lastIndexOf('/'))
  const old = Array.isArray(schema.items)
  const first = old ? 'items' : 'prefixItems'
  const prefix =
    schema[first] === undefined ? [] : schemaList(schema[first]!, first, { schema, path: `${base}/${first}`, context })
  const closing = old ? 'additionalItems' : 'items'
  const rest = schema[closing] === undefined ? schemas.all : schemas.term(schema[closing], `${base}/${closing}`)
  return {
    yes: () => elements(prefix, rest, path),
    no: () =>
      only(
        types.array,
        or(
          ...prefix.map((term, i) =>
            and(
              least('array', i + 1, path),
              elements([...prefix.slice(0, i).map(() => schemas.all), not(term)], schemas.all, path),
            ),
          ),
          containing(not(rest), 1, endless, prefix.length, path),
        ),
      ),
  }
}

/** Elements that nothing which holds here in any case speaks of. */
const unevaluatedItems: Keyword = (value, { schema, path, context }) => {
  const { schemas } = context
  const term = schemas.term(value, path)
  if (term === schemas.all) return { yes: () => always, no: () => never }
  return {
    yes: () => {
      const { elements: known } = evaluated(schema, schemas, 'unevaluatedItems', path)
      return known === Number.POSITIVE_INFINITY
        ? always
        : elements(new Array<Term>(known).fill(schemas.all), term, path)
    },
    no: () => {
      throw unsupported('unevaluatedItems', path, opposite)
    },
  }
}

const containing = (term: Term, min: number, max: number, from: number, path: string): Formula =>
  atom(({ array }) => {
    array.contains = [...array.contains, { term, min, max, from, path }]
    array.min = Math.max(array.min, min)
  })

const contains: Keyword = (value, { schema, path, context }) => {
  const base = path.slice(0, path.lastIndexOf('/'))
  const term = context.schemas.term(value, path)
  const min = schema.minContains === undefined ? 1 : count(schema.minContains, 'minContains', `${base}/minContains`)
  const max =
    schema.maxContains === undefined ? endless : count(schema.maxContains, 'maxContains', `${base}/maxContains`)
  return {
    yes: () => (min === 0 && max === endless ? always : containing(term, min, max, 0, path)),
    no: () =>
      only(
        types.array,
        or(
          ...(min === 0 ? [] : [containing(term, 0, min - 1, 0, path)]),
          ...(max === endless ? [] : [containing(term, max + 1, endless, 0, path)]),
        ),
      ),
  }
}

const uniqueItems: Keyword = (value, { path }) => ({
  yes: () =>
    value !== true
      ? always
      : atom(({ array }) => {
          array.unique = path
        }),
  no: () => {
    if (value === true) throw unsupported('uniqueItems', path, opposite)
    return never
  },
})

// ---- all of them ----------------------------------------------------------------------------------------------------

const keywords: Record<string, Keyword> = {
  type,
  enum: enumeration,
  const: (value, { path, context }) => oneOfValues([value], path, context),
  allOf,
  anyOf,
  oneOf,
  not: negation,
  if: conditional,
  $ref: reference('$ref'),
  $dynamicRef: reference('$dynamicRef'),
  minimum: bound('min', false, 'minimum'),
  exclusiveMinimum: bound('min', true, 'exclusiveMinimum'),
  maximum: bound('max', false, 'maximum'),
  exclusiveMaximum: bound('max', true, 'exclusiveMaximum'),
  multipleOf,
  minLength: counted('string', 'min', 'minLength'),
  maxLength: counted('string', 'max', 'maxLength'),
  pattern,
  format,
  minItems: counted('array', 'min', 'minItems'),
  maxItems: counted('array', 'max', 'maxItems'),
  contains,
  uniqueItems,
  unevaluatedItems,
  unevaluatedProperties,
  minProperties: counted('object', 'min', 'minProperties'),
  maxProperties: counted('object', 'max', 'maxProperties'),
  required: requires,
  propertyNames,
  dependentRequired: dependencies('dependentRequired'),
  dependentSchemas: dependencies('dependentSchemas'),
  dependencies: dependencies('dependencies'),
}
/** Keywords that say one thing together: the first of them that is there speaks for all. */
const groups: { names: string[]; says: Keyword }[] = [
  { names: ['properties', 'patternProperties', 'additionalProperties'], says: propertyGroup },
  { names: ['prefixItems', 'items', 'additionalItems'], says: itemGroup },
]
const refused = new Set(['$recursiveRef'])

/** The formula of a term. */
export function formulaOf(term: Term, context: Context): Formula {
  const { schemas } = context
  const schema = schemas.schema(term)
  const negative = (term & 1) === 1
  if (typeof schema === 'boolean') return schema === negative ? never : always
  const path = schemas.path(term)
  const says: Says[] = []
  const seen = new Set<Keyword>()
  for (const [name, value] of Object.entries(schema as SchemaObject)) {
    if (refused.has(name)) throw unsupported(name, `${path}/${name}`, 'it is not supported')
    const keyword = Object.hasOwn(keywords, name)
      ? keywords[name]
      : groups.find(({ names }) => names.includes(name))?.says
    if (keyword === undefined || seen.has(keyword)) continue
    seen.add(keyword)
    says.push(keyword(value, { schema: schema as SchemaObject, path: `${path}/${name}`, context }))
  }
  return negative ? or(...says.map(({ no }) => no())) : and(...says.map(({ yes }) => yes()))
}

export type { Branch }
