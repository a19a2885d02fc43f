// Guesses and answers: requests of every kind of sampling, with every drafter and chain of drafters, some at a time, many of them so
// tight that they are preempted, must give the tokens, texts and log-probabilities of an engine that never guesses. Some engines live
// in a process of their own that is killed in the middle. Exits 1 at the first difference and names it.
//
//   node test/deep/speculation.mjs --model stories --draft models/octavo-stories-draft-q4_0.gguf --prompts 500 --seed 1
import { readdirSync, readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { Engine } from 'octavo'
import { randomSource } from './random-source.mjs'

const { values } = parseArgs({
  options: {
    model: { type: 'string', default: 'stories' },
    draft: { type: 'string' },
    prompts: { type: 'string', default: '20' },
    seed: { type: 'string', default: '1' },
  },
})
const prompts = Number(values.prompts)
const contextTokens = 500

const kinds = [
  { temperature: 0 },
  { temperature: 0.7 },
  { temperature: 1, topP: 0.9, logprobs: 1 },
  { temperature: 1, minP: 0.1 },
  { temperature: 0.8, repetitionPenalty: 1.1, presencePenalty: 0.2, frequencyPenalty: 0.2, logprobs: 0 },
]
const model = values.draft === undefined ? [] : [{ model: values.draft, maxDrafts: 6 }]
const fixed = (drafts, ...drafters) => ({ drafters, drafts })
const speculations = [
  'auto',
  fixed(1, 'ngram'),
  fixed(5, 'ngram'),
  fixed(15, 'ngram', 'shared'),
  fixed(8, 'shared'),
  ...(model.length === 0
    ? []
    : [fixed(4, ...model), fixed(3, 'ngram', ...model), { drafters: ['ngram', 'shared', ...model] }]),
]

const texts = JSON.parse(readFileSync(new URL('../goldens/oracle-texts.json', import.meta.url), 'utf8'))
const source = (Array.isArray(texts) ? texts : texts.texts)
  .map((t) => (typeof t === 'string' ? t : t.text))
  .join('\n\n')

/** A piece of a text, half of the time followed by a part of itself: something to copy. */
function promptOf(random, ids) {
  const start = random(0, ids.length - 201)
  const piece = ids.slice(start, start + random(1, 120))
  return random(0, 1) === 0 ? piece : [...piece, ...piece.slice(0, random(1, piece.length))]
}

/** The engine processes of this one. */
function processes() {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return Number(readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ')[1]) === process.pid
      } catch {
        return false
      }
    })
    .map(Number)
}

const answer = ({ text, tokens, logprobs, finishReason }) => JSON.stringify({ text, tokens, logprobs, finishReason })
const plain = await Engine.load({ model: values.model, contextTokens, speculation: 'off' })
const { layers, kvHeads, headSize } = plain.model
const bytesPerToken = layers * kvHeads * headSize * 4
let ids = [...(await plain.tokenize(source))]
while (ids.length < 1400) ids = ids.concat(ids)

const sums = { answers: 0, tokens: 0, proposed: 0, accepted: 0, stepsSaved: 0, preemptions: 0, kills: 0 }
for (let first = 0, round = 0; first < prompts; round++) {
  const random = randomSource(Number(values.seed) * 100003 + round)
  const batch = random(1, 16)
  const count = Math.min(prompts - first, 3 * batch)
  first += count
  const requests = Array.from({ length: count }, () => promptOf(random, ids)).flatMap((prompt) =>
    kinds.map((kind) => ({
      prompt,
      ...kind,
      seed: random(0, 1 << 30),
      maxTokens: random(20, 90),
      ignoreEos: random(0, 1) === 0,
    })),
  )
  const expected = (await Promise.all(requests.map((request) => plain.generate(request).result))).map(answer)
  for (const [s, speculation] of speculations.entries()) {
    const tight = (round + s) % 3 === 0
    const killed = (round + s) % 4 === 1
    const drafted = JSON.stringify(speculation).includes('model')
    const memory = tight && !drafted ? 400 * bytesPerToken : (contextTokens + batch * 400) * bytesPerToken * 2
    const isolated = killed ? { isolation: 'process', restart: true } : {}
    const options = { contextTokens: tight ? 384 : contextTokens, speculation, ...isolated }
    const engine = await Engine.load({ model: values.model, kv: { memory }, ...options })
    const answers = []
    for (let at = 0; at < requests.length; at += batch) {
      const results = requests.slice(at, at + batch).map((request) => engine.generate(request).result)
      if (killed && at === batch) {
        await new Promise((resolve) => setTimeout(resolve, random(5, 60)))
        for (const pid of processes()) process.kill(pid, 'SIGKILL')
        sums.kills++
      }
      answers.push(...(await Promise.all(results)))
    }
    const { drafts, preemptions } = engine.stats()
    await engine.close()
    for (const name of ['proposed', 'accepted', 'stepsSaved']) sums[name] += drafts[name]
    sums.preemptions += preemptions
    for (const [i, result] of answers.entries()) {
      sums.answers++
      sums.tokens += result.tokens.length
      if (answer(result) === expected[i]) continue
      const { prompt, ...rest } = requests[i]
      console.error(`round ${round}, request ${i}, ${JSON.stringify(speculation)}, ${batch} at a time: another answer`)
      console.error(JSON.stringify({ prompt: prompt.length, ...rest }), expected[i], answer(result))
      process.exit(1)
    }
  }
}
await plain.close()
console.log(
  `summary: ${prompts} prompts x ${kinds.length} kinds of sampling x ${speculations.length} kinds of speculation: ${sums.answers} answers, ` +
    `${sums.tokens} tokens, all the same; ${sums.proposed} guesses, ${sums.accepted} right, ${sums.stepsSaved} steps saved, ` +
    `${sums.preemptions} preemptions, ${sums.kills} kills`,
)
