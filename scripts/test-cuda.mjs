#!/usr/bin/env node
/**
 * Builds and runs the tests of the CUDA half, which need no GPU: the gate of `npm run test:cuda`. Kernels run on the emulator
 * (cuda/emulator) and must equal the reference (cpp/cpu/reference) bit for bit; so do the plugin's, as PTX on the driver of
 * cuda/fake, where there is nvcc. With the addon and dist/ built, whole answers on that driver equal the CPU's.
 *
 *   node scripts/test-cuda.mjs            every part
 *   --only shim[,driver]                  these parts
 *   --deep                                more cases, seeds and schedules
 *   -- ...                                the rest goes to each test binary (`-- -tc='linear*'`)
 */
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const folder = join(root, 'build/cuda-tests')

/** Parts: what each builds and runs. A part whose folder is not there is none. */
const parts = [
  { name: 'shim', targets: ['octavo_shim_tests', 'octavo_shim_checked'] },
  { name: 'driver', targets: ['octavo_driver_tests'], vitest: 'test/cuda-' },
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
    const options = { only: { type: 'string' }, deep: { type: 'boolean', default: false } }
    const { values } = parseArgs({ args, options })
    const names = values.only?.split(',') ?? parts.map(({ name }) => name)
    for (const name of names)
      if (!parts.some((part) => part.name === name))
        fail(`--only: expected some of ${parts.map((part) => part.name).join(', ')}, got ${name}`)
    return { deep: values.deep, wanted: parts.filter(({ name }) => names.includes(name)), rest }
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

function build(targets) {
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
  // A build folder keeps the generator it was made with.
  const ninja = spawnSync('ninja', ['--version'], { stdio: 'ignore' }).status === 0
  if (!existsSync(join(folder, 'CMakeCache.txt'))) configure.push('-G', ninja ? 'Ninja' : 'Unix Makefiles')
  if (run('cmake', configure, { stdio: ['ignore', 'ignore', 'inherit'] }) !== 0) fail('cmake could not configure')
  const jobs = String(availableParallelism())
  if (run('cmake', ['--build', folder, '--target', ...targets, '-j', jobs]) !== 0) fail('the build failed')
}

const { deep, wanted, rest } = readOptions()
const start = performance.now()
build(wanted.flatMap(({ targets }) => targets))
const env = { ...process.env, ...(deep ? { OCTAVO_DEEP: '1' } : {}) }
let status = 0
// Each binary uses one CPU; the longest ones first.
const binaries = wanted.flatMap(({ name, targets }) =>
  targets.map((target) => join(folder, 'cuda/tests', name, target)),
)
await Promise.all(
  Array.from({ length: availableParallelism() }, async () => {
    for (let next = binaries.pop(); next !== undefined; next = binaries.pop())
      status = (await collect(next, rest, env)) || status
  }),
)
for (const { name, vitest } of wanted) {
  if (vitest === undefined || rest.length > 0) continue
  const plugin = existsSync(join(folder, 'cuda/tests', name, 'octavo_cuda.so'))
  const engine = ['dist/index.js', 'build/Release/octavo.node'].every((file) => existsSync(join(root, file)))
  if (!plugin) console.log('test-cuda: no nvcc: kernels as PTX, the plugin and answers on it were skipped')
  else if (!engine) console.log('test-cuda: no addon or no dist/: answers on the plugin were skipped')
  else status = run('npx', ['vitest', 'run', vitest], { env }) || status
}
const seconds = ((performance.now() - start) / 1000).toFixed(1)
console.log(`test-cuda: ${status === 0 ? 'passed' : 'failed'} in ${seconds} s`)
process.exit(status)
