/**
 * What each keyword of JSON Schema (2020-12, and what older drafts called otherwise) says, and what its opposite says, as formulas.
 * A keyword that is not in the tables is an annotation; one whose opposite is asked for and cannot be said is refused. Here are those that
 * combine schemas, and the tables; those of values, objects and arrays have a file each.
 */
import { contains, itemGroup, unevaluatedItems, uniqueItems } from './array-keywords.ts'
import { unsupported } from './automata/refusal.ts'
import { always, and, type Formula, holds, never, ofTypes, or, types } from './branches.ts'
import { type Context, counted, type Keyword, type Says, schemaList } from './keyword.ts'
import { dependencies, propertyGroup, propertyNames, requires, unevaluatedProperties } from './object-keywords.ts'
import { not, type SchemaObject, type Term } from './schemas.ts'
import { bound, enumeration, format, multipleOf, oneOfValues, pattern, type } from './value-keywords.ts'

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
