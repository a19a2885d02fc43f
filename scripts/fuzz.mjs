#!/usr/bin/env node
/**
 * Fuzzes the C++ that reads model files and compiled grammars, with libFuzzer under ASan and UBSan (needs clang 14 or later), from the corpus in
 * cpp/fuzz/corpus on. Exits 1 when an input breaks a promise; that input is kept in build/fuzz/findings, and belongs into the
 * corpus once what it found is repaired.
 *
 *   node scripts/fuzz.mjs                 five minutes
 *   --seconds 1800                        longer: three fifths for GGUF files, a fifth each for model descriptions and grammars
 *   --only grammar                       one of them, for all of the time
 *   --coverage                            also: lines of cpp/files/gguf.cpp that the corpus and what was found reach; fails below 90%
 *   --minimise                            writes what adds coverage, smallest inputs first, back into cpp/fuzz/corpus
 *   --clang clang++-14
 */
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const folder = join(root, 'build/fuzz')
const leastCoverage = 90
const measured = [
  'cpp/files/gguf.cpp',
  'cpp/files/quant.cpp',
  'cpp/cpu/linear/weight.cpp',
  'cpp/model/model.cpp',
  'cpp/grammar/program.cpp',
  'cpp/grammar/automaton.cpp',
]
/** The largest input that minimising takes into the repository. */
const maxCorpusBytes = 1024
const every = [
  { name: 'gguf', share: 0.6, options: ['-max_len=16384', `-dict=${join(root, 'cpp/fuzz/gguf.dict')}`] },
  { name: 'model', share: 0.2, options: ['-max_len=2048'] },
  { name: 'grammar', share: 0.2, options: ['-max_len=16384', '-timeout=60'] },
]

function fail(message) {
  console.error(`fuzz: ${message}`)
  process.exit(1)
}

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '300' },
    only: { type: 'string' },
    coverage: { type: 'boolean', default: false },
    minimise: { type: 'boolean', default: false },
    clang: { type: 'string' },
  },
})
const targets =
  values.only === undefined
    ? every
    : every.filter(({ name }) => name === values.only).map((one) => ({ ...one, share: 1 }))
if (targets.length === 0)
  fail(`--only: expected one of ${every.map(({ name }) => name).join(', ')}, got ${values.only}`)
const seconds = Number(values.seconds)
if (!Number.isInteger(seconds) || seconds < 0) fail(`--seconds: expected whole seconds, got ${values.seconds}`)

const has = (command) => spawnSync(command, ['--version'], { stdio: 'ignore' }).error === undefined

/** A tool of the same version as the compiler. */
const suffix = (
  values.clang ??
  ['clang++-14', 'clang++-15', 'clang++-16', 'clang++-17', 'clang++-18', 'clang++-19', 'clang++'].find(has) ??
  fail('clang is missing; on Debian or Ubuntu: apt-get install clang')
).replace(/^.*clang\+\+/, '')
const tool = (name) => `${name}${suffix}`

function run(command, args, options = {}) {
  return spawnSync(command, args, { cwd: root, encoding: 'utf8', maxBuffer: 1 << 28, ...options })
}

function build(name, definitions) {
  const place = join(folder, name)
  const fresh = existsSync(join(place, 'CMakeCache.txt')) ? [] : ['-G', has('ninja') ? 'Ninja' : 'Unix Makefiles']
  const configure = [
    '-S',
    root,
    '-B',
    place,
    ...fresh,
    `-DCMAKE_CXX_COMPILER=${tool('clang++')}`,
    '-DCMAKE_BUILD_TYPE=Release',
  ]
  const steps = [
    [...configure, '-DOCTAVO_FUZZ=ON', ...definitions],
    [
      '--build',
      place,
      '-j',
      String(availableParallelism()),
      '--target',
      ...targets.map(({ name }) => `octavo_fuzz_${name}`),
    ],
  ]
  for (const args of steps) {
    const { status, stdout, stderr } = run('cmake', args)
    if (status !== 0) fail(`cmake failed:\n${`${stdout}\n${stderr}`.slice(-4000)}`)
  }
  return place
}

const corpusOf = (name) => join(root, 'cpp/fuzz/corpus', name)
const foundOf = (name) => join(folder, 'found', name)
const findings = join(folder, 'findings')

/** What libFuzzer says at its end: executions, seconds, corpus. */
function fuzz(place, { name, share, options }) {
  mkdirSync(foundOf(name), { recursive: true })
  mkdirSync(findings, { recursive: true })
  const before = new Set(readdirSync(findings))
  const started = performance.now()
  const limits = [
    '-timeout=150',
    '-report_slow_units=100',
    '-rss_limit_mb=1500',
    '-malloc_limit_mb=600',
    '-print_final_stats=1',
  ]
  const time = seconds === 0 ? ['-runs=0'] : [`-max_total_time=${Math.max(1, Math.round(seconds * share))}`]
  const args = [...limits, ...options, ...time, `-artifact_prefix=${findings}/${name}-`, foundOf(name), corpusOf(name)]
  const { status, stderr } = run(join(place, `octavo_fuzz_${name}`), args, {
    env: { ...process.env, ASAN_OPTIONS: 'allocator_may_return_null=1', UBSAN_OPTIONS: 'print_stacktrace=1' },
  })
  const fresh = readdirSync(findings).filter((file) => file.startsWith(`${name}-`) && !before.has(file))
  if (status !== 0) console.log(stderr.slice(-6000))
  for (const file of fresh) console.log(`finding: ${join(findings, file)}`)
  const executions = /stat::number_of_executed_units: *(\d+)/.exec(stderr)?.[1] ?? '0'
  const took = (performance.now() - started) / 1000
  return { name, ok: status === 0, executions: Number(executions), seconds: Math.round(took) }
}

/** Percent of lines of a source file that the corpus and all that was found reach. */
function coverage() {
  const place = build('coverage', ['-DOCTAVO_FUZZ_COVERAGE=ON'])
  const profiles = targets.map(({ name }) => {
    const raw = join(place, `${name}.profraw`)
    const folders = [corpusOf(name), foundOf(name)].filter(existsSync)
    const { status, stderr } = run(join(place, `octavo_fuzz_${name}`), ['-runs=0', ...folders], {
      env: { ...process.env, LLVM_PROFILE_FILE: raw },
    })
    if (status !== 0) fail(`the corpus does not run:\n${stderr.slice(-3000)}`)
    return raw
  })
  const merged = join(place, 'merged.profdata')
  const merge = run(tool('llvm-profdata'), ['merge', '-sparse', ...profiles, '-o', merged])
  if (merge.status !== 0) fail(`llvm-profdata: ${merge.stderr}`)
  const objects = targets.flatMap(({ name }) => ['-object', join(place, `octavo_fuzz_${name}`)])
  const report = run(tool('llvm-cov'), ['export', '-summary-only', '-instr-profile', merged, ...objects.slice(1)])
  if (report.status !== 0) fail(`llvm-cov: ${report.stderr}`)
  const { files } = JSON.parse(report.stdout).data[0]
  return files
    .map(({ filename, summary }) => ({ path: relative(root, resolve(filename)), ...summary.lines }))
    .filter(({ path }) => measured.includes(path))
}

/** The smallest inputs that together reach what the corpus and the finds reach; those made by hand stay. */
function minimise(place, { name }) {
  const merged = mkdtempSync(join(folder, 'merge-'))
  const before = readdirSync(corpusOf(name)).length
  const args = ['-merge=1', `-max_len=${maxCorpusBytes}`, merged, corpusOf(name), foundOf(name)]
  const { status, stderr } = run(join(place, `octavo_fuzz_${name}`), args)
  if (status !== 0) fail(`merging the corpus failed:\n${stderr.slice(-3000)}`)
  cpSync(merged, corpusOf(name), { recursive: true, force: false })
  rmSync(merged, { recursive: true })
  console.log(`${name}: ${readdirSync(corpusOf(name)).length} files in the corpus, ${before} before`)
}

const place = build('asan', ['-DOCTAVO_SANITIZE=address,undefined'])
const results = targets.map((target) => fuzz(place, target))
if (values.minimise) for (const target of targets) minimise(place, target)
const parts = results.map(({ name, executions, seconds: took }) => `${name} ${executions} executions in ${took} s`)
let reached = !values.coverage
if (values.coverage) {
  for (const { path, covered, count, percent } of coverage()) {
    parts.push(`${path} ${covered}/${count} lines (${percent.toFixed(1)}%)`)
    if (path === 'cpp/files/gguf.cpp') reached = percent >= leastCoverage
  }
}
const ok = results.every((result) => result.ok)
console.log(
  `summary: ${parts.join('; ')}; ${ok ? 'no finding' : 'FINDINGS'}${reached ? '' : `; the reader is below ${leastCoverage}%`}`,
)
process.exit(ok && reached ? 0 : 1)
