// What every peer is asked for, and how a run reports: one JSON line {load, rss, <name>...}, tokens per second but for load
// (seconds) and rss (MiB).
//
//   prefill    a prompt of 512 tokens
//   decode     128 tokens of one request, timed from its first token to its last
//   parallelN  N requests at once, timed while all of them decode: from the last one's first token to the first one's last;
//              their contexts have 128 tokens on average

/** Requests, tokens of each one's prompt, tokens of each one's answer, and how many times: the median counts. */
export function shapeOf(name) {
  if (name === 'prefill') return { requests: 1, prompt: 512, tokens: 1, times: 3 }
  if (name === 'decode') return { requests: 1, prompt: 16, tokens: 129, times: 3 }
  return { requests: Number(name.slice('parallel'.length)), prompt: 64, tokens: 129, times: 1 }
}

/** The most of everything that the measurements need. */
export function needs(names) {
  const shapes = names.map(shapeOf)
  return {
    requests: Math.max(...shapes.map(({ requests }) => requests)),
    contextTokens: Math.max(...shapes.map(({ prompt, tokens }) => prompt + tokens)),
  }
}

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

/** Runs measurements against what `load` gives: `generate(ids, maxTokens, request)`, an async iterable of numbers of tokens. */
export async function measure(names, load) {
  const started = performance.now()
  const { generate, close } = await load()
  const rows = { load: (performance.now() - started) / 1000 }
  for (const name of names) {
    const shape = shapeOf(name)
    await run(generate, { ...shape, prompt: 16, tokens: 8 }) // warms up
    const speeds = []
    for (let i = 0; i < shape.times; i++) speeds.push(await run(generate, shape))
    rows[name] = speeds.sort((a, b) => a - b)[speeds.length >> 1]
  }
  rows.rss = process.memoryUsage.rss() / 2 ** 20
  await close()
  return rows
}

async function run(generate, { requests, prompt, tokens }) {
  const started = performance.now()
  const answer = async (request) => {
    const arrivals = []
    for await (const count of generate(promptIds(prompt, 1 + request), tokens, request)) {
      arrivals.push({ at: performance.now(), count })
    }
    const total = arrivals.reduce((sum, { count }) => sum + count, 0)
    if (total < tokens) throw new Error(`expected ${tokens} tokens, got ${total}`)
    return arrivals
  }
  const answers = await Promise.all(Array.from({ length: requests }, (_, request) => answer(request)))
  const from = Math.max(...answers.map((arrivals) => arrivals[0].at))
  if (tokens === 1) return (requests * prompt * 1000) / (from - started)
  const to = Math.min(...answers.map((arrivals) => arrivals.at(-1).at))
  const within = answers.flat().filter(({ at }) => at > from && at <= to)
  return (within.reduce((sum, { count }) => sum + count, 0) * 1000) / (to - from)
}
