/** What the tests of the server share: a server on a port of its own with an engine that is also asked directly, and its raw events. */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { createServer, type Server, type ServerOptions } from 'octavo/server'

export interface Running extends Server {
  url: string
}

export async function serve(options: Omit<ServerOptions, 'port'>): Promise<Running> {
  const server = await createServer({ ...options, port: 0 })
  const url = await server.listen()
  return { ...server, url }
}

export interface Reply<T = Record<string, unknown>> {
  status: number
  headers: Headers
  body: T
}

/** Any JSON. */
// biome-ignore lint/suspicious/noExplicitAny: tests look at all of it
export type Json = any

export async function post(
  url: string,
  body: unknown,
  { headers = {}, signal = null }: { headers?: Record<string, string>; signal?: AbortSignal | null } = {},
): Promise<Reply<Json>> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
    signal,
  })
  const text = await response.text()
  const isJson = response.headers.get('content-type')?.startsWith('application/json')
  return { status: response.status, headers: response.headers, body: isJson ? JSON.parse(text) : text }
}

export async function get(url: string, headers: Record<string, string> = {}): Promise<Reply<Json>> {
  const response = await fetch(url, { headers })
  const text = await response.text()
  const isJson = response.headers.get('content-type')?.startsWith('application/json')
  return { status: response.status, headers: response.headers, body: isJson ? JSON.parse(text) : text }
}

/** The data of events; the last one is '[DONE]' where the stream was whole. */
export const eventsOf = (text: string): Json[] =>
  text
    .split('\n\n')
    .filter((block) => block !== '' && !block.startsWith(':'))
    .map((block) => block.replace(/^(event: .*\n)?data: /, ''))
    .map((data) => (data === '[DONE]' ? data : JSON.parse(data)))

/** What a stream of chunks says, joined by choice. */
export function joined(events: Json[]): { content: string; finish: string | null }[] {
  const choices: { content: string; finish: string | null }[] = []
  for (const { choices: [choice] = [] } of events.filter((event) => event !== '[DONE]')) {
    if (choice === undefined) continue
    choices[choice.index] ??= { content: '', finish: null }
    const one = choices[choice.index]!
    one.content += choice.delta?.content ?? choice.text ?? ''
    one.finish = choice.finish_reason ?? one.finish
  }
  return choices
}

/** A connection that a test writes to by hand. */
export async function dial(url: string): Promise<{ socket: Socket; text: () => string; closed: Promise<unknown> }> {
  const { port, hostname } = new URL(url)
  const socket = connect(Number(port), hostname)
  let text = ''
  socket.setEncoding('utf8').on('data', (part) => {
    text += part
  })
  socket.on('error', () => {})
  const closed = new Promise((resolve) => socket.once('close', resolve))
  await once(socket, 'connect')
  return { socket, text: () => text, closed }
}

export const httpRequest = (path: string, body: unknown, headers = ''): string => {
  const text = JSON.stringify(body)
  return `POST ${path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(text)}\r\n${headers}\r\n${text}`
}

export async function until(what: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await what())) await new Promise((resolve) => setTimeout(resolve, 5))
}
