// One of a few words for each text, all texts at once. `node examples/classify.mjs [model.gguf]`
import { Engine } from 'octavo'

const labels = ['order', 'complaint', 'question', 'thanks']
const mails = [
  'Please send me three more of the blue kites.',
  'The kite came with a broken string. I want my money back.',
  'Do your kites fly in the rain?',
  'Luna loves her golden kite. Thank you so much!',
]

const engine = await Engine.load({ model: process.argv[2] ?? 'stories' })
try {
  const rows = await Promise.all(
    mails.map(async (mail) => {
      const prompt = `A mail is one of: ${labels.join(', ')}.\n\nMail: ${mail}\nIt is: `
      const { text } = await engine.generate({ prompt, grammar: { choice: labels }, temperature: 0 }).result
      return { mail, label: text }
    }),
  )
  console.table(rows)
} finally {
  await engine.close()
}
