/**
 * One step: who computes how many tokens, and the arrays that `NativeEngine.submit` takes. Everything is allocated once, for the
 * largest step. A plan also carries what its cost depends on: tokens, sequences, and keys that attention reads.
 */
import { segmentMode, segmentStride } from '../../base/native.ts'
import type { HostRequest } from './request.ts'

export class StepPlan {
  /** Entries up to `nSegments` are this step's. */
  readonly requests: HostRequest[]
  readonly counts: Int32Array
  /** Result rows of each request. */
  readonly rows: Int32Array
  /** Tokens at the end of each request's count that are drafts: computed on trial. */
  readonly drafts: Int32Array
  /** Of requests whose token the step before draws: its row there; else -1. */
  readonly drawn: Int32Array
  /** Of requests that native drafters may guess for: most guesses of each kind, packed; else -1. */
  readonly drafting: Int32Array
  readonly segments: Int32Array
  readonly tokens: Int32Array
  nSegments = 0
  nTokens = 0
  /** Keys read by all tokens together. */
  attended = 0
  /** Requests that generate. */
  decoding = 0
  /** Whether it would have more tokens if there were no limit on its time. */
  limited = false
  /** Steps that it may be the first of: with the tokens drawn, as far as every request goes on (`NativeEngine.wait`). */
  steps = 1
  /** Tokens that each request may get of a run of several steps: none gets more than its limit allows. */
  draws = 1
  /** Whether any request has native drafters. */
  drafted = false
  /** Ordinal of the step while it is in flight; 0 when the buffer is free. */
  number = 0

  constructor(stepTokens: number, maxSequences: number) {
    const most = Math.min(stepTokens, maxSequences)
    this.requests = []
    this.counts = new Int32Array(most)
    this.rows = new Int32Array(most)
    this.drafts = new Int32Array(most)
    this.drawn = new Int32Array(most)
    this.drafting = new Int32Array(most)
    this.segments = new Int32Array(most * segmentStride)
    this.tokens = new Int32Array(stepTokens)
  }

  /** Tokens that still fit. Segments always do: only running requests have one each, of a token at least. */
  get room(): number {
    return this.tokens.length - this.nTokens
  }

  clear(): void {
    this.nSegments = this.nTokens = this.attended = this.decoding = 0
    this.limited = this.drafted = false
    this.steps = this.draws = 1
  }

  /** `count` tokens after those planned so far, the last `drafts` of them on trial; or the one that the step before draws in row `drawn`. */
  add(request: HostRequest, count: number, drafts = 0, drawn = -1): void {
    this.requests[this.nSegments] = request
    this.counts[this.nSegments] = count
    this.drawn[this.nSegments] = drawn
    this.drafting[this.nSegments] = -1
    this.drafts[this.nSegments++] = drafts
    this.nTokens += count
    this.attended += attention(request.planned, count)
    if (drawn >= 0 || generates(request, count - drafts)) this.decoding++
  }

  /** Whether every request generates and has no drafts. */
  get decodes(): boolean {
    return this.decoding === this.nSegments && this.nTokens === this.nSegments
  }

  /** Whether a grammar says what some row may draw. */
  get masked(): boolean {
    for (let i = 0; i < this.nSegments; i++)
      if (this.rows[i]! > 0 && this.requests[i]!.spec.sampling.grammar !== undefined) return true
    return false
  }

  /** Segment i is guessed for: most guesses of each kind, packed. */
  draft(i: number, most: number): void {
    this.drafting[i] = most
    this.drafted = true
  }

  remove(request: HostRequest): void {
    const at = this.requests.indexOf(request)
    if (at < 0 || at >= this.nSegments) return
    this.nTokens -= this.counts[at]!
    this.attended -= attention(request.planned, this.counts[at]!)
    if (this.drawn[at]! >= 0 || generates(request, this.counts[at]! - this.drafts[at]!)) this.decoding--
    this.nSegments--
    this.requests.copyWithin(at, at + 1)
    this.counts.copyWithin(at, at + 1)
    this.drawn.copyWithin(at, at + 1)
    this.drafts.copyWithin(at, at + 1)
    this.drafting.copyWithin(at, at + 1)
  }

  /** Writes segments and tokens; marks the tokens as planned. */
  fill(): void {
    let at = 0
    let row = 0
    for (let i = 0; i < this.nSegments; i++) {
      const request = this.requests[i]!
      const count = this.counts[i]!
      const drafts = this.drafts[i]!
      const end = request.planned + count
      const score = request.spec.mode === 'score'
      const drawn = this.drawn[i]!
      const rows = score ? count : drawn >= 0 || end - drafts === request.length ? 1 + drafts : 0
      this.rows[i] = rows
      request.row = rows === 1 && !score ? row : -1
      row += rows
      const segment = i * segmentStride
      this.segments[segment] = request.sequence
      this.segments[segment + 1] = count
      this.segments[segment + 2] = rows
      const drafting = this.drafting[i]!
      this.segments[segment + 3] = score ? segmentMode.score : drafting < 0 ? segmentMode.draw : segmentMode.draft
      this.segments[segment + 4] = score ? request.tokens[end]! : drafting
      if (drawn >= 0) this.tokens[at++] = -1 - drawn
      else for (let t = request.planned; t < end - drafts; t++) this.tokens[at++] = request.tokens[t]!
      for (let d = 0; d < drafts; d++) this.tokens[at++] = request.drafts[d]!
      request.planned = end
    }
  }
}

const generates = (request: HostRequest, certain: number) => certain === 1 && request.length > request.promptLength

/** Keys that `count` tokens after `context` others read. */
export function attention(context: number, count: number): number {
  return count * (context + (count + 1) / 2)
}
