/**
 * An answer's characters, one after the other, told apart: text, calls of tools from the first character of their mark to the last,
 * and neither (white space around calls, and marks that are no part of the answer). Text that may be the beginning of a call, and
 * white space that may belong to one, is held back until it is clear what it is. So the result is a function of the text, however it
 * is cut.
 *
 * It runs twice, over the whole answer where tokens become text, and over its calls alone where they are read: a call's characters
 * mean the same without the text around them. Control tokens are units, as in reasoning-splitter.ts.
 *
 * A mark of plain text that no call comes after is text: answers may speak of it. One that is a control token begins a call, and a
 * broken one if nothing comes of it. A broken call ends where its closing mark is, or a control token, or the answer.
 */
import { type CallFormat, type CallSpec, withUnits } from './call-format.ts'
import { type CallBody, isArguments, JsonCall } from './json-call.ts'
import { NamedCall } from './named-call.ts'
import { type IsText, XmlCall } from './xml-call.ts'

export type CallRole = 'text' | 'call' | 'neither'

/** What a call came to. 'unfinished': the answer ended in it. */
export type CallState = 'done' | 'broken' | 'unfinished'

/** Who reads calls. */
export interface CallSink {
  /** More of a call's arguments; the first time for each call without any. */
  delta(name: string, argumentsText: string): void
  /** `raw`: the call as the model wrote it, without the marks around it. */
  end(name: string | undefined, raw: string, state: CallState): void
}

const anyUnit = /(?<![\ud800-\udbff])[\udc00-\udfff]/
const xmlMark = '<function='
/** A JSON object that is no call after so many characters is none. */
const mostUndecided = 1024
/** White space around a call that belongs to it, at most. */
const mostBlank = 256
const otherKeys = new Set(['name', 'type', 'id', 'function'])

type State = 'text' | 'opened' | 'body' | 'array' | 'closing' | 'broken'

export class CallSplitter {
  readonly #emit: (role: CallRole, text: string) => void
  readonly #sink: CallSink | undefined
  readonly #isText: IsText
  readonly #format: CallFormat
  readonly #tools: readonly string[]
  readonly #marks: readonly string[]
  readonly #longest: number
  #state: State = 'text'
  #held = ''
  /** White space and mark at the beginning of what is held, while it is open what comes of them. */
  #opening = { blank: 0, mark: 0 }
  #body: CallBody | undefined
  #told = false
  #inArray = false
  #broken = ''
  /** Something of the answer came, and no call after it. */
  #answered = false
  #called = false

  constructor(spec: CallSpec, emit: (role: CallRole, text: string) => void, sink?: CallSink, isText?: IsText) {
    const compile = (texts: string[]) => texts.map((text) => withUnits(text, spec.control))
    const [open, openFirst, close, skip] = [spec.open, spec.openFirst, spec.close, spec.skip].map(compile)
    this.#format = { ...spec, open: open!, openFirst: openFirst!, close: close!, skip: skip! }
    this.#format.prefix = withUnits(spec.prefix, spec.control)
    this.#tools = spec.tools
    this.#emit = emit
    this.#sink = sink
    this.#isText = isText ?? (() => false)
    this.#marks = [...open!, ...skip!]
    this.#longest = Math.max(0, ...this.#marks.map((mark) => mark.length), ...close!.map((mark) => mark.length))
    if (spec.begun?.tool !== undefined) this.#enter(new NamedCall(this.#format.prefix, spec.begun.tool))
    else if (spec.begun !== undefined) this.#state = 'opened'
  }

  /** Within a call. */
  get open(): boolean {
    return this.#state !== 'text'
  }

  push(text: string): void {
    this.#held += text
    while (this.#held !== '' && this.#advance());
  }

  /** Nothing comes after what is held. */
  end(): void {
    while (this.#held !== '' && this.#advance());
    if (this.#state === 'opened') this.#noCall('unfinished')
    else if (this.#state === 'body') {
      this.#broken = this.#body!.raw
      this.#finishBroken('unfinished')
    } else if (this.#state === 'broken') this.#finishBroken('unfinished')
    const blank = this.#called && this.#held.trim() === ''
    if (this.#state === 'closing' || this.#state === 'array' || blank) this.#say('neither', this.#held)
    else this.#text(this.#held)
    this.#held = ''
    this.#state = 'text'
    this.#inArray = false
  }

  /** False: what is held has to wait for more. */
  #advance(): boolean {
    switch (this.#state) {
      case 'text':
        return this.#before()
      case 'opened':
        return this.#opened()
      case 'body':
        return this.#inBody()
      case 'array':
        return this.#array()
      case 'closing':
        return this.#closing()
      case 'broken':
        return this.#inBroken()
    }
  }

  #before(): boolean {
    const first = this.#answered ? 'no' : this.#first()
    if (first !== 'no') return first === 'yes'
    let [at, mark] = [this.#held.search(anyUnit), '']
    if (at < 0) at = this.#held.length
    for (const one of this.#marks) {
      const place = this.#held.indexOf(one)
      if (place >= 0 && (place < at || (place === at && one.length > mark.length))) [at, mark] = [place, one]
    }
    const partial = this.#partial(this.#marks)
    if (partial < at || (partial === at && mark === '')) return this.#wait(partial)
    if (this.#format.open.includes(mark)) {
      const text = textBefore(this.#held, at)
      this.#text(this.#take(text))
      this.#opening = { blank: at - text, mark: mark.length }
      this.#state = 'opened'
      return true
    }
    const text = mark === '' ? at : textBefore(this.#held, at)
    this.#text(this.#take(text))
    this.#say('neither', this.#take(at - text + Math.max(1, mark.length)))
    return true
  }

  /** Gives the text before a place, as far as no white space is at its end. */
  #wait(at: number): false {
    this.#text(this.#take(textBefore(this.#held, at)))
    return false
  }

  /** What counts only at the beginning of an answer, or behind another such call: 'yes', 'no', or 'wait'. */
  #first(): 'yes' | 'no' | 'wait' {
    const { openFirst, bare } = this.#format
    if (openFirst.length === 0 && !bare) return 'no'
    const blank = /^[\s;,]*/.exec(this.#held)![0]
    if ((!this.#called && /[;,]/.test(blank)) || blank.length > mostBlank) return 'no'
    const rest = this.#held.slice(blank.length)
    if (rest === '') return 'wait'
    const mark = openFirst.find((one) => rest.startsWith(one))
    if (mark !== undefined) {
      this.#opening = { blank: blank.length, mark: mark.length }
      this.#state = 'opened'
      return 'yes'
    }
    if (openFirst.some((one) => one.startsWith(rest))) return 'wait'
    if (!bare || rest[0] !== '{') return 'no'
    const verdict = this.#bare(rest)
    if (verdict !== 'yes') return verdict
    this.#say('neither', this.#take(blank.length))
    this.#enter(new JsonCall())
    return 'yes'
  }

  /** Whether a text that begins with a brace is a call of a tool that there is. */
  #bare(text: string): 'yes' | 'no' | 'wait' {
    const call = new JsonCall()
    // One by one: the first to decide is the same, however the text is cut.
    for (let at = 0; at < text.length; at++) {
      call.push(text[at]!, 0)
      if (call.state === 'broken' || call.keys.some((key) => !otherKeys.has(key) && !isArguments(key))) return 'no'
      if (call.name !== undefined && !this.#tools.includes(call.name)) return 'no'
      if (call.name !== undefined && (call.state === 'done' || call.keys.some(isArguments))) return 'yes'
      if (call.state === 'done' || at >= mostUndecided) return 'no'
    }
    return 'wait'
  }

  #opened(): boolean {
    const { blank, mark } = this.#opening
    const rest = this.#held.slice(blank + mark)
    const body = rest.trimStart()
    const isLong = rest.length - body.length > mostBlank
    if (body === '' && !isLong) return false
    const xml = this.#format.body !== 'named' && body !== '' && (body.startsWith(xmlMark) || xmlMark.startsWith(body))
    if (xml && body.length < xmlMark.length) return false
    const named = this.#format.body === 'named' && /^[^\s<]/.test(body) && !anyUnit.test(body[0]!)
    if (isLong || (body[0] !== '{' && body[0] !== '[' && !xml && !named)) {
      this.#noCall('broken')
      return true
    }
    this.#say('neither', this.#take(blank))
    this.#say('call', this.#take(mark + rest.length - body.length))
    this.#opening = { blank: 0, mark: 0 }
    if (body[0] === '[') {
      this.#say('call', this.#take(1))
      this.#inArray = true
      this.#state = 'array'
      this.#called = true
    } else if (xml) this.#enter(new XmlCall(this.#isText))
    else this.#enter(body[0] === '{' ? new JsonCall() : new NamedCall(this.#format.prefix))
    return true
  }

  /** What seemed to begin a call is text, or a broken call where it is no text. */
  #noCall(state: CallState): void {
    const { blank, mark } = this.#opening
    this.#opening = { blank: 0, mark: 0 }
    if (mark > 0 && !anyUnit.test(this.#held[blank]!)) {
      this.#text(this.#take(blank + mark))
      this.#state = 'text'
      return
    }
    this.#say('neither', this.#take(blank))
    this.#say('call', this.#take(mark))
    this.#body = undefined
    this.#broken = ''
    this.#state = 'broken'
    if (state === 'unfinished') this.#finishBroken(state)
  }

  #enter(body: CallBody): void {
    this.#body = body
    this.#told = false
    this.#called = true
    this.#state = 'body'
  }

  #inBody(): boolean {
    const body = this.#body!
    this.#say('call', this.#take(body.push(this.#held, 0)))
    if (body.name !== undefined) {
      const delta = body.take()
      if (delta !== '' || !this.#told) this.#sink?.delta(body.name, delta)
      this.#told = true
    }
    if (body.state === 'done') {
      this.#finish(body.raw, 'done')
      this.#state = this.#inArray ? 'array' : 'closing'
    } else if (body.state === 'broken') {
      this.#broken = body.raw
      this.#state = 'broken'
    } else return false
    return true
  }

  #finish(raw: string, state: CallState): void {
    this.#sink?.end(this.#body?.name, raw, state)
    this.#body = undefined
  }

  #array(): boolean {
    const blank = /^[\s,]*/.exec(this.#held)![0].length
    this.#say('call', this.#take(blank))
    const next = this.#held[0]
    if (next === undefined) return false
    if (next === '{') this.#enter(new JsonCall())
    else if (next === ']') {
      this.#say('call', this.#take(1))
      this.#inArray = false
      this.#state = 'closing'
    } else {
      this.#broken = ''
      this.#state = 'broken'
    }
    return true
  }

  #closing(): boolean {
    const rest = this.#held.trimStart()
    const blank = this.#held.length - rest.length
    const { close } = this.#format
    if (close.length > 0 && blank <= mostBlank) {
      const mark = close.find((one) => rest.startsWith(one))
      if (mark !== undefined) this.#say('call', this.#take(blank + mark.length))
      else if (close.some((one) => one.startsWith(rest))) return false
    }
    this.#leave()
    return true
  }

  #inBroken(): boolean {
    const unit = this.#held.search(anyUnit)
    let [end, length] = unit < 0 ? [this.#held.length, 0] : [unit, 0]
    for (const one of this.#format.close) {
      const place = this.#held.indexOf(one)
      if (place >= 0 && place <= end && place < this.#held.length) [end, length] = [place, one.length]
    }
    const certain = this.#partial(this.#format.close)
    if (end === this.#held.length) {
      this.#broken += this.#held.slice(0, certain)
      this.#say('call', this.#take(certain))
      return false
    }
    if (length === 0 && certain === end) return false
    this.#broken += this.#held.slice(0, end)
    this.#say('call', this.#take(end + length))
    this.#finishBroken('broken')
    this.#leave()
    return true
  }

  #finishBroken(state: CallState): void {
    if (state === 'unfinished') {
      this.#broken += this.#held
      this.#say('call', this.#take(this.#held.length))
    }
    this.#called = true
    this.#finish(this.#broken, state)
  }

  #leave(): void {
    this.#state = 'text'
    this.#inArray = false
    this.#answered = false
  }

  /** Where the longest possible beginning of a mark starts, at the end of what is held. */
  #partial(marks: readonly string[]): number {
    for (let at = Math.max(0, this.#held.length - this.#longest + 1); at < this.#held.length; at++) {
      const tail = this.#held.slice(at)
      if (marks.some((mark) => mark.length > tail.length && mark.startsWith(tail))) return at
    }
    return this.#held.length
  }

  #take(length: number): string {
    const text = this.#held.slice(0, length)
    this.#held = this.#held.slice(length)
    return text
  }

  /** Units that stand for control tokens are nobody's text. */
  #text(text: string): void {
    if (text === '') return
    this.#answered = true
    this.#called = false
    for (let at = text.search(anyUnit); at >= 0; at = text.search(anyUnit)) {
      this.#say('text', text.slice(0, at))
      this.#say('neither', text[at]!)
      text = text.slice(at + 1)
    }
    this.#say('text', text)
  }

  #say(role: CallRole, text: string): void {
    if (text !== '') this.#emit(role, text)
  }
}

/** Where the white space before a place begins, as far as it may belong to a call. */
const textBefore = (text: string, at: number): number => Math.max(text.slice(0, at).trimEnd().length, at - mostBlank)
