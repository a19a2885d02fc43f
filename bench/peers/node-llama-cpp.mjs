// node bench/peers/node-llama-cpp.mjs MODEL THREADS FOLDER MEASUREMENT... (FOLDER: where node-llama-cpp is installed)
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { measure, needs } from './workload.mjs'

const [modelPath, threads, folder, ...names] = process.argv.slice(2)
const require = createRequire(join(folder, 'package.json'))
const { getLlama } = await import(pathToFileURL(require.resolve('node-llama-cpp')).href)
const { requests, contextTokens } = needs(names)

const rows = await measure(names, async () => {
  const llama = await getLlama({ gpu: false, build: 'never', logLevel: 'error' })
  const model = await llama.loadModel({ modelPath })
  const context = await model.createContext({
    contextSize: contextTokens,
    sequences: requests,
    threads: Number(threads),
    batchSize: 512,
  })
  const idle = Array.from({ length: requests }, () => context.getSequence())
  return {
    close: () => llama.dispose(),
    async *generate(prompt, maxTokens) {
      const sequence = idle.pop()
      let count = 0
      for await (const _ of sequence.evaluate(prompt, { temperature: 0, yieldEogToken: true })) {
        yield 1
        if (++count === maxTokens) break
      }
      await sequence.clearHistory()
      idle.push(sequence)
    },
  }
})
console.log(JSON.stringify(rows))
