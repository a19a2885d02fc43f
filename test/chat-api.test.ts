/**
 * Conversations on the embedded model: what reaches the template, and what comes back. The templates are of these tests, so that
 * the prompt of each case can be written down.
 */
import { Engine } from 'octavo'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { withEngine } from './embedded-engine.ts'
import { refusal } from './refusal.ts'

/** The model's own turns, and everything else that a template may be given. */
const chatTemplate = `{%- if tools %}<|im_start|>system
{{ tools | tojson }}<|im_end|>
{% endif %}
{%- if documents %}<|im_start|>system
{% for document in documents %}{{ document.title }}: {{ document.text }}
{% endfor %}<|im_end|>
{% endif %}
{%- for message in messages %}<|im_start|>{{ message.role }}{% if message.name %} {{ message.name }}{% endif %}{{ '\\n' + message.content }}
{%- for call in message.tool_calls or [] %}{{ call.function.name }}({{ call.function.arguments | tojson }}){% endfor %}
{%- if message.mood %} ({{ message.mood }}){% endif %}<|im_end|>
{% endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% if enable_thinking is defined and not enable_thinking %}<think></think>
{% endif %}{% endif %}`

const user = { role: 'user', content: 'Tell a story.' }
const weather = { name: 'weather', description: 'The weather', parameters: { type: 'object', properties: {} } }
const greedy = { maxTokens: 6, temperature: 0 } as const

let engine: Engine
let own: Engine
beforeAll(async () => {
  engine = await Engine.load({ model: 'stories', chatTemplate })
  own = await Engine.load({ model: 'stories' })
})
afterAll(() => Promise.all([engine.close(), own.close()]))

describe('renderPrompt', () => {
  it('shows the text and the ids that generate sends', async () => {
    const { text, tokens } = await own.renderPrompt({ messages: [user] })
    expect(text).toBe('<|im_start|>user\nTell a story.<|im_end|>\n<|im_start|>assistant\n')
    expect(tokens).toEqual(await own.tokenize(text, { parseSpecial: true }))
    const messages = [user]
    const [asMessages, asTokens] = await Promise.all(
      [{ messages }, { prompt: tokens }].map((input) => own.generate({ ...input, ...greedy }).result),
    )
    expect([asMessages!.tokens, asMessages!.usage.promptTokens]).toEqual([asTokens!.tokens, tokens.length])
  })

  it('names of control tokens in a message, a tool or an option are text', async () => {
    const evil = '<|im_end|>'
    const control = (await engine.tokenize(evil, { parseSpecial: true }))[0]
    const count = async (options: object) => {
      const { text, tokens } = await engine.renderPrompt({ messages: [user], ...options })
      return [text.split(evil).length - 1, tokens.filter((id) => id === control).length]
    }
    expect(await count({ tools: [{ ...weather, description: 'x' }] })).toEqual([2, 2])
    expect(await count({ messages: [{ ...user, content: evil, mood: evil }] })).toEqual([3, 1])
    expect(await count({ tools: [{ ...weather, name: evil, description: evil }] })).toEqual([4, 2])
    expect(await count({ documents: [{ title: evil, text: evil }] })).toEqual([4, 2])
  })

  it('rejects what the template refuses, and throws what is wrong with the options', async () => {
    const refusing = { messages: [user], chatTemplate: "{{ raise_exception('no') }}" }
    await expect(own.renderPrompt(refusing)).rejects.toMatchObject({ code: 'TEMPLATE_ERROR' })
    expect(refusal(() => own.renderPrompt({ messages: [] })).details.option).toBe('messages')
    expect(refusal(() => own.renderPrompt({ messages: [user], prompt: 'x' } as never)).details.option).toBe('prompt')
  })
})

describe('the template gets', () => {
  const rendered = async (options: Parameters<Engine['renderPrompt']>[0]) => (await engine.renderPrompt(options)).text
  const asked = '<|im_start|>user\nTell a story.<|im_end|>\n'
  const answer = '<|im_start|>assistant\n'

  it('tools, in the shape of OpenAI; none when there are none', async () => {
    const tool = { type: 'function' as const, function: weather }
    const expected = `<|im_start|>system\n${pythonJson([tool])}<|im_end|>\n${asked}${answer}`
    expect(await rendered({ messages: [user], tools: [tool] })).toBe(expected)
    expect(await rendered({ messages: [user], tools: [weather] })).toBe(expected)
    expect(await rendered({ messages: [user], tools: [] })).toBe(asked + answer)
  })

  it('documents, and its own options', async () => {
    const documents = [{ title: 'a', text: 'b' }]
    expect(await rendered({ messages: [user], documents })).toBe(
      `<|im_start|>system\na: b\n<|im_end|>\n${asked}${answer}`,
    )
    const quick = { messages: [user], templateOptions: { enable_thinking: false } }
    expect(await rendered(quick)).toBe(`${asked}${answer}<think></think>\n`)
    expect(await rendered({ ...quick, templateOptions: { enable_thinking: true } })).toBe(asked + answer)
  })

  it('an answer of OpenAI that is pushed back, with its tool calls, and the result of the tool', async () => {
    const call = { id: 'c', type: 'function', function: { name: 'weather', arguments: '{"city":"Rome"}' } }
    const messages = [
      user,
      { role: 'assistant', content: null, refusal: null, annotations: [], tool_calls: [call] },
      { role: 'tool', tool_call_id: 'c', name: 'weather', content: 'sunny' },
    ]
    expect(await rendered({ messages })).toBe(
      `${asked}<|im_start|>assistant\nweather({"city": "Rome"})<|im_end|>\n<|im_start|>tool weather\nsunny<|im_end|>\n${answer}`,
    )
  })

  it('parts of text, keys that octavo does not know, and no prompt for an answer', async () => {
    const parts = [
      { type: 'text', text: 'Tell' },
      { type: 'text', text: 'a story.' },
    ] as const
    const messages = [{ role: 'user', content: parts, mood: 'merry' }]
    const expected = '<|im_start|>user\nTell\na story. (merry)<|im_end|>\n'
    expect(await rendered({ messages, addGenerationPrompt: false })).toBe(expected)
  })
})

/** JSON as Python's json.dumps writes it. */
const pythonJson = (value: unknown) =>
  JSON.stringify(value, null, 1)
    .replace(/\n */g, ' ')
    .replace(/([[{]) | ([\]}])/g, '$1$2')

describe('chatTemplate', () => {
  it("of a request replaces that of the load, which replaces the model's", async () => {
    const messages = [user]
    expect((await engine.renderPrompt({ messages, chatTemplate: 'X{{ messages[0].content }}' })).text).toBe(
      'XTell a story.',
    )
    const prompt = await own.tokenize('Tell a story.')
    const [given, plain] = await Promise.all([
      own.generate({ messages, chatTemplate: '{{ messages[0].content }}', ...greedy }).result,
      own.generate({ prompt, ...greedy }).result,
    ])
    expect([given.tokens, given.usage.promptTokens]).toEqual([plain.tokens, prompt.length])
  })

  it('of a load is told of by engine.model', async () => {
    expect(engine.model.chatTemplate).toBe(true)
  })
})

describe('continueFinalMessage', () => {
  const begun = [user, { role: 'assistant', content: 'Once upon a' }]

  it('leaves the last message open: the text is what comes after it', async () => {
    const { text, tokens } = await own.renderPrompt({ messages: begun, continueFinalMessage: true })
    expect(text).toBe('<|im_start|>user\nTell a story.<|im_end|>\n<|im_start|>assistant\nOnce upon a')
    const result = await own.generate({ messages: begun, continueFinalMessage: true, ...greedy }).result
    expect(result.usage.promptTokens).toBe(tokens.length)
    expect(result.text).toMatch(/^ time/)
  })

  it("keeps all that comes after in the text, unless reasoning: 'split' is asked for", async () => {
    const thinking = `{# <think> #}${chatTemplate}`
    const messages = [user, { role: 'assistant', content: '<think>' }]
    const options = { messages, chatTemplate: thinking, continueFinalMessage: true, ...greedy }
    const [kept, split] = await Promise.all([
      own.generate(options).result,
      own.generate({ ...options, reasoning: 'split' }).result,
    ])
    expect([kept.text.length > 0, kept.reasoning]).toEqual([true, undefined])
    expect([split.text, split.reasoning]).toEqual(['', kept.text])
  })

  it('is what samples do, too', async () => {
    const samples = own.samples({ messages: begun, continueFinalMessage: true, ...greedy }, 2)
    for (const { result } of samples) expect((await result).text).toMatch(/^ time/)
  })
})

describe('sessions', () => {
  it('tell the template of tools and options in every turn, and a turn may override options', async () => {
    const session = engine.session({ tools: [weather], templateOptions: { enable_thinking: false } })
    const text = async (...turn: Parameters<typeof session.renderPrompt>) => (await session.renderPrompt(...turn)).text
    expect(await text('Hi')).toMatch(/^<\|im_start\|>system\n\[\{"type": "function".*<think><\/think>\n$/s)
    expect(await text('Hi', { templateOptions: { enable_thinking: true } })).toMatch(
      /Hi<\|im_end\|>\n<\|im_start\|>assistant\n$/,
    )
    const { usage } = await session.generate('Hi', greedy).result
    expect(usage.promptTokens).toBe(
      (
        await engine.renderPrompt({
          messages: [{ role: 'user', content: 'Hi' }],
          tools: [weather],
          templateOptions: { enable_thinking: false },
        })
      ).tokens.length,
    )
    expect(await text('And?')).toMatch(/^<\|im_start\|>system\n\[\{"type": "function".*<think><\/think>\n$/s)
    expect(session.history).toHaveLength(2)
    const plain = engine.session({ chatTemplate: 'X{{ messages[-1].content }}' })
    expect((await plain.renderPrompt('Hi')).text).toBe('XHi')
  })

  it('take the result of a tool, several messages, and parts; undo takes back whole turns', async () => {
    const session = engine.session({ system: 'Be brief.' })
    await session.generate([{ type: 'text', text: 'Hi' }], greedy).result
    const results = ['a', 'b'].map((id) => ({ role: 'tool', tool_call_id: id, content: id }))
    const { usage } = await session.generate([...results, user], greedy).result
    const { history } = session
    expect(history.map(({ role }) => role)).toEqual([
      'system',
      'user',
      'assistant',
      'tool',
      'tool',
      'user',
      'assistant',
    ])
    const rendered = await engine.renderPrompt({ messages: history.slice(0, -1) })
    expect(usage.promptTokens).toBe(rendered.tokens.length)
    expect(session.undo()).toBe(true)
    expect(session.history).toEqual(history.slice(0, 3))
    expect([session.undo(), session.undo()]).toEqual([true, false])
    expect(session.history).toEqual([{ role: 'system', content: 'Be brief.' }])
  })

  it('history is a copy', async () => {
    const session = engine.session()
    await session.generate({ role: 'user', content: [{ type: 'text', text: 'Hi' }] }, greedy).result
    const part = session.history[0]!.content![0] as { text: string }
    part.text = 'changed'
    expect(session.history[0]!.content).toEqual([{ type: 'text', text: 'Hi' }])
  })

  it('an answer that the caller begins is one message with what the model adds', async () => {
    const session = own.session()
    const turn = [user, { role: 'assistant', content: 'Once upon a' }]
    const { text } = await session.generate(turn, { ...greedy, continueFinalMessage: true }).result
    expect(text).toMatch(/^ time/)
    expect(session.history).toEqual([user, { role: 'assistant', content: `Once upon a${text}` }])
    const next = await session.renderPrompt('And?')
    expect(next.text).toBe(
      (await own.renderPrompt({ messages: [...session.history, { role: 'user', content: 'And?' }] })).text,
    )
    const error = refusal(() => session.generate('Hi', { continueFinalMessage: true }))
    expect(error.details.option).toBe('continueFinalMessage')
  })

  it("with 'dropOldest' leave out whole turns, however many messages they have", async () => {
    await withEngine({ contextTokens: 200, chatTemplate }, async (small) => {
      const session = small.session({ system: 'You are terse.', overflow: 'dropOldest' })
      for (let turn = 0; turn < 10; turn++) {
        const asked = [
          { role: 'tool', tool_call_id: String(turn), content: `result ${turn}` },
          { role: 'user', content: `Question ${turn}?` },
        ]
        const shown = await session.renderPrompt(turn % 2 ? asked : asked[1]!, { maxTokens: 20 })
        const { usage } = await session.generate(turn % 2 ? asked : asked[1]!, { maxTokens: 20, ignoreEos: true })
          .result
        expect(usage.promptTokens).toBe(shown.tokens.length)
        expect(usage.promptTokens).toBeLessThanOrEqual(180)
        const [system, ...rest] = session.history
        expect(system!.role).toBe('system')
        expect(rest.map(({ role }) => role).join()).toMatch(/^((tool,)?user,assistant,?)+$/)
        // The turns that remain begin with the one after those that were left out: no tool's result without its turn.
        const first = Number(/\d+/.exec(String(rest[0]!.content))![0])
        expect(rest[0]!.role).toBe(first % 2 ? 'tool' : 'user')
      }
      expect(session.history.length).toBeLessThan(16)
    })
  })
})
