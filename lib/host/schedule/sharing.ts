/**
 * Prefixes that are being computed right now. The prefix cache finds blocks that are computed; of requests that arrive together with
 * one beginning, the first computes it (the leader), the others wait until it has passed their common part, then find it in the
 * cache. They wait only for a leader that runs: when it ends, is preempted or paused, they are queued again and one of them leads.
 */
import { kvBlockTokens } from '../../base/kv-blocks.ts'
import type { HostRequest } from './request.ts'

/** A shorter common part is computed twice: it is not worth a wait. */
const fewestTokens = 2 * kvBlockTokens

export class InFlightPrefixes {
  /** Running requests that have not computed their prompt, by the hash of their first block. */
  readonly #leaders = new Map<number, HostRequest[]>()
  readonly #requeue: (request: HostRequest) => void
  #waiting = 0

  constructor(requeue: (request: HostRequest) => void) {
    this.#requeue = requeue
  }

  /** Requests that wait for a leader. */
  get waiting(): number {
    return this.#waiting
  }

  /** A request was admitted. */
  lead(request: HostRequest): void {
    if (request.leading || !mayShare(request) || request.target - request.computed < kvBlockTokens) return
    const hash = prefixHash(request)
    const leaders = this.#leaders.get(hash)
    if (leaders === undefined) this.#leaders.set(hash, [request])
    else leaders.push(request)
    request.leading = true
  }

  /** Lets a request wait for the one that is computing the longest part of its prompt; false when there is none. */
  follow(request: HostRequest): boolean {
    if (this.#leaders.size === 0 || !mayShare(request)) return false
    const leaders = this.#leaders.get(prefixHash(request))
    if (leaders === undefined) return false
    let best: HostRequest | undefined
    let longest = 0
    for (let i = 0; i < leaders.length; i++) {
      const leader = leaders[i]!
      if (leader.paused || leader.spec.salt !== request.spec.salt) continue
      const common = commonTokens(leader, request)
      if (common - leader.computed < fewestTokens || common <= longest) continue
      best = leader
      longest = common
    }
    if (best === undefined) return false
    request.leader = best
    request.sharedTokens = longest
    best.followers.push(request)
    this.#waiting++
    return true
  }

  /** The leader computed more. */
  advance(leader: HostRequest): void {
    if (!leader.leading) return
    const { followers } = leader
    let kept = 0
    for (let i = 0; i < followers.length; i++) {
      const follower = followers[i]!
      if (follower.sharedTokens > leader.computed) followers[kept++] = follower
      else this.#resume(follower)
    }
    followers.length = kept
    if (leader.computed >= leader.target - 1) this.stop(leader)
  }

  /** It leads no more: whoever waits for it is queued again. */
  stop(leader: HostRequest): void {
    if (!leader.leading) return
    leader.leading = false
    const hash = prefixHash(leader)
    const leaders = this.#leaders.get(hash)!
    if (leaders.length === 1) this.#leaders.delete(hash)
    else leaders.splice(leaders.indexOf(leader), 1)
    this.release(leader)
  }

  /** Queues its followers again. */
  release(leader: HostRequest): void {
    for (const follower of leader.followers) this.#resume(follower)
    leader.followers.length = 0
  }

  /** A waiting request ended or was paused. */
  leave(request: HostRequest): void {
    if (request.leader === undefined) return
    const { followers } = request.leader
    followers.splice(followers.indexOf(request), 1)
    request.leader = undefined
    this.#waiting--
  }

  #resume(follower: HostRequest): void {
    follower.leader = undefined
    this.#waiting--
    this.#requeue(follower)
  }
}

const mayShare = (request: HostRequest) => request.spec.mode === 'generate' && request.target > fewestTokens

/** FNV-1a of the first block. */
function prefixHash(request: HostRequest): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < kvBlockTokens; i++) hash = Math.imul(hash ^ request.tokens[i]!, 0x01000193)
  return hash
}

/** Tokens in whole blocks that both begin with and that a match may give: it leaves one to compute. */
function commonTokens(leader: HostRequest, request: HostRequest): number {
  const most = Math.min(leader.target, request.target - 1)
  let n = 0
  while (n < most && leader.tokens[n] === request.tokens[n]) n++
  return n - (n % kvBlockTokens)
}
