/** Arguments by place or by name, as a signature in Python takes them; what does not fit is a fault. */
import { fail } from './faults.ts'
import type { Keywords, Value } from './values.ts'

/** A name, and what it is when it is not given; without the second it must be given. */
export type Parameter = readonly [name: string, fallback?: Value]

/** A value for each parameter. */
export function bind(
  what: string,
  parameters: readonly Parameter[],
  args: readonly Value[],
  keywords: Keywords,
): Value[] {
  if (args.length > parameters.length)
    fail(`${what} takes at most ${parameters.length} argument(s), ${args.length} given`)
  for (const name of keywords.keys()) {
    const at = parameters.findIndex(([known]) => known === name)
    if (at < 0) fail(`${what} got an unexpected keyword argument '${name}'`)
    if (at < args.length) fail(`${what} got multiple values for argument '${name}'`)
  }
  return parameters.map(([name, fallback], i) => {
    const value = i < args.length ? args[i] : keywords.has(name) ? keywords.get(name) : fallback
    return value === undefined ? fail(`${what} misses its argument '${name}'`) : value
  })
}
