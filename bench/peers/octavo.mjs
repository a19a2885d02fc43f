// node bench/peers/octavo.mjs MODEL THREADS MEASUREMENT...: every other request is sampled; the machine's limits come along.
import { Engine } from 'octavo'
import { native } from '../../dist/base/native.js'
import { bestLimits, passCost } from '../../dist/cli/bounds.js'
import { openCheckpoint } from '../../dist/model/checkpoint.js'
import { measure, needs } from './workload.mjs'

const [model, threadsText, ...names] = process.argv.slice(2)
const threads = Number(threadsText)
const { requests, contextTokens } = needs(names)
const kvTokens = requests * 16 * (Math.ceil(contextTokens / 16) + 1)

const before = native().limits(threads)
const rows = await measure(names, async () => {
  const memory = kvTokens * passCost(openCheckpoint(model).desc).kvBytesPerToken
  const options = { contextTokens, kv: { memory }, prefixCache: false, objective: 'throughput' }
  const engine = await Engine.load({ model, threads, speculation: 'off', ...options })
  return {
    close: () => engine.close(),
    async *generate(prompt, maxTokens, request) {
      const temperature = request % 2 === 0 ? 0 : 0.8
      for await (const part of engine.generate({ prompt, maxTokens, temperature, seed: request, ignoreEos: true })) {
        yield part.tokens.length
      }
    },
  }
})
console.log(JSON.stringify({ ...rows, limits: bestLimits(before, native().limits(threads)) }))
