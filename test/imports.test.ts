/** Imports point down: the rooms of test/rooms.ts, the same for #includes, and no circle of files anywhere. */
import { describe, expect, it } from 'vitest'
import { houses, pictures, readHouse, roomOf } from './rooms.ts'

/** The first circle that is found, as the files on it. */
function circle(graph: ReadonlyMap<string, readonly (string | null)[]>): string[] {
  const done = new Set<string>()
  const path: string[] = []
  const visit = (file: string): string[] => {
    if (path.includes(file)) return [...path.slice(path.indexOf(file)), file]
    if (done.has(file)) return []
    path.push(file)
    for (const other of graph.get(file) ?? []) {
      const found = other === null ? [] : visit(other)
      if (found.length > 0) return found
    }
    path.pop()
    done.add(file)
    return []
  }
  for (const file of graph.keys()) {
    const found = visit(file)
    if (found.length > 0) return found
  }
  return []
}

describe.each(['lib', 'cpp'] as const)('%s', (folder) => {
  const house = houses[folder]
  const graph = readHouse(folder)
  const references = [...graph].flatMap(([file, found]) => found.map((other) => ({ file, other })))

  it('has a room for every file', () => {
    expect([...graph.keys()].filter((file) => roomOf(house, file) < 0)).toEqual([])
  })

  it('has files in every room', () => {
    const rooms = new Set([...graph.keys()].map((file) => roomOf(house, file)))
    expect(house.rooms.filter((_, room) => !rooms.has(room)).map(([name]) => name)).toEqual([])
  })

  it('refers to files that exist', () => {
    expect(references.length).toBeGreaterThan(graph.size)
    expect(references.filter(({ other }) => other === null)).toEqual([])
  })

  it('imports no room that stands above its own', () => {
    const upward = references.filter(({ file, other }) => roomOf(house, other!) < roomOf(house, file))
    expect(upward.map(({ file, other }) => `${file} -> ${other}`)).toEqual([])
  })

  it('has no circle, of types neither', () => {
    expect(circle(graph).join(' -> ')).toBe('')
  })
})

it('finds circles', () => {
  const graph = { a: ['b'], b: ['c', 'd'], c: [null], d: ['b'] }
  expect(circle(new Map(Object.entries(graph)))).toEqual(['b', 'd', 'b'])
})

it('is drawn in docs/architecture.md as it is (npm run rooms)', () => {
  const { drawn, found } = pictures()
  expect(found).toBe(drawn)
})
