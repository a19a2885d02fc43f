// A model of Vercel's AI SDK that computes in this process: a streamed story, then an object.
// `npm install ai @ai-sdk/provider zod`, `node examples/ai-sdk.mjs [model.gguf]`
import { generateText, Output, streamText } from 'ai'
import { Engine } from 'octavo'
import { octavo } from 'octavo/ai-sdk'
import { z } from 'zod'

const engine = await Engine.load({ model: process.argv[2] ?? 'stories' })
try {
  const model = octavo(engine, { maxTokens: 300 })
  const prompt = 'Tell a story about a shy owl named Luna and a golden kite.'
  const { textStream, usage } = streamText({ model, prompt, temperature: 0.7, seed: 1 })
  for await (const text of textStream) process.stdout.write(text)
  console.log(`\n\n${(await usage).outputTokens} tokens`)

  const schema = z.object({ name: z.string().min(1).max(20), animal: z.enum(['owl', 'fox', 'bear']) })
  const output = Output.object({ schema })
  const answer = await generateText({ model, prompt: `${prompt} Who is it about? Answer as JSON.`, output, seed: 1 })
  console.log(answer.output)
} finally {
  await engine.close()
}
