/**
 * Messages -> rendered template, cut at the control tokens that the template itself wrote and at no others.
 * The idea: render twice, once plainly and once with each character of the callers' strings that occurs in any control
 * token replaced by a private-use character of its own. In the second text a control token can only have come from the
 * template, however strings were put together, trimmed or cut. With the characters put back it normally equals the first
 * text, and its cuts are the right ones. Where a template looks into the strings, the two may differ; then the plain text
 * counts if it has the same control tokens in the same order and no string holds the name of one, else the second.
 */
import { OctavoError } from '../errors.ts'
import type { TemplateProgram } from './template-sandbox.ts'
import { type Piece, TokenCutter } from './token-cutter.ts'
import { type SpecialToken, wellFormed } from './vocabulary.ts'

export interface ChatRequest {
  /** Plain data; strings in it are not trusted. */
  messages: unknown[]
  tools: unknown[] | null
  addGenerationPrompt: boolean
}

export interface RenderedChat {
  text: string
  /** Stretches of text and the ids of the control tokens between them. */
  pieces: Piece[]
}

/** Words that templates compare roles and part types with; a role that a template quotes is one, too. */
const plainWords = new Set(
  'system user assistant tool developer function model ipython text image audio video tool_call object string'.split(
    ' ',
  ),
)
const privateUse = { first: 0xe000, last: 0xf8ff }

const sameUnits = Uint16Array.from({ length: 0x10000 }, (_, unit) => unit)

/** A one to one replacement of UTF-16 units, and back. */
class Disguise {
  readonly #there = new Uint16Array(sameUnits)
  readonly #back = new Uint16Array(sameUnits)

  /** `taken`: texts that may appear in the result; private-use characters in them are not used. */
  constructor(alphabet: Iterable<number>, taken: Iterable<string>) {
    const used = new Set<number>()
    for (const text of taken)
      for (const [character] of text.matchAll(/[\uE000-\uF8FF]/g)) used.add(character.charCodeAt(0))
    let next = privateUse.first
    for (const unit of alphabet) {
      while (used.has(next)) next++
      if (next > privateUse.last) {
        throw new OctavoError(
          'INVALID_ARGUMENT',
          'messages: expected some private-use character that does not occur in them.',
        )
      }
      this.#there[unit] = next
      this.#back[next] = unit
      next++
    }
  }

  on(text: string): string {
    return map(text, this.#there)
  }

  off(text: string): string {
    return map(text, this.#back)
  }
}

function map(text: string, table: Uint16Array): string {
  const units = new Uint16Array(text.length)
  for (let at = 0; at < units.length; at++) units[at] = table[text.charCodeAt(at)]!
  return Buffer.from(units.buffer).toString('utf16le')
}

/** Every unit of a control token that could betray it; white space is left out, for templates trim. */
function unitsOf(control: readonly SpecialToken[]): Set<number> {
  const units = new Set<number>()
  for (const { text } of control) {
    for (let at = 0; at < text.length; at++) if (/\S/.test(text[at]!)) units.add(text.charCodeAt(at))
  }
  return units
}

/** A copy of plain data with every string replaced. Keys that are names stay: templates ask for them. */
function mapStrings(value: unknown, change: (text: string, key: string) => string, key = ''): unknown {
  if (typeof value === 'string') return change(value, key)
  if (Array.isArray(value)) return value.map((item) => mapStrings(item, change, key))
  if (typeof value !== 'object' || value === null) return value
  const copy: [string, unknown][] = Object.entries(value).map(([name, item]) => [
    /^[\w.$-]*$/.test(name) ? name : change(name, ''),
    mapStrings(item, change, name),
  ])
  return Object.fromEntries(copy)
}

export class ChatRenderer {
  readonly #program: TemplateProgram
  readonly #source: string
  readonly #cutter: TokenCutter
  readonly #named: Record<string, string>
  readonly #units: Set<number>

  constructor(
    program: TemplateProgram,
    source: string,
    control: readonly SpecialToken[],
    named: Record<string, string>,
  ) {
    this.#program = program
    this.#source = source
    this.#cutter = new TokenCutter(control)
    this.#named = named
    this.#units = unitsOf(control)
  }

  render(request: ChatRequest, now = new Date()): RenderedChat {
    const strings: string[] = []
    const data = mapStrings([request.messages, request.tools], (text) => {
      const clean = wellFormed(text)
      strings.push(clean)
      return clean
    })
    const plain = this.#run(data, request.addGenerationPrompt, now)
    const taken = [this.#source, ...Object.values(this.#named), plain]
    const disguise = new Disguise(this.#units, [...taken, ...strings])
    const forged = strings.some((text) => this.#cutter.finds(text))
    const disguised = mapStrings(data, (text, key) => (this.#isKnownWord(text, key) ? text : disguise.on(text)))
    const safe = this.#run(disguised, request.addGenerationPrompt, now)
    const pieces = this.#cutter.cut(safe)
    const text = disguise.off(safe)
    if (text !== plain && !forged) {
      const plainPieces = this.#cutter.cut(plain)
      if (same(plainPieces, pieces)) return { text: plain, pieces: plainPieces }
    }
    return { text, pieces: pieces.map((piece) => (typeof piece === 'string' ? disguise.off(piece) : piece)) }
  }

  /** Roles and part types that the template compares with; marks of control tokens are never among them. */
  #isKnownWord(text: string, key: string): boolean {
    if ((key !== 'role' && key !== 'type') || !/^[\w-]+$/.test(text) || this.#cutter.finds(text)) return false
    return plainWords.has(text) || this.#source.includes(`'${text}'`) || this.#source.includes(`"${text}"`)
  }

  #run(data: unknown, addGenerationPrompt: boolean, now: Date): string {
    const [messages, tools] = data as [unknown[], unknown[] | null]
    const variables = { ...this.#named, messages, tools, documents: null, add_generation_prompt: addGenerationPrompt }
    return this.#program.render(variables, now)
  }
}

/** The same control tokens in the same order. */
function same(a: Piece[], b: Piece[]): boolean {
  const ids = (pieces: Piece[]) => pieces.filter((piece) => typeof piece === 'number').join()
  return ids(a) === ids(b)
}
