// A batch: one prompt a line in, one line of JSON a prompt out, in the same order. The engine computes the prompts together;
// each answer is the one it would have been alone. `node examples/batch.mjs prompts.txt [model.gguf] > answers.jsonl`
import { open } from 'node:fs/promises'
import { Engine } from 'octavo'

const [file, model = 'stories'] = process.argv.slice(2)
if (file === undefined) throw new Error('usage: node examples/batch.mjs prompts.txt [model.gguf]')

/** Prompts in the engine at a time: enough to fill its batches, and a file of any length fits into memory. */
const window = 32

const engine = await Engine.load({ model })
try {
  const running = []
  const write = async () => {
    const { prompt, result } = running.shift()
    const { text, finishReason, seed } = await result
    console.log(JSON.stringify({ prompt, text, finishReason, seed }))
  }
  const prompts = await open(file)
  for await (const line of prompts.readLines()) {
    if (line.trim() === '') continue
    const messages = [{ role: 'user', content: line }]
    running.push({
      prompt: line,
      result: engine.generate({ messages, maxTokens: 200, temperature: 0.7, seed: 1 }).result,
    })
    if (running.length === window) await write()
  }
  while (running.length > 0) await write()
} finally {
  await engine.close()
}
