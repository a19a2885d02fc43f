// What HTTP costs by itself: a bare server of node:http in front of an engine, which streams the events of octavo/server and does nothing else
// (no keys, limits, checks, metrics, errors); and one that answers at once, without an engine: sockets, the client and little more.
import { once } from 'node:events'
import { createServer } from 'node:http'

const head =
  'data: {"id":"cmpl-00000000000000000000000000000000","object":"text_completion","created":1800000000,"model":"model",' +
  '"system_fingerprint":"octavo-000000000000","choices":[{"index":0,"text":'
const event = (text) => `${head}${JSON.stringify(text)},"logprobs":null,"finish_reason":null}]}\n\n`

async function* fromEngine(engine, { prompt, max_tokens: maxTokens }, response) {
  const generation = engine.generate({ prompt, maxTokens, temperature: 0, ignoreEos: true })
  response.once('close', () => generation.cancel())
  for await (const { text } of generation) yield text
}

async function* atOnce() {
  yield ' token'
}

async function listen(textsOf) {
  const server = createServer((request, response) => {
    const parts = []
    request.on('data', (part) => parts.push(part))
    request.on('end', async () => {
      const texts = textsOf(JSON.parse(Buffer.concat(parts)), response)
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      for await (const text of texts) response.write(event(text))
      response.end('data: [DONE]\n\n')
    })
  }).listen(0)
  await once(server, 'listening')
  const close = () => {
    server.closeAllConnections()
    server.close()
  }
  return { server, url: `http://127.0.0.1:${server.address().port}`, close }
}

export const plainServer = (engine) => listen((body, response) => fromEngine(engine, body, response))
export const socketsAlone = () => listen(atOnce)
