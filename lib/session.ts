/**
 * A conversation: a system message and turns. The prompt of a turn is the template applied to the history as `history` shows it.
 * Beside an answer are the ids that the model generated for it: where they spell what the template makes of the answer, the next
 * prompt has these very ids, so that their keys and values are found again through the prefix cache. A session owns no cache blocks;
 * when they were evicted in between, they are recomputed unnoticed.
 *
 * A turn counts when its generation resolves, a cancelled one with its partial answer. One that rejects (an abort, an overflow,
 * a failure) leaves the history as it was. With overflow 'dropOldest' a turn that counts may have cost the oldest ones (context-fit.ts).
 */
import { CallSite } from './call-site.ts'
import type { Generation, GenerationResult, RunningGeneration } from './generation.ts'
import type { ChatMessage, ParsedSampling, ParsedSession, SamplingOptions } from './options.ts'
import { parse, pathSchema, samplingSchema, textSchema } from './options.ts'

/** A message with the ids that the model generated for it, its reasoning and markers included. */
export interface VerbatimMessage extends ChatMessage {
  tokens?: Int32Array
}

/** What a session is between two turns. */
export interface SessionState {
  messages: VerbatimMessage[]
  overflow: ParsedSession['overflow']
  /** Who asked for the last turn. */
  tenant: string
  /**
   * Not empty: its keys and values are found by nobody else. For those that came from a file, because nobody knows whether they are
   * those of its tokens.
   */
  cacheId: string
}

export interface SavedSession {
  /** Tokens whose keys and values are in the file: the rest is computed again by the next turn. */
  tokens: number
  /** Size of the file. */
  bytes: number
}

/** One turn, as a session asks its engine for it. */
export interface Turn {
  messages: VerbatimMessage[]
  sampling: ParsedSampling
  site: CallSite
  cacheId: string
  /** Pairs of messages, after the system message, that may be left out when the context is too small; the oldest first. */
  droppable: number
  /** That many were left out. */
  onDropped(pairs: number): void
  onEnd(result: GenerationResult | undefined, ids: readonly number[]): void
}

/** What a session needs of its engine. */
export interface SessionHost {
  /** Throws when the engine is closed. */
  start(turn: Turn): RunningGeneration
  save(state: SessionState, path: string, site: CallSite): Promise<SavedSession>
}

export class Session {
  readonly #host: SessionHost
  readonly #overflow: ParsedSession['overflow']
  readonly #messages: VerbatimMessage[] = []
  readonly #cacheId: string
  #tenant: string
  #running: RunningGeneration | undefined
  #closed = false

  /** @internal Use `engine.session()` or `engine.restoreSession()`. */
  constructor(host: SessionHost, { messages, overflow, tenant, cacheId }: SessionState) {
    this.#host = host
    this.#overflow = overflow
    this.#messages.push(...messages)
    this.#tenant = tenant
    this.#cacheId = cacheId
  }

  /** The system message and all finished turns that were not dropped. An answer's reasoning is its `reasoning_content`. */
  get history(): ChatMessage[] {
    return this.#messages.map(({ tokens: _, ...message }) => message)
  }

  /** Says something and generates the answer. Throws SESSION_BUSY while an answer is being generated. */
  generate(message: string, options: SamplingOptions = {}): Generation {
    const site = new CallSite(this.generate)
    const content = parse(textSchema, message, 'message', site)
    const sampling = parse(samplingSchema, options, 'options', site)
    this.#assertIdle(site)
    const user = { role: 'user', content }
    let ended = false
    let dropped = 0
    const onEnd: Turn['onEnd'] = (result, ids) => {
      ended = true
      this.#running = undefined
      if (result === undefined) return
      this.#tenant = sampling.tenant
      this.#messages.splice(this.#first, 2 * dropped)
      this.#messages.push(user, answerOf(result, ids))
    }
    const onDropped = (pairs: number) => {
      dropped = pairs
    }
    const messages = [...this.#messages, user]
    const droppable = this.#overflow === 'dropOldest' ? (this.#messages.length - this.#first) / 2 : 0
    const generation = this.#host.start({
      messages,
      sampling,
      site,
      cacheId: this.#cacheId,
      droppable,
      onDropped,
      onEnd,
    })
    if (!ended) this.#running = generation
    return generation
  }

  /**
   * A session of its own with the same history: both go on from here and share what is computed so far. Throws SESSION_BUSY
   * while an answer is being generated.
   */
  fork(): Session {
    this.#assertIdle(new CallSite(this.fork))
    return new Session(this.#host, this.#state)
  }

  /**
   * Writes the conversation to a file, with as much as is still cached of what was computed for it: `engine.restoreSession()` goes
   * on from there, in any process that has loaded the same model. A file that exists is replaced when the new one is complete.
   * Throws SESSION_BUSY while an answer is being generated; rejects with IO_ERROR, ENGINE_CLOSED, ENGINE_FAILED.
   */
  save(path: string): Promise<SavedSession> {
    const site = new CallSite(this.save)
    const checked = parse(pathSchema, path, 'path', site)
    this.#assertIdle(site)
    return this.#host.save(this.#state, checked, site)
  }

  /** Forgets the last turn. False when there is none. Throws SESSION_BUSY while an answer is being generated. */
  undo(): boolean {
    this.#assertIdle(new CallSite(this.undo))
    if (this.#messages.at(-1)?.role !== 'assistant') return false
    this.#messages.splice(-2)
    return true
  }

  get #state(): SessionState {
    const [messages, overflow, tenant, cacheId] = [[...this.#messages], this.#overflow, this.#tenant, this.#cacheId]
    return { messages, overflow, tenant, cacheId }
  }

  /** Where the turns begin. */
  get #first(): number {
    return this.#messages[0]?.role === 'system' ? 1 : 0
  }

  #assertIdle(site: CallSite): void {
    if (this.#closed) throw site.error({ code: 'SESSION_CLOSED', message: 'The session is closed.', details: {} })
    if (this.#running === undefined) return
    throw site.error({
      code: 'SESSION_BUSY',
      message: 'The session is generating an answer: await its result, or cancel it and await its result.',
      details: {},
    })
  }

  /** Cancels an answer that is being generated. Closing twice is fine. */
  close(): void {
    this.#closed = true
    this.#running?.cancel()
  }

  [Symbol.dispose](): void {
    this.close()
  }
}

/** A template finds the reasoning where it looks for it, and keeps it or drops it. */
function answerOf({ text, reasoning }: GenerationResult, ids: readonly number[]): VerbatimMessage {
  const thought = reasoning === undefined ? undefined : { reasoning_content: reasoning }
  return { role: 'assistant', content: text, ...thought, tokens: Int32Array.from(ids) }
}
