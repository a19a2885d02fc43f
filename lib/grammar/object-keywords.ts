/** Keywords that speak of the properties of an object. */
import { unsupported } from './automata/refusal.ts'
import {
  always,
  and,
  atom,
  type Formula,
  holds,
  type Listed,
  never,
  or,
  type PropertiesSpec,
  type Scalar,
  types,
} from './branches.ts'
import { evaluated } from './evaluated.ts'
import { type Keyword, object, only, opposite, texts } from './keyword.ts'
import { escapePointer, not, type SchemaObject, type Schemas, type Term } from './schemas.ts'

// ---- atoms ----------------------------------------------------------------------------------------------------------

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

// ---- one keyword each -----------------------------------------------------------------------------------------------

const has = (name: string, path: string): Formula => only(types.object, required([name], path))

export const requires: Keyword = (value, { path, context }) => {
  const names = texts(value, 'required', path)
  return {
    yes: () => required(names, path),
    no: () => or(...names.map((name) => only(types.object, absent(name, context.schemas, path)))),
  }
}

/** properties, patternProperties and additionalProperties are one statement. */
export const propertyGroup: Keyword = (_, { schema, path, context }) => {
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
export const unevaluatedProperties: Keyword = (value, { schema, path, context }) => {
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

export const propertyNames: Keyword = (value, { path, context }) => {
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
export const dependencies =
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
