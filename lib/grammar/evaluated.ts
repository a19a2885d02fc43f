/**
 * What unevaluatedProperties and unevaluatedItems leave alone: what a schema, and those that hold at the same place with it, speak of.
 * That is known beforehand where they hold in any case (allOf, $ref). Of those that may or may not hold it is only known that they
 * speak of nothing.
 */
import { unsupported } from './automata/refusal.ts'
import type { SchemaObject, Schemas, Term } from './schemas.ts'

export interface Evaluated {
  names: Set<string>
  /** Patterns of names. */
  patterns: Set<string>
  /** All properties, or all elements, or so many of them. */
  properties: boolean
  elements: number
}

/** Schemas that need not hold. */
const uncertain = ['anyOf', 'oneOf', 'if', 'then', 'else', 'dependentSchemas', 'contains', '$dynamicRef'] as const

/** `keyword` and `path` are for the refusal. */
export function evaluated(schema: SchemaObject, schemas: Schemas, keyword: string, path: string): Evaluated {
  const found: Evaluated = { names: new Set(), patterns: new Set(), properties: false, elements: 0 }
  const seen = new Set<Term>()
  const speaks = (schema: unknown): boolean => {
    if (schema === null || typeof schema !== 'object') return false
    const of = keyword === 'unevaluatedItems' ? /items$|^contains$/i : /properties$/i
    const own = Object.entries(schema as SchemaObject)
    // Whatever it holds, wherever: rather too much than too little.
    return own.some(([name, value]) => (of.test(name) && !/^m(in|ax)/.test(name)) || name === '$ref' || speaks(value))
  }
  const collect = (schema: SchemaObject, at: string) => {
    for (const name of Object.keys((schema.properties ?? {}) as SchemaObject)) found.names.add(name)
    for (const name of Object.keys((schema.patternProperties ?? {}) as SchemaObject)) found.patterns.add(name)
    if (schema.additionalProperties !== undefined) found.properties = true
    const prefix = Array.isArray(schema.items) ? schema.items : schema.prefixItems
    const rest = Array.isArray(schema.items) ? schema.additionalItems : schema.items
    if (Array.isArray(prefix)) found.elements = Math.max(found.elements, prefix.length)
    if (rest !== undefined) found.elements = Number.POSITIVE_INFINITY
    for (const name of uncertain) {
      const spoken =
        name === 'contains' ? keyword === 'unevaluatedItems' && schema.contains !== undefined : speaks(schema[name])
      if (spoken) throw unsupported(keyword, path, `beside '${name}'`)
    }
    if (Array.isArray(schema.allOf))
      for (const [i, one] of schema.allOf.entries()) reach(schemas.term(one, `${at}/allOf/${i}`))
    if (schema.$ref !== undefined) reach(schemas.resolve(schema, '$ref', `${at}/$ref`))
  }
  const reach = (term: Term) => {
    if (seen.has(term)) return
    seen.add(term)
    const schema = schemas.schema(term)
    if (typeof schema !== 'object') return
    const inner = schema as SchemaObject
    // Another one has seen to all that this one leaves.
    if (inner.unevaluatedProperties !== undefined) found.properties = true
    if (inner.unevaluatedItems !== undefined) found.elements = Number.POSITIVE_INFINITY
    collect(inner, schemas.path(term))
  }
  collect(schema, path.slice(0, path.lastIndexOf('/')))
  return found
}
