/**
 * What a draft model would bring a large one, without a pair of that size that was trained: random weights of both shapes, all work
 * real, and the guesses of the draft replaced by the target's own continuation, right with a given chance each. Decode speed beside the
 * same without guesses, in turns; how many guesses are made the controller says, or --drafts. `cpuRatio` is the same of the process's CPU
 * time a token. Of a step's parts the medians: means would tell of whatever else runs on the machine.
 *
 *   node --import tsx bench/speculation/planted.ts [--target synthetic:tinyllama-1.1b] [--draft synthetic:smollm2-135m] [--batch 1,4]
 *                                  [--chances 0.6,0.7,0.8,0.9] [--prompt 8] [--tokens 64] [--rounds 3] [--drafts N] [--json FILE]
 */
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { draftField, draftStride, greedySampling, type NativeModel, native } from '../../lib/base/native.ts'
import { NativeKv } from '../../lib/host/loop.ts'
import { HostRequest } from '../../lib/host/schedule/request.ts'
import { longestRunMs, Scheduler } from '../../lib/host/schedule/scheduler.ts'
import { resultsFor, stepsOf } from '../../lib/host/schedule/step-results.ts'
import type { DraftingOptions, RequestSpec, SchedulingPolicy } from '../../lib/host/wire/protocol.ts'
import { openCheckpoint } from '../../lib/model/checkpoint.ts'
import { locateModel } from '../../lib/model/locate.ts'

const { values } = parseArgs({
  options: {
    target: { type: 'string', default: 'synthetic:tinyllama-1.1b' },
    draft: { type: 'string', default: 'synthetic:smollm2-135m' },
    batch: { type: 'string', default: '1,4' },
    chances: { type: 'string', default: '0.6,0.7,0.8,0.9' },
    prompt: { type: 'string', default: '8' },
    tokens: { type: 'string', default: '64' },
    rounds: { type: 'string', default: '3' },
    drafts: { type: 'string' },
    json: { type: 'string' },
  },
})
const chances = values.chances.split(',').map(Number)
const [tokens, rounds] = [Number(values.tokens), Number(values.rounds)]
const { cpus, model: cpu, isa } = native().cpu()
const stepTokens = 256
const maxSequences = 64
const promptTokens = Number(values.prompt)

function load(name: string): NativeModel {
  const model = new (native().Model)(openCheckpoint(locateModel(name)).desc, 'cpu', null)
  for (let i = 0; i < model.tensorCount; i++) model.loadTensor(i)
  model.finishLoad()
  return model
}

const pool = { threads: cpus, kvBlocks: 4 * Math.ceil((4 * (promptTokens + tokens + 64)) / 16), tune: true }
const engine = new (native().Engine)(load(values.target), { ...pool, maxStepTokens: stepTokens, prefixCache: false })
engine.setDraftModel(load(values.draft), { ...pool, maxStepTokens: stepTokens, prefixCache: false })
const kv = new NativeKv(engine)
const policy: SchedulingPolicy = {
  ...{ objective: 'latency', maxStepMs: 1000, weights: {}, idleTimeoutMs: Number.POSITIVE_INFINITY },
  ...{ maxQueuedRequests: 4096, maxQueuedTokens: Number.MAX_SAFE_INTEGER },
}

let seed = 1
/** Uniform in [0, 1): a linear congruential generator. */
function uniform(): number {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0
  return seed / 2 ** 32
}

function spec(id: number, maxTokens: number): RequestSpec {
  const tokens = Int32Array.from({ length: promptTokens }, (_, i) => 1000 + 37 * id + i)
  const rest = { mode: 'generate', maxTokens, ignoreEos: true, salt: '', askedAtMs: 0 } as const
  return { id, tokens, sampling: greedySampling, stop: [], ...rest }
}

/** A scheduler lives as long as its engine: what it learned of costs stays. */
function schedulerOf(chance: number | undefined): Scheduler {
  const fixed = values.drafts === undefined ? undefined : Number(values.drafts)
  const drafting: DraftingOptions | undefined =
    chance === undefined
      ? undefined
      : { own: false, shared: false, model: locateModel(values.draft), maxModelDrafts: 15, fixed }
  return new Scheduler(kv, { stepTokens, maxSequences, prefixCache: false, policy, drafting })
}

const continuations = new Map<number, Int32Array>()

/** What each step took, or the mean of a run: the target's rows, the guesses before them, and all else from one step to the next. */
interface Spent {
  verifyMs: number[]
  guessMs: number[]
  betweenMs: number[]
}

/** Of a run that took so long: what its reports say of its steps. */
function count(spent: Spent, reports: Int32Array, segments: number, steps: number, tookMs: number) {
  let betweenMs = tookMs
  for (let report = 0; report < steps * segments * draftStride; report += segments * draftStride) {
    const verifyMs = reports[report + draftField.nanoseconds]! / 1e6
    const guessMs = reports[report + draftField.guessNanoseconds]! / 1e6
    spent.verifyMs.push(verifyMs)
    spent.guessMs.push(guessMs)
    betweenMs -= verifyMs + guessMs
  }
  spent.betweenMs.push(betweenMs / steps)
}

function cpuMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}

function run(scheduler: Scheduler, batch: number, chance: number | undefined) {
  const requests = Array.from({ length: batch }, (_, id) => new HostRequest(spec(id, tokens), 4096, new Set()))
  const drafting = chance === undefined ? undefined : ({} as DraftingOptions)
  const results = resultsFor({ stepTokens, drafting }, (row) => engine.topLogprobs(row))
  for (const request of requests) scheduler.add(request, 0)
  const before = { ...scheduler.drafts }
  const planted = new Set<number>()
  let [startedMs, startedCpuMs, decodeMs, decodeCpuMs, drawn, total, steps] = [0, 0, 0, 0, 0, 0, 0]
  const spent: Spent = { verifyMs: [], guessMs: [], betweenMs: [] }
  for (let plan = scheduler.plan(0); plan !== undefined; plan = scheduler.plan(0)) {
    const guessed = plan.drafted
    engine.submit(plan.segments, plan.nSegments, plan.tokens, plan.nTokens)
    if (chance !== undefined)
      for (const { id, sequence } of requests) {
        if (sequence < 0 || planted.has(id)) continue
        planted.add(id)
        const right = continuations.get(id)!
        engine.plantDrafts(
          sequence,
          right.map((token) => (uniform() < chance ? token : token ^ 1)),
        )
      }
    const rows = engine.wait(
      results.tokens,
      results.logprobs,
      plan.steps,
      longestRunMs / 1000,
      results.drafts,
      plan.draws,
    )
    results.steps = stepsOf(plan, results.drafts, rows)
    results.ms = engine.stepSeconds * 1000
    scheduler.commit(plan, results, performance.now())
    steps += results.steps
    const length = requests.reduce((sum, request) => sum + request.length, 0)
    // From here on everybody decodes, until the first has all of its tokens: requests with better guesses end sooner.
    if (startedMs === 0 && requests.every(({ hasFirstToken }) => hasFirstToken)) {
      startedMs = performance.now()
      startedCpuMs = cpuMs()
      drawn = length
    } else if (startedMs > 0 && requests.every(({ end }) => end === undefined)) {
      const tookMs = performance.now() - startedMs - decodeMs
      decodeMs += tookMs
      decodeCpuMs = cpuMs() - startedCpuMs
      total = length - drawn
      if (guessed) count(spent, results.drafts, plan.nSegments, results.steps, tookMs)
    }
  }
  for (const request of requests) {
    const said = request.tokens.slice(0, request.length)
    const known = continuations.get(request.id)
    if (known?.some((token, i) => token !== said[i])) throw new Error('another continuation')
    continuations.set(request.id, said)
  }
  const { proposed, accepted } = scheduler.drafts
  return {
    tokensPerSecond: (1000 * total) / decodeMs,
    tokensPerCpuSecond: (1000 * total) / decodeCpuMs,
    spent,
    ...{ proposed: proposed - before.proposed, accepted: accepted - before.accepted, steps },
  }
}

/** Of an even number of values: the mean of the middle two. */
function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  return (sorted[(sorted.length - 1) >> 1]! + sorted[sorted.length >> 1]!) / 2
}
/** Milliseconds of a step's parts. */
function perStep(spent: Spent[]) {
  const of = (key: keyof Spent) => median(spent.flatMap((one) => one[key]))
  return { verifyMs: of('verifyMs'), guessMs: of('guessMs'), betweenMs: of('betweenMs') }
}

const plain = schedulerOf(undefined)
const rows = []
for (const batch of values.batch.split(',').map(Number)) {
  const runs = chances.map((chance) => ({
    chance,
    scheduler: schedulerOf(chance),
    ratios: [] as number[],
    cpuRatios: [] as number[],
    of: [] as ReturnType<typeof run>[],
  }))
  const plainSpeeds: number[] = []
  for (let round = -1; round < rounds; round++) {
    for (const { chance, scheduler, ratios, cpuRatios, of } of runs) {
      const beside = run(plain, batch, undefined)
      const guessed = run(scheduler, batch, chance)
      if (round < 0) continue
      plainSpeeds.push(beside.tokensPerSecond)
      ratios.push(guessed.tokensPerSecond / beside.tokensPerSecond)
      cpuRatios.push(guessed.tokensPerCpuSecond / beside.tokensPerCpuSecond)
      of.push(guessed)
    }
  }
  for (const { chance, ratios, cpuRatios, of } of runs) {
    const sum = (key: 'proposed' | 'accepted' | 'steps') => of.reduce((all, one) => all + one[key], 0)
    rows.push({
      ...{
        batch,
        chance,
        plain: median(plainSpeeds),
        guessed: median(of.map(({ tokensPerSecond }) => tokensPerSecond)),
      },
      ...{
        ratio: median(ratios),
        cpuRatio: median(cpuRatios),
        guessesPerStep: sum('proposed') / sum('steps') / batch,
        right: sum('accepted') / sum('proposed'),
        ...perStep(of.map(({ spent }) => spent)),
      },
    })
  }
}
console.table(
  rows.map((row) => Object.fromEntries(Object.entries(row).map(([key, value]) => [key, Number(value.toFixed(2))]))),
)
const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim()
const result = {
  target: values.target,
  draft: values.draft,
  cpu,
  isa,
  threads: cpus,
  commit,
  promptTokens,
  tokens,
  rounds,
  rows,
}
if (values.json) writeFileSync(values.json, JSON.stringify(result))
engine.close()
