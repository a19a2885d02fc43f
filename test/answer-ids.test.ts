/** Where an earlier answer's ids stand in a prompt: only where they spell exactly what the rendering has there. */
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { ChatRenderer } from '../lib/text/template-render.ts'
import { TemplateProgram } from '../lib/text/template-sandbox.ts'
import { Tokenizer } from '../lib/text/tokenizer.ts'
import { vocabularyFromGguf } from '../lib/text/vocabulary/gguf-tokenizer.ts'
import { vocabularyFromJson } from '../lib/text/vocabulary/json-tokenizer.ts'
import { choose, random } from './hostile-values.ts'

const stories = new Tokenizer(
  vocabularyFromJson(readFileSync(new URL('./goldens/stories-tokenizer.json', import.meta.url), 'utf8')),
)

interface Message {
  role: string
  content: string
  ids?: Int32Array
}

function prompt(tokenizer: Tokenizer, source: string, messages: Message[]) {
  const { control, named } = tokenizer.vocabulary
  const renderer = new ChatRenderer(new TemplateProgram(source), source, control, named)
  const places = messages.flatMap(({ ids }, i) => (ids ? [i] : []))
  const plain = messages.map(({ role, content }) => ({ role, content }))
  const { text, cuts, answers } = renderer.render({
    messages: plain,
    tools: null,
    addGenerationPrompt: true,
    answers: places,
  })
  const known = places.map((place, i) => ({ ids: messages[place]!.ids!, stretches: answers[i]! }))
  const run = (all: typeof known) => {
    const steps = tokenizer.encodeChatSteps({ text, cuts, answers: all }, false)
    for (;;) {
      const { done, value } = steps.next()
      if (done) return value
    }
  }
  return { text, ids: run(known), plain: run([]) }
}

const spelled = (tokenizer: Tokenizer, ids: number[]) => tokenizer.decode(ids, { special: true })
/** Ids that no tokenising gives: one byte, one token. */
const letters = (text: string) => Int32Array.from(Array.from(text, (letter) => stories.encode(letter)).flat())
const holds = (ids: number[], part: ArrayLike<number>) =>
  part.length === 0 || `,${ids},`.includes(`,${Array.from(part)},`)

const plainTemplate =
  '{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n'
const talk = (content: string, ids: Int32Array): Message[] => [
  { role: 'user', content: 'Tell a story.' },
  { role: 'assistant', content, ids },
  { role: 'user', content: 'More!' },
]

describe('ids of an answer', () => {
  it('stand where the answer stands, whatever tokenising would give', () => {
    const ids = letters('Once upon a time.')
    const { text, ids: got, plain } = prompt(stories, plainTemplate, talk('Once upon a time.', ids))
    expect(holds(got, ids)).toBe(true)
    expect(holds(plain, ids)).toBe(false)
    expect(spelled(stories, got)).toBe(text)
  })

  it('the end token that the model wrote is the one of the template', () => {
    const ids = Int32Array.from([...letters('Hi there'), 2])
    const { ids: got, text } = prompt(stories, plainTemplate, talk('Hi there', ids))
    expect(holds(got, ids)).toBe(true)
    expect(spelled(stories, got)).toBe(text)
  })

  it.each([
    ['trims', '{{ m.content | trim }}', ' one owl two owls ', 'one owl two owls'],
    ['cuts at a word', "{{ m.content.split('|')[-1] }}", 'why so|because of it', 'because of it'],
    ['drops it', '{{ "gone" }}', 'something', ''],
    ['shows it twice', '{{ m.content }}-{{ m.content }}', 'double trouble', 'double trouble'],
    [
      'shows it in lines',
      "{% for line in m.content.split('\\n') %}> {{ line }}\n{% endfor %}",
      'first line\nsecond line',
      'second line',
    ],
    ['changes a word', "{{ m.content | replace('owl', 'kite') }}", 'the small owl flew far away', ' flew far away'],
    ['puts it in small letters', '{{ m.content | lower }}', 'ABC DEF', ''],
  ])('a template that %s keeps its text, and what of the ids spells it', (_, show, content, kept) => {
    const source = plainTemplate.replace(
      '{{ m.content }}',
      `{% if m.role == 'assistant' %}${show}{% else %}{{ m.content }}{% endif %}`,
    )
    const ids = letters(content)
    const { text, ids: got } = prompt(stories, source, talk(content, ids))
    expect(spelled(stories, got)).toBe(text)
    expect(holds(got, letters(kept))).toBe(true)
  })

  it('reach over what the template writes between two stretches when the model wrote the same', () => {
    const source = `{% for m in messages %}{% if m.role == 'assistant' %}{% set parts = m.content.split('</t>') %}<t>{{ parts[0] }}</t>{{ parts[-1] }}{% else %}{{ m.content }}{% endif %}\n{% endfor %}`
    const ids = letters('<t>hm hm</t>yes indeed')
    const { text, ids: got } = prompt(stories, source, talk('hm hm</t>yes indeed', ids))
    expect(holds(got, ids)).toBe(true)
    expect(spelled(stories, got)).toBe(text)
  })

  it.each([
    ['a word', 'I'],
    ['what may be in the answer, too', 'Say: an owl of'],
    ['a long text', 'tick tock an owl '.repeat(300)],
  ])('of the rest of an answer stand behind %s that began it, which is tokenised as before', (_, begun) => {
    const ids = letters(' an owl of seven hills')
    const { text, ids: got } = prompt(stories, plainTemplate, talk(`${begun} an owl of seven hills`, ids))
    const before = text.slice(0, text.indexOf(' an owl of seven hills'))
    const known = [...stories.encode(before, { parseSpecial: true }), ...ids]
    expect(got.slice(0, known.length)).toEqual(known)
    expect(spelled(stories, got)).toBe(text)
  })

  it('bring in no control token and no characters that the rendering has not', () => {
    // Text before a stop is shown; the ids go on.
    const more = Int32Array.from([...letters('Yes. '), ...letters('STOP more'), 2, 1])
    const { text, ids } = prompt(stories, plainTemplate, talk('Yes. ', more))
    expect(spelled(stories, ids)).toBe(text)
    expect(ids.filter((id) => id < 3)).toEqual([1, 2, 1, 2, 1, 2, 1])
    // A control token within the answer that is spelled in its text stays text.
    const inside = Int32Array.from([...letters('before '), 1, ...letters(' after it all')])
    const other = prompt(stories, plainTemplate, talk('before <|im_start|> after it all', inside))
    expect(spelled(stories, other.ids)).toBe(other.text)
    expect(other.ids.filter((id) => id < 3)).toEqual([1, 2, 1, 2, 1, 2, 1])
    expect(holds(other.ids, letters('before '))).toBe(true)
    expect(holds(other.ids, letters(' after it all'))).toBe(true)
  })

  it('tokens that share a character with what is cut off are left out', () => {
    const bytes = stories.encode('😀')
    expect(bytes.length).toBeGreaterThan(1)
    const ids = Int32Array.from([...letters('Look '), ...bytes.slice(0, -1)])
    const { text, ids: got } = prompt(stories, plainTemplate, talk('Look \ufffd', ids))
    expect(spelled(stories, got)).toBe(text)
    expect(holds(got, letters('Look '))).toBe(true)
  })

  it('ids out of the vocabulary and tokens without text agree with nothing', () => {
    const ids = Int32Array.from([...letters('so '), 999999, ...letters('be it')])
    const { text, ids: got } = prompt(stories, plainTemplate, talk('so be it', ids))
    expect(got).not.toContain(999999)
    expect(spelled(stories, got)).toBe(text)
  })

  it('the space that a vocabulary puts in front of texts is part of what is compared', () => {
    const tokens = [
      '<unk>',
      '<s>',
      '</s>',
      '[/I]',
      ...Array.from({ length: 256 }, (_, i) => `<0x${i.toString(16).toUpperCase().padStart(2, '0')}>`),
      '▁',
      'a',
      'b',
      '▁a',
      'ab',
      '▁ab',
    ]
    const metadata = {
      'tokenizer.ggml.model': 'llama',
      'tokenizer.ggml.tokens': tokens,
      'tokenizer.ggml.scores': tokens.map((_, i) => -i),
      'tokenizer.ggml.token_type': tokens.map((_, i) => (i === 0 ? 2 : i < 4 ? 3 : i < 260 ? 6 : 1)),
      'tokenizer.ggml.bos_token_id': 1,
      'tokenizer.ggml.eos_token_id': 2,
      'tokenizer.ggml.add_space_prefix': true,
    }
    const llama = new Tokenizer(vocabularyFromGguf(metadata))
    const id = (token: string) => tokens.indexOf(token)
    const ids = Int32Array.of(id('▁'), id('a'), id('b'), 2)
    const messages = [
      { role: 'user', content: 'b' },
      { role: 'assistant', content: 'ab', ids },
    ]
    const { ids: got } = prompt(
      llama,
      '{% for m in messages %}{{ m.content }}{{ "[/I]" if m.role == "user" else "</s>" }}{% endfor %}',
      messages,
    )
    expect(got.slice(-5)).toEqual([3, ...ids])
  })

  it('never change the text: 300 random answers, renderings and cuts', () => {
    const alphabet = ['a', 'b', ' ', 'owl', '\n', '😀', 'é', '<|im_end|>', '</think>', '.']
    const shows = [
      '{{ m.content }}',
      '{{ m.content | trim }}',
      "{{ m.content.split('</think>')[-1] }}",
      "{{ m.content | replace('a', 'bb') }}",
      '{{ m.content[2:] }}{{ m.content[:3] }}',
      '{{ m.content | tojson }}',
    ]
    for (let seed = 1; seed <= 300; seed++) {
      const next = random(seed)
      const text = Array.from({ length: next(30) }, () => choose(next, alphabet)).join('')
      const ids = [...stories.encode(text, { parseSpecial: next(2) === 1 }), ...(next(2) ? [2] : [])]
      const shown = stories.decode(ids.slice(0, next(2) ? ids.length : next(ids.length + 1)), { special: true })
      const source = plainTemplate.replace('{{ m.content }}', choose(next, shows))
      const rendered = prompt(stories, source, talk(shown, Int32Array.from(ids)))
      expect.soft(spelled(stories, rendered.ids), `seed ${seed}`).toBe(rendered.text)
      expect
        .soft(
          rendered.ids.filter((id) => id < 3),
          `seed ${seed}`,
        )
        .toEqual(rendered.plain.filter((id) => id < 3))
    }
  })
})
