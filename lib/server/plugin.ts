/**
 * The routes of the service as a plugin of Fastify: `app.register(octavo, { models, prefix: '/llm' })` mounts them in an application that
 * exists. What they all have in common is here: keys, the id of a request, errors.
 */
import type { FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import { parse } from '../arguments.ts'
import { CallSite } from '../base/call-site.ts'
import { chat } from './routes/chat.ts'
import { completions } from './routes/completions.ts'
import { openApi } from './routes/openapi.ts'
import { counts, page } from './routes/page.ts'
import { responses } from './routes/responses.ts'
import { health, listModels, metricsText, oneModel, ready } from './routes/status.ts'
import { detokenize, tokenize } from './routes/texts.ts'
import { errorBody, HttpError, httpError, retryHeaders } from './service/errors.ts'
import { readJsonBodies } from './service/json-body.ts'
import { type ServiceOptions, serviceSchema } from './service/options.ts'
import { Service } from './service/service.ts'
import type { Tenant } from './service/tenants.ts'

type Handler = (service: Service, request: FastifyRequest, reply: FastifyReply) => unknown

/** Everything that can be asked. `open`: without a key; `admin`: where there are keys, only tenants that may see others. */
const routes: { method: 'GET' | 'POST'; url: string; handler: Handler; who?: 'open' | 'admin' }[] = [
  { method: 'GET', url: '/health', handler: health, who: 'open' },
  { method: 'GET', url: '/ready', handler: ready, who: 'open' },
  { method: 'GET', url: '/openapi.json', handler: ({ keys }) => openApi(keys.required), who: 'open' },
  { method: 'GET', url: '/metrics', handler: metricsText, who: 'admin' },
  { method: 'GET', url: '/ui', handler: page, who: 'open' },
  { method: 'GET', url: '/ui/:file', handler: page, who: 'open' },
  { method: 'GET', url: '/ui/counts', handler: counts, who: 'admin' },
  { method: 'GET', url: '/v1/models', handler: listModels },
  { method: 'GET', url: '/v1/models/*', handler: oneModel },
  { method: 'POST', url: '/v1/chat/completions', handler: chat },
  { method: 'POST', url: '/v1/completions', handler: completions },
  { method: 'POST', url: '/v1/responses', handler: responses },
  { method: 'POST', url: '/tokenize', handler: tokenize },
  { method: 'POST', url: '/detokenize', handler: detokenize },
]

/** As a plugin; the engines that it loads are closed with the application. */
export const octavo: FastifyPluginAsync<ServiceOptions & { prefix?: string }> = async (
  app,
  { prefix: _, ...options },
) => {
  const service = await Service.create(parse(serviceSchema, options, 'options', new CallSite(octavo)))
  addRoutes(app, service)
  app.addHook('onClose', () => service.close())
}

export function addRoutes(app: FastifyInstance, service: Service): void {
  const { bodyLimit } = service.options
  // A page elsewhere may send text without asking first.
  app.removeContentTypeParser('text/plain')
  readJsonBodies(app, bodyLimit)
  // Hooks that wait for nothing give no promise: it would cost more than what they do.
  app.addHook('onRequest', (request, reply, done) => {
    // What the last response on this connection was given.
    if (request.raw.socket.timeout) request.raw.socket.setTimeout(0)
    reply.header('x-request-id', request.id)
    service.accept(request, reply)
    done()
  })
  app.addHook('onSend', (_, reply, payload, done) => {
    reply.raw.socket?.setTimeout(service.slowMs)
    done(null, payload)
  })
  app.setErrorHandler((error, request, reply) => sendError(service, error, request, reply))
  app.setNotFoundHandler((request, reply) => {
    const message = `There is no ${request.method} ${request.url.replace(/\?.*$/s, '').slice(0, 256)}.`
    sendError(service, new HttpError(404, 'not_found_error', message, { code: 'unknown_url' }), request, reply)
  })
  for (const { method, url, handler, who } of routes) {
    const isOpen = who === 'open' || (url === '/metrics' && service.options.metrics === 'open')
    app.route({
      ...{ method, url, bodyLimit },
      onRequest: (request, _, done) => {
        const pending = isOpen ? undefined : authorise(service, request, who === 'admin')
        if (pending === undefined) done()
        else pending.then(() => done(), done)
      },
      handler: (request, reply) => handler(service, request, reply),
    })
  }
}

/** Throws, or its promise rejects, where the request is refused. A promise only where a function is asked for the key's tenant. */
function authorise(service: Service, request: FastifyRequest, isForAdmins: boolean): Promise<void> | undefined {
  const admit = ({ limits }: Tenant) => {
    if (isForAdmins && service.keys.required && !limits.admin)
      throw new HttpError(403, 'permission_error', 'This is for tenants with `admin` only.', { code: 'forbidden' })
  }
  const tenant = service.identify(request)
  if (tenant instanceof Promise) return tenant.then(admit)
  admit(tenant)
  return undefined
}

function sendError(service: Service, error: unknown, request: FastifyRequest, reply: FastifyReply): void {
  const told = httpError(error)
  // What is no HttpError was not told yet.
  if (told.status >= 500 && error !== told) service.noteError(request, error)
  if (told.status === 401) reply.header('www-authenticate', 'Bearer')
  reply.code(told.status).headers(retryHeaders(told)).send(errorBody(told))
}
