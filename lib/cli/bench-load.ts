/**
 * `octavo bench-load <model>`: many clients at once. Closed loop (--clients) or requests that arrive at random times (--rate);
 * lengths and shared beginnings as a workload has them; rates, percentiles, goodput under a service objective, use of the KV
 * cache beside what a contiguous reservation would waste, CPU time. The measured process is this one, clients included.
 */
import { writeFileSync } from 'node:fs'
import { type Command, Option } from 'commander'
import { Engine } from '../index.ts'
import { drive, type LoadResult } from '../load/drive.ts'
import { Random } from '../load/random.ts'
import { type LoadReport, type Percentiles, summarise } from '../load/report.ts'
import { type Chart, cumulative, svg } from '../load/svg.ts'
import { createWorkload, type Workload, type WorkloadName, workloadNames } from '../load/workload.ts'
import { openCheckpoint } from '../model/checkpoint.ts'
import { kvBytesPerToken } from '../model/memory.ts'
import { native } from '../native.ts'
import { integer, number, positive } from './flags.ts'
import { clearStatusLine, formatPercent, markdownTable, note, printJson, printLine, statusLine } from './output.ts'

interface BenchLoadFlags {
  workload: WorkloadName
  clients: number
  rate?: number
  seconds: number
  requests?: number
  warmup: number
  scale: number
  prompt: number
  shared: number
  tokens: number
  temperature: number
  seed: number
  threads?: number
  kvMemory?: string
  prefixCache: boolean
  isolation: 'thread' | 'process'
  objective: 'latency' | 'throughput'
  maxStepMs?: number
  sloTtft: number
  sloItl: number
  svg?: string
  json?: boolean
}

export function addBenchLoad(program: Command): void {
  program
    .command('bench-load')
    .description('measure throughput and latencies under many concurrent requests')
    .argument('<model>', "a GGUF file, 'stories' or 'synthetic:<preset>'")
    .addOption(new Option('--workload <name>', 'what is asked for').choices(workloadNames).default('sharegpt'))
    .option('--clients <n>', 'clients that ask again when their answer is complete', positive, 16)
    .option('--rate <n>', 'instead of clients: requests that arrive per second, at random times', number)
    .option('--seconds <n>', 'length of the measured span', number, 30)
    .option('--requests <n>', 'the span ends when so many of its requests have ended', positive)
    .option('--warmup <seconds>', 'before the measured span', number, 5)
    .option('--scale <x>', 'multiplies all lengths of the workload', number, 1)
    .option('-p, --prompt <tokens>', "of workload 'fixed'", positive, 128)
    .option('--shared <tokens>', "of workload 'fixed': tokens that all prompts begin with", integer, 0)
    .option('-n, --tokens <tokens>', "of workload 'fixed': tokens to generate", positive, 64)
    .option('-t, --temperature <x>', '0 takes the most likely token each time', number, 0.8)
    .option('--seed <n>', 'same seed, same requests', integer, 1)
    .option('--threads <n>', 'threads to compute with; all CPUs of this process when absent', positive)
    .option('--kv-memory <size>', 'memory of the KV cache; room for all clients when absent')
    .option('--no-prefix-cache', 'requests do not find what earlier ones computed')
    .addOption(new Option('--isolation <place>', 'where to compute').choices(['thread', 'process']).default('thread'))
    .addOption(new Option('--objective <what>').choices(['latency', 'throughput']).default('latency'))
    .option('--max-step-ms <n>', 'milliseconds a step may take while requests are generating', number)
    .option('--slo-ttft <ms>', 'service objective: time to the first token', number, 2000)
    .option('--slo-itl <ms>', 'service objective: mean time between tokens', number, 200)
    .option('--svg <file>', 'write charts')
    .option('--json', 'print one JSON document')
    .action(benchLoad)
}

async function benchLoad(model: string, flags: BenchLoadFlags): Promise<void> {
  const random = new Random(flags.seed)
  const { desc } = openCheckpoint(model)
  const workload = createWorkload(flags.workload, {
    vocabulary: desc.vocabulary,
    scale: flags.scale,
    promptTokens: flags.prompt,
    sharedTokens: flags.shared,
    outputTokens: flags.tokens,
    random: random.child(-1),
  })
  const memory = flags.kvMemory ?? kvMemory(flags, workload, kvBytesPerToken(desc))
  statusLine(`loading ${model}`)
  const engine = await Engine.load({
    model,
    contextTokens: workload.contextTokens,
    kv: { memory },
    threads: flags.threads,
    prefixCache: flags.prefixCache,
    isolation: flags.isolation,
    objective: flags.objective,
    maxStepMs: flags.maxStepMs,
  })
  try {
    statusLine(`measuring: ${flags.warmup} s to warm up, then up to ${flags.seconds} s`)
    const result = await drive(engine, workload, {
      arrivals: flags.rate === undefined ? { clients: flags.clients } : { perSecond: flags.rate },
      warmupSeconds: flags.warmup,
      seconds: flags.seconds,
      requests: flags.requests ?? Number.POSITIVE_INFINITY,
      sampling: { temperature: flags.temperature, seed: flags.seed },
      random,
    })
    clearStatusLine()
    const objective = { firstTokenMs: flags.sloTtft, interTokenMs: flags.sloItl }
    const report = summarise(result, objective, workload.contextTokens)
    if (flags.svg !== undefined) writeFileSync(flags.svg, svg(charts(result)))
    if (flags.json) await printJson({ model: engine.model.name, machine: machine(flags), flags, ...report })
    else await printReport(report, flags, workload)
  } finally {
    await engine.close()
  }
}

/** Room for what the clients hold on average and a third more, at least for one request of any length. */
function kvMemory(flags: BenchLoadFlags, workload: Workload, tokenBytes: number): number {
  const sequences = flags.rate === undefined ? flags.clients : 32
  const tokens = Math.max(workload.contextTokens + 64, Math.ceil((4 / 3) * sequences * workload.meanTokens))
  return tokens * tokenBytes
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
        { name: 'held blocks', points: over((moment) => moment.heldBlocks * 16) },
        { name: 'tokens', points: over((moment) => moment.tokens) },
      ],
    },
  ]
}
