// Many prompts at once: the engine computes them together, each answer is the one it would have been alone.
// `node examples/batch.mjs [model.gguf]`
import { Engine } from 'octavo'

const heroes = ['a brave fox named Otto', 'a kind bear named Mila', 'a curious mouse named Pip', 'a shy owl named Luna']

const engine = await Engine.load({ model: process.argv[2] ?? 'stories' })
try {
  const started = performance.now()
  const results = await Promise.all(
    heroes.map((hero, seed) => {
      const messages = [{ role: 'user', content: `Tell a story about ${hero}.` }]
      return engine.generate({ messages, maxTokens: 200, temperature: 0.7, seed }).result
    }),
  )
  const seconds = (performance.now() - started) / 1000
  for (const { text } of results) console.log(`${text}\n`)
  const tokens = results.reduce((sum, { usage }) => sum + usage.completionTokens, 0)
  console.log(`${results.length} stories, ${tokens} tokens, ${(tokens / seconds).toFixed(0)} tokens/s together`)
} finally {
  await engine.close()
}
