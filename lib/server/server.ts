/**
 * The service on a port of its own: `createServer(options)`. It listens while its models are loaded, and says so at /ready. `close` sends
 * new requests away and waits for those that run; `stop` does not wait.
 */
import { readFileSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import fastifyCors from '@fastify/cors'
import fastify, { type FastifyInstance, LogController } from 'fastify'
import { parse } from '../arguments.ts'
import { CallSite } from '../base/call-site.ts'
import { OctavoError } from '../base/errors.ts'
import { absolutePath } from '../base/paths.ts'
import { addRoutes } from './plugin.ts'
import { newId } from './service/asked.ts'
import { type CheckedServer, type ServerOptions, serverSchema } from './service/options.ts'
import { Service } from './service/service.ts'

export interface Server {
  /** Fastify's own, for what else shall be on the port. */
  readonly app: FastifyInstance
  /** Resolves when every model is loaded; rejects with the first that cannot be. */
  readonly loaded: Promise<void>
  /** For an application that has a server: `(request, response)` of node:http, Express and the like. */
  readonly handler: (request: IncomingMessage, response: ServerResponse) => void
  /** Resolves with the address: 'http://127.0.0.1:8000'. */
  listen(): Promise<string>
  /** Accepts nothing more, lets every request that runs come to its end, and closes the engines that were loaded here. */
  close(): Promise<void>
  /** The same at once: requests that run are cut off. */
  stop(): Promise<void>
}

export async function createServer(options: ServerOptions): Promise<Server> {
  const checked = parse(serverSchema, options, 'options', new CallSite(createServer))
  const { host, port, cors } = checked
  const { logger: _, limits: __, tls: ___, cors: ____, host: _____, port: ______, ...rest } = checked
  const service = await Service.create(rest)
  const app = createApp(checked)
  app.server.maxConnections = checked.limits.connections
  if (cors !== undefined) await app.register(fastifyCors, { origin: cors, exposedHeaders: exposed })
  addRoutes(app, service)
  await app.ready()
  let closing: Promise<void> | undefined
  const end = async (first: Promise<void>) => {
    await first
    // Whatever is still connected has nothing more to say, or never said anything.
    const cut = setInterval(() => app.server.closeAllConnections(), 10)
    await app.close().finally(() => clearInterval(cut))
    await service.close()
  }
  return {
    app,
    loaded: service.models.loaded,
    handler: (request, response) => app.routing(request, response),
    listen: async () => app.listen({ host, port }),
    close: () => {
      closing ??= end(service.drain())
      return closing
    },
    stop: () => {
      closing ??= end(service.drain())
      app.server.closeAllConnections()
      return closing
    },
  }
}

const exposed = ['x-request-id', 'x-octavo-warning', 'retry-after', 'retry-after-ms']

function createApp({ logger, limits, tls, bodyLimit }: CheckedServer): FastifyInstance {
  const { headerBytes, headersMs, requestMs } = limits
  const http = {
    ...{ maxHeaderSize: headerBytes, headersTimeout: headersMs, requestTimeout: requestMs },
    // Node looks for late ones every 30 s otherwise.
    connectionsCheckingInterval: Math.max(50, Math.min(headersMs, requestMs) / 10),
  }
  return fastify({
    ...loggerOptions(logger),
    ...{ bodyLimit, requestTimeout: limits.requestMs, keepAliveTimeout: limits.keepAliveMs },
    // One line a request, of what is worth knowing; see Service.
    logController: new LogController({ disableRequestLogging: true }),
    forceCloseConnections: 'idle',
    return503OnClosing: false,
    requestIdHeader: false,
    genReqId: ({ headers }) => idIn(headers['x-request-id']) ?? newId('req'),
    ...(tls === undefined ? { http } : { https: { ...http, ...certificate(tls) } }),
  }) as unknown as FastifyInstance
}

/** What a client calls its request, if it is fit for a line of a log. */
const idIn = (value: unknown): string | undefined =>
  typeof value === 'string' && /^[\w.:-]{1,128}$/.test(value) ? value : undefined

function loggerOptions(logger: CheckedServer['logger']) {
  if (typeof logger === 'boolean') return { logger }
  if (typeof logger === 'string') return { logger: { level: logger } }
  const isLogger = typeof (logger as { info?: unknown }).info === 'function'
  return isLogger ? { loggerInstance: logger as never } : { logger }
}

function certificate({ cert, key }: NonNullable<CheckedServer['tls']>) {
  const read = (path: string | URL) => {
    try {
      return readFileSync(absolutePath(String(path))!)
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'FILE_NOT_FOUND' : 'IO_ERROR'
      throw new OctavoError(code, `Cannot read ${path}: ${(error as Error).message}`, { path: String(path) })
    }
  }
  return { cert: read(cert), key: read(key) }
}
