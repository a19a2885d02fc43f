/** Imports point down: the rooms of test/rooms.ts, the same for #includes, and no circle of files anywhere. */
import { readFileSync } from 'node:fs'
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

it('has packages that an application may lack in their adapters alone', () => {
  const { peerDependencies } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'))
  const importers = new Map<string, Set<string>>()
  for (const file of readHouse('lib').keys())
    for (const [, name] of readFileSync(new URL(`../${file}`, import.meta.url), 'utf8').matchAll(
      / from '([^.'][^']*)'/g,
    ))
      for (const peer of Object.keys(peerDependencies))
        if (name === peer || name!.startsWith(`${peer}/`))
          importers.set(peer, (importers.get(peer) ?? new Set()).add(file.replace(/[^/]*$/, '')))
  expect(Object.fromEntries(importers)).toEqual({
    '@ai-sdk/provider': new Set(['lib/adapters/ai-sdk/']),
    '@langchain/core': new Set(['lib/adapters/langchain/']),
    '@opentelemetry/api': new Set(['lib/server/service/']),
  })
})
