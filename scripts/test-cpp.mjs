#!/usr/bin/env node
/**
 * Builds the C++ tests and runs them: the gate of `npm run test:cpp`.
 *
 *   node scripts/test-cpp.mjs                      AddressSanitizer and UndefinedBehaviorSanitizer, a seeded sample
 *   --sanitize thread | none | address,undefined   another sanitizer
 *   --deep                                         every case instead of a sample, with --own-kernels
 *   --own-kernels                                  compiles all kernels with the sanitizers, see builtKernels; what fails is
 *                                                  said in words everywhere
 *   --arch arm64                                   cross build, run by qemu-aarch64
 *   --qemu-cpu Nehalem | Haswell | neoverse-n1 ... run by qemu as an older CPU
 *   -- ...                                         the rest goes to the test binary (`-- --help`, `-- -tc='linear*'`)
 *
 * The whole of the tests is run by as many processes as there are CPUs: each takes the next few test cases, again and again.
 */
import { spawn, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { findDoctest } from './find-doctest.mjs'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const arm64Root = '/usr/aarch64-linux-gnu'

function fail(message) {
  console.error(`test-cpp: ${message}`)
  process.exit(1)
}

function readOptions() {
  const split = process.argv.indexOf('--')
  const own = process.argv.slice(2, split < 0 ? undefined : split)
  const rest = split < 0 ? [] : process.argv.slice(split + 1)
  try {
    const { values } = parseArgs({
      args: own,
      options: {
        sanitize: { type: 'string' },
        deep: { type: 'boolean', default: false },
        'own-kernels': { type: 'boolean', default: false },
        arch: { type: 'string', default: process.arch },
        'qemu-cpu': { type: 'string' },
      },
    })
    const emulated = values.arch !== process.arch || values['qemu-cpu'] !== undefined
    const sanitize = values.sanitize ?? (emulated ? 'none' : 'address,undefined')
    if (!['address,undefined', 'thread', 'none'].includes(sanitize))
      fail(`--sanitize: expected address,undefined, thread or none, got ${sanitize}`)
    if (values.arch !== process.arch && values.arch !== 'arm64')
      fail(`--arch: expected ${process.arch} or arm64, got ${values.arch}`)
    if (emulated && sanitize !== 'none') fail(`--sanitize ${sanitize}: sanitizers do not run under qemu, expected none`)
    const ownKernels = values['own-kernels'] || values.deep || emulated || sanitize !== 'address,undefined'
    return { sanitize, ownKernels, deep: values.deep, arch: values.arch, qemuCpu: values['qemu-cpu'], rest }
  } catch (error) {
    return fail(error.message)
  }
}

function run(command, args, options = {}) {
  const { status, signal, error } = spawnSync(command, args, { cwd: root, stdio: 'inherit', ...options })
  if (error) fail(`cannot run ${command}: ${error.message}`)
  if (signal) fail(`${command} ended by ${signal}`)
  return status ?? 1
}

const has = (command) => spawnSync(command, ['--version'], { stdio: 'ignore' }).error === undefined

function require(command, debianPackage) {
  if (!has(command)) fail(`${command} is missing; on Debian or Ubuntu: apt-get install ${debianPackage}`)
}

/**
 * The build folder of the addon, its kernels up to date, or '' if there is none. Kernels are templates that each instruction set
 * compiles once more: the sanitizers look at those of this machine's best one, of the others the objects of the addon are tested.
 */
function builtKernels() {
  const folder = join(root, 'build', 'Release')
  if (!existsSync(join(folder, 'kernels.cmake'))) return ''
  const jobs = String(availableParallelism())
  const { status } = spawnSync('cmake', ['--build', folder, '--target', 'octavo_kernels', '-j', jobs], {
    stdio: 'inherit',
  })
  return status === 0 ? folder : fail('the kernels of the addon cannot be built')
}

function build({ sanitize, arch, ownKernels }) {
  require('cmake', 'cmake')
  const cross = arch !== process.arch
  require(cross ? 'aarch64-linux-gnu-g++' : 'c++', cross ? 'g++-aarch64-linux-gnu' : 'g++')
  const suffix = `${cross ? `-${arch}` : ''}${sanitize === 'address,undefined' ? '' : `-${sanitize}`}`
  const folder = join(root, 'build', `cpp${suffix}`)
  const configure = ['-S', root, '-B', folder, '-DOCTAVO_TESTS=ON', '-DCMAKE_BUILD_TYPE=Release']
  configure.push(`-DOCTAVO_SANITIZE=${sanitize === 'none' ? '' : sanitize}`, `-DDOCTEST_DIR=${findDoctest(fail)}`)
  configure.push(`-DOCTAVO_BUILT_KERNELS=${ownKernels ? '' : builtKernels()}`)
  // A build folder keeps the generator it was made with.
  if (!existsSync(join(folder, 'CMakeCache.txt'))) configure.push('-G', has('ninja') ? 'Ninja' : 'Unix Makefiles')
  if (cross) configure.push(`-DCMAKE_TOOLCHAIN_FILE=${join(root, 'cpp/cmake/aarch64-linux-gnu.cmake')}`)
  if (run('cmake', configure, { stdio: ['ignore', 'ignore', 'inherit'] }) !== 0) fail('cmake could not configure')
  const jobs = String(availableParallelism())
  if (run('cmake', ['--build', folder, '--target', 'octavo_tests', '-j', jobs]) !== 0) fail('the C++ build failed')
  return join(folder, 'octavo_tests')
}

/** Test cases that a process runs: enough of them that starting it costs little, few enough that no long one comes last. */
const casesOfOne = 4
/** What these test cases look at is when threads run, so nothing else runs beside them. */
const alone = '*threads_test.cpp'

/** All test cases, in as many processes at once as there are CPUs. The exit status of the binary. */
async function runAll([command, ...args], env) {
  const run = (...filters) => collect(command, [...args, ...filters], env)
  const number = (output, words) => Number(new RegExp(`${words}\\D*(\\d+)`).exec(output)?.[1] ?? Number.NaN)
  const count = async (filter) => number((await run(filter, '--count')).output, 'passing the current filters:')
  const sums = { failed: 0, assertions: 0, status: 0 }
  const times = []
  const add = ({ code, output }) => {
    for (const [, seconds, name] of output.matchAll(/^(\d+\.\d+) s: (.*)$/gm))
      times.push({ seconds: Number(seconds), name })
    sums.failed += number(output, 'test cases:.*passed \\|')
    sums.assertions += number(output, 'assertions:')
    sums.status ||= code
    if (code !== 0) console.log(output)
  }
  const together = await count(`--source-file-exclude=${alone}`)
  let next = 1
  const lane = async () => {
    while (next <= together) {
      const range = [`--first=${next}`, `--last=${next + casesOfOne - 1}`]
      next += casesOfOne
      add(await run(`--source-file-exclude=${alone}`, '--duration', ...range))
    }
  }
  await Promise.all(Array.from({ length: availableParallelism() }, lane))
  add(await run(`--source-file=${alone}`, '--duration'))
  const cases = together + (await count(`--source-file=${alone}`))
  times.sort((a, b) => b.seconds - a.seconds)
  for (const { seconds, name } of times.slice(0, 5)) console.log(`${seconds.toFixed(1)} s: ${name}`)
  console.log(`[doctest] test cases: ${times.length} | ${times.length - sums.failed} passed | ${sums.failed} failed`)
  console.log(`[doctest] assertions: ${sums.assertions}`)
  if (sums.status === 0 && times.length !== cases) fail(`there are ${cases} test cases, ${times.length} were run`)
  return sums.status
}

/** Runs a command to its end; one that a signal ended counts as failed. */
function collect(command, args, env) {
  return new Promise((resolve) => {
    let output = ''
    const child = spawn(command, args, { cwd: root, env, stdio: ['ignore', 'pipe', 'pipe'] })
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => (output += text))
    child.on('error', ({ message }) => fail(`cannot run ${command}: ${message}`))
    child.on('close', (code, signal) => {
      if (signal !== null) output += `test-cpp: ${command} ${args.join(' ')} ended by ${signal}\n`
      resolve({ code: code ?? 1, output })
    })
  })
}

async function main() {
  const options = readOptions()
  let command = [build(options), ...options.rest]
  if (options.arch !== process.arch) {
    require('qemu-aarch64', 'qemu-user')
    command = ['qemu-aarch64', '-L', arm64Root, '-cpu', options.qemuCpu ?? 'max', ...command]
  } else if (options.qemuCpu !== undefined) {
    require('qemu-x86_64', 'qemu-user')
    command = ['qemu-x86_64', '-cpu', options.qemuCpu, ...command]
  }
  const env = { ...process.env, UBSAN_OPTIONS: 'print_stacktrace=1', TSAN_OPTIONS: 'halt_on_error=1' }
  // Some checks trap (CMakeLists.txt): the line is printed all the same. Less is kept of what was freed, and of who allocated it: a twentieth
  // of the time. What the caller says counts.
  env.ASAN_OPTIONS = `handle_sigill=1:quarantine_size_mb=64:malloc_context_size=5:${env.ASAN_OPTIONS ?? ''}`
  if (options.deep) env.OCTAVO_DEEP = '1'
  const start = performance.now()
  const status = options.rest.length === 0 ? await runAll(command, env) : run(command[0], command.slice(1), { env })
  const seconds = ((performance.now() - start) / 1000).toFixed(1)
  console.log(`test-cpp: ${status === 0 ? 'passed' : 'failed'} in ${seconds} s (sanitize ${options.sanitize})`)
  process.exit(status)
}

await main()
