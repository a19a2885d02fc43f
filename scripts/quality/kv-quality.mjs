// What a type of the KV cache costs in quality, against f16 on the same model. Perplexity: over the texts of
// test/goldens/oracle-texts.json and over texts that the same weights wrote in PyTorch's float32 at temperature 1
// (test/scripts/oracle_write.py), which favour no type. Beside it the perplexity over texts that octavo wrote with f16: there
// the change is a KL divergence, and any other rounding, bf16's as well, pays for not being the writer. Needles: numbers of
// four digits at the beginning of a prompt of some 1,600 tokens that a greedy answer has to give back; a model of 135M
// parameters finds most of them. Exits 1 when a type's perplexity is more than 0.3% above that of f16 or when it finds fewer.
//
//   node scripts/quality/kv-quality.mjs MODEL.gguf [--threads N] [--python PYTHON]
import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { Engine } from 'octavo'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { threads: { type: 'string' }, python: { type: 'string', default: 'python3' } },
})
const { python } = values
const [model] = positionals
const threads = values.threads === undefined ? 'auto' : Number(values.threads)
if (model === undefined) {
  console.error('usage: node scripts/quality/kv-quality.mjs MODEL.gguf [--threads N] [--python PYTHON]')
  process.exit(2)
}
const allowedPerplexity = 0.003

const goldens = new URL('../../test/goldens/oracle-texts.json', import.meta.url)
const texts = JSON.parse(readFileSync(goldens, 'utf8')).map(({ text }) => text)
const begunCharacters = 120

const people =
  'Anna Boris Clara David Emma Felix Greta Henry Irene James Karen Lucas Maria Nadia Oscar Paula Quentin Rosa Simon Tina'
const needlePrompts = 20
const needlesPerPrompt = 3
const writtenTokens = 480
/** Texts written from the beginning of each given one: at 0.3% one sample's standard error is a third of what is asked. */
const writings = 4

/** Three facts, then filler to about 1,600 tokens; the questions are appended one at a time, so that they share the prefix. */
function needles(round) {
  const names = people.split(' ')
  const facts = Array.from({ length: needlesPerPrompt }, (_, i) => {
    const person = (round + i * 7) % names.length
    const number = String(1000 + (((person + 1) * 7919 * (round + 3)) % 8999))
    return { question: `The secret number of ${names[person]} is`, name: names[person], number }
  })
  const lines = facts.map(
    ({ question, name, number }) => `${question} ${number}. Remember that the secret number of ${name} is ${number}.`,
  )
  const filler = [...texts.slice(round % texts.length), ...texts].join('\n').slice(0, 4000)
  return { facts, prompt: `${lines.join(' ')}\n\n${filler}\n\n` }
}

const load = (dtype) => Engine.load({ model, threads, contextTokens: 4096, kv: { dtype } })

function writtenByOracle() {
  const folder = fileURLToPath(new URL('../../build/oracle', import.meta.url))
  mkdirSync(folder, { recursive: true })
  const script = fileURLToPath(new URL('../../test/scripts/oracle_write.py', import.meta.url))
  const counts = [begunCharacters, writtenTokens, writings, 1].map(String)
  const { status } = spawnSync(
    python,
    [script, resolve(model), fileURLToPath(goldens), ...counts, `${folder}/written.json`],
    { stdio: ['ignore', 'inherit', 'inherit'] },
  )
  if (status !== 0) {
    console.error(
      `oracle_write.py failed (${status}): it needs torch, numpy, gguf and tokenizers (--python names a Python)`,
    )
    process.exit(2)
  }
  return JSON.parse(readFileSync(`${folder}/written.json`, 'utf8'))
}

async function writtenWithF16() {
  const engine = await load('f16')
  const written = await Promise.all(
    Array.from({ length: writings * texts.length }, async (_, seed) => {
      const prompt = texts[seed % texts.length].slice(0, begunCharacters)
      const options = { prompt, maxTokens: writtenTokens, temperature: 1, seed, ignoreEos: true }
      return prompt + (await engine.generate(options).result).text
    }),
  )
  await engine.close()
  return written
}

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length

async function measure(dtype) {
  const engine = await load(dtype)
  const score = async (prompts) =>
    (await Promise.all(prompts.map((prompt) => engine.score({ prompt })))).flatMap(({ logprobs }) => logprobs)
  const given = await score([texts.join('\n\n'), ...texts])
  const oracle = await score(byOracle)
  const own = await score(withF16)
  let found = 0
  let promptTokens = 0
  for (let round = 0; round < needlePrompts; round++) {
    const { facts, prompt } = needles(round)
    for (const { question, number } of facts) {
      const options = { prompt: `${prompt}${question}`, maxTokens: 6, temperature: 0 }
      const { text, usage } = await engine.generate(options).result
      if (text.trim().startsWith(number)) found++
      promptTokens = usage.promptTokens
    }
  }
  await engine.close()
  return { all: [...given, ...oracle], given, oracle, own, found, promptTokens }
}

const byOracle = writtenByOracle()
const withF16 = await writtenWithF16()
const base = await measure('f16')
const failures = []
const words = []
/** A type's line is printed as soon as it is known: all together they take minutes. */
function note(line) {
  words.push(line)
  console.log(line)
}
note(
  `f16: perplexity ${Math.exp(-mean(base.all)).toFixed(4)} over ${base.all.length} tokens, ${base.found} of ${needlesPerPrompt * needlePrompts} needles`,
)
const percent = (x) => `${x < 0 ? '' : '+'}${(100 * x).toFixed(3)}%`
/** How much higher the perplexity is than f16's over the same tokens, and that figure's standard error. */
function change(result, part) {
  const differences = base[part].map((x, i) => x - result[part][i])
  const total = mean(differences)
  const deviation = Math.sqrt(mean(differences.map((x) => (x - total) ** 2)) / differences.length)
  return { value: Math.exp(total) - 1, text: `${percent(Math.exp(total) - 1)} (${(100 * deviation).toFixed(3)}%)` }
}
for (const dtype of ['bf16', 'fp8', 'int8']) {
  const result = await measure(dtype)
  const all = change(result, 'all')
  note(
    `${dtype}: perplexity ${all.text}, of it given texts ${change(result, 'given').text}, float32's ${change(result, 'oracle').text}; on f16's own texts ${change(result, 'own').text}; ${result.found} needles`,
  )
  if (!(all.value <= allowedPerplexity)) failures.push(`${dtype}: perplexity ${percent(all.value)}`)
  if (result.found < base.found) failures.push(`${dtype}: ${result.found} needles found, f16 finds ${base.found}`)
}
for (const failure of failures) console.error(`FAILED: ${failure}`)
console.log(
  `summary: change of perplexity and its standard error; needles in ${base.promptTokens} tokens; ${words.join('; ')}`,
)
process.exit(failures.length > 0 ? 1 : 0)
