// Rewrites the section on speculation of docs/performance.md and docs/plots/speculation.svg from bench/results/speculation-*.json, the
// outputs of the programs beside this one, so that it holds no figure that was not measured.
//
//   node bench/speculation/report.mjs
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { svg } from '../../dist/load/svg.js'
import { median } from '../median.mjs'

const at = (path) => fileURLToPath(new URL(path, import.meta.url))
const prefix = 'speculation-'
const results = Object.fromEntries(
  readdirSync(at('../results'))
    .filter((name) => name.startsWith(prefix))
    .map((name) => [name.slice(prefix.length, -5), JSON.parse(readFileSync(at(`../results/${name}`), 'utf8'))]),
)
const table = (head, rows) => [head, head.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n')
const times = (value, digits = 2) => `${value.toFixed(digits)}x`
const speed = (value) => (value >= 100 ? value.toFixed(0) : value.toFixed(1))
const percent = (share) => `${(100 * share).toFixed(0)}%`
const machine = ({ cpu, isa, threads, commit }) => `${threads} x ${cpu} (${isa}), commit ${commit}`
const sorted = (of) => of.toSorted((a, b) => a - b)
const quartiles = (of) => [0.25, 0.75].map((share) => sorted(of)[Math.floor(share * (of.length - 1))])

/** Ratios of a mode's runs to the plain run beside each. */
function ratiosOf({ runs }, mode, want) {
  const same = (a, b) => ['round', 'batch', 'set', 'prompt'].every((key) => a[key] === b[key])
  return runs
    .filter((run) => run.mode === mode && want(run))
    .map((run) => run.tokensPerSecond / runs.find((other) => other.mode === 'off' && same(other, run)).tokensPerSecond)
}

function bySet(result) {
  const modes = [...new Set(result.rows.map(({ mode }) => mode))].filter((mode) => mode !== 'off')
  return [...new Set(result.rows.map(({ set }) => set))].map((set) => {
    const of = (mode) => result.rows.find((row) => row.set === set && row.mode === mode)
    const { proposed, accepted } = of('auto')
    const right = proposed > 0 ? percent(accepted / proposed) : '-'
    return [set, speed(of('off').tokensPerSecond), ...modes.map((mode) => times(of(mode).ratio)), right]
  })
}

function neverSlower() {
  const rows = []
  for (const name of ['one', 'free', 'stories', 'stories-sampled', 'stories-q8_0']) {
    const result = results[name]
    if (result === undefined) continue
    for (const batch of [1, 4, 16, 64]) {
      const plain = (run) => run.batch === batch && ['free', 'stories'].includes(run.set)
      const ratios = ratiosOf(result, 'auto', plain)
      if (ratios.length === 0) continue
      const again = ratiosOf(result, 'off2', plain)
      const [low, high] = quartiles(ratios)
      rows.push([
        result.model,
        result.temperature,
        batch,
        times(median(ratios), 3),
        again.length > 0 ? times(median(again), 3) : '-',
        `${low.toFixed(3)}-${high.toFixed(3)}`,
        ratios.length,
        result.commit,
        median(ratios) >= 0.98 ? 'kept' : 'not kept',
      ])
    }
  }
  return table(
    [
      'model',
      'temperature',
      'requests at once',
      'auto to off',
      'off to off',
      'middle half of the runs',
      'runs',
      'commit',
      '0.98x',
    ],
    rows,
  )
}

const copying = ['code', 'quotes', 'json', 'logs']
const copyRatios = (mode) => ratiosOf(results.one, mode, ({ set }) => copying.includes(set))

/** Whether a larger step was measured much quicker than a smaller one: then the machine changed its speed between the two. */
function unsteady(ms) {
  const values = Object.values(ms)
  return values.some((value, i) => values.slice(0, i).some((smaller) => value < 0.8 * smaller))
}

function stepsTable({ rows, stepMs }) {
  const steady = rows.filter(({ batch }) => !unsteady(stepMs[batch]))
  return table(
    [
      'requests',
      'right',
      'best number',
      'speed to none',
      'best tree to that',
      'rows free: chain',
      'rows free: tree to that',
    ],
    steady.map((row) => [
      ...[row.batch, row.chance, row.guesses, times(row.speed), times(row.treeToChain, 3)],
      ...[times(row.freeChain), times(row.freeTreeToChain)],
    ]),
  )
}
const costs = ({ stepMs, roundMs }) =>
  Object.entries(stepMs)
    .map(([batch, ms]) => {
      const steps = Object.entries(ms).map(([rows, value]) => `${rows * batch}: ${value.toFixed(1)}`)
      return `${batch} request${batch === '1' ? '' : 's'}: ${steps.join(', ')}; a draft round ${roundMs[batch].toFixed(1)}${unsteady(ms) ? ' (the machine changed its speed meanwhile: left out below)' : ''}`
    })
    .join('. ')

const { one, planted, acceptance, drafts } = results
const mixed = results.mixed ?? one
const shares = planted.rows
  .filter(({ chance, drafts }) => chance === 0.8 && drafts === 'auto')
  .map(({ batch, chance, verifyMs, guessMs, betweenMs }) => {
    const share = (ms) => percent(ms / (verifyMs + guessMs + betweenMs))
    return `${batch} request${batch === 1 ? '' : 's'} at ${chance}: ${share(verifyMs)} the target's rows, ${share(guessMs)} the draft's rounds, ${share(betweenMs)} all else`
  })
const peers = ['peers-135m', 'peers-stories'].flatMap((name) =>
  (results[name]?.rows ?? []).map((row) => [
    results[name].model,
    row.set,
    row.engine,
    speed(row.tokensPerSecond),
    times(row.ratio),
  ]),
)
const large =
  results['steps-7b'] === undefined
    ? ''
    : `${results['steps-7b'].target} with ${results['steps-7b'].draft}: ${costs(results['steps-7b'])}:\n\n${stepsTable(results['steps-7b'])}`
const mixedModes = mixed.rows
  .filter(({ set }) => set === 'mixed')
  .map(({ mode, ratio }) => `${mode} ${times(ratio)}`)
  .join(', ')
const switching =
  results.switching === undefined
    ? ''
    : `**Texts that switch** between copying the prompt and saying what nobody could guess, word for word as given and spelled as the prompt is (\`bench/speculation/switching.mjs\`, ${results.switching.model},
commit ${results.switching.commit}): tokens a second with so many guesses at most, and with \`auto\`, whose goal is 0.95x of the best fixed setting on either kind of part:

${table(
  ['part', ...Object.keys(results.switching.rows[0].speeds), 'auto to the best fixed'],
  results.switching.rows.map(({ kind, speeds, ratio }) => [kind, ...Object.values(speeds).map(speed), times(ratio, 3)]),
)}

`
const section = `## Speculation

What guesses bring on plain text and code, with the tokens of \`speculation: 'off'\` in every run (the programs compare them). ${machine(one)}
where nothing else is said; a machine whose speed changes with its neighbours, so all ratios are of runs in turns. Written by
\`node bench/speculation/report.mjs\` from bench/results/speculation-*.json.

\`node bench/speculation/run.mjs --model ${one.model} --modes off,auto,ngram,fixed7\`, one request, greedy, ${one.tokens} tokens, decode speed to off:

${table(['set', 'off, tokens/s', ...[...new Set(one.rows.map(({ mode }) => mode))].filter((mode) => mode !== 'off'), 'right (auto)'], bySet(one))}

Over the ${copying.length} sets that copy, by prompt: \`ngram\` ${times(median(copyRatios('ngram')))}, \`auto\` ${times(median(copyRatios('auto')))} (medians). Texts that turn from one to the other (\`--sets mixed\`): ${mixedModes}.

![speculation](plots/speculation.svg)

Where nothing copies, \`auto\` is to lose nothing (0.98x):

${neverSlower()}

${switching}**Draft models.** No trained pair of such sizes is at hand, so both have random weights, all work is real, and the draft's guesses are
replaced by the target's own continuation with the chance given (\`bench/speculation/planted.ts\`; ${planted.target}, ${planted.draft}, ${machine(planted)}):

${table(
  ['requests', 'chance', 'most guesses', 'off, tokens/s', 'with guesses', 'ratio', 'guesses a step', 'right'],
  planted.rows.map((row) => [
    ...[row.batch, row.chance, row.drafts, speed(row.plain), speed(row.guessed), times(row.ratio)],
    ...[row.guessesPerStep.toFixed(1), percent(row.right)],
  ]),
)}

${shares.length > 0 ? `Of a step's time, while all requests decode: ${shares.join('; ')}.\n\n` : ''}The same on paper from measured steps (\`bench/speculation/steps.ts\`; milliseconds of a step by its rows). ${results['steps-1.1b'].target}: ${costs(results['steps-1.1b'])}:

${stepsTable(results['steps-1.1b'])}

${large}

**Trees** are left out. A second choice at a place is right in ${percent(acceptance.secondWhereWrong)} of the cases in which the first is wrong (stories and its draft, greedy); the tables give it ${percent(results['steps-1.1b'].second)}.
Its row brings (1 - a) times that, one more row of the chain a^d: where rows cost something, the chain ends before a tree would begin. Where they are free,
as nearly with a large model and one request, or on a GPU, a tree brings what the last column says: something where guesses are poor, nothing where they are good.

**Shared noise** (\`bench/speculation/acceptance.mjs\`, ${acceptance.model} and ${acceptance.draft}, temperature 1, ${acceptance.positions} positions): ${(100 * acceptance.sharedNoise).toFixed(1)}% of guesses right; rejection sampling would accept
${(100 * acceptance.rejectionSampling).toFixed(1)}% of the same pair, ${(100 * acceptance.atMostMore).toFixed(1)}% more at most for tokens beyond the 20 likeliest, and keep the distribution only, not the tokens. Greedy: ${(100 * acceptance.greedy).toFixed(1)}%.

**Token predictors of node-llama-cpp** on the same prompts (\`bench/speculation/peers.mjs\`; its default options, each engine to its own speed without). Its draft
model predictor wants a second model with the same vocabulary: stories has one (\`--draft\`), for SmolLM2-135M none is at hand:

${table(['model', 'set', 'engine', 'tokens/s', 'to none'], peers)}

**A proposal** (\`npm run bench:drafts\`): ${drafts.meanNs} ns on average, ${drafts.p99Ns} ns at p99 (goal: 3000), ${drafts.allocations} allocations in ${drafts.tokens} tokens (tables that double), ${drafts.bytesPerToken} bytes of index a token (goal: 16).
In TypeScript a token makes no more garbage with guesses than without (\`test/deep/draft-allocations.mjs\`).
`

const page = at('../../docs/performance.md')
const text = readFileSync(page, 'utf8')
const end = text.indexOf('## Results')
const begin = text.indexOf('## Speculation')
writeFileSync(page, `${text.slice(0, begin < 0 ? end : begin)}${section}\n${text.slice(end)}`)

const batches = [one, results.copying, results.free].filter((result) => result !== undefined)
const points = (set) =>
  [1, 4, 16, 64]
    .map((batch) => [
      batch,
      batches.flatMap((result) => ratiosOf(result, 'auto', (run) => run.batch === batch && run.set === set)),
    ])
    .filter(([, ratios]) => ratios.length > 0)
    .map(([batch, ratios]) => [batch, median(ratios)])
const series = [...copying, 'free'].map((set) => ({ name: set, points: points(set) }))
const chart = { title: `${one.model}: auto to off`, x: 'requests at once', y: 'ratio', logX: true, series }
writeFileSync(at('../../docs/plots/speculation.svg'), svg([chart]))
