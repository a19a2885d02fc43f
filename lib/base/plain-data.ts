/**
 * Plain data (JSON's) out of what a caller gives: a check makes a copy, so that nothing a caller changes later is seen, and nothing but data
 * comes in. A check is a function that gives what it checked, or throws a Mismatch, which says where and what was expected.
 */
import * as z from './zod.ts'

export type Plain = string | number | boolean | null | Plain[] | { [key: string]: Plain }

const mostNesting = 64
const mostValues = 1_000_000
const plainData = 'plain data: text, finite numbers, true, false, null, arrays and objects of these'
export class Mismatch extends Error {
  readonly path: PropertyKey[]
  readonly expected: string

  constructor(path: PropertyKey[], expected: string) {
    super(expected)
    this.path = path
    this.expected = expected
  }
}

/** A schema out of a function that gives what it checked, or throws a Mismatch. */
export const checked = <T>(expected: string, check: (value: unknown) => T) =>
  z
    .custom<unknown>((value) => value !== undefined, expected)
    .transform((value, context): T => {
      try {
        return check(value)
      } catch (error) {
        if (!(error instanceof Mismatch)) throw error
        context.issues.push({ code: 'custom', message: error.expected, path: error.path, input: value })
        return z.NEVER
      }
    })

export const isObject = (value: unknown): value is object => Object.prototype.toString.call(value) === '[object Object]'

/** A copy of plain data, of any realm and class. Keys without a value are left out. */
export function plainCopy(value: unknown, at: PropertyKey[] = []): Plain {
  const path = [...at]
  let left = mostValues
  const inside = (key: PropertyKey, item: unknown): Plain => {
    path.push(key)
    const copied = copy(item)
    path.pop()
    return copied
  }
  const copy = (value: unknown): Plain => {
    if (typeof value === 'string' || typeof value === 'boolean' || value === null) return value
    if (typeof value === 'number' && Number.isFinite(value)) return value
    const isArray = Array.isArray(value)
    if (!isArray && !isObject(value)) throw new Mismatch([...path], plainData)
    if (path.length - at.length >= mostNesting)
      throw new Mismatch([...path], `data nested at most ${mostNesting} levels deep`)
    if (isArray) {
      left -= value.length
      if (left < 0) throw new Mismatch([...at], `at most ${mostValues} values`)
      return Array.from(value, (item, i) => inside(i, item ?? null))
    }
    const entries = Object.entries(value as object).filter(([, item]) => item !== undefined)
    left -= entries.length
    if (left < 0) throw new Mismatch([...at], `at most ${mostValues} values`)
    // fromEntries defines: a key named __proto__ is one like any other.
    return Object.fromEntries(entries.map(([key, item]) => [key, inside(key, item)]))
  }
  return copy(value)
}

/** An array, entry by entry. */
export const each =
  <T>(what: string, check: (value: unknown, at: PropertyKey[]) => T) =>
  (value: unknown): T[] => {
    if (!Array.isArray(value)) throw new Mismatch([], what)
    return Array.from(value, (item, i) => check(item, [i]))
  }

/** A name that is there. */
export function checkName(value: unknown, at: PropertyKey[]): void {
  if (!isObject(value)) throw new Mismatch(at, 'an object with a name')
  const { name } = value as { name?: unknown }
  if (typeof name !== 'string' || name === '') throw new Mismatch([...at, 'name'], 'a non-empty string')
}
