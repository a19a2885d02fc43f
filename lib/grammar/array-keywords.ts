/** Keywords that speak of the elements of an array. */
import { endless } from './automata/automaton.ts'
import { unsupported } from './automata/refusal.ts'
import { always, and, atom, type Formula, never, or, types } from './branches.ts'
import { evaluated } from './evaluated.ts'
import { count, type Keyword, least, only, opposite, schemaList } from './keyword.ts'
import { not, type Term } from './schemas.ts'

const elements = (prefix: Term[], rest: Term, path: string): Formula =>
  atom(({ array }) => {
    array.items = [...array.items, { prefix, rest }]
    array.path = path
  })

/** prefixItems and items (before 2020: items as an array, and additionalItems) are one statement. */
export const itemGroup: Keyword = (_, { schema, path, context }) => {
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
export const unevaluatedItems: Keyword = (value, { schema, path, context }) => {
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

export const contains: Keyword = (value, { schema, path, context }) => {
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

export const uniqueItems: Keyword = (value, { path }) => ({
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
