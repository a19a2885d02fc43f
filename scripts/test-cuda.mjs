#!/usr/bin/env node
/**
 * Builds and runs the tests of the CUDA half, which need no GPU: the gate of `npm run test:cuda`. Kernels run on the emulator
 * (cuda/emulator) and must equal the reference (cpp/cpu/reference) bit for bit; so do the plugin's, as PTX on the driver of
 * cuda/fake, where there is nvcc. With the addon and dist/ built, whole answers on that driver equal the CPU's. What kernels ask of a
 * device may not grow: cuda/ratchet.json. Without nvcc everything but the emulator is skipped, which it says.
 *
 *   node scripts/test-cuda.mjs            every part
 *   --only shim[,driver]                  these parts
 *   --deep                                more cases, seeds and schedules
 *   --ptx 89                              PTX of another architecture than 80, in a build folder of its own
 *   --no-answers                          without whole answers, which `vitest run` has as well
 *   --write                               renews the ratchet: accesses, and code of kernels that changed
 *   -- ...                                the rest goes to each test binary (`-- -tc='linear*'`)
 */
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { findNvcc } from './cuda/nvcc.mjs'
import { compare, renew } from './cuda/ratchet.mjs'
import { findDoctest } from './find-doctest.mjs'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const answersTests = 'test/cuda-'

const hasNvcc = findNvcc() !== undefined

/**
 * Parts: what each builds and runs. The checked build finds what the plain one does, but sees a sixth of the scenes of attention; the driver has
 * all of them, so the plain build is for machines without nvcc, and for `--deep`.
 */
const parts = [
  { name: 'shim', targets: ['octavo_shim_checked'], plain: ['octavo_shim_tests'] },
  { name: 'driver', targets: ['octavo_driver_tests'] },
]

function fail(message) {
  console.error(`test-cuda: ${message}`)
  process.exit(1)
}

function readOptions() {
  const split = process.argv.indexOf('--')
  const args = process.argv.slice(2, split < 0 ? undefined : split)
  const rest = split < 0 ? [] : process.argv.slice(split + 1)
  try {
    const options = {
      only: { type: 'string' },
      ptx: { type: 'string' },
      deep: { type: 'boolean', default: false },
      'no-answers': { type: 'boolean', default: false },
      write: { type: 'boolean', default: false },
    }
    const { values } = parseArgs({ args, options })
    const names = values.only?.split(',') ?? (values.ptx ? ['driver'] : parts.map(({ name }) => name))
    for (const name of names)
      if (!parts.some((part) => part.name === name))
        fail(`--only: expected some of ${parts.map((part) => part.name).join(', ')}, got ${name}`)
    if (values.ptx !== undefined && !/^\d{2,3}$/.test(values.ptx)) fail(`--ptx: expected 89 or 90, got ${values.ptx}`)
    const all = values.deep || !hasNvcc
    const wanted = parts
      .filter(({ name }) => names.includes(name))
      .map(({ name, targets, plain = [] }) => ({ name, targets: all ? [...plain, ...targets] : targets }))
    return { ...values, wanted, rest }
  } catch (error) {
    return fail(error.message)
  }
}

/** The exit status; of a command that a signal ended, 1. */
function run(command, args, options = {}) {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: 'inherit', ...options })
  if (error !== undefined) fail(`cannot run ${command}: ${error.message}`)
  return status ?? 1
}

/** Runs a test binary and prints what it said when it is done. */
function collect(command, args, env) {
  return new Promise((resolve) => {
    const chunks = []
    const child = spawn(command, args, { cwd: root, env, stdio: ['ignore', 'pipe', 'pipe'] })
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => chunks.push(chunk))
    child.on('error', ({ message }) => fail(`cannot run ${command}: ${message}`))
    child.on('close', (code, signal) => {
      process.stdout.write(Buffer.concat(chunks))
      if (signal !== null) console.log(`test-cuda: ${command} ended by ${signal}`)
      resolve(code ?? 1)
    })
  })
}

/** The archive of the addon's build, up to date, or '' if there is none: an engine for the driver's tests, compiled already. */
function builtCore() {
  const folder = join(root, 'build/Release')
  const archive = join(folder, 'liboctavo_core.a')
  if (!existsSync(archive)) return ''
  const jobs = String(availableParallelism())
  if (
    run('cmake', ['--build', folder, '--target', 'octavo_core', '-j', jobs], {
      stdio: ['ignore', 'ignore', 'inherit'],
    }) !== 0
  )
    fail("the addon's core cannot be built")
  return archive
}

function build(folder, ptx, targets) {
  mkdirSync(folder, { recursive: true })
  const configure = [
    '-S',
    root,
    '-B',
    folder,
    '-DOCTAVO_CUDA_TESTS=ON',
    '-DOCTAVO_CUDA=OFF',
    '-DCMAKE_BUILD_TYPE=Release',
  ]
  configure.push(`-DDOCTEST_DIR=${findDoctest(fail)}`, `-DOCTAVO_BUILT_CORE=${builtCore()}`)
  // Devices that are too old for the other PTX are played with 80's.
  if (ptx !== undefined) configure.push(`-DOCTAVO_CUDA_TEST_ARCHS=80-virtual;${ptx}-virtual`)
  // A build folder keeps the generator it was made with.
  const ninja = spawnSync('ninja', ['--version'], { stdio: 'ignore' }).status === 0
  if (!existsSync(join(folder, 'CMakeCache.txt'))) configure.push('-G', ninja ? 'Ninja' : 'Unix Makefiles')
  if (run('cmake', configure, { stdio: ['ignore', 'ignore', 'inherit'] }) !== 0) fail('cmake could not configure')
  const jobs = String(availableParallelism())
  if (run('cmake', ['--build', folder, '--target', ...targets, '-j', jobs]) !== 0) fail('the build failed')
}

/** How long each part took, for the last line. */
const times = []
async function timed(name, body) {
  const start = performance.now()
  const result = await body()
  times.push(`${name} ${((performance.now() - start) / 1000).toFixed(1)}`)
  return result
}

const node = (script, ...args) => run(process.execPath, [join(root, script), ...args])

/** Counts of accesses that the checked build wrote, against the ratchet. */
function checkTraffic(file, write) {
  const lines = readFileSync(file, 'utf8').trim().split('\n')
  const rows = Object.fromEntries(
    lines.map((line) => line.split(' ')).map(([kernel, ...numbers]) => [kernel, numbers.map(Number)]),
  )
  if (write) {
    renew('memory', rows, { all: true })
    return 0
  }
  const { worse, better } = compare('memory', rows)
  for (const line of worse) console.error(`test-cuda: ${line}`)
  console.log(
    `test-cuda: accesses of ${lines.length} kernels, ${worse.length} worse, ${better} better than cuda/ratchet.json`,
  )
  return worse.length > 0 ? 1 : 0
}

const { deep, ptx, write, wanted, rest, 'no-answers': noAnswers } = readOptions()
const folder = join(root, ptx === undefined ? 'build/cuda-tests' : `build/cuda-tests-${ptx}`)
if (process.arch !== 'x64') {
  console.log('test-cuda: the emulator wants an x86-64 machine: skipped')
  process.exit(0)
}
const start = performance.now()
const targets = wanted.flatMap(({ targets }) => targets)
await timed('compiling', () => build(folder, ptx, targets))
const env = { ...process.env, ...(deep ? { OCTAVO_DEEP: '1' } : {}) }
let status = 0
const note = (result) => {
  status ||= result
}
// A run of some test cases, or on other PTX, is about those alone.
const whole = rest.length === 0 && ptx === undefined
const has = (part) => whole && wanted.some(({ name }) => name === part)
const traffic = join(folder, 'traffic.txt')
/** Each uses one CPU; what takes longest begins first. */
const queue = wanted
  .flatMap(({ name, targets }) =>
    targets.map((target) => ({ name: target, path: join(folder, 'cuda/tests', name, target) })),
  )
  .toReversed()
  .map((binary) => ({ ...binary, args: rest, env }))
if (has('shim')) {
  const args = ['-tc=traffic:*', '--minimal']
  const { path } = queue.find(({ name }) => name === 'octavo_shim_checked')
  queue.push({ name: 'accesses', path, args, env: { ...env, OCTAVO_TRAFFIC: traffic } })
}
const lane = async () => {
  for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
    const { name, path, args, env } = next
    note(await timed(name, () => collect(path, args, env)))
  }
}
await Promise.all(Array.from({ length: availableParallelism() }, lane))
if (has('shim')) {
  note(checkTraffic(traffic, write))
  note(node('cuda/tests/faults/run.mjs', '--check'))
}
if (has('driver') && !existsSync(join(folder, 'cuda/tests/driver/octavo_cuda.so')))
  console.log('test-cuda: no nvcc: kernels as PTX, the plugin, machine code and answers were skipped')
else if (has('driver')) {
  const args = ['--arch', '80', '--changed', ...(write ? ['--write'] : [])]
  await timed('machine code', () => note(node('scripts/cuda/kernels.mjs', ...args)))
  const engine = ['dist/index.js', 'build/Release/octavo.node'].every((file) => existsSync(join(root, file)))
  if (!engine) console.log('test-cuda: no addon or no dist/: answers on the plugin were skipped')
  else if (!noAnswers) await timed('answers', () => note(run('npx', ['vitest', 'run', answersTests], { env })))
}
const seconds = ((performance.now() - start) / 1000).toFixed(1)
console.log(`test-cuda: ${times.join(', ')} s`)
console.log(`test-cuda: ${status === 0 ? 'passed' : 'failed'} in ${seconds} s`)
process.exit(status)
