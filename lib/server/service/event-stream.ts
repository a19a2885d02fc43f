/**
 * Server-sent events on their way to one client. The head is sent with the first event, so that a request that comes to nothing is
 * answered with a status of its own; or when nothing came for a while, since proxies wait for no one. A client that reads too
 * slowly holds its generation up: `send` gives a promise then.
 *
 * What one turn of the event loop has for a client is one write, but for the first event, which is not kept waiting; and it goes to
 * the socket as the chunk that it is: by way of the response it would be four pieces that are put together again. Only where the
 * response is node:http's own; others may be about to compress it.
 */
import { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyReply } from 'fastify'

/** A comment is sent after a silence of once to twice that: proxies give up after some 30 s to 60 s. */
const quietMs = 10_000

export class EventStream {
  readonly #reply: FastifyReply
  readonly #response: ServerResponse
  /** Milliseconds without progress after which the client is given up. */
  readonly #slowMs: number
  /** Of the response, and what every stream has. */
  #headers: Record<string, string> | undefined
  #isOpen = false
  /** Nothing was sent since the clock struck last. */
  #isQuiet = false
  /** Events of this turn. */
  #pending = ''
  /** Where chunks go. */
  #socket: Socket | undefined
  #slow: Promise<void> | undefined

  constructor(reply: FastifyReply, slowMs: number) {
    this.#reply = reply
    this.#response = reply.raw
    this.#slowMs = slowMs
    watch(this)
    this.#response.once('close', () => watched.delete(this))
  }

  /** Something was sent, or is about to be. */
  get isOpen(): boolean {
    return this.#isOpen || this.#pending !== ''
  }

  /** The reply has all of its headers. */
  prepare(): void {
    this.#headers ??= {
      ...(this.#reply.getHeaders() as Record<string, string>),
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache, no-transform',
      // nginx would collect events otherwise.
      'x-accel-buffering': 'no',
    }
  }

  /** Undefined: go on. */
  send(events: string): Promise<void> | undefined {
    const isAlone = this.#pending === ''
    this.#pending += events
    if (!this.#isOpen) this.flush()
    else if (isAlone) this.#flushLater()
    return this.#slow
  }

  end(events: string): void {
    watched.delete(this)
    const all = this.#pending + events
    this.#pending = ''
    const socket = this.#socket
    if (socket === undefined || this.#response.destroyed) {
      this.#open()
      this.#response.end(all)
    } else {
      // The last chunk goes with the end, in one call.
      socket.cork()
      // A chunk of nothing is the end itself.
      if (all !== '') writeChunk(socket, all)
      this.#response.end()
      socket.uncork()
    }
    this.#limitTime(this.#slowMs)
  }

  /** Nothing is sent after all: the reply is Fastify's again. */
  leave(): void {
    watched.delete(this)
  }

  /** Whether the client has not taken what it was sent. */
  get isBlocked(): boolean {
    return this.#slow !== undefined
  }

  /** The client is given up. */
  abandon(): void {
    this.#response.destroy()
  }

  /** With those of other streams. */
  #flushLater(): void {
    if (waiting.length === 0) setImmediate(flushAll)
    waiting.push(this)
  }

  flush(): void {
    const events = this.#pending
    this.#pending = ''
    if (events === '' || this.#response.destroyed) return
    this.#isQuiet = false
    if (!this.#write(events) && !this.#response.destroyed) this.#slow ??= this.#untilRead()
  }

  #write(events: string): boolean {
    const isFirst = !this.#isOpen
    this.#open()
    const socket = this.#socket
    // The first of them go with the head, in one call.
    if (isFirst && socket !== undefined) {
      socket.cork()
      this.#response.flushHeaders()
    }
    const isRead = socket === undefined ? this.#response.write(events) : writeChunk(socket, events)
    if (isFirst) socket?.uncork()
    return isRead
  }

  #untilRead(): Promise<void> {
    const drained = this.#socket?.writableNeedDrain ? this.#socket : this.#response
    this.#limitTime(this.#slowMs)
    return new Promise((resolve) => {
      const done = () => {
        this.#limitTime(0)
        drained.off('drain', done)
        this.#response.off('close', done)
        this.#slow = undefined
        resolve()
      }
      drained.on('drain', done)
      this.#response.on('close', done)
    })
  }

  #open(): void {
    if (this.#isOpen) return
    this.#isOpen = true
    this.#reply.hijack()
    this.prepare()
    const response = this.#response
    response.writeHead(200, this.#headers)
    // One that waits for the end of another response has no socket yet.
    if (response.chunkedEncoding && response.write === ServerResponse.prototype.write)
      this.#socket = response.socket ?? undefined
  }

  /** While something waits for the client: any progress begins the time anew. */
  #limitTime(ms: number): void {
    this.#response.socket?.setTimeout(ms)
  }

  /** The clock strikes. */
  breakSilence(): void {
    if (this.#isQuiet && this.#slow === undefined) this.#write(': still at it\n\n')
    this.#isQuiet = true
  }
}

function writeChunk(socket: Socket, events: string): boolean {
  const bytes = Buffer.byteLength(events)
  const encoding = bytes === events.length ? 'latin1' : 'utf8'
  return socket.write(`${bytes.toString(16)}\r\n${events}\r\n`, encoding)
}

/** One clock for all streams that are under way: a timer of its own would be a good part of what a short one costs. */
const watched = new Set<EventStream>()
let clock: NodeJS.Timeout | undefined

function watch(stream: EventStream): void {
  watched.add(stream)
  clock ??= setInterval(strike, quietMs).unref()
}

function strike(): void {
  for (const stream of watched) stream.breakSilence()
  if (watched.size > 0) return
  clearInterval(clock)
  clock = undefined
}

/** Streams that have events of this turn. */
let waiting: EventStream[] = []

function flushAll(): void {
  const all = waiting
  waiting = []
  for (const stream of all) stream.flush()
}

export const event = (data: unknown): string => `data: ${JSON.stringify(data)}\n\n`
