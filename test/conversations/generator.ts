/** What is said in a random conversation: messages, options, and how a turn ends. A function of the conversation's number alone. */
import type { ChatMessage, TextPart, Tool, TurnMessage, TurnOptions } from 'octavo'
import { choose, random } from '../hostile-values.ts'
import type { Vocabulary } from './vocabularies.ts'

export type Next = (below: number) => number

/** Words, white space, pieces of markers and templates, characters that programs treat apart. */
const pieces = [
  ...['Tell', ' a', ' story', ' about', ' the', ' owl', ' named', ' Luna', '.', '?', ' What', ' color', ' was', ' it'],
  ...['\n', '\r\n', '\n\n', '  ', '\t', ' ', '\u00a0', '\u0085', '\u2028', '\ufeff', '\x1c', '\v'],
  ...['é', '😀', 'ß', 'ŉ', 'a\u0301', '漢字', 'İ', '\ud83d', '\udc00', '\u200d', '👩‍👧', 'ǆ'],
  ...[
    '<|im_start|>',
    '<|im_end|>',
    '<|im_',
    'end|>',
    '<|',
    '|>',
    '<|endoftext|>',
    '<s>',
    '</s>',
    '[INST]',
    '[/INST',
    ']',
  ],
  ...[
    '<|eot_id|>',
    '<|start_header_id|>',
    '<|user|>',
    '<|assistant|>',
    '<|end|>',
    '<end_of_turn>',
    '<start_of_turn>model',
  ],
  ...['<think>', '</think>', '<thi', 'nk>', '/no_think', '<tool_response>', '<tool_call>', '</tool_call>'],
  ...['{{ messages }}', '{% if x %}', '{#', "'", '"', '\\', '\\n', '&lt;', '%s', '0', '[]', '> ', '\u0000'],
]

export function text(next: Next, most = 14): string {
  return Array.from({ length: 1 + next(most) }, () => choose(next, pieces)).join('')
}

/** What the model was trained to tell: it answers at length, and begins with its word for reasoning. */
const stories = [
  'Tell a story about a shy owl named Luna.',
  'Tell a story about a brave fox.',
  'Tell a story.',
  'What was the owl called?',
]

const question = (next: Next): string => {
  const plain = choose(next, stories)
  return next(3) === 0 ? plain : next(2) === 0 ? `${plain}${text(next, 4)}` : text(next)
}

const parts = (next: Next): TextPart[] =>
  Array.from({ length: 1 + next(3) }, () => ({ type: 'text' as const, text: text(next, 5) }))

const user = (next: Next): ChatMessage => ({
  role: 'user',
  content: next(5) === 0 ? parts(next) : question(next),
  ...(next(8) === 0 && { name: null, mood: text(next, 2) }),
})

/** Called by an assistant, and what came of it. */
function toolCalls(next: Next): ChatMessage[] {
  const calls = Array.from({ length: 1 + next(2) }, (_, i) => {
    const given = { city: text(next, 3), days: next(9), list: [next(2) === 0, null, 1.5] }
    const called = { name: `weather_${i}`, arguments: next(2) === 0 ? given : JSON.stringify(given) }
    return { id: `call ${i}`, type: 'function', function: called }
  })
  const content = choose(next, [null, '', text(next, 4)])
  const thought = next(3) === 0 ? { reasoning_content: text(next, 4) } : undefined
  return [
    { role: 'assistant', content, ...thought, tool_calls: calls },
    ...calls.map(({ id }) => ({ role: 'tool', tool_call_id: id, content: text(next, 6) })),
  ]
}

/** An answer that nobody generated. */
const given = (next: Next): ChatMessage => {
  const content = next(2) === 0 ? text(next, 8) : `<think>\n${text(next, 4)}\n</think>\n\n${text(next, 4)}`
  return { role: 'assistant', content, ...(next(3) === 0 && { reasoning_content: text(next, 4) }) }
}

/** Shown by every template of these tests, so that it can be continued. */
const begun = (next: Next): ChatMessage => ({
  role: 'assistant',
  content: choose(next, ['Once upon a', 'The owl ', 'I', '"Hm', `So é😀 ${next(100)}`]),
})

export interface Asked {
  message: TurnMessage
  /** The same as messages. */
  messages: ChatMessage[]
  continues: boolean
}

export function ask(next: Next): Asked {
  const kind = next(12)
  const asked = (messages: ChatMessage[], continues = false): Asked => ({ message: messages, messages, continues })
  if (kind < 5) {
    const message = question(next)
    return { message, messages: [{ role: 'user', content: message }], continues: false }
  }
  if (kind < 6) {
    const content = parts(next)
    return { message: content, messages: [{ role: 'user', content }], continues: false }
  }
  if (kind < 7) {
    const message = user(next)
    return { message, messages: [message], continues: false }
  }
  if (kind < 9) return asked([user(next), ...toolCalls(next)])
  if (kind < 10) return asked([user(next), given(next), user(next)])
  if (kind < 11) return asked([user(next), begun(next)], true)
  return asked([{ role: 'tool', tool_call_id: 'call', content: text(next, 6) }])
}

/** How a reader leaves. */
export type Leaving = { how: 'cancel' | 'break' | 'abort'; afterParts: number } | undefined

export interface Manner {
  name: string
  options: TurnOptions
  leaving: Leaving
}

/** Words are spelled in letters, as no text is tokenised. */
const lettersFirst = (ids: Map<string, number>) =>
  Object.fromEntries(Array.from('abcdefghijklmnopqrstuvwxyz', (letter) => [ids.get(letter)!, 12]))

/** The model says its marks of reasoning more often. */
function thinks(next: Next, { ids, control }: Vocabulary): TurnOptions {
  const idOf = (name: string) => control.get(name) ?? ids.get(name)
  const [open, close] = [idOf('<think>'), idOf('</think>')]
  if (open === undefined) return {}
  return { logitBias: { [open]: 3 + next(5), [close!]: 2 + next(4) }, maxTokens: 10 + next(40) }
}

const stops = [' the', 'e', '.', ' a', 'an', ', ', 's w', 'ed ']
/** The first bytes of é, 漢 and 😀. */
const firstBytes = [0xc3, 0xe6, 0xf0]
const leaving = (next: Next) => ({ maxTokens: 50 + next(50), ignoreEos: true })

/** How a turn comes to its end, and how often in 19 turns. */
const manners: { name: string; weight: number; options(next: Next, vocabulary: Vocabulary): TurnOptions }[] = [
  { name: 'length', weight: 2, options: () => ({}) },
  { name: 'end token', weight: 2, options: (next, { eosId }) => ({ logitBias: { [eosId]: 4 + next(4) } }) },
  {
    name: 'stop text',
    weight: 2,
    options: (next) => ({ stop: Array.from({ length: 1 + next(2) }, () => choose(next, stops)) }),
  },
  {
    name: 'stop token',
    weight: 1,
    options: (next, { ids }) => ({ stopTokens: [ids.get(choose(next, [' the', '.', ' a']))!] }),
  },
  {
    name: 'stop control token',
    weight: 1,
    options: (next, { control }) => {
      const [stop, token] = choose(next, [...control])
      return { stop, logitBias: { [token]: 6 }, ignoreEos: next(2) === 0 }
    },
  },
  {
    name: 'inside a character',
    weight: 1,
    options: (next, { byteIds }) => {
      const first = byteIds.get(choose(next, firstBytes))!
      return { maxTokens: 1 + next(5), logitBias: { [first]: 12 + next(40) } }
    },
  },
  { name: 'hot', weight: 1, options: (next) => ({ temperature: 4, topK: 0, topP: 1, ignoreEos: next(2) === 0 }) },
  {
    name: 'letters',
    weight: 3,
    options: (next, { ids }) => ({ logitBias: lettersFirst(ids), maxTokens: 50 + next(40) }),
  },
  { name: 'thinks', weight: 2, options: thinks },
  { name: 'cancel', weight: 1, options: leaving },
  { name: 'break', weight: 1, options: leaving },
  { name: 'abort', weight: 1, options: leaving },
  { name: 'cancel at once', weight: 1, options: () => ({}) },
]
const byWeight = manners.flatMap((manner) => Array<typeof manner>(manner.weight).fill(manner))

export function manner(next: Next, vocabulary: Vocabulary): Manner {
  const { name, options } = choose(next, byWeight)
  const reasoning = choose(next, [undefined, undefined, 'split', 'keep'] as const)
  return {
    name,
    options: {
      ...{ seed: next(1 << 30), temperature: choose(next, [0, 0.7, 1, 1.5]) },
      ...{ maxTokens: next(2) === 0 ? 2 + next(24) : 40 + next(60) },
      ...(reasoning && { reasoning }),
      ...(next(4) === 0 && { ignoreEos: true }),
      ...options(next, vocabulary),
      ...(next(4) === 0 && { templateOptions: templateOptions(next) }),
    },
    leaving: leavings(next)[name],
  }
}

const leavings = (next: Next): Record<string, Leaving> => ({
  cancel: { how: 'cancel', afterParts: 1 + next(4) },
  break: { how: 'break', afterParts: 1 + next(4) },
  abort: { how: 'abort', afterParts: 1 + next(4) },
  'cancel at once': { how: 'cancel', afterParts: 0 },
})

const templateOptions = (next: Next): Record<string, unknown> =>
  choose(next, [{ enable_thinking: false }, { enable_thinking: true }, { mood: text(next, 2) }])

export interface Opening {
  system: string | undefined
  tools: Tool[] | undefined
  templateOptions: Record<string, unknown> | undefined
  overflow: 'error' | 'dropOldest'
}

export function opening(next: Next): Opening {
  const parameters = { type: 'object', properties: { items: { type: 'string', description: text(next, 4) } } }
  const bare = { name: 'weather', description: text(next, 4), parameters }
  const tool = next(2) === 0 ? bare : { type: 'function' as const, function: bare }
  return {
    system: next(2) === 0 ? text(next, 6) : undefined,
    tools: next(3) === 0 ? [tool] : undefined,
    templateOptions: next(6) === 0 ? templateOptions(next) : undefined,
    overflow: next(4) === 0 ? 'dropOldest' : 'error',
  }
}

export type Step = 'turn' | 'undo' | 'fork' | 'restore' | 'restore elsewhere'

export const steps = (next: Next): Step[] =>
  Array.from({ length: 3 + next(7) }, (_, i) => {
    const drawn = next(40)
    if (i === 0 || drawn < 29) return 'turn'
    return drawn < 32 ? 'undo' : drawn < 35 ? 'fork' : drawn < 39 ? 'restore' : 'restore elsewhere'
  })

export const randomOf = (conversation: number): Next => random(conversation * 7919 + 1)
