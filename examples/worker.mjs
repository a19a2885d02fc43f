// Engines inside the application's own worker threads, several at once: for an application whose requests live in workers
// anyway. They share one pool of compute threads. `node examples/worker.mjs [model.gguf]`
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { Engine } from 'octavo'

if (isMainThread) {
  const model = process.argv[2] ?? 'stories'
  const heroes = ['a brave fox named Otto', 'a kind bear named Mila']
  const stories = heroes.map((hero) => inWorker({ model, hero }))
  for (const { hero, text, tokens } of await Promise.all(stories)) console.log(`${hero}, ${tokens} tokens: ${text}\n`)
} else {
  const { model, hero } = workerData
  const engine = await Engine.load({ model, contextTokens: 512 })
  try {
    const messages = [{ role: 'user', content: `Tell a story about ${hero}.` }]
    const { text, usage } = await engine.generate({ messages, maxTokens: 200, seed: 1 }).result
    parentPort.postMessage({ hero, text, tokens: usage.completionTokens })
  } finally {
    await engine.close()
  }
}

function inWorker(data) {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL(import.meta.url), { workerData: data })
    worker.once('message', resolve)
    worker.once('error', reject)
    worker.once('exit', (code) => reject(new Error(`the worker ended with code ${code} and no story`)))
  })
}
