/** /openapi.json: what can be asked, made of the shapes that requests are checked by. */
import { version } from '../../base/version.ts'
import * as z from '../../base/zod.ts'
import { chatShape } from './chat.ts'
import { completionShape } from './completions.ts'
import { responseShape } from './responses.ts'
import { detokenizeShape, tokenizeShape } from './texts.ts'

type Shape = Record<string, z.ZodType>

const bodies: { path: string; summary: string; shape: Shape; streams?: true }[] = [
  { path: '/v1/chat/completions', summary: 'The answer to a conversation', shape: chatShape, streams: true },
  { path: '/v1/completions', summary: 'How prompts go on', shape: completionShape, streams: true },
  { path: '/v1/responses', summary: 'The answer to items', shape: responseShape, streams: true },
  { path: '/tokenize', summary: 'The ids of a text or a conversation', shape: tokenizeShape },
  { path: '/detokenize', summary: 'The text of ids', shape: detokenizeShape },
]
const reads = [
  { path: '/v1/models', summary: 'The models' },
  { path: '/health', summary: 'Whether the service lives', open: true },
  { path: '/ready', summary: 'Whether it answers', open: true },
  { path: '/metrics', summary: 'Metrics for Prometheus', type: 'text/plain' },
]

const error = {
  type: 'object',
  required: ['error'],
  properties: {
    error: {
      type: 'object',
      required: ['message', 'type', 'param', 'code'],
      properties: {
        ...{ message: { type: 'string' }, type: { type: 'string' } },
        ...{ param: { type: ['string', 'null'] }, code: { type: ['string', 'null'] } },
      },
    },
  },
}

const failed = {
  description: 'An error',
  content: { 'application/json': { schema: { $ref: '#/components/schemas/Error' } } },
}
const answers = (types: string[]) => ({
  200: { description: 'The answer', content: Object.fromEntries(types.map((type) => [type, {}])) },
  default: failed,
})

/** Values without a JSON Schema of their own are described by what is expected of them. */
function schemaOf(shape: Shape): object {
  const override = ({ zodSchema, jsonSchema }: { zodSchema: unknown; jsonSchema: Record<string, unknown> }) => {
    const { def } = (zodSchema as { _zod: { def: { type: string; error?: () => unknown } } })._zod
    if (def.type === 'custom') {
      const expected = def.error?.()
      if (typeof expected === 'string') jsonSchema.description = expected
    }
  }
  const options = { io: 'input', unrepresentable: 'any', target: 'draft-2020-12', override } as const
  const { $schema: _, ...schema } = z.looseObject(shape).toJSONSchema(options as never) as Record<string, unknown>
  return schema
}

/** The document; `keyed`: requests want a key. */
export function openApi(keyed: boolean): object {
  const posts = bodies.map(({ path, summary, shape, streams }) => {
    const requestBody = { required: true, content: { 'application/json': { schema: schemaOf(shape) } } }
    const responses = answers(['application/json', ...(streams ? ['text/event-stream'] : [])])
    return [path, { post: { summary, requestBody, responses } }]
  })
  const gets = reads.map(({ path, summary, type = 'application/json', open }) => [
    path,
    { get: { summary, responses: answers([type]), ...(open && { security: [] }) } },
  ])
  return {
    openapi: '3.1.0',
    info: { title: 'octavo', version, description: "Language models behind OpenAI's API." },
    paths: Object.fromEntries([...posts, ...gets]),
    components: {
      schemas: { Error: error },
      ...(keyed && { securitySchemes: { key: { type: 'http', scheme: 'bearer' } } }),
    },
    ...(keyed && { security: [{ key: [] }] }),
  }
}
