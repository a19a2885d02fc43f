/**
 * A conversation: a system message and turns. The prompt of a turn is the template applied to the history as `history` shows it.
 * Beside an answer are the ids that the model generated for it: where they spell what the template makes of the answer, the next
 * prompt has these very ids, so that their keys and values are found again through the prefix cache. A session owns no cache blocks;
 * when they were evicted in between, they are recomputed unnoticed.
 *
 * A turn is what was asked, one message or several, and the answer. It counts when its generation resolves, a cancelled one with its
 * partial answer. One that rejects (an abort, an overflow, a failure) leaves the history as it was. With overflow 'dropOldest' a turn
 * that counts may have cost the oldest ones (context-fit.ts).
 */

import type { DeepPartial } from './answers/partial-json.ts'
import { invalidArgument, parse } from './arguments.ts'
import { CallSite } from './base/call-site.ts'
import type { Generation, GenerationResult } from './generation.ts'
import type {
  ChatMessage,
  CheckedConversation,
  CheckedMessage,
  Conversation,
  RenderedPrompt,
  TextPart,
  VerbatimMessage,
} from './messages.ts'
import { endMismatch, turnMessagesSchema, withoutIds } from './messages.ts'
import type { ParsedSampling, ParsedSession, TurnOptions } from './options.ts'
import { choiceMismatch, pathSchema, toldOf, turnSchema } from './options.ts'
import type { AnyCall } from './tools/tool-call.ts'
import type { InputOf, OutputOf, ZodLike } from './tools/value-schema.ts'

/** What a turn begins with: a user's text, its parts, a message (a tool's result), or several. */
export type TurnMessage = string | readonly TextPart[] | ChatMessage | readonly ChatMessage[]

/** What a session is between two turns. */
export interface SessionState {
  messages: VerbatimMessage[]
  /** How many messages each turn has, its answer included; they are the last of `messages`. */
  turns: number[]
  /** What the template is given beside messages, in every turn. */
  conversation: CheckedConversation
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
  conversation: Conversation
  sampling: ParsedSampling
  site: CallSite
  cacheId: string
  /** Earlier turns that may be left out when the context is too small; the oldest first, the system message never. */
  droppable: number
  /** The conversation without so many of them. */
  without(turns: number): Conversation
  /** That many were left out. */
  onDropped(turns: number): void
  /** `answer`: the messages that were added to what was asked. */
  onEnd(result: GenerationResult | undefined, answer: readonly VerbatimMessage[]): void
}

/** What a session needs of its engine. */
export interface SessionHost {
  /** Throws when the engine is closed. */
  start(turn: Turn): Generation
  render(turn: Turn): Promise<RenderedPrompt>
  save(state: SessionState, path: string, site: CallSite): Promise<SavedSession>
}

/** C: the calls that its answers may have. */
export class Session<C = AnyCall> {
  readonly #host: SessionHost
  readonly #overflow: ParsedSession['overflow']
  readonly #messages: VerbatimMessage[] = []
  readonly #turns: number[] = []
  readonly #conversation: CheckedConversation
  readonly #cacheId: string
  #tenant: string
  #running: Generation | undefined
  #closed = false

  /** @internal Use `engine.session()` or `engine.restoreSession()`. */
  constructor(host: SessionHost, { messages, turns, conversation, overflow, tenant, cacheId }: SessionState) {
    this.#host = host
    this.#overflow = overflow
    this.#messages.push(...messages)
    this.#turns.push(...turns)
    this.#conversation = conversation
    this.#tenant = tenant
    this.#cacheId = cacheId
  }

  /** The system message and all finished turns that were not dropped. An answer's reasoning is its `reasoning_content`. */
  get history(): ChatMessage[] {
    return this.#messages.map((message) => structuredClone(withoutIds(message)))
  }

  /** Says something and generates the answer. Throws SESSION_BUSY while an answer is being generated. */
  generate<T extends ZodLike>(
    message: TurnMessage,
    options: TurnOptions & { schema: T },
  ): Generation<OutputOf<T>, C, DeepPartial<InputOf<T>>>
  generate(message: TurnMessage, options?: TurnOptions): Generation<unknown, C>
  generate(message: TurnMessage, options: TurnOptions = {}): Generation<unknown, C> {
    const site = new CallSite(this.generate)
    const { asked, turn } = this.#turn(message, options, site)
    this.#assertIdle(site)
    let ended = false
    let dropped = 0
    const onEnd: Turn['onEnd'] = (result, answer) => {
      ended = true
      this.#running = undefined
      if (result === undefined) return
      this.#tenant = turn.sampling.tenant
      this.#messages.splice(this.#first, sum(this.#turns.slice(0, dropped)))
      this.#turns.splice(0, dropped)
      const { continueFinalMessage } = turn.conversation
      const said = continueFinalMessage ? asked.slice(0, -1) : asked
      const added = continueFinalMessage ? [continued(asked.at(-1)!, result, answer.at(-1)?.tokens)] : answer
      this.#messages.push(...said, ...added)
      this.#turns.push(said.length + added.length)
    }
    const onDropped = (turns: number) => {
      dropped = turns
    }
    const generation = this.#host.start({ ...turn, onDropped, onEnd })
    if (!ended) this.#running = generation
    return generation as Generation as Generation<unknown, C>
  }

  /** The prompt that `generate` with these arguments would send. Nothing is added to the history. */
  renderPrompt(message: TurnMessage, options: TurnOptions = {}): Promise<RenderedPrompt> {
    const site = new CallSite(this.renderPrompt)
    const { turn } = this.#turn(message, options, site)
    this.#assertIdle(site)
    return this.#host.render({ ...turn, onDropped: () => {}, onEnd: () => {} })
  }

  #turn(message: TurnMessage, options: TurnOptions, site: CallSite) {
    const asked = parse(turnMessagesSchema, message, 'message', site)
    const { templateOptions, continueFinalMessage, ...sampling } = parse(turnSchema, options, 'options', site)
    const mismatch = endMismatch(asked.at(-1), { continueFinalMessage })
    if (mismatch !== undefined) throw invalidArgument(site, ...mismatch, continueFinalMessage)
    const [messages, turns, first] = [[...this.#messages, ...asked], [...this.#turns], this.#first]
    const variables = { ...this.#conversation.templateOptions, ...templateOptions }
    const choice = choiceMismatch(this.#conversation.tools, sampling)
    if (choice !== undefined) throw invalidArgument(site, 'toolChoice', choice, sampling.toolChoice)
    const told = toldOf(this.#conversation, sampling.toolChoice)
    const common = { ...told, templateOptions: variables, continueFinalMessage }
    const without = (dropped: number): Conversation => ({
      ...common,
      messages: messages.toSpliced(first, sum(turns.slice(0, dropped))),
    })
    const droppable = this.#overflow === 'dropOldest' ? turns.length : 0
    const conversation = { ...common, messages }
    return { asked, turn: { conversation, sampling, site, cacheId: this.#cacheId, droppable, without } }
  }

  /**
   * A session of its own with the same history: both go on from here and share what is computed so far. Throws SESSION_BUSY
   * while an answer is being generated.
   */
  fork(): Session<C> {
    this.#assertIdle(new CallSite(this.fork))
    return new Session(this.#host, this.#state)
  }

  /**
   * Writes the conversation to a file, with as much as is still cached of what was computed for it: `engine.restoreSession()` goes
   * on from there, in any process that has loaded the same model. A file that exists is replaced when the new one is complete.
   * Throws SESSION_BUSY while an answer is being generated; rejects with IO_ERROR, ENGINE_CLOSED, ENGINE_FAILED.
   */
  save(path: string | URL): Promise<SavedSession> {
    const site = new CallSite(this.save)
    const checked = parse(pathSchema, path, 'path', site)
    this.#assertIdle(site)
    return this.#host.save(this.#state, checked, site)
  }

  /** Forgets the last turn. False when there is none. Throws SESSION_BUSY while an answer is being generated. */
  undo(): boolean {
    this.#assertIdle(new CallSite(this.undo))
    const messages = this.#turns.pop()
    if (messages === undefined) return false
    this.#messages.splice(-messages)
    return true
  }

  get #state(): SessionState {
    const [messages, turns, conversation] = [[...this.#messages], [...this.#turns], this.#conversation]
    return { messages, turns, conversation, overflow: this.#overflow, tenant: this.#tenant, cacheId: this.#cacheId }
  }

  /** Where the turns begin. */
  get #first(): number {
    return this.#messages.length - sum(this.#turns)
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

const sum = (numbers: number[]): number => numbers.reduce((total, number) => total + number, 0)

/** An answer that was begun by the caller: the ids are those of what came after it. */
function continued(
  begun: CheckedMessage,
  { text, reasoning }: GenerationResult,
  ids: Int32Array = new Int32Array(0),
): VerbatimMessage {
  const { tokens: _, content, ...others } = begun
  const thought = reasoning && { reasoning_content: `${others.reasoning_content ?? ''}${reasoning}` }
  const rest = { ...others, role: begun.role, ...thought, tokens: ids }
  if (!Array.isArray(content)) return { ...rest, content: `${content ?? ''}${text}` }
  const last = content.at(-1)!
  return { ...rest, content: [...content.slice(0, -1), { ...last, text: last.text + text }] }
}
