/**
 * The package on a GPU, through its public API: tokens on device 'cuda' are those on 'cpu', a load's time, and the speed of 1 to 64
 * requests at once. Started by node.sh; prints a table and writes $OUT/node.json. Ends with 1 at the first other token.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'

const { Engine } = await import(new URL('./app/dist/index.js', import.meta.url))
const { values } = parseArgs({ options: { tiny: { type: 'boolean', default: false } } })
const { tiny } = values
const out = process.env.OUT ?? '.'
const found = { node: process.version, loads: [], equal: [], speed: [] }
const write = () => writeFileSync(join(out, 'node.json'), `${JSON.stringify(found, null, 1)}\n`)

async function load(model, device, options = {}) {
  const logs = []
  const start = performance.now()
  const engine = await Engine.load({ model, device, onLog: (line) => logs.push(line), ...options })
  const ms = Math.round(performance.now() - start)
  found.loads.push({ model, device, ms, log: logs[0] })
  console.log(`loaded ${model} on ${device} in ${ms} ms`)
  return engine
}

const kinds = [
  { temperature: 0 },
  { temperature: 0.9, seed: 1, logprobs: 2 },
  { temperature: 1.1, topK: 0, topP: 0.9, seed: 2, repetitionPenalty: 1.2 },
  { temperature: 0.8, seed: 3, minP: 0.05, frequencyPenalty: 0.3, logitBias: { 300: 2 } },
]
const answer = ({ tokens, text, logprobs }) => JSON.stringify({ tokens, text, logprobs })

/** Every kind of drawing, all at once, on both devices. */
async function compare(model, dtype, maxTokens, contextTokens) {
  const prompt = Array.from({ length: 23 }, (_, i) => 300 + 17 * i)
  const answers = []
  for (const device of ['cpu', 'cuda']) {
    const engine = await load(model, device, { contextTokens, kv: { dtype } })
    const requests = kinds.map((kind) => engine.generate({ prompt, ...kind, maxTokens, ignoreEos: true }).result)
    answers.push((await Promise.all(requests)).map(answer))
    await engine.close()
  }
  for (const [i, kind] of kinds.entries()) {
    if (answers[0][i] === answers[1][i]) continue
    console.error(
      `${model}, ${dtype}, ${JSON.stringify(kind)} differs:\n cpu  ${answers[0][i]}\n cuda ${answers[1][i]}`,
    )
    process.exit(1)
  }
  found.equal.push({ model, dtype, requests: kinds.length, tokens: maxTokens * kinds.length })
  console.log(`equal: ${model}, ${dtype}, ${kinds.length} requests of ${maxTokens} tokens`)
  write()
}

async function speed(model, dtype, counts, promptTokens, maxTokens) {
  const most = counts.at(-1)
  const contextTokens = promptTokens + maxTokens + 16
  const bytes = Math.ceil(1.05 * most * contextTokens)
  const engine = await load(model, 'cuda', {
    contextTokens,
    kv: { dtype, ...(tiny ? {} : { memory: bytes * 2 ** 17 }) },
  })
  for (const requests of counts) {
    const start = performance.now()
    const results = await Promise.all(
      Array.from({ length: requests }, (_, r) => {
        const prompt = Array.from({ length: promptTokens }, (_, i) => 300 + ((i * 7919 + r * 104729) % 1500))
        return engine.generate({ prompt, maxTokens, ignoreEos: true, temperature: 0, speculation: 'off' }).result
      }),
    )
    const seconds = (performance.now() - start) / 1000
    const interToken = results.map(({ timings }) => timings.interTokenMs.p50).sort((a, b) => a - b)
    const row = {
      ...{ model, dtype, requests, promptTokens, maxTokens },
      tokensPerSecond: Math.round((requests * maxTokens) / seconds),
      interTokenMs: interToken[requests >> 1],
      firstTokenMs: Math.max(...results.map(({ timings }) => timings.firstTokenMs)),
    }
    found.speed.push(row)
    console.log(`${requests} requests: ${row.tokensPerSecond} tokens/s, ${row.interTokenMs.toFixed(2)} ms a token`)
    write()
  }
  await engine.close()
}

if (tiny) {
  await compare('stories', 'int8', 3, 48)
  await speed('stories', 'int8', [1, 2], 5, 3)
} else {
  for (const dtype of ['int8', 'fp8', 'bf16', 'f16']) await compare('stories', dtype, 64, 256)
  await compare('synthetic:tinyllama-1.1b', 'int8', 48, 256)
  await speed('synthetic:llama-3.1-8b', 'int8', [1, 2, 4, 8, 16, 32, 64], 512, 128)
}
write()
console.log(`node.mjs: done; results in ${out}`)
