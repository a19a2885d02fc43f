import { expect } from 'vitest'

/** `expect(actual).toBe(expected)` for loops of many thousand turns: vitest's own takes some ten microseconds even where all is well. */
export function same<T>(actual: T, expected: T, message?: string): void {
  if (!Object.is(actual, expected)) expect(actual, message).toBe(expected)
}
