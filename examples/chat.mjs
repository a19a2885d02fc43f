// A session keeps the conversation: each turn computes its own tokens only. `node examples/chat.mjs [model.gguf]`
import { Engine } from 'octavo'

const engine = await Engine.load({ model: process.argv[2] ?? 'stories' })
try {
  const session = engine.session()
  try {
    const questions = [
      'Tell a story about a shy owl named Luna and a golden kite.',
      'What color was the kite?',
      'Now tell it with Vera instead of Luna.',
    ]
    for (const question of questions) {
      console.log(`> ${question}`)
      const { text, usage } = await session.generate(question, { maxTokens: 300, temperature: 0 }).result
      console.log(`${text}\n(${usage.cachedTokens} of ${usage.promptTokens} prompt tokens were cached)\n`)
    }
  } finally {
    session.close()
  }
} finally {
  await engine.close()
}
