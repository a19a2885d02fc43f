// An HTTP service that streams its answers as server-sent events. `node examples/server.mjs [model.gguf] [port]`, then
//
//   curl -N localhost:8080/chat -H 'content-type: application/json' \
//     -d '{"messages":[{"role":"user","content":"Tell a story about a brave fox named Otto."}]}'
//
// Ctrl-C ends the answers that run, frees the model and lets the process end. Express is only one way to do it: events() and
// pipeline() work with any framework over node:http (Fastify: reply.hijack(), then reply.raw).
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import express from 'express'
import { Engine, OctavoError } from 'octavo'

const [model = 'stories', port = '8080'] = process.argv.slice(2)
const engine = await Engine.load({ model })
const app = express()
app.use(express.json())

app.post('/chat', async (request, response) => {
  const { messages, seed } = request.body ?? {}
  // Throws at once when the messages are not what they should be; Express hands that to the error handler below.
  const generation = engine.generate({ messages, seed, maxTokens: 500 })
  // A client that goes away costs nothing more, even if its first token is yet to come.
  response.on('close', () => generation.cancel())
  response.type('text/event-stream')
  // A client that reads slowly holds up its own generation and no other.
  await pipeline(Readable.from(events(generation)), response).catch((error) => {
    if (error.code !== 'ERR_STREAM_PREMATURE_CLOSE') throw error
  })
})

app.get('/stats', (_request, response) => void response.json(engine.stats()))

app.use((error, _request, response, _next) => {
  const status = error.status ?? (error.code === 'INVALID_ARGUMENT' ? 400 : 500)
  if (!response.headersSent) response.status(status).json({ code: error.code, message: error.message })
})

async function* events(generation) {
  const event = (name, data) => `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`
  try {
    for await (const { text } of generation) yield event('text', { text })
    const { finishReason, usage } = await generation.result
    yield event('done', { finishReason, usage })
  } catch (error) {
    if (!(error instanceof OctavoError)) throw error
    yield event('error', { code: error.code, message: error.message })
  }
}

const server = app.listen(Number(port), (error) => {
  if (error) throw error
  console.log(`listening on http://localhost:${server.address().port}`)
})

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, async () => {
    server.close()
    await engine.close()
    // The last events are on their way; a client that does not take them may not keep the process.
    setTimeout(() => server.closeAllConnections(), 500).unref()
  })
}
