/**
 * Parts on their way to a reader who iterates. Backpressure begins with the first `next()`: from then on, tokens that pile up unread
 * pause whoever produces them until they were read. It may outlive its producer: a generation of several rounds has one.
 */

/** Unread tokens at which a generation is paused, and at which it goes on: enough to smooth out, too few to matter in memory. */
export const pauseTokens = 32
const resumeTokens = 8

/** Who makes the parts. */
export interface Producer {
  cancel(): void
  pause(): void
  resume(): void
}

interface Waiter<P> {
  resolve: (result: IteratorResult<P, undefined>) => void
  reject: (error: unknown) => void
}

export class PartQueue<P> {
  #parts: { part: P; tokens: number; read: ((part: P) => void) | undefined }[] = []
  /** Tokens in the queue. */
  #unread = 0
  #waiters: Waiter<P>[] = []
  #producer: Producer | undefined
  #iterating = false
  #paused = false
  /** The reader left: parts that are on their way are for nobody. */
  #left = false
  #ended = false
  /** Boxed, because anything may be an abort's reason; taken by the first `next()` that meets it. */
  #failure: { error: unknown } | undefined

  /** Who is paused from now on. */
  attach(producer: Producer): void {
    this.#producer = producer
    this.#paused = false
    this.pauseIfUnread()
  }

  /** `read`: called when the reader gets the part, before he does; parts that nobody reads cost nothing more. */
  deliver(part: P, tokens: number, read?: (part: P) => void): void {
    const waiter = this.#waiters.shift()
    if (waiter !== undefined) {
      read?.(part)
      waiter.resolve({ done: false, value: part })
    } else if (!this.#left) {
      this.#parts.push({ part, tokens, read })
      this.#unread += tokens
    }
  }

  pauseIfUnread(): void {
    if (!this.#iterating || this.#paused || this.#ended || this.#unread <= pauseTokens) return
    this.#paused = true
    this.#producer?.pause()
  }

  /** Parts that were not read are nobody's. */
  drop(): void {
    this.#parts = []
    this.#unread = 0
  }

  /** Nothing more comes; what came before is still read. */
  end(): void {
    this.#ended = true
    for (const waiter of this.#waiters) waiter.resolve({ done: true, value: undefined })
    this.#waiters = []
  }

  /** The same, with an error behind it. */
  fail(error: unknown): void {
    const waiter = this.#waiters.shift()
    if (waiter !== undefined) waiter.reject(error)
    else this.#failure = { error }
    this.end()
  }

  /** `leave`: called when the reader leaves; resolves when everything is over. */
  iterator(leave: () => Promise<void>): AsyncIterator<P, undefined> {
    return {
      next: () => this.#next(),
      return: async () => {
        this.#left = true
        this.drop()
        await leave()
        this.#failure = undefined
        return { done: true, value: undefined }
      },
    }
  }

  #next(): Promise<IteratorResult<P, undefined>> {
    this.#iterating = true
    const first = this.#parts.shift()
    if (first !== undefined) {
      this.#unread -= first.tokens
      if (this.#paused && this.#unread <= resumeTokens) {
        this.#paused = false
        if (!this.#ended) this.#producer?.resume()
      }
      first.read?.(first.part)
      return Promise.resolve({ done: false, value: first.part })
    }
    if (this.#failure !== undefined) {
      const { error } = this.#failure
      this.#failure = undefined
      return Promise.reject(error)
    }
    if (this.#ended) return Promise.resolve({ done: true, value: undefined })
    return new Promise((resolve, reject) => this.#waiters.push({ resolve, reject }))
  }
}
