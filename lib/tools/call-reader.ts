/**
 * The calls of an answer as its caller gets them: pieces while they come, and each call when it is complete, checked. What comes in are the
 * characters of calls alone, as call-splitter.ts told them from text. Nothing throws: what is wrong with a call is said in it.
 */
import { createHash } from 'node:crypto'
import { type CallSpec, withNames } from './call-format.ts'
import { CallSplitter, type CallState } from './call-splitter.ts'
import type { AnyCall, ToolCallDelta } from './tool-call.ts'
import type { Toolbox } from './toolbox.ts'

export class CallReader {
  readonly calls: AnyCall[] = []
  readonly #toolbox: Toolbox
  readonly #spec: CallSpec
  readonly #splitter: CallSplitter
  readonly #idOf: (index: number) => string
  #deltas: ToolCallDelta[] = []
  /** Of the call that is being read. */
  #argumentsText = ''

  constructor(spec: CallSpec, toolbox: Toolbox, idOf: (index: number) => string) {
    this.#spec = spec
    this.#toolbox = toolbox
    this.#idOf = idOf
    const sink = {
      delta: (name: string, text: string) => this.#delta(name, text),
      end: (name: string | undefined, raw: string, state: CallState) => this.#end(name, raw, state),
    }
    const isText = (name: string, key: string) => toolbox.isText(name, key)
    this.#splitter = new CallSplitter(spec, () => {}, sink, isText)
  }

  push(text: string): ToolCallDelta[] {
    this.#splitter.push(text)
    return this.#take()
  }

  /** The answer ended. */
  end(): ToolCallDelta[] {
    this.#splitter.end()
    return this.#take()
  }

  #take(): ToolCallDelta[] {
    const deltas = this.#deltas
    this.#deltas = []
    return deltas
  }

  #delta(name: string, argumentsDelta: string): void {
    this.#argumentsText += argumentsDelta
    const index = this.calls.length
    const last = this.#deltas.at(-1)
    if (last?.index === index) last.argumentsDelta += argumentsDelta
    else this.#deltas.push({ index, id: this.#idOf(index), name, argumentsDelta })
  }

  #end(name: string | undefined, raw: string, state: CallState): void {
    const index = this.calls.length
    if (this.#deltas.at(-1)?.index !== index)
      this.#deltas.push({ index, id: this.#idOf(index), name: name ?? '', argumentsDelta: '' })
    const call = this.#call(name, raw, state)
    this.#deltas.at(-1)!.call = call
    this.calls.push(call)
    this.#argumentsText = ''
  }

  #call(name: string | undefined, raw: string, state: CallState): AnyCall {
    const argumentsText = withNames(this.#argumentsText, this.#spec.control)
    const about = { id: this.#idOf(this.calls.length), name: name ?? '', argumentsText }
    const text = withNames(raw, this.#spec.control)
    if (state === 'unfinished')
      return { ...about, invalid: true, reason: state, message: 'The answer ended within the call.', text }
    if (state === 'broken' || name === undefined)
      return { ...about, invalid: true, reason: 'malformed', message: "It is no call in the model's format.", text }
    const check = this.#toolbox.check(name, argumentsText)
    if ('value' in check) return { ...about, name, arguments: check.value }
    return { ...about, invalid: true, ...check, text }
  }
}

/**
 * Ids of calls: nine letters and digits, which is what Mistral's templates ask for. They depend on the request alone, so that it has
 * the same ones whenever it is made.
 */
export function callId(seed: number, promptTokens: number, index: number): string {
  const digest = createHash('sha256').update(`${seed} ${promptTokens} ${index}`).digest()
  return Array.from(digest.subarray(0, 9), (byte) => letters[byte % letters.length]).join('')
}

const letters = '0123456789abcdefghijklmnopqrstuvwxyz'
