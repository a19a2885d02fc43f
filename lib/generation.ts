/**
 * One running request as its caller sees it: an async iterable of parts, and a promise of the result. Both may be used, either,
 * or none. A reader who reads slower than the model writes pauses this generation (not the engine): part-queue.ts. Without an iterator
 * the generation runs to its end.
 */

import { type DeepPartial, PartialReader, partialOf } from './answers/partial-json.ts'
import type { CallSite } from './base/call-site.ts'
import { type ErrorData, toErrorData } from './base/errors.ts'
import type { AnswerEnd, RequestTrace, Usage } from './diagnostics.ts'
import { tokenRole } from './host/output/token-text.ts'
import type { RequestEnd, StepPart, StopMatch, Timings, TokenLogprob } from './host/wire/protocol.ts'
import type { ChatMessage } from './messages.ts'
import { PartQueue, type Take } from './part-queue.ts'
import { abortReason, onAbort } from './signals.ts'
import type { CallReader } from './tools/call-reader.ts'
import type { AnyCall, ToolCallDelta } from './tools/tool-call.ts'

/**
 * What a step brought this generation: a token, as a rule. Of a small model, whose steps take a few milliseconds, it is what up to 16
 * of them brought in 16 ms. Tokens come with the text they spell: those of an unfinished character, or of what may be a stop text or a
 * marker of reasoning, come with a later part or, when that is what they were, never.
 */
export interface GenerationPart<C = AnyCall, P = unknown> {
  /** The texts joined equal the result's text. */
  text: string
  /** Those that spell `text`. */
  tokens: number[]
  /** Comes before the text, as a rule; absent: none in this part. */
  reasoning?: string
  reasoningTokens?: number[]
  /** One entry a token, when asked for. */
  logprobs?: TokenLogprob[]
  /**
   * With a schema: the value as far as it is written, this part's text included, as JSON has it. Strings may be cut. Nothing changes it
   * later, and what is complete in it is the same object in all later parts.
   */
  partial?: P
  /** A piece of a call of a tool; the part has nothing else. */
  toolCall?: ToolCallDelta<C>
  /** What a tool gave that was run; the part has nothing else. */
  toolResult?: ToolResult
}

/** What the model is told of a call that was run. */
export interface ToolResult {
  /** Of the call. */
  id: string
  name: string
  content: string
  /** It failed, or could not be run. */
  isError: boolean
}

export interface GenerationResult<T = unknown, C = AnyCall, P = DeepPartial<T>> {
  text: string
  /**
   * The ids that spell the text: detokenised they give it (behind white space where reasoning came before). Where a stop text begins
   * within a token, that token is not among them, and the text has some characters more; neither is the token that ended the answer.
   * A character that the end cut apart is U+FFFD in the text, and its ids are here.
   */
  tokens: number[]
  /** What the model thought before its answer, without markers and white space around it; absent when there was none. */
  reasoning?: string
  /** The ids that spell the reasoning and white space around it; one that spells a piece of a marker, too, is not among them. */
  reasoningTokens?: number[]
  /** The tools that the model called, in their order; absent when it called none. */
  toolCalls?: C[]
  /**
   * With tools: what this generation adds to its conversation, the last answer included: messages with calls, their results, an answer.
   * `usage` counts all of its rounds; everything else is of the last one.
   */
  messages?: ChatMessage[]
  /** 'toolCalls': the answer ended with calls, and nobody ran them. */
  finishReason: AnswerEnd
  /** With finishReason 'stop': which of the stop texts, stop tokens, or end tokens of the model it was. */
  stop?: StopMatch
  usage: Usage
  timings: Timings
  /** The seed that was used: given again, it draws the same tokens. */
  seed: number
  /** One entry for each of `tokens`. */
  logprobs?: TokenLogprob[]
  /** With a schema: the answer as a value. Only a complete answer has one, which the model ended itself. */
  object?: T
  /** With a schema and no `object`: the value as far as it was written; absent when none had begun. */
  partial?: P
}

/**
 * A running generation. T: what its schema describes; C: the calls that its answer may have; P: what it describes while it is written,
 * before a zod type's defaults and transforms.
 */
export interface Generation<T = unknown, C = AnyCall, P = DeepPartial<T>> extends AsyncIterable<GenerationPart<C, P>> {
  /**
   * Resolves at the end, also after `cancel()` or leaving the loop (finishReason 'cancelled'); rejects with `signal.reason` when
   * the signal aborts, with an OctavoError when something fails. Never an unhandled rejection, even if nobody looks at it.
   * A reader that began to iterate and neither reads on nor leaves the loop holds its generation, and so this promise, up.
   */
  readonly result: Promise<GenerationResult<T, C, P>>
  /**
   * Instead of a loop: calls `take` with every part as it comes, without a promise for each, which counts where many are read at once. A
   * promise that it gives is waited for before the next part, as in a loop. Resolves with the result; where `take` throws, the
   * generation is cancelled, and this rejects with what it threw.
   */
  read(take: (part: GenerationPart<C, P>) => void | Promise<void>): Promise<GenerationResult<T, C, P>>
  /** What came so far; readable at any time. */
  readonly partial: { text: string; tokens: number[]; reasoning?: string }
  /** Ends the generation with what it has. */
  cancel(): void
}

/** What a stream may tell the host about its request. */
export interface StreamControl {
  cancel(): void
  pause(): void
  resume(): void
}

/** The receiving end of one request. */
export interface Stream {
  part(part: StepPart): void
  /** The host failed or was closed. */
  fail(error: ErrorData): void
}

export interface GenerationSetup {
  site: CallSite
  seed: number
  askedAtMs: number
  now: () => number
  signal?: AbortSignal | undefined
  trace?: RequestTrace | undefined
  /** Where parts go that are read with those of other generations; whoever gives it ends it. */
  queue?: PartQueue<GenerationPart> | undefined
  /** Of an answer with a schema: the value that a complete one is; throws when it is refused after all. */
  read?: ((text: string) => { object: unknown } | undefined) | undefined
  /**
   * Called once, before the result settles; the result is undefined when it failed. `ids`: the output as far as it was given out, the
   * reasoning and its markers included.
   */
  onEnd?: (result: GenerationResult | undefined, ids: readonly number[]) => void
}

export class RunningGeneration implements Generation, Stream {
  readonly result: Promise<GenerationResult>
  readonly #setup: GenerationSetup
  readonly #tokens: number[] = []
  readonly #logprobs: TokenLogprob[] = []
  #text = ''
  #reasoning = ''
  readonly #reasoningTokens: number[] = []
  readonly #ids: number[] = []
  readonly #queue: PartQueue<GenerationPart>
  /** What readers of parts have read of an answer with a schema. */
  readonly #read: ((part: GenerationPart) => void) | undefined
  #calls: CallReader | undefined
  #control: StreamControl | undefined
  #promptTokens = 0
  #cancelled = false
  #ended = false
  #settle!: { resolve: (result: GenerationResult) => void; reject: (error: unknown) => void }
  #ignoreSignal: (() => void) | undefined

  constructor(setup: GenerationSetup) {
    this.#setup = setup
    this.#queue = setup.queue ?? new PartQueue()
    if (setup.read !== undefined) this.#read = withPartial(new PartialReader())
    this.result = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject }
    })
    this.result.catch(() => {})
    if (setup.signal?.aborted) this.#abort()
    else if (setup.signal) this.#ignoreSignal = onAbort(setup.signal, () => this.#abort())
  }

  get partial(): { text: string; tokens: number[]; reasoning?: string } {
    const reasoning = this.#reasoning === '' ? undefined : { reasoning: this.#reasoning }
    return { text: this.#text, tokens: [...this.#tokens], ...reasoning }
  }

  get ended(): boolean {
    return this.#ended
  }

  /** The request was posted. */
  attach(control: StreamControl, promptTokens: number, calls?: CallReader): void {
    this.#control = control
    this.#promptTokens = promptTokens
    this.#calls = calls
    this.#queue.attach(control)
  }

  cancel(): void {
    if (this.#ended || this.#cancelled) return
    this.#cancelled = true
    if (this.#control === undefined) this.#finishUnposted()
    else this.#control.cancel()
  }

  #finishUnposted(): void {
    const waitedMs = this.#setup.now() - this.#setup.askedAtMs
    this.#finish({
      reason: 'cancelled',
      ...{ cachedTokens: 0, generatedTokens: 0 },
      timings: {
        ...{ queueMs: waitedMs, prefillMs: 0, firstTokenMs: 0, totalMs: waitedMs },
        ...{ tokensPerSecond: 0, interTokenMs: { p50: 0, p99: 0 }, preemptions: 0 },
      },
    })
  }

  part(part: StepPart): void {
    if (this.#ended) return
    const { text, tokens, reasoning, calls, roles = [], end } = part
    if (tokens.length > 0) this.#setup.trace?.token()
    if (tokens.length > 0 || text !== '' || reasoning !== undefined) {
      for (const token of tokens) this.#ids.push(token)
      this.#take(partOf(part))
    }
    if (calls !== undefined && this.#calls !== undefined)
      this.#takeCalls(this.#calls.push(calls), roles.filter((role) => role === tokenRole.call).length)
    if (end === undefined && !this.#cancelled) this.#queue.pauseIfUnread()
    if (end === undefined) return
    if ('error' in end) this.fail(end.error)
    else this.#finish(end)
  }

  #take(part: GenerationPart): void {
    const { text, tokens, logprobs, reasoning = '', reasoningTokens } = part
    this.#text += text
    this.#reasoning += reasoning
    for (const token of tokens) this.#tokens.push(token)
    if (logprobs !== undefined) this.#logprobs.push(...logprobs)
    if (reasoningTokens !== undefined) this.#reasoningTokens.push(...reasoningTokens)
    // Markers alone are nothing to a reader.
    if (text !== '' || reasoning !== '' || tokensOf(part) > 0) this.#queue.deliver(part, tokensOf(part), this.#read)
  }

  /** `tokens`: how many spelled them. */
  #takeCalls(deltas: ToolCallDelta[], tokens: number): void {
    for (const [i, toolCall] of deltas.entries())
      this.#queue.deliver({ text: '', tokens: [], toolCall }, i === 0 ? tokens : 0)
  }

  fail(error: ErrorData): void {
    this.reject(this.#setup.site.error(error))
  }

  /** Ends it with an error that is passed on as it is. Parts that came before are still delivered. */
  reject(error: unknown): void {
    if (this.#ended) return
    this.#end(undefined)
    this.#setup.trace?.fail(error)
    this.#settle.reject(error)
    if (this.#setup.queue === undefined) this.#queue.fail(error)
  }

  read(take: Take<GenerationPart>): Promise<GenerationResult> {
    return takeAll(this, this.#queue, take)
  }

  [Symbol.asyncIterator](): AsyncIterator<GenerationPart, undefined> {
    return this.#queue.iterator(async () => {
      this.cancel()
      await this.result.catch(() => {})
    })
  }

  #abort(): void {
    if (this.#ended) return
    this.#queue.drop()
    this.reject(abortReason(this.#setup.signal!))
    this.#control?.cancel()
  }

  #finish(end: Exclude<RequestEnd, { error: ErrorData }>): void {
    const { reason, stop, cachedTokens, generatedTokens, timings } = end
    this.#takeCalls(this.#calls?.end() ?? [], 0)
    const calls = this.#calls?.calls ?? []
    // A stop text is the caller's: whatever came before it, he ended the answer.
    const called = calls.length > 0 && reason === 'stop' && stop?.text === undefined
    const result: GenerationResult = {
      text: this.#text,
      tokens: this.#tokens,
      ...(this.#reasoning !== '' && { reasoning: this.#reasoning, reasoningTokens: this.#reasoningTokens }),
      ...(calls.length > 0 && { toolCalls: calls }),
      finishReason: called ? 'toolCalls' : reason,
      ...(stop && { stop }),
      usage: { promptTokens: this.#promptTokens, cachedTokens, completionTokens: generatedTokens },
      timings,
      seed: this.#setup.seed,
    }
    if (this.#logprobs.length > 0) result.logprobs = this.#logprobs
    // An answer of the model's own ending; a stop of the caller's may have cut it anywhere.
    if (this.#setup.read !== undefined && stop?.token !== undefined && stop.text === undefined) {
      try {
        const found = this.#setup.read(this.#text)
        if (found !== undefined) result.object = found.object
      } catch (error) {
        this.fail(toErrorData(error))
        return
      }
    }
    const partial = this.#setup.read && !('object' in result) ? partialOf(this.#text) : undefined
    if (partial !== undefined) result.partial = partial
    this.#end(result)
    this.#setup.trace?.end(result.finishReason, result.usage, timings)
    this.#settle.resolve(result)
    if (this.#setup.queue === undefined) this.#queue.end()
  }

  #end(result: GenerationResult | undefined): void {
    this.#ended = true
    this.#ignoreSignal?.()
    this.#setup.onEnd?.(result, this.#ids)
  }
}

/** `Generation.read` of one whose parts are in `queue`. */
export async function takeAll(
  generation: Generation,
  queue: PartQueue<GenerationPart>,
  take: Take<GenerationPart>,
): Promise<GenerationResult> {
  try {
    await queue.giveTo(take)
  } catch (error) {
    generation.cancel()
    throw error
  }
  return generation.result
}

const tokensOf = ({ tokens, reasoningTokens }: GenerationPart): number => tokens.length + (reasoningTokens?.length ?? 0)

const withPartial = (reader: PartialReader) => (part: GenerationPart) => {
  const partial = reader.push(part.text)
  if (partial !== undefined) part.partial = partial
}

/** A part as a reader sees it: markers are nobody's, and log-probabilities are those of the answer. */
function partOf({ text, tokens, reasoning, roles, logprobs }: StepPart): GenerationPart {
  if (roles === undefined) return logprobs === undefined ? { text, tokens } : { text, tokens, logprobs }
  const ofRole = <T>(list: T[], role: number) => list.filter((_, i) => roles[i] === role)
  const thought = ofRole(tokens, tokenRole.reasoning)
  return {
    ...{ text, tokens: ofRole(tokens, tokenRole.answer) },
    ...((reasoning !== undefined || thought.length > 0) && { reasoning: reasoning ?? '', reasoningTokens: thought }),
    ...(logprobs && { logprobs: ofRole(logprobs, tokenRole.answer) }),
  }
}
