/**
 * Who may wait at all: requests that could never fit, that find the queue full, or whose deadline is out of reach are refused when
 * they come, before anything is spent on them. Also how long the queue will take: waiting tokens and the outputs they will
 * probably have, at the speed of the last steps.
 */
import type { ErrorData } from '../../base/errors.ts'
import { blocksFor, kvBlockTokens } from '../../base/kv-blocks.ts'
import type { SchedulingPolicy } from '../wire/protocol.ts'
import type { CostModel } from './cost-model.ts'
import { deadlineError, deadlineMs } from './expiries.ts'
import type { HostRequest } from './request.ts'
import type { Tenants } from './tenants.ts'

/** Weight of what was before the last step, and of what was before the last request. */
const stepMemory = 0.98
const outputMemory = 0.95
/** After this part of the queue is gone it is worth trying again. */
const retryShare = 1 / 4
const leastRetryMs = 10

export class Admission {
  readonly #policy: SchedulingPolicy
  readonly #cost: CostModel
  readonly #totalBlocks: number
  readonly #stepTokens: number
  /** Requests that have not begun or have to begin anew, and the tokens that they lack. */
  requests = 0
  tokens = 0
  #recentTokens = 0
  #recentMs = 0
  #meanOutput = 0

  constructor(policy: SchedulingPolicy, cost: CostModel, totalBlocks: number, stepTokens: number) {
    this.#policy = policy
    this.#cost = cost
    this.#totalBlocks = totalBlocks
    this.#stepTokens = stepTokens
  }

  /** Why a request that comes now may not wait. */
  refusal(request: HostRequest, tenants: Tenants, nowMs: number): ErrorData | undefined {
    const blocks = blocksFor(request.maxComputed)
    if (blocks > this.#totalBlocks) {
      return {
        code: 'CONTEXT_OVERFLOW',
        message: `The request may need ${blocks} KV blocks of ${kvBlockTokens} tokens, the engine has ${this.#totalBlocks}.`,
        details: { expected: `at most ${this.#totalBlocks} blocks`, found: blocks },
      }
    }
    if (nowMs >= deadlineMs(request)) return deadlineError(request, nowMs)
    return this.#overload(request, tenants)
  }

  /** Why a request with `cached` tokens in the prefix cache cannot be on time, even if it went first. */
  tooLate(request: HostRequest, cached: number, nowMs: number): ErrorData | undefined {
    const byMs = deadlineMs(request)
    if (byMs === Number.POSITIVE_INFINITY || request.hasFirstToken) return undefined
    const expectedMs = this.#cost.prefillMs(cached, request.target - cached, this.#stepTokens)
    return nowMs + expectedMs > byMs ? deadlineError(request, nowMs, expectedMs) : undefined
  }

  enqueue(request: HostRequest): void {
    this.requests++
    request.queuedTokens = request.target
    this.tokens += request.queuedTokens
    request.tenant.queuedTokens += request.queuedTokens
  }

  dequeue(request: HostRequest): void {
    this.requests--
    this.tokens -= request.queuedTokens
    request.tenant.queuedTokens -= request.queuedTokens
  }

  observeStep(tokens: number, ms: number): void {
    this.#recentTokens = this.#recentTokens * stepMemory + tokens
    this.#recentMs = this.#recentMs * stepMemory + ms
  }

  observeOutput(tokens: number): void {
    this.#meanOutput = this.#meanOutput === 0 ? tokens : this.#meanOutput * outputMemory + tokens * (1 - outputMemory)
  }

  /** Tokens that answers have in the mean; 0 before the first. */
  get meanOutput(): number {
    return this.#meanOutput
  }

  /** An estimate of the time until everything that waits now is done. */
  get drainMs(): number {
    if (this.#recentTokens === 0) return 0
    return ((this.tokens + this.requests * this.#meanOutput) * this.#recentMs) / this.#recentTokens
  }

  /** The queue is bounded as a whole; what one tenant filled leaves the others their shares of it. */
  #overload(request: HostRequest, tenants: Tenants): ErrorData | undefined {
    const { maxQueuedRequests, maxQueuedTokens } = this.#policy
    const tenant = tenants.of(request.spec.tenant ?? '')
    const share = tenants.share(tenant)
    const full = this.requests >= maxQueuedRequests && tenant.waiting >= share * maxQueuedRequests
    const tokens = this.tokens + request.target > maxQueuedTokens
    const heavy = tokens && tenant.queuedTokens + request.target > share * maxQueuedTokens
    // Alone, a request of any size may wait: else it could never run.
    if (!full && (!heavy || tenant.waiting === 0)) return undefined
    const retryAfterMs = Math.max(leastRetryMs, Math.ceil(this.drainMs * retryShare))
    const limit = full ? `${maxQueuedRequests} requests` : `${maxQueuedTokens} prompt tokens`
    return {
      code: 'OVERLOADED',
      message: `The queue is full: at most ${limit} may wait. Try again in ${retryAfterMs} ms.`,
      details: { waitingRequests: this.requests, waitingTokens: this.tokens, retryAfterMs },
    }
  }
}
