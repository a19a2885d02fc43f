/** Filters and tests by name. Filters such as `map` and `select` ask for others, hence one place for both. */
import { fail } from '../values/faults.ts'
import { noKeywords } from '../values/values.ts'
import type { FreeFilter } from './filter.ts'
import { absentFilters, makeFilters } from './filters.ts'
import { makeTests, type Test } from './tests.ts'

const tests = makeTests(() => filters)
const filters = makeFilters((name) => {
  const test = testNamed(name) ?? fail(`No test named '${name}'.`)
  return (value, args) => test(value, args, noKeywords)
})

export const testNamed = (name: string): Test | undefined => tests.get(name)
export const filterNamed = (name: string): FreeFilter | undefined => filters.get(name)

/** What to say of a filter that does not exist. */
export function missingFilter(name: string): string {
  const reason = Object.hasOwn(absentFilters, name) ? absentFilters[name] : undefined
  return reason === undefined ? `No filter named '${name}'.` : `The filter '${name}' is not supported: ${reason}.`
}
