// node bench/speculation/node-llama-cpp.mjs MODEL THREADS FOLDER PREDICTOR DRAFT TOKENS < prompts: decodes each prompt (token ids, a
// JSON array of them on the standard input) greedily; PREDICTOR: none, lookup, or draft (with the model DRAFT). FOLDER: where
// node-llama-cpp is installed. Prints tokens a second from the first token to the last, and what was predicted, by prompt.
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { pathToFileURL } from 'node:url'

const [modelPath, threadsText, folder, predictor, draftPath, tokensText] = process.argv.slice(2)
const [threads, most] = [threadsText, tokensText].map(Number)
const require = createRequire(join(folder, 'package.json'))
const { getLlama, InputLookupTokenPredictor, DraftSequenceTokenPredictor } = await import(
  pathToFileURL(require.resolve('node-llama-cpp')).href
)
const prompts = JSON.parse(await text(process.stdin))
const llama = await getLlama({ gpu: false, build: 'never', logLevel: 'error' })
const contextSize = Math.max(...prompts.map((ids) => ids.length)) + most + 64

async function contextOf(path, sequences = 1) {
  const model = await llama.loadModel({ modelPath: path })
  return model.createContext({ contextSize, sequences, threads, batchSize: 512 })
}
const context = await contextOf(modelPath)
// It still works on a guess when its prompt has ended: one sequence each.
const draft = predictor === 'draft' ? await contextOf(draftPath, prompts.length) : undefined
const rows = []
for (const prompt of prompts) {
  const draftSequence = draft?.getSequence()
  const tokenPredictor =
    draftSequence === undefined
      ? predictor === 'lookup'
        ? new InputLookupTokenPredictor()
        : undefined
      : new DraftSequenceTokenPredictor(draftSequence)
  const sequence = context.getSequence({ tokenPredictor })
  const tokens = []
  let [first, last] = [0, 0]
  for await (const token of sequence.evaluate(prompt, { temperature: 0, yieldEogToken: true })) {
    tokens.push(token)
    last = performance.now()
    first ||= last
    if (tokens.length === most) break
  }
  const { validated, refuted } = sequence.tokenPredictions
  rows.push({ tokensPerSecond: (1000 * (tokens.length - 1)) / (last - first), validated, refuted, tokens })
  sequence.dispose()
}
console.log(JSON.stringify(rows))
await llama.dispose()
