/** Plain data -> values. `mark` makes the strings, so that each can know where it came from. */
import { fail } from './faults.ts'
import { look } from './limits.ts'
import { integer } from './numbers.ts'
import type { Str } from './text.ts'
import { Dict, Float, type Value } from './values.ts'

/** `key` is that of the mapping which the string is a value of; a key itself has none. */
export type Mark = (text: string, key: string | undefined) => Str

/** Beyond, a number is not written with all its digits in JavaScript. */
const mostInteger = 1e21

export function toValue(data: unknown, mark: Mark, key?: string, depth = 0): Value {
  look(depth)
  if (typeof data === 'string') return mark(data, key)
  if (data === undefined || data === null) return null
  if (typeof data === 'boolean') return data
  if (typeof data === 'bigint') return integer(data)
  if (typeof data === 'number')
    return Number.isInteger(data) && Math.abs(data) < mostInteger ? integer(data) : new Float(data)
  if (Array.isArray(data)) return data.map((item) => toValue(item, mark, key, depth + 1))
  if (typeof data !== 'object') return fail(`unsupported value: ${typeof data}`)
  const dict = new Dict()
  for (const [name, value] of Object.entries(data))
    dict.set(mark(name, undefined), toValue(value, mark, name, depth + 1))
  return dict
}
