#!/usr/bin/env node
/**
 * What nvcc makes of the kernels (cuda/kernels): registers, spills, stack and static shared memory of each on each
 * architecture, as JSON on the standard output. Exit status 1 if a kernel spills or ptxas warns (C75xx: asynchronous products
 * that it had to put one behind the other).
 *
 *   node scripts/cuda-kernels.mjs                     every kernel for 80, 86, 89, 90 and 120
 *   --arch 90[,120]   --only linear_decode[,quantise]  these
 *   --jobs N                                           compilers at once (as many as there are CPUs)
 */
import { spawn, spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const { values } = parseArgs({
  options: {
    arch: { type: 'string', default: '80,86,89,90,120' },
    only: { type: 'string' },
    jobs: { type: 'string', default: String(availableParallelism()) },
  },
})

/** As cuda/CMakeLists.txt looks for it. */
function findCompiler() {
  const candidates = ['nvcc', join(process.env.CUDA_HOME ?? '/usr/local/cuda', 'bin/nvcc')]
  const found = candidates.find((path) => spawnSync(path, ['--version'], { stdio: 'ignore' }).status === 0)
  if (found === undefined) {
    console.error('cuda-kernels: no nvcc (PATH, CUDA_HOME)')
    process.exit(2)
  }
  return found
}

function compile(compiler, name, arch) {
  const args = ['-std=c++17', `-arch=sm_${arch}`, '-O3', '--fmad=false', '-Xptxas', '-v', '-Icuda', '-Icpp', '-c']
  return new Promise((resolve) => {
    const child = spawn(compiler, [...args, files.get(name), '-o', '/dev/null'], { cwd: root })
    let output = ''
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => (output += text))
    child.on('close', (code) => resolve({ code, output }))
  })
}

/** Kernels of ptxas' report. */
function parse(output, arch) {
  const kernels = []
  for (const part of output.split('Compiling entry function ').slice(1)) {
    const number = (pattern) => Number(pattern.exec(part)?.[1] ?? 0)
    kernels.push({
      kernel: /^'(\w+)'/.exec(part)[1],
      arch: Number(arch),
      registers: number(/Used (\d+) registers/),
      spilledBytes: number(/(\d+) bytes spill stores/) + number(/(\d+) bytes spill loads/),
      stackBytes: number(/(\d+) bytes stack frame/),
      sharedBytes: number(/(\d+) bytes smem/),
    })
  }
  return kernels
}

const compiler = findCompiler()
/** By name: the file. */
const files = new Map(
  readdirSync(join(root, 'cuda/kernels'), { recursive: true })
    .filter((name) => name.endsWith('.cu'))
    .map((name) => [basename(name, '.cu'), join(root, 'cuda/kernels', name)]),
)
const all = [...files.keys()]
const names = values.only?.split(',') ?? all
for (const name of names)
  if (!files.has(name)) {
    console.error(`cuda-kernels: --only: expected some of ${all.join(', ')}, got ${name}`)
    process.exit(2)
  }
const queue = values.arch.split(',').flatMap((arch) => names.map((name) => ({ name, arch })))
const kernels = []
const problems = []

async function lane() {
  for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
    const { code, output } = await compile(compiler, next.name, next.arch)
    const said = output.split('\n').filter((line) => /error|warning|C75\d\d/.test(line))
    if (code !== 0 || said.length > 0) problems.push(`${next.name} for ${next.arch}: ${said.slice(0, 3).join('; ')}`)
    kernels.push(...parse(output, next.arch))
  }
}

await Promise.all(Array.from({ length: Number(values.jobs) }, lane))
kernels.sort((a, b) => a.kernel.localeCompare(b.kernel) || a.arch - b.arch)
for (const { kernel, arch, spilledBytes } of kernels)
  if (spilledBytes > 0) problems.push(`${kernel} spills ${spilledBytes} bytes on ${arch}`)
console.log(`[\n${kernels.map((kernel) => `  ${JSON.stringify(kernel)}`).join(',\n')}\n]`)
for (const problem of problems) console.error(`cuda-kernels: ${problem}`)
process.exit(problems.length === 0 ? 0 : 1)
