// What every peer is asked for, and how a run reports: one JSON line {load, rss, prefill, decode, parallel8, parallel32},
// tokens per second but for load (seconds) and rss (MiB).
export const promptTokens = 512
export const decodeTokens = 128
export const parallelTokens = 48
export const parallelPrompt = 64
export const parallel = [8, 32]

/** Token ids without meaning but with a spread, the same for all (a linear congruential generator). */
export function promptIds(count, seed, vocabulary = 30000) {
  const ids = []
  let state = seed
  for (let i = 0; i < count; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    ids.push(300 + Math.floor((state / 2 ** 32) * (vocabulary - 300)))
  }
  return ids
}

/**
 * Runs the workload against `generate(ids, maxTokens)`, an async iterable of numbers of tokens. Decoding is timed from the first
 * token to the last; parallel requests from the moment when all have their first token (so that prefill is out of it).
 */
export async function measure(load) {
  const started = performance.now()
  const { generate, close } = await load()
  const loadSeconds = (performance.now() - started) / 1000
  await one(generate, promptIds(16, 7), 8)
  const prefill = await one(generate, promptIds(promptTokens, 1), 1)
  const decode = await one(generate, promptIds(16, 2), decodeTokens + 1)
  const rows = { load: loadSeconds, prefill: promptTokens / prefill.first, decode: decodeTokens / decode.rest }
  for (const n of parallel) rows[`parallel${n}`] = await together(generate, n)
  rows.rss = process.memoryUsage.rss() / 2 ** 20
  await close()
  console.log(JSON.stringify(rows))
}

async function one(generate, ids, tokens) {
  const started = performance.now()
  let first = 0
  let count = 0
  for await (const n of generate(ids, tokens)) {
    if (count === 0) first = performance.now()
    count += n
  }
  const ended = performance.now()
  if (count < tokens) throw new Error(`expected ${tokens} tokens, got ${count}`)
  return { first: (first - started) / 1000, rest: (ended - first) / 1000 }
}

async function together(generate, n) {
  let begun = 0
  let counted = 0
  let from = 0
  const run = async (seed) => {
    let count = 0
    for await (const tokens of generate(promptIds(parallelPrompt, seed), parallelTokens)) {
      if (count === 0 && ++begun === n) from = performance.now()
      else if (from > 0) counted += tokens
      count += tokens
    }
  }
  await Promise.all(Array.from({ length: n }, (_, i) => run(100 + i)))
  return counted / ((performance.now() - from) / 1000)
}
