// node bench/peers/octavo.mjs MODEL THREADS
import { Engine } from 'octavo'
import { measure } from './workload.mjs'

const [model, threads] = process.argv.slice(2)
await measure(async () => {
  const engine = await Engine.load({
    model,
    threads: Number(threads),
    contextTokens: 1024,
    kv: { memory: '128MiB' },
    prefixCache: false,
  })
  return {
    close: () => engine.close(),
    async *generate(prompt, maxTokens) {
      const generation = engine.generate({ prompt, maxTokens, temperature: 0, ignoreEos: true })
      for await (const part of generation) yield part.tokens.length
    },
  }
})
