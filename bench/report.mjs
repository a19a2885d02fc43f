// Rewrites the results of docs/performance.md and the plots in docs/plots/ from bench/results/*.json (the outputs of `octavo bench
// --json`, `npm run bench -- --json` and `npm run bench:peers -- --json`, and what other benchmarks wrote there), so that the page
// holds no figure that was not measured.
//
//   node bench/report.mjs [--machine "what the results were measured on"]
import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { fileURLToPath } from 'node:url'
import { svg } from '../dist/load/svg.js'
import { peersCharts, peersTable } from './peers/summary.mjs'

const at = (path) => fileURLToPath(new URL(path, import.meta.url))
const flag = process.argv.indexOf('--machine')
const machine = flag < 0 ? `${cpus().length} x ${cpus()[0].model.trim()}` : process.argv[flag + 1]
const results = Object.fromEntries(
  readdirSync(at('results'))
    .filter((name) => name.endsWith('.json'))
    .map((name) => [name.slice(0, -5), JSON.parse(readFileSync(at(`results/${name}`), 'utf8'))]),
)
const percent = (share) => `${(share * 100).toFixed(0)}%`
const speed = (value) => (value >= 100 ? value.toFixed(0) : value.toFixed(1))
const table = (head, rows) => [head, head.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n')

const benches = Object.values(results).filter((result) => result.decode?.bound !== undefined)
const speeds = table(
  [
    'model',
    'threads',
    'prefill 512, tokens/s',
    '% of int8 peak',
    'decode, tokens/s',
    '% of bound',
    'public API / C++',
    'read GB/s',
    'int8 Gop/s',
    'barrier us',
  ],
  benches.map(({ model, threads, prefill, decode, api, limits }) => [
    model.name,
    threads,
    speed(prefill.tokensPerSecond),
    percent(prefill.shareOfInt8Peak),
    speed(decode.tokensPerSecond),
    percent(decode.shareOfBound),
    api ? `${(api.ratioToNative * 100).toFixed(1)}%` : '-',
    (limits.readBytesPerSecond / 1e9).toFixed(1),
    (limits.int8OpsPerSecond / 1e9).toFixed(0),
    (limits.barrierSeconds * 1e6).toFixed(2),
  ]),
)

const together = benches.flatMap(({ model, parallel }) =>
  (parallel ?? []).map((row) => [
    model.name,
    row.requests,
    row.context,
    speed(row.tokensPerSecond),
    percent(row.shareOfBound),
    percent(row.shareOfInt8Peak),
  ]),
)
const parallel = together.length
  ? `Requests at once through the public API, half of them sampled, attention and sampling included (\`octavo bench MODEL --parallel 8 --parallel 32\`):\n\n${table(['model', 'requests', 'mean context', 'tokens/s', '% of bound', '% of int8 peak'], together)}`
  : ''

const plots = at('../docs/plots')
mkdirSync(plots, { recursive: true })
const peers = Object.entries(results)
  .filter(([name]) => name.startsWith('peers'))
  .map(([name, result]) => {
    const { head, rows } = peersTable(result)
    writeFileSync(`${plots}/${name}.svg`, svg(peersCharts(result)))
    const { model, threads, limits, leftOut } = result
    const beside = `read ${(limits.readBytesPerSecond / 1e9).toFixed(1)} GB/s, int8 ${(limits.int8OpsPerSecond / 1e9).toFixed(0)} Gop/s, barrier ${(limits.barrierSeconds * 1e6).toFixed(2)} us`
    return `${model}, ${threads} threads, ${result.rounds.length === 1 ? '1 round' : `${result.rounds.length} rounds`} (${beside}). llama.cpp is the library that node-llama-cpp ships, driven through its C API${leftOut ? ` (left out: ${leftOut})` : ''}. Of octavo's parallel requests every other one is sampled, the peers' are all greedy. A ratio is the median of the rounds' ratios to the better of the peer's thread counts:\n\n${table(head, rows)}\n\n![${name}](plots/${name}.svg)`
  })

const kvDecode = Object.entries(results)
  .filter(([name]) => name.startsWith('kv-decode'))
  .map(([, { flags, steps, api }]) => {
    const row = (what, { tokensPerSecond, shareOfBound, ratio, boundRatio, target }) => [
      ...[what, speed(tokensPerSecond), percent(shareOfBound), `${ratio.toFixed(2)}x`, `${boundRatio.toFixed(2)}x`],
      target ? `${target.toFixed(2)}x, ${ratio >= target ? 'kept' : 'NOT kept'}` : '-',
    ]
    const rows = [
      ...Object.entries(steps).map(([dtype, figures]) => row(`${dtype}, steps`, figures)),
      ...Object.entries(api ?? {}).map(([dtype, figures]) => row(`${dtype}, public API`, figures)),
    ]
    const head = ['KV cache', 'tokens/s', '% of bound', 'to f16', 'bounds to f16', 'target']
    return `\`npm run bench:kv-decode\`: ${flags.sequences} sequences of ${flags.context} tokens each, ${flags.model}, types of the KV cache in turns; medians of the rounds:\n\n${table(head, rows)}`
  })
  .join('\n\n')
const attention = (results.attention ?? []).filter(({ op }) => op?.endsWith('tokens=1'))
const decodeAttention = attention.length
  ? `Decode attention (\`npm run bench:kernels -- --only attention\`), limits measured around every row:\n\n${table(
      ['KV cache, query / KV heads, head size, sequences, keys', 'us', 'GB/s', '% of bound', 'read GB/s'],
      attention.map(({ op, us, gbPerSecond, percentBound, readGbPerSecond }) => [
        op.slice('attention '.length, -' tokens=1'.length).replaceAll(/[a-z]+=/g, ''),
        us.toFixed(0),
        gbPerSecond.toFixed(1),
        `${percentBound.toFixed(0)}%`,
        readGbPerSecond.toFixed(1),
      ]),
    )}`
  : ''
const host = results.host
  ? `Host cost (\`npm run bench\`), medians:\n\n${table(
      ['', 'us'],
      results.host.map((row) => [row.task, row['median us']]),
    )}`
  : ''

const cold = results['cold-start']
const coldStart = cold
  ? `\`npm run bench:cold-start\`: process start to the first text of ${cold.model}, ${cold.rounds} starts each, ${cold.threads} threads, node-llama-cpp ${cold.nodeLlamaCpp}:\n\n${table(
      ['', 'median ms', 'best', 'worst'],
      Object.entries(cold.starts).map(([name, { medianMs, bestMs, worstMs }]) => [name, medianMs, bestMs, worstMs]),
    )}`
  : ''

const {
  'load-throughput': together64,
  'load-prefix': prefix,
  'load-stall': stall,
  'load-fairness': fairness,
  'busy-core': busyCore,
  'load-kv-waste': waste,
} = results
const ms = (value) => `${value.toFixed(0)} ms`
const load = [
  together64 &&
    `- \`node bench/load/throughput.mjs\`, ${together64.flags.clients} clients, ${together64.requests} requests: ${speed(together64.live.perSecond)} output tokens/s; ${percent(together64.ratios.toSameStepsFromCpp)} of the same steps driven from C++; ${(together64.live.perSecond / together64.padded.perSecond).toFixed(2)}x static batching, ${(together64.live.perSecond / together64.unpadded.perSecond).toFixed(2)}x unpadded, ${(together64.live.perSecond / together64.alone.perSecond).toFixed(2)}x one after the other.`,
  prefix &&
    `- \`node bench/load/prefix.mjs\`, ${prefix.flags.clients} clients sharing ${prefix.flags.shared} tokens: prefix cache ${prefix.ratios.throughput.toFixed(2)}x throughput, first token ${prefix.ratios.firstTokenMean.toFixed(2)}x sooner; answers ${prefix.identical ? 'identical' : 'DIFFER'}.`,
  stall &&
    `- \`node bench/load/stall.mjs\`, a prompt of ${stall.flags.prompt} tokens among ${stall.flags.requests} requests: p99 between tokens ${ms(stall.during.p99)}, quiet ${ms(stall.quiet.p99)}; bound ${ms(stall.boundMs)}: ${stall.kept ? 'kept' : 'not kept'}.`,
  waste &&
    `- \`node bench/load/kv-waste.mjs\`, sequences of ${waste.meanTokens.toFixed(0)} tokens on average over ${waste.steps} steps: ${(100 * waste.unfilledShare).toFixed(2)}% of the KV blocks they hold is unfilled (${waste.unfilledTokensPerSequence.toFixed(1)} tokens a sequence, ${waste.mostUnfilledTokens} at most); a contiguous reservation of ${waste.reservedTokens} tokens each: ${percent(waste.contiguousUnfilledShare)}.`,
  fairness &&
    `- \`node bench/load/fairness.mjs\`: a tenant that floods with ${fairness.flags.flood}x its share makes another one's p99 first token ${fairness.ratio.toFixed(2)}x what it is without (${ms(fairness.flooded.p99)}, calm ${ms(fairness.calm.p99)}, ${fairness.flooded.requests} requests each; the rounds: ${fairness.rounds.map(({ ratio }) => ratio.toFixed(2)).join(', ')}).`,
  busyCore &&
    `- \`npm run bench:busy-core\`: two threads decode ${busyCore.ratio.toFixed(2)}x as fast as one undisturbed thread while another program keeps one of the two cores busy (one thread ${speed(busyCore.tokensPerSecond.oneThread)}, two ${speed(busyCore.tokensPerSecond.twoThreads)}, two beside the loop ${speed(busyCore.tokensPerSecond.twoThreadsBusyCore)} tokens/s).`,
]
  .filter(Boolean)
  .join('\n')

const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { cwd: at('.'), encoding: 'utf8' }).trim()
const page = at('../docs/performance.md')
const text = readFileSync(page, 'utf8')
const start = text.indexOf('## Results')
const section = `## Results

${machine}; written at commit ${commit}, ${new Date().toISOString().slice(0, 10)}; each file of bench/results/ is as old as its own last commit. Written by \`node bench/report.mjs\` from bench/results/.

\`octavo bench MODEL\` (medians):

${speeds}

${parallel}

\`npm run bench:peers\`:

${peers.join('\n\n')}

${kvDecode}

${decodeAttention}

${coldStart}

Under load:

${load}

${host}
`
writeFileSync(page, text.slice(0, start) + section)
