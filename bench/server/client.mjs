// Clients of a server in a process of Node, as cheap as they can be there: raw sockets that stay open, count events and note when they came.
// The parent sends { url, path, bodies } and gets { seconds, firstMs, marks, gapsMs, failed } of all of them at once; { idle } opens that many
// connections, asks each once, and keeps them. Where they would cost too much there is client.cpp.
import { connect } from 'node:net'
import { originMs } from './clock.mjs'

const kept = []

/** One connection, one request at a time. */
class Client {
  constructor(url) {
    this.socket = connect(Number(new URL(url).port), '127.0.0.1').setNoDelay(true)
    this.socket.on('error', () => {})
    this.socket.on('data', (bytes) => this.take(bytes))
    this.socket.on('close', () => this.settle?.())
  }

  /** When each piece with text came. */
  ask(path, body) {
    const text = JSON.stringify(body)
    const head = `POST ${path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(text)}\r\n\r\n`
    const seen = { startedMs: performance.now(), times: [], status: undefined, tail: '' }
    this.seen = seen
    return new Promise((resolve) => {
      this.settle = () => resolve({ ...seen, ok: seen.status === '200' && seen.tail.includes('[DONE]') })
      this.socket.write(head + text)
    })
  }

  take(bytes) {
    const nowMs = performance.now()
    const text = bytes.toString('latin1')
    const { seen } = this
    seen.status ??= text.slice(9, 12)
    if (text.includes('"text":"')) seen.times.push(nowMs)
    seen.tail = (seen.tail + text).slice(-200)
    if (seen.tail.endsWith('\r\n0\r\n\r\n')) this.settle()
  }
}

/** By address. */
const pools = new Map()

async function streams({ url, path, bodies }) {
  if (!pools.has(url)) pools.set(url, [])
  const pool = pools.get(url)
  while (pool.length < bodies.length) pool.push(new Client(url))
  const startedMs = performance.now()
  const all = await Promise.all(bodies.map((body, i) => pool[i].ask(path, body)))
  const seconds = (performance.now() - startedMs) / 1000
  return {
    seconds,
    failed: all.filter(({ ok }) => !ok).length,
    firstMs: all.map(({ startedMs, times }) => (times[0] ?? Number.NaN) - startedMs),
    marks: all.map(({ startedMs, times }) => ({
      asked: originMs + startedMs,
      read: originMs + (times[0] ?? Number.NaN),
    })),
    gapsMs: all.map(({ times }) => Math.max(0, ...times.slice(1).map((time, i) => time - times[i]))),
  }
}

function idle({ url, count }) {
  const port = Number(new URL(url).port)
  const one = () =>
    new Promise((resolve, reject) => {
      const socket = connect(port, '127.0.0.1')
      socket.on('connect', () => socket.write('GET /health HTTP/1.1\r\nhost: x\r\n\r\n'))
      socket.once('data', () => resolve(socket))
      socket.once('error', reject)
    })
  return Promise.all(Array.from({ length: count }, one)).then((sockets) => {
    kept.push(...sockets)
    return { open: sockets.length }
  })
}

function dropAll() {
  for (const pool of pools.values()) for (const { socket } of pool) socket.destroy()
  pools.clear()
}

process.on('message', async (asked) => {
  if (asked.fresh) dropAll()
  else if (asked.stillOpen) process.send({ open: kept.filter((socket) => !socket.destroyed).length })
  else if (asked.idle) process.send(await idle({ url: asked.url, count: asked.idle }))
  else process.send(await streams(asked))
})
process.on('disconnect', () => process.exit())
