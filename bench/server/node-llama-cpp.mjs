// node bench/server/node-llama-cpp.mjs MODEL THREADS CONTEXT SEQUENCES FOLDER: node-llama-cpp behind Fastify, as one writes it down: a
// sequence a request, its tokens as server-sent events. FOLDER: where node-llama-cpp is installed.
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import fastify from 'fastify'

const [modelPath, threads, contextSize, sequences, folder] = process.argv.slice(2)
const require = createRequire(join(folder, 'package.json'))
const { getLlama } = await import(pathToFileURL(require.resolve('node-llama-cpp')).href)
const llama = await getLlama({ gpu: false, build: 'never', logLevel: 'error' })
const model = await llama.loadModel({ modelPath })
const context = await model.createContext({
  ...{ contextSize: Number(contextSize), sequences: Number(sequences), threads: Number(threads), batchSize: 512 },
})
const free = Array.from({ length: Number(sequences) }, () => context.getSequence())
const waiting = []
const take = () => free.pop() ?? new Promise((resolve) => waiting.push(resolve))
const give = (sequence) => {
  const next = waiting.shift()
  if (next) next(sequence)
  else free.push(sequence)
}

const app = fastify()
app.post('/v1/completions', async (request, reply) => {
  const { prompt, max_tokens: maxTokens } = request.body
  const sequence = await take()
  reply.hijack()
  reply.raw.writeHead(200, { 'content-type': 'text/event-stream' })
  let count = 0
  for await (const token of sequence.evaluate(prompt, { temperature: 0, yieldEogToken: true })) {
    const text = model.detokenize([token])
    reply.raw.write(`data: ${JSON.stringify({ choices: [{ index: 0, text, finish_reason: null }] })}\n\n`)
    if (++count === maxTokens) break
  }
  reply.raw.end('data: [DONE]\n\n')
  await sequence.clearHistory()
  give(sequence)
})
console.log(await app.listen({ port: 0 }))
process.on('SIGTERM', () => process.exit(0))
