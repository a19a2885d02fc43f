/**
 * What each step did and how long its parts took, while somebody traces. Numbers in flat arrays that travel as they are: a step
 * costs a few stores, and one comparison when nobody traces. lib/trace.ts makes a document of them.
 */
import { draftField, draftStride } from '../../base/native.ts'
import type { HostRequest } from '../schedule/request.ts'
import type { StepPlan } from '../schedule/step-plan.ts'
import type { RequestRecord, StepRecords } from '../wire/protocol.ts'

/** Offsets in a row of StepRecords.steps. Times are milliseconds since the epoch, fractional. */
export const stepField = {
  begin: 0,
  planned: 1,
  computed: 2,
  committed: 3,
  posted: 4,
  /** Milliseconds inside native code, of computed - planned. */
  nativeMs: 5,
  heldBlocks: 6,
  cachedBlocks: 7,
  running: 8,
  waiting: 9,
  /** How many of the segments are this step's. */
  segments: 10,
  /** 1: a cancel discarded it, nothing was committed. */
  discarded: 11,
  /** Steps of the run that it was the first of; its segments have the tokens of all. */
  steps: 12,
  /** Of its tokens those that native drafters guessed, and those of them that were right. */
  guesses: 13,
  rightGuesses: 14,
} as const
export const stepFields = 15

/** Offsets in a row of StepRecords.segments: whose, its tokens in this step, those computed before, result rows. */
export const segmentField = { request: 0, tokens: 1, from: 2, rows: 3 } as const
export const segmentFields = 4

/** An end, if nobody stops the trace: about half an hour of 10 ms steps. */
const mostSteps = 200_000
const mostSegments = 4_000_000

export interface StepCounts {
  heldBlocks: number
  cachedBlocks: number
  running: number
  waiting: number
}

export class StepTrace {
  readonly #now: () => number
  readonly #beganAtMs: number
  readonly #requests: RequestRecord[] = []
  #steps = new Float64Array(1024 * stepFields)
  #segments = new Int32Array(16_384 * segmentFields)
  #nSteps = 0
  #nSegments = 0
  #lostSteps = 0

  constructor(now: () => number) {
    this.#now = now
    this.#beganAtMs = now()
  }

  /** Called at the end of each part of a step: `begin` before it is planned, `posted` by `end`. */
  mark(field: 'begin' | 'planned' | 'computed' | 'committed'): void {
    this.#steps[this.#nSteps * stepFields + stepField[field]] = this.#now()
  }

  /** Before the plan's requests move on. */
  planned(plan: StepPlan): void {
    this.mark('planned')
    const { nSegments } = plan
    while ((this.#nSegments + nSegments) * segmentFields > this.#segments.length) {
      const grown = new Int32Array(this.#segments.length * 2)
      grown.set(this.#segments)
      this.#segments = grown
    }
    for (let i = 0; i < nSegments; i++) {
      const at = (this.#nSegments + i) * segmentFields
      const request = plan.requests[i]!
      this.#segments[at + segmentField.request] = request.id
      this.#segments[at + segmentField.tokens] = plan.counts[i]!
      this.#segments[at + segmentField.from] = request.computed
      this.#segments[at + segmentField.rows] = plan.rows[i]!
    }
    this.#steps[this.#nSteps * stepFields + stepField.segments] = nSegments
  }

  /** drafts: what `NativeEngine.wait` reported of guesses, if there may have been any. */
  computed(nativeSeconds: number, steps: number, drafts?: Int32Array): void {
    this.mark('computed')
    const at = this.#nSteps * stepFields
    this.#steps[at + stepField.nativeMs] = nativeSeconds * 1000
    this.#steps[at + stepField.steps] = steps
    this.#steps[at + stepField.guesses] = this.#steps[at + stepField.rightGuesses] = 0
    if (steps === 1 && drafts === undefined) return
    const segments = this.#steps[at + stepField.segments]!
    for (let i = 0; i < segments; i++) {
      let rows = steps
      for (let s = 0; drafts !== undefined && s < steps; s++) {
        const report = (s * segments + i) * draftStride
        const proposed = drafts[report + draftField.proposed]!
        rows += proposed
        this.#steps[at + stepField.guesses] = this.#steps[at + stepField.guesses]! + proposed
        const right = drafts[report + draftField.draws]! - 1
        this.#steps[at + stepField.rightGuesses] = this.#steps[at + stepField.rightGuesses]! + right
      }
      const segment = (this.#nSegments + i) * segmentFields
      this.#segments[segment + segmentField.tokens] = rows
      this.#segments[segment + segmentField.rows] = rows
    }
  }

  /** The step is over. */
  end(counts: StepCounts, discarded: boolean): void {
    const at = this.#nSteps * stepFields
    if (discarded) this.mark('committed')
    this.#steps[at + stepField.posted] = this.#now()
    this.#steps[at + stepField.heldBlocks] = counts.heldBlocks
    this.#steps[at + stepField.cachedBlocks] = counts.cachedBlocks
    this.#steps[at + stepField.running] = counts.running
    this.#steps[at + stepField.waiting] = counts.waiting
    this.#steps[at + stepField.discarded] = discarded ? 1 : 0
    const segments = this.#steps[at + stepField.segments]!
    // The next step overwrites this one.
    if (this.#nSteps >= mostSteps || this.#nSegments + segments > mostSegments) {
      this.#lostSteps++
      return
    }
    this.#nSegments += segments
    this.#nSteps++
    if ((this.#nSteps + 1) * stepFields <= this.#steps.length) return
    const grown = new Float64Array(this.#steps.length * 2)
    grown.set(this.#steps)
    this.#steps = grown
  }

  /** A request that ended, or that still runs when the trace ends. */
  request(request: HostRequest): void {
    const { id, spec, promptLength, cachedTokens, end } = request
    this.#requests.push({
      ...{ id, tenant: spec.tenant ?? '', promptTokens: promptLength, cachedTokens, askedAtMs: spec.askedAtMs },
      outputTokens: request.length - promptLength,
      endedAtMs: end === undefined ? 0 : this.#now(),
      reason: end === undefined ? '' : 'error' in end ? end.error.code : end.reason,
    })
  }

  take(running: Iterable<HostRequest>): StepRecords {
    for (const request of running) this.request(request)
    return {
      beganAtMs: this.#beganAtMs,
      endedAtMs: this.#now(),
      steps: this.#steps.slice(0, this.#nSteps * stepFields),
      segments: this.#segments.slice(0, this.#nSegments * segmentFields),
      requests: this.#requests,
      lostSteps: this.#lostSteps,
    }
  }
}
