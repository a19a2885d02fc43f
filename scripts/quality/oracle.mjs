// Model execution against PyTorch: octavo's whole log-softmax at every position of the texts in test/goldens/oracle-texts.json
// (teacher-forced), and its perplexity on all of them as one text, compared with a plain float32 forward pass on the
// dequantised weights (test/scripts/oracle.py). One text's rows at a time are in memory and pass through build/oracle/.
// Exits 1 when a figure misses its bound.
//
//   node scripts/quality/oracle.mjs MODEL.gguf [--python PYTHON] [--threads N] [--backend cpu|reference]
import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { greedySampling, native, segmentMode } from '../../dist/base/native.js'
import { openCheckpoint } from '../../dist/model/checkpoint.js'

const root = fileURLToPath(new URL('../..', import.meta.url))
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    python: { type: 'string', default: 'python3' },
    threads: { type: 'string', default: String(native().cpu().cpus) },
    backend: { type: 'string', default: 'cpu' },
  },
})
const { python } = values
const [path] = positionals
const folder = join(root, 'build/oracle')
const stepTokens = 512
// A margin between the two best logits that int8 activations must not turn over; then agreement, mean KL in nats, perplexity.
const bounds = { margin: 0.5, meanKl: 0.01, perplexity: 0.005 }
// What one expects of overall agreement. Reported beside the figure; the same roundings in PyTorch say how much of a miss is the
// number format itself.
const expectedAgreement = 0.97

function stop(message) {
  console.error(message)
  process.exit(2)
}

function oracle(...args) {
  const { status } = spawnSync(python, [join(root, 'test/scripts/oracle.py'), ...args], {
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  if (status !== 0) stop(`oracle.py ${args[0]} failed (${status})`)
}

if (path === undefined)
  stop('usage: node scripts/quality/oracle.mjs MODEL.gguf [--python PYTHON] [--threads N] [--backend cpu|reference]')
if (spawnSync(python, ['-c', 'import torch, numpy, gguf, tokenizers']).status !== 0)
  stop(`${python} cannot import torch, numpy, gguf and tokenizers: install them, or name another Python with --python`)

mkdirSync(folder, { recursive: true })
oracle('tokens', resolve(path), join(root, 'test/goldens/oracle-texts.json'), join(folder, 'tokens.json'))
const texts = JSON.parse(readFileSync(join(folder, 'tokens.json'), 'utf8'))
const whole = texts.flatMap((text) => text.tokens)

const { desc } = openCheckpoint(resolve(path))
const model = new (native().Model)(desc, values.backend, null)
for (let i = 0; i < model.tensorCount; i++) model.loadTensor(i)
model.finishLoad()
const engine = new (native().Engine)(model, {
  threads: Number(values.threads),
  kvBlocks: Math.ceil(whole.length / 16) + 1,
  maxStepTokens: stepTokens,
  prefixCache: false,
})
const sampler = { ...greedySampling, logprobs: desc.vocabulary, promptLength: 0 }

/** Runs `tokens` through a new sequence in steps; `mode` draws or scores every row and `each(step's rows, logprobs)` takes them. */
function run(tokens, mode, each) {
  const sequence = engine.sequenceCreate('')
  engine.setSampler(sequence, sampler)
  for (let start = 0; start < tokens.length; start += stepTokens) {
    const part = Int32Array.from(tokens.slice(start, start + stepTokens))
    const next = mode === segmentMode.score ? (tokens[start + stepTokens] ?? -1) : -1
    if (!engine.sequenceReserve(sequence, part.length)) throw new Error('the KV pool is too small')
    engine.submit(Int32Array.of(sequence, part.length, part.length, mode, next), 1, part, part.length)
    const logprobs = new Float32Array(part.length)
    each(engine.wait(new Int32Array(part.length), logprobs), logprobs)
  }
  engine.sequenceFree(sequence)
}

const manifest = {
  vocabulary: desc.vocabulary,
  margin: bounds.margin,
  texts: [],
  perplexity: { tokens: whole, logprobs: [] },
}
texts.forEach(({ name, tokens }, index) => {
  const rows = new Float32Array(tokens.length * desc.vocabulary)
  let at = 0
  run(tokens, segmentMode.draw, (count) => {
    for (let row = 0; row < count; row++, at += desc.vocabulary) {
      const top = engine.topLogprobs(row)
      if (top.tokens.length !== desc.vocabulary)
        throw new Error(`${top.tokens.length} log-probabilities of ${desc.vocabulary}`)
      for (let i = 0; i < top.tokens.length; i++) rows[at + top.tokens[i]] = top.logprobs[i]
    }
  })
  if (at !== rows.length) throw new Error(`${at / desc.vocabulary} rows for ${tokens.length} tokens`)
  writeFileSync(join(folder, `${index}.f32`), rows)
  manifest.texts.push({ name, tokens, rows: `${index}.f32` })
})
run(whole, segmentMode.score, (count, logprobs) => manifest.perplexity.logprobs.push(...logprobs.subarray(0, count)))
engine.close()
model.close()
writeFileSync(join(folder, 'manifest.json'), JSON.stringify(manifest))

oracle('compare', resolve(path), folder)
for (const { rows } of manifest.texts) rmSync(join(folder, rows))
const { total, perplexity, texts: compared, format } = JSON.parse(readFileSync(join(folder, 'comparison.json'), 'utf8'))
for (const t of compared)
  console.log(
    `${t.name.padEnd(28)} ${t.agree}/${t.positions} agree, ${t.clear_agree}/${t.clear} clear, mean KL ${(t.kl_sum / t.positions).toExponential(2)}`,
  )
const percent = (share) => `${(100 * share).toFixed(2)}%`
const figures = (t, name) =>
  `argmax agrees at ${percent(t.agreement)}, at ${percent(t.clear_agreement)} of the ${t.clear} with a margin above ${bounds.margin}; ` +
  `mean KL ${t.mean_kl.toExponential(2)}, largest ${t.kl_max.toExponential(2)}; perplexity ${perplexity[name].toFixed(4)}, ` +
  `ratio ${(perplexity[name] / perplexity.oracle).toFixed(5)}`
const failures = [
  total.positions < 2000 && `only ${total.positions} positions`,
  total.clear_agreement < 1 &&
    `argmax differs at a margin above ${bounds.margin}: ${JSON.stringify(compared.flatMap((t) => t.faults.map((f) => ({ text: t.name, ...f }))))}`,
  !(total.mean_kl < bounds.meanKl) && `mean KL not below ${bounds.meanKl}`,
  !(Math.abs(perplexity.octavo / perplexity.oracle - 1) < bounds.perplexity) &&
    `perplexity off by more than ${percent(bounds.perplexity)}`,
].filter(Boolean)
for (const failure of failures) console.error(`FAILED: ${failure}`)
console.log(
  `The same roundings (int8 activations, f16 KV) made in PyTorch, for comparison: ${figures(format.total, 'format')}`,
)
console.log(
  `summary: ${total.positions} positions of ${compared.length} texts, perplexity over ${perplexity.tokens} tokens (oracle ${perplexity.oracle.toFixed(4)}): ${figures(total, 'octavo')}; ` +
    `overall agreement ${total.agreement < expectedAgreement ? 'below' : 'reaches'} the expected ${percent(expectedAgreement)} (format alone: ${percent(format.total.agreement)})`,
)
process.exit(failures.length > 0 ? 1 : 0)
