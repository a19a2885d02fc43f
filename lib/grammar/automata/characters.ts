/**
 * Sets of characters (code points) as ascending, disjoint ranges [first, last, first, last, ...], and partitions of all characters
 * into the classes that a number of sets tell apart. Surrogates are no characters: a partition gives them class 0 like others, and
 * nothing ever spells them.
 */
export type CharSet = readonly number[]

export const lastCharacter = 0x10ffff
export const anyCharacter: CharSet = [0, lastCharacter]

export function charSet(ranges: readonly (readonly [number, number])[]): CharSet {
  const sorted = ranges.filter(([first, last]) => first <= last).sort((a, b) => a[0] - b[0])
  const set: number[] = []
  for (const [first, last] of sorted) {
    if (set.length > 0 && first <= set.at(-1)! + 1) set[set.length - 1] = Math.max(set.at(-1)!, last)
    else set.push(first, last)
  }
  return set
}

export const union = (...sets: CharSet[]): CharSet => charSet(sets.flatMap(pairs))

export function complement(set: CharSet): CharSet {
  const rest: number[] = []
  let next = 0
  for (const [first, last] of pairs(set)) {
    if (first > next) rest.push(next, first - 1)
    next = last + 1
  }
  if (next <= lastCharacter) rest.push(next, lastCharacter)
  return rest
}

export function pairs(set: CharSet): [number, number][] {
  const list: [number, number][] = []
  for (let i = 0; i < set.length; i += 2) list.push([set[i]!, set[i + 1]!])
  return list
}

/** All characters, cut at `starts` (ascending, from 0); the characters from starts[i] on are of class `classes[i]`. */
export interface Partition {
  starts: readonly number[]
  classes: readonly number[]
  count: number
}

/** The coarsest partition in which each set is a number of whole classes; `members[i]` are the classes of set i. */
export function partition(sets: readonly CharSet[]): { partition: Partition; members: number[][] } {
  const distinct = [...new Set(sets)]
  const borders: { at: number; set: number; enters: boolean }[] = []
  distinct.forEach((set, index) => {
    for (const [first, last] of pairs(set)) {
      borders.push({ at: first, set: index, enters: true })
      if (last < lastCharacter) borders.push({ at: last + 1, set: index, enters: false })
    }
  })
  borders.sort((a, b) => a.at - b.at)
  const inside = new Set<number>()
  const known = new Map<string, number>()
  const owners: number[][] = []
  const starts: number[] = []
  const classes: number[] = []
  for (let i = 0, at = 0; at <= lastCharacter; ) {
    for (; i < borders.length && borders[i]!.at === at; i++) {
      const { set, enters } = borders[i]!
      if (enters) inside.add(set)
      else inside.delete(set)
    }
    const key = [...inside].sort((a, b) => a - b).join()
    let id = known.get(key)
    if (id === undefined) {
      id = known.size
      known.set(key, id)
      owners.push([...inside])
    }
    if (classes.at(-1) !== id) {
      starts.push(at)
      classes.push(id)
    }
    at = i < borders.length ? borders[i]!.at : lastCharacter + 1
  }
  const bySet = distinct.map((): number[] => [])
  owners.forEach((list, id) => {
    for (const set of list) bySet[set]!.push(id)
  })
  const index = new Map(distinct.map((set, i) => [set, i]))
  return { partition: { starts, classes, count: owners.length }, members: sets.map((set) => bySet[index.get(set)!]!) }
}

/** The class of a character. */
export function classOf({ starts, classes }: Partition, character: number): number {
  let low = 0
  let high = starts.length
  while (high - low > 1) {
    const middle = (low + high) >> 1
    if (starts[middle]! <= character) low = middle
    else high = middle
  }
  return classes[low]!
}
