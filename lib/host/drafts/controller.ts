/**
 * How many guesses pay. A guess costs a row of the step and brings a token when it and all before it are right: of a chain of d
 * guesses, each right with chance a, the d-th brings a^d tokens. It is taken while that is more than the whole step would bring in
 * the time of the row it adds: on an idle machine rows are nearly free and long chains pay, in a full batch none does. What rows cost
 * is measured (row-costs.ts), as is what each kind of guess is worth (acceptance.ts), also while none is computed: looking one up
 * takes a microsecond. What does not pay by its costs is tried again now and then, ever more seldom, for costs change.
 *
 * None of this changes a token.
 */
import { draftField, draftStride } from '../../native.ts'
import type { CostModel } from '../schedule/cost-model.ts'
import type { HostRequest } from '../schedule/request.ts'
import type { StepPlan } from '../schedule/step-plan.ts'
import type { DraftingOptions } from '../wire/protocol.ts'
import { Acceptance } from './acceptance.ts'
import { maxDrafts } from './drafter.ts'
import { kindOf, modelKind, nDraftKinds, packMost, sharedKind } from './kinds.ts'
import { RowCosts } from './row-costs.ts'

/** Steps until costs are tried again after they spoke against guesses; doubled each time. */
const firstProbe = 64
const lastProbe = 2048
/** Of a step's guesses and of those that were right: what is left of the mean after each step. */
const memory = 0.9
/** A row must bring so much more than it costs: estimates of both are uncertain. */
const margin = 1.1

/** What the controller knows of one request. */
export class RequestDrafts {
  readonly acceptance = Acceptance.ofRequest()
  proposed = 0
  accepted = 0
  /** Guesses by their place in the chain, and those of them that were right. */
  readonly proposedAt: number[] = []
  readonly acceptedAt: number[] = []
}

export class DraftController {
  readonly #policy: DraftingOptions
  readonly #costs: RowCosts
  readonly #acceptance = Acceptance.ofEngine()
  readonly #most = new Uint8Array(nDraftKinds)
  /** Rows that guesses added to a step, and tokens they brought: means. */
  #extraRows = 0
  #extraTokens = 0
  /** Milliseconds of one round of the draft model, for each sequence it drafts for. */
  #roundMs = 0
  #steps = 0
  #probeAt = firstProbe
  #probeEvery = firstProbe
  #probing = false

  constructor(policy: DraftingOptions, cost: CostModel) {
    this.#policy = policy
    this.#costs = new RowCosts(cost)
  }

  /** Before the segments of a step are chosen. */
  begin(): void {
    this.#probing = this.#policy.fixed === undefined && this.#steps >= this.#probeAt
  }

  /** Most guesses of each kind for a request in a step with so many sequences, packed. */
  most(request: HostRequest, sequences: number): number {
    const { own, shared, model, maxModelDrafts, fixed } = this.#policy
    request.speculation ??= new RequestDrafts()
    const room = Math.max(0, Math.min(maxDrafts, request.limit - request.length - 1))
    for (let kind = 0; kind < nDraftKinds; kind++) {
      const wanted = kind === modelKind ? model !== undefined : kind === sharedKind ? shared : own
      const most = wanted ? (fixed ?? this.#paying(request, kind, sequences)) : 0
      this.#most[kind] = Math.min(most, room, kind === modelKind ? maxModelDrafts : maxDrafts)
    }
    return packMost(this.#most)
  }

  /** What a row adds to a step of so many sequences, as a part of what each of them takes. */
  rowShare(sequences: number, context: number): number {
    const ms = this.#costs.ms(sequences, context)
    if (ms === 0) return 0
    return Math.min(1, (Math.max(0, this.#costs.ms(sequences + 1, context) - ms) * sequences) / ms)
  }

  /** One step of a run: its reports from `at` on, and what all of its guessing took. */
  observe(plan: StepPlan, reports: Int32Array, at: number, draftMs: number): void {
    let rows = 0
    let proposedRows = 0
    let right = 0
    let rounds = 0
    let drafted = 0
    for (let i = 0, report = at; i < plan.nSegments; i++, report += draftStride) {
      const proposed = reports[report + draftField.proposed]!
      rows += plan.counts[i]! + proposed
      proposedRows += proposed
      right += Math.max(0, reports[report + draftField.draws]! - 1)
      const state = plan.requests[i]!.speculation
      if (state !== undefined) this.#learn(state, reports, report)
      if (kindOf(reports, report) !== modelKind || proposed === 0) continue
      rounds = Math.max(rounds, proposed)
      drafted++
    }
    const ms = reports[at + draftField.nanoseconds]! / 1e6
    this.#steps++
    this.#costs.observe(rows, Math.max(0, ms - draftMs))
    if (drafted > 0) {
      const roundMs = draftMs / rounds
      this.#roundMs = this.#roundMs === 0 ? roundMs : this.#roundMs * memory + roundMs * (1 - memory)
    }
    this.#extraRows = this.#extraRows * memory + proposedRows * (1 - memory)
    this.#extraTokens = this.#extraTokens * memory + right * (1 - memory)
    if (this.#probing && proposedRows > 0) this.#probed()
  }

  #learn(state: RequestDrafts, reports: Int32Array, at: number): void {
    state.acceptance.observe(reports, at)
    this.#acceptance.observe(reports, at)
    const proposed = reports[at + draftField.proposed]!
    const right = Math.max(0, reports[at + draftField.draws]! - 1)
    state.proposed += proposed
    state.accepted += proposed === 0 ? 0 : right
    for (let place = 0; place < Math.min(proposed, right + 1); place++) {
      state.proposedAt[place] = (state.proposedAt[place] ?? 0) + 1
      if (place < right) state.acceptedAt[place] = (state.acceptedAt[place] ?? 0) + 1
    }
  }

  #probed(): void {
    this.#probing = false
    this.#probeEvery = Math.min(lastProbe, 2 * this.#probeEvery)
    this.#probeAt = this.#steps + this.#probeEvery
  }

  #paying(request: HostRequest, kind: number, sequences: number): number {
    const chance = request.speculation!.acceptance.chance(kind, this.#acceptance)
    const context = request.computed
    const base = this.#costs.ms(sequences, context)
    if (base === 0) return 0
    if (kind === modelKind) return this.#payingModel(chance, sequences, context)
    const others = (this.#extraRows * (sequences - 1)) / sequences
    const loaded = this.#costs.ms(sequences + others, context)
    // Tokens a millisecond, without this request's guesses.
    const rate = Math.max(sequences / base, (sequences + (this.#extraTokens * (sequences - 1)) / sequences) / loaded)
    let best = 0
    let bestRate = rate * margin
    let tokens = rate * loaded
    let reach = 1
    for (let d = 1; d <= maxDrafts; d++) {
      reach *= chance
      tokens += reach
      const withDrafts = tokens / this.#costs.ms(sequences + others + d, context)
      if (withDrafts > bestRate) [best, bestRate] = [d, withDrafts]
    }
    if (best === 0 && this.#probing && chance > 0.5) return Math.min(4, maxDrafts)
    if (best > 0) this.#probeEvery = firstProbe
    return best
  }

  /** Every sequence gets as many: they are drafted for together, round by round. */
  #payingModel(chance: number, sequences: number, context: number): number {
    // Before a round was measured: what it takes is not known, so a short chain finds out.
    if (this.#roundMs === 0) return 2
    let best = 0
    let bestRate = (sequences / this.#costs.ms(sequences, context)) * margin
    let tokens = 1
    let reach = 1
    for (let d = 1; d <= maxDrafts; d++) {
      reach *= chance
      tokens += reach
      const ms = this.#costs.ms(sequences * (1 + d), context) + d * this.#roundMs
      const rate = (sequences * tokens) / ms
      if (rate > bestRate) [best, bestRate] = [d, rate]
    }
    return best === 0 && this.#probing ? 2 : best
  }
}
