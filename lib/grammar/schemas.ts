/**
 * The schemas within a document: each has a number and a path, references are resolved within the document. A term is a schema that
 * must hold (2 * number) or must not (2 * number + 1).
 */
import { type Budget, unsupported } from './automata/refusal.ts'

export type Term = number
/** What always holds, and what never does. */
const [all, none] = [0, 2]
export const not = (term: Term): Term => (term === all ? none : term === none ? all : term ^ 1)

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json }
export type SchemaObject = { [key: string]: Json }

const deepest = 256
/** Where documents without an $id are. */
const home = 'octavo:/schema'
/** Keywords whose values are data. */
const data = new Set(['enum', 'const', 'default', 'examples'])

export class Schemas {
  readonly #budget: Budget
  readonly #list: { schema: Json; path: string }[] = []
  readonly #numbers = new Map<object, number>()
  readonly #literals = new Map<string, Term>()
  /** Bases of objects that change it, roots of resources, anchors: by address. */
  readonly #bases = new Map<object, string>()
  readonly #roots = new Map<string, { schema: Json; path: string }>()
  readonly #anchors = new Map<string, { schema: Json; path: string }>()
  readonly #dynamic = new Map<string, number>()
  readonly root: Term

  constructor(document: Json, budget: Budget) {
    this.#budget = budget
    this.term(true, '')
    this.term(false, '')
    this.#roots.set(home, { schema: document, path: '' })
    this.#scan(document, '', home, 0)
    this.root = this.term(document, '')
  }

  get all(): Term {
    return all
  }

  get none(): Term {
    return none
  }

  schema(term: Term): Json {
    return this.#list[term >> 1]!.schema
  }

  path(term: Term): string {
    return this.#list[term >> 1]!.path
  }

  /** The term that says: this schema holds. */
  term(schema: Json, path: string): Term {
    if (schema === true && this.#list.length > 1) return this.all
    if (schema === false && this.#list.length > 1) return this.none
    if (typeof schema !== 'boolean' && (typeof schema !== 'object' || schema === null || Array.isArray(schema)))
      throw unsupported('schema', path, 'a schema is an object or a boolean')
    const known = typeof schema === 'object' ? this.#numbers.get(schema) : undefined
    if (known !== undefined) return 2 * known
    this.#budget.spend(4)
    const number = this.#list.push({ schema, path }) - 1
    if (typeof schema === 'object') this.#numbers.set(schema, number)
    return 2 * number
  }

  /** The schema of one value. */
  literal(value: Json, path: string): Term {
    const key = JSON.stringify(value)
    let term = this.#literals.get(key)
    if (term === undefined) {
      this.#budget.spend(key.length)
      term = this.term(literalSchema(value), path)
      this.#literals.set(key, term)
    }
    return term
  }

  #scan(value: Json, path: string, base: string, depth: number): void {
    if (value === null || typeof value !== 'object') return
    if (depth > deepest) throw unsupported('schema', '', `it nests deeper than ${deepest}`)
    const keys = Object.keys(value)
    this.#budget.spend(2 + 4 * keys.length)
    if (Array.isArray(value)) {
      value.forEach((item, i) => {
        this.#scan(item, `${path}/${i}`, base, depth + 1)
      })
      return
    }
    let here = base
    const { $id, $anchor, $dynamicAnchor } = value
    if (typeof $id === 'string' && !$id.startsWith('#')) {
      here = this.#address($id, base, path).split('#')[0]!
      this.#roots.set(here, { schema: value, path })
    }
    this.#bases.set(value, here)
    for (const anchor of [$anchor, $dynamicAnchor])
      if (typeof anchor === 'string') this.#anchors.set(`${here}#${anchor}`, { schema: value, path })
    if (typeof $dynamicAnchor === 'string')
      this.#dynamic.set($dynamicAnchor, (this.#dynamic.get($dynamicAnchor) ?? 0) + 1)
    for (const key of keys)
      if (!data.has(key)) this.#scan(value[key]!, `${path}/${escapePointer(key)}`, here, depth + 1)
  }

  #address(reference: string, base: string, path: string): string {
    try {
      return new URL(reference, base).href
    } catch {
      throw unsupported('$ref', path, `${JSON.stringify(reference.slice(0, 80))} is no reference`)
    }
  }

  /** What a schema's $ref or $dynamicRef refers to. */
  resolve(from: SchemaObject, keyword: '$ref' | '$dynamicRef', path: string): Term {
    const reference = from[keyword]
    if (typeof reference !== 'string') throw unsupported(keyword, path, 'it is no string')
    const [root, fragment = ''] = this.#address(reference, this.#bases.get(from) ?? home, path).split('#') as [
      string,
      string?,
    ]
    const decoded = decode(fragment)
    if (keyword === '$dynamicRef' && (this.#dynamic.get(decoded) ?? 0) > 1)
      throw unsupported(keyword, path, 'several schemas have this anchor')
    const lost = () => unsupported(keyword, path, `${JSON.stringify(reference.slice(0, 80))} is not in the document`)
    if (decoded !== '' && !decoded.startsWith('/')) {
      const anchor = this.#anchors.get(`${root}#${decoded}`)
      if (anchor === undefined) throw lost()
      return this.term(anchor.schema, anchor.path)
    }
    let target = this.#roots.get(root!)
    if (target === undefined) throw lost()
    for (const part of decoded.split('/').slice(1)) {
      const key = part.replaceAll('~1', '/').replaceAll('~0', '~')
      const { schema, path } = target as { schema: Json; path: string }
      if (schema === null || typeof schema !== 'object' || !Object.hasOwn(schema, key)) throw lost()
      target = { schema: (schema as SchemaObject)[key]!, path: `${path}/${part}` }
    }
    return this.term(target.schema, target.path)
  }
}

export const escapePointer = (key: string) => key.replaceAll('~', '~0').replaceAll('/', '~1')

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** Arrays and objects by their parts, so that they meet other schemas part by part. */
function literalSchema(value: Json): SchemaObject {
  if (value === null || typeof value !== 'object') return { const: value }
  if (Array.isArray(value)) {
    const items = value.map((item) => ({ const: item }))
    return { type: 'array', prefixItems: items, minItems: items.length, maxItems: items.length }
  }
  const entries = Object.entries(value)
  return {
    type: 'object',
    properties: Object.fromEntries(entries.map(([name, item]) => [name, { const: item }])),
    required: entries.map(([name]) => name),
    additionalProperties: false,
  }
}
