/**
 * What each tenant may use beside its share of the engine, which the scheduler keeps: models, requests at a time, tokens a minute. The
 * tokens are a bucket that fills at the rate and holds a minute of it: a request may begin while there is anything in it, and pays
 * when its tokens are known, into debt if need be; so nothing has to be guessed of a request that comes.
 */
import { HttpError } from './errors.ts'
import type { CheckedTenant } from './options.ts'

const minuteMs = 60_000

export interface Tenant {
  readonly name: string
  readonly limits: CheckedTenant
  /** Begins a request, or throws a 429. `waitMs` says when one of those that run may be done. Gives the function that ends it. */
  begin(waitMs: () => number): (tokens: number) => void
  mayUse(model: string): boolean
  /** Headers as OpenAI's API has them. */
  headers(): Record<string, string>
}

const unlimited: CheckedTenant = { admin: false }
/** Tenants of a key function whose counts are kept. */
const remembered = 10_000

export class Tenants {
  readonly #limits: Map<string, CheckedTenant>
  readonly #known = new Map<string, LimitedTenant>()
  readonly #now: () => number

  constructor(limits: Record<string, CheckedTenant>, now: () => number = () => performance.now()) {
    this.#limits = new Map(Object.entries(limits))
    this.#now = now
  }

  of(name: string): Tenant {
    const known = this.#known.get(name)
    if (known !== undefined) return known
    if (this.#known.size >= remembered) this.#forget()
    const limits = this.#limits.get(name) ?? this.#limits.get('*') ?? unlimited
    const tenant = new LimitedTenant(name, limits, this.#now)
    this.#known.set(name, tenant)
    return tenant
  }

  /** Weights as Engine.load takes them. */
  weights(): Record<string, { weight: number }> {
    const named = [...this.#limits].flatMap(([name, { weight }]) =>
      name === '*' || weight === undefined ? [] : [[name, { weight }] as const],
    )
    return Object.fromEntries(named)
  }

  #forget(): void {
    for (const [name, tenant] of this.#known) if (tenant.isFresh) this.#known.delete(name)
  }
}

class LimitedTenant implements Tenant {
  readonly name: string
  readonly limits: CheckedTenant
  readonly #now: () => number
  #running = 0
  #tokens: number
  #atMs: number

  constructor(name: string, limits: CheckedTenant, now: () => number) {
    this.name = name
    this.limits = limits
    this.#now = now
    this.#tokens = limits.tokensPerMinute ?? 0
    this.#atMs = now()
  }

  /** Nothing would be lost if it were made anew. */
  get isFresh(): boolean {
    this.#fill()
    return this.#running === 0 && this.#tokens >= (this.limits.tokensPerMinute ?? 0)
  }

  mayUse(model: string): boolean {
    return this.limits.models?.includes(model) ?? true
  }

  begin(waitMs: () => number): (tokens: number) => void {
    const { maxRequests = Number.POSITIVE_INFINITY, tokensPerMinute: rate } = this.limits
    if (this.#running >= maxRequests)
      throw limited(`At most ${maxRequests} requests may run at a time.`, Math.max(waitMs(), 100))
    this.#fill()
    if (rate !== undefined && this.#tokens <= 0)
      throw limited(`At most ${rate} tokens a minute may be used.`, ((1 - this.#tokens) * minuteMs) / rate)
    this.#running++
    let isOver = false
    return (tokens) => {
      if (isOver) return
      isOver = true
      this.#running--
      if (rate !== undefined) this.#tokens -= tokens
    }
  }

  headers(): Record<string, string> {
    const { tokensPerMinute: rate } = this.limits
    if (rate === undefined) return {}
    this.#fill()
    const left = Math.max(0, Math.floor(this.#tokens))
    const fullMs = ((rate - this.#tokens) * minuteMs) / rate
    return {
      'x-ratelimit-limit-tokens': String(rate),
      'x-ratelimit-remaining-tokens': String(left),
      'x-ratelimit-reset-tokens': `${Math.ceil(fullMs)}ms`,
    }
  }

  #fill(): void {
    const { tokensPerMinute: rate = 0 } = this.limits
    const nowMs = this.#now()
    this.#tokens = Math.min(rate, this.#tokens + ((nowMs - this.#atMs) * rate) / minuteMs)
    this.#atMs = nowMs
  }
}

const limited = (message: string, retryAfterMs: number) =>
  new HttpError(429, 'rate_limit_error', message, { code: 'rate_limit_exceeded', retryAfterMs })
