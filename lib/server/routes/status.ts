/** What the service says of itself: its models, whether it lives, whether it answers, its metrics. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { errorBody, HttpError } from '../service/errors.ts'
import type { ModelState } from '../service/models.ts'
import type { Service } from '../service/service.ts'

/** 503: an engine failed for good, and only a new process will answer. */
export function health(service: Service, _: FastifyRequest, reply: FastifyReply): object {
  const { failure } = service.models
  if (failure === undefined) return { status: 'ok' }
  reply.code(503)
  return { status: 'failed', message: failure instanceof Error ? failure.message : String(failure) }
}

/** 503 while models are loaded, and from the moment on at which the service goes down. */
export function ready(service: Service, _: FastifyRequest, reply: FastifyReply): object {
  const { models } = service
  const isReady = models.areReady && !service.isDraining
  reply.code(isReady ? 200 : 503)
  const stateOf = ({ engine, error }: ModelState) => {
    if (error !== undefined || engine?.failure !== undefined) return 'failed'
    return engine === undefined ? 'loading' : 'ready'
  }
  const all = Object.fromEntries(models.all.map((state) => [state.name, stateOf(state)]))
  return { status: isReady ? 'ready' : 'not ready', models: all }
}

export function listModels(service: Service, request: FastifyRequest): object {
  const { tenant } = service.of(request)
  const seen = service.models.all.filter(({ name }) => tenant.mayUse(name))
  return { object: 'list', data: seen.flatMap((state) => [state.name, ...state.aliases].map((id) => about(id, state))) }
}

export function oneModel(service: Service, request: FastifyRequest): object {
  const { tenant } = service.of(request)
  const id = (request.params as { '*': string })['*']
  const { name } = service.models.of(id, tenant)
  return about(id, service.models.all.find((state) => state.name === name)!)
}

function about(id: string, { name, created, engine }: ModelState): object {
  return {
    ...{ id, object: 'model', created, owned_by: 'octavo', root: name, parent: id === name ? null : name },
    ...(engine && { max_model_len: engine.model.contextTokens }),
  }
}

export async function metricsText({ metrics }: Service, _: FastifyRequest, reply: FastifyReply): Promise<unknown> {
  if (metrics === undefined) {
    const error = new HttpError(404, 'not_found_error', 'There are no metrics here.', { code: 'unknown_url' })
    return reply.code(404).send(errorBody(error))
  }
  return reply.type(metrics.contentType).send(await metrics.text())
}
