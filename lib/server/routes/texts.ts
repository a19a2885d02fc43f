/** /tokenize and /detokenize, as vLLM has them. */
import type { FastifyRequest } from 'fastify'
import * as z from '../../base/zod.ts'
import { httpError } from '../service/errors.ts'
import type { Service } from '../service/service.ts'
import { commonShape, conversationOf, conversationShape, readBody } from './fields.ts'

export const tokenizeShape = {
  ...commonShape,
  ...conversationShape,
  messages: conversationShape.messages.optional(),
  prompt: z.string().optional(),
  add_special_tokens: z.boolean().default(true),
  parse_special: z.boolean().default(false),
  return_token_strs: z.boolean().default(false),
}

export const detokenizeShape = { ...commonShape, tokens: z.array(z.number()) }

export async function tokenize(service: Service, request: FastifyRequest): Promise<unknown> {
  const { fields, nameOf } = readBody(tokenizeShape, request.body)
  const { engine } = service.models.of(fields.model, service.of(request).tenant)
  const { prompt, messages, add_special_tokens: addBos, parse_special: parseSpecial } = fields
  try {
    const tokens =
      messages === undefined
        ? await engine.tokenize(prompt as string, { addBos: addBos && engine.model.addsBos, parseSpecial })
        : (await engine.renderPrompt(conversationOf({ ...fields, messages }) as never)).tokens
    return {
      ...{ count: tokens.length, max_model_len: engine.model.contextTokens, tokens },
      token_strs: fields.return_token_strs ? tokens.map((id) => engine.token(id).text) : null,
    }
  } catch (error) {
    throw httpError(error, nameOf)
  }
}

export async function detokenize(service: Service, request: FastifyRequest): Promise<unknown> {
  const { fields, nameOf } = readBody(detokenizeShape, request.body)
  const { engine } = service.models.of(fields.model, service.of(request).tenant)
  try {
    return { prompt: await engine.detokenize(fields.tokens) }
  } catch (error) {
    throw httpError(error, nameOf)
  }
}
