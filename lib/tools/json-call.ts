/**
 * A call as a JSON object, read as it comes: `{"name": ..., "arguments": {...}}`, the arguments also as `parameters` or as JSON in a
 * text, both also within `"function": {...}`, in any order and beside other keys. It finds the object's end, however it is cut into
 * pieces, and gives the arguments' text as far as it is there. Only its brackets and texts are followed: whether it is JSON is seen
 * at the end. What no JSON can hold (a line break in a text, a control token) breaks it at once.
 */

/** A call that is being read. */
export interface CallBody {
  readonly state: 'open' | 'done' | 'broken'
  /** Known once it is complete. */
  readonly name: string | undefined
  /** The text as the model wrote it, so far. */
  readonly raw: string
  /** Takes from a text what belongs to it; gives where that ends. While it is open, what is left comes again with more behind it. */
  push(text: string, from: number): number
  /** What came of the arguments' text since the last call. */
  take(): string
}

const deepest = 512

export class JsonCall implements CallBody {
  state: CallBody['state'] = 'open'
  name: string | undefined
  raw = ''
  /** Keys that it has, of those outside arguments. */
  readonly keys: string[] = []
  #depth = 0
  /** Of the object that has the name. */
  #base = 1
  #inText = false
  #escaped = false
  #textFrom = 0
  #expectsKey = true
  #key: string | undefined
  /** A value of that object began; -1: none. */
  #valueFrom = -1
  #expectsValue = false
  #argumentsFrom = -1
  #argumentsTo = -1
  /** The arguments are an object: any other value is given when it is complete. */
  #isObject = false
  #delta = ''
  #before = 0

  push(text: string, from: number): number {
    const start = this.raw.length - from
    this.raw += from === 0 ? text : text.slice(from)
    let end = text.length
    for (let i = from; i < text.length; i++) {
      const code = text.charCodeAt(i)
      if (isUnit(code, this.#before)) this.state = 'broken'
      else if (this.#inText) this.#text(code, i + start)
      else this.#outside(code, i + start)
      this.#before = code
      if (this.state === 'open') continue
      end = this.state === 'done' ? i + 1 : i
      this.raw = this.raw.slice(0, end + start)
      break
    }
    if (this.#isObject) {
      const to = this.#argumentsTo < 0 ? end : Math.min(end, this.#argumentsTo - start)
      this.#delta += text.slice(Math.max(from, this.#argumentsFrom - start), Math.max(from, to))
    }
    return end
  }

  take(): string {
    const delta = this.#delta
    this.#delta = ''
    return delta
  }

  #text(code: number, at: number): void {
    if (this.#escaped) this.#escaped = false
    else if (code === 0x5c) this.#escaped = true
    else if (code < 0x20) this.state = 'broken'
    else if (code === 0x22) {
      this.#inText = false
      if (this.#depth === this.#base && this.#expectsKey) this.#key = textOf(this.raw.slice(this.#textFrom, at + 1))
    }
  }

  #outside(code: number, at: number): void {
    if (code === 0x20 || (code >= 0x09 && code <= 0x0d)) return
    const outer = this.#depth === this.#base
    if (outer && this.#expectsValue) this.#beginValue(code, at)
    if (code === 0x22) [this.#inText, this.#textFrom] = [true, at]
    else if (code === 0x7b || code === 0x5b) {
      if (++this.#depth > deepest) this.state = 'broken'
    } else if (code === 0x7d || code === 0x5d) this.#close(at)
    else if (outer && code === 0x2c) this.#endValue(at)
    else if (outer && code === 0x3a && this.#expectsKey) [this.#expectsKey, this.#expectsValue] = [false, true]
  }

  #beginValue(code: number, at: number): void {
    this.#expectsValue = false
    const key = this.#key ?? ''
    this.keys.push(key)
    if (key === 'function' && code === 0x7b) {
      this.#base++
      this.#expectsKey = true
      return
    }
    this.#valueFrom = at
    if (!isArguments(key) || this.#argumentsFrom >= 0) return
    this.#argumentsFrom = at
    this.#isObject = code === 0x7b
  }

  #close(at: number): void {
    if (this.#depth === this.#base) {
      this.#endValue(at)
      if (this.#base > 1) {
        this.#base--
        this.#expectsKey = false
      }
    }
    this.#depth--
    if (this.#depth <= 0) this.state = 'done'
    else if (this.#depth === this.#base && this.#isObject && this.#argumentsTo < 0) this.#argumentsTo = at + 1
  }

  #endValue(at: number): void {
    this.#expectsKey = true
    const from = this.#valueFrom
    this.#valueFrom = -1
    if (from < 0) return
    const value = this.raw.slice(from, at).trimEnd()
    if (this.#key === 'name') this.name ??= textOf(value)
    if (from === this.#argumentsFrom && !this.#isObject) this.#delta += textOf(value) ?? value
  }
}

export const isArguments = (key: string): boolean => key === 'arguments' || key === 'parameters'

/** A unit that stands for a control token: a low surrogate that no high one goes before. */
export const isUnit = (code: number, before: number): boolean =>
  (code & 0xfc00) === 0xdc00 && (before & 0xfc00) !== 0xd800

function textOf(json: string): string | undefined {
  try {
    const value: unknown = JSON.parse(json)
    return typeof value === 'string' ? value : undefined
  } catch {
    return undefined
  }
}
