#!/usr/bin/env node
/**
 * What nvcc makes of the kernels (cuda/kernels) for each architecture, held against cuda/ratchet.json: registers, shared memory and
 * instructions by unit. Exit status 1 if a kernel got worse, is new, or spills, or if ptxas warns (C75xx: asynchronous products that
 * it had to put one behind the other). Another version of nvcc compiles other code: then only spills and warnings count.
 *
 *   node scripts/cuda/kernels.mjs                     every kernel for 80, 86, 89, 90 and 120
 *   --arch 90[,120]   --only linear_decode[,quantise]  these
 *   --changed                                          those whose PTX is not the ratchet's, in the tests' build (build/cuda-tests):
 *                                                      of the same PTX ptxas makes the same code
 *   --write                                            renews the rows of the ratchet, and what PTX they are of
 *   --images FOLDER                                    writes a fat binary of each file there: what the plugin carries
 *   --jobs N                                           compilers at once (1)
 *
 * What was compiled is kept in build/cuda-kernels.
 */
import { spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { findNvcc } from './nvcc.mjs'
import { codeRows, compare, readRatchet, renew } from './ratchet.mjs'

const root = fileURLToPath(new URL('../..', import.meta.url))
const kept = join(root, 'build/cuda-kernels')
const images = join(root, 'build/cuda-tests/cuda/tests/driver/plugin')
const flags = ['-std=c++17', '-O3', '--fmad=false', '-Xptxas', '-v', '-Icuda', '-Icpp']
const architectures = '80,86,89,90,120'

function fail(message) {
  console.error(`kernels: ${message}`)
  process.exit(2)
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

/** nvcc makes names of what a file has for itself out of where the checkout is. */
const placeInNames = /(?<=_INTERNAL_|_GLOBAL__N__)[0-9a-f]{8}/g

/** What the PTX of a kernel file is in the tests' build, as a hash; undefined: not built. */
function ptxOf(name) {
  const image = join(images, `${name}.fatbin`)
  return existsSync(image) ? hash(readFileSync(image, 'latin1').replace(placeInNames, '')) : undefined
}

const hash = (...texts) => createHash('sha256').update(texts.join()).digest('hex').slice(0, 16)

function nvcc(compiler, source, ...args) {
  return new Promise((resolve) => {
    const child = spawn(compiler.path, [...flags, source, ...args], { cwd: root })
    let output = ''
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => (output += text))
    child.on('close', (code) => (code === 0 ? resolve(output) : fail(`${source}: ${output}`)))
  })
}

/** { elf, said } of a kernel file for an architecture: its PTX is made where sources changed, machine code where the PTX did. */
async function compile(compiler, source, arch) {
  const at = (key, kind) => join(kept, `${basename(source, '.cu')}.${arch}.${key}.${kind}`)
  const key = at(hash(compiler.version, flags, withHeaders(source)), 'key')
  if (!existsSync(key)) {
    const ptx = at('new', 'ptx')
    await nvcc(compiler, source, '-ptx', `-arch=compute_${arch}`, '-o', ptx)
    const of = hash(compiler.version, flags, readFileSync(ptx, 'utf8'))
    if (!existsSync(at(of, 'txt'))) {
      const said = await nvcc(compiler, ptx, '-cubin', `-arch=sm_${arch}`, '-o', at(of, 'cubin'))
      writeFileSync(at(of, 'txt'), said)
    }
    renameSync(ptx, at(of, 'ptx'))
    writeFileSync(key, of)
  }
  const of = readFileSync(key, 'utf8')
  const [cubin, ptx] = ['cubin', 'ptx'].map((kind) => at(of, kind))
  return { cubin, ptx, elf: readFileSync(cubin), said: readFileSync(at(of, 'txt'), 'utf8') }
}

/** Machine code for all of `made`, and PTX of 90 for devices to come, compressed (docs/cuda.md, "What the plugin weighs"). */
function writeImage(compiler, name, made) {
  const parts = made.map(({ arch, cubin }) => `--image3=kind=elf,sm=${arch},file=${cubin}`)
  const { ptx } = made.find(({ arch }) => arch === '90')
  const args = ['-64', '--compress-mode=size', `--create=${join(values.images, `${name}.fatbin`)}`, ...parts]
  const tool = join(dirname(compiler.path), 'fatbinary')
  const { status, stderr } = spawnSync(tool, [...args, `--image3=kind=ptx,sm=90,file=${ptx}`], { encoding: 'utf8' })
  if (status !== 0) fail(`fatbinary: ${stderr}`)
}

const { values } = parseArgs({
  options: {
    arch: { type: 'string', default: architectures },
    only: { type: 'string' },
    jobs: { type: 'string', default: '1' },
    changed: { type: 'boolean', default: false },
    images: { type: 'string' },
    write: { type: 'boolean', default: false },
  },
})
const compiler = findNvcc() ?? fail('no nvcc (PATH, CUDA_HOME)')
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
  console.log(`kernels: nvcc ${compiler.version}, the ratchet is of ${ratchet.compiler}: not compared`)
  process.exit(0)
}
const names = values.changed ? only.filter((name) => ptxOf(name) !== ratchet.ptx[name]) : only

mkdirSync(kept, { recursive: true })
const queue = values.arch.split(',').flatMap((arch) => names.map((name) => ({ name, arch })))
const rows = {}
const problems = []
const made = new Map(names.map((name) => [name, []]))
async function lane() {
  for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
    const { elf, said, cubin, ptx } = await compile(compiler, files.get(next.name), next.arch)
    made.get(next.name).push({ arch: next.arch, cubin, ptx })
    const warnings = said.split('\n').filter((line) => /warning|C75\d\d/.test(line))
    if (warnings.length > 0) problems.push(`${next.name} for ${next.arch}: ${warnings.slice(0, 3).join('; ')}`)
    const found = codeRows(elf, next.arch)
    Object.assign(rows, found.rows)
    problems.push(...found.problems)
  }
}
await Promise.all(Array.from({ length: Number(values.jobs) }, lane))
if (values.images !== undefined) {
  mkdirSync(values.images, { recursive: true })
  for (const [name, parts] of made) writeImage(compiler, name, parts)
}

const count = Object.keys(rows).length
if (values.write) {
  const whole = values.arch === architectures && values.only === undefined && !values.changed
  renew('code', rows, { all: whole, compiler: compiler.version })
  renew('ptx', Object.fromEntries(names.flatMap((name) => (ptxOf(name) ? [[name, ptxOf(name)]] : []))), { all: whole })
  console.log(`kernels: ${count} rows of cuda/ratchet.json renewed`)
} else if (!sameCompiler) {
  console.log(`kernels: nvcc ${compiler.version}, the ratchet is of ${ratchet.compiler}: not compared`)
} else {
  const { worse, better } = compare('code', rows)
  problems.push(...worse)
  const what = values.changed ? `${names.length} of ${all.length} files changed, ` : ''
  console.log(`kernels: ${what}${count} kernels, ${worse.length} worse, ${better} better than cuda/ratchet.json`)
}
for (const problem of problems) console.error(`kernels: ${problem}`)
process.exit(problems.length === 0 ? 0 : 1)
