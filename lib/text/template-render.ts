/**
 * Messages -> rendered template, cut at the control tokens that the template itself wrote and at no others. Every string of messages,
 * tools, documents and template options is marked as foreign before the template sees it, and the marks come out with the text
 * (jinja/text.ts): control tokens are looked for between them only. The marks also tell which stretches a message became.
 */
import { OctavoError } from '../base/errors.ts'
import { type Mark, toValue } from './jinja/values/convert.ts'
import { concat, foreign, isStr, raw, type Span, type Str } from './jinja/values/text.ts'
import { Dict, isList, type Value } from './jinja/values/values.ts'
import { wellFormed } from './jinja/values/well-formed.ts'
import type { TemplateProgram } from './template-sandbox.ts'
import { type Cut, type Piece, piecesOf, TokenCutter } from './token-cutter.ts'
import type { SpecialToken } from './vocabulary/vocabulary.ts'

export interface ChatRequest {
  /** Plain data; strings in it are not trusted. */
  messages: unknown[]
  tools: unknown[] | null
  documents?: unknown[] | null
  addGenerationPrompt: boolean
  /** More variables of the template. */
  templateOptions?: Record<string, unknown>
  /** The text ends with the content of the last message. */
  continueFinalMessage?: boolean
  /** Places of messages whose stretches are asked for. */
  answers?: readonly number[]
}

/** Where a message's text stands in a rendering, unchanged: from, to, from, to ... */
export type Stretches = number[]

export class RenderedChat {
  readonly text: string
  /** Stretches of text, and the control tokens between them. */
  readonly cuts: Cut[]
  /** For each of the request's answers. */
  readonly answers: Stretches[]

  constructor(text: string, cuts: Cut[], answers: Stretches[]) {
    this.text = text
    this.cuts = cuts
    this.answers = answers
  }

  get pieces(): Piece[] {
    return piecesOf(this.text, this.cuts)
  }
}

/** Words that templates compare roles and part types with; a role that a template quotes is one, too. */
const plainWords = new Set(
  'system user assistant tool developer function model ipython text image audio video tool_call object string'.split(
    ' ',
  ),
)

/** Which message a foreign string came from, and whether it was its content. */
interface Source {
  message: number
  isContent: boolean
}

export class ChatRenderer {
  readonly #program: TemplateProgram
  readonly #source: string
  readonly #cutter: TokenCutter
  readonly #named: Record<string, string>

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
  }

  render(request: ChatRequest, now = new Date()): RenderedChat {
    const sources: Source[] = []
    const rendered = this.#program.run(() => this.#variables(request, sources), now)
    let text = wellFormed(raw(rendered))
    let spans = typeof rendered === 'string' ? [] : rendered.spans
    if (request.continueFinalMessage) {
      const end = contentEnd(spans, sources, request.messages.length - 1)
      text = text.slice(0, end)
      spans = spans.filter(({ to }) => to <= end)
    }
    const answers = (request.answers ?? []).map((message) => stretchesOf(spans, sources, message))
    return new RenderedChat(text, this.#cutter.cuts(text, spans), answers)
  }

  #variables(request: ChatRequest, sources: Source[]): Map<string, Value> {
    const { messages, tools, documents = null, addGenerationPrompt, templateOptions = {} } = request
    const mark = (message: number, isContent: boolean): Mark => {
      return (text, key) => {
        if (this.#isKnownWord(text, key)) return text
        sources.push({ message, isContent })
        return foreign(wellFormed(text), sources.length - 1)
      }
    }
    const other = mark(-1, false)
    const values = new Map<string, Value>(Object.entries(this.#named))
    for (const [name, value] of Object.entries(templateOptions)) values.set(name, toValue(value, other))
    values.set(
      'messages',
      messages.map((message, i) => this.#message(message, (isContent) => mark(i, isContent))),
    )
    values.set('tools', toValue(tools, other))
    values.set('documents', toValue(documents, other))
    values.set('add_generation_prompt', addGenerationPrompt)
    return values
  }

  #message(message: unknown, mark: (isContent: boolean) => Mark): Value {
    if (typeof message !== 'object' || message === null || Array.isArray(message)) return toValue(message, mark(false))
    const value = new Dict()
    for (const [key, item] of Object.entries(message)) {
      const content = toValue(item, mark(key === 'content'), key, 1)
      value.set(mark(false)(key, undefined), key === 'content' ? this.#content(content) : content)
    }
    return value
  }

  /** Parts of text are one string for a template that knows no parts. */
  #content(content: Value): Value {
    if (!isList(content) || this.#program.takesParts) return content
    const texts: Str[] = []
    for (const part of content) {
      const text = part instanceof Dict ? part.get('text') : part
      if (text === undefined || !isStr(text)) return content
      if (texts.length > 0) texts.push('\n')
      texts.push(text)
    }
    return texts.length === 0 ? '' : concat(texts)
  }

  /** Roles and part types that the template compares with; marks of control tokens are never among them. */
  #isKnownWord(text: string, key: string | undefined): boolean {
    if ((key !== 'role' && key !== 'type') || !/^[\w-]+$/.test(text) || this.#cutter.finds(text)) return false
    return plainWords.has(text) || this.#source.includes(`'${text}'`) || this.#source.includes(`"${text}"`)
  }
}

/** Where the content of a message ends that is to be continued. */
function contentEnd(spans: readonly Span[], sources: readonly Source[], message: number): number {
  const last = spans.findLast(({ source }) => sources[source]?.message === message && sources[source].isContent)
  if (last) return last.to
  throw new OctavoError(
    'INVALID_ARGUMENT',
    'continueFinalMessage: expected a template that shows the content of the last message, and a content that is not empty.',
    { message },
  )
}

function stretchesOf(spans: readonly Span[], sources: readonly Source[], message: number): Stretches {
  const stretches: Stretches = []
  for (const { from, to, source, at } of spans) {
    if (at < 0 || sources[source]?.message !== message) continue
    if (stretches.at(-1) === from) stretches[stretches.length - 1] = to
    else stretches.push(from, to)
  }
  return stretches
}
