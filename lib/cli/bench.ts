/**
 * `octavo bench <model>`: prefill (pp) and decode (tg) speed as a table, each with its share of the limits measured beside it.
 * Decode is timed twice, interleaved: driven from C++ and through the public API (engine thread, messages, async
 * iterator, detokeniser), with the same tokens, half of the runs sampled; the ratio is what the JavaScript side costs.
 */
import type { Command } from 'commander'
import { OctavoError } from '../base/errors.ts'
import { blocksFor } from '../base/kv-blocks.ts'
import {
  greedySampling,
  type MachineLimits,
  type ModelDesc,
  type NativeEngine,
  type NativeModel,
  native,
  type SamplerParams,
  type Tuning,
} from '../base/native.ts'
import { Engine, type EngineStats } from '../index.ts'
import { openCheckpoint } from '../model/checkpoint.ts'
import { measureParallel, type ParallelPlan, type ParallelRun, summariseParallel } from './bench-parallel.ts'
import { decodeBound, type PeakShares, passCost, peakShares, prefillOpsPerSecond } from './bounds.ts'
import { positive, speculationOf, speculationOption } from './flags.ts'
import { LimitsBeside, medianLimits } from './limits-beside.ts'
import {
  clearStatusLine,
  formatBytes,
  formatCount,
  formatPercent,
  markdownTable,
  median,
  printJson,
  printLine,
  statusLine,
} from './output.ts'

interface BenchFlags {
  prompt: number
  tokens: number
  repetitions: number
  threads?: number
  isa?: string
  api: boolean
  parallel?: number[]
  speculation?: 'auto' | 'off'
  draft?: string
  json?: boolean
}

interface Plan {
  promptTokens: number
  decodeTokens: number
  repetitions: number
  threads: number
  isa: string | null
}

/** One repetition, in seconds, with the limits beside it; `apiSeconds` is absent with --no-api. */
interface Run {
  limits: MachineLimits
  sampled: boolean
  prefillSeconds: number
  decodeSeconds: number
  apiSeconds?: number
}

const stepTokens = 512

export function addBench(program: Command): void {
  program
    .command('bench')
    .description('measure prefill and decode speed against the limits of this machine')
    .argument('<model>', "a GGUF file, 'stories' or 'synthetic:<preset>'")
    .option('-p, --prompt <tokens>', 'tokens of the prefill test', positive, 512)
    .option('-n, --tokens <tokens>', 'tokens of the decode test', positive, 128)
    .option('-r, --repetitions <n>', 'runs of each test; the median counts', positive, 6)
    .option('--threads <n>', 'threads to compute with; all CPUs of this process when absent', positive)
    .option('--isa <name>', 'instruction set of the C++ runs; the best when absent (implies --no-api)')
    .option('--parallel <n>', 'also n requests at once through the public API (repeatable)', positives)
    .addOption(speculationOption())
    .option('--draft <model>', 'speculation with a small model of the same vocabulary that guesses, too')
    .option('--no-api', 'leave out the runs through the public API')
    .option('--json', 'print one JSON document')
    .action(bench)
}

const positives = (text: string, earlier: number[] = []): number[] => [...earlier, positive(text)]

async function bench(model: string, flags: BenchFlags): Promise<void> {
  const plan: Plan = {
    promptTokens: flags.prompt,
    decodeTokens: flags.tokens,
    repetitions: flags.repetitions,
    threads: flags.threads ?? native().cpu().cpus,
    isa: flags.isa ?? null,
  }
  const { desc, name } = openCheckpoint(model)
  // What is measured is the model, unless asked otherwise.
  const speculation = speculationOf({ speculation: flags.draft === undefined ? 'off' : 'auto', ...flags })
  const context = Math.max(plan.promptTokens + 1, plan.decodeTokens + 2)
  const limits = new LimitsBeside(plan.threads)
  statusLine(`loading ${model}`)
  const { nativeModel, nativeEngine } = loadNative(desc, plan, context)
  const engine =
    flags.api && plan.isa === null
      ? await Engine.load({
          ...{ model, threads: plan.threads, contextTokens: context, prefixCache: false },
          speculation,
        })
      : undefined
  try {
    const runs = await measure(plan, desc, nativeEngine, engine, limits)
    const parallel = flags.parallel ? await parallelRuns(model, desc, plan, flags.parallel, speculation, limits) : []
    const guesses = engine?.stats().drafts
    const report = { ...summarise(name, plan, desc, nativeModel, nativeEngine.tuning, runs, parallel), guesses }
    clearStatusLine()
    if (flags.json) await printJson(report)
    else await printReport(report)
  } finally {
    await engine?.close()
    nativeEngine.close()
    nativeModel.close()
  }
}

function parallelRuns(
  model: string,
  desc: ModelDesc,
  plan: Plan,
  counts: number[],
  speculation: ParallelPlan['speculation'],
  limits: LimitsBeside,
): Promise<ParallelRun[]> {
  statusLine(`measuring ${counts.join(', ')} requests at once`)
  const { decodeTokens: tokens, repetitions, threads } = plan
  return measureParallel(model, desc, { counts, tokens, repetitions, threads, speculation }, limits)
}

function loadNative(
  desc: ModelDesc,
  plan: Plan,
  context: number,
): { nativeModel: NativeModel; nativeEngine: NativeEngine } {
  const nativeModel = new (native().Model)(desc, 'cpu', plan.isa)
  for (let i = 0; i < nativeModel.tensorCount; i++) nativeModel.loadTensor(i)
  nativeModel.finishLoad()
  const nativeEngine = new (native().Engine)(nativeModel, {
    threads: plan.threads,
    kvBlocks: blocksFor(context) + 1,
    maxStepTokens: stepTokens,
    prefixCache: false,
    tune: true,
  })
  return { nativeModel, nativeEngine }
}

/** Token ids without meaning but with a spread, the same in every run (a linear congruential generator). */
function promptIds(count: number, vocabulary: number): number[] {
  const ids: number[] = []
  let state = 1
  for (let i = 0; i < count; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    ids.push(Math.floor((state / 2 ** 32) * vocabulary))
  }
  return ids
}

/** The sampling of the runs that sample, as the public API names it. */
const sampling = (sampled: boolean) =>
  sampled ? { temperature: 0.8, topK: 40, topP: 0.95, seed: 1 } : { temperature: 0, seed: 1 }

const nativeSampling = (sampled: boolean): SamplerParams => ({
  ...greedySampling,
  promptLength: 1,
  ...sampling(sampled),
})

async function measure(
  plan: Plan,
  desc: ModelDesc,
  nativeEngine: NativeEngine,
  engine: Engine | undefined,
  limits: LimitsBeside,
): Promise<Run[]> {
  const long = Int32Array.from(promptIds(plan.promptTokens, desc.vocabulary))
  const one = promptIds(1, desc.vocabulary)
  // Prefill gives the first token, each step one more.
  const decode = (sampled: boolean) =>
    native().benchDecode(nativeEngine, Int32Array.from(one), plan.decodeTokens + 1, nativeSampling(sampled))
      .decodeSeconds
  const runs: Run[] = []
  // Run -1 warms caches and threads up and is dropped.
  for (let i = -1; i < plan.repetitions; i++) {
    statusLine(`measuring, run ${Math.max(1, i + 1)} of ${plan.repetitions}`)
    const sampled = (i & 1) === 1
    const apiFirst = (i & 2) === 2
    const timed = async () => {
      const { prefillSeconds } = native().benchDecode(nativeEngine, long, 1, {
        ...nativeSampling(false),
        promptLength: long.length,
      })
      const early = engine && apiFirst ? await decodeThroughApi(engine, one, plan.decodeTokens, sampled) : undefined
      const decodeSeconds = decode(sampled)
      const apiSeconds = early ?? (engine && (await decodeThroughApi(engine, one, plan.decodeTokens, sampled)))
      return { sampled, prefillSeconds, decodeSeconds, ...(apiSeconds === undefined ? {} : { apiSeconds }) }
    }
    if (i < 0) await limits.warmUp(timed)
    else runs.push(await limits.of(timed))
  }
  return runs
}

/**
 * Seconds of `tokens` decode steps, as in C++: from the first token, by the engine thread's clock, to the moment when a program
 * that reads the stream has the last one.
 */
async function decodeThroughApi(engine: Engine, prompt: number[], tokens: number, sampled: boolean): Promise<number> {
  const asked = performance.now()
  const generation = engine.generate({ prompt, maxTokens: tokens + 1, ignoreEos: true, ...sampling(sampled) })
  let received = 0
  for await (const part of generation) received += part.tokens.length
  const ended = performance.now()
  const { timings } = await generation.result
  if (received !== tokens + 1) throw new OctavoError('INTERNAL', `expected ${tokens + 1} tokens, received ${received}`)
  return (ended - asked - timings.firstTokenMs) / 1000
}

type Report = ReturnType<typeof summarise> & { guesses: EngineStats['drafts'] | undefined }

function summarise(
  name: string,
  plan: Plan,
  desc: ModelDesc,
  model: NativeModel,
  tuning: Tuning,
  runs: Run[],
  parallel: ParallelRun[],
) {
  const cost = passCost(desc)
  const bounds = runs.map(({ limits }) => decodeBound(cost, plan.decodeTokens / 2, limits))
  const speeds = runs.map(({ decodeSeconds }) => plan.decodeTokens / decodeSeconds)
  const shareOfBound = (speeds: number[]) => median(speeds.map((speed, i) => speed / bounds[i]!))
  const apiSeconds = runs.flatMap((run) => run.apiSeconds ?? [])
  const apiSpeeds = apiSeconds.map((seconds) => plan.decodeTokens / seconds)
  return {
    model: { name, architecture: desc.architecture, parameters: parameters(desc), residentBytes: model.residentBytes },
    cpu: native().cpu().model,
    isa: plan.isa ?? native().cpu().isa,
    threads: plan.threads,
    hugePageBytes: native().hugePageBytes(),
    tuning,
    /** Medians over the repetitions; a share is the median of the repetitions' shares, each of the limits beside it. */
    limits: medianLimits(runs.map(({ limits }) => limits)),
    prefill: {
      tokens: plan.promptTokens,
      tokensPerSecond: median(runs.map(({ prefillSeconds }) => plan.promptTokens / prefillSeconds)),
      ...peakShares(
        runs.map(({ prefillSeconds }) => prefillOpsPerSecond(cost, plan.promptTokens, prefillSeconds)),
        runs.map(({ limits }) => limits),
      ),
    },
    decode: {
      tokens: plan.decodeTokens,
      tokensPerSecond: median(speeds),
      bound: median(bounds),
      shareOfBound: shareOfBound(speeds),
    },
    api:
      apiSeconds.length === 0
        ? null
        : {
            tokensPerSecond: median(apiSpeeds),
            shareOfBound: shareOfBound(apiSpeeds),
            ratioToNative: median(apiSpeeds.map((speed, i) => speed / speeds[i]!)),
          },
    parallel: summariseParallel(parallel, desc),
    runs,
  }
}

function formatShares({ shareOfInt8Peak, shareOfMatrixPeak }: PeakShares): string {
  const matrix = shareOfMatrixPeak === null ? '' : `, ${formatPercent(shareOfMatrixPeak)} of matrix peak`
  return `${formatPercent(shareOfInt8Peak)} of int8 peak${matrix}`
}

function tuningLine({ prefetchFromTokens, matrixFromTokens, seconds }: Tuning): string {
  const steps = { 1: 'every step prefetches', Infinity: 'no step prefetches' }[prefetchFromTokens]
  const measured = seconds > 0 ? `measured in ${(1000 * seconds).toFixed(0)} ms` : 'not measured'
  const matrix = Number.isFinite(matrixFromTokens) ? `, of ${matrixFromTokens} or more use matrix registers` : ''
  return `tuning: ${steps ?? `steps of ${prefetchFromTokens} tokens or more prefetch`} weights${matrix} (${measured})`
}

const parameters = (desc: ModelDesc): number =>
  Object.values(desc.tensors).reduce((sum, tensor) => sum + tensor.rows * tensor.width, 0)

async function printReport(report: Report): Promise<void> {
  const { model, prefill, decode, api, limits, runs } = report
  const same = [
    `${model.name}`,
    formatBytes(model.residentBytes),
    formatCount(model.parameters),
    report.isa,
    String(report.threads),
  ]
  const rows = [
    [...same, `pp${prefill.tokens}`, prefill.tokensPerSecond.toFixed(2), formatShares(prefill)],
    [
      ...same,
      `tg${decode.tokens}`,
      decode.tokensPerSecond.toFixed(2),
      `${formatPercent(decode.shareOfBound)} of bound`,
    ],
  ]
  if (api) {
    rows.push([
      ...same,
      `tg${decode.tokens} API`,
      api.tokensPerSecond.toFixed(2),
      `${formatPercent(api.shareOfBound)} of bound`,
    ])
  }
  for (const { requests, tokensPerSecond, shareOfBound, ...shares } of report.parallel) {
    rows.push([
      ...same,
      `tg${decode.tokens} x ${requests} API`,
      tokensPerSecond.toFixed(2),
      `${formatPercent(shareOfBound)} of bound, ${formatShares(shares)}`,
    ])
  }
  const head = ['model', 'size', 'params', 'isa', 'threads', 'test', 't/s', 'limit']
  await printLine(markdownTable(head, rows, ['size', 'params', 'threads', 't/s', 'limit']))
  await printLine('')
  if (api) {
    const sampled = runs.filter((run) => run.sampled).length
    await printLine(
      `public API / C++: ${formatPercent(api.ratioToNative)} (median of ${runs.length} interleaved pairs, ${sampled} sampled)`,
    )
  }
  const matrix =
    limits.matrixOpsPerSecond > 0 ? `matrix registers ${(limits.matrixOpsPerSecond / 1e9).toFixed(0)} Gop/s, ` : ''
  await printLine(
    `limits, ${report.threads} threads: read ${(limits.readBytesPerSecond / 1e9).toFixed(1)} GB/s, ` +
      `int8 ${(limits.int8OpsPerSecond / 1e9).toFixed(0)} Gop/s, ${matrix}barrier ${(limits.barrierSeconds * 1e6).toFixed(2)} us; ` +
      `decode bound ${decode.bound.toFixed(1)} t/s (${report.cpu}); ${formatBytes(report.hugePageBytes)} in huge pages`,
  )
  await printLine(tuningLine(report.tuning))
  const { proposed, accepted, stepsSaved } = report.guesses ?? { proposed: 0 }
  if (proposed > 0) await printLine(`guesses: ${accepted} of ${proposed} right, ${stepsSaved} steps saved`)
}
