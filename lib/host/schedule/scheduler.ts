/**
 * Decides which request computes how many tokens in the next step. Pure: no I/O, no clock, no randomness; time and the measured
 * cost of steps are arguments, the KV cache is a small interface.
 *
 * There are no phases. A request has tokens (`target`) and tokens that are computed; a step spends a budget on closing the gaps:
 * first of requests that generate (one token, and drafts), then, by tenant and urgency (tenants.ts), those of running requests that
 * lack more and of new ones. While somebody generates, the budget is what fits maxStepMs by the cost model; with the objective
 * 'throughput' prompts come first and steps are full. Blocks for all of a request's tokens are reserved when it is admitted, so that
 * only its output can run short; claims.ts says who makes way then and is recomputed later.
 *
 * Steps may be planned ahead: two are in flight at most, results come in order. What came to its end meanwhile gets no results. Where
 * the engine feeds its draws to the next step (`ahead`), who draws in the first step is in the second one as well.
 */
import type { ErrorData } from '../../base/errors.ts'
import { draftField, draftStride, segmentStride } from '../../base/native.ts'
import { DraftController } from '../drafts/controller.ts'
import { largestOf, maxDrafts } from '../drafts/kinds.ts'
import type { DraftingOptions, SchedulingPolicy } from '../wire/protocol.ts'
import { Admission } from './admission.ts'
import { CostModel } from './cost-model.ts'
import type { Drafter } from './drafter.ts'
import { Expiries } from './expiries.ts'
import type { KvPort } from './kv-port.ts'
import type { HostRequest } from './request.ts'
import { RunningSet } from './running-set.ts'
import { StepMargin } from './step-margin.ts'
import { StepPlan } from './step-plan.ts'
import type { StepResults } from './step-results.ts'
import { goesBefore, Tenants } from './tenants.ts'

export interface SchedulerOptions {
  /** Tokens of one step. */
  stepTokens: number
  /** Requests that may hold a sequence at once. */
  maxSequences: number
  prefixCache: boolean
  policy: SchedulingPolicy
  /** A step may go on with what the one in flight draws. */
  ahead?: boolean | undefined
  /** Guesses from outside, asked between two steps; else those of native drafters, as `drafting` says. */
  drafter?: Drafter | undefined
  drafting?: DraftingOptions | undefined
}

/**
 * A prompt gets on by so many tokens in every step, however long that takes: few, because behind a context of thousands each one costs
 * a tenth of a step, and many enough that a long prompt does not read that context for every single token.
 */
const leastChunk = 8
/** After a step that had no time for more, the next has so many times its prompt tokens at most: costs may be misjudged. */
const growth = 1.5

/**
 * A run of steps takes so long at most, as far as is known: a reader sees sixty parts of an output a second, as many as a screen shows.
 * What happens between two runs (planning, a message, the main thread at work on a CPU of the step that follows) costs some 0.3 ms.
 */
export const longestRunMs = 16
/** Of a run: a part of an output is no longer, however fast steps are, and readers that fall behind are noticed in time. */
const mostRunSteps = 16

export class Scheduler {
  readonly #options: SchedulerOptions
  readonly #plans: [StepPlan, StepPlan]
  readonly cost = new CostModel()
  readonly #margin = new StepMargin()
  readonly #controller: DraftController | undefined
  readonly tenants: Tenants
  readonly admission: Admission
  readonly #expiries: Expiries
  readonly #running: RunningSet
  /** Running requests that lack more than one token, up to #nGaps: collected anew in each step. */
  readonly #gaps: HostRequest[] = []
  #nGaps = 0
  /** Prompt tokens that the next step may have, so that it does not outgrow the last. */
  #mostGaps = Number.POSITIVE_INFINITY
  readonly #byId = new Map<number, HostRequest>()
  #ended: HostRequest[] = []
  #arrivals = 0
  #paused = 0
  /** Of the run being committed: what a row of a guess adds, as a part of what each request takes. */
  #rowShare = 0
  #steps = 0
  #generatedTokens = 0
  readonly refused = { overloaded: 0, deadline: 0, consumer: 0 }
  readonly drafts = { proposed: 0, accepted: 0, stepsSaved: 0 }

  constructor(kv: KvPort, options: SchedulerOptions) {
    this.#options = options
    const { stepTokens, maxSequences, policy } = options
    this.#plans = [new StepPlan(stepTokens, maxSequences), new StepPlan(stepTokens, maxSequences)]
    this.tenants = new Tenants(policy.weights)
    if (options.drafting !== undefined)
      this.#controller = new DraftController(options.drafting, this.cost, policy.maxStepMs)
    this.admission = new Admission(policy, this.cost, kv.totalBlocks, stepTokens)
    this.#expiries = new Expiries(policy.idleTimeoutMs)
    this.#running = new RunningSet(kv, options, this.tenants, this.admission)
  }

  get running(): number {
    return this.#running.requests.length
  }

  get waiting(): number {
    return this.admission.requests
  }

  get paused(): number {
    return this.#paused
  }

  get counts() {
    return { steps: this.#steps, generatedTokens: this.#generatedTokens, ...this.#running.counts }
  }

  get requests(): IterableIterator<HostRequest> {
    return this.#byId.values()
  }

  /** When `plan` has to be called even if nothing else happens; Infinity: never. */
  get nextExpiryMs(): number {
    return this.#expiries.nextMs
  }

  /** Requests that ended outside `commit` and `cancel`; each is handed out once. */
  takeEnded(): HostRequest[] {
    const ended = this.#ended
    if (ended.length > 0) this.#ended = []
    return ended
  }

  /** Queues a request, or ends it with an error: when it could never fit, when it is one too many, when it cannot be on time. */
  add(request: HostRequest, nowMs: number): void {
    const refusal = this.admission.refusal(request, this.tenants, nowMs) ?? this.#unreachable(request, nowMs)
    if (refusal !== undefined) request.fail(refusal)
    if (request.end !== undefined) {
      this.#count(request)
      return
    }
    request.order = this.#arrivals++
    this.#byId.set(request.id, request)
    this.tenants.enter(request, nowMs)
    this.admission.enqueue(request)
    this.tenants.queue(request)
    this.#expiries.watch(request)
  }

  /** Ends a request with what it has. Returns it, or undefined when it is not there (any more). */
  cancel(id: number, nowMs: number): HostRequest | undefined {
    const request = this.#byId.get(id)
    if (request === undefined) return undefined
    request.finish('cancelled', nowMs)
    this.#retire(request)
    return request
  }

  setPaused(id: number, paused: boolean, nowMs: number): void {
    const request = this.#byId.get(id)
    if (request === undefined || request.paused === paused) return
    request.paused = paused
    const waits = request.sequence < 0
    if (paused) {
      this.#paused++
      request.pausedAtMs = nowMs
      this.#expiries.watch(request)
      if (waits) this.#unqueue(request)
      else this.#running.sharing.release(request)
      // Its blocks may be taken.
      this.#running.releases++
    } else {
      this.#paused--
      if (waits) this.tenants.queue(request)
    }
  }

  /**
   * The next step, or undefined when there is nothing to compute or two steps are in flight. Every plan is given back, in order, to
   * `commit` or `discard`.
   */
  plan(nowMs: number): StepPlan | undefined {
    if (nowMs >= this.#expiries.nextMs) this.#expiries.sweep(this.#byId.values(), nowMs, (r) => this.#fail(r))
    const running = this.#running
    if (running.inFlight === this.#plans.length) return undefined
    if (running.inFlight === 0) running.short = false
    else if (running.short || !this.#leads(this.#plans[(running.step + 1) % 2]!)) return undefined
    const plan = this.#plans[running.step % 2]!
    plan.clear()
    running.step++
    if (this.#options.policy.objective === 'throughput') {
      this.#planGaps(plan, nowMs)
      this.#planDecoding(plan)
    } else {
      this.#planDecoding(plan)
      this.#planGaps(plan, nowMs)
    }
    if (plan.nSegments === 0) {
      running.step--
      return undefined
    }
    this.#planDrafts(plan)
    plan.fill()
    plan.steps = this.#runLength(plan)
    plan.number = running.step
    running.inFlight++
    return plan
  }

  /** Takes a step's results. Requests that ended or lost their place since it was planned drop theirs. */
  commit(plan: StepPlan, results: StepResults, nowMs: number): void {
    const { steps } = results
    this.#steps += steps
    if (plan.drafted && guessed(plan, results)) {
      this.#commitDrafted(plan, results, nowMs)
      return
    }
    if (plan.drafted) this.#controller!.observeLooks(plan, results.drafts, steps)
    for (let s = 0; s < steps; s++) {
      this.cost.observe(plan.nTokens, plan.attended + s * plan.nTokens, plan.nSegments, results.ms / steps)
      this.admission.observeStep(plan.nTokens, results.ms / steps)
    }
    const gaps = plan.nTokens - plan.decoding
    this.#mostGaps = plan.limited ? Math.ceil(growth * gaps) : Number.POSITIVE_INFINITY
    if (plan.limited && gaps > leastChunk) this.#margin.observe(results.ms, this.#options.policy.maxStepMs)
    let row = 0
    for (let i = 0; i < plan.nSegments; i++) {
      const request = plan.requests[i]!
      if (request.end === undefined && request.sequence === plan.segments[i * segmentStride]) {
        if (steps > 1) this.#acceptRun(plan, i, results, nowMs)
        else this.#accept(plan, i, row, results, nowMs)
        if (request.end !== undefined) this.#retire(request)
        else this.#running.sharing.advance(request)
      }
      row += plan.rows[i]!
    }
    this.#running.land(plan.number)
  }

  /**
   * Steps with native drafters: each brought every request one token or more, which the engine has committed. Who ended drops the
   * rest.
   */
  #commitDrafted(plan: StepPlan, results: StepResults, nowMs: number): void {
    const { steps, drafts, ms } = results
    this.#mostGaps = Number.POSITIVE_INFINITY
    this.#rowShare = this.#controller!.rowShare(plan.nSegments)
    let row = 0
    let beganMs = nowMs - ms
    for (let s = 0, report = 0; s < steps; s++) {
      const first = report
      const stepMs = drafts[first + draftField.nanoseconds]! / 1e6
      const tookMs = stepMs + drafts[first + draftField.guessNanoseconds]! / 1e6
      let brought = 0
      let guesses = 0
      // Before a request ends with what is known of its guesses.
      this.#controller!.observe(plan, drafts, first)
      for (let i = 0; i < plan.nSegments; i++, report += draftStride) {
        const draws = drafts[report + draftField.draws]!
        const proposed = drafts[report + draftField.proposed]!
        this.#acceptDrafted(plan, i, row, report, results, beganMs, tookMs)
        row += draws
        brought += draws
        guesses += proposed
      }
      this.drafts.proposed += guesses
      this.drafts.accepted += brought - plan.nSegments
      // Rows of guesses are no line (row-costs.ts), and what they cost is the controller's to know.
      if (guesses === 0) this.cost.observe(plan.nTokens, plan.attended + s * plan.nTokens, plan.nSegments, stepMs)
      this.admission.observeStep(brought, tookMs)
      beganMs += tookMs
    }
    for (let i = 0; i < plan.nSegments; i++) {
      const request = plan.requests[i]!
      if (request.sequence !== plan.segments[i * segmentStride]) continue
      if (request.end !== undefined) this.#retire(request)
      else this.#running.sharing.advance(request)
    }
    this.#running.land(plan.number)
  }

  #acceptDrafted(
    plan: StepPlan,
    i: number,
    row: number,
    report: number,
    results: StepResults,
    beganMs: number,
    tookMs: number,
  ): void {
    const request = plan.requests[i]!
    if (request.end !== undefined || request.sequence !== plan.segments[i * segmentStride]) return
    const draws = results.drafts[report + draftField.draws]!
    const proposed = results.drafts[report + draftField.proposed]!
    request.planned = request.computed += draws
    request.room -= draws
    this.#acceptDraws(request, row, draws, results, beganMs + tookMs / draws, tookMs / draws)
    // A wrong guess is a row computed for this tenant, at its share of the step.
    if (proposed >= draws) request.tenant.charge(this.#rowShare * (proposed - draws + 1))
  }

  /** The step was not computed, nor will be those planned after it, which are to be discarded, too: the same work is planned again. */
  discard(plan: StepPlan): void {
    for (let i = 0; i < plan.nSegments; i++) {
      const request = plan.requests[i]!
      if (request.sequence === plan.segments[i * segmentStride]) request.planned = request.computed
    }
    this.#running.land(plan.number)
  }

  #accept(plan: StepPlan, i: number, row: number, results: StepResults, nowMs: number): void {
    const request = plan.requests[i]!
    const rows = plan.rows[i]!
    const drafts = plan.drafts[i]!
    const certain = plan.counts[i]! - drafts
    const from = request.computed
    request.computed += certain
    request.room -= certain
    if (request.spec.mode === 'score') {
      for (let r = row; r < row + rows; r++)
        if (results.tokens[r]! < 0) request.fail(noToken(request, results.tokens[r]!))
      if (request.end === undefined) request.acceptScores(from + 1, results.logprobs.subarray(row, row + rows), nowMs)
      return
    }
    const right = this.#acceptDraws(request, row, rows, results, nowMs)
    if (drafts === 0) return
    this.drafts.proposed += drafts
    this.drafts.accepted += right
    request.planned -= drafts - right
    request.computed += right
    request.room -= right
    if (right > 0) this.#running.acceptDrafts(request, from + certain, right)
  }

  /** One token of each step, until it ends: what was drawn after that is nobody's. */
  #acceptRun(plan: StepPlan, i: number, results: StepResults, nowMs: number): void {
    const request = plan.requests[i]!
    const { steps, ms } = results
    request.planned = request.computed += steps
    request.room -= steps
    for (let s = 0; s < steps && request.end === undefined; s++) {
      const atMs = nowMs - ((steps - 1 - s) * ms) / steps
      this.#acceptDraws(request, s * plan.nSegments + i, 1, results, atMs)
    }
  }

  /**
   * Rows after the first count as long as the draft before them equals the draw. Returns how many drafts were right. Tokens that
   * come together share the time that they took: `everyMs` each.
   */
  #acceptDraws(
    request: HostRequest,
    row: number,
    rows: number,
    results: StepResults,
    firstMs: number,
    everyMs = 0,
  ): number {
    const wanted = request.spec.sampling.logprobs > 0
    for (let d = 0; d < rows; d++) {
      const token = results.tokens[row + d]!
      if (d > 0) this.#saved(request)
      if (token < 0) request.fail(noToken(request, token))
      else {
        request.accept(
          token,
          results.logprobs[row + d]!,
          wanted ? results.top(row + d) : undefined,
          firstMs + d * everyMs,
        )
        this.#generatedTokens++
        request.tenant.counts.generatedTokens++
        request.tenant.charge(1)
      }
      if (request.end !== undefined || d === rows - 1) return d
      if (request.drafts.length > 0 && token !== request.drafts[d]) return d
    }
    return 0
  }

  /** A token beyond the first that a step brought it. */
  #saved(request: HostRequest): void {
    this.drafts.stepsSaved++
    if (request.speculation !== undefined) request.speculation.stepsSaved++
  }

  /** How many steps like this one may follow each other: short ones, with room for the tokens, of requests that will not end before. */
  #runLength(plan: StepPlan): number {
    const running = this.#running
    if (!plan.decodes || running.inFlight > 0 || this.#options.drafter !== undefined || !this.cost.ready) return 1
    plan.draws = Number.MAX_SAFE_INTEGER
    for (let i = 0; i < plan.nSegments; i++)
      plan.draws = Math.min(plan.draws, plan.requests[i]!.limit - plan.requests[i]!.length)
    const steps = Math.max(1, Math.floor(Math.min(this.#fittingRun(plan), plan.draws)))
    if (plan.drafted) return this.#draftedRun(plan, steps)
    if (steps < 2) return 1
    for (let i = 0; i < plan.nSegments; i++) if (!running.reserve(plan.requests[i]!, steps - 1)) return 1
    return steps
  }

  /** Steps like this one that a run has time and rows for. */
  #fittingRun({ nTokens, attended, nSegments }: StepPlan): number {
    const { stepTokens, policy } = this.#options
    const ms = this.cost.stepMs(nTokens, attended, nSegments)
    return Math.min(mostRunSteps, Math.min(longestRunMs, policy.maxStepMs) / ms, stepTokens / nSegments)
  }

  /**
   * Whether the next step is planned while this one is in flight. Not if it runs on by itself, or would if nothing were in flight: then
   * the engine knows its tokens first. Nor if guesses are made for the next one, or somebody's grammar has to see a token before it can
   * follow: it would miss every other step.
   */
  #leads(plan: StepPlan): boolean {
    if (this.#options.ahead !== true) return true
    if (plan.steps > 1 || plan.drafted || plan.masked) return false
    return !plan.decodes || (this.#controller === undefined && this.cost.ready && this.#fittingRun(plan) < 2)
  }

  /** Native drafters guess where every segment is a token that is drawn after: beside a prompt's tokens a step is long enough. */
  #planDrafts(plan: StepPlan): void {
    const controller = this.#controller
    if (controller === undefined || !plan.decodes || this.#running.inFlight > 0 || !this.cost.ready) return
    controller.begin(plan.nSegments, this.admission.meanOutput)
    for (let i = 0; i < plan.nSegments; i++) {
      const request = plan.requests[i]!
      if (request.spec.speculation !== false && !controller.rests(request)) plan.draft(i, controller.most(request))
    }
  }

  /** Room for the guesses of every step of a run, or of the first, or for none: then the engine makes fewer. */
  #draftedRun(plan: StepPlan, steps: number): number {
    for (let i = 0; i < plan.nSegments; i++) {
      const request = plan.requests[i]!
      const most = plan.drafting[i]! < 0 ? 0 : largestOf(plan.drafting[i]!)
      if (this.#running.reserve(request, Math.max(most, Math.min(steps * (1 + most), plan.draws) - 1))) continue
      this.#running.reserve(request, most)
      steps = 1
    }
    return steps
  }

  /** Requests that lack one token, or will when it is drawn. */
  #planDecoding(plan: StepPlan): void {
    const running = this.#running
    for (running.cursor = 0; running.cursor < running.requests.length && plan.room > 0; running.cursor++) {
      const request = running.requests[running.cursor]!
      if (request.paused || request.step === running.step) continue
      const drawn = this.#options.ahead === true ? request.drawnRow : -1
      if (request.gap !== 1 && drawn < 0) continue
      const drafts = drawn < 0 ? this.#draft(plan, request) : 0
      // Guesses take nobody's place.
      if (drafts > 0 && running.reserve(request, 1 + drafts)) this.#add(plan, request, 1 + drafts, drafts)
      else if (running.makeRoom(plan, request, 1)) this.#add(plan, request, 1, 0, drawn)
      else if (request.end !== undefined) this.#fail(request)
    }
  }

  /** Requests that lack more: running ones and, as far as there is room, new ones. */
  #planGaps(plan: StepPlan, nowMs: number): void {
    this.#collectGaps()
    let admitting = true
    let first: HostRequest | undefined
    while (plan.room > 0) {
      const running = this.#nextGap()
      const waiting = admitting ? this.#running.nextWaiting() : undefined
      const admits = waiting !== undefined && (running === undefined || goesBefore(waiting, running))
      const next = admits ? waiting : running
      // A step with a prompt of a tenant that is behind is not made longer for others.
      if (
        next === undefined ||
        (first !== undefined && first.tenant !== next.tenant && this.tenants.crowds(next.tenant))
      )
        return
      if (admits) admitting = this.#admit(plan, next, nowMs)
      else if (!this.#planChunk(plan, next)) return
      if (next.step === this.#running.step) first ??= next
    }
  }

  #collectGaps(): void {
    this.#nGaps = 0
    const { requests } = this.#running
    for (let i = 0; i < requests.length; i++) {
      const request = requests[i]!
      if (!request.paused && request.gap > 1) this.#gaps[this.#nGaps++] = request
    }
  }

  #nextGap(): HostRequest | undefined {
    let best: HostRequest | undefined
    for (let i = 0; i < this.#nGaps; i++) {
      const request = this.#gaps[i]!
      // Somebody may have taken its place meanwhile.
      if (request.sequence < 0 || request.step === this.#running.step) continue
      if (best === undefined || goesBefore(request, best)) best = request
    }
    return best
  }

  /** False when nobody else can be admitted now. */
  #admit(plan: StepPlan, request: HostRequest, nowMs: number): boolean {
    if (this.#affordable(plan, request, 0, request.target) === 0 || !this.#running.admit(plan, request, nowMs))
      return false
    if (request.end !== undefined) this.#fail(request)
    else this.#planChunk(plan, request)
    return true
  }

  /** False when this step has no room for it. */
  #planChunk(plan: StepPlan, request: HostRequest): boolean {
    const count = this.#affordable(plan, request, request.planned, request.gap)
    if (count === 0) return false
    if (this.#running.makeRoom(plan, request, count)) this.#add(plan, request, count, 0)
    else if (request.end !== undefined) this.#fail(request)
    return true
  }

  /** How many of `count` tokens of a request after `context` others the step can take. */
  #affordable(plan: StepPlan, { tenant }: HostRequest, context: number, count: number): number {
    const { objective, maxStepMs } = this.#options.policy
    // Others arrive while the step runs: they wait for half of a full step's tokens.
    const halved = objective === 'latency' && this.tenants.crowds(tenant)
    const room = halved ? Math.ceil((plan.room - (plan.nTokens - plan.decoding)) / 2) : plan.room
    const most = Math.max(0, Math.min(room, count))
    if (objective === 'throughput' || plan.decoding === 0 || maxStepMs === Number.POSITIVE_INFINITY) return most
    const { nTokens, attended, nSegments, decoding } = plan
    const may = Math.min(most, this.#mostGaps - (nTokens - decoding))
    const fits = this.cost.fit(nTokens, attended, nSegments, context, may, this.#margin.share * maxStepMs)
    plan.limited ||= fits < most
    return nTokens > decoding ? fits : Math.max(fits, Math.min(most, leastChunk))
  }

  #draft(plan: StepPlan, request: HostRequest): number {
    const { drafter } = this.#options
    if (drafter === undefined || request.spec.mode === 'score') return 0
    // The last token of the output is drawn, never computed.
    const most = Math.min(maxDrafts, plan.room - 1, request.limit - request.length - 1)
    if (most < 1 || request.planned !== request.computed) return 0
    if (request.drafts.length === 0) request.drafts = new Int32Array(maxDrafts)
    return request.mayFollow(drafter.draft(request, request.drafts, most))
  }

  #add(plan: StepPlan, request: HostRequest, count: number, drafts: number, drawn = -1): void {
    plan.add(request, count, drafts, drawn)
    request.step = this.#running.step
  }

  /** Whether its deadline is out of reach, knowing what the prefix cache has for it. */
  #unreachable(request: HostRequest, nowMs: number): ErrorData | undefined {
    if (request.spec.deadlines === undefined || !this.cost.ready) return undefined
    return this.admission.tooLate(request, this.#running.probe(request), nowMs)
  }

  /** A request failed while nobody was told. */
  #fail(request: HostRequest): void {
    this.#count(request)
    this.#retire(request)
    this.#ended.push(request)
  }

  #count({ end }: HostRequest): void {
    const code = end !== undefined && 'error' in end ? end.error.code : undefined
    if (code === 'OVERLOADED') this.refused.overloaded++
    else if (code === 'DEADLINE_EXCEEDED') this.refused.deadline++
    else if (code === 'CONSUMER_TIMEOUT') this.refused.consumer++
  }

  #retire(request: HostRequest): void {
    this.#byId.delete(request.id)
    if (request.paused) this.#paused--
    if (request.sequence >= 0) {
      this.admission.observeOutput(request.length - request.promptLength)
      this.#running.remove(request)
    } else {
      this.#unqueue(request)
      this.admission.dequeue(request)
    }
    this.tenants.leave(request)
  }

  #unqueue(request: HostRequest): void {
    if (request.leader === undefined) this.tenants.unqueue(request)
    else this.#running.sharing.leave(request)
  }
}

/** Whether any guess was computed: without one a run is like any other. */
function guessed({ nSegments }: StepPlan, { steps, drafts }: StepResults): boolean {
  for (let at = draftField.proposed; at < steps * nSegments * draftStride; at += draftStride)
    if (drafts[at]! > 0) return true
  return false
}

/** `result`: as NativeEngine.wait has it. */
function noToken(request: HostRequest, result: number): ErrorData {
  const details = { position: request.computed }
  if (result === -2) return { code: 'GRAMMAR_STUCK', message: 'No token continues a text of the grammar.', details }
  return { code: 'NUMERIC_ERROR', message: 'The model produced logits without a finite value.', details }
}
