/**
 * `octavo bench-load <model>`: many clients at once. Closed loop (--clients) or requests that arrive at random times (--rate);
 * lengths and shared beginnings as a workload has them; rates, percentiles, goodput under a service objective, use of the KV
 * cache beside what a contiguous reservation would waste, CPU time. The measured process is this one, clients included.
 */
import { writeFileSync } from 'node:fs'
import type { Command } from 'commander'
import { kvBlockTokens } from '../base/kv-blocks.ts'
import { native } from '../base/native.ts'
import type { LoadResult } from '../load/drive.ts'
import { type LoadReport, type Percentiles, summarise } from '../load/report.ts'
import { type Chart, cumulative, svg } from '../load/svg.ts'
import type { Workload } from '../load/workload.ts'
import { number } from './flags.ts'
import { addLoadFlags, type LoadFlags, runLoad } from './load-flags.ts'
import { formatPercent, markdownTable, note, printJson, printLine } from './output.ts'

interface BenchLoadFlags extends LoadFlags {
  sloTtft: number
  sloItl: number
  svg?: string
  json?: boolean
}

export function addBenchLoad(program: Command): void {
  const command = program
    .command('bench-load')
    .description('measure throughput and latencies under many concurrent requests')
    .argument('<model>', "a GGUF file, 'stories' or 'synthetic:<preset>'")
  addLoadFlags(command, { seconds: 30, warmup: 5 })
    .option('--slo-ttft <ms>', 'service objective: time to the first token', number, 2000)
    .option('--slo-itl <ms>', 'service objective: mean time between tokens', number, 200)
    .option('--svg <file>', 'write charts')
    .option('--json', 'print one JSON document')
    .action(benchLoad)
}

async function benchLoad(model: string, flags: BenchLoadFlags): Promise<void> {
  const { model: name, workload, result } = await runLoad(model, flags)
  const objective = { firstTokenMs: flags.sloTtft, interTokenMs: flags.sloItl }
  const report = summarise(result, objective, workload.contextTokens)
  if (flags.svg !== undefined) writeFileSync(flags.svg, svg(charts(result)))
  if (flags.json) await printJson({ model: name, machine: machine(flags), flags, ...report })
  else await printReport(report, flags, workload)
}

const machine = ({ threads }: BenchLoadFlags) => {
  const { model, isa, cpus } = native().cpu()
  return { cpu: model, isa, threads: threads ?? cpus }
}

const times: [keyof LoadReport, string][] = [
  ['firstTokenMs', 'first token'],
  ['interTokenMs', 'between tokens'],
  ['endToEndMs', 'whole answer'],
]

async function printReport(report: LoadReport, flags: BenchLoadFlags, workload: Workload): Promise<void> {
  const { requests, tokensPerSecond, lengths, goodput, kv, cpu } = report
  const ms = (value: number) => value.toFixed(1)
  const rows = times.map(([key, name]) => {
    const { mean, p50, p90, p99, max } = report[key] as Percentiles
    return [name, ...[mean, p50, p90, p99, max].map(ms)]
  })
  const columns = ['mean', 'p50', 'p90', 'p99', 'max']
  await printLine(markdownTable(['ms', ...columns], rows, columns))
  const rates = [
    ['requests', requests.perSecond.toFixed(2), `${requests.measured} measured in ${report.spanSeconds.toFixed(1)} s`],
    ['prompt tokens', tokensPerSecond.prompt.toFixed(1), `${formatPercent(lengths.cachedShare)} found in the cache`],
    ['output tokens', tokensPerSecond.output.toFixed(1), `mean lengths ${ms(lengths.prompt)} + ${ms(lengths.output)}`],
    ['all tokens', tokensPerSecond.total.toFixed(1), `${report.steps} steps, ${report.preemptions} preemptions`],
    [
      'goodput',
      goodput.requestsPerSecond.toFixed(2),
      `${formatPercent(goodput.share)}: first token <= ${goodput.firstTokenMs} ms, then <= ${goodput.interTokenMs} ms`,
    ],
  ]
  await printLine('')
  await printLine(markdownTable(['what', 'a second', 'of it'], rates, ['a second']))
  const use = [
    ['pool held, mean (most)', `${formatPercent(kv.heldShare.mean)} (${formatPercent(kv.heldShare.max)})`],
    [
      'unfilled ends of last blocks',
      `${formatPercent(kv.unfilledShare)}, ${ms(kv.unfilledTokensPerSequence)} tokens a sequence`,
    ],
    [`unfilled, ${workload.contextTokens} tokens reserved for each`, formatPercent(kv.contiguousUnfilledShare)],
    ['held ahead: prompts under way, the next token', formatPercent(kv.aheadShare)],
  ]
  await printLine('')
  await printLine(markdownTable(['KV cache', 'share'], use, ['share']))
  await printLine('')
  await printLine(
    `CPU: ${cpu.secondsPerSecond.toFixed(2)} cores busy, ${cpu.msPerOutputToken.toFixed(2)} ms per output token` +
      `${flags.isolation === 'process' ? ' (without the engine process)' : ''}`,
  )
  const failed = Object.entries(requests.errors).map(([code, count]) => `${count} ${code}`)
  if (failed.length > 0) note(`ended with an error: ${failed.join(', ')}`)
}

function charts({ samples, moments }: LoadResult): Chart[] {
  const served = samples.filter(({ error }) => error === undefined)
  const over = (of: (moment: LoadResult['moments'][number]) => number) =>
    moments.map((moment): [number, number] => [moment.atMs / 1000, of(moment)])
  const latencies = [
    { name: 'between tokens', points: cumulative(served.flatMap(({ gapsMs }) => gapsMs)) },
    { name: 'first token', points: cumulative(served.map(({ firstTokenMs, startMs }) => firstTokenMs - startMs)) },
    { name: 'whole answer', points: cumulative(served.map(({ endMs, startMs }) => endMs - startMs)) },
  ]
  return [
    { title: 'Latencies', x: 'ms', y: '% at most', logX: true, series: latencies },
    {
      title: 'Requests',
      ...{ x: 's', y: 'requests' },
      series: [
        { name: 'running', points: over((moment) => moment.running) },
        { name: 'waiting', points: over((moment) => moment.waiting) },
      ],
    },
    {
      title: 'KV cache',
      ...{ x: 's', y: 'tokens' },
      series: [
        { name: 'held blocks', points: over((moment) => moment.heldBlocks * kvBlockTokens) },
        { name: 'tokens', points: over((moment) => moment.tokens) },
      ],
    },
  ]
}
