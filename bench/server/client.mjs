// Clients of a server in a process of their own, as cheap as they can be: raw sockets that count events and note when they came.
// The parent sends { url, path, bodies } and gets { seconds, events, firstMs, gapsMs, failed } of all of them at once; { idle } opens
// that many connections, asks each once, and keeps them.
import { connect } from 'node:net'

const kept = []

const head = (path, body) =>
  `POST ${path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`

/** One stream: when each piece with text came. */
function stream({ port, path, body }) {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.setNoDelay(true)
    const times = []
    const startedMs = performance.now()
    let status
    let tail = ''
    socket.on('connect', () => socket.write(head(path, body)))
    socket.on('data', (bytes) => {
      const nowMs = performance.now()
      const text = bytes.toString('latin1')
      status ??= text.slice(9, 12)
      if (text.includes('"text":"') || text.includes('"content":"')) times.push(nowMs)
      tail = (tail + text).slice(-200)
    })
    socket.on('error', () => {})
    socket.on('close', () => resolve({ startedMs, times, ok: status === '200' && tail.includes('[DONE]') }))
  })
}

async function streams({ url, path, bodies }) {
  const port = Number(new URL(url).port)
  const startedMs = performance.now()
  const all = await Promise.all(bodies.map((body) => stream({ port, path, body: JSON.stringify(body) })))
  const seconds = (performance.now() - startedMs) / 1000
  return {
    seconds,
    failed: all.filter(({ ok }) => !ok).length,
    firstMs: all.map(({ startedMs, times }) => (times[0] ?? Number.NaN) - startedMs),
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

process.on('message', async (asked) => {
  if (asked.stillOpen) process.send({ open: kept.filter((socket) => !socket.destroyed).length })
  else process.send(await (asked.idle ? idle({ url: asked.url, count: asked.idle }) : streams(asked)))
})
process.on('disconnect', () => process.exit())
