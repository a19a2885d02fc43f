// Mails into rows of a table: every answer fits the schema, and has its type. `node examples/extract.mjs [model.gguf]`
import { Engine } from 'octavo'
import { z } from 'zod'

const Order = z.object({
  customer: z.string().min(1).max(30).describe('Who writes'),
  product: z.enum(['kite', 'string', 'repair']),
  colour: z.enum(['blue', 'golden', 'red']).nullable(),
  pieces: z.int().min(1).max(99),
  urgent: z.boolean(),
})

const mails = [
  'Hello, I am Vera. Please send two golden kites, I need them tomorrow!',
  'My kite is torn. Can you mend it? There is no hurry. Yours, Ben',
  'Ten red strings for the school, please. Luna',
]

const engine = await Engine.load({ model: process.argv[2] ?? 'stories' })
try {
  const rows = await Promise.all(
    mails.map(async (mail) => {
      const prompt = `Mail: ${mail}\nThe order as JSON with customer, product, colour, pieces, urgent: `
      const { object } = await engine.generate({ prompt, schema: Order, temperature: 0, maxTokens: 200 }).result
      return object
    }),
  )
  console.table(rows)
} finally {
  await engine.close()
}
