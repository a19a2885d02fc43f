// One prompt, streamed. `node examples/basic.mjs [model.gguf]`; without a file, the small model that comes with octavo.
import { Engine } from 'octavo'

const engine = await Engine.load({ model: process.argv[2] ?? 'stories' })
try {
  const generation = engine.generate({
    messages: [{ role: 'user', content: 'Tell a story about a shy owl named Luna and a golden kite.' }],
    maxTokens: 300,
    temperature: 0.7,
    seed: 1,
  })
  for await (const part of generation) process.stdout.write(part.text)
  const { usage, timings, finishReason } = await generation.result
  console.log(`\n\n${usage.completionTokens} tokens (${finishReason}), ${timings.tokensPerSecond.toFixed(0)} tokens/s`)
} finally {
  await engine.close()
}
