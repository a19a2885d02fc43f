/** Seeded random values for property tests: what a file may hold instead of what it should. */

// biome-ignore lint/suspicious/noExplicitAny: any value in any place is the point
export type Json = any

/** A number from 0 to below `n`. */
export type Random = (n: number) => number

export function random(seed: number): Random {
  let state = (seed * 2654435761 + 1) >>> 0
  return (n) => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    state >>>= 0
    return Math.floor((state / 2 ** 32) * n)
  }
}

export const choose = <T>(next: Random, items: readonly T[]): T => items[next(items.length)]!

export function junk(next: Random, depth = 0): Json {
  const deep = () => {
    let value: Json = 'core'
    for (let i = next(300); i > 0; i--) value = next(2) ? [value] : { value }
    return value
  }
  const makers: (() => Json)[] = [
    () => null,
    () => next(2) === 1,
    () => choose(next, [-1, 0, 1, 0.5, 255, 2 ** 31, 2 ** 53, -(2 ** 63), 1e308]),
    () =>
      choose(next, [
        '',
        ' ',
        'a',
        '\ud800',
        '\0',
        '__proto__',
        'constructor',
        'Sequence',
        'ByteLevel',
        '▁',
        '<0x41>',
        '(a+)+$',
        'x'.repeat(next(5000)),
      ]),
    () => [],
    () => ({}),
    () => Array.from({ length: depth > 3 ? 0 : next(20) }, () => junk(next, depth + 1)),
    () => ({
      [choose(next, ['type', '__proto__', 'Regex', 'content', 'length'])]: depth > 3 ? 0 : junk(next, depth + 1),
    }),
    deep,
  ]
  return choose(next, makers)()
}

/** One to three places of a tree hold something else, are gone, or are there twice. */
export function mutate(tree: Json, next: Random): Json {
  for (let changes = 1 + next(3); changes > 0; changes--) {
    let parent = tree
    for (;;) {
      const keys = Object.keys(parent)
      const key = choose(next, keys)
      if (key === undefined) break
      const child = parent[key]
      if (typeof child === 'object' && child !== null && Object.keys(child).length > 0 && next(4) > 0) {
        parent = child
        continue
      }
      const how = next(4)
      if (how === 0) delete parent[key]
      else if (how === 1 && keys.length > 1) parent[key] = structuredClone(parent[choose(next, keys)])
      else parent[key] = junk(next)
      break
    }
  }
  return tree
}
