/**
 * The text of one request's output and the tokens that spell it: the streaming detokeniser, then markers of reasoning, then stop
 * texts in the answer. Everything is given out at borders of tokens: a token with its text when all of that is certain, so that the
 * ids that somebody was given spell the text that he was given. A token that spells a piece of a stop text is never given out; where
 * the stop text begins within it, the text before that comes alone, at the end. A character that never became complete is U+FFFD, in
 * the text as in what a detokeniser makes of its tokens.
 *
 * Places count characters (UTF-16) of the output as it is decoded, markers included.
 */
import type { Detokenizer, DetokenizerOptions, TokenTable } from './detokenizer.ts'
import { ReasoningSplitter } from './reasoning-splitter.ts'
import { StopMatcher } from './stop-matcher.ts'
import { type Given, type ReasoningSpec, type TokenRole, type TokenText, tokenRole } from './token-text.ts'

export interface OutputOptions extends DetokenizerOptions {
  stop?: string[]
  /** Present: reasoning comes apart, and stop texts are looked for in the answer alone. */
  reasoning?: ReasoningSpec | undefined
}

/** Characters of one kind that wait for a possible stop text before them. */
interface Run {
  role: TokenRole
  text: string
  joint: string
}

const { answer, reasoning, neither } = tokenRole

export class OutputText implements TokenText {
  readonly #detokenizer: Detokenizer
  readonly #splitter: ReasoningSplitter | undefined
  readonly #matcher: StopMatcher | undefined
  #stop: string | undefined
  #decoded = 0
  /** Up to here it is certain what the characters are. */
  #settled = 0
  #runs: Run[] = []
  /** Characters of the answer in `#runs` that are certain. */
  #certain = 0
  /** Where the tokens end that were not given out yet, from `#first` on. */
  readonly #ends: number[] = []
  #first = 0
  /** Tokens at the end that await the rest of a character. */
  #sharing = 0
  /** Of the token that the settled characters end in: its certain text by role, and the roles as bits. */
  readonly #tail: [string, string] = ['', '']
  #tailRoles = 0
  /** Of the last settled character. */
  #role: TokenRole = answer
  #given: Given = { text: '', reasoning: '', tokens: 0 }

  constructor(table: TokenTable, { stop = [], reasoning: spec, ...options }: OutputOptions = {}) {
    this.#detokenizer = table.stream(options)
    if (stop.length > 0) this.#matcher = new StopMatcher(stop)
    if (spec === undefined) return
    this.#splitter = new ReasoningSplitter(spec, (role, text, joint) => this.#sort(role, text, joint))
    this.#role = spec.begun ? reasoning : answer
  }

  get stop(): string | undefined {
    return this.#stop
  }

  marks(token: number): boolean {
    return this.#splitter?.closes(token) ?? false
  }

  push(token: number): boolean {
    const mark = this.#splitter?.mark(token)
    const text = mark === undefined ? this.#detokenizer.push(token) : this.#detokenizer.end() + mark
    const { open } = this.#detokenizer
    if (this.#splitter === undefined && this.#matcher === undefined && !open && this.#ends.length === 0) {
      // Nothing is ever held back but characters.
      this.#given.text += text
      this.#given.tokens++
      return false
    }
    this.#decoded += text.length
    // Tokens that share a character end together; one that is still to come has one place at least.
    const end = this.#decoded + (open ? 1 : 0)
    this.#ends.push(end)
    for (let i = 1; i <= this.#sharing; i++) this.#ends[this.#ends.length - 1 - i] = end
    this.#sharing = open ? this.#sharing + 1 : 0
    this.#feed(text, mark !== undefined)
    return this.#stop !== undefined
  }

  flush(): boolean {
    const rest = this.#detokenizer.end()
    this.#decoded += rest.length
    this.#feed(rest, false)
    this.#splitter?.end()
    if (this.#stop === undefined) {
      this.#certain += this.#matcher?.end().length ?? 0
      this.#drain()
      this.#giveTail()
    }
    return this.#stop !== undefined
  }

  take(): Given {
    const given = this.#given
    this.#given = { text: '', reasoning: '', tokens: 0 }
    return given
  }

  #feed(text: string, marked: boolean): void {
    if (text === '') this.#settle(this.#role, '', '')
    else if (this.#splitter === undefined) this.#sort(answer, text, '')
    else this.#splitter.push(text, marked)
  }

  /** Looks for stop texts in the answer. */
  #sort(role: TokenRole, text: string, joint: string): void {
    if (this.#stop !== undefined) return
    if (role === answer && this.#matcher !== undefined) {
      const { text: certain, stop } = this.#matcher.push(text)
      this.#certain += certain.length
      this.#stop = stop
    } else if (role === answer) this.#certain += text.length
    if (this.#runs.length === 0 && (role !== answer || this.#certain === text.length)) {
      if (role === answer) this.#certain = 0
      this.#settle(role, text, joint)
      return
    }
    this.#runs.push({ role, text, joint })
    this.#drain()
    if (this.#stop === undefined) return
    this.#giveTail()
    this.#runs = []
    this.#ends.length = 0
  }

  /** Settles what is certain of the runs, in their order. */
  #drain(): void {
    for (let run = this.#runs[0]; run !== undefined; run = this.#runs[0]) {
      const { role, text, joint } = run
      const length = role === answer ? Math.min(text.length, this.#certain) : text.length
      if (role === answer) this.#certain -= length
      this.#settle(role, length === text.length ? text : text.slice(0, length), joint)
      if (length < text.length) {
        run.text = text.slice(length)
        return
      }
      this.#runs.shift()
    }
  }

  /** It is certain what the next characters are; the tokens that end in them are given out. */
  #settle(role: TokenRole, text: string, joint: string): void {
    if (text !== '') this.#role = role
    if (joint !== '') this.#tail[reasoning] += joint
    let at = 0
    for (; this.#first < this.#ends.length; this.#first++) {
      const end = this.#ends[this.#first]! - this.#settled
      if (end > text.length) break
      this.#addToTail(role, text.slice(at, end))
      at = end
      this.#giveToken()
    }
    this.#addToTail(role, text.slice(at))
    this.#settled += text.length
    if (this.#first < this.#ends.length) return
    this.#ends.length = 0
    this.#first = 0
  }

  #addToTail(role: TokenRole, text: string): void {
    if (text === '') return
    this.#tailRoles |= role === neither && text.trim() === '' ? blankBit : 1 << role
    if (role !== neither) this.#tail[role] += text
  }

  #giveToken(): void {
    const given = this.#given
    given.tokens++
    if (this.#splitter !== undefined) {
      given.roles ??= []
      given.roles.push(this.#tailRoles === 0 ? this.#role : rolesOfBits[this.#tailRoles]!)
    }
    this.#giveTail()
  }

  #giveTail(): void {
    this.#given.text += this.#tail[answer]
    this.#given.reasoning += this.#tail[reasoning]
    this.#tail[answer] = ''
    this.#tail[reasoning] = ''
    this.#tailRoles = 0
  }
}

/** White space around a marker. */
const blankBit = 1 << (neither + 1)

/** A token is of the answer, or of the reasoning, only as a whole; but white space that was stripped makes no difference. */
const rolesOfBits: readonly TokenRole[] = Array.from({ length: 2 * blankBit }, (_, bits) => {
  const roles = bits & ~blankBit
  return roles === 1 << answer ? answer : roles === 1 << reasoning ? reasoning : neither
})
