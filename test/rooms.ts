/**
 * The rooms of the house: which files belong together, and in which order they stand on each other. Imports (types too) and #includes
 * stay in their room or go to one further down the table. test/imports.test.ts holds the code to it; `npm run rooms` draws the
 * picture in docs/architecture.md.
 *
 * A room is named by its folder; files that stand on another level than the rest of their folder are named one by one. A file belongs
 * to the longest name that fits.
 */
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))

export interface House {
  /** Rooms from the top down: what the picture calls them, and their files. */
  rooms: [name: string, ...files: string[]][]
  /** What a file refers to, as paths from the root; null: no such file. */
  references: (file: string, text: string) => (string | null)[]
}

export const houses: Record<'lib' | 'cpp', House> = {
  lib: {
    rooms: [
      ['cli', 'lib/cli/'],
      ['load', 'lib/load/'],
      ['ui', 'lib/ui/'],
      ['server', 'lib/server/'],
      ['server/routes', 'lib/server/routes/'],
      ['server/service', 'lib/server/service/'],
      ['adapters', 'lib/adapters/', 'lib/adapters/ai-sdk/', 'lib/adapters/langchain/'],
      ['api', 'lib/'],
      ['answers', 'lib/answers/'],
      ['host', 'lib/host/'],
      ['host/record', 'lib/host/record/'],
      ['host/schedule', 'lib/host/schedule/'],
      ['host/drafts', 'lib/host/drafts/'],
      ['host/wire', 'lib/host/wire/'],
      ['model', 'lib/model/'],
      ['text', 'lib/text/'],
      ['text/vocabulary', 'lib/text/vocabulary/'],
      ['text/jinja', 'lib/text/jinja/'],
      ['text/jinja/library', 'lib/text/jinja/library/'],
      ['text/jinja/values', 'lib/text/jinja/values/'],
      ['host/output', 'lib/host/output/'],
      ['tools', 'lib/tools/'],
      ['grammar', 'lib/grammar/'],
      ['grammar/automata', 'lib/grammar/automata/'],
      ['base', 'lib/base/'],
    ],
    references: (file, text) =>
      [...text.matchAll(/(?:\bfrom|\bimport)[ (]*'(\.[^']+)'/g)].map(([, path]) =>
        existing(join(dirname(file), path!)),
      ),
  },
  cpp: {
    rooms: [
      ['addon', 'cpp/addon/'],
      ['engine', 'cpp/'],
      ['model', 'cpp/model/'],
      ['cuda', 'cpp/cuda/'],
      ['cuda/steps', 'cpp/cuda/steps/'],
      ['cuda/memory', 'cpp/cuda/memory/', 'cpp/cuda_loader.h', 'cpp/cuda_loader.cpp'],
      ['cpu', 'cpp/cpu/'],
      ['cpu/isa', 'cpp/cpu/isa/'],
      ['cpu/isa/simd', 'cpp/cpu/isa/simd/'],
      ['cpu/linear', 'cpp/cpu/linear/'],
      ['cpu/attention', 'cpp/cpu/attention/'],
      ['cpu/kernels.h', 'cpp/cpu/isa/kernels.h'],
      ['cpu/threads', 'cpp/cpu/threads/'],
      ['cpu/reference', 'cpp/cpu/reference/'],
      ['backend.h', 'cpp/backend.h', 'cpp/step.h', 'cpp/device_steps.h'],
      ['drafts', 'cpp/drafts/'],
      ['kv', 'cpp/kv/'],
      ['sampling', 'cpp/sampling/'],
      ['grammar', 'cpp/grammar/'],
      ['files', 'cpp/files/'],
      ['text', 'cpp/text/'],
      ['os', 'cpp/os/'],
      ['base', 'cpp/error.h', 'cpp/error.cpp', 'cpp/exact_math.h', 'cpp/splitmix.h'],
    ],
    references: (file, text) =>
      [...text.matchAll(/^#\s*include "([^"]+)"/gm)].map(
        ([, path]) => existing(join(dirname(file), path!)) ?? existing(join('cpp', path!)),
      ),
  },
}

/** Programs of their own, which may use everything, and what stands beside the house. */
const outside = ['cpp/tests/', 'cpp/fuzz/', 'cpp/glibc/', 'cuda/']

const existing = (path: string) => (existsSync(join(root, path)) ? normalize(path) : null)

/** Every source file of a house with what it refers to. */
export function readHouse(folder: keyof typeof houses): Map<string, (string | null)[]> {
  const files = readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .map((name) => join(folder, name))
    .filter((file) => /\.(tsx?|h|inc|cpp)$/.test(file) && statSync(join(root, file)).isFile() && !isOutside(file))
  const read = (file: string) => houses[folder].references(file, readFileSync(join(root, file), 'utf8'))
  return new Map(files.sort().map((file) => [file, read(file).filter((found) => found === null || !isOutside(found))]))
}

const isOutside = (file: string) => outside.some((folder) => file.startsWith(folder))

/** Index of a file's room. A folder without a row has none: -1. */
export function roomOf({ rooms }: House, file: string): number {
  const exact = rooms.findIndex(([, ...files]) => files.includes(file))
  return exact >= 0 ? exact : rooms.findIndex(([, ...files]) => files.includes(`${dirname(file)}/`))
}

/** A matrix: a mark where the room of the row uses that of the column. Nothing lies to the left of the diagonal. */
export function drawRooms(folder: keyof typeof houses): string {
  const house = houses[folder]
  const uses = house.rooms.map(() => new Set<number>())
  for (const [file, found] of readHouse(folder))
    for (const other of found) if (other !== null) uses[roomOf(house, file)]!.add(roomOf(house, other))
  const letters = 'abcdefghijklmnopqrstuvwxyz'
  const width = Math.max(...house.rooms.map(([name]) => name.length)) + 2
  const row = (name: string, cells: string[]) => `${name.padEnd(width)}${cells.join(' ')}`.trimEnd()
  const columns = house.rooms.map((_, column) => letters[column]!)
  const lines = house.rooms.map(([name], at) =>
    row(
      `${letters[at]} ${name}`,
      columns.map((_, column) => (column === at ? '\\' : uses[at]!.has(column) ? 'x' : column < at ? ' ' : '.')),
    ),
  )
  return [row(`  ${folder}/`, columns), ...lines].map((line) => `    ${line}`).join('\n')
}

const page = join(root, 'docs/architecture.md')
const [before, after] = ['<!-- npm run rooms -->', '<!-- end of rooms -->']
const picture = () => `\n\n${drawRooms('lib')}\n\n${drawRooms('cpp')}\n\n`

/** The picture as docs/architecture.md has it, and as it should be. */
export function pictures(): { drawn: string; found: string } {
  const text = readFileSync(page, 'utf8')
  return { drawn: picture(), found: text.slice(text.indexOf(before) + before.length, text.indexOf(after)) }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { drawn, found } = pictures()
  writeFileSync(page, readFileSync(page, 'utf8').replace(before + found + after, before + drawn + after))
}
