/**
 * Server-sent events on their way to one client. The head is sent with the first event, so that a request that comes to nothing is
 * answered with a status of its own; or when nothing came for a while, since proxies wait for no one. A client that reads too
 * slowly holds its generation up: `send` gives a promise then.
 */
import type { ServerResponse } from 'node:http'
import type { FastifyReply } from 'fastify'

/** Silence after which a comment is sent: proxies give up after some 30 s to 60 s. */
const quietMs = 10_000

export class EventStream {
  readonly #reply: FastifyReply
  readonly #response: ServerResponse
  /** Milliseconds without progress after which the client is given up. */
  readonly #slowMs: number
  /** Of the response, and what every stream has. */
  #headers: Record<string, string> | undefined
  #isOpen = false
  #isQuiet = true
  #timer: NodeJS.Timeout
  #slow: Promise<void> | undefined

  constructor(reply: FastifyReply, slowMs: number) {
    this.#reply = reply
    this.#response = reply.raw
    this.#slowMs = slowMs
    this.#timer = setInterval(() => this.#breakSilence(), quietMs)
    this.#timer.unref()
    this.#response.once('close', () => clearInterval(this.#timer))
  }

  get isOpen(): boolean {
    return this.#isOpen
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
    this.#open()
    this.#isQuiet = false
    if (events === '' || this.#response.write(events) || this.#response.destroyed) return undefined
    this.#slow ??= this.#untilRead()
    return this.#slow
  }

  end(events: string): void {
    this.#open()
    clearInterval(this.#timer)
    this.#response.end(events)
  }

  /** Nothing is sent after all: the reply is Fastify's again. */
  leave(): void {
    clearInterval(this.#timer)
  }

  /** Whether the client has not taken what it was sent. */
  get isBlocked(): boolean {
    return this.#slow !== undefined
  }

  /** The client is given up. */
  abandon(): void {
    this.#response.destroy()
  }

  #untilRead(): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        this.#response.off('drain', done).off('close', done)
        this.#slow = undefined
        resolve()
      }
      if (this.#response.destroyed) done()
      else this.#response.on('drain', done).on('close', done)
    })
  }

  #open(): void {
    if (this.#isOpen) return
    this.#isOpen = true
    this.#reply.hijack()
    this.prepare()
    this.#response.writeHead(200, this.#headers)
    // A write, or progress of one, begins the time anew.
    this.#response.socket?.setTimeout(this.#slowMs)
  }

  #breakSilence(): void {
    if (this.#isQuiet && !this.#response.writableNeedDrain) {
      this.#open()
      this.#response.write(': still at it\n\n')
    }
    this.#isQuiet = true
  }
}

export const event = (data: unknown): string => `data: ${JSON.stringify(data)}\n\n`
