#!/usr/bin/env node
/**
 * Plants faults into the kernels, one at a time in a copy, and says which execution of the tests notices it: `plain`, the bits in
 * several schedules, or `checked`, the checker of the emulator. A table of faults is a module of this folder; the first test of a
 * checker is that what it should find is found.
 *
 *   node cuda/tests/faults/run.mjs [--only REGEX] [--jobs N]      REGEX: of 'class, name'
 *
 * `node scripts/test-cuda.mjs --only shim` builds what the faulty kernels are linked with. Exit status 1 if a fault that changes
 * results was not noticed, one that does not was, or an edit found no place.
 */
import { spawn } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const here = dirname(fileURLToPath(import.meta.url))
const root = join(here, '../../..')
const folder = join(root, 'build/cuda-tests')
const binaries = { plain: 'octavo_shim_tests', checked: 'octavo_shim_checked' }

function fail(message) {
  console.error(`faults: ${message}`)
  process.exit(1)
}

/** Output and exit status; one that takes too long has found a fault too. */
function run(command, args, options = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd: folder, timeout: 120_000, ...options })
    let output = ''
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => (output += text))
    child.on('error', ({ message }) => fail(`cannot run ${command}: ${message}`))
    child.on('close', (code) => resolve({ code: code ?? 1, output }))
  })
}

/** `source` with the fault in it. */
function planted(fault, source) {
  const places = source.split(fault.from).length - 1
  const nth = fault.nth ?? 0
  if (places === 0 || (places > 1 && fault.nth === undefined) || nth >= places)
    fail(`${fault.name}: its text is ${places} times in ${fault.file}`)
  const parts = source.split(fault.from)
  return parts.slice(0, nth + 1).join(fault.from) + fault.to + parts.slice(nth + 1).join(fault.from)
}

const commands = JSON.parse(readFileSync(join(folder, 'compile_commands.json'), 'utf8'))

/** The command that compiles a source of the project, for another source, include folder and object. */
function compileCommand(unit, kind, copy, object) {
  const source = join(root, 'cuda', unit.path)
  const target = unit.path.endsWith('.cu') ? `${binaries[kind]}_kernels` : 'octavo_shim_base'
  const entry = commands.find(({ file, command }) => file === source && command.includes(`/${target}.dir/`))
  if (entry === undefined) fail(`${unit.path} is not compiled for ${target}`)
  const output = / -o (\S+)/.exec(entry.command)[1]
  const command = entry.command
    .replace(/^ccache /, '')
    .replace(`-I${join(root, 'cuda')} `, `-I${copy} `)
    .replace(/ -M\w+ \S+ ?| -MD/g, ' ')
    .replace(` -o ${output}`, ` -o ${object}`)
    .replace(`-c ${source}`, `-c ${join(copy, unit.path)}`)
  return { command, output }
}

async function linkCommand(kind, replaced, object, program) {
  const { output } = await run('ninja', ['-t', 'commands', binaries[kind]])
  const link = output.trim().split('\n').at(-1)
  return link.replace(replaced, object).replace(new RegExp(`-o \\S*${binaries[kind]}`), `-o ${program}`)
}

/** Builds one execution with the fault and runs its tests: what was noticed, or null. */
async function execution(kind, fault, copy) {
  const object = join(copy, `${kind}.o`)
  const program = join(copy, kind)
  const { command, output: replaced } = compileCommand(fault.unit, kind, copy, object)
  const compiled = await run('sh', ['-c', command])
  if (compiled.code !== 0)
    return `does not compile: ${compiled.output.split('\n').find((line) => line.includes('error'))}`
  const linked = await run('sh', ['-c', await linkCommand(kind, replaced, object, program)])
  if (linked.code !== 0) fail(`${fault.name}: ${linked.output}`)
  const env = { ...process.env, OCTAVO_FORMATS: fault.formats ?? '', ...(kind === 'plain' ? { OCTAVO_DEEP: '1' } : {}) }
  const { code, output } = await run(program, [`-tc=${fault.tests}`], { env })
  if (code === 0) return null
  const kinds = new Set([...output.matchAll(/ERROR: ([a-z-]+): /g)].map((match) => match[1]))
  if (/difference\(|is NOT correct/.test(output)) kinds.add('bits')
  return [...kinds].join(' ') || 'ended'
}

async function notice(fault) {
  const copy = mkdtempSync(join(tmpdir(), 'octavo-fault-'))
  try {
    for (const room of ['kernels', 'ops', 'emulator'])
      cpSync(join(root, 'cuda', room), join(copy, room), { recursive: true })
    mkdirSync(join(copy, 'tests'), { recursive: true })
    if (fault.unit.text !== undefined) writeFileSync(join(copy, fault.unit.path), fault.unit.text)
    writeFileSync(join(copy, fault.file), planted(fault, readFileSync(join(copy, fault.file), 'utf8')))
    return { plain: await execution('plain', fault, copy), checked: await execution('checked', fault, copy) }
  } finally {
    rmSync(copy, { recursive: true })
  }
}

const { values } = parseArgs({
  options: { only: { type: 'string', default: '' }, jobs: { type: 'string', default: '1' } },
})
const tables = readdirSync(here).filter(
  (name) => name.endsWith('.mjs') && name !== basename(fileURLToPath(import.meta.url)),
)
const faults = (await Promise.all(tables.map((name) => import(join(here, name))))).flatMap((module) => module.faults)
const wanted = faults.filter((fault) => new RegExp(values.only).test(`${fault.class}, ${fault.name}`))
const results = []
let wrong = 0

async function lane(queue) {
  for (let fault = queue.shift(); fault !== undefined; fault = queue.shift()) {
    const { plain, checked } = await notice(fault)
    const noticed = plain !== null || checked !== null
    const asExpected = noticed !== (fault.equivalent !== undefined)
    if (!asExpected) wrong++
    results.push({ ...fault, plain, checked })
    const cells = [fault.class.padEnd(9), fault.name.padEnd(62), (plain ?? '-').padEnd(28), (checked ?? '-').padEnd(48)]
    console.log(`${cells.join(' | ')}${asExpected ? '' : ' | NOT AS EXPECTED'}`)
  }
}

const queue = [...wanted]
await Promise.all(Array.from({ length: Number(values.jobs) }, () => lane(queue)))
const count = (test) => results.filter(test).length
const real = (fault) => fault.equivalent === undefined
console.log(
  `${results.length} faults, ${count(real)} change results or break a rule: ${count((f) => real(f) && f.plain !== null)} noticed by bits, ` +
    `${count((f) => real(f) && f.checked !== null && f.checked !== 'bits')} by the checker, ` +
    `${count((f) => real(f) && f.plain === null && f.checked === null)} by nothing`,
)
process.exit(wrong === 0 ? 0 : 1)
