/**
 * The requests that hold a sequence in the KV cache, in order of urgency: how they get one, keep room for their tokens, and lose it.
 * Blocks for all tokens that a request has are reserved when it starts, all or nothing; after that only its output asks for more,
 * and who makes way then is said in claims.ts. A sequence that a step in flight still computes is freed when that step has landed.
 */
import { type ErrorData, toErrorData } from '../../base/errors.ts'
import { blocksFor, kvBlockTokens } from '../../base/kv-blocks.ts'
import type { Admission } from './admission.ts'
import { leastUrgent, yielding } from './claims.ts'
import type { KvPort } from './kv-port.ts'
import type { HostRequest } from './request.ts'
import { InFlightPrefixes } from './sharing.ts'
import type { StepPlan } from './step-plan.ts'
import { insertByUrgency, type Tenants } from './tenants.ts'

export class RunningSet {
  readonly requests: HostRequest[] = []
  /** The index that a walk over `requests` is at; stays right when requests before it leave. */
  cursor = 0
  /** The step that is being planned, or was last; and how many are in flight. */
  step = 0
  inFlight = 0
  /** Somebody would have to make way, which gives no blocks back before the steps in flight have landed. */
  short = false
  /** How often blocks were given back or could be taken: a request that found too few tries again only after that. */
  releases = 0
  readonly sharing: InFlightPrefixes
  readonly counts = { promptTokens: 0, cachedTokens: 0, preemptions: 0 }
  readonly #kv: KvPort
  readonly #maxSequences: number
  readonly #prefixCache: boolean
  readonly #tenants: Tenants
  readonly #admission: Admission
  /** Sequences of requests that left while a step in flight computed them, and the number of the last such step. */
  #orphans: { sequence: number; step: number }[] = []

  constructor(
    kv: KvPort,
    { maxSequences, prefixCache }: { maxSequences: number; prefixCache: boolean },
    tenants: Tenants,
    admission: Admission,
  ) {
    this.#kv = kv
    this.#maxSequences = maxSequences
    this.#prefixCache = prefixCache
    this.#tenants = tenants
    this.#admission = admission
    this.sharing = new InFlightPrefixes((request) => tenants.queue(request))
  }

  /** The request to admit next, past those that better wait for a prefix that is being computed. */
  nextWaiting(): HostRequest | undefined {
    for (;;) {
      const request = this.#tenants.next()
      if (request === undefined || !this.#prefixCache || !this.sharing.follow(request)) return request
      this.#tenants.unqueue(request)
    }
  }

  /**
   * Takes a waiting request in. False when it does not fit: then nobody else is admitted before it. True also when it ended: its
   * parameters were refused, it cannot be on time, or there is no memory for it even alone.
   */
  admit(plan: StepPlan, request: HostRequest, nowMs: number): boolean {
    if (request.blockedAt === this.releases) return false
    const placed =
      (this.requests.length < this.#maxSequences || this.#claim(plan, request, 'sequences')) &&
      this.#startOrClaim(plan, request, nowMs)
    if (!placed && !this.short) request.blockedAt = this.releases
    if (!placed || request.end !== undefined) return placed
    this.#tenants.unqueue(request)
    this.#admission.dequeue(request)
    insertByUrgency(this.requests, request)
    request.tenant.running++
    if (this.#prefixCache) this.sharing.lead(request)
    return true
  }

  /** Room for `count` more tokens. To the end of the last block at once: it costs the same and is asked once. */
  reserve(request: HostRequest, count: number): boolean {
    const wanted = request.planned - request.computed + count
    if (wanted <= request.room) return true
    const room = blocksFor(request.computed + wanted) * kvBlockTokens - request.computed
    if (!this.#kv.reserve(request.sequence, room)) return false
    request.room = room
    return true
  }

  /**
   * The same at the cost of less urgent ones; false when it has to make way itself, must wait for a step in flight, or ended: alone,
   * it found no memory.
   */
  makeRoom(plan: StepPlan, request: HostRequest, count: number): boolean {
    while (!this.reserve(request, count)) {
      if (this.inFlight > 0) {
        this.short = true
        return false
      }
      const victim = leastUrgent(this.requests)
      if (victim === undefined || this.requests.length === 1) {
        request.fail(noMemory(request))
        return false
      }
      this.#preempt(plan, victim)
      if (victim === request) return false
    }
    return true
  }

  /** Draft tokens at `from` that turned out right are the request's now. */
  acceptDrafts(request: HostRequest, from: number, count: number): void {
    this.#kv.accept(request.sequence, request.tokens, from, count)
  }

  /** A running request ended. */
  remove(request: HostRequest): void {
    const at = this.requests.indexOf(request)
    this.requests.splice(at, 1)
    if (at <= this.cursor) this.cursor--
    request.tenant.running--
    this.#release(request)
  }

  /** A step landed: nothing computes those any more that only waited for it. */
  land(step: number): void {
    this.inFlight--
    if (this.#orphans.length === 0) return
    for (const orphan of this.#orphans) if (orphan.step <= step) this.#kv.free(orphan.sequence)
    this.#orphans = this.#orphans.filter((orphan) => orphan.step > step)
    this.releases++
  }

  /** Tokens of a request that is not running which the prefix cache has; ends it when its parameters are refused. */
  probe(request: HostRequest): number {
    const sequence = this.#create(request)
    if (sequence === undefined) return 0
    const cached = this.#match(request, sequence)
    this.#kv.free(sequence)
    return cached
  }

  #preempt(plan: StepPlan, request: HostRequest): void {
    plan.remove(request)
    this.remove(request)
    request.computed = request.planned = request.step = 0
    request.preemptions++
    this.counts.preemptions++
    this.#admission.enqueue(request)
    if (!request.paused) this.#tenants.queue(request)
  }

  #claim(plan: StepPlan, request: HostRequest, short: 'sequences' | 'tokens'): boolean {
    const victim = yielding(request, this.requests, short)
    this.short ||= victim !== undefined && this.inFlight > 0
    if (victim === undefined || this.short) return false
    if (!victim.paused) victim.yields++
    this.#preempt(plan, victim)
    return true
  }

  #startOrClaim(plan: StepPlan, request: HostRequest, nowMs: number): boolean {
    while (!this.#start(request, nowMs)) {
      if (this.requests.length === 0 && this.inFlight === 0) {
        request.fail(noMemory(request))
        return true
      }
      if (!this.#claim(plan, request, 'tokens')) return false
    }
    return true
  }

  /** Finds its cached prefix and reserves the rest. All or nothing; a request that is refused now ends. */
  #start(request: HostRequest, nowMs: number): boolean {
    const sequence = this.#create(request)
    if (sequence === undefined) return true
    const cached = this.#match(request, sequence)
    const late = this.#admission.tooLate(request, cached, nowMs)
    const running = this.requests.length
    // One block to spare for each running request: else the next one to fill its last block would take this one's back.
    const fits =
      late === undefined &&
      this.#kv.reserve(sequence, request.target - cached) &&
      (running === 0 || this.#kv.available() >= running)
    if (!fits) {
      this.#kv.free(sequence)
      if (late !== undefined) request.fail(late)
      return late !== undefined
    }
    request.sequence = sequence
    request.computed = request.planned = cached
    request.room = request.target - cached
    if (request.cachedTokens < 0) this.#begin(request, cached)
    request.begin(cached, nowMs)
    return true
  }

  #begin(request: HostRequest, cached: number): void {
    this.#tenants.admit(request, request.target - cached)
    const { counts } = request.tenant
    counts.requests++
    counts.promptTokens += request.promptLength
    counts.cachedTokens += cached
    this.counts.promptTokens += request.promptLength
    this.counts.cachedTokens += cached
  }

  /** A sequence; a request whose parameters are refused ends with that error, alone. */
  #create(request: HostRequest): number | undefined {
    try {
      return this.#kv.create(request)
    } catch (error) {
      const data = toErrorData(error)
      if (data.code !== 'INVALID_ARGUMENT') throw error
      request.fail(data)
      return undefined
    }
  }

  #match(request: HostRequest, sequence: number): number {
    const mayMatch = this.#prefixCache && request.spec.mode === 'generate'
    return mayMatch ? this.#kv.match(sequence, request.targetTokens) : 0
  }

  #release(request: HostRequest): void {
    this.sharing.stop(request)
    if (request.planned === request.computed) this.#kv.free(request.sequence)
    else this.#orphans.push({ sequence: request.sequence, step: this.step })
    request.sequence = -1
    request.room = 0
    this.releases++
  }
}

/** Its maximum fits the pool: what lacks is memory that was there when the engine was loaded. */
function noMemory({ computed, target, limit }: HostRequest): ErrorData {
  return {
    code: 'OUT_OF_MEMORY',
    message:
      'A request that runs alone found no memory for its keys and values: what was free when the engine was loaded is in use by other programs.',
    details: { computed, target, limit },
  }
}
