/**
 * Who has to make way. Memory that runs short is taken from the least urgent running request, paused ones first: the most urgent one
 * never loses its place, so every request ends. A request that waits may also claim a place: from one whose reader paused it, from
 * a less important one of its own tenant, and from a tenant that holds more than its share, as long as that tenant still holds no
 * less than the claimant's afterwards. A request yields to claims a few times only: then it is left to finish.
 */
import type { HostRequest } from './request.ts'
import type { Tenant } from './tenant.ts'

/** A yield costs a recomputation; after so many the request has paid its due. */
const mostYields = 2

/** What a step in flight computes cannot be taken away. */
const held = (request: HostRequest) => request.planned !== request.computed

/** Of `running` in order of urgency. */
export function leastUrgent(running: readonly HostRequest[]): HostRequest | undefined {
  return lastPaused(running) ?? running.findLast((request) => !held(request))
}

/** Places are counted in sequences or in tokens, whichever is short. */
export function yielding(
  claimant: HostRequest,
  running: readonly HostRequest[],
  short: 'sequences' | 'tokens',
): HostRequest | undefined {
  return lastPaused(running) ?? lessImportant(claimant, running) ?? overShare(claimant, running, short)
}

function lastPaused(running: readonly HostRequest[]): HostRequest | undefined {
  return running.findLast((request) => request.paused && !held(request))
}

function lessImportant(claimant: HostRequest, running: readonly HostRequest[]): HostRequest | undefined {
  const priority = claimant.spec.priority ?? 0
  return running.findLast(
    (request) =>
      mayYield(request) &&
      request.tenant === claimant.tenant &&
      request.urgencyMs > claimant.urgencyMs &&
      (request.spec.priority ?? 0) < priority,
  )
}

function overShare(
  claimant: HostRequest,
  running: readonly HostRequest[],
  short: 'sequences' | 'tokens',
): HostRequest | undefined {
  const size = (request: HostRequest) => (short === 'sequences' ? 1 : request.length)
  claimant.tenant.held = 0
  for (const { tenant } of running) tenant.held = 0
  for (const request of running) request.tenant.held += size(request)
  const share = (tenant: Tenant<HostRequest>, change: number) => (tenant.held + change) / tenant.weight
  const claimed = share(claimant.tenant, size(claimant))
  let victim: HostRequest | undefined
  for (const request of running) {
    if (!mayYield(request) || request.tenant === claimant.tenant) continue
    if (share(request.tenant, -size(request)) < claimed) continue
    // Of the tenant that holds the most, the least urgent request: the last one in this order.
    if (victim === undefined || share(request.tenant, 0) >= share(victim.tenant, 0)) victim = request
  }
  return victim
}

const mayYield = (request: HostRequest) => request.yields < mostYields && !held(request)
