// node bench/peers/cold-node-llama-cpp.mjs MODEL THREADS prompt|messages FOLDER: prints the first text of an answer.
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

const [modelPath, threads, mode, folder] = process.argv.slice(2)
const require = createRequire(join(folder, 'package.json'))
const { getLlama, LlamaChatSession, LlamaCompletion } = await import(
  pathToFileURL(require.resolve('node-llama-cpp')).href
)
const text = mode === 'messages' ? 'Tell a story about a brave fox named Otto.' : 'Once upon a time, there was a'
const llama = await getLlama({ gpu: false, build: 'never', logLevel: 'error' })
const model = await llama.loadModel({ modelPath })
const context = await model.createContext({ contextSize: model.trainContextSize, threads: Number(threads) })
const contextSequence = context.getSequence()
const stop = new AbortController()
const options = {
  temperature: 0,
  signal: stop.signal,
  stopOnAbortSignal: true,
  onTextChunk(chunk) {
    if (chunk === '' || stop.signal.aborted) return
    process.stdout.write(chunk)
    stop.abort()
  },
}
if (mode === 'messages') await new LlamaChatSession({ contextSequence }).prompt(text, options)
else await new LlamaCompletion({ contextSequence }).generateCompletion(text, options)
await llama.dispose()
