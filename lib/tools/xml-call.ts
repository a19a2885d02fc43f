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

export const marks = { function: '<function=', parameter: '<parameter=', value: '</parameter>', end: '</function>' }
/** Characters of a name at most. */
const mostName = 256

/** Whether a name is read as it is written. */
export const isXmlName = (name: string): boolean =>
  name !== '' && name.length < mostName && name === name.trim() && !name.includes('>')

export class XmlCall implements CallBody {
  state: CallBody['state'] = 'open'
  name: string | undefined
  raw = ''
  readonly #isText: IsText
  #phase: 'function' | 'name' | 'parameters' | 'key' | 'value' = 'function'
  #key = ''
  /** Of a value: what holds no mark. */
  #value = ''
  #count = 0
  #delta = ''
  /** The last character that was understood. */
  #before = 0

  constructor(isText: IsText) {
    this.#isText = isText
  }

  /** Names and marks that are not complete are left to the next call, with more behind them. */
  push(text: string, from: number): number {
    let unit = from
    const before = (place: number) => (place > from ? text.charCodeAt(place - 1) : this.#before)
    while (unit < text.length && !isUnit(text.charCodeAt(unit), before(unit))) unit++
    let at = from
    for (let next = at; this.state === 'open'; at = next) {
      next = this.#advance(text.slice(at, unit)) + at
      if (next === at) break
    }
    if (this.state === 'open' && unit < text.length) {
      this.state = 'broken'
      at = unit
    }
    this.#before = before(at)
    this.raw += text.slice(from, at)
    return at
  }

  take(): string {
    const delta = this.#delta
    this.#delta = ''
    return delta
  }

  /** How many of the next characters are understood. */
  #advance(text: string): number {
    if (this.#phase === 'value') return this.#inValue(text)
    if (this.#phase === 'name' || this.#phase === 'key') return this.#inName(text)
    const blank = text.length - text.trimStart().length
    if (blank > 0) return blank
    const wanted = this.#phase === 'function' ? [marks.function] : [marks.parameter, marks.end]
    const found = wanted.find((mark) => text.startsWith(mark))
    if (found === undefined) {
      if (!wanted.some((mark) => mark.startsWith(text))) this.state = 'broken'
      return 0
    }
    if (found === marks.end) {
      this.#delta += this.#count === 0 ? '{}' : '}'
      this.state = 'done'
    } else this.#phase = found === marks.function ? 'name' : 'key'
    return found.length
  }

  #inName(text: string): number {
    const end = text.slice(0, mostName).indexOf('>')
    if (end < 0) {
      if (text.length >= mostName) this.state = 'broken'
      return 0
    }
    const name = text.slice(0, end).trim()
    if (this.#phase === 'name') this.name = name
    else this.#key = name
    this.#phase = this.#phase === 'name' ? 'parameters' : 'value'
    return end + 1
  }

  #inValue(text: string): number {
    const end = text.indexOf(marks.value)
    const certain = end < 0 ? Math.max(0, text.length - marks.value.length + 1) : end
    this.#value += text.slice(0, certain)
    if (end < 0) return certain
    this.#give(this.#value.replace(/^\n/, '').replace(/\n$/, ''))
    this.#value = ''
    this.#phase = 'parameters'
    return end + marks.value.length
  }

  #give(value: string): void {
    const json = this.#isText(this.name!, this.#key) ? JSON.stringify(value) : jsonOf(value)
    this.#delta += `${this.#count++ === 0 ? '{' : ', '}${JSON.stringify(this.#key)}: ${json}`
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
