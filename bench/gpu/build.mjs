#!/usr/bin/env node
/**
 * Makes the folder that is taken to a machine with a GPU: everything compiled here, since time there is short and there may be no
 * compiler. Needs nvcc, and for node.sh a built addon (`npm run build`).
 *
 *   node bench/gpu/build.mjs                      build/gpu, for an H100 or H200
 *   --archs "90-real;90-virtual"                  which devices, as CMake writes them
 *   --rehearsal                                   build/gpu-rehearsal, for the driver of cuda/fake (`npm run test:cuda` builds it and the plugin)
 *   --no-node                                     without the package and Node: run.sh alone
 */
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { nodeBinary } from '../../scripts/node-binary.mjs'

const root = fileURLToPath(new URL('../..', import.meta.url))
const { values } = parseArgs({
  options: {
    archs: { type: 'string', default: '90-real;90-virtual' },
    rehearsal: { type: 'boolean', default: false },
    'no-node': { type: 'boolean', default: false },
  },
})
const tests = join(root, 'build/cuda-tests/cuda/tests/driver')
const made = join(root, 'build/gpu-bench')
const out = join(root, values.rehearsal ? 'build/gpu-rehearsal' : 'build/gpu')

function fail(message) {
  console.error(`bench/gpu/build: ${message}`)
  process.exit(1)
}
function run(command, args) {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: ['ignore', 2, 2] })
  if (error) fail(`cannot run ${command}: ${error.message}`)
  if (status !== 0) fail(`${command} ended with ${status}`)
}

/** The program and the kernels that try the GPU; with the plugin, unless it is the one of the tests. */
function buildNative() {
  const folder = values.rehearsal ? `${made}-rehearsal` : made
  const kernels = join(root, 'build/Release')
  const configure = [
    '-S',
    '.',
    '-B',
    folder,
    '-DOCTAVO_GPU_BENCH=ON',
    '-DOCTAVO_CUDA=OFF',
    '-DCMAKE_BUILD_TYPE=Release',
  ]
  configure.push(`-DOCTAVO_CUDA_ARCHS=${values.rehearsal ? '80-virtual' : values.archs}`)
  configure.push(`-DOCTAVO_GPU_BENCH_PLUGIN=${values.rehearsal ? 'ON' : 'OFF'}`)
  if (existsSync(join(kernels, 'kernels.cmake'))) configure.push(`-DOCTAVO_BUILT_KERNELS=${kernels}`)
  const ninja = spawnSync('ninja', ['--version'], { stdio: 'ignore' }).status === 0
  if (!existsSync(join(folder, 'CMakeCache.txt'))) configure.push('-G', ninja ? 'Ninja' : 'Unix Makefiles')
  run('cmake', configure)
  const targets = ['octavo_gpu_bench', ...(values.rehearsal ? [] : ['octavo_cuda'])]
  run('cmake', ['--build', folder, '--target', ...targets, '-j', String(availableParallelism())])
  const from = join(folder, 'bench/gpu/native')
  cpSync(join(from, 'octavo_gpu_bench'), join(out, 'octavo_gpu_bench'))
  cpSync(join(from, 'probe.fatbin'), join(out, 'probe.fatbin'))
  cpSync(join(values.rehearsal ? tests : from, 'octavo_cuda.so'), join(out, 'octavo_cuda.so'))
  if (values.rehearsal) cpSync(join(tests, 'fake'), join(out, 'fake'), { recursive: true })
  run('strip', ['--strip-unneeded', join(out, 'octavo_gpu_bench'), join(out, 'octavo_cuda.so')])
}

/** The package as npm would install it, with its dependencies, and a Node that is a third of its size (run by node.sh). */
function packNode() {
  const addon = join(root, 'build/Release/octavo.node')
  if (!existsSync(addon) || !existsSync(join(root, 'dist/index.js'))) fail('no addon or no dist/: npm run build first')
  const app = join(out, 'app')
  const shipped = join(app, 'prebuilds', `${process.platform}-${process.arch}`, 'octavo.node')
  mkdirSync(dirname(shipped), { recursive: true })
  for (const name of ['package.json', 'dist', 'models/octavo-stories-q4_0.gguf'])
    cpSync(join(root, name), join(app, name), { recursive: true, filter: (path) => !path.endsWith('.map') })
  cpSync(addon, shipped)
  run('strip', ['--strip-unneeded', shipped])
  for (const name of runtimeDependencies())
    cpSync(join(root, 'node_modules', name), join(app, 'node_modules', name), {
      recursive: true,
      filter: (path) => !/\.(map|md|ts|cts|mts)$/.test(path),
    })
  if (values.rehearsal) return
  const node = join(out, 'node')
  cpSync(nodeBinary(process.version.slice(1)), node)
  run('strip', [node])
  run('xz', ['-T0', '-f', '-6', node])
}

/** All that the package's dependencies need, by name. */
function runtimeDependencies() {
  const { status, stdout } = spawnSync('npm', ['ls', '--omit=dev', '--omit=peer', '--all', '--parseable'], {
    cwd: root,
    encoding: 'utf8',
  })
  if (status !== 0 && !stdout) fail('npm ls failed')
  const under = join(root, 'node_modules/')
  return stdout
    .split('\n')
    .filter((path) => path.startsWith(under) && !path.slice(under.length).includes('/node_modules/'))
    .map((path) => path.slice(under.length))
}

function bytesOf(folder) {
  return readdirSync(folder, { withFileTypes: true }).reduce((sum, entry) => {
    const path = join(folder, entry.name)
    return sum + (entry.isDirectory() ? bytesOf(path) : statSync(path).size)
  }, 0)
}

rmSync(out, { recursive: true, force: true })
mkdirSync(out, { recursive: true })
buildNative()
for (const name of ['run.sh', 'node.sh', 'case-study.sh', 'node.mjs', 'case-study.mjs', 'torch-limits.py'])
  cpSync(join(dirname(fileURLToPath(import.meta.url)), name), join(out, name))
if (!values['no-node']) packNode()
writeFileSync(
  join(out, 'made.json'),
  JSON.stringify({ archs: values.rehearsal ? '80-virtual' : values.archs }, null, 1),
)
const mebibytes = bytesOf(out) / 2 ** 20
console.log(`${out}: ${mebibytes.toFixed(1)} MiB`)
if (mebibytes > 64) fail('more than 64 MiB: it would not travel')
