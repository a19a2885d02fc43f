// The full counts behind `npm test`: sanitizers, other instruction sets under qemu, other Node versions, the invariance mixes,
// the PyTorch oracle. Runs every check, writes docs/verification.md (commit, machine, counts, time), exits 1 if any failed.
// A check whose tool or model is not on this machine is listed as skipped, with the reason.
//
//   node scripts/test-deep.mjs [--only NAME[,NAME]] [--python PYTHON]
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs, stripVTControlCharacters } from 'node:util'
import { findNvcc } from './cuda/nvcc.mjs'
import { nodeBinary } from './node-binary.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const { values } = parseArgs({ options: { only: { type: 'string' }, python: { type: 'string', default: 'python3' } } })
const { python } = values
const stories = join(root, '../shared/models/octavo-stories-f16.gguf')
const smol = join(root, '../shared/models/SmolLM2-135M-Instruct.Q4_1.gguf')
const has = (command) => spawnSync('which', [command]).status === 0
const hasTorch = () => spawnSync(python, ['-c', 'import torch, gguf']).status === 0
const hasJinja = () => spawnSync(python, ['-c', 'import jinja2; assert jinja2.__version__ == "3.1.6"']).status === 0
const needsSmol = () => (existsSync(smol) ? '' : 'the SmolLM2 model is not beside the project')
const needsTorch = () => needsSmol() || (hasTorch() ? '' : `${python} has no torch and gguf (see --python)`)
const needsPeer = () => (has('g++') && has('git') ? '' : 'llama.cpp needs g++ and git')
const needsQemu = (command) => () => (has(command) ? '' : `${command} is not installed`)
const needsNvcc = () => (findNvcc() ? '' : 'nvcc is not installed')
const fakeGpu = join(root, 'build/cuda-tests/cuda/tests/driver/octavo_cuda.so')
const needsFakeGpu = () =>
  existsSync(fakeGpu) ? '' : 'the CUDA plugin of the tests is not built: npm run test:cuda, with nvcc'
const isX64 = () => (process.arch === 'x64' ? '' : 'needs an x86-64 machine')

const vitest = (version) => () => [nodeBinary(version), 'node_modules/vitest/vitest.mjs', 'run']

/** What depends on the instruction set: the rest would only test the emulator. */
const operations = '-tc=*linear*,*attention*,*norm*,*gate*,*rope*,*embed*,*kv_write*,*CPU backend*'

/** Every collection is a full one in every thread: what is measured is what is kept. */
const keptOnly = ['--expose-gc', '--gc-global', '--max-semi-space-size=1']

const checks = [
  {
    name: 'cpp-full',
    deep: true,
    what: 'doctest binary, every shape and every count',
    run: () => ['node', 'scripts/test-cpp.mjs', '--sanitize', 'none', '--deep'],
  },
  {
    name: 'cpp-asan-ubsan',
    what: 'doctest binary, sample, ASan + UBSan',
    run: () => ['node', 'scripts/test-cpp.mjs', '--own-kernels'],
  },
  {
    name: 'hostile-asan',
    deep: true,
    what: 'damaged GGUF files, random block manager operations and sampler rows, full counts, ASan + UBSan',
    run: () => ['node', 'scripts/test-cpp.mjs', '--own-kernels', '--deep', '--', '-tc=*gguf*,*kv*,*sampler*'],
  },
  {
    name: 'fuzz',
    what: 'libFuzzer on GGUF files, model descriptions and compiled grammars, half an hour, ASan + UBSan; lines of the reader that it reaches',
    skip: () => (has('clang++-14') || has('clang++') ? '' : 'clang is not installed'),
    run: () => ['node', 'scripts/fuzz.mjs', '--seconds', '1800', '--coverage'],
  },
  {
    name: 'damage-stories',
    what: 'stories cut at every 1% and with 2,000 bytes of its header changed',
    run: () => ['node', 'test/deep/damage.mjs', 'models/octavo-stories-q4_0.gguf'],
  },
  {
    name: 'damage-smollm2',
    what: 'SmolLM2-135M cut at every 1% and with 2,000 bytes of its header changed',
    skip: needsSmol,
    run: () => ['node', 'test/deep/damage.mjs', smol],
  },
  {
    name: 'hostile-text',
    deep: true,
    what: 'tokenizer files with random changes, chat templates that misbehave, full counts',
    run: () => [
      'node',
      'node_modules/vitest/vitest.mjs',
      'run',
      'test/hostile-tokenizer.test.ts',
      'test/hostile-template.test.ts',
    ],
  },
  {
    name: 'sampled',
    deep: true,
    what: 'what npm test takes a sample of: mixes of the scheduler, combinations of the controller of guesses, schemas against ajv, answers with calls however they are cut, kinds of speculation, damaged session files, answers cut at random, full counts',
    run: () => [
      ...['node', 'node_modules/vitest/vitest.mjs', 'run', 'test/scheduler.test.ts', 'test/scheduler-mix.test.ts'],
      ...['test/draft-controller.test.ts', 'test/schema-check.test.ts', 'test/tool-calls.test.ts'],
      ...['test/speculation.test.ts', 'test/session-file.test.ts', 'test/structured.test.ts'],
      ...['test/text-and-ids.test.ts'],
    ],
  },
  {
    name: 'jinja',
    what: '20,000 random templates with random data against Jinja2, every string marked and none',
    skip: () => (hasJinja() ? '' : `${python} has no jinja2 3.1.6`),
    run: () => ['node', 'test/deep/jinja.mjs', '--python', python],
  },
  {
    name: 'conversations',
    what: '1,000 random conversations on 13 templates and 4 vocabularies: every prompt of a session against Jinja2 on its history, where control tokens stand, what is computed',
    skip: () => (hasJinja() ? '' : `${python} has no jinja2 3.1.6`),
    run: () => ['node', '--import', 'tsx', 'test/deep/conversations.ts', '--python', python],
  },
  {
    name: 'tokenizers',
    what: 'token ids against llama.cpp: every pre-tokenizer, SentencePiece tokens of equal scores, 4,000 random texts each',
    run: () => ['node', 'test/deep/tokenizers.mjs'],
  },
  {
    name: 'cpp-tsan',
    what: 'doctest binary under TSan',
    run: () => ['node', 'scripts/test-cpp.mjs', '--sanitize', 'thread'],
  },
  {
    name: 'qemu-baseline',
    what: 'operations and model, x86-64-v2 kernels (qemu Nehalem)',
    skip: () => isX64() || needsQemu('qemu-x86_64')(),
    run: () => ['node', 'scripts/test-cpp.mjs', '--sanitize', 'none', '--qemu-cpu', 'Nehalem', '--', operations],
  },
  {
    name: 'qemu-avx2',
    what: 'operations and model, AVX2 kernels (qemu Haswell)',
    skip: () => isX64() || needsQemu('qemu-x86_64')(),
    run: () => ['node', 'scripts/test-cpp.mjs', '--sanitize', 'none', '--qemu-cpu', 'Haswell', '--', operations],
  },
  {
    name: 'qemu-arm64',
    what: 'operations and model, arm64 kernels: int8 matrix products, dot products, baseline (qemu-aarch64, CPU max)',
    skip: () => needsQemu('qemu-aarch64')() || needsQemu('aarch64-linux-gnu-g++')(),
    run: () => ['node', 'scripts/test-cpp.mjs', '--sanitize', 'none', '--arch', 'arm64', '--', operations],
  },
  {
    name: 'qemu-arm64-dot',
    what: 'the same on a CPU without int8 matrix products (qemu neoverse-n1)',
    skip: () => needsQemu('qemu-aarch64')() || needsQemu('aarch64-linux-gnu-g++')(),
    run: () => [
      ...['node', 'scripts/test-cpp.mjs', '--sanitize', 'none', '--arch', 'arm64', '--qemu-cpu', 'neoverse-n1'],
      ...['--', operations],
    ],
  },
  {
    name: 'cuda',
    what: 'CUDA kernels on the emulator, plain and checked: every shape, format and type of the cache; under the checker in each of 12 schedules every format in every kernel of linear, and a fourth of the scenes of attention and the cache that has every type with every head size and every grouping, and every length; as PTX of compute_80 in the plugin on the fake driver, whose calls fail one by one; answers there',
    run: () => ['node', 'scripts/test-cuda.mjs', '--deep'],
  },
  ...['89', '90'].map((arch) => ({
    name: `cuda-ptx-${arch}`,
    what: `every shape, format and type of the cache as PTX of compute_${arch}; steps, graphs, runs`,
    skip: needsNvcc,
    // Calls that fail, and the interpreter's instructions, are the same ones.
    run: () => ['node', 'scripts/test-cuda.mjs', '--deep', '--ptx', arch, '--', '-tce=*fails*,*lost*,ptx:*'],
  })),
  {
    name: 'cuda-kernels',
    what: 'machine code of every kernel for 8.0, 8.6, 8.9, 9.0 and 12.0: no spills, no warnings of ptxas, nothing worse than cuda/ratchet.json',
    skip: needsNvcc,
    run: () => ['node', 'scripts/cuda/kernels.mjs'],
  },
  {
    name: 'cuda-planted-faults',
    what: 'planted faults in kernels, launches, the plugin and its limits, each noticed by an execution of the tests (docs/cuda-faults.md)',
    skip: needsNvcc,
    run: () => ['node', 'cuda/tests/faults/run.mjs'],
  },
  {
    name: 'package',
    what: 'the npm package: made, checked, installed with no compiler on PATH, run on Node 20, 22, 24 and arm64 (qemu)',
    skip: () => isX64() || needsQemu('qemu-aarch64')() || needsQemu('aarch64-linux-gnu-g++')(),
    run: () => ['node', 'scripts/package.mjs'],
  },
  {
    name: 'cuda-package',
    what: 'octavo-cuda: made, checked, installed beside octavo, stories computed on the fake driver, opened on arm64 (qemu)',
    skip: () => needsNvcc() || isX64() || needsQemu('aarch64-linux-gnu-g++')(),
    run: () => ['node', 'scripts/cuda/package.mjs'],
  },
  {
    name: 'asan-node',
    what: 'the suites of the public API on Node with an addon under ASan + UBSan',
    run: () => ['node', 'scripts/test-asan-node.mjs'],
  },
  {
    name: 'memory',
    what: '40,000 requests: growth of the resident set over the last 32,000 (its noise is some 3 MiB)',
    run: () => ['node', ...keptOnly, 'test/deep/memory.mjs', '--requests', '40000', '--tokens', '4'],
  },
  {
    name: 'aborts',
    what: '10,000 requests given up at random moments: blocks, handles, resident set',
    run: () => ['node', ...keptOnly, 'test/deep/aborts.mjs', '--requests', '10000'],
  },
  {
    name: 'draft-allocations',
    what: 'bytes of JavaScript heap that a token takes with guesses and without: no more with them',
    run: () => ['node', 'test/deep/draft-allocations.mjs'],
  },
  {
    name: 'load-memory',
    what: 'memory of a loaded engine against what inspect says (5%), and the peak while loading (1.15 times)',
    run: () => ['node', 'test/deep/load-memory.mjs', ...(existsSync(smol) ? [smol] : [])],
  },
  { name: 'node-20', what: 'vitest on Node 20', run: vitest(20) },
  { name: 'node-22', what: 'vitest on Node 22', run: vitest(22) },
  { name: 'node-24', what: 'vitest on Node 24', run: vitest(24) },
  {
    name: 'invariance-stories',
    what: '160 random mixes on stories against each request alone',
    run: () => ['node', 'test/deep/invariance.mjs', '--model', 'stories', '--mixes', '160', '--seed', '1'],
  },
  {
    name: 'invariance-smollm2',
    what: '40 random mixes on SmolLM2-135M against each request alone',
    skip: needsSmol,
    run: () => ['node', 'test/deep/invariance.mjs', '--model', smol, '--mixes', '40', '--seed', '2'],
  },
  {
    name: 'speculation-stories',
    what: '500 prompts x 5 kinds of sampling x 8 kinds of speculation on stories, batches to 16, preempted, killed: the answers of none',
    run: () => {
      const draft = ['--draft', 'models/octavo-stories-draft-q4_0.gguf']
      return ['node', 'test/deep/speculation.mjs', '--model', 'stories', ...draft, '--prompts', '500', '--seed', '1']
    },
  },
  {
    name: 'speculation-smollm2',
    what: '12 prompts x 5 kinds of sampling x 5 kinds of speculation on SmolLM2-135M, likewise',
    skip: needsSmol,
    run: () => ['node', 'test/deep/speculation.mjs', '--model', smol, '--prompts', '12', '--seed', '2'],
  },
  {
    name: 'grammar-random',
    deep: true,
    what: '500 random schemas: random walks under their masks, changed answers and masks against ajv and stepping',
    run: () => ['node', 'node_modules/vitest/vitest.mjs', 'run', 'test/grammar-random.test.ts'],
  },
  {
    name: 'typed-answers-smollm2',
    what: 'SmolLM2-135M at temperature 1.5 under 500 random schemas, twice each: finished answers against ajv',
    skip: needsSmol,
    run: () => ['node', '--import', 'tsx', 'test/deep/typed-answers.ts', '--model', smol],
  },
  {
    name: 'typed-answers-random',
    what: 'random weights, likewise',
    run: () => ['node', '--import', 'tsx', 'test/deep/typed-answers.ts', '--model', 'synthetic:smollm2-135m'],
  },
  {
    name: 'oracle-smollm2',
    what: 'SmolLM2-135M against PyTorch float32',
    skip: needsTorch,
    run: () => ['node', 'scripts/quality/oracle.mjs', smol, '--python', python],
  },
  {
    name: 'oracle-formats',
    what: 'every weight format and the mix Q4_K_M end to end against PyTorch on the same file',
    skip: () =>
      (existsSync(stories) ? '' : 'octavo-stories-f16.gguf is not beside this checkout') ||
      (hasTorch() ? '' : `${python} has no torch and gguf (see --python)`),
    run: () => ['node', 'scripts/quality/oracle-formats.mjs', stories, '--python', python],
  },
  {
    name: 'float-distance',
    what: 'octavo and llama.cpp against float32 on the same weights, every weight format: octavo no farther away',
    skip: () => (existsSync(stories) ? needsPeer() : 'octavo-stories-f16.gguf is not beside this checkout'),
    run: () => ['node', 'scripts/quality/float-distance.mjs', stories],
  },
  {
    name: 'float-distance-smollm2',
    what: 'the same on SmolLM2-135M Q4_1 as it is',
    skip: () => needsSmol() || needsPeer(),
    run: () => ['node', 'scripts/quality/float-distance.mjs', smol, '--types', 'stored'],
  },
  {
    name: 'kill-9',
    what: 'the isolated engine killed 120 times in mid-stream: answers as if undisturbed, nothing leaks',
    run: () => ['node', 'test/deep/kill.mjs', '--kills', '120', '--seed', '1'],
  },
  {
    name: 'service-stories',
    what: '10,000 random requests of several tenants, with aborts, deadlines, slow readers, samples and forks, against each alone',
    run: () => ['node', 'test/deep/service.mjs', '--requests', '10000', '--seed', '1'],
  },
  {
    name: 'server-hostile',
    deep: true,
    what: '10,000 requests that nobody should send to octavo/server: statuses by design, nothing left over, others undisturbed; its engine killed under 32 streams',
    run: () => ['node', 'node_modules/vitest/vitest.mjs', 'run', 'test/server-hostile.test.ts'],
  },
  {
    name: 'server-clients',
    what: 'octavo/server under @langchain/openai, @ai-sdk/openai for ai 6 and 7, an OTLP collector, Prometheus',
    run: () => ['node', 'test/deep/server-clients.mjs'],
  },
  {
    name: 'cuda-requests',
    what: '50 random requests on the fake GPU, batched, in chunks, preempted, guessed for, and sessions carried over, against each on the CPU',
    skip: needsFakeGpu,
    run: () => ['node', '--import', 'tsx', 'test/deep/cuda-requests.ts', '--requests', '50', '--seed', '1'],
  },
  {
    name: 'cuda-failing-calls',
    what: "each of the driver's calls fails once, from a load to a close, seen from Node: codes, nothing left over, others unharmed",
    skip: needsFakeGpu,
    run: () => ['node', '--import', 'tsx', 'test/deep/cuda-faults.ts'],
  },
  {
    name: 'gpu-rehearsal',
    what: 'the scripts for a GPU (bench/gpu) on the fake driver, tiny sizes',
    skip: needsFakeGpu,
    run: () => ['node', 'bench/gpu/rehearse.mjs'],
  },
  {
    name: 'stall',
    what: 'a prompt of 4,000 tokens among 16 streams: time between their tokens',
    run: () => ['node', 'bench/load/stall.mjs'],
  },
  {
    name: 'shared-prefix',
    what: '64 clients with a system prompt of 1,000 tokens, prefix cache on and off',
    run: () => ['node', 'bench/load/prefix.mjs'],
  },
  {
    name: 'fairness',
    what: 'time to first token beside a tenant that floods ten times its share',
    run: () => ['node', 'bench/load/fairness.mjs'],
  },
  {
    name: 'busy-core',
    what: 'decode with two threads while another program keeps one of the cores busy, against one thread undisturbed (0.8)',
    skip: () => (has('taskset') ? '' : 'taskset is not installed'),
    run: () => ['node', 'bench/busy-core.mjs'],
  },
  {
    name: 'kv-quality-smollm2',
    what: 'perplexity and needles with the KV cache in bf16, fp8 and int8 against f16 on SmolLM2-135M (limit 0.3%)',
    skip: needsTorch,
    run: () => ['node', 'scripts/quality/kv-quality.mjs', smol, '--python', python],
  },
  {
    name: 'jammed-main-thread',
    what: 'decode while the main thread is busy half of the time',
    skip: needsSmol,
    run: () => ['node', 'test/deep/jam.mjs', smol],
  },
]

/** What a check says of its counts: doctest's, vitest's or its own last lines. */
function summary(output) {
  const lines = stripVTControlCharacters(output)
    .split('\n')
    .map((line) => line.trim())
  const known = lines.filter((line) =>
    /^(\[doctest\] (test cases|assertions)|Test Files|Tests {2}|summary:)/.test(line),
  )
  return known.length > 0
    ? known
        .join('; ')
        .replace(/\[doctest\] /g, '')
        .replace(/\s+/g, ' ')
    : (lines.filter(Boolean).at(-1) ?? '')
}

function runCheck(check) {
  const reason = check.skip?.() ?? ''
  if (reason) return { ...check, status: 'skipped', seconds: 0, counts: reason }
  const started = Date.now()
  const [command, ...args] = check.run()
  console.log(`\n== ${check.name}: ${check.what}`)
  const { status, stdout, stderr } = spawnSync(command, args, {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    env: check.deep ? { ...process.env, OCTAVO_DEEP: '1' } : process.env,
  })
  const output = `${stdout ?? ''}\n${stderr ?? ''}`
  const counts = summary(stdout ?? '')
  console.log(status === 0 ? counts : output.slice(-6000))
  return { ...check, status: status === 0 ? 'passed' : 'FAILED', seconds: (Date.now() - started) / 1000, counts }
}

/** The page is what is known: a run changes the rows it ran, each with its commit and its machine. */
const page = join(root, 'docs/verification.md')
const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { cwd: root, encoding: 'utf8' }).trim()
const machine = `${cpus().length} x ${cpus()[0]?.model.trim()}, Node ${process.version}`

/** Rows by name. Counts hold no '|' (see write). */
function read() {
  const rows = existsSync(page) ? readFileSync(page, 'utf8').matchAll(/^\| ([a-z0-9-]+) \|(.*)\|$/gm) : []
  return new Map(
    Array.from(rows, ([, name, rest]) => {
      const [, status, counts, seconds, ...where] = rest.split('|').map((cell) => cell.trim())
      return [name, { status, counts, seconds, commit: where[0] ?? '', machine: where[1] ?? '' }]
    }),
  )
}

/** A check that cannot run here keeps what an earlier run said. */
function remember(rows, { name, status, counts, seconds }) {
  const before = rows.get(name)?.status
  if (status === 'skipped' && (before === 'passed' || before === 'FAILED')) return
  rows.set(name, { status, counts: counts.replace(/\|/g, '/'), seconds: seconds.toFixed(0), commit, machine })
}

const neverOnHardware = `**Never on hardware.** No GPU has run any of the CUDA half: no kernel of cuda/kernels, not the plugin on NVIDIA's driver, no graph, no copy, no
step, no load, no script of bench/gpu. Not one of its speeds is known. The rows whose names begin with \`cuda\` and \`gpu-rehearsal\` ran on a CPU: kernels
compiled by g++ on cuda/emulator, nvcc's PTX on the interpreter of cuda/ptx, the plugin on the driver of cuda/fake. What ptxas makes of the PTX
has been compiled for 8.0, 8.6, 8.9, 9.0 and 12.0, and counted, never executed. What that leaves open is in [cuda.md](cuda.md#what-this-cannot-show).
Matrix registers (AMX) ran on one Intel CPU; arm64 only under qemu.`

function write(rows) {
  const none = { status: 'not run', counts: '', seconds: '', commit: '', machine: '' }
  const lines = checks.map(({ name, what }) => {
    const { status, counts, seconds, commit, machine } = rows.get(name) ?? none
    return `| ${name} | ${what} | ${status} | ${counts} | ${seconds} | ${commit} | ${machine} |`
  })
  const head =
    'The full counts (`npm run test:deep`). Each row names the commit and the machine it ran on; what says nothing of its machine ran on several.'
  const titles = '| check | what | result | counts | seconds | commit | machine |'
  const text = `# Verification\n\n${head}\n\n${neverOnHardware}\n\n${titles}\n|${' --- |'.repeat(7)}\n${lines.join('\n')}\n`
  writeFileSync(page, text)
  return text
}

const only = values.only?.split(',') ?? checks.map(({ name }) => name)
const unknown = only.filter((name) => !checks.some((check) => check.name === name))
if (unknown.length > 0) {
  console.error(`test-deep: no check ${unknown.join(', ')}; there are ${checks.map(({ name }) => name).join(', ')}`)
  process.exit(2)
}
// What is checked is this source, not what was built of an earlier one.
execFileSync('npm', ['run', '--silent', 'build'], { cwd: root, stdio: ['ignore', 'ignore', 'inherit'] })
const rows = read()
const statuses = []
for (const check of checks.filter(({ name }) => only.includes(name))) {
  const result = runCheck(check)
  statuses.push(result.status)
  remember(rows, result)
  write(rows)
}
console.log(write(rows))
const count = (status) => statuses.filter((one) => one === status).length
console.log(`${count('passed')} passed, ${count('FAILED')} failed, ${count('skipped')} skipped`)
process.exit(count('FAILED') > 0 ? 1 : 0)
