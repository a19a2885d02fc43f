// The ratchet of the CUDA half, cuda/ratchet.json: what a kernel asks of a device, by counts that do not depend on time. A number that
// rises is refused until the file is renewed (`--write` of who calls this), so that a loss is seen in review, as a line of a diff.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { kernelsOf, unitNames } from './sass.mjs'

const file = join(fileURLToPath(new URL('../..', import.meta.url)), 'cuda/ratchet.json')

/** What the numbers of each part are. `code`: of machine code, by kernel and architecture; `memory`: of accesses on the emulator. */
export const columns = {
  code: ['registers', 'static shared bytes', ...unitNames],
  memory: ['sectors loaded', 'bytes loaded', 'sectors stored', 'bytes stored', 'wavefronts', 'bank conflicts'],
  plugin: ['bytes'],
}

/**
 * { compiler, plugin: { x64: [bytes] }, memory: { kernel: [...] }, code: { 'kernel 90': [...] }, ptx: { file: hash of its PTX } }; code
 * is of one compiler and of that PTX.
 */
export const readRatchet = () => JSON.parse(readFileSync(file, 'utf8'))

/** Rows of `code` of an ELF file, and what in it is wrong whatever the ratchet says. */
export function codeRows(elf, arch) {
  const rows = {}
  const problems = []
  for (const { kernel, registers, shared, local, units } of kernelsOf(elf)) {
    rows[`${kernel} ${arch}`] = [registers, shared, ...unitNames.map((name) => units[name])]
    if (local > 0) problems.push(`${kernel} on ${arch} spills: ${local} instructions load and store registers`)
  }
  return { rows, problems }
}

/**
 * What is worse in `found` than in the ratchet, a line each, and how many rows are better. A row that the ratchet does not have is
 * worse than none.
 */
export function compare(part, found, ratchet = readRatchet()) {
  const worse = []
  let better = 0
  for (const [name, numbers] of Object.entries(found)) {
    const before = ratchet[part][name]
    if (before === undefined) {
      worse.push(`${name} is new`)
      continue
    }
    const rises = columns[part].flatMap((column, i) =>
      numbers[i] > before[i] ? [`${column} ${before[i]} -> ${numbers[i]}`] : [],
    )
    if (rises.length > 0) worse.push(`${name}: ${rises.join(', ')}`)
    else if (numbers.some((number, i) => number < before[i])) better++
  }
  return { worse, better }
}

/** Rows `found` take the place of those that the ratchet has; with `all`, of all that it has in this part. */
export function renew(part, found, { all = false, compiler } = {}) {
  const ratchet = readRatchet()
  ratchet[part] = all ? found : { ...ratchet[part], ...found }
  if (compiler !== undefined) ratchet.compiler = compiler
  writeFileSync(file, text(ratchet))
}

const list = (numbers) => (Array.isArray(numbers) ? `[${numbers.join(', ')}]` : JSON.stringify(numbers))
const sorted = (rows) => Object.entries(rows).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))

/** A line for each row; of machine code, a line for each kernel and architecture. */
function text({ compiler, columns: _, ...parts }) {
  const names = Object.keys(columns)
  const part = (name) =>
    `"${name}": {\n${sorted(parts[name])
      .map(([row, numbers]) => `"${row}": ${list(numbers)}`)
      .join(',\n')}\n}`
  const about = names.map((name) => `"${name}": ${JSON.stringify(columns[name])}`)
  return `{\n"compiler": "${compiler}",\n"columns": {\n${about.join(',\n')}\n},\n${[...names, 'ptx'].map(part).join(',\n')}\n}\n`
}
