/**
 * What a draft model would bring a large one, without a pair of that size that was trained: random weights of both shapes, all work
 * real, and the guesses of the draft replaced by the target's own continuation, right with a given chance each. Which ones are right is
 * the same for all settings of a round, and what is right with one chance is with every higher one. Decode speed beside the same without
 * guesses: all settings of a chance take turns step by step. How many guesses are made the controller says (`auto`), or a number.
 * `cpuRatio` is the same of the process's CPU time a token, `ofBest` is the speed beside that of the best number. Of a step's parts the
 * medians: means would tell of whatever else runs on the machine.
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
import { resultsFor, type StepResults, stepsOf } from '../../lib/host/schedule/step-results.ts'
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
const batches = values.batch.split(',').map(Number)
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

const sequences = (1 + settings.length) * Math.max(...batches)
const pool = { threads: cpus, kvBlocks: sequences * Math.ceil((promptTokens + tokens + 64) / 16), tune: true }
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

/** The answers of one setting in one round, step by step: settings take turns at the same machine. */
class Turn {
  readonly #scheduler: Scheduler
  readonly #round: number
  readonly #chance: number | undefined
  readonly #requests: HostRequest[]
  readonly #results: StepResults
  readonly #before: Scheduler['drafts']
  readonly #planted = new Set<number>()
  readonly #spent: Spent = { verifyMs: [], guessMs: [], betweenMs: [] }
  #decodes = false
  #ms = 0
  #cpuMs = 0
  #drawn = 0
  #steps = 0
  #done = false

  constructor(scheduler: Scheduler, batch: number, round: number, chance: number | undefined) {
    this.#scheduler = scheduler
    this.#round = round
    this.#chance = chance
    this.#requests = Array.from({ length: batch }, (_, id) => new HostRequest(spec(id, tokens), 4096, new Set()))
    const drafting = chance === undefined ? undefined : ({} as DraftingOptions)
    this.#results = resultsFor({ stepTokens, drafting }, (row) => engine.topLogprobs(row))
    for (const request of this.#requests) scheduler.add(request, 0)
    this.#before = { ...scheduler.drafts }
  }

  get done(): boolean {
    return this.#done
  }

  /** Tokens so far. */
  get length(): number {
    return this.#requests.reduce((sum, request) => sum + request.length, 0)
  }

  step(): void {
    const results = this.#results
    const [beganMs, beganCpuMs, before] = [performance.now(), cpuMs(), this.length]
    const plan = this.#scheduler.plan(0)
    if (plan === undefined) {
      this.#finish()
      return
    }
    const guessed = plan.drafted
    engine.submit(plan.segments, plan.nSegments, plan.tokens, plan.nTokens)
    this.#plant()
    const { tokens, logprobs, drafts } = results
    const rows = engine.wait(tokens, logprobs, plan.steps, longestRunMs / 1000, drafts, plan.draws)
    results.steps = stepsOf(plan, results.drafts, rows)
    results.ms = engine.stepSeconds * 1000
    this.#scheduler.commit(plan, results, performance.now())
    this.#steps += results.steps
    // From when everybody decodes until the first has all of its tokens: requests with better guesses end sooner.
    if (this.#decodes && this.#requests.every(({ end }) => end === undefined)) {
      const tookMs = performance.now() - beganMs
      this.#ms += tookMs
      this.#cpuMs += cpuMs() - beganCpuMs
      this.#drawn += this.length - before
      if (guessed) count(this.#spent, results.drafts, plan.nSegments, results.steps, tookMs)
    }
    this.#decodes ||= this.#requests.every(({ hasFirstToken }) => hasFirstToken)
  }

  #plant(): void {
    const chance = this.#chance
    if (chance === undefined) return
    for (const { id, sequence } of this.#requests) {
      if (sequence < 0 || this.#planted.has(id)) continue
      this.#planted.add(id)
      const isRight = (position: number) => uniform(this.#round, id, position) < chance
      const guesses = continuations.get(id)!.map((token, position) => (isRight(position) ? token : token ^ 1))
      engine.plantDrafts(sequence, guesses)
    }
  }

  #finish(): void {
    this.#done = true
    for (const request of this.#requests) {
      const said = request.tokens.slice(0, request.length)
      const known = continuations.get(request.id)
      if (known?.some((token, i) => token !== said[i])) throw new Error('another continuation')
      continuations.set(request.id, said)
    }
  }

  get result() {
    const { proposed, accepted } = this.#scheduler.drafts
    const before = this.#before
    return {
      tokensPerSecond: (1000 * this.#drawn) / this.#ms,
      tokensPerCpuSecond: (1000 * this.#drawn) / this.#cpuMs,
      spent: this.#spent,
      ...{ proposed: proposed - before.proposed, accepted: accepted - before.accepted, steps: this.#steps },
    }
  }
}

/** Whoever has said least has the next step, so that all see the same moods of the machine. */
function takeTurns(turns: Turn[]) {
  for (;;) {
    const left = turns.filter(({ done }) => !done)
    if (left.length === 0) return
    left.reduce((least, turn) => (turn.length < least.length ? turn : least)).step()
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

/** A setting, and what came of it in each round. */
interface Measured {
  chance: number
  drafts: 'auto' | number
  scheduler: Scheduler
  ratios: number[]
  cpuRatios: number[]
  of: Turn['result'][]
}

function measure(all: Measured[], batch: number, round: number, plainSpeeds: number[]) {
  for (const chance of chances) {
    const settings = all.filter((one) => one.chance === chance)
    const plainTurn = new Turn(plain, batch, round, undefined)
    const turns = settings.map(({ scheduler }) => new Turn(scheduler, batch, round, chance))
    // What is to be guessed has to be known first.
    if (round < 0) takeTurns([plainTurn])
    takeTurns([plainTurn, ...turns])
    if (round < 0) continue
    const beside = plainTurn.result
    plainSpeeds.push(beside.tokensPerSecond)
    for (const [i, { ratios, cpuRatios, of }] of settings.entries()) {
      const guessed = turns[i]!.result
      ratios.push(guessed.tokensPerSecond / beside.tokensPerSecond)
      cpuRatios.push(guessed.tokensPerCpuSecond / beside.tokensPerCpuSecond)
      of.push(guessed)
    }
  }
}

/** Of the best number of guesses with a chance the ratio of each round; none: of no setting. */
function bestRatios(all: Measured[], chance: number): number[] {
  const numbers = all.filter((one) => one.chance === chance && one.drafts !== 'auto')
  return numbers.toSorted((a, b) => median(b.ratios) - median(a.ratios))[0]?.ratios ?? []
}

const plain = schedulerOf('off')
const rows = []
for (const batch of batches) {
  const all = chances.flatMap((chance) =>
    settings.map((drafts): Measured => {
      return { chance, drafts, scheduler: schedulerOf(drafts), ratios: [], cpuRatios: [], of: [] }
    }),
  )
  const plainSpeeds: number[] = []
  for (let round = -1; round < rounds; round++) measure(all, batch, round, plainSpeeds)
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
