// node bench/server/octavo.mjs MODEL THREADS CONTEXT SEQUENCES: octavo/server, as a user has it; prints its address.
import { createServer } from 'octavo/server'
import { kvBytes } from '../load/common.mjs'

const [model, threads, context, sequences] = process.argv.slice(2)
const memory = kvBytes(model, Number(context) * Number(sequences))
const server = await createServer({
  models: { model: { model, threads: Number(threads), contextTokens: Number(context), kv: { memory } } },
  port: 0,
})
const url = await server.listen()
await server.loaded
console.log(url)
process.on('SIGTERM', () => server.close().then(() => process.exit(0)))
