/**
 * /ui: the page, and the counts behind its live view. Where there are keys the page itself is for everybody, since it knows nothing, and what it
 * asks for wants the key that a person gives it; where there are none, all of it is for requests from this machine alone.
 */
import { readFileSync } from 'node:fs'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { packageRoot } from '../../base/package-files.ts'
import { HttpError } from '../service/errors.ts'
import type { Service } from '../service/service.ts'

const policy = [
  ...["default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "img-src 'self' data:"],
  ...["base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"],
].join('; ')

const files: Record<string, string> = {
  'index.html': 'text/html; charset=utf-8',
  'app.js': 'text/javascript; charset=utf-8',
  'app.css': 'text/css; charset=utf-8',
}

const isLocal = (address: string | undefined) => /^(127\.|::1$|::ffff:127\.)/.test(address ?? '')

/** Throws a 404 for whom there is no page. */
function allow(service: Service, request: FastifyRequest): void {
  const isOpen = service.keys.required || isLocal(request.raw.socket.remoteAddress)
  if (service.options.ui === 'off' || !isOpen)
    throw new HttpError(404, 'not_found_error', 'There is no page here.', { code: 'unknown_url' })
}

const contents = new Map<string, Buffer>()

export function page(service: Service, request: FastifyRequest, reply: FastifyReply): unknown {
  allow(service, request)
  const name = (request.params as { file?: string }).file ?? 'index.html'
  const type = Object.hasOwn(files, name) ? files[name]! : undefined
  if (type === undefined) throw new HttpError(404, 'not_found_error', 'There is no such file.', { code: 'unknown_url' })
  if (!contents.has(name)) contents.set(name, readFileSync(new URL(`dist/ui/${name}`, packageRoot())))
  const headers = {
    'content-security-policy': policy,
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
  }
  return reply
    .headers({ ...headers, 'cache-control': 'no-cache' })
    .type(type)
    .send(contents.get(name))
}

export function counts(service: Service, request: FastifyRequest): object {
  allow(service, request)
  const models = service.models.all.flatMap(({ name, engine }) =>
    engine === undefined ? [] : [{ name, contextTokens: engine.model.contextTokens, ...engine.stats() }],
  )
  return { models, recent: service.recent }
}
