/** What the page asks of the service: the same routes that everybody has, and the counts behind its live view. */

import type { Recent } from '../server/service/recent.ts'

export interface Settings {
  temperature: string
  top_p: string
  top_k: string
  max_tokens: string
  seed: string
}

export interface Turn {
  role: 'system' | 'user' | 'assistant'
  content: string
  reasoning?: string
}

export interface Piece {
  text: string
  reasoning: string
}

export interface ModelCounts {
  name: string
  contextTokens: number
  kv: { totalBlocks: number; freeBlocks: number; cachedBlocks: number }
  requests: { running: number; waiting: number; paused: number }
  queue: { tokens: number; drainMs: number }
  tenants: Record<
    string,
    { weight: number; running: number; waiting: number; requests: number; generatedTokens: number; kvBlocks: number }
  >
  promptTokens: number
  cachedTokens: number
  generatedTokens: number
  preemptions: number
}

export interface Counts {
  models: ModelCounts[]
  recent: Recent[]
}

const headers = (key: string): Record<string, string> => (key === '' ? {} : { authorization: `Bearer ${key}` })

async function told(response: Response): Promise<Error> {
  const body = await response.json().catch(() => ({}))
  return new Error(body.error?.message ?? `${response.status} ${response.statusText}`)
}

export async function modelNames(key: string): Promise<string[]> {
  const response = await fetch('v1/models', { headers: headers(key) })
  if (!response.ok) throw await told(response)
  const { data } = (await response.json()) as { data: { id: string }[] }
  return data.map(({ id }) => id)
}

export async function counts(key: string): Promise<Counts> {
  const response = await fetch('ui/counts', { headers: headers(key) })
  if (!response.ok) throw await told(response)
  return (await response.json()) as Counts
}

interface Asked {
  key: string
  model: string
  turns: Turn[]
  settings: Settings
  schema: string
  signal: AbortSignal
}

/** The pieces of an answer as they come. */
export async function* answer({ key, model, turns, settings, schema, signal }: Asked): AsyncGenerator<Piece> {
  const given = Object.entries(settings).filter(([, value]) => value.trim() !== '')
  const numbers = Object.fromEntries(given.map(([name, value]) => [name, Number(value)]))
  const format =
    schema.trim() === ''
      ? {}
      : { response_format: { type: 'json_schema', json_schema: { name: 'answer', schema: JSON.parse(schema) } } }
  const messages = turns.map(({ role, content }) => ({ role, content }))
  const response = await fetch('v1/chat/completions', {
    ...{ method: 'POST', signal, headers: { 'content-type': 'application/json', ...headers(key) } },
    body: JSON.stringify({ model, messages, stream: true, ...numbers, ...format }),
  })
  if (!response.ok) throw await told(response)
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader()
  let rest = ''
  for (let read = await reader.read(); !read.done; read = await reader.read()) {
    const events = (rest + read.value).split('\n\n')
    rest = events.pop()!
    for (const event of events) {
      const data = event.replace(/^data: /, '')
      if (event.startsWith(':') || data === '[DONE]') continue
      const { choices, error } = JSON.parse(data)
      if (error) throw new Error(error.message)
      const { content = '', reasoning_content: reasoning = '' } = choices?.[0]?.delta ?? {}
      if (content !== '' || reasoning !== '') yield { text: content, reasoning }
    }
  }
}
