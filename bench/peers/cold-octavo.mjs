// node bench/peers/cold-octavo.mjs MODEL THREADS prompt|messages: prints the first text of an answer.
import { Engine } from 'octavo'

const [model, threads, mode] = process.argv.slice(2)
const text = mode === 'messages' ? 'Tell a story about a brave fox named Otto.' : 'Once upon a time, there was a'
const engine = await Engine.load({ model, threads: Number(threads) })
const input = mode === 'messages' ? { messages: [{ role: 'user', content: text }] } : { prompt: text }
for await (const part of engine.generate({ ...input, temperature: 0 })) {
  if (part.text === '') continue
  process.stdout.write(part.text)
  break
}
await engine.close()
