/**
 * An output's characters, one after the other, told apart: the answer, the reasoning between the model's markers, and neither, which
 * are the markers and the white space around them. White space at both ends of a stretch of reasoning and before the answer that
 * follows it belongs to the markers; everything else stays as the model wrote it.
 *
 * Control tokens among the markers have no text. Here each is one unit that no decoded text holds: a low surrogate without a high one.
 * So a marker is a text, whatever it is made of. One that begins with a control token counts wherever it is drawn; one of plain text
 * opens reasoning only before the answer has begun, since answers may speak of it.
 * Text that may be the beginning of a marker, or white space that may belong to one, is held back until it is clear what it is.
 */
import { type ReasoningSpec, type TokenRole, tokenRole } from './token-text.ts'

/** Takes the next characters. `joint`: what to put before them, since they begin another stretch of reasoning. */
type Emit = (role: TokenRole, text: string, joint: string) => void

const { answer, reasoning, neither } = tokenRole
const firstMark = 0xdc00
const anyMark = /\p{Surrogate}/u
const betweenStretches = '\n\n'

export class ReasoningSplitter {
  readonly #emit: Emit
  readonly #open: string
  readonly #opensAnywhere: boolean
  readonly #close: string[]
  /** Of these. */
  readonly #firstUnits: ReadonlySet<number>
  readonly #longest: number
  readonly #skip: string[]
  /** Control tokens and the units that stand for them. */
  readonly #marks: ReadonlyMap<number, string>
  #mode: 'before' | 'reasoning' | 'answer'
  #held = ''
  /** It may hold units that stand for control tokens. */
  #marked = false
  /** White space before the answer belongs to a marker. */
  #strips = false
  /** Something of the answer came. */
  #answered = false
  /** Nothing of this stretch of reasoning came yet; something of any. */
  #fresh = true
  #reasoned = false

  constructor({ open, close, skip, control, begun }: ReasoningSpec, emit: Emit) {
    this.#emit = emit
    const units = control.map(([name], i) => [name, String.fromCharCode(firstMark + i)] as const)
    const compile = (marker: string) => units.reduce((text, [name, unit]) => text.replaceAll(name, unit), marker)
    this.#open = compile(open)
    this.#opensAnywhere = anyMark.test(this.#open[0]!)
    this.#close = close.map(compile)
    this.#firstUnits = new Set(this.#close.map((marker) => marker.charCodeAt(0)))
    this.#longest = Math.max(...this.#close.map((marker) => marker.length))
    this.#skip = skip.map(compile)
    this.#marks = new Map(control.map(([, token], i) => [token, units[i]![1]]))
    this.#mode = begun ? 'reasoning' : 'before'
  }

  /** The unit that stands for a token. */
  mark(token: number): string | undefined {
    return this.#marks.get(token)
  }

  /** Whether the token, drawn now, would end reasoning (or begin to). */
  closes(token: number): boolean {
    const mark = this.#marks.get(token)
    return mark !== undefined && this.#mode === 'reasoning' && this.#close.some((close) => close.startsWith(mark))
  }

  /** `marked`: the text ends with the unit of a control token. */
  push(text: string, marked: boolean): void {
    this.#held += text
    this.#marked ||= marked
    while (this.#held !== '' && this.#advance());
    if (this.#held === '') this.#marked = false
  }

  /** The output ended: what is held is no marker. */
  end(): void {
    const mark = this.#held.search(anyMark)
    const text = mark < 0 ? this.#held : this.#held.slice(0, mark)
    if (this.#mode === 'reasoning') this.#give(reasoning, text.trimEnd().length)
    else if (mark < 0) {
      if (this.#strips && this.#mode === 'before') this.#give(neither, blanks(text))
      this.#give(answer, this.#held.length)
    }
    this.#give(neither, this.#held.length)
  }

  /** False: what is held has to wait for more. */
  #advance(): boolean {
    if (this.#mode === 'before') return this.#before()
    return this.#mode === 'reasoning' ? this.#reasoning() : this.#answer()
  }

  #before(): boolean {
    const blank = blanks(this.#held)
    const rest = this.#held.slice(blank)
    if (rest === '') {
      if (this.#strips) this.#give(neither, blank)
      return false
    }
    const marker = this.#marker(rest)
    if (marker === undefined) return false
    if (marker !== '') {
      this.#pass(blank, marker)
      this.#strips = true
      return true
    }
    this.#give(this.#strips ? neither : answer, blank)
    this.#mode = 'answer'
    return true
  }

  #answer(): boolean {
    const mark = this.#marked ? this.#held.search(anyMark) : -1
    if (mark !== 0) {
      this.#answered = true
      this.#give(answer, mark < 0 ? this.#held.length : mark)
      return true
    }
    const marker = this.#marker(this.#held)
    if (marker === undefined) return false
    this.#pass(0, marker === '' ? this.#held[0]! : marker)
    return true
  }

  #reasoning(): boolean {
    if (this.#fresh) this.#give(neither, blanks(this.#held))
    // Where the first of the closing markers is.
    let end = this.#held.length
    let marker = ''
    for (const close of this.#close) {
      const at = find(this.#held, close)
      if (at >= 0 && at < end) [end, marker] = [at, close]
    }
    const certain = marker === '' ? this.#certain() : end
    const text = this.#held.slice(0, certain).trimEnd().length
    this.#give(reasoning, text)
    if (marker === '') return false
    this.#give(neither, end - text + marker.length)
    this.#mode = 'before'
    this.#strips = true
    return true
  }

  /** The marker at the beginning of a text; empty: none; undefined: that is not clear yet. */
  #marker(text: string): string | undefined {
    const markers = this.#opensAnywhere || !this.#answered ? [this.#open, ...this.#skip] : this.#skip
    const found = markers.find((marker) => text.startsWith(marker))
    if (found !== undefined) return found
    return markers.some((marker) => marker.startsWith(text)) ? undefined : ''
  }

  #pass(blank: number, marker: string): void {
    this.#give(neither, blank + marker.length)
    if (marker !== this.#open) return
    this.#mode = 'reasoning'
    this.#fresh = true
  }

  /** Where the longest possible beginning of a closing marker starts. */
  #certain(): number {
    for (let at = Math.max(0, this.#held.length - this.#longest + 1); at < this.#held.length; at++) {
      if (!this.#firstUnits.has(this.#held.charCodeAt(at))) continue
      const tail = this.#held.slice(at)
      if (this.#close.some((close) => close.startsWith(tail)) && !cutsPair(this.#held, at)) return at
    }
    return this.#held.length
  }

  /** Units that stand for control tokens are nobody's text. */
  #give(role: TokenRole, length: number): void {
    if (length === 0) return
    let text = this.#held.slice(0, length)
    this.#held = this.#held.slice(length)
    if (role !== neither && this.#marked) {
      for (let at = text.search(anyMark); at >= 0; at = text.search(anyMark)) {
        if (at > 0) this.#say(role, text.slice(0, at))
        this.#say(neither, text[at]!)
        text = text.slice(at + 1)
      }
    }
    if (text !== '') this.#say(role, text)
  }

  #say(role: TokenRole, text: string): void {
    const joins = role === reasoning && this.#fresh && this.#reasoned
    if (role === reasoning) [this.#fresh, this.#reasoned] = [false, true]
    this.#emit(role, text, joins ? betweenStretches : '')
  }
}

const blanks = (text: string): number => text.length - text.trimStart().length

/** The first place of a marker in a text. */
function find(text: string, marker: string): number {
  let at = text.indexOf(marker)
  while (at >= 0 && cutsPair(text, at)) at = text.indexOf(marker, at + 1)
  return at
}

/** Whether a place is within a character of two units. */
function cutsPair(text: string, at: number): boolean {
  return at > 0 && (text.charCodeAt(at - 1) & 0xfc00) === 0xd800 && (text.charCodeAt(at) & 0xfc00) === 0xdc00
}
