/**
 * The engine thread's loop: drain the inbox, plan a step, submit, wait, commit, post. It never returns to the event loop while
 * there is work: messages are taken from the port between two steps, everything a step brought leaves in one message. Short steps
 * that only decode run on in native code, as many as the plan allows; who posts a message ends such a run (thread-wire.ts). Without
 * work the loop returns, and the next message wakes it. Where a device computes, the next step is planned and submitted before the
 * results of the one that it computes are waited for.
 */
import { OctavoError, toErrorData } from '../base/errors.ts'
import type { NativeEngine, NativeVocabulary } from '../base/native.ts'
import { statIndex } from '../base/native.ts'
import { KvTransfers } from './kv-transfer.ts'
import { TokenTable } from './output/detokenizer.ts'
import { OutputText } from './output/output-text.ts'
import { PreemptionWatch } from './record/preemption-watch.ts'
import { packStats } from './record/stats.ts'
import { StepTrace } from './record/step-trace.ts'
import { RunEnds } from './run-ends.ts'
import type { KvPort } from './schedule/kv-port.ts'
import { HostRequest } from './schedule/request.ts'
import { longestRunMs, Scheduler, type SchedulerOptions } from './schedule/scheduler.ts'
import type { StepPlan } from './schedule/step-plan.ts'
import { resultsFor, type StepResults, stepsOf } from './schedule/step-results.ts'
import type { Tenant } from './schedule/tenant.ts'
import { packParts } from './wire/plain-parts.ts'
import type { EngineStats, HostPort, RequestSpec, SamplingSpec, StepPart, ToHost } from './wire/protocol.ts'
import { controlIndex } from './wire/protocol.ts'

export interface LoopOptions extends SchedulerOptions {
  contextTokens: number
  control: Int32Array
  /** Milliseconds since the epoch, fractional. */
  now: () => number
  /** Checks the block manager after every step. */
  checkBlocks?: boolean
  /** Frees the engine and what it stands on. */
  release: () => void
}

/** Statistics are half of what a message costs: while requests run, they are told so often, and with every end. */
const statsEveryMs = 20

export class HostLoop {
  readonly #port: HostPort
  readonly #engine: NativeEngine
  readonly #options: LoopOptions
  readonly #kv: NativeKv
  readonly #scheduler: Scheduler
  readonly #results: StepResults
  /** Parts to post with the next message. */
  #outbox: StepPart[] = []
  /** Steps that were submitted and not waited for, in order; how many there may be. */
  readonly #flying: StepPlan[] = []
  readonly #mostFlying: number
  readonly #transfers: KvTransfers
  readonly #preemptions = new PreemptionWatch()
  #closed = false
  #discarded = false
  /** When statistics were told last; whether steps came since. */
  #toldAtMs = Number.NEGATIVE_INFINITY
  #untold = false
  #eosIds: ReadonlySet<number> = new Set()
  readonly #runEnds: RunEnds
  #table: TokenTable | undefined
  #trace: StepTrace | undefined

  constructor(port: HostPort, engine: NativeEngine, options: LoopOptions) {
    this.#port = port
    this.#engine = engine
    this.#options = options
    this.#kv = new NativeKv(engine)
    // Guesses from outside are made when everything is known.
    this.#mostFlying = options.drafter === undefined ? engine.stepsAhead : 1
    this.#scheduler = new Scheduler(this.#kv, { ...options, ahead: this.#mostFlying > 1 })
    this.#transfers = new KvTransfers(engine)
    this.#results = resultsFor(options, (row) => engine.topLogprobs(row))
    this.#runEnds = new RunEnds((tokens) => engine.setEndTokens(tokens))
  }

  get closed(): boolean {
    return this.#closed
  }

  /** Works until there is nothing left to do, or the engine is closed or broken. `message`: the one that woke it. */
  run(message?: ToHost): void {
    try {
      if (message !== undefined) this.#handle(message)
      while (this.#drain() && this.#work());
    } catch (error) {
      this.#fail(error)
    }
    this.#port.wakeAt(this.#closed ? Number.POSITIVE_INFINITY : this.#scheduler.nextExpiryMs)
  }

  stats(nowMs = this.#options.now()): EngineStats {
    return snapshot(this.#kv, this.#scheduler, nowMs)
  }

  /** False once closed. */
  #drain(): boolean {
    while (!this.#closed) {
      const message = this.#port.receive()
      if (message === undefined) break
      this.#handle(message)
    }
    return !this.#closed
  }

  /** A part of a transfer, between two steps, then a step; false when there was neither. */
  #work(): boolean {
    const transferred = this.#flying.length === 0 && this.#transfer()
    return this.#step() || transferred
  }

  #transfer(): boolean {
    if (!this.#transfers.pending || Atomics.load(this.#options.control, controlIndex.halt) !== 0) return false
    const end = this.#transfers.advance()
    if (this.#options.checkBlocks) this.#check()
    if (end !== undefined) {
      // The counts first: they are to be true when the caller goes on.
      this.#tell()
      this.#port.post({ type: 'kvDone', ...end })
    }
    return true
  }

  /** One step; false when there was nothing to compute. A discarded step counts as one: the same work is planned again. */
  #step(): boolean {
    // What already ended must not wait for the step that comes now.
    if (this.#outbox.length > 0) this.#tell()
    if (Atomics.load(this.#options.control, controlIndex.halt) !== 0) return false
    this.#trace?.mark('begin')
    const plan = this.#flying[0] ?? this.#submit()
    if (plan === undefined) {
      if (this.#untold || this.#outbox.length > 0) this.#tell()
      return false
    }
    this.#trace?.planned(plan)
    while (this.#flying.length < this.#mostFlying && !this.#transfers.pending) if (this.#submit() === undefined) break
    const rows = this.#wait(plan)
    this.#results.steps = stepsOf(plan, this.#results.drafts, rows)
    const guessed = plan.drafted && rows >= 0 ? this.#results.drafts : undefined
    this.#trace?.computed(this.#engine.stepSeconds, this.#results.steps, guessed)
    if (rows < 0) {
      this.#traceStep(true)
      for (const discarded of this.#flying.splice(0)) this.#scheduler.discard(discarded)
      return true
    }
    this.#flying.shift()
    this.#results.ms = this.#engine.stepSeconds * 1000
    const nowMs = this.#options.now()
    this.#scheduler.commit(plan, this.#results, nowMs)
    this.#trace?.mark('committed')
    if (this.#options.checkBlocks) this.#check()
    for (let i = 0; i < plan.nSegments; i++) this.#collect(plan.requests[i]!)
    this.#post(nowMs)
    const { steps, preemptions } = this.#scheduler.counts
    const message = this.#preemptions.look(steps, preemptions)
    if (message !== undefined) this.#port.post({ type: 'log', message })
    this.#traceStep(false)
    return true
  }

  #traceStep(discarded: boolean): void {
    if (this.#trace === undefined) return
    const blocks = this.#kv.read()
    const [heldBlocks, cachedBlocks] = [blocks[statIndex.owned]!, blocks[statIndex.cached]!]
    const { running, waiting } = this.#scheduler
    this.#trace.end({ heldBlocks, cachedBlocks, running, waiting }, discarded)
  }

  /** Plans the next step and submits it. */
  #submit(): StepPlan | undefined {
    const plan = this.#scheduler.plan(this.#options.now())
    for (const request of this.#scheduler.takeEnded()) this.#collect(request)
    if (plan === undefined) return undefined
    this.#engine.submit(plan.segments, plan.nSegments, plan.tokens, plan.nTokens)
    this.#flying.push(plan)
    return plan
  }

  /** A step that was discarded is not offered to cancels a second time: else a stream of cancels would stop everybody. */
  #wait(plan: StepPlan): number {
    const { control } = this.#options
    Atomics.store(control, controlIndex.stepTokens, this.#discarded ? 0 : plan.nTokens)
    try {
      const { tokens, logprobs, drafts } = this.#results
      const rows = this.#engine.wait(tokens, logprobs, plan.steps, longestRunMs / 1000, drafts, plan.draws)
      this.#discarded = rows < 0
      return rows
    } finally {
      Atomics.store(control, controlIndex.stepTokens, 0)
    }
  }

  #check(): void {
    const fault = this.#engine.check()
    const stats = this.#kv.read()
    const sum = stats[statIndex.free]! + stats[statIndex.owned]! + stats[statIndex.cached]!
    if (fault !== '' || sum !== stats[statIndex.total])
      throw new OctavoError('INTERNAL', `The block manager is broken: ${fault || 'blocks do not add up'}`, { sum })
  }

  #collect(request: HostRequest): void {
    const part = request.takePart()
    if (part === undefined) return
    if (part.end !== undefined) {
      this.#trace?.request(request)
      this.#runEnds.close(request.spec.stopTokens)
    }
    this.#outbox.push(part)
  }

  /** What a step brought. */
  #post(nowMs: number): void {
    this.#untold = true
    if (nowMs - this.#toldAtMs >= statsEveryMs || this.#outbox.some((part) => part.end !== undefined)) this.#tell(nowMs)
    else if (this.#outbox.length > 0) this.#port.post({ type: 'step', ...this.#taken() })
  }

  /** All there is to tell, statistics too. */
  #tell(nowMs = this.#options.now()): void {
    this.#toldAtMs = nowMs
    this.#untold = false
    this.#port.post({ type: 'step', ...this.#taken(), stats: packStats(this.stats(nowMs)) })
  }

  #taken() {
    const parts = packParts(this.#outbox)
    this.#outbox = []
    return parts
  }

  #handle(message: ToHost): void {
    switch (message.type) {
      case 'vocabulary':
        this.#eosIds = new Set(message.vocabulary.eosIds)
        this.#runEnds.setAlways(message.vocabulary.eosIds)
        this.#table = new TokenTable(message.vocabulary.tokenBytes)
        this.#kv.vocabulary = {
          ...message.vocabulary.tokenBytes,
          endTokens: Int32Array.from(message.vocabulary.eosIds),
        }
        return
      case 'request':
        this.#add(message.request)
        return
      case 'cancel': {
        const request = this.#scheduler.cancel(message.id, this.#options.now())
        if (request !== undefined) this.#collect(request)
        return
      }
      case 'pause':
      case 'resume': {
        const { paused } = this.#scheduler
        this.#scheduler.setPaused(message.id, message.type === 'pause', this.#options.now())
        this.#untold ||= this.#scheduler.paused !== paused
        return
      }
      case 'kvSave':
        this.#transfers.add(message.id, 'save', message.file)
        return
      case 'kvRestore':
        this.#transfers.add(message.id, 'restore', message.file)
        return
      case 'trace':
        this.#setTrace(message.on)
        return
      case 'close':
        this.#end()
        this.#port.post({ type: 'closed' })
        return
    }
  }

  #setTrace(on: boolean): void {
    if (!on) {
      // A host that was started again has recorded nothing yet.
      const trace = this.#trace ?? new StepTrace(this.#options.now)
      this.#port.post({ type: 'trace', records: trace.take(this.#scheduler.requests) })
    }
    this.#trace = on ? new StepTrace(this.#options.now) : undefined
  }

  #add(spec: RequestSpec): void {
    if (this.#table === undefined) throw new OctavoError('INTERNAL', 'A request came before the vocabulary.')
    const { stop, reasoning, calls, dropPrefixSpace = false } = spec
    const text = new OutputText(this.#table, { stop, reasoning, calls, dropPrefixSpace })
    const request = new HostRequest(spec, this.#options.contextTokens, this.#eosIds, text)
    this.#runEnds.open(spec.stopTokens)
    this.#scheduler.add(request, this.#options.now())
    if (request.end !== undefined) this.#collect(request)
  }

  /** The engine cannot go on: every stream rejects on the other side. */
  #fail(error: unknown): void {
    const data = toErrorData(error)
    try {
      this.#end()
    } catch {
      // A broken device may refuse to be closed; the first error says why.
    }
    this.#port.post({
      type: 'failed',
      error: { ...data, code: data.code === 'INTERNAL' ? 'INTERNAL' : 'ENGINE_FAILED' },
    })
  }

  #end(): void {
    this.#closed = true
    this.#outbox = []
    this.#transfers.close()
    for (const request of this.#scheduler.requests) {
      if (request.sequence >= 0) this.#engine.sequenceFree(request.sequence)
      request.sequence = -1
    }
    this.#options.release()
  }
}

/** The block manager of a native engine as the scheduler sees it. */
export class NativeKv implements KvPort {
  readonly #engine: NativeEngine
  readonly #stats = new Int32Array(Object.keys(statIndex).length)
  readonly totalBlocks: number
  /** The engine gets it with the first grammar: most engines never have one. */
  vocabulary: NativeVocabulary | undefined

  constructor(engine: NativeEngine) {
    this.#engine = engine
    this.totalBlocks = this.read()[statIndex.total]!
  }

  create(request: HostRequest): number {
    const sequence = this.#engine.sequenceCreate(request.spec.salt)
    if (request.spec.mode !== 'generate') return sequence
    try {
      if (request.spec.sampling.grammar !== undefined && this.vocabulary !== undefined) {
        this.#engine.setVocabulary(this.vocabulary)
        this.vocabulary = undefined
      }
      this.#engine.setSampler(sequence, samplerParams(request.spec.sampling, request.promptLength))
    } catch (error) {
      this.#engine.sequenceFree(sequence)
      throw error
    }
    return sequence
  }

  match(sequence: number, tokens: Int32Array): number {
    return this.#engine.sequenceMatch(sequence, tokens)
  }

  reserve(sequence: number, count: number): boolean {
    return this.#engine.sequenceReserve(sequence, count)
  }

  accept(sequence: number, tokens: Int32Array, from: number, count: number): void {
    this.#engine.sequenceAccept(sequence, tokens, from, count)
  }

  free(sequence: number): void {
    this.#engine.sequenceFree(sequence)
  }

  held(sequences: Int32Array): number {
    return this.#engine.heldBlocks(sequences)
  }

  available(): number {
    const stats = this.read()
    return stats[statIndex.free]! + stats[statIndex.cached]!
  }

  /** Current counts, by statIndex; overwritten by the next call. */
  read(): Int32Array {
    this.#engine.stats(this.#stats)
    return this.#stats
  }
}

function samplerParams(sampling: SamplingSpec, promptLength: number) {
  return { ...sampling, promptLength }
}

/** Of each tenant whose requests hold any. */
function heldBlocks(kv: NativeKv, requests: Iterable<HostRequest>): Map<Tenant<HostRequest>, number> {
  const sequences = new Map<Tenant<HostRequest>, number[]>()
  for (const { tenant, sequence } of requests) {
    if (sequence < 0) continue
    const own = sequences.get(tenant)
    if (own === undefined) sequences.set(tenant, [sequence])
    else own.push(sequence)
  }
  return new Map([...sequences].map(([tenant, own]) => [tenant, kv.held(Int32Array.from(own))]))
}

/** Counts after load or a step, as `engine.stats()` shows them. */
function snapshot(kv: NativeKv, scheduler: Scheduler, nowMs: number): EngineStats {
  const blocks = kv.read()
  const { running, waiting, paused, admission, refused, drafts } = scheduler
  return {
    kv: {
      totalBlocks: blocks[statIndex.total]!,
      freeBlocks: blocks[statIndex.free]!,
      cachedBlocks: blocks[statIndex.cached]!,
    },
    requests: { running, waiting, paused },
    queue: { tokens: admission.tokens, oldestMs: scheduler.tenants.oldestMs(nowMs), drainMs: admission.drainMs },
    tenants: scheduler.tenants.stats(heldBlocks(kv, scheduler.requests)),
    refused,
    drafts,
    ...scheduler.counts,
  }
}
