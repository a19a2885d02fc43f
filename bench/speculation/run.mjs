// Decode speed with guesses beside none: copy-heavy, free and mixed texts, some requests at a time, each drafter, fixed numbers of
// guesses, and what the engine chooses itself. All engines are open in this process and take turns at every measurement; a ratio is the
// median over rounds and prompts of the ratio to the plain run beside it. Every run is a tenant of its own: nothing is found in a cache
// or among the texts of another run. Answers must be the same.
// cpu: the ratio by the CPU time of the whole process, prompts included, which neighbours disturb less.
//
//   node bench/speculation/run.mjs --model FILE [--modes off,auto,ngram,shared,fixed4,draft] [--draft FILE] [--batch 1,4] [--sets all]
//                                  [--rounds 3] [--tokens 128] [--temperature 0] [--svg FILE] [--json FILE]
//
// off2: the plain run once more, whose distance to off is what a measurement is worth. fixedN: the own text and the tenant's, always N guesses. shared: the tenant has asked for another answer to the same prompts before.
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { Engine } from 'octavo'
import { native } from '../../dist/base/native.js'
import { svg } from '../../dist/load/svg.js'
import { openCheckpoint } from '../../dist/model/checkpoint.js'
import { kvBytes } from '../../dist/model/memory.js'
import { median } from '../median.mjs'
import { sets as allSets, stories } from './sets.mjs'

const { values } = parseArgs({
  options: {
    model: { type: 'string' },
    modes: { type: 'string', default: 'off,auto' },
    draft: { type: 'string' },
    batch: { type: 'string', default: '1' },
    sets: { type: 'string', default: 'all' },
    rounds: { type: 'string', default: '3' },
    tokens: { type: 'string', default: '128' },
    temperature: { type: 'string', default: '0' },
    threads: { type: 'string', default: 'auto' },
    svg: { type: 'string' },
    json: { type: 'string' },
  },
})
const list = (text) => text.split(',')
const batches = list(values.batch).map(Number)
const [tokens, rounds, temperature] = [values.tokens, values.rounds, values.temperature].map(Number)
const sets = /stories/.test(values.model) ? stories : allSets
const names = values.sets === 'all' ? Object.keys(sets) : list(values.sets)
const contextTokens = 900 + tokens

function speculationOf(mode) {
  const fixed = /^fixed(\d+)$/.exec(mode)
  if (fixed) return { drafters: ['ngram', 'shared'], drafts: Number(fixed[1]) }
  if (mode === 'draft') return { drafters: [{ model: values.draft }] }
  if (mode === 'ngram+draft') return { drafters: ['ngram', { model: values.draft }] }
  if (/^off\d?$/.test(mode)) return 'off'
  return mode === 'auto' ? mode : { drafters: [mode] }
}

const memory = kvBytes(openCheckpoint(values.model).desc, (Math.max(...batches) + 1) * contextTokens, 'f16')
const modes = list(values.modes)
const engines = new Map()
for (const mode of modes) {
  const kv = { memory: mode.includes('draft') ? 2 * memory : memory }
  const threads = values.threads === 'auto' ? 'auto' : Number(values.threads)
  engines.set(
    mode,
    await Engine.load({ model: values.model, contextTokens, kv, threads, speculation: speculationOf(mode) }),
  )
}

/** Tokens a second of all requests while all of them decode, what guesses came to, and the answers. */
async function measure(engine, requests) {
  const before = engine.stats()
  const cpuBefore = process.cpuUsage()
  const all = await Promise.all(
    requests.map(async (request) => {
      const generation = engine.generate(request)
      const arrivals = []
      for await (const part of generation) arrivals.push({ at: performance.now(), tokens: part.tokens.length })
      return { arrivals, tokens: (await generation.result).tokens }
    }),
  )
  const from = Math.max(...all.map(({ arrivals }) => arrivals[0].at))
  const to = Math.min(...all.map(({ arrivals }) => arrivals.at(-1).at))
  const within = all.flatMap(({ arrivals }) => arrivals).filter(({ at }) => at > from && at <= to)
  const after = engine.stats()
  const { user, system } = process.cpuUsage(cpuBefore)
  return {
    cpuMs: (user + system) / 1000,
    tokensPerSecond: (1000 * within.reduce((sum, part) => sum + part.tokens, 0)) / (to - from),
    proposed: after.drafts.proposed - before.drafts.proposed,
    accepted: after.drafts.accepted - before.drafts.accepted,
    answers: JSON.stringify(all.map((one) => one.tokens)),
  }
}

const runs = []
for (let round = -1; round < rounds; round++)
  for (const batch of batches)
    for (const set of names) {
      // With one request at a time every prompt is measured, else all of them are in the batch.
      const prompts = sets[set]
      const groups =
        batch === 1
          ? prompts.map((prompt) => [prompt])
          : [Array.from({ length: batch }, (_, i) => prompts[i % prompts.length])]
      for (const [g, group] of groups.entries()) {
        if (round < 0 && (g > 0 || set !== names[0])) continue
        const order = (round + g) % 2 === 0 ? modes : modes.toReversed()
        let answers
        for (const mode of order) {
          const tenant = `${round}-${g}-${set}-${batch}`
          const requests = group.map((prompt, i) => {
            return { ...prompt, maxTokens: tokens, ignoreEos: true, temperature, seed: 100 * (round + 1) + i, tenant }
          })
          if (mode === 'shared')
            await measure(
              engines.get(mode),
              requests.map((request) => ({ ...request, seed: request.seed + 50 })),
            )
          const run = await measure(engines.get(mode), requests)
          answers ??= run.answers
          if (run.answers !== answers) throw new Error(`${mode}: another answer to ${set} ${g}`)
          if (round >= 0) runs.push({ round, batch, set, prompt: g, mode, ...run, answers: undefined })
        }
        process.stderr.write(`\rround ${round + 1} of ${rounds}, batch ${batch}, ${set}        `)
      }
    }
process.stderr.write('\n')
for (const engine of engines.values()) await engine.close()

const plainOf = (run) =>
  runs.find(
    (other) => other.mode === 'off' && ['round', 'batch', 'set', 'prompt'].every((key) => other[key] === run[key]),
  )
const rows = batches.flatMap((batch) =>
  names.flatMap((set) =>
    modes.map((mode) => {
      const of = runs.filter((run) => run.batch === batch && run.set === set && run.mode === mode)
      const proposed = of.reduce((sum, run) => sum + run.proposed, 0)
      const accepted = of.reduce((sum, run) => sum + run.accepted, 0)
      return {
        ...{ batch, set, mode, tokensPerSecond: median(of.map((run) => run.tokensPerSecond)) },
        ratio: median(of.map((run) => run.tokensPerSecond / plainOf(run).tokensPerSecond)),
        cpuRatio: median(of.map((run) => plainOf(run).cpuMs / run.cpuMs)),
        ...{ proposed: proposed / of.length, accepted: accepted / of.length },
      }
    }),
  ),
)
console.table(
  rows.map(({ batch, set, mode, tokensPerSecond, ratio, cpuRatio, proposed, accepted }) => ({
    ...{ batch, set, mode, 'tokens/s': Number(tokensPerSecond.toFixed(1)), ratio: Number(ratio.toFixed(3)) },
    cpu: Number(cpuRatio.toFixed(3)),
    guesses: Number(proposed.toFixed(0)),
    right: proposed > 0 ? `${((100 * accepted) / proposed).toFixed(0)}%` : '',
  })),
)
const { model, isa, cpus } = native().cpu()
const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim()
const result = {
  model: values.model.split('/').at(-1),
  cpu: model,
  isa,
  threads: cpus,
  commit,
  tokens,
  temperature,
  rounds,
  rows,
  runs,
}
if (values.json) writeFileSync(values.json, JSON.stringify(result))
if (values.svg) {
  const charts = names.map((set) => ({
    ...{ title: `${set}: speed to none`, x: 'requests at once', y: 'ratio', logX: true },
    series: modes.map((mode) => ({
      name: mode,
      points: rows.filter((row) => row.set === set && row.mode === mode).map(({ batch, ratio }) => [batch, ratio]),
    })),
  }))
  writeFileSync(values.svg, svg(charts))
}
