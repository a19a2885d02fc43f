#!/usr/bin/env node
/**
 * Plants faults, one at a time in a copy, and says which execution of the tests notices each: `plain`, the bits in several schedules of
 * the emulator; `checked`, its checker; `ptx`, the kernels as nvcc compiles them in the plugin on the driver of cuda/fake. The first
 * test of a checker is that what it should find is found. A table of faults is a module of this folder.
 *
 *   node cuda/tests/faults/run.mjs [--only REGEX] [--executions plain,checked,ptx] [--jobs N]      REGEX: of 'class, name'
 *   --check      only whether every edit finds its place
 *   --table      what is known of all faults, from build/faults.json, where each run adds what it found, as docs/cuda-faults.md
 *
 * `node scripts/test-cuda.mjs` builds what the faulty parts are linked with. Exit status 1 if a fault that changes results was not
 * noticed, one that does not was, or an edit found no place. A fault's fields: `class`, `name`; `file`, and `from`, `to`, its edit;
 * `unit`, what is compiled again (`text`: in place of the file); `tests`, `formats`, which tests look; `capability` of the device;
 * `executions`, where not all can see it; `equivalent`: why nothing can notice it; `survives`: why nothing does.
 */
import { execFileSync, spawn } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { writeTable } from './table.mjs'

const here = dirname(fileURLToPath(import.meta.url))
const root = join(here, '../../..')
const folder = join(root, 'build/cuda-tests')
const driver = join(folder, 'cuda/tests/driver')
const known = join(root, 'build/faults.json')
const binaries = { plain: 'octavo_shim_tests', checked: 'octavo_shim_checked', ptx: 'octavo_driver_tests' }

function fail(message) {
  console.error(`faults: ${message}`)
  process.exit(1)
}

/** Output and exit status; one that takes too long has found a fault too. */
function run(command, args, options = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd: folder, timeout: 600_000, ...options })
    let output = ''
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => (output += text))
    child.on('error', ({ message }) => fail(`cannot run ${command}: ${message}`))
    child.on('close', (code, signal) => resolve({ code: code ?? 1, output: signal ? `${output}\n${signal}` : output }))
  })
}
const shell = (command) => run('sh', ['-c', command])

/** `source` with the fault in it. */
function planted(fault, source) {
  const places = source.split(fault.from).length - 1
  const nth = fault.nth ?? 0
  if (places === 0 || (places > 1 && fault.nth === undefined) || nth >= places)
    fail(`${fault.name}: its text is ${places} times in ${fault.file}`)
  const parts = source.split(fault.from)
  return parts.slice(0, nth + 1).join(fault.from) + fault.to + parts.slice(nth + 1).join(fault.from)
}

// ---- building -------------------------------------------------------------------------------------------------------
let compileCommands
/** The command that compiles `source` for a target, with sources from `copy` instead of cuda/, to `object`; and what it made before. */
function compileCommand(source, target, copy, object) {
  compileCommands ??= JSON.parse(readFileSync(join(folder, 'compile_commands.json'), 'utf8'))
  const entry = compileCommands.find(({ file, command }) => file === source && command.includes(`/${target}.dir/`))
  if (entry === undefined) return undefined
  const output = / -o (\S+)/.exec(entry.command)[1]
  const own = source.startsWith(join(root, 'cuda/')) ? join(copy, source.slice(join(root, 'cuda/').length)) : source
  const command = entry.command
    .replace(/^ccache /, '')
    .replaceAll(`-I${join(root, 'cuda')} `, `-I${copy} `)
    .replaceAll(`-I${join(root, 'cuda/host')} `, `-I${copy}/host `)
    .replace(/ -M\w+ \S+ ?| -MD/g, ' ')
    .replace(` -o ${output}`, ` -o ${object}`)
    .replace(`-c ${source}`, `-c ${own}`)
  return { command, output }
}

/** The last command that makes a target, with objects exchanged, to `product`. */
async function linkCommand(target, exchanged, product) {
  const { output } = await run('ninja', ['-t', 'commands', target])
  let link = output.trim().split('\n').at(-1)
  for (const [before, now] of exchanged) link = link.replace(before, now)
  return link.replace(new RegExp(`-o \\S*${target}(\\.so)?`), `-o ${product}`)
}

const firstError = (output) => output.split('\n').find((line) => line.includes('error')) ?? output.slice(0, 200)
/** Thrown by what a fault keeps from being compiled. */
class NotCompiled extends Error {}
async function compile(command) {
  const { code, output } = await shell(command)
  if (code !== 0) throw new NotCompiled(`does not compile: ${firstError(output)}`)
}
async function link(target, exchanged, product) {
  const { code, output } = await shell(await linkCommand(target, exchanged, product))
  if (code !== 0) fail(output)
}

/** The targets of the emulator that a unit belongs to. */
const shimTargets = (unit, kind) => [
  unit.path.endsWith('.cu') ? `${binaries[kind]}_kernels` : 'octavo_cuda_ops',
  'octavo_shim_base',
]

/** A binary of the emulator with the fault. */
async function buildShim(kind, { unit }, copy) {
  const object = join(copy, `${kind}.o`)
  const program = join(copy, kind)
  const source = join(root, 'cuda', unit.path)
  const made = shimTargets(unit, kind)
    .map((target) => compileCommand(source, target, copy, object))
    .find(Boolean)
  if (made === undefined) fail(`${unit.path} is not compiled for the emulator`)
  await compile(made.command)
  await link(binaries[kind], [[made.output, object]], program)
  return { program, env: {} }
}

/** The tests of the driver with the fault in a kernel, in the plugin, or in what is linked into the tests as well. */
async function buildDriver({ unit }, copy) {
  const source = join(root, 'cuda', unit.path)
  const plugin = join(copy, 'octavo_cuda.so')
  const program = join(copy, 'driver')
  if (unit.path.endsWith('.cu')) {
    const image = join(driver, 'plugin', `${basename(unit.path, '.cu')}.fatbin`)
    const faulty = join(copy, basename(image))
    const { output } = await run('ninja', ['-t', 'commands', image])
    const command = output
      .trim()
      .split('\n')
      .at(-1)
      .replaceAll(`-I${join(root, 'cuda')} `, `-I${copy} `)
      .replace(/ -MD -MF \S+/, '')
      .replace(/ -fatbin \S+ -o \S+/, ` -fatbin ${join(copy, unit.path)} -o ${faulty}`)
    await compile(command)
    const list = join(driver, 'plugin/images.cpp')
    writeFileSync(join(copy, 'images.cpp'), readFileSync(list, 'utf8').replaceAll(image, faulty))
    const made = compileCommand(list, 'octavo_cuda', copy, join(copy, 'images.o'))
    await compile(made.command.replace(`-c ${list}`, `-c ${join(copy, 'images.cpp')}`))
    await link('octavo_cuda', [[made.output, join(copy, 'images.o')]], plugin)
  } else {
    for (const [target, product] of [
      ['octavo_cuda', plugin],
      [binaries.ptx, program],
    ]) {
      const object = `${product}.o`
      const of = target === binaries.ptx && unit.path.startsWith('ops/') ? 'octavo_cuda_ops' : target
      const made = compileCommand(source, of, copy, object)
      if (made === undefined) continue
      await compile(made.command)
      await link(target, [[made.output, object]], product)
    }
  }
  return {
    program: existsSync(program) ? program : join(driver, binaries.ptx),
    env: existsSync(plugin) ? { OCTAVO_CUDA_PLUGIN: plugin } : {},
  }
}

// ---- running --------------------------------------------------------------------------------------------------------
/** Test cases of an execution: those of operations are on both, but linear has its own on the driver. */
const testsOf = (kind, tests) => (kind === 'ptx' ? tests.replace('linear equals*', 'plugin: linear equals*') : tests)

/** What says how a fault was noticed. */
function describe(output) {
  const kinds = new Set([...output.matchAll(/ERROR: ([a-z-]+): /g)].map((match) => match[1]))
  if (/difference\(|is NOT correct/.test(output)) kinds.add('bits')
  const rule = /fake driver: ([^\n]{0,60})|(CUDA_ERROR_\w+)/.exec(output)
  if (rule) kinds.add(rule[2] ?? 'rule')
  if (/SIGTERM/.test(output)) kinds.add('does not end')
  return [...kinds].join(' ') || 'ended'
}

/** The tests of a fault in a binary: { code, output }. */
async function runTests(kind, fault, program, env) {
  const { name, tests, formats, capability } = fault
  const device = kind === 'ptx' && capability !== undefined ? { OCTAVO_FAKE_CUDA: `capability=${capability}` } : {}
  const some = formats === undefined ? {} : { OCTAVO_FORMATS: formats }
  // What is missing at a barrier shows in some schedules only.
  const deep = kind === 'plain' && fault.class === 'barrier' ? { OCTAVO_DEEP: '1' } : {}
  const args = [`-tc=${testsOf(kind, tests)}`]
  const result = await run(program, args, { env: { ...process.env, ...device, ...some, ...deep, ...env } })
  if (/test cases:\s+0 /.test(result.output)) fail(`${name}: no test has the name ${args[0]}`)
  return result
}

const unharmed = { plain: 'shim', checked: 'shim', ptx: 'driver' }
const controls = new Set()
/** Without a fault the tests pass: once for each choice of them. */
async function control(kind, fault) {
  const choice = [kind, fault.tests, fault.formats, fault.capability, fault.class === 'barrier'].join()
  if (controls.has(choice)) return
  controls.add(choice)
  const { code, output } = await runTests(kind, fault, join(folder, 'cuda/tests', unharmed[kind], binaries[kind]), {})
  if (code !== 0) fail(`${fault.name}: without it, ${kind} fails too: ${output.slice(-2000)}`)
}

/** Builds one execution with the fault and runs its tests: what was noticed, or null. */
async function execution(kind, fault, copy) {
  await control(kind, fault)
  try {
    const { program, env } = kind === 'ptx' ? await buildDriver(fault, copy) : await buildShim(kind, fault, copy)
    const { code, output } = await runTests(kind, fault, program, env)
    return code === 0 ? null : describe(output)
  } catch (error) {
    if (error instanceof NotCompiled) return error.message
    throw error
  }
}

async function notice(fault, kinds) {
  // Precompiled headers are found by their real paths.
  const copy = realpathSync(mkdtempSync(join(tmpdir(), 'octavo-fault-')))
  try {
    for (const room of ['kernels', 'ops', 'emulator', 'host'])
      cpSync(join(root, 'cuda', room), join(copy, room), { recursive: true })
    cpSync(join(root, 'cuda/plugin.h'), join(copy, 'plugin.h'))
    mkdirSync(join(copy, 'tests'), { recursive: true })
    if (fault.unit.text !== undefined) writeFileSync(join(copy, fault.unit.path), fault.unit.text)
    writeFileSync(join(copy, fault.file), planted(fault, readFileSync(join(copy, fault.file), 'utf8')))
    const found = {}
    for (const kind of kinds) found[kind] = await execution(kind, fault, copy)
    return found
  } finally {
    rmSync(copy, { recursive: true })
  }
}

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: '' },
    executions: { type: 'string', default: Object.keys(binaries).join(',') },
    jobs: { type: 'string', default: '1' },
    check: { type: 'boolean', default: false },
    table: { type: 'boolean', default: false },
  },
})
const executions = values.executions.split(',')
for (const kind of executions) if (!(kind in binaries)) fail(`--executions: ${Object.keys(binaries)}, got ${kind}`)
const tables = ['linear', 'ops', 'asm', 'host']
const faults = (await Promise.all(tables.map((name) => import(`./${name}.mjs`)))).flatMap((module) => module.faults)
const wanted = faults.filter((fault) => new RegExp(values.only).test(`${fault.class}, ${fault.name}`))
const readResults = () => (existsSync(known) ? JSON.parse(readFileSync(known, 'utf8')) : {})

if (values.check) {
  for (const fault of faults) planted(fault, readFileSync(join(root, 'cuda', fault.file), 'utf8'))
  console.log(`faults: every edit of ${faults.length} finds its place`)
  process.exit(0)
}
if (values.table)
  process.exit(writeTable(join(root, 'docs/cuda-faults.md'), faults, readResults(), Object.keys(binaries)))

const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { cwd: root, encoding: 'utf8' }).trim()
let wrong = 0
async function lane(queue) {
  for (let fault = queue.shift(); fault !== undefined; fault = queue.shift()) {
    const kinds = executions.filter((kind) => fault.executions?.includes(kind) ?? true)
    if (kinds.length === 0) continue
    const found = await notice(fault, kinds)
    const results = readResults() // another run may have added to it
    const before = results[fault.name]
    const commits = { ...before?.commits, ...Object.fromEntries(kinds.map((kind) => [kind, commit])) }
    results[fault.name] = { ...before, ...found, commits }
    writeFileSync(known, JSON.stringify(results, null, 1))
    // Of executions that were not run, what they found before.
    const noticed = Object.keys(binaries).some((kind) => typeof results[fault.name][kind] === 'string')
    const asExpected = noticed === (fault.equivalent === undefined && fault.survives === undefined)
    if (!asExpected) wrong++
    const cells = kinds.map((kind) => `${kind}: ${found[kind] ?? '-'}`)
    console.log(`${fault.class}, ${fault.name} | ${cells.join(' | ')}${asExpected ? '' : ' | NOT AS EXPECTED'}`)
  }
}
const queue = [...wanted]
await Promise.all(Array.from({ length: Number(values.jobs) }, () => lane(queue)))
process.exit(wrong === 0 ? 0 : 1)
