/**
 * Reasoning of a model that thinks. The embedded one does not: copies of it say a marker where it would say an ordinary word, so that
 * what it says before counts as reasoning.
 */
import type { GenerateOptions, GenerationPart } from 'octavo'
import { Engine } from 'octavo'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { collect } from './embedded-engine.ts'
import { renameToken, storiesVariant, type Variant } from './gguf-variant.ts'

const tokenTypes = { control: 3, userDefined: 4 }
/** ChatML; earlier reasoning is kept or dropped, and the answer begins within it or not. */
const template = (keeps: boolean, begins: boolean) =>
  `{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.reasoning_content and ${keeps} %}` +
  `<think>\n{{ m.reasoning_content }}\n</think>\n\n{% endif %}{{ m.content }}<|im_end|>\n{% endfor %}` +
  `{% if add_generation_prompt %}<|im_start|>assistant\n${begins ? '<think>\n' : ''}{% endif %}`

const ask = { messages: [{ role: 'user', content: 'Tell a story about a shy owl named Luna.' }] }
const greedy = { temperature: 0, maxTokens: 60 } as const
const variants: Variant[] = []
const engines: Engine[] = []

interface Kind {
  type: number
  keeps?: boolean
  begins?: boolean
}

/** Its stories begin with <think> in the place of "Once", and " lived" is its </think>. */
async function thinking({ type, keeps = false, begins = false }: Kind): Promise<Engine> {
  const variant = storiesVariant((metadata) => {
    renameToken(metadata, 'Once', '<think>', type)
    renameToken(metadata, 'Ġlived', '</think>', type)
    metadata['tokenizer.chat_template'] = template(keeps, begins)
  })
  variants.push(variant)
  const engine = await Engine.load({ model: variant.path })
  engines.push(engine)
  return engine
}

/** Told by the model that does not think: "Once ... lived ...". */
let story: string
let [thought, answer] = ['', '']
beforeAll(async () => {
  await using engine = await Engine.load({ model: 'stories' })
  story = (await engine.generate({ ...ask, ...greedy }).result).text
  const [before, ...after] = story.split(' lived')
  thought = before!.slice('Once'.length).trim()
  answer = after.join(' lived').trim()
})
afterAll(async () => {
  await Promise.all(engines.map((engine) => engine.close()))
  for (const { remove } of variants) remove()
})

const joined = (parts: GenerationPart[]) => ({
  text: parts.map(({ text }) => text).join(''),
  reasoning: parts.map(({ reasoning = '' }) => reasoning).join(''),
  tokens: parts.flatMap(({ tokens }) => tokens),
  reasoningTokens: parts.flatMap(({ reasoningTokens = [] }) => reasoningTokens),
})

describe.each([
  ['a user-defined token', tokenTypes.userDefined],
  ['a control token', tokenTypes.control],
])('a model whose marker is %s', (_what, type) => {
  let engine: Engine
  beforeAll(async () => {
    engine = await thinking({ type })
  })

  it('its reasoning comes apart from its answer, in the stream and in the result, with the ids of each', async () => {
    const generation = engine.generate({ ...ask, ...greedy })
    const parts = await collect(generation)
    const { text, tokens, reasoning, reasoningTokens, usage } = await generation.result
    expect(joined(parts)).toEqual({ text, tokens, reasoning, reasoningTokens })
    expect([reasoning, text]).toEqual([thought, answer])
    expect((await engine.detokenize(tokens)).trimStart()).toBe(text)
    expect((await engine.detokenize(reasoningTokens!)).trim()).toBe(reasoning)
    // The markers.
    expect(usage.completionTokens).toBe(tokens.length + reasoningTokens!.length + 2)
  })

  it("'keep' changes nothing about the output", async () => {
    const { usage } = await engine.generate({ ...ask, ...greedy }).result
    const kept = await engine.generate({ ...ask, ...greedy, reasoning: 'keep' }).result
    expect(kept).not.toHaveProperty('reasoning')
    const shown = type === tokenTypes.control ? ['', ''] : ['<think>', '</think>']
    expect(kept.text).toBe(story.replace('Once', shown[0]!).replace(' lived', shown[1]!))
    expect(kept.tokens.length).toBe(kept.usage.completionTokens)
    expect(kept.usage.completionTokens).toBe(usage.completionTokens)
  })

  it('a stop text ends the answer, not the reasoning before it', async () => {
    const stop = answer.slice(10, 15)
    for (const both of [[thought.slice(4, 12), stop], [stop]])
      expect(await engine.generate({ ...ask, ...greedy, stop: both }).result).toMatchObject({
        ...{ reasoning: thought, text: answer.slice(0, answer.indexOf(stop)), stop: { text: stop } },
      })
    const kept = await engine.generate({ ...ask, ...greedy, stop: thought.slice(4, 12), reasoning: 'keep' }).result
    expect(kept).toMatchObject({ stop: { text: thought.slice(4, 12) } })
  })

  it('an answer that ends inside its reasoning has no text', async () => {
    const result = await engine.generate({ ...ask, ...greedy, maxTokens: 5 }).result
    expect([result.text, result.tokens, result.finishReason]).toEqual(['', [], 'length'])
    expect(thought.startsWith(result.reasoning!)).toBe(true)
    expect(result.reasoning).not.toBe('')
  })

  it('a prompt is kept as it is, unless asked otherwise', async () => {
    const prompt = `<|im_start|>user\n${ask.messages[0]!.content}<|im_end|>\n<|im_start|>assistant\n`
    const options: GenerateOptions = { prompt, parseSpecial: true, ...greedy }
    expect(await engine.generate(options).result).not.toHaveProperty('reasoning')
    const asked = { ...options, reasoning: 'split' } as const
    expect(await engine.generate(asked).result).toMatchObject({ reasoning: thought, text: answer })
  })
})

it('a template that begins the reasoning in the prompt: the answer begins within it', async () => {
  const engine = await thinking({ type: tokenTypes.userDefined, begins: true })
  const kept = await engine.generate({ ...ask, ...greedy, reasoning: 'keep' }).result
  expect(kept.text).toMatch(/^[^<]+<\/think>[^<]+$/)
  const [reasoning, text] = kept.text.split('</think>').map((part) => part.trim())
  expect(await engine.generate({ ...ask, ...greedy }).result).toMatchObject({ reasoning, text })
  const prompt = 'Say <think>'
  const options = { prompt, parseSpecial: true, ...greedy, maxTokens: 3, reasoning: 'split' } as const
  expect(await engine.generate(options).result).toMatchObject({ text: '' })
})

describe('a session with a model that thinks', () => {
  it.each([
    ['drops', false],
    ['keeps', true],
  ])(
    'has the reasoning in its history, and a template that %s it decides what the model is told',
    async (_w, keeps) => {
      const engine = await thinking({ type: tokenTypes.userDefined, keeps })
      const session = engine.session()
      const first = await session.generate(ask.messages[0]!.content, greedy).result
      expect(session.history).toEqual([
        ...ask.messages,
        { role: 'assistant', content: first.text, reasoning_content: first.reasoning },
      ])
      const next = { role: 'user', content: 'What color was the kite?' }
      const told = await engine.generate({ messages: [...session.history, next], temperature: 0, maxTokens: 1 }).result
      const second = await session.generate(next.content, { temperature: 0, maxTokens: 1 }).result
      expect(second.usage.promptTokens).toBe(told.usage.promptTokens)
      const without = session.history.map(({ role, content }) => ({ role, content })).slice(0, 2)
      const plain = await engine.generate({ messages: [...without, next], temperature: 0, maxTokens: 1 }).result
      expect(plain.usage.promptTokens < told.usage.promptTokens).toBe(keeps)
    },
  )

  it('does not split what has no markers', async () => {
    await using engine = await Engine.load({ model: 'stories' })
    const result = await engine.generate({ ...ask, ...greedy }).result
    expect(result.text).toBe(story)
    expect(result).not.toHaveProperty('reasoning')
  })
})
