/**
 * A template's source -> tokens, with the white space around tags as Jinja2 sets it with trim_blocks and lstrip_blocks: the line end
 * after a block goes, and so does the white space between a line's start and a block. Line ends of every kind are \n, and one at the
 * very end goes.
 */
import { type Place, TemplateFault, TemplateLimit } from './values/faults.ts'
import { limits } from './values/limits.ts'
import { integer } from './values/numbers.ts'
import { strip, whiteSpace } from './values/strings.ts'
import { raw } from './values/text.ts'

export type TokenType =
  | 'data'
  | 'block_begin'
  | 'block_end'
  | 'print_begin'
  | 'print_end'
  | 'name'
  | 'string'
  | 'int'
  | 'float'
  | 'op'
  | 'end'

export interface Token {
  type: TokenType
  /** Text of data, names, strings and operators; what a number is. */
  value: string | number | bigint
  place: Place
}

const space = `[${whiteSpace}]`
const sticky = (pattern: string, flags = '') => new RegExp(pattern, `y${flags}`)
const tokenPatterns: [TokenType | 'space', RegExp][] = [
  ['space', sticky(`${space}+`)],
  ['float', /(?<!\.)(?:\d+_)*\d+(?:(?:\.(?:\d+_)*\d+)?e[+-]?(?:\d+_)*\d+|\.(?:\d+_)*\d+)/iy],
  ['int', /0b(?:_?[01])+|0o(?:_?[0-7])+|0x(?:_?[\da-f])+|[1-9](?:_?\d)*|0(?:_?0)*/iy],
  ['name', /[\p{ID_Start}_][\p{ID_Continue}]*/uy],
  ['string', /'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"/sy],
  ['op', /\/\/|\*\*|==|!=|>=|<=|[-+/*%~[\](){}><=.:|,;]/y],
]
const ends = {
  block: sticky(`\\+%\\}|-%\\}${space}*|%\\}\\n?`),
  print: sticky(`-\\}\\}${space}*|\\}\\}`),
}
const opening = /\{[%{#]/g
const rawBegin = sticky(`\\{%[-+]?${space}*raw${space}*(?:-%\\}${space}*|%\\})`)
const rawEnd = new RegExp(`\\{%([-+]?)${space}*endraw${space}*(?:\\+%\\}|-%\\}${space}*|%\\}\\n?)`, 'g')
const commentEnd = new RegExp(`\\+#\\}|-#\\}${space}*|#\\}\\n?`, 'g')
const closing: Record<string, string> = { '(': ')', '[': ']', '{': '}' }
const named: Record<string, string> = { n: '\n', t: '\t', r: '\r', a: '\x07', b: '\b', f: '\f', v: '\v', '\n': '' }
const mostShown = 60

class Lexer {
  readonly #source: string
  readonly tokens: Token[] = []
  #at = 0
  #line = 1
  /** The first line end at or after the place reached. */
  #lineBreak: number

  constructor(source: string) {
    this.#source = source.replace(/\r\n?/g, '\n').replace(/\n$/, '')
    this.#lineBreak = this.#breakAfter(-1)
  }

  run(): Token[] {
    const source = this.#source
    while (this.#at < source.length) {
      opening.lastIndex = this.#at
      const match = opening.exec(source)
      if (!match) {
        this.#push('data', source.slice(this.#at), this.#placeOf(this.#at))
        break
      }
      this.#next(match.index, match[0])
    }
    this.#push('end', '', { line: this.#line, construct: 'the end of the template' })
    return this.tokens
  }

  /** What comes before a tag, then the tag. */
  #next(start: number, mark: string): void {
    const source = this.#source
    const sign = /[-+]/.test(source[start + 2] ?? '') ? source[start + 2]! : ''
    this.#data(start, sign, mark === '{{')
    rawBegin.lastIndex = start
    if (rawBegin.test(source)) {
      this.#raw(rawBegin.lastIndex)
      return
    }
    const place = this.#placeOf(start)
    this.#advance(start + 2 + sign.length)
    if (mark === '{#') this.#advance(this.#find(commentEnd, place, 'Missing end of comment tag'))
    else this.#tag(mark === '{%' ? 'block' : 'print', place)
  }

  /** Text up to `end`, where a tag begins. */
  #data(end: number, sign: string, isPrint: boolean): void {
    const place = this.#placeOf(this.#at)
    let text = this.#source.slice(this.#at, end)
    if (sign === '-') text = raw(strip(text, null, false, true))
    else if (sign !== '+' && !isPrint) {
      const lineStart = text.lastIndexOf('\n') + 1
      const starts = lineStart > 0 || this.#at === 0 || this.#source[this.#at - 1] === '\n'
      if (starts && raw(strip(text.slice(lineStart))) === '') text = text.slice(0, lineStart)
    }
    if (text !== '') this.#push('data', text, place)
    this.#advance(end)
  }

  #raw(start: number): void {
    const place = this.#placeOf(this.#at)
    this.#advance(start)
    rawEnd.lastIndex = start
    const match = rawEnd.exec(this.#source)
    if (!match) throw new TemplateFault('Missing end of raw directive', place)
    this.#data(match.index, match[1]!, false)
    this.#advance(match.index + match[0].length)
  }

  #find(pattern: RegExp, place: Place, missing: string): number {
    pattern.lastIndex = this.#at
    const match = pattern.exec(this.#source)
    if (!match) throw new TemplateFault(missing, place)
    return match.index + match[0].length
  }

  #tag(kind: 'block' | 'print', place: Place): void {
    const source = this.#source
    const open: string[] = []
    const start = this.#at
    this.#push(`${kind}_begin`, '', place)
    for (;;) {
      if (this.#at >= source.length) throw new TemplateFault('unexpected end of template', place)
      const end = ends[kind]
      end.lastIndex = this.#at
      if (open.length === 0 && end.test(source)) {
        this.#push(`${kind}_end`, '', place)
        const [mark, close] = kind === 'block' ? ['{%', '%}'] : ['{{', '}}']
        place.construct = shown(`${mark} ${source.slice(start, this.#at)} ${close}`)
        this.#advance(end.lastIndex)
        return
      }
      this.#token(place, open)
    }
  }

  #token(place: Place, open: string[]): void {
    for (const [type, pattern] of tokenPatterns) {
      pattern.lastIndex = this.#at
      const match = pattern.exec(this.#source)
      if (!match) continue
      if (type !== 'space') this.#push(type, meaning(type, match[0], place), place)
      if (type === 'op') this.#balance(match[0], open, place)
      this.#advance(pattern.lastIndex)
      return
    }
    throw new TemplateFault(`unexpected char '${String.fromCodePoint(this.#source.codePointAt(this.#at)!)}'`, place)
  }

  #balance(operator: string, open: string[], place: Place): void {
    const close = closing[operator]
    if (close !== undefined) open.push(close)
    else if (')]}'.includes(operator)) {
      const expected = open.pop()
      if (expected !== operator)
        throw new TemplateFault(
          `unexpected '${operator}'${expected === undefined ? '' : `, expected '${expected}'`}`,
          place,
        )
    }
  }

  #push(type: TokenType, value: Token['value'], place: Place): void {
    this.tokens.push({ type, value, place })
  }

  #advance(to: number): void {
    for (; this.#lineBreak < to; this.#lineBreak = this.#breakAfter(this.#lineBreak)) this.#line++
    this.#at = to
  }

  #breakAfter(at: number): number {
    const next = this.#source.indexOf('\n', at + 1)
    return next < 0 ? Number.POSITIVE_INFINITY : next
  }

  /** The line at `start`, which is not before the place reached; a tag is named by its beginning until its end is known. */
  #placeOf(start: number): Place {
    let line = this.#line
    for (let at = this.#lineBreak; at < start; at = this.#breakAfter(at)) line++
    return { line, construct: shown(this.#source.slice(start, start + mostShown).split('\n')[0]!) }
  }
}

function shown(source: string): string {
  const flat = source.replace(new RegExp(`${space}+`, 'g'), ' ').trim()
  return flat.length > mostShown ? `${flat.slice(0, mostShown - 3).trimEnd()}...` : flat
}

function meaning(type: TokenType, text: string, place: Place): Token['value'] {
  if (type === 'int') return integer(BigInt(text.replaceAll('_', '')))
  if (type === 'float') return Number(text.replaceAll('_', ''))
  return type === 'string' ? unescaped(text.slice(1, -1), place) : text
}

/** Python's escapes; those it does not know stay as they are. */
function unescaped(text: string, place: Place): string {
  return text.replace(/\\(x[\da-fA-F]{2}|u[\da-fA-F]{4}|U[\da-fA-F]{8}|[0-7]{1,3}|.)/gs, (all, what: string) => {
    if (/^[xuU]./.test(what)) {
      const code = Number.parseInt(what.slice(1), 16)
      if (code <= 0x10ffff) return String.fromCodePoint(code)
    }
    if (/^[xuUN]/.test(what)) throw new TemplateFault(`can't decode the escape ${all} in a string`, place)
    if (/^[0-7]/.test(what)) return String.fromCharCode(Number.parseInt(what, 8))
    if (what === '\\' || what === "'" || what === '"') return what
    return named[what] ?? all
  })
}

export function lex(source: string): Token[] {
  if (source.length > limits.sourceCharacters) throw new TemplateLimit('characters of source', limits.sourceCharacters)
  return new Lexer(source).run()
}
