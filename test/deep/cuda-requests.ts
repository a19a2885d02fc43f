// One request, two devices: random requests on the driver of cuda/fake, batched, in chunks, with prefix hits and guesses, in pools so
// small that they are preempted, with every type of the cache, must give the tokens, texts and log-probabilities that the CPU gives each
// of them alone. Then sessions saved on one device and restored on the other, both ways. Exits 1 at the first difference and names it.
//
//   node --import tsx test/deep/cuda-requests.ts --requests 50 --seed 1
//
// Needs what `npm run test:cuda` builds. The last line is the counts as JSON.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { Engine, type GenerateOptions, type GenerationResult, type LoadOptions, type SamplingOptions } from 'octavo'
import { type KvDtype, kvDtypes } from '../../lib/base/native.ts'
import { onFakeGpu } from '../fake-gpu.ts'
import { random } from '../random.ts'

onFakeGpu(import.meta.url)
const { values } = parseArgs({
  options: { requests: { type: 'string', default: '50' }, seed: { type: 'string', default: '1' } },
})
const models = ['stories', fileURLToPath(new URL('../../models/octavo-stories-draft-q4_0.gguf', import.meta.url))]

const kinds: SamplingOptions[] = [
  { temperature: 0, logprobs: 3 },
  { temperature: 0.9 },
  { temperature: 1.2, topK: 0, topP: 0.9, logprobs: 0 },
  { temperature: 1, topK: 0, topP: 1, minP: 0.05 },
  { temperature: 0.8, repetitionPenalty: 1.2, presencePenalty: 0.3, frequencyPenalty: 0.2, logprobs: 1 },
  { temperature: 0, repetitionPenalty: 1.3, logitBias: { 20: 2, 300: 1.5, 301: Number.NEGATIVE_INFINITY } },
  { temperature: 0.7, topK: 20, logitBias: { 44: 3, 45: -2 }, frequencyPenalty: 0.4, logprobs: 2 },
  { temperature: 1.5, schema: { type: 'object', properties: { name: { type: 'string', maxLength: 6 } } } },
]

/** Answers of two tokens only: guesses at what repeats itself are right half of the time. */
const repeating: SamplingOptions = { temperature: 1, logitBias: { 400: 80, 401: 80 }, logprobs: 0 }

/** What an answer is, apart from its times. */
const answer = ({ text, tokens, logprobs, finishReason }: GenerationResult) =>
  JSON.stringify({ text, tokens, logprobs, finishReason })

const counts = {
  ...{ requests: 0, tokens: 0, sampled: 0, penalised: 0, biased: 0, withLogprobs: 0, masked: 0 },
  ...{ chunkedPrompts: 0, cachedTokens: 0, preemptions: 0, guesses: 0, sessions: 0, restoredTokens: 0 },
}

let drawn = 0

function fail(what: string, expected: string, found: string): never {
  console.error(`${what} differs:\n cpu  ${expected}\n cuda ${found}`)
  process.exit(1)
}

/** Some requests of one scene; in a tight one each outgrows what admission leaves it. */
function requestsOf(
  next: (below: number) => number,
  tight: boolean,
  guessed: boolean,
  count: number,
): GenerateOptions[] {
  const piece = (length: number) => Array.from({ length }, () => 260 + next(1600))
  const beginning = piece(17 + next(8))
  return Array.from({ length: count }, () => {
    const own = piece(1 + next(tight ? 12 : 20))
    const prompt = !tight && next(2) === 0 ? [...beginning, ...own] : own
    const kind = guessed && next(2) === 0 ? repeating : kinds[drawn++ % kinds.length]!
    return {
      prompt,
      ...kind,
      seed: next(2 ** 30),
      ignoreEos: tight && kind.schema === undefined,
      maxTokens: tight ? 28 + next(6) : 3 + next(8),
    }
  })
}

function count(requests: GenerateOptions[], results: GenerationResult[], stepTokens: number): void {
  for (const [i, { prompt, temperature, logitBias, logprobs, schema, ...rest }] of requests.entries()) {
    counts.requests++
    counts.tokens += results[i]!.tokens.length
    if (temperature !== 0) counts.sampled++
    if (rest.repetitionPenalty !== undefined || rest.frequencyPenalty !== undefined) counts.penalised++
    if (logitBias !== undefined) counts.biased++
    if (logprobs !== undefined) counts.withLogprobs++
    if (schema !== undefined) counts.masked++
    if (prompt!.length > stepTokens) counts.chunkedPrompts++
  }
}

/** Scenes take turns: roomy and tight, models, types of the cache. */
async function scene(index: number, most: number): Promise<number> {
  const next = random(Number(values.seed) * 100003 + index)
  const model = models[index % 4 === 0 ? 0 : 1]!
  const dtype = kvDtypes[(index >> 1) % kvDtypes.length]!
  const tight = index % 2 === 1
  const guessed = index % 3 === 2
  const requests = requestsOf(next, tight, guessed, Math.min(most, tight ? 3 : 5))
  const stepTokens = 5 + next(12)
  const speculation = guessed ? { drafters: ['ngram' as const], drafts: 3 } : 'off'
  const base = { model, kv: { dtype }, contextTokens: 64 }

  const alone = await Engine.load({ ...base, device: 'cpu', prefixCache: false, speculation: 'off' })
  const { layers, kvHeads, headSize } = alone.model
  const expected: GenerationResult[] = []
  for (const request of requests) expected.push(await alone.generate(request).result)
  await alone.close()

  const token = 2 * layers * kvHeads * (dtype === 'fp8' || dtype === 'int8' ? headSize + 2 : 2 * headSize)
  const pool: LoadOptions['kv'] = { dtype, memory: 16 * token * (tight ? 4 : 24) }
  const gpu = await Engine.load({
    ...base,
    device: 'cuda',
    kv: pool,
    speculation,
    internal: { stepTokens, checkBlocks: true },
  })
  const found = await Promise.all(requests.map((request) => gpu.generate(request).result))
  // Again: now the beginnings are there.
  const again = tight ? [] : await Promise.all(requests.slice(0, 2).map((request) => gpu.generate(request).result))
  const stats = gpu.stats()
  await gpu.close()
  for (const [i, result] of [...found, ...again].entries()) {
    const truth = expected[i % found.length]!
    const name = `scene ${index} (${model}, ${dtype}), request ${JSON.stringify(requests[i % found.length])}`
    if (answer(result) !== answer(truth)) fail(name, answer(truth), answer(result))
  }
  count(requests, expected, stepTokens)
  counts.cachedTokens += stats.cachedTokens
  counts.preemptions += stats.preemptions
  counts.guesses += stats.drafts.proposed
  return requests.length
}

/** Two turns on one device, one more on the other from the file, which must go on as the first does. */
async function session(from: 'cpu' | 'cuda', dtype: KvDtype): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'octavo-cuda-'))
  const file = join(folder, 'session')
  const base = { model: models[1]!, kv: { dtype }, contextTokens: 192, speculation: 'off' as const }
  const greedy = { temperature: 0, maxTokens: 8, logprobs: 0, logitBias: { 0: -1000, 1: -1000, 2: -1000 } }
  const sampled = { ...greedy, temperature: 0.9, seed: 4 }
  const one = await Engine.load({ ...base, device: from })
  const other = await Engine.load({ ...base, device: from === 'cpu' ? 'cuda' : 'cpu' })
  try {
    const begun = one.session({ system: 'Be kind.' })
    await begun.generate('Tell me about a fox.', greedy).result
    const { tokens } = await begun.save(file)
    const truth = await begun.generate('And the sea?', sampled).result
    const restored = await other.restoreSession(file)
    const result = await restored.generate('And the sea?', sampled).result
    if (answer(result) !== answer(truth)) fail(`a session from ${from}, ${dtype}`, answer(truth), answer(result))
    if (tokens === 0 || result.usage.cachedTokens !== tokens)
      fail(`a session from ${from}, ${dtype}: tokens from the file`, String(tokens), String(result.usage.cachedTokens))
    counts.sessions++
    counts.restoredTokens += tokens
  } finally {
    await one.close()
    await other.close()
    rmSync(folder, { recursive: true })
  }
}

const wanted = Number(values.requests)
for (let done = 0, index = 0; done < wanted; index++) done += await scene(index, wanted - done)
const dtypes = wanted < 30 ? (['f16', 'int8'] as const) : kvDtypes
for (const dtype of dtypes) for (const from of ['cpu', 'cuda'] as const) await session(from, dtype)

const { requests, tokens, ...rest } = counts
const list = Object.entries(rest).map(([name, n]) => `${n} ${name.replace(/[A-Z]/g, (c) => ` ${c.toLowerCase()}`)}`)
console.log(`summary: ${requests} requests, ${tokens} tokens equal on the CPU and the fake GPU: ${list.join(', ')}`)
console.log(JSON.stringify(counts))
if (wanted >= 10 && Object.values(counts).some((n) => n === 0)) {
  console.error('one of the counts is 0: this does not test what it claims')
  process.exit(1)
}
