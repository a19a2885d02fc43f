/**
 * Fair shares between tenants, by start-time fair queueing (Goyal, Vin, Cheng 1996) of tokens, as Sheng et al. 2024 do it for
 * language models: each tenant has a virtual time that advances by computed tokens / weight; who is behind goes first. A tenant for
 * which nothing waits falls behind the one served last by `headStart` at most, as the Linux scheduler CFS lets a task that slept: so
 * requests of one that uses less than its share do not queue for each other, and nobody saves up more than that. Prompts are charged
 * when they are admitted (what the prefix cache gave is free), outputs as they are drawn, nothing twice.
 *
 * Within a tenant requests wait in the order of urgency: the time of arrival, one second earlier for each level of priority. That is
 * aging, in an order that never changes: whatever comes later than the head start of others waits behind.
 */
import type { TenantStats } from '../wire/protocol.ts'
import type { HostRequest } from './request.ts'
import { Tenant } from './tenant.ts'

/** Head start of one level of priority. */
const levelMs = 1000
/**
 * Tokens (of a tenant of weight 1) that a tenant may have before others when it comes back: some twenty requests of usual size. They
 * arrive at random: at four fifths of a share one waits for ten others of its own tenant once in a hundred times (M/D/1), which
 * would be served no faster than its share without this.
 */
const headStart = 4096
/** Idle tenants that are remembered, with their counts. */
const remembered = 256

export class Tenants {
  readonly #byName = new Map<string, Tenant<HostRequest>>()
  readonly #weights: Map<string, number>
  /** Those that have requests. */
  readonly active: Tenant<HostRequest>[] = []
  /** The virtual time of the tenant served last, and the latest of those that left. */
  #clock = 0
  #activeWeight = 0
  #latest = 0

  constructor(weights: Record<string, number>) {
    this.#weights = new Map(Object.entries(weights))
  }

  /** `held`: blocks of the KV cache, of those that hold any. */
  stats(held: ReadonlyMap<Tenant<HostRequest>, number> = new Map()): Record<string, TenantStats> {
    // A name may be anything, '__proto__' too.
    const stats: Record<string, TenantStats> = Object.create(null)
    for (const tenant of this.#byName.values()) {
      const { name, weight, running, waiting, counts } = tenant
      stats[name] = { weight, running, waiting, ...counts, kvBlocks: held.get(tenant) ?? 0 }
    }
    return stats
  }

  /** How long the requests that are next in line have waited: the longest of them. */
  oldestMs(nowMs: number): number {
    let oldestMs = 0
    for (const { queue } of this.active)
      if (queue.length > 0) oldestMs = Math.max(oldestMs, nowMs - queue[0]!.spec.askedAtMs)
    return oldestMs
  }

  /** The part of everything that a tenant may claim, now that those of `active` are there, too. */
  share(tenant: Tenant<HostRequest>): number {
    return tenant.weight / (this.#activeWeight + (tenant.requests > 0 ? 0 : tenant.weight))
  }

  /** Whether a tenant has more waiting although another one, which has requests, is behind it. */
  crowds(tenant: Tenant<HostRequest>): boolean {
    if (tenant.queue.length < 2) return false
    for (let i = 0; i < this.active.length; i++) if (this.active[i]!.virtualTime < tenant.virtualTime) return true
    return false
  }

  of(name: string): Tenant<HostRequest> {
    let tenant = this.#byName.get(name)
    if (tenant === undefined) {
      tenant = new Tenant<HostRequest>(name, this.#weights.get(name) ?? 1)
      if (this.#byName.size >= remembered) this.#forgetOne()
      this.#byName.set(name, tenant)
    }
    return tenant
  }

  /** A request arrives. */
  enter(request: HostRequest, nowMs: number): void {
    const tenant = this.of(request.spec.tenant ?? '')
    if (tenant.waiting === 0) tenant.virtualTime = Math.max(tenant.virtualTime, this.#clock - headStart)
    if (tenant.requests++ === 0) {
      this.active.push(tenant)
      this.#activeWeight += tenant.weight
    }
    request.tenant = tenant
    request.urgencyMs = nowMs - levelMs * (request.spec.priority ?? 0)
  }

  /** It ended. */
  leave({ tenant }: HostRequest): void {
    if (--tenant.requests > 0) return
    this.active.splice(this.active.indexOf(tenant), 1)
    this.#activeWeight = this.active.length === 0 ? 0 : this.#activeWeight - tenant.weight
    this.#latest = Math.max(this.#latest, tenant.virtualTime)
    // When all are done, nobody owes anything.
    if (this.active.length === 0) this.#clock = this.#latest
    // The last to be forgotten.
    this.#byName.delete(tenant.name)
    this.#byName.set(tenant.name, tenant)
  }

  queue(request: HostRequest): void {
    insertByUrgency(request.tenant.queue, request)
  }

  /** Takes it out of the queue, if it is there. */
  unqueue(request: HostRequest): void {
    const { queue } = request.tenant
    const at = queue.indexOf(request)
    if (at >= 0) queue.splice(at, 1)
  }

  /** The request to admit next. */
  next(): HostRequest | undefined {
    let best: HostRequest | undefined
    for (let i = 0; i < this.active.length; i++) {
      const head = this.active[i]!.queue[0]
      if (head !== undefined && (best === undefined || goesBefore(head, best))) best = head
    }
    return best
  }

  /** Its first step comes: `tokens` of its prompt will be computed. */
  admit({ tenant }: HostRequest, tokens: number): void {
    this.#clock = Math.max(this.#clock, tenant.virtualTime)
    tenant.charge(tokens)
  }

  /** The one that has been idle for the longest, unless all are active. */
  #forgetOne(): void {
    for (const tenant of this.#byName.values()) {
      if (tenant.requests > 0) continue
      this.#byName.delete(tenant.name)
      return
    }
  }
}

/** Whether `a` is more urgent than `b`: a total order that never changes. */
export function moreUrgent(a: HostRequest, b: HostRequest): boolean {
  return a.urgencyMs === b.urgencyMs ? a.order < b.order : a.urgencyMs < b.urgencyMs
}

/** Whether `a`'s tokens are computed before `b`'s: the tenant that is behind, then urgency. */
export function goesBefore(a: HostRequest, b: HostRequest): boolean {
  const behind = a.tenant.virtualTime - b.tenant.virtualTime
  return behind === 0 ? moreUrgent(a, b) : behind < 0
}

export function insertByUrgency(list: HostRequest[], request: HostRequest): void {
  let low = 0
  let high = list.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (moreUrgent(request, list[middle]!)) high = middle
    else low = middle + 1
  }
  list.splice(low, 0, request)
}
