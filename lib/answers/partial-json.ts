/**
 * A value while it is written: what the JSON so far says of it. Strings may be cut; numbers, words and names are there when they are
 * complete. Each value that was given out stays as it is: what is still open is copied before it grows, what is complete is the same
 * object in all later ones. So a text costs its length, and a value the width of what is open in it.
 */

/**
 * A value of which some is not there yet: properties and elements may be missing, and texts may be cut, so that one of an enum may be
 * the beginning of another.
 */
export type DeepPartial<T> = unknown extends T
  ? unknown
  : T extends string
    ? string
    : T extends number | bigint | boolean | null | undefined
      ? T
      : T extends readonly (infer E)[]
        ? DeepPartial<E>[]
        : { [K in keyof T]?: DeepPartial<T[K]> }

type Container = unknown[] | Record<string, unknown>

interface Frame {
  value: Container
  /** Where the value goes that comes next. */
  at: string | number
  /** Nobody has seen it as it is now. */
  isOwn: boolean
}

/** What the next character may be part of. */
type Mode = 'value' | 'name' | 'colon' | 'after' | 'text' | 'escape' | 'word' | 'done' | 'lost'

const words: Record<string, unknown> = { true: true, false: false, null: null }
const escapes: Record<string, string> = { b: '\b', f: '\f', n: '\n', r: '\r', t: '\t', '"': '"', '\\': '\\', '/': '/' }
const space = /[ \t\r\n]/

export class PartialReader {
  #root: unknown
  readonly #open: Frame[] = []
  #mode: Mode = 'value'
  /** Of the string, escape or word that is being read. */
  #text = ''
  #escape = ''
  #isName = false

  /** The value so far; undefined: none has begun. Text that is no JSON adds nothing. */
  push(text: string): unknown {
    for (let i = 0; i < text.length && this.#mode !== 'lost'; ) i = this.#step(text, i)
    if (!this.#isName && (this.#mode === 'text' || this.#mode === 'escape')) this.#put(whole(this.#text))
    for (const frame of this.#open) frame.isOwn = false
    return this.#root
  }

  /** Takes what begins at i; the place behind it. */
  #step(text: string, i: number): number {
    const c = text[i]!
    if (this.#mode === 'text') return this.#characters(text, i)
    if (this.#mode === 'escape') this.#escaped(c)
    else if (this.#mode === 'word' && /[\w.+-]/.test(c)) this.#word(c)
    else {
      if (this.#mode === 'word') this.#number()
      if (!space.test(c)) this.#token(c)
    }
    return i + 1
  }

  #token(c: string): void {
    const top = this.#open.at(-1)
    const closes = top !== undefined && c === (Array.isArray(top.value) ? ']' : '}')
    if (this.#mode === 'value' && c === '{') this.#begin({}, '', 'name')
    else if (this.#mode === 'value' && c === '[') this.#begin([], 0, 'value')
    else if (c === '"' && (this.#mode === 'value' || this.#mode === 'name')) {
      this.#isName = this.#mode === 'name'
      this.#text = ''
      this.#mode = 'text'
    } else if (closes && this.#mode !== 'colon') {
      this.#open.pop()
      this.#ended()
    } else if (this.#mode === 'value') {
      this.#text = ''
      this.#mode = 'word'
      this.#word(c)
    } else if (this.#mode === 'colon' && c === ':') this.#mode = 'value'
    else if (this.#mode === 'after' && c === ',') this.#mode = Array.isArray(top!.value) ? 'value' : 'name'
    else this.#mode = 'lost'
  }

  #begin(value: Container, at: string | number, mode: Mode): void {
    this.#put(value)
    this.#open.push({ value, at, isOwn: true })
    this.#mode = mode
  }

  #characters(text: string, from: number): number {
    let i = from
    while (i < text.length && text[i] !== '"' && text[i] !== '\\') i++
    this.#text += text.slice(from, i)
    if (i === text.length) return i
    if (text[i] === '\\') {
      this.#escape = ''
      this.#mode = 'escape'
    } else if (this.#isName) {
      this.#open.at(-1)!.at = this.#text
      this.#isName = false
      this.#mode = 'colon'
    } else this.#complete(this.#text)
    return i + 1
  }

  #escaped(c: string): void {
    this.#escape += c
    if (this.#escape[0] !== 'u') this.#text += escapes[c] ?? ''
    else if (this.#escape.length < 5) return
    else this.#text += String.fromCharCode(Number.parseInt(this.#escape.slice(1), 16))
    this.#mode = 'text'
  }

  #word(c: string): void {
    this.#text += c
    if (Object.hasOwn(words, this.#text)) this.#complete(words[this.#text])
  }

  /** One is complete where something else comes. */
  #number(): void {
    const value = Number(this.#text)
    if (Number.isNaN(value)) this.#mode = 'lost'
    else this.#complete(value)
  }

  #complete(value: unknown): void {
    this.#put(value)
    this.#ended()
  }

  /** A value is there. */
  #ended(): void {
    const top = this.#open.at(-1)
    this.#mode = top === undefined ? 'done' : 'after'
    if (typeof top?.at === 'number') top.at++
  }

  /** At its place, in containers that nobody has seen. */
  #put(value: unknown): void {
    let made = value
    for (let i = this.#open.length; i-- > 0; ) {
      const frame = this.#open[i]!
      const wasOwn = frame.isOwn
      if (!wasOwn) frame.value = Array.isArray(frame.value) ? frame.value.slice() : { ...frame.value }
      frame.isOwn = true
      // A plain assignment would be the prototype's.
      if (frame.at === '__proto__')
        Object.defineProperty(frame.value, frame.at, {
          value: made,
          configurable: true,
          enumerable: true,
          writable: true,
        })
      else (frame.value as Record<string | number, unknown>)[frame.at] = made
      if (wasOwn) return
      made = frame.value
    }
    this.#root = made
  }
}

/** Without the first half of a character. */
const whole = (text: string): string => (/[\ud800-\udbff]$/.test(text) ? text.slice(0, -1) : text)

/** The same of a text at once. */
export const partialOf = (text: string): unknown => new PartialReader().push(text)
