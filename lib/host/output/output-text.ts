/**
 * The text of one request's output and the tokens that spell it: the streaming detokeniser, then markers of reasoning, then calls of
 * tools in the answer, then stop texts in the rest of it. Within a call nothing is a marker of reasoning. Everything is given out at borders of tokens: a token with its text when all of that is certain, so that the
 * ids that somebody was given spell the text that he was given. A token that spells a piece of a stop text is never given out; where
 * the stop text begins within it, the text before that comes alone, at the end. A character that never became complete is U+FFFD, in
 * the text as in what a detokeniser makes of its tokens.
 *
 * Places count characters (UTF-16) of the output as it is decoded, markers included.
 */
import { type CallSpec, unitOf } from '../../tools/call-format.ts'
import { type CallRole, CallSplitter } from '../../tools/call-splitter.ts'
import type { Detokenizer, DetokenizerOptions, TokenTable } from './detokenizer.ts'
import { ReasoningSplitter } from './reasoning-splitter.ts'
import { StopMatcher } from './stop-matcher.ts'
import { type Given, type ReasoningSpec, type TokenRole, type TokenText, tokenRole } from './token-text.ts'

export interface OutputOptions extends DetokenizerOptions {
  stop?: string[]
  /** Present: reasoning comes apart, and stop texts are looked for in the answer alone. */
  reasoning?: ReasoningSpec | undefined
  /** Present: calls come apart. Both have the same `control`. */
  calls?: CallSpec | undefined
}

/** Characters of one kind that wait for a possible stop text before them. */
interface Run {
  role: TokenRole
  text: string
  joint: string
}

const { answer, reasoning, neither, call } = tokenRole
const roleOf: Record<CallRole, TokenRole> = { text: answer, call, neither }

const nothingGiven = (): Given => ({ text: '', reasoning: '', calls: '', tokens: 0 })

export class OutputText implements TokenText {
  readonly #detokenizer: Detokenizer
  readonly #splitter: ReasoningSplitter | undefined
  readonly #calls: CallSplitter | undefined
  /** Units of control tokens that are marks of calls, where no splitter knows them. */
  readonly #units: ReadonlyMap<number, string>
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
  readonly #tail: [string, string, string, string] = ['', '', '', '']
  #tailRoles = 0
  /** Of the last settled character. */
  #role: TokenRole = answer
  #given: Given = nothingGiven()

  constructor(table: TokenTable, { stop = [], reasoning: spec, calls, ...options }: OutputOptions = {}) {
    this.#detokenizer = table.stream(options)
    if (stop.length > 0) this.#matcher = new StopMatcher(stop)
    this.#units = new Map(calls?.control.map(([, token], place) => [token, unitOf(place)]))
    if (calls !== undefined) this.#calls = new CallSplitter(calls, (role, text) => this.#sort(roleOf[role], text, ''))
    if (spec === undefined) return
    const emit = (role: TokenRole, text: string, joint: string) => this.#tellCalls(role, text, joint)
    this.#splitter = new ReasoningSplitter(spec, emit, calls !== undefined)
    this.#role = spec.begun ? reasoning : answer
  }

  /** Tokens have roles. */
  get #sorts(): boolean {
    return this.#splitter !== undefined || this.#calls !== undefined
  }

  get stop(): string | undefined {
    return this.#stop
  }

  marks(token: number): boolean {
    return this.#splitter?.closes(token) ?? false
  }

  push(token: number): boolean {
    const mark = this.#splitter?.mark(token) ?? this.#units.get(token)
    const text = mark === undefined ? this.#detokenizer.push(token) : this.#detokenizer.end() + mark
    const { open } = this.#detokenizer
    if (!this.#sorts && this.#matcher === undefined && !open && this.#ends.length === 0) {
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
    this.#calls?.end()
    if (this.#stop === undefined) {
      this.#certain += this.#matcher?.end().length ?? 0
      this.#drain()
      this.#giveTail()
    }
    return this.#stop !== undefined
  }

  take(): Given {
    const given = this.#given
    this.#given = nothingGiven()
    return given
  }

  #feed(text: string, marked: boolean): void {
    if (text === '') this.#settle(this.#role, '', '')
    else if (this.#splitter === undefined || (marked && this.#calls?.open)) this.#tellCalls(answer, text, '')
    else this.#splitter.push(text, marked)
  }

  /** Looks for calls in the answer. */
  #tellCalls(role: TokenRole, text: string, joint: string): void {
    if (this.#calls === undefined) this.#sort(role, text, joint)
    else if (role === answer) this.#calls.push(text)
    else {
      this.#calls.end()
      this.#sort(role, text, joint)
    }
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
    if (this.#sorts) {
      given.roles ??= []
      given.roles.push(this.#tailRoles === 0 ? this.#role : rolesOfBits[this.#tailRoles]!)
    }
    this.#giveTail()
  }

  #giveTail(): void {
    this.#given.text += this.#tail[answer]
    this.#given.reasoning += this.#tail[reasoning]
    this.#given.calls += this.#tail[call]
    this.#tail[answer] = ''
    this.#tail[reasoning] = ''
    this.#tail[call] = ''
    this.#tailRoles = 0
  }
}

/** White space around a marker. */
const blankBit = 1 << (call + 1)

/** A token is of the answer, of the reasoning or of calls only as a whole; but white space that was stripped makes no difference. */
const rolesOfBits: readonly TokenRole[] = Array.from({ length: 2 * blankBit }, (_, bits) => {
  const roles = bits & ~blankBit
  return [answer, reasoning, call].find((role) => roles === 1 << role) ?? neither
})
