/**
 * A generation in rounds: an answer, the tools that it called, run side by side, and the next answer, until one calls no tool that can
 * be run. To its caller it is one generation. Each round is a request of its own, with the messages so far (and their ids, as in a
 * session) and the same seed; so the whole can be repeated.
 *
 * What goes wrong with a call is told to the model, as the call's result: it may do better in the next round.
 */
import {
  type Generation,
  type GenerationPart,
  type GenerationResult,
  type RunningGeneration,
  type ToolResult,
  takeAll,
} from './generation.ts'
import type { ChatMessage, VerbatimMessage } from './messages.ts'
import { withoutIds } from './messages.ts'
import { PartQueue, type Take } from './part-queue.ts'
import { abortReason, onAbort } from './signals.ts'
import type { AnyCall } from './tools/tool-call.ts'
import type { Toolbox } from './tools/toolbox.ts'

export interface LoopSetup {
  toolbox: Toolbox
  /** Answers at most. */
  maxRounds: number
  signal?: AbortSignal | undefined
  /** Starts a round, `added` being the messages of those before it. */
  start(added: readonly VerbatimMessage[], queue: PartQueue<GenerationPart>, onEnd: OnRoundEnd): RunningGeneration
  /** Called once, before the result settles; the result is undefined when it failed. */
  onEnd?: ((result: GenerationResult | undefined, added: readonly VerbatimMessage[]) => void) | undefined
}

export type OnRoundEnd = (result: GenerationResult | undefined, ids: readonly number[]) => void

export class ToolLoop implements Generation {
  readonly result: Promise<GenerationResult>
  readonly #setup: LoopSetup
  readonly #queue = new PartQueue<GenerationPart>()
  readonly #added: VerbatimMessage[] = []
  readonly #off = new AbortController()
  #round!: RunningGeneration
  #rounds = 0
  readonly #usage = { promptTokens: 0, cachedTokens: 0, completionTokens: 0 }
  #cancelled = false
  #ended = false
  #settle!: { resolve: (result: GenerationResult) => void; reject: (error: unknown) => void }
  #ignoreSignal: (() => void) | undefined

  constructor(setup: LoopSetup) {
    this.#setup = setup
    this.result = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject }
    })
    this.result.catch(() => {})
    const { signal } = setup
    if (signal !== undefined && !signal.aborted)
      this.#ignoreSignal = onAbort(signal, () => {
        this.#queue.drop()
        this.#fail(abortReason(signal))
      })
    this.#next()
  }

  get partial() {
    return this.#round.partial
  }

  cancel(): void {
    if (this.#ended || this.#cancelled) return
    this.#cancelled = true
    this.#round.cancel()
    this.#off.abort()
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

  #next(): void {
    this.#rounds++
    let ids: readonly number[] = []
    this.#round = this.#setup.start(this.#added, this.#queue, (_, given) => {
      ids = given
    })
    this.#round.result.then(
      (result) => this.#answered(result, ids).catch((error) => this.#fail(error)),
      (error) => this.#fail(error),
    )
  }

  async #answered(result: GenerationResult, ids: readonly number[]): Promise<void> {
    if (this.#ended) return
    for (const key of ['promptTokens', 'cachedTokens', 'completionTokens'] as const)
      this.#usage[key] += result.usage[key]
    this.#added.push(answerMessage(result, ids))
    const { toolbox, maxRounds } = this.#setup
    const calls = result.toolCalls ?? []
    const mayRun = result.finishReason === 'toolCalls' && toolbox.runs && this.#rounds < maxRounds
    if (!mayRun || this.#cancelled) return this.#finish(result)
    const left = calls.some((call) => !call.invalid && toolbox.tools.get(call.name)?.execute === undefined)
    const results = await Promise.all(calls.map((call) => this.#run(call)))
    if (this.#ended) return
    for (const one of results) if (one !== undefined) this.#added.push(resultMessage(one))
    if (this.#cancelled) this.#finish({ ...result, finishReason: 'cancelled' })
    else if (left) this.#finish(result)
    else this.#next()
  }

  /** Undefined: it is for the caller to run. */
  async #run(call: AnyCall): Promise<ToolResult | undefined> {
    const about = { id: call.id, name: call.name }
    const execute = this.#setup.toolbox.tools.get(call.name)?.execute
    if (!call.invalid && execute === undefined) return undefined
    const given = call.invalid
      ? { content: `Error: ${call.message}`, isError: true }
      : await this.#execute(() => execute!(call.arguments, { signal: this.#off.signal, toolCallId: call.id }))
    const result = { ...about, ...given }
    if (!this.#ended && !this.#cancelled) {
      this.#queue.deliver({ text: '', tokens: [], toolResult: result }, 0)
    }
    return result
  }

  /** What a function gives, as text. One that does not stop when it is told to is not waited for. */
  async #execute(run: () => unknown): Promise<{ content: string; isError: boolean }> {
    const { signal } = this.#off
    try {
      const value = await new Promise((resolve, reject) => {
        const ignore = onAbort(signal, () => reject(new Error('It was cancelled.')))
        // A function that throws rejects, too.
        void (async () => run())().then(resolve, reject).finally(ignore)
      })
      return { content: typeof value === 'string' ? value : (JSON.stringify(value) ?? ''), isError: false }
    } catch (error) {
      return { content: `Error: ${error instanceof Error ? error.message : String(error)}`, isError: true }
    }
  }

  #finish(result: GenerationResult): void {
    const messages = this.#added.map((message) => withoutIds(message) as ChatMessage)
    const whole = { ...result, messages, usage: { ...this.#usage } }
    this.#end(whole)
    this.#settle.resolve(whole)
    this.#queue.end()
  }

  #fail(error: unknown): void {
    if (this.#ended) return
    this.#end(undefined)
    this.#settle.reject(error)
    this.#queue.fail(error)
  }

  #end(result: GenerationResult | undefined): void {
    this.#ended = true
    this.#ignoreSignal?.()
    this.#off.abort()
    this.#setup.onEnd?.(result, this.#added)
  }
}

/**
 * An answer as a message of the history, with the ids that the model generated for it. A template finds the reasoning where it looks for
 * it, and keeps it or drops it. Of a call without a name or without arguments that are an object, templates could make nothing: it
 * stands there with another name, or without arguments.
 */
export function answerMessage(
  { text, reasoning, toolCalls = [] }: GenerationResult,
  ids: readonly number[],
): VerbatimMessage {
  const calls = toolCalls.map((call) => {
    const isObject = !call.invalid || call.reason === 'arguments' || call.reason === 'unknown'
    const args = isObject ? call.argumentsText || '{}' : '{}'
    return { id: call.id, type: 'function', function: { name: call.name || 'unknown', arguments: args } }
  })
  return {
    role: 'assistant',
    content: text,
    ...(reasoning !== undefined && { reasoning_content: reasoning }),
    ...(calls.length > 0 && { tool_calls: calls }),
    tokens: Int32Array.from(ids),
  }
}

const resultMessage = ({ id, name, content }: ToolResult): VerbatimMessage => ({
  role: 'tool',
  tool_call_id: id,
  name: name || 'unknown',
  content,
})
