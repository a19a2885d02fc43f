// A service of two tenants, asked with OpenAI's own client. `npm install openai`, then `node examples/serve.mjs [model.gguf]`.
//
// The service is a part of this process: no second runtime, and the engine may be used directly beside it.
import { createServer } from 'octavo/server'
import OpenAI from 'openai'

const [model = 'stories'] = process.argv.slice(2)
const server = await createServer({
  models: { story: model },
  aliases: { 'gpt-4o-mini': 'story' },
  keys: [
    { key: 'sk-gold', tenant: 'gold' },
    { key: 'sk-free', tenant: 'free' },
  ],
  // When both ask, one gets four times as much; the other may have one request at a time.
  tenants: { gold: { weight: 4 }, free: { weight: 1, maxRequests: 1 } },
  port: 0,
})
try {
  const baseURL = `${await server.listen()}/v1`
  await server.loaded
  const gold = new OpenAI({ baseURL, apiKey: 'sk-gold' })
  const free = new OpenAI({ baseURL, apiKey: 'sk-free', maxRetries: 0 })

  const messages = [{ role: 'user', content: 'Tell a story about a shy owl named Luna and a golden kite.' }]
  const stream = await gold.chat.completions.create({ model: 'story', messages, seed: 1, stream: true })
  for await (const { choices } of stream) process.stdout.write(choices[0]?.delta.content ?? '')

  const schema = {
    ...{ type: 'object', required: ['name', 'kind'], additionalProperties: false },
    properties: { name: { type: 'string', maxLength: 12 }, kind: { enum: ['owl', 'fox', 'bear'] } },
  }
  const { choices } = await gold.chat.completions.create({
    ...{ model: 'gpt-4o-mini', messages, seed: 1, max_tokens: 100 },
    response_format: { type: 'json_schema', json_schema: { name: 'hero', schema } },
  })
  console.log('\n', JSON.parse(choices[0].message.content))

  const both = [1, 2].map((seed) => free.chat.completions.create({ model: 'story', messages, seed, max_tokens: 50 }))
  for (const { status, reason } of await Promise.allSettled(both)) {
    if (status === 'fulfilled') console.log('answered')
    else console.log(`${reason.status} ${reason.code}: again in ${reason.headers.get('retry-after-ms')} ms`)
  }
} finally {
  await server.close()
}
