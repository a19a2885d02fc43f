/**
 * A call as Qwen3-Coder writes it:
 *
 *      <function=name> <parameter=key> value </parameter> ... </function>
 *
 * each on a line of its own. A value is text without quotes: what it is, the tool's schema says. As JSON it is given when it is
 * complete. A text that holds `</parameter>` cannot be told from its end: that is so in this format.
 */
import { type CallBody, isUnit } from './json-call.ts'

/** Whether a parameter of a tool is a text. */
export type IsText = (tool: string, key: string) => boolean

const marks = { function: '<function=', parameter: '<parameter=', value: '</parameter>', end: '</function>' }

export class XmlCall implements CallBody {
  state: CallBody['state'] = 'open'
  name: string | undefined
  raw = ''
  readonly #isText: IsText
  /** What was not understood yet, and what before it holds no mark. */
  #rest = ''
  #settled = ''
  #phase: 'function' | 'name' | 'parameters' | 'key' | 'value' = 'function'
  #key = ''
  #count = 0
  #delta = ''
  #before = 0

  constructor(isText: IsText) {
    this.#isText = isText
  }

  push(text: string, from: number): number {
    let to = from
    while (to < text.length && !isUnit(text.charCodeAt(to), this.#before)) this.#before = text.charCodeAt(to++)
    const had = this.raw.length
    this.raw += text.slice(from, to)
    this.#rest += text.slice(from, to)
    while (this.state === 'open' && this.#advance());
    if (this.state === 'open' && to < text.length) this.state = 'broken'
    else if (this.state !== 'open') to -= this.#rest.length
    // What broke it is in the piece that came, or it would have broken it before.
    to = Math.max(to, from)
    this.raw = this.raw.slice(0, had + to - from)
    return to
  }

  take(): string {
    const delta = this.#delta
    this.#delta = ''
    return delta
  }

  /** False: more is needed. */
  #advance(): boolean {
    if (this.#phase === 'name' || this.#phase === 'key') {
      const name = this.#until('>')
      if (name === undefined) return false
      if (this.#phase === 'name') this.name = name.trim()
      else this.#key = name.trim()
      this.#phase = this.#phase === 'name' ? 'parameters' : 'value'
      return true
    }
    if (this.#phase === 'value') {
      const value = this.#until(marks.value)
      if (value === undefined) return false
      this.#give(value.replace(/^\n/, '').replace(/\n$/, ''))
      this.#phase = 'parameters'
      return true
    }
    this.#rest = this.#rest.trimStart()
    const wanted = this.#phase === 'function' ? [marks.function] : [marks.parameter, marks.end]
    const found = wanted.find((mark) => this.#rest.startsWith(mark))
    if (found === undefined) {
      if (!wanted.some((mark) => mark.startsWith(this.#rest))) this.state = 'broken'
      return false
    }
    this.#rest = this.#rest.slice(found.length)
    if (found === marks.end) {
      this.#delta += this.#count === 0 ? '{}' : '}'
      this.state = 'done'
    } else this.#phase = found === marks.function ? 'name' : 'key'
    return true
  }

  #until(mark: string): string | undefined {
    const at = this.#rest.indexOf(mark)
    const certain = at < 0 ? Math.max(0, this.#rest.length - mark.length + 1) : at
    this.#settled += this.#rest.slice(0, certain)
    this.#rest = this.#rest.slice(at < 0 ? certain : at + mark.length)
    if (at < 0) return undefined
    const before = this.#settled
    this.#settled = ''
    return before
  }

  #give(value: string): void {
    const key = JSON.stringify(this.#key)
    this.#delta += `${this.#count++ === 0 ? '{' : ', '}${key}: ${this.#isText(this.name!, this.#key) ? JSON.stringify(value) : jsonOf(value)}`
  }
}

/** Templates print true, false and none as Python does. */
const python: Record<string, string> = { True: 'true', False: 'false', None: 'null' }

function jsonOf(value: string): string {
  if (Object.hasOwn(python, value)) return python[value]!
  try {
    return JSON.stringify(JSON.parse(value))
  } catch {
    return JSON.stringify(value)
  }
}
