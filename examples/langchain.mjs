// A chat model of LangChain that computes in this process: a chain whose text is streamed, then an object.
// `npm install @langchain/core zod`, `node examples/langchain.mjs [model.gguf]`
import { StringOutputParser } from '@langchain/core/output_parsers'
import { ChatPromptTemplate } from '@langchain/core/prompts'
import { Engine } from 'octavo'
import { ChatOctavo } from 'octavo/langchain'
import { z } from 'zod'

const engine = await Engine.load({ model: process.argv[2] ?? 'stories' })
try {
  const model = new ChatOctavo({ engine, maxTokens: 300, temperature: 0.7, seed: 1 })
  const prompt = ChatPromptTemplate.fromTemplate('Tell a story about {hero}.')
  const chain = prompt.pipe(model).pipe(new StringOutputParser())
  for await (const text of await chain.stream({ hero: 'a shy owl named Luna' })) process.stdout.write(text)

  const Hero = z.object({ name: z.string().min(1).max(20), animal: z.enum(['owl', 'fox', 'bear']) })
  const hero = await model.withStructuredOutput(Hero).invoke('Who is the hero of a story about an owl? Answer as JSON.')
  console.log('\n\n', hero)
} finally {
  await engine.close()
}
