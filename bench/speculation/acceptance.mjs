// How often a draft model's guess is right with shared noise, beside what rejection sampling would reach with the same pair: at every
// position of answers that the target drew at temperature 1 the draft draws with the same noise after the same tokens, and both
// distributions p and q are laid side by side; rejection sampling accepts with the chance sum min(p, q). Of each distribution the most
// likely tokens are known; what the rest may add at most is told apart.
//
//   node bench/speculation/acceptance.mjs --model FILE --draft FILE [--answers 20] [--tokens 120] [--json FILE]
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { Engine } from 'octavo'
import { sets, stories } from './sets.mjs'

const { values } = parseArgs({
  options: {
    model: { type: 'string', default: 'stories' },
    draft: { type: 'string' },
    answers: { type: 'string', default: '20' },
    tokens: { type: 'string', default: '120' },
    json: { type: 'string' },
  },
})
const logprobs = 20
const load = (model) => Engine.load({ model, contextTokens: 1200, speculation: 'off' })
const [target, draft] = await Promise.all([load(values.model), load(values.draft)])
const prompts = Object.values(/stories/.test(values.model) ? stories : sets).flat()
const tops = ({ top }) => new Map(top.map(({ token, logprob }) => [token, Math.exp(logprob)]))
const rest = (top) => Math.max(0, 1 - [...top.values()].reduce((sum, p) => sum + p, 0))

const rows = {
  sampled: { positions: 0, equal: 0, bound: 0, unknown: 0 },
  greedy: { positions: 0, equal: 0, second: 0 },
}
for (let i = 0; i < Number(values.answers); i++) {
  const prompt = prompts[i % prompts.length]
  const ids = 'prompt' in prompt ? await target.tokenize(prompt.prompt) : (await target.renderPrompt(prompt)).tokens
  for (const [name, temperature] of [
    ['sampled', 1],
    ['greedy', 0],
  ]) {
    const request = { temperature, seed: i, logprobs, ignoreEos: true }
    const answer = await target.generate({ ...request, prompt: ids, maxTokens: Number(values.tokens) }).result
    const guesses = await Promise.all(
      answer.tokens.map((_, at) => {
        const before = [...ids, ...answer.tokens.slice(0, at)]
        return draft.generate({ ...request, prompt: before, maxTokens: 1 }).result
      }),
    )
    for (const [at, guess] of guesses.entries()) {
      const row = rows[name]
      row.positions++
      row.equal += Number(guess.tokens[0] === answer.tokens[at])
      if (name === 'greedy') {
        row.second += Number(guess.logprobs[0].top[1].token === answer.tokens[at])
        continue
      }
      const [p, q] = [tops(answer.logprobs[at]), tops(guess.logprobs[0])]
      for (const [token, chance] of p) row.bound += Math.min(chance, q.get(token) ?? 0)
      row.unknown += Math.min(1, rest(p) + rest(q))
    }
  }
}
await target.close()
await draft.close()
const { sampled, greedy } = rows
const result = {
  ...{ model: values.model.split('/').at(-1), draft: values.draft.split('/').at(-1) },
  commit: execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim(),
  positions: sampled.positions,
  sharedNoise: sampled.equal / sampled.positions,
  rejectionSampling: sampled.bound / sampled.positions,
  atMostMore: sampled.unknown / sampled.positions,
  greedy: greedy.equal / greedy.positions,
  // Of the positions where the likeliest token is wrong.
  secondWhereWrong: greedy.second / (greedy.positions - greedy.equal),
}
console.log(result)
if (values.json) writeFileSync(values.json, JSON.stringify(result))
