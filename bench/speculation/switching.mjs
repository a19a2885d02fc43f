// Texts that switch between copying and free: how fast each part is with fixed numbers of guesses and with what the engine chooses. The answers are
// given word for word (a grammar allows nothing else; all work is real), so that it is known where one part ends and the next begins, and
// spelled in the tokenizer's words: a model that is held to a text it would not write takes it letter by letter, and then a copy has
// not one token of its original. All engines are open in this process and take turns; the fixed setting to compare with is, for each
// kind of part, the one that is best over all runs; a ratio is the median of the rounds', each of all its answers.
//
//   node bench/speculation/switching.mjs --model FILE [--fixed 0,2,4,7,12] [--rounds 5] [--json FILE]
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { Engine } from 'octavo'
import { native } from '../../dist/base/native.js'
import { openCheckpoint } from '../../dist/model/checkpoint.js'
import { kvBytes } from '../../dist/model/memory.js'
import { median } from '../median.mjs'
import { switching } from './sets.mjs'

const { values } = parseArgs({
  options: {
    model: { type: 'string' },
    fixed: { type: 'string', default: '0,2,4,7,12' },
    rounds: { type: 'string', default: '5' },
    json: { type: 'string' },
  },
})
const rounds = Number(values.rounds)
const contextTokens = 768
const memory = kvBytes(openCheckpoint(values.model).desc, 2 * contextTokens, 'f16')
const drafters = ['ngram', 'shared']
const speculations = new Map([
  ...values.fixed.split(',').map((drafts) => [drafts, drafts === '0' ? 'off' : { drafters, drafts: Number(drafts) }]),
  ['auto', 'auto'],
])
const engines = new Map()
for (const [mode, speculation] of speculations)
  engines.set(mode, await Engine.load({ model: values.model, contextTokens, kv: { memory }, speculation }))

/** So much for each character of a token of the text: the longest that fits is taken, the same in a copy as in its original. */
const longest = 100
async function spelling(engine, text) {
  const bias = {}
  for (const token of await engine.tokenize(text)) bias[token] = longest * (await engine.detokenize([token])).length
  return bias
}

/** Tokens and milliseconds of each part of an answer. A part of the stream that lies on both sides of a border counts by its characters. */
async function measure(engine, { parts, ...prompt }, tenant, logitBias) {
  const text = parts.map((part) => part.text).join(' ')
  const options = { ...prompt, grammar: { choice: [text] }, maxTokens: 500, temperature: 0, tenant, logitBias }
  const generation = engine.generate(options)
  const arrivals = []
  for await (const part of generation)
    arrivals.push({ at: performance.now(), tokens: part.tokens.length, text: part.text.length })
  const result = await generation.result
  if (result.text !== text) throw new Error(`another text: ${result.text}`)
  let border = 0
  const measured = parts.map(({ text: { length } }) => {
    const [from, to] = [border, border + length + 1]
    border = to
    let [end, ms, tokens] = [arrivals[0].text, 0, 0]
    for (const [i, { at, ...part }] of arrivals.entries()) {
      if (i === 0) continue
      const begin = end
      end += part.text
      const share = Math.max(0, Math.min(end, to) - Math.max(begin, from)) / Math.max(1, part.text)
      ms += share * (at - arrivals[i - 1].at)
      tokens += share * part.tokens
    }
    return { tokens, ms }
  })
  return { measured, tokens: JSON.stringify(result.tokens) }
}

const biases = []
for (const { parts } of switching)
  biases.push(await spelling(engines.get('auto'), parts.map(({ text }) => text).join(' ')))
const runs = []
for (let round = -1; round < rounds; round++)
  for (const [i, answer] of (round < 0 ? switching.slice(0, 1) : switching).entries()) {
    const modes = [...engines.keys()]
    let tokens
    for (const mode of round % 2 === 0 ? modes : modes.toReversed()) {
      const run = await measure(engines.get(mode), answer, `${round}-${i}`, biases[i])
      tokens ??= run.tokens
      if (run.tokens !== tokens) throw new Error(`${mode}: other tokens`)
      if (round >= 0)
        for (const [p, { kind }] of answer.parts.entries())
          runs.push({ round, answer: i, part: p, kind, mode, ...run.measured[p] })
    }
    process.stderr.write(`\rround ${round + 1} of ${rounds}, answer ${i + 1}   `)
  }
process.stderr.write('\n')
for (const engine of engines.values()) await engine.close()

const speed = (of) => (1000 * of.reduce((sum, { tokens }) => sum + tokens, 0)) / of.reduce((sum, { ms }) => sum + ms, 0)
const rows = ['copy', 'free'].map((kind) => {
  const of = (mode, round) =>
    speed(runs.filter((run) => run.mode === mode && run.kind === kind && (round === undefined || run.round === round)))
  const fixed = values.fixed.split(',')
  const best = fixed.toSorted((a, b) => of(b) - of(a))[0]
  const ratio = median(Array.from({ length: rounds }, (_, round) => of('auto', round) / of(best, round)))
  return { kind, speeds: Object.fromEntries([...fixed, 'auto'].map((mode) => [mode, of(mode)])), best, ratio }
})
console.table(
  rows.map(({ kind, speeds, best, ratio }) => ({
    ...{
      part: kind,
      ...Object.fromEntries(Object.entries(speeds).map(([mode, speed]) => [mode, Number(speed.toFixed(1))])),
    },
    ...{ best, 'auto to best': Number(ratio.toFixed(3)) },
  })),
)
const { model: cpu, isa, cpus: threads } = native().cpu()
const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim()
const model = values.model.split('/').at(-1)
if (values.json) writeFileSync(values.json, JSON.stringify({ model, cpu, isa, threads, commit, rounds, rows, runs }))
