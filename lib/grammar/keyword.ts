/**
 * What the files of keywords share: what a keyword is, how its value is read, and the atoms that count.
 */
import { endless } from './automata/automaton.ts'
import { unsupported } from './automata/refusal.ts'
import { and, atom, type Formula, ofTypes, types } from './branches.ts'
import type { Json, SchemaObject, Schemas, Term } from './schemas.ts'

/** What keywords need to know. */
export interface Context {
  schemas: Schemas
  /** Whether no value (of some types) meets all terms, as far as is seen without looking deep. */
  disjoint(terms: Term[], mask?: number): boolean
}

export interface Place {
  schema: SchemaObject
  /** Of the keyword. */
  path: string
  context: Context
}

/** A keyword's formula and its opposite, each made when it is asked for. */
export interface Says {
  yes: () => Formula
  no: () => Formula
}

export type Keyword = (value: Json, place: Place) => Says

export function count(value: Json, keyword: string, path: string): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= 0) return Math.min(value, endless)
  throw unsupported(keyword, path, 'it is no non-negative integer')
}
export function list(value: Json, keyword: string, path: string): Json[] {
  if (Array.isArray(value)) return value
  throw unsupported(keyword, path, 'it is no array')
}
export function object(value: Json, keyword: string, path: string): SchemaObject {
  if (value !== null && typeof value === 'object' && !Array.isArray(value)) return value
  throw unsupported(keyword, path, 'it is no object')
}
export function texts(value: Json, keyword: string, path: string): string[] {
  const all = list(value, keyword, path)
  if (all.every((text) => typeof text === 'string')) return [...new Set(all)]
  throw unsupported(keyword, path, 'it is no array of strings')
}
export function number(value: Json, keyword: string, path: string): number {
  if (typeof value === 'number' && Number.isFinite(value)) return value
  throw unsupported(keyword, path, 'it is no number')
}

export const schemaList = (value: Json, keyword: string, { path, context }: Place): Term[] =>
  list(value, keyword, path).map((schema, i) => context.schemas.term(schema, `${path}/${i}`))

/** Why a keyword is refused of which only the opposite is wanted. */
export const opposite = "its opposite ('not', 'oneOf', 'if')"

export const only = (mask: number, ...parts: Formula[]): Formula => and(ofTypes(mask), ...parts)

export type Counted = 'string' | 'array' | 'object'
export const least = (part: Counted, value: number, path: string): Formula =>
  atom((branch) => {
    branch[part].min = Math.max(branch[part].min, value)
    branch[part].path = path
    if (part === 'object') branch.object.minPath = path
  })
export const most = (part: Counted, value: number, path: string): Formula =>
  value < 0
    ? atom((branch) => {
        branch.types &= ~types[part]
      })
    : atom((branch) => {
        branch[part].max = Math.min(branch[part].max, value)
        branch[part].path = path
      })

export function counted(part: Counted, which: 'min' | 'max', keyword: string): Keyword {
  return (value, { path }) => {
    const n = count(value, keyword, path)
    return which === 'min'
      ? { yes: () => least(part, n, path), no: () => only(types[part], most(part, n - 1, path)) }
      : { yes: () => most(part, n, path), no: () => only(types[part], least(part, n + 1, path)) }
  }
}
