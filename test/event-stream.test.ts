/** Server-sent events to one client: what goes in a write, and what becomes of a client that does not read. */
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import type { FastifyReply } from 'fastify'
import { afterEach, describe, expect, it } from 'vitest'
import { EventStream } from '../lib/server/service/event-stream.ts'

const open: { close(): void }[] = []
afterEach(() => {
  for (const one of open.splice(0)) one.close()
})

/** A stream and its client, who has asked and reads nothing yet. */
async function dial(slowMs: number): Promise<{ events: EventStream; response: ServerResponse; client: Socket }> {
  const server = createServer().listen(0)
  await once(server, 'listening')
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1')
  client.on('error', () => {}).pause()
  open.push({
    close: () => {
      client.destroy()
      server.close()
    },
  })
  client.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n')
  const [, response] = (await once(server, 'request')) as [IncomingMessage, ServerResponse]
  const reply = { raw: response, getHeaders: () => ({}), hijack: () => {} } as unknown as FastifyReply
  const events = new EventStream(reply, slowMs)
  return { events, response, client }
}

/** What the socket is given, write by write, without the head. */
function writesOf({ socket }: ServerResponse): string[] {
  const writes: string[] = []
  const { write } = socket!
  socket!.write = ((...all: Parameters<Socket['write']>) => {
    writes.push(String(all[0]).replace(/^HTTP[\s\S]*\r\n\r\n/, ''))
    return write.apply(socket, all)
  }) as Socket['write']
  return writes
}

const chunk = (text: string) => `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`
const turn = () => new Promise((resolve) => setImmediate(resolve))

describe('writes', () => {
  it('the first event at once, others with those of their turn, the last with the end', async () => {
    const { events, response, client } = await dial(60_000)
    const writes = writesOf(response)
    events.send('a\n\n')
    expect(writes.join('')).toBe(chunk('a\n\n'))
    events.send('b\n\n')
    events.send('ß\n\n')
    expect(writes.join('')).toBe(chunk('a\n\n'))
    await turn()
    expect(writes.at(-1)).toBe(chunk('b\n\nß\n\n'))
    events.send('c\n\n')
    events.end('d\n\n')
    const text: Buffer[] = []
    client.on('data', (piece) => text.push(piece)).resume()
    await once(response, 'close')
    await turn()
    const all = [chunk('a\n\n'), chunk('b\n\nß\n\n'), chunk('c\n\nd\n\n'), '0\r\n\r\n'].join('')
    await expect.poll(() => Buffer.concat(text).toString().split('\r\n\r\n').slice(1).join('\r\n\r\n')).toBe(all)
  })
})

/** More than the system keeps for a client that does not read. */
const most = 32 << 20

/** Sends that much, as fast as it is taken. */
async function fill(events: EventStream, response: ServerResponse): Promise<void> {
  for (let sent = 0; sent < most && !response.destroyed; sent += 1 << 20) {
    await events.send('x'.repeat(1 << 20))
    await turn()
  }
}

describe('clients that do not read', () => {
  it('are given up', async () => {
    const { events, response } = await dial(200)
    await fill(events, response)
    expect(response.destroyed).toBe(true)
  })

  it('and then read get the rest, and are waited for however long nothing comes', async () => {
    const { events, response, client } = await dial(1000)
    let bytes = 0
    const filled = fill(events, response)
    setTimeout(() => client.on('data', (piece) => (bytes += piece.length)).resume(), 50)
    await filled
    await new Promise((resolve) => setTimeout(resolve, 1300))
    expect(response.destroyed).toBe(false)
    events.end('end\n\n')
    await once(response, 'close')
    expect(response.writableFinished).toBe(true)
    expect(bytes).toBeGreaterThan(most)
  })
})
