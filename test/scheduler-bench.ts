/** A scheduler over a fake native engine, and what each request must give whatever happens around it. */
import { expect } from 'vitest'
import { greedySampling, statIndex } from '../lib/base/native.ts'
import { NativeKv } from '../lib/host/loop.ts'
import type { Drafter } from '../lib/host/schedule/drafter.ts'
import { HostRequest } from '../lib/host/schedule/request.ts'
import { longestRunMs, Scheduler } from '../lib/host/schedule/scheduler.ts'
import { resultsFor, type StepResults, stepsOf } from '../lib/host/schedule/step-results.ts'
import type { DraftingOptions, RequestSpec, SchedulingPolicy } from '../lib/host/wire/protocol.ts'
import { FakeNativeEngine, type Guess, nextToken, policy } from './fake-native.ts'
import { same } from './same.ts'

export const vocabulary = 500
export const eos = 7
export const contextTokens = 300

export function spec(
  id: number,
  tokens: number[],
  maxTokens: number,
  seed = id,
  mode: 'generate' | 'score' = 'generate',
): RequestSpec {
  const sampling = { ...greedySampling, temperature: 1, seed }
  const request = { id, mode, tokens: Int32Array.from(tokens), maxTokens, stop: [], ignoreEos: false, sampling }
  return { ...request, salt: '', askedAtMs: 0 }
}

/** What the request must give, whatever happens around it. */
export function solo({ tokens, maxTokens, sampling }: RequestSpec): { tokens: number[]; reason: string } {
  const all = [...tokens]
  const limit = Math.min(tokens.length + maxTokens, contextTokens)
  while (all.length < limit) {
    const token = nextToken(all, sampling.seed, vocabulary)
    if (token === eos) return { tokens: all.slice(tokens.length), reason: 'stop' }
    all.push(token)
  }
  return { tokens: all.slice(tokens.length), reason: 'length' }
}

/** Knows what comes next; every `errorEvery`th guess is wrong (0: none). */
export class Oracle implements Drafter {
  readonly #errorEvery: number
  #guesses = 0

  constructor(errorEvery: number) {
    this.#errorEvery = errorEvery
  }

  draft({ tokens, length, spec: { sampling } }: HostRequest, out: Int32Array, most: number): number {
    const all = [...tokens.subarray(0, length)]
    for (let i = 0; i < most; i++) {
      const token = nextToken(all, sampling.seed, vocabulary)
      const wrong = this.#errorEvery > 0 && ++this.#guesses % this.#errorEvery === 0
      all.push(wrong ? (token + 1) % vocabulary : token)
      out[i] = all.at(-1)!
    }
    return most
  }
}

/** How long a step takes in the simulation, and what differs from the default policy. */
export interface BenchOptions extends Partial<SchedulingPolicy> {
  stepMs?: (tokens: number, attended: number, sequences: number) => number
  drafter?: Drafter
  /** The engine takes a second step, fed by the first; default off. */
  ahead?: boolean
  /** Native drafters, and what they guess. */
  drafting?: DraftingOptions
  guess?: Guess
}

export class Bench {
  readonly engine: FakeNativeEngine
  readonly scheduler: Scheduler
  readonly output = new Map<number, { tokens: number[]; end: HostRequest['end'] }>()
  readonly results: StepResults
  readonly requests = new Map<number, HostRequest>()
  /** Simulated time of each request's tokens. */
  readonly tokenTimes = new Map<number, number[]>()
  discard = (): boolean => false
  /** Off where a simulation takes many steps of a large pool. */
  checked = true
  now = 0

  constructor(stepTokens: number, kvBlocks: number, prefixCache = true, maxSequences = 64, more: BenchOptions = {}) {
    const { stepMs, drafter, drafting, guess, ahead = false, ...rest } = more
    const onWait = () => this.discard()
    const cost = { ...(stepMs && { stepMs }), ...(guess && { guess }) }
    this.engine = new FakeNativeEngine({
      kvBlocks,
      prefixCache,
      vocabulary,
      onWait,
      maxStepTokens: stepTokens,
      stepsAhead: ahead ? 2 : 1,
      ...cost,
    })
    const options = { stepTokens, maxSequences, prefixCache, drafter, drafting, ahead, policy: { ...policy, ...rest } }
    this.scheduler = new Scheduler(new NativeKv(this.engine), options)
    this.results = resultsFor(options, (row) => this.engine.topLogprobs(row))
  }

  add(request: RequestSpec): void {
    const host = new HostRequest(request, contextTokens, new Set([eos]))
    this.requests.set(request.id, host)
    this.output.set(request.id, { tokens: [], end: undefined })
    this.tokenTimes.set(request.id, [])
    this.scheduler.add(host, this.now)
    this.collect(host)
  }

  collect(request: HostRequest): void {
    const part = request.takePart()
    const output = this.output.get(request.id)!
    if (part === undefined) return
    same(output.end, undefined)
    output.tokens.push(...part.tokens)
    for (const _ of part.tokens) this.tokenTimes.get(request.id)!.push(this.now)
    output.end = part.end
  }

  /** False when there was nothing to do. */
  step(): boolean {
    const plan = this.scheduler.plan(this.now++)
    for (const request of this.scheduler.takeEnded()) this.collect(request)
    if (plan === undefined) return false
    const requests = plan.requests.slice(0, plan.nSegments)
    same(
      requests.every((r) => !r.paused),
      true,
    )
    this.engine.submit(plan.segments, plan.nSegments, plan.tokens, plan.nTokens)
    const { tokens, logprobs, drafts } = this.results
    const rows = this.engine.wait(tokens, logprobs, plan.steps, longestRunMs / 1000, drafts, plan.draws)
    if (rows >= 0) {
      this.results.steps = stepsOf(plan, drafts, rows)
      this.results.ms = this.engine.stepSeconds * 1000
      this.now += this.results.ms
      this.scheduler.commit(plan, this.results, this.now++)
      for (const request of requests) this.collect(request)
    } else this.scheduler.discard(plan)
    if (this.checked) same(this.engine.check(), '')
    return true
  }

  run(): void {
    for (let steps = 0; this.step(); steps++) same(steps < 100_000, true)
  }

  /** The request's tokens and end are those that it has alone. */
  expectSolo(id: number): void {
    const { tokens, end } = this.output.get(id)!
    expect({ tokens, reason: end !== undefined && 'reason' in end ? end.reason : end }).toEqual(
      solo(this.requests.get(id)!.spec),
    )
  }

  stat(name: keyof typeof statIndex): number {
    const stats = new Int32Array(5)
    this.engine.stats(stats)
    return stats[statIndex[name]]!
  }

  /** Everything ended, nothing is held. */
  expectIdle(): void {
    expect(this.stat('sequences')).toBe(0)
    expect(this.stat('owned')).toBe(0)
    expect(this.stat('free') + this.stat('cached')).toBe(this.stat('total'))
    expect([this.scheduler.running, this.scheduler.waiting]).toEqual([0, 0])
  }
}

export const prompt = (from: number, length: number) =>
  Array.from({ length }, (_, i) => (from * 31 + i * 17) % vocabulary)
