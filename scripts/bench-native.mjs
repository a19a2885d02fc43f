// Builds the native benchmarks (bench/native/) without sanitizers in build/bench and runs one; arguments go to it.
//
//   npm run bench:kernels -- [arguments]     single operations
//   npm run bench:forward -- [arguments]     whole steps, and where their time goes
//   npm run bench:drafts -- [arguments]      guesses that need no computation
import { spawnSync } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
function run(command, args, stdio) {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio })
  if (error) console.error(`bench-native: cannot run ${command}: ${error.message}`)
  if (status !== 0) process.exit(status ?? 1)
}

const benchmarks = ['kernels', 'forward', 'drafts']
const [name, ...rest] = process.argv.slice(2)
if (!benchmarks.includes(name)) {
  console.error(`bench-native: expected ${benchmarks.join(', ')}, got ${name}`)
  process.exit(2)
}
const toStderr = ['ignore', 2, 2] // stdout is the benchmark's alone
run(
  'cmake',
  ['-S', '.', '-B', 'build/bench', '-DOCTAVO_BENCH=ON', '-DOCTAVO_CUDA=OFF', '-DCMAKE_BUILD_TYPE=Release'],
  toStderr,
)
run('cmake', ['--build', 'build/bench', '--target', `octavo_${name}`, '-j', String(availableParallelism())], toStderr)
run(`build/bench/octavo_${name}`, rest, 'inherit')
