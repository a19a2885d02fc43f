// Decode speed while the main thread is busy 5 ms of every 10, against an idle main thread, interleaved; one compute thread.
// The engine runs in its own thread, so a busy event loop must cost it less than 10%. Exits 1 otherwise.
//
//   node test/deep/jam.mjs MODEL [--rounds N]
import { Engine } from 'octavo'

const model = process.argv[2] ?? 'stories'
const roundsAt = process.argv.indexOf('--rounds')
const rounds = roundsAt < 0 ? 7 : Number(process.argv[roundsAt + 1])
const tokens = 96

const engine = await Engine.load({ model, threads: 1, contextTokens: 512, speculation: 'off' })
const request = { prompt: 'Once upon a time', maxTokens: tokens, temperature: 0, ignoreEos: true }

/** Decode seconds as the engine thread measured them: from the first token to the last. */
async function decode(jammed) {
  let running = true
  const jam = () => {
    if (!running) return
    const until = performance.now() + 5
    while (performance.now() < until);
    setTimeout(jam, 5)
  }
  if (jammed) jam()
  const { timings } = await engine.generate(request).result
  running = false
  return timings.tokensPerSecond
}

await decode(false)
const quiet = []
const busy = []
for (let i = 0; i < rounds; i++) {
  quiet.push(await decode(false))
  busy.push(await decode(true))
}
await engine.close()
const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1]
const ratio = median(busy) / median(quiet)
console.log(
  `summary: quiet ${median(quiet).toFixed(1)} tokens/s, main thread jammed half of the time ${median(busy).toFixed(1)} tokens/s, ratio ${ratio.toFixed(3)} (medians of ${rounds})`,
)
process.exit(ratio > 0.9 ? 0 : 1)
