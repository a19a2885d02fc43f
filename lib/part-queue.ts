/**
 * Parts on their way to a reader: one who iterates, or a function that is called with each. Backpressure begins with the first `next()`,
 * or with `giveTo`: from then on, tokens that pile up unread pause whoever produces them until they were read. It may outlive its
 * producer: a generation of several rounds has one.
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

/** Gets parts as they come; a promise holds up the next one. */
export type Take<P> = (part: P) => void | Promise<void>

interface Taker<P> {
  take: Take<P>
  /** No promise of it is waited for. */
  isFree: boolean
  resolve: () => void
  reject: (error: unknown) => void
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
  #taker: Taker<P> | undefined
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
    if (this.#taker?.isFree) {
      this.#give(this.#taker, part, read)
      return
    }
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
    if (this.#taker?.isFree) this.#giveRest(this.#taker)
  }

  /** The same, with an error behind it. */
  fail(error: unknown): void {
    const waiter = this.#waiters.shift()
    if (waiter !== undefined) waiter.reject(error)
    else this.#failure = { error }
    this.end()
  }

  /** Resolves when `take` had all of them; where it throws or its promise rejects, the reader has left, and this rejects with that. */
  giveTo(take: Take<P>): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#iterating = true
      this.#taker = { take, isFree: true, resolve, reject }
      this.#giveRest(this.#taker)
    })
  }

  #give(taker: Taker<P>, part: P, read: ((part: P) => void) | undefined): void {
    try {
      read?.(part)
      const pending = taker.take(part)
      // Arrow functions give all sorts of things.
      if (!(pending instanceof Promise)) return
      taker.isFree = false
      pending.then(
        () => {
          taker.isFree = true
          this.#giveRest(taker)
        },
        (error) => this.#leave(taker, error),
      )
    } catch (error) {
      this.#leave(taker, error)
    }
  }

  /** What waited, as far as the taker is free for it. */
  #giveRest(taker: Taker<P>): void {
    while (taker.isFree && this.#parts.length > 0) {
      const { part, read } = this.#shift()
      this.#give(taker, part, read)
    }
    if (!taker.isFree || !this.#ended) return
    const failure = this.#failure
    this.#failure = undefined
    if (failure === undefined) taker.resolve()
    else taker.reject(failure.error)
  }

  #leave(taker: Taker<P>, error: unknown): void {
    taker.isFree = false
    this.#left = true
    this.drop()
    taker.reject(error)
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
    if (this.#parts.length > 0) {
      const { part, read } = this.#shift()
      read?.(part)
      return Promise.resolve({ done: false, value: part })
    }
    if (this.#failure !== undefined) {
      const { error } = this.#failure
      this.#failure = undefined
      return Promise.reject(error)
    }
    if (this.#ended) return Promise.resolve({ done: true, value: undefined })
    return new Promise((resolve, reject) => this.#waiters.push({ resolve, reject }))
  }
  /** The first that waits; who produces them goes on when few are left. */
  #shift(): { part: P; read: ((part: P) => void) | undefined } {
    const first = this.#parts.shift()!
    this.#unread -= first.tokens
    if (this.#paused && this.#unread <= resumeTokens) {
      this.#paused = false
      if (!this.#ended) this.#producer?.resume()
    }
    return first
  }
}
