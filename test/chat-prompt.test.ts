/** What a caller can say about a conversation's prompt: parts, options, documents, another template, a message to be continued. */
import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, it } from 'vitest'
import { TextService, type TextServiceOptions } from '../dist/text/text-service.js'

const source = {
  kind: 'tokenizer-json',
  path: fileURLToPath(new URL('goldens/stories-tokenizer.json', import.meta.url)),
} as const
const turns =
  '{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}'
const withParts = turns.replace(
  '{{ m.content }}',
  '{% if m.content is string %}{{ m.content }}{% else %}{% for p in m.content %}[{{ p.text }}]{% endfor %}{% endif %}',
)

const open: TextService[] = []
async function start(chatTemplate: string, options: Partial<TextServiceOptions> = {}) {
  const service = await TextService.start({ source, chatTemplate, ...options })
  open.push(service)
  return service
}
afterEach(async () => {
  for (const service of open.splice(0)) await service.close()
})
const user = (content: unknown) => ({ role: 'user', content })
const controls = (tokens: Int32Array) => Array.from(tokens).filter((id) => id < 3)
const invalid = (message: RegExp) => ({ code: 'INVALID_ARGUMENT', message: expect.stringMatching(message) })

describe('a chat prompt', () => {
  it('is text and the ids of that text', async () => {
    const service = await start(turns)
    const { tokens, text } = await service.chatPrompt([user('Hello')])
    expect(text).toBe('<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n')
    expect(Array.from(tokens)).toEqual(Array.from(await service.tokenize(text, { parseSpecial: true })))
    const short = await service.chatPrompt([user('Hello')], { addGenerationPrompt: false })
    expect(short.text).toBe('<|im_start|>user\nHello<|im_end|>\n')
  })

  it('hands parts to a template that knows them, and one string to others', async () => {
    const parts = [
      { type: 'text', text: 'one' },
      { type: 'text', text: '<|im_end|>' },
    ]
    const known = await (await start(withParts)).chatPrompt([user(parts)], { addGenerationPrompt: false })
    expect(known.text).toBe('<|im_start|>user\n[one][<|im_end|>]<|im_end|>\n')
    const other = await (await start(turns)).chatPrompt([user(parts)], { addGenerationPrompt: false })
    expect(other.text).toBe('<|im_start|>user\none\n<|im_end|><|im_end|>\n')
    for (const { tokens } of [known, other]) expect(controls(tokens)).toEqual([1, 2])
  })

  it('any key of a message reaches the template', async () => {
    const service = await start(
      '{% for m in messages %}{{ m | tojson }}{{ m.tool_calls[0].function.name if m.tool_calls }}\n{% endfor %}',
    )
    const calls = [{ id: 'x', type: 'function', function: { name: 'look', arguments: { items: [1] } } }]
    const messages = [
      { role: 'assistant', content: null, reasoning_content: 'hm', tool_calls: calls },
      { role: 'tool', tool_call_id: 'x', name: 'look', content: '42' },
    ]
    expect((await service.chatPrompt(messages)).text).toBe(
      '{"role": "assistant", "content": null, "reasoning_content": "hm", "tool_calls": [{"id": "x", "type": "function", "function": {"name": "look", "arguments": {"items": [1]}}}]}look\n{"role": "tool", "tool_call_id": "x", "name": "look", "content": "42"}\n',
    )
  })

  it('tools, documents and template options reach the template, and none of them makes a control token', async () => {
    const service = await start('{{ tools | tojson }}{{ documents[0].text }}{{ enable_thinking }}{{ style }}<|im_end|>')
    const options = {
      tools: [{ name: '<|im_end|>' }],
      documents: [{ text: '<|im_start|>' }],
      templateOptions: { enable_thinking: false, style: '<|im_end|>' },
    }
    const { text, tokens } = await service.chatPrompt([], options)
    expect(text).toBe('[{"name": "<|im_end|>"}]<|im_start|>False<|im_end|><|im_end|>')
    expect(controls(tokens)).toEqual([2])
    const bare = await start('{{ tools is none }}{{ documents is none }}{{ enable_thinking is defined }}')
    expect((await bare.chatPrompt([])).text).toBe('TrueTrueFalse')
  })

  it.each(['messages', 'tools', 'documents', 'add_generation_prompt'])(
    'templateOptions may not be %s',
    async (name) => {
      const service = await start(turns)
      await expect(service.chatPrompt([user('x')], { templateOptions: { [name]: [] } })).rejects.toMatchObject(
        invalid(new RegExp(name)),
      )
    },
  )

  it('a template may look for the name of a control token in a message, which stays text', async () => {
    const service = await start(
      "{{ 'thinks' if '<|im_start|>' in messages[0].content else 'does not' }}: {{ messages[0].content.split('<|im_start|>')[-1] }}<|im_end|>",
    )
    const { text, tokens } = await service.chatPrompt([user('a<|im_start|>b<|im_end|>')])
    expect(text).toBe('thinks: b<|im_end|><|im_end|>')
    expect(controls(tokens)).toEqual([2])
  })
})

describe('a message that is continued', () => {
  const messages = (content: unknown) => [user('Sing.'), { role: 'assistant', content }]
  const continued = { continueFinalMessage: true } as const

  it('ends the prompt with its content', async () => {
    const service = await start(turns)
    const { text, tokens } = await service.chatPrompt(messages('La la '), continued)
    expect(text).toBe('<|im_start|>user\nSing.<|im_end|>\n<|im_start|>assistant\nLa la ')
    expect(controls(tokens)).toEqual([1, 2, 1])
    expect(await service.detokenize(tokens, { special: true })).toBe(text)
  })

  it('as the template shows it', async () => {
    const trimmed = await start(turns.replace('{{ m.content }}', '{{ m.content | trim }}'))
    expect((await trimmed.chatPrompt(messages(' La la \n'), continued)).text).toMatch(/assistant\nLa la$/)
    const parts = await start(withParts)
    const list = messages([
      { type: 'text', text: 'La' },
      { type: 'text', text: 'lo' },
    ])
    expect((await parts.chatPrompt(list, continued)).text).toMatch(/assistant\n\[La\]\[lo$/)
    const repeated = await start(turns)
    const same = [...messages('Sing.'), user('Sing.'), { role: 'assistant', content: 'Sing.' }]
    expect((await repeated.chatPrompt(same, continued)).text.split('Sing.').length).toBe(5)
  })

  it('must be there to be continued', async () => {
    const service = await start(turns)
    await expect(service.chatPrompt([user('x')], continued)).rejects.toMatchObject(invalid(/last message/))
    await expect(service.chatPrompt([], continued)).rejects.toMatchObject(invalid(/last message/))
    await expect(service.chatPrompt(messages(''), continued)).rejects.toMatchObject(invalid(/content/))
    await expect(service.chatPrompt(messages('x'), { ...continued, addGenerationPrompt: true })).rejects.toMatchObject(
      invalid(/addGenerationPrompt/),
    )
    const silent = await start(
      "{% for m in messages %}{% if m.role != 'assistant' %}{{ m.content }}{% endif %}{% endfor %}",
    )
    await expect(silent.chatPrompt(messages('x'), continued)).rejects.toMatchObject(invalid(/shows the content/))
  })

  it('with its ids', async () => {
    const service = await start(turns)
    const ids = await service.tokenize('Once')
    const letters = Int32Array.from([...(await service.tokenize('O')), ...(await service.tokenize('nce'))])
    expect(Array.from(letters)).not.toEqual(Array.from(ids))
    const { tokens } = await service.chatPrompt(
      [user('x'), { role: 'assistant', content: 'Once', tokens: letters }],
      continued,
    )
    expect(Array.from(tokens.slice(-letters.length))).toEqual(Array.from(letters))
  })
})

describe('a template that a request brings along', () => {
  const spin = '{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}'

  it('is used for that request', async () => {
    const service = await start(turns)
    expect((await service.chatPrompt([user('x')], { chatTemplate: 'my {{ messages[0].content }}' })).text).toBe('my x')
    expect((await service.chatPrompt([user('x')])).text).toContain('<|im_start|>')
    const failing = service.chatPrompt([user('x')], { chatTemplate: 'a\n{{ 1 + }}' })
    await expect(failing).rejects.toMatchObject({
      code: 'TEMPLATE_ERROR',
      details: { line: 2, construct: '{{ 1 + }}' },
    })
    const without = await TextService.start({ source })
    open.push(without)
    expect((await without.chatPrompt([user('x')], { chatTemplate: 'q' })).text).toBe('q')
  })

  it('and that spins holds up nobody but those who ask for it', async () => {
    const service = await start(turns, { templateDeadlineMs: 800 })
    const order: string[] = []
    const note = (name: string) => (value: unknown) => {
      order.push(name)
      return value
    }
    const failing = Array.from({ length: 2 }, (_, i) =>
      expect(service.chatPrompt([user('x')], { chatTemplate: `${i}${spin}` }))
        .rejects.toMatchObject({ code: 'TEMPLATE_ERROR', details: { limit: expect.stringMatching(/deadline|steps/) } })
        .then(note('spinning')),
    )
    await Promise.all([
      ...failing,
      service.chatPrompt([user('x')]).then(note('model')),
      service.chatPrompt([user('x')], { chatTemplate: 'other' }).then(note('other')),
    ])
    expect(order.toSorted()).toEqual(['model', 'other', 'spinning', 'spinning'])
    expect(order.slice(0, 2).toSorted()).toEqual(['model', 'other'])
  })

  it('more of them than are kept are all served', async () => {
    const service = await start(turns)
    const texts = Array.from({ length: 9 }, (_, i) => `template ${i}`)
    const prompts = await Promise.all(texts.map((chatTemplate) => service.chatPrompt([], { chatTemplate })))
    expect(prompts.map(({ text }) => text)).toEqual(texts)
    await service.close()
    await expect(service.chatPrompt([], { chatTemplate: 'x' })).rejects.toMatchObject({ code: 'ENGINE_CLOSED' })
  })
})
