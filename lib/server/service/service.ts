/**
 * What all routes stand on: models, keys, tenants, what is told to metrics, traces and logs, and how the service ends: requests that were
 * accepted are answered, others are sent away.
 */
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { GenerationResult } from '../../index.ts'
import type { Outcome } from './asked.ts'
import { HttpError } from './errors.ts'
import { Keys } from './keys.ts'
import { Metrics } from './metrics.ts'
import { Models } from './models.ts'
import type { CheckedService } from './options.ts'
import type { Recent } from './recent.ts'
import { type Tenant, Tenants } from './tenants.ts'
import { Tracing } from './tracing.ts'

/** What is known of a request. */
export interface About {
  tenant: Tenant
  outcome: Outcome
}

/** Requests that are remembered. */
const mostRecent = 200

/** Milliseconds without progress after which a client that does not read is given up; the engine's default for its readers. */
const slowMs = 60_000

export class Service {
  readonly options: CheckedService
  readonly models: Models
  readonly keys: Keys
  readonly tenants: Tenants
  readonly metrics: Metrics | undefined
  readonly tracing: Tracing | undefined
  readonly slowMs = slowMs
  /** Of prompts that are no conversation. */
  readonly textDefaults: Omit<CheckedService['defaults'], 'templateOptions'>
  /** The last one last. */
  readonly recent: Recent[] = []
  readonly #abouts = new WeakMap<FastifyRequest, About>()
  #active = 0
  #draining: Promise<void> | undefined
  #onIdle: (() => void) | undefined

  static async create(options: CheckedService): Promise<Service> {
    return new Service(options, await Tracing.create())
  }

  private constructor(options: CheckedService, tracing: Tracing | undefined) {
    this.options = options
    this.keys = new Keys(options.keys)
    this.tenants = new Tenants(options.tenants)
    this.models = new Models(options, { tenants: this.tenants.weights() })
    this.metrics = options.metrics === 'off' ? undefined : new Metrics(this.models)
    this.tracing = tracing
    const { templateOptions: _, ...textDefaults } = options.defaults
    this.textDefaults = textDefaults
  }

  get defaults() {
    return this.options.defaults
  }

  get logContent(): boolean {
    return this.options.logContent
  }

  get isDraining(): boolean {
    return this.#draining !== undefined
  }

  /** Of a request whose key was looked at. */
  of(request: FastifyRequest): About {
    return this.#abouts.get(request)!
  }

  /** A request came. Its end is noted when its connection is done with it, however that comes. */
  accept(request: FastifyRequest, reply: FastifyReply): void {
    if (this.isDraining) {
      reply.header('connection', 'close')
      throw new HttpError(503, 'overloaded_error', 'The server is going down.', {
        code: 'draining',
        retryAfterMs: 1000,
      })
    }
    this.#active++
    closeWhileQueued(request, reply)
    const startedMs = performance.now()
    reply.raw.once('close', () => {
      this.#active--
      this.#note(request, reply, performance.now() - startedMs)
      if (this.#active === 0) this.#onIdle?.()
    })
  }

  /** Who asks. Throws a 401, or rejects with it. */
  identify(request: FastifyRequest): Tenant | Promise<Tenant> {
    const known = (name: string) => {
      const tenant = this.tenants.of(name)
      this.#abouts.set(request, { tenant, outcome: {} })
      return tenant
    }
    const name = this.keys.tenantOf(request.headers)
    return typeof name === 'string' ? known(name) : name.then(known)
  }

  /** Resolves when no request runs; none is accepted from now on. */
  drain(): Promise<void> {
    this.#draining ??= new Promise((resolve) => {
      this.#onIdle = resolve
      if (this.#active === 0) resolve()
    })
    return this.#draining
  }

  close(): Promise<void> {
    return this.models.close()
  }

  /** A generation of a request came to its end. */
  ended(request: FastifyRequest, model: string, { usage, timings, finishReason }: GenerationResult): void {
    const { queueMs, prefillMs, totalMs, interTokenMs } = timings
    const about = { id: request.id, model, tenant: this.of(request).tenant.name, endedMs: Date.now(), finishReason }
    this.recent.push({ ...about, ...usage, queueMs, prefillMs, totalMs, interTokenMs: interTokenMs.p50 })
    if (this.recent.length > mostRecent) this.recent.shift()
  }

  /** What a client is not told. */
  noteError(request: FastifyRequest, error: unknown): void {
    request.log.error({ err: error }, 'error')
  }

  #note(request: FastifyRequest, reply: FastifyReply, ms: number): void {
    const route = request.routeOptions.url ?? 'none'
    const status = reply.raw.writableFinished || reply.raw.headersSent ? reply.raw.statusCode : 499
    this.metrics?.responded(route, reply.raw.writableFinished ? status : 499)
    const { tenant, outcome } = this.#abouts.get(request) ?? {}
    const isComplete = reply.raw.writableFinished
    const about = {
      method: request.method,
      route,
      status,
      ...(!isComplete && { gone: true }),
      ms: Math.round(ms * 10) / 10,
    }
    request.log.info({ ...about, ...(tenant && { tenant: tenant.name }), ...outcome }, 'request')
  }
}

/**
 * A client may send requests before it has its answers; the later responses have no connection yet, and Node tells them nothing of its
 * end.
 */
function closeWhileQueued({ raw: { socket } }: FastifyRequest, { raw: response }: FastifyReply): void {
  if (response.socket !== null) return
  const gone = () => {
    response.destroy()
    response.emit('close')
  }
  const assigned = () => void socket.off('close', gone)
  socket.setMaxListeners(0)
  socket.once('close', gone)
  response.once('socket', assigned).once('close', assigned)
}
