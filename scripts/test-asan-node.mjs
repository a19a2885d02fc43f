// The public API under AddressSanitizer and UndefinedBehaviorSanitizer: builds the addon with both into build/asan, then runs the
// suites that load it. Leaks are looked for by the doctest binary: V8 keeps memory until the process ends.
//
//   node scripts/test-asan-node.mjs [test files]
import { execFileSync, spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const place = join(root, 'build', 'asan')
const suites = [
  'api',
  'endings',
  'invariance',
  'conversation',
  'service',
  'diagnostics',
  'errors',
  'lifecycle',
  'isolation',
  'cli',
]
const onFiles = ['addon', 'synthesize', 'oracle', 'weight-formats', 'architectures', 'drafts-model', 'trace', 'replay']
const files =
  process.argv.length > 2 ? process.argv.slice(2) : [...suites, ...onFiles].map((name) => `test/${name}.test.ts`)

function run(command, args, env = {}) {
  const { status, signal } = spawnSync(command, args, { cwd: root, stdio: 'inherit', env: { ...process.env, ...env } })
  if (status !== 0) {
    console.error(`test-asan-node: ${command} ended with ${signal ?? status}`)
    process.exit(1)
  }
}

const folder = join(place, 'build', 'Release')
const build = ['cmake-js', 'compile', '--out', folder, '--CDOCTAVO_SANITIZE=address,undefined']
run('npx', build, { OCTAVO_CUDA: 'OFF' })
const libraries = ['libasan.so', 'libubsan.so'].map((name) =>
  execFileSync('g++', [`-print-file-name=${name}`], { encoding: 'utf8' }).trim(),
)
const addon = join(folder, 'octavo.node')
const environment = {
  OCTAVO_ADDON: addon,
  LD_PRELOAD: libraries.join(' '),
  ASAN_OPTIONS: 'detect_leaks=0:abort_on_error=1',
  UBSAN_OPTIONS: 'print_stacktrace=1:halt_on_error=1',
}
// The suites would pass without the sanitizers, too.
const check = `import { readFileSync } from 'node:fs'; import { Engine } from 'octavo'
const engine = await Engine.load({ model: 'stories' }); await engine.close()
if (!readFileSync('/proc/self/maps', 'latin1').includes(${JSON.stringify(addon)})) throw new Error('another addon was loaded')`
run(process.execPath, ['--input-type=module', '-e', check], environment)
run(process.execPath, ['node_modules/vitest/vitest.mjs', 'run', ...files], environment)
