/** Ids in the place of messages' contents. */
import { describe, expect, it } from 'vitest'
import type { Piece } from '../lib/text/token-cutter.ts'
import { plain, verbatim } from '../lib/text/verbatim.ts'

type Message = { role: string; content: string; tokens?: Int32Array }

/** A template: <1>role\ncontent<2> for each message. */
const render = (messages: Message[], content = (text: string) => text.trim()): Piece[] =>
  messages.flatMap((message) => [1, `${message.role}\n${content(message.content)}`, 2, '\n'])

const conversation: Message[] = [
  { role: 'user', content: 'Hi' },
  { role: 'assistant', content: ' Hello. ', tokens: Int32Array.of(50, 51) },
  { role: 'user', content: 'And verbatim0. ?' },
  { role: 'assistant', content: '', tokens: new Int32Array(0) },
]

describe('verbatim', () => {
  it('is not needed when no message has ids', () => {
    expect(verbatim([{ role: 'user', content: 'x' }])).toBeUndefined()
  })

  it('puts ids where the contents would be, and leaves the texts around them whole', () => {
    const known = verbatim(conversation)!
    expect(known.fill(render(known.messages as Message[]))).toEqual([
      ...[1, 'user\nHi', 2, '\n', 1, 'assistant\n', 50, 51, 2, '\n'],
      ...[1, 'user\nAnd verbatim0. ?', 2, '\n', 1, 'assistant\n', 2, '\n'],
    ])
  })

  it('does not show ids to the template', () => {
    for (const message of verbatim(conversation)!.messages) expect(message).not.toHaveProperty('tokens')
    expect(plain(conversation[1])).toEqual({ role: 'assistant', content: ' Hello. ' })
  })

  it('gives up when the template drops, doubles or changes a content', () => {
    const known = verbatim(conversation)!
    const messages = known.messages as Message[]
    expect(known.fill(render(messages.slice(0, 3)))).toBeUndefined()
    expect(known.fill(render([...messages, messages[1]!]))).toBeUndefined()
    expect(known.fill(render(messages, (text) => text.toUpperCase()))).toBeUndefined()
  })
})
