// Guesses of octavo beside the two token predictors of node-llama-cpp, which is installed into a temporary folder (or --folder names
// one): the same model, the same prompts as token ids, greedy, one request at a time. Each engine's speed is set against its own
// without guesses; engines take turns, medians over prompts and rounds.
//
//   node bench/speculation/peers.mjs --model FILE [--draft FILE] [--sets code,quotes,json,logs,free] [--rounds 2] [--tokens 128]
//                                    [--threads 2] [--peer-threads 2] [--folder DIR] [--json FILE]
import { execFileSync } from 'node:child_process'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { Engine } from 'octavo'
import { native } from '../../dist/base/native.js'
import { median } from '../median.mjs'
import { installPeer } from '../peers/install.mjs'
import { padVocabulary } from '../peers/padded-vocabulary.mjs'
import { sets as allSets, stories } from './sets.mjs'

const { values } = parseArgs({
  options: {
    model: { type: 'string' },
    draft: { type: 'string' },
    sets: { type: 'string', default: 'all' },
    rounds: { type: 'string', default: '2' },
    tokens: { type: 'string', default: '128' },
    threads: { type: 'string', default: '2' },
    'peer-threads': { type: 'string', default: '2' },
    folder: { type: 'string' },
    json: { type: 'string' },
  },
})
const folder = values.folder ?? mkdtempSync(join(tmpdir(), 'octavo-peers-'))
installPeer(folder)
const [rounds, tokens] = [values.rounds, values.tokens].map(Number)
const isStories = /stories/.test(values.model)
const sets = isStories ? stories : allSets
const names = values.sets === 'all' ? Object.keys(sets) : values.sets.split(',')

const drafted = values.draft === undefined ? {} : { 'draft model': { drafters: [{ model: values.draft }] } }
const speculations = { none: 'off', auto: 'auto', ...drafted }
const engines = {}
const contextTokens = 1100 + tokens
for (const [name, speculation] of Object.entries(speculations))
  engines[name] = await Engine.load({
    model: values.model,
    contextTokens,
    threads: Number(values.threads),
    speculation,
  })

const prompts = []
for (const set of names)
  for (const prompt of sets[set]) {
    const rendered = 'prompt' in prompt ? undefined : await engines.none.renderPrompt(prompt)
    prompts.push({ set, ids: rendered?.tokens ?? (await engines.none.tokenize(prompt.prompt)) })
  }

let run = 0
async function ours(engine) {
  const rows = []
  for (const { ids } of prompts) {
    const generation = engine.generate({
      ...{ prompt: ids, maxTokens: tokens, temperature: 0, ignoreEos: true, tenant: `${run++}` },
    })
    const arrivals = []
    for await (const part of generation) arrivals.push({ at: performance.now(), count: part.tokens.length })
    const within = arrivals.slice(1).reduce((sum, { count }) => sum + count, 0)
    rows.push({ tokensPerSecond: (1000 * within) / (arrivals.at(-1).at - arrivals[0].at) })
  }
  return rows
}

/** llama.cpp wants as many tokens as the embedding has rows. */
const embeddingRows = 4096
function padded(file) {
  if (!isStories || file === undefined) return file
  const copy = join(folder, `padded-${file.split('/').at(-1)}`)
  padVocabulary(file, copy, embeddingRows)
  return copy
}
const peerModel = padded(values.model)
const peerDraft = padded(values.draft) ?? '-'

const child = fileURLToPath(new URL('node-llama-cpp.mjs', import.meta.url))
function peer(predictor) {
  const args = [child, peerModel, values['peer-threads'], folder, predictor, peerDraft, `${tokens}`]
  const input = JSON.stringify(prompts.map(({ ids }) => ids))
  const stdio = ['pipe', 'pipe', 'inherit']
  return JSON.parse(execFileSync(process.execPath, args, { input, stdio, encoding: 'utf8' }).trim().split('\n').at(-1))
}

const measures = [
  ...Object.keys(speculations).map((name) => ({
    name: `octavo, ${name}`,
    base: 'octavo, none',
    run: () => ours(engines[name]),
  })),
  ...['none', 'lookup', ...(values.draft === undefined ? [] : ['draft'])].map((predictor) => ({
    ...{ name: `node-llama-cpp, ${predictor}`, base: 'node-llama-cpp, none', run: () => peer(predictor) },
  })),
]
const results = Object.fromEntries(measures.map(({ name }) => [name, []]))
await ours(engines.none)
for (let round = 0; round < rounds; round++)
  for (const { name, run } of round % 2 === 0 ? measures : measures.toReversed()) results[name].push(await run())
for (const engine of Object.values(engines)) await engine.close()

const rows = names.flatMap((set) =>
  measures.map(({ name, base }) => {
    const speeds = []
    const ratios = []
    for (let round = 0; round < rounds; round++)
      for (const [i, prompt] of prompts.entries()) {
        if (prompt.set !== set) continue
        speeds.push(results[name][round][i].tokensPerSecond)
        ratios.push(speeds.at(-1) / results[base][round][i].tokensPerSecond)
      }
    return { set, engine: name, tokensPerSecond: median(speeds), ratio: median(ratios) }
  }),
)
console.table(
  rows.map(({ tokensPerSecond, ratio, ...row }) => ({
    ...{ ...row, 'tokens/s': Number(tokensPerSecond.toFixed(1)), 'to none': Number(ratio.toFixed(2)) },
  })),
)
const { model: cpu, isa } = native().cpu()
const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim()
const model = values.model.split('/').at(-1)
if (values.json)
  writeFileSync(
    values.json,
    JSON.stringify({
      ...{ model, draft: values.draft?.split('/').at(-1), cpu, isa, commit, tokens, rounds },
      ...{ threads: Number(values.threads), peerThreads: Number(values['peer-threads']), rows },
    }),
  )
