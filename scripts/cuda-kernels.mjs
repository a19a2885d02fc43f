#!/usr/bin/env node
/**
 * What nvcc makes of the kernels (cuda/kernels) for each architecture, held against cuda/ratchet.json: registers, shared memory and
 * instructions by unit. Exit status 1 if a kernel got worse, is new, or spills, or if ptxas warns (C75xx: asynchronous products that
 * it had to put one behind the other). Another version of nvcc compiles other code: then only spills and warnings count.
 *
 *   node scripts/cuda-kernels.mjs                     every kernel for 80, 86, 89, 90 and 120
 *   --arch 90[,120]   --only linear_decode[,quantise]  these
 *   --changed                                          those whose PTX is not the ratchet's, in the tests' build (build/cuda-tests):
 *                                                      of the same PTX ptxas makes the same code
 *   --write                                            renews the rows of the ratchet, and what PTX they are of
 *   --jobs N                                           compilers at once (1)
 *
 * What was compiled is kept in build/cuda-kernels until its source or a header changes.
 */
import { spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { codeRows, compare, readRatchet, renew } from './cuda-ratchet.mjs'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const kept = join(root, 'build/cuda-kernels')
const images = join(root, 'build/cuda-tests/cuda/tests/driver/plugin')
const flags = ['-std=c++17', '-O3', '--fmad=false', '-Xptxas', '-v', '-Icuda', '-Icpp']
const architectures = '80,86,89,90,120'

function fail(message) {
  console.error(`cuda-kernels: ${message}`)
  process.exit(2)
}

/** As cuda/CMakeLists.txt looks for it: { path, version }. */
function findCompiler() {
  for (const path of ['nvcc', join(process.env.CUDA_HOME ?? '/usr/local/cuda', 'bin/nvcc')]) {
    const { status, stdout } = spawnSync(path, ['--version'], { encoding: 'utf8' })
    if (status === 0) return { path, version: /V(\d+\.\d+\.\d+)/.exec(stdout)[1] }
  }
  return fail('no nvcc (PATH, CUDA_HOME)')
}

/** A source with every header of the project that it includes, as one text. */
function withHeaders(source, seen = new Set()) {
  if (seen.has(source)) return ''
  seen.add(source)
  const text = readFileSync(source, 'utf8')
  const headers = [...text.matchAll(/^#include "([^"]+)"/gm)].map(([, name]) =>
    [dirname(source), join(root, 'cuda'), join(root, 'cpp')].map((folder) => join(folder, name)).find(existsSync),
  )
  return text + headers.map((header) => (header ? withHeaders(header, seen) : '')).join('')
}

/** What the PTX of a kernel file is in the tests' build, as a hash; undefined: not built. */
function ptxOf(name) {
  const image = join(images, `${name}.fatbin`)
  return existsSync(image) ? createHash('sha256').update(readFileSync(image)).digest('hex').slice(0, 16) : undefined
}

/** { elf, said } of a kernel file for an architecture. */
async function compile(compiler, source, arch) {
  const key = createHash('sha256')
    .update(`${compiler.version} ${flags} ${withHeaders(source)}`)
    .digest('hex')
  const object = join(kept, `${basename(source, '.cu')}.${arch}.${key.slice(0, 16)}.cubin`)
  if (!existsSync(`${object}.txt`)) {
    const args = [...flags, `-arch=sm_${arch}`, '-cubin', source, '-o', object]
    const { code, output } = await new Promise((resolve) => {
      const child = spawn(compiler.path, args, { cwd: root })
      let output = ''
      for (const stream of [child.stdout, child.stderr])
        stream.setEncoding('utf8').on('data', (text) => (output += text))
      child.on('close', (code) => resolve({ code, output }))
    })
    if (code !== 0) fail(`${source} for ${arch}: ${output}`)
    writeFileSync(`${object}.txt`, output)
  }
  return { elf: readFileSync(object), said: readFileSync(`${object}.txt`, 'utf8') }
}

const { values } = parseArgs({
  options: {
    arch: { type: 'string', default: architectures },
    only: { type: 'string' },
    jobs: { type: 'string', default: '1' },
    changed: { type: 'boolean', default: false },
    write: { type: 'boolean', default: false },
  },
})
const compiler = findCompiler()
/** By name: the file. */
const files = new Map(
  readdirSync(join(root, 'cuda/kernels'), { recursive: true })
    .filter((name) => name.endsWith('.cu'))
    .map((name) => [basename(name, '.cu'), join(root, 'cuda/kernels', name)]),
)
const all = [...files.keys()]
const only = values.only?.split(',') ?? all
for (const name of only) if (!files.has(name)) fail(`--only: expected some of ${all.join(', ')}, got ${name}`)
const ratchet = readRatchet()
const sameCompiler = ratchet.compiler === compiler.version
if (values.changed && !sameCompiler) {
  console.log(`cuda-kernels: nvcc ${compiler.version}, the ratchet is of ${ratchet.compiler}: not compared`)
  process.exit(0)
}
const names = values.changed ? only.filter((name) => ptxOf(name) !== ratchet.ptx[name]) : only

mkdirSync(kept, { recursive: true })
const queue = values.arch.split(',').flatMap((arch) => names.map((name) => ({ name, arch })))
const rows = {}
const problems = []
async function lane() {
  for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
    const { elf, said } = await compile(compiler, files.get(next.name), next.arch)
    const warnings = said.split('\n').filter((line) => /warning|C75\d\d/.test(line))
    if (warnings.length > 0) problems.push(`${next.name} for ${next.arch}: ${warnings.slice(0, 3).join('; ')}`)
    const found = codeRows(elf, next.arch)
    Object.assign(rows, found.rows)
    problems.push(...found.problems)
  }
}
await Promise.all(Array.from({ length: Number(values.jobs) }, lane))

const count = Object.keys(rows).length
if (values.write) {
  const whole = values.arch === architectures && values.only === undefined && !values.changed
  renew('code', rows, { all: whole, compiler: compiler.version })
  renew('ptx', Object.fromEntries(names.flatMap((name) => (ptxOf(name) ? [[name, ptxOf(name)]] : []))), { all: whole })
  console.log(`cuda-kernels: ${count} rows of cuda/ratchet.json renewed`)
} else if (!sameCompiler) {
  console.log(`cuda-kernels: nvcc ${compiler.version}, the ratchet is of ${ratchet.compiler}: not compared`)
} else {
  const { worse, better } = compare('code', rows)
  problems.push(...worse)
  const what = values.changed ? `${names.length} of ${all.length} files changed, ` : ''
  console.log(`cuda-kernels: ${what}${count} kernels, ${worse.length} worse, ${better} better than cuda/ratchet.json`)
}
for (const problem of problems) console.error(`cuda-kernels: ${problem}`)
process.exit(problems.length === 0 ? 0 : 1)
