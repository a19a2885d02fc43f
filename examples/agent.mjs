// A model that calls functions and answers with what they give. `node examples/agent.mjs [model.gguf] [question]`
// A model that was trained with tools calls them when it wants to; the embedded one was not, so it is held to calling one first.
import { Engine } from 'octavo'
import { z } from 'zod'

const degrees = { Rome: 31, Oslo: 12, Lima: 19 }

const tools = {
  weather: {
    description: 'The temperature in a city, in degrees Celsius',
    parameters: z.object({ city: z.enum(['Rome', 'Oslo', 'Lima']) }),
    execute: ({ city }) => ({ city, celsius: degrees[city] }),
  },
  toFahrenheit: {
    description: 'Degrees Celsius in Fahrenheit',
    parameters: z.object({ celsius: z.int().min(-90).max(60) }),
    execute: ({ celsius }) => Math.round(celsius * 1.8 + 32),
  },
}

const [model = 'stories', question = 'How warm is it in Rome, in Fahrenheit?'] = process.argv.slice(2)
const engine = await Engine.load({ model })
try {
  const generation = engine.generate({
    messages: [{ role: 'user', content: question }],
    tools,
    toolChoice: model === 'stories' ? 'required' : 'auto',
    maxTokens: 300,
    temperature: 0,
  })
  for await (const { text, toolCall, toolResult } of generation) {
    if (toolCall?.call) console.log(`-> ${toolCall.name}(${JSON.stringify(toolCall.call.arguments)})`)
    if (toolResult) console.log(`<- ${toolResult.content}`)
    process.stdout.write(text)
  }
  const { finishReason, messages } = await generation.result
  console.log(`\n\n${messages.length} messages came of it, the last one ended with '${finishReason}'`)
} finally {
  await engine.close()
}
