/** Keywords that speak of a whole value: its type, the values that it may be, numbers and strings. */
import { unsupported } from './automata/refusal.ts'
import { allTypes, always, and, atom, type Formula, holds, never, numberTypes, ofTypes, or, types } from './branches.ts'
import { formatPattern } from './formats.ts'
import { type Context, type Keyword, list, number, only, type Says } from './keyword.ts'
import { type Json, not } from './schemas.ts'

const typeMasks: Record<string, number> = {
  ...{ null: types.null, boolean: types.false | types.true, integer: types.integer, number: numberTypes },
  ...{ string: types.string, array: types.array, object: types.object },
}

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
const intersect = <T>(old: T[] | undefined, list: readonly T[]) =>
  old === undefined ? [...list] : old.filter((v) => list.includes(v))

export function bound(which: 'min' | 'max', excluded: boolean, keyword: string): Keyword {
  return (value, { path, schema }) => {
    // Draft 4: a boolean beside minimum or maximum.
    if (typeof value === 'boolean' && excluded) return { yes: () => always, no: () => never }
    const n = number(value, keyword, path)
    const strict = excluded || schema[which === 'min' ? 'exclusiveMinimum' : 'exclusiveMaximum'] === true
    const [same, opposite] = which === 'min' ? [atLeast, atMost] : [atMost, atLeast]
    return { yes: () => same(n, strict, path), no: () => only(numberTypes, opposite(n, !strict, path)) }
  }
}

export const multipleOf: Keyword = (value, { path }) => {
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

export const pattern: Keyword = (value, { path }) => {
  if (typeof value !== 'string') throw unsupported('pattern', path, 'it is no string')
  return matches(value, path)
}

export const format: Keyword = (value, { path }) => {
  const source = typeof value === 'string' ? formatPattern(value) : undefined
  return source === undefined ? { yes: () => always, no: () => never } : matches(source, path)
}

export const type: Keyword = (value, { path }) => {
  let mask = 0
  for (const name of Array.isArray(value) ? value : [value]) {
    if (typeof name !== 'string' || typeMasks[name] === undefined)
      throw unsupported('type', path, `${JSON.stringify(name)} is no type`)
    mask |= typeMasks[name]
  }
  return { yes: () => ofTypes(mask), no: () => ofTypes(allTypes & ~mask) }
}

const mostValues = 20_000

export function oneOfValues(values: readonly Json[], path: string, { schemas }: Context): Says {
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

export const enumeration: Keyword = (value, { path, context }) => {
  const values = list(value, 'enum', path)
  if (values.length > mostValues) throw unsupported('enum', path, `it has more than ${mostValues} values`)
  return oneOfValues(values, path, context)
}
