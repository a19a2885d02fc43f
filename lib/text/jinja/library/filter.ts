/** What a filter is: parameters by name and a function, or a function that looks at its arguments itself. */
import type { Parameter } from '../values/arguments.ts'
import type { Keywords, Value } from '../values/values.ts'

export interface Filter {
  parameters: readonly Parameter[]
  run(value: Value, args: Value[]): Value
}

/** Takes its arguments as they come. */
export type FreeFilter = (value: Value, args: readonly Value[], keywords: Keywords) => Value
