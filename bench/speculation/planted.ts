/**
 * What a draft model would bring a large one, without a pair of that size that was trained: random weights of both shapes, all work
 * real, and the guesses of the draft replaced by the target's own continuation, right with a given chance each. Which ones are right is
 * the same for all settings of a round, and what is right with one chance is with every higher one. Decode speed beside the same without
 * guesses, all in turns; how many guesses are made the controller says (`auto`), or a number. `cpuRatio` is the same of the process's CPU
 * time a token, `ofBest` is the speed beside that of the best number. Of a step's parts the medians: means would tell of whatever else
 * runs on the machine.
 *
 *   node --import tsx bench/speculation/planted.ts [--target synthetic:tinyllama-1.1b] [--draft synthetic:smollm2-135m] [--batch 1,4]
 *                                  [--chances 0.6,0.7,0.8,0.9] [--prompt 8] [--tokens 64] [--rounds 3] [--drafts auto,2,3,4] [--json FILE]
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
    drafts: { type: 'string', default: 'auto' },
    json: { type: 'string' },
  },
})
const chances = values.chances.split(',').map(Number)
const settings = values.drafts.split(',').map((drafts) => (drafts === 'auto' ? drafts : Number(drafts)))
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

/** Uniform in [0, 1), by three numbers: the finalizer of MurmurHash3. */
function uniform(round: number, id: number, position: number): number {
  let hash = Math.imul(round + 2, 0x9e3779b1) ^ Math.imul(id + 1, 0x85ebca77) ^ Math.imul(position + 1, 0xc2b2ae3d)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return ((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32
}

function spec(id: number, maxTokens: number): RequestSpec {
  const tokens = Int32Array.from({ length: promptTokens }, (_, i) => 1000 + 37 * id + i)
  const rest = { mode: 'generate', maxTokens, ignoreEos: true, salt: '', askedAtMs: 0 } as const
  return { id, tokens, sampling: greedySampling, stop: [], ...rest }
}

/** A scheduler lives as long as its engine: what it learned of costs stays. */
function schedulerOf(drafts: 'off' | 'auto' | number): Scheduler {
  const fixed = typeof drafts === 'number' ? drafts : undefined
  const drafting: DraftingOptions | undefined =
    drafts === 'off'
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

function run(scheduler: Scheduler, batch: number, round: number, chance: number | undefined) {
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
          right.map((token, position) => (uniform(round, id, position) < chance ? token : token ^ 1)),
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

/** Of a setting, its turns in the order of the rounds. */
interface Turns {
  chance: number
  drafts: 'auto' | number
  scheduler: Scheduler
  ratios: number[]
  cpuRatios: number[]
  of: ReturnType<typeof run>[]
}

/** One round: of each chance all settings, another of them first each time. */
function turns(all: Turns[], batch: number, round: number, plainSpeeds: number[]) {
  for (const chance of chances) {
    const beside = run(plain, batch, round, undefined)
    if (round >= 0) plainSpeeds.push(beside.tokensPerSecond)
    for (const i of settings.keys()) {
      const drafts = settings[(i + round + 1) % settings.length]
      const { scheduler, ratios, cpuRatios, of } = all.find((one) => one.chance === chance && one.drafts === drafts)!
      const guessed = run(scheduler, batch, round, chance)
      if (round < 0) continue
      ratios.push(guessed.tokensPerSecond / beside.tokensPerSecond)
      cpuRatios.push(guessed.tokensPerCpuSecond / beside.tokensPerCpuSecond)
      of.push(guessed)
    }
  }
}

/** Of the best number of guesses with a chance the ratio of each round; none: of no setting. */
function bestRatios(all: Turns[], chance: number): number[] {
  const numbers = all.filter((one) => one.chance === chance && one.drafts !== 'auto')
  return numbers.toSorted((a, b) => median(b.ratios) - median(a.ratios))[0]?.ratios ?? []
}

const plain = schedulerOf('off')
const rows = []
for (const batch of values.batch.split(',').map(Number)) {
  const all = chances.flatMap((chance) =>
    settings.map((drafts): Turns => {
      return { chance, drafts, scheduler: schedulerOf(drafts), ratios: [], cpuRatios: [], of: [] }
    }),
  )
  const plainSpeeds: number[] = []
  for (let round = -1; round < rounds; round++) turns(all, batch, round, plainSpeeds)
  for (const { chance, drafts, ratios, cpuRatios, of } of all) {
    const sum = (key: 'proposed' | 'accepted' | 'steps') => of.reduce((all, one) => all + one[key], 0)
    const best = bestRatios(all, chance)
    rows.push({
      ...{ batch, chance, drafts, plain: median(plainSpeeds) },
      ...{
        guessed: median(of.map(({ tokensPerSecond }) => tokensPerSecond)),
        ratio: median(ratios),
        cpuRatio: median(cpuRatios),
        ...(best.length > 0 && { ofBest: median(ratios.map((ratio, i) => ratio / best[i]!)) }),
        guessesPerStep: sum('proposed') / sum('steps') / batch,
        right: sum('accepted') / sum('proposed'),
        ...perStep(of.map(({ spent }) => spent)),
      },
    })
  }
}
const shown = (value: number | string) => (typeof value === 'number' ? Number(value.toFixed(3)) : value)
console.table(rows.map((row) => Object.fromEntries(Object.entries(row).map(([key, value]) => [key, shown(value)]))))
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
