/**
 * A call as a name and its arguments, JSON, with marks between the two: `name[ARGS]{...}`, `functions.name <|constrain|>json<|message|>{...}`,
 * `name<｜tool▁sep｜>{...}`. What stands between a name and the first brace is not looked at: families and versions differ in it.
 */
import { type CallBody, isUnit, JsonCall } from './json-call.ts'

/** Characters of a name, and between name and arguments, at most. */
const most = 256

export class NamedCall implements CallBody {
  raw = ''
  name: string | undefined
  readonly #prefix: string
  readonly #arguments = new JsonCall()
  #phase: 'name' | 'between' | 'arguments'
  #broken = false
  #begun = ''
  #between = 0
  #delta = ''
  #before = 0

  /** `prefix` is no part of names. With `name` the arguments come next. */
  constructor(prefix: string, name?: string) {
    this.#prefix = prefix
    this.name = name
    this.#phase = name === undefined ? 'name' : 'between'
  }

  get state(): CallBody['state'] {
    return this.#broken ? 'broken' : this.#arguments.state
  }

  push(text: string, from: number): number {
    let at = from
    while (at < text.length && this.state === 'open') {
      if (this.#phase === 'arguments') {
        const end = this.#arguments.push(text, at)
        this.#delta += text.slice(at, end)
        at = end
      } else if (this.#phase === 'name') this.#name(text[at]!) && at++
      else this.#skip(text[at]!) && at++
    }
    this.raw += text.slice(from, at)
    return at
  }

  take(): string {
    const delta = this.#delta
    this.#delta = ''
    return delta
  }

  /** False: the character is looked at again, as what comes after the name. */
  #name(character: string): boolean {
    const ends = /[\s{[<]/.test(character) || isUnit(character.charCodeAt(0), this.#before)
    this.#before = character.charCodeAt(0)
    const isPrefix = this.#prefix.startsWith(this.#begun + character)
    if (!ends || isPrefix) {
      this.#begun += character
      if (this.#begun === this.#prefix) this.#begun = ''
      if (this.#begun.length > most) this.#broken = true
      return true
    }
    if (this.#begun === '' && /\s/.test(character)) return true
    if (this.#begun === '') this.#broken = true
    this.name = this.#begun
    this.#phase = 'between'
    return false
  }

  #skip(character: string): boolean {
    if (character === '{') {
      this.#phase = 'arguments'
      return false
    }
    if (++this.#between > most) this.#broken = true
    return true
  }
}
