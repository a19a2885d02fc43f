/**
 * Strings that know their origin. A text of the template's own is a JavaScript string; one that holds stretches of messages,
 * tools or options is a Text: the characters and, ascending, the stretches that are foreign, each with the string it came from.
 * Every operation on strings is a slice, a concatenation, or a change stretch by stretch, so origin is never lost; where a change
 * mixes stretches, the whole result is foreign.
 */
import { checkCharacters, takeCharacters } from './limits.ts'

/** `text.slice(from, to)` is `source`'s text from `at` on; `at` is -1 where it was changed on the way. */
export interface Span {
  from: number
  to: number
  source: number
  at: number
}

export class Text {
  readonly raw: string
  readonly spans: readonly Span[]
  /** Markup: what `safe` and `escape` make, which escapes what is added to it. */
  readonly markup: boolean

  constructor(raw: string, spans: readonly Span[], markup = false) {
    this.raw = raw
    this.spans = spans
    this.markup = markup
  }
}

export type Str = string | Text

/** Foreign text of which no string is the source. */
export const noSource = -1

export const isStr = (value: unknown): value is Str => typeof value === 'string' || value instanceof Text
export const raw = (text: Str): string => (typeof text === 'string' ? text : text.raw)
export const isMarkup = (value: unknown): boolean => value instanceof Text && value.markup

export const foreign = (text: string, source: number, at = 0): Str =>
  text === '' ? '' : new Text(text, [{ from: 0, to: text.length, source, at }])

export const toMarkup = (text: Str): Text => new Text(raw(text), typeof text === 'string' ? [] : text.spans, true)

/** A result that cannot be told stretch by stretch: foreign when any of what it was made of is. */
export function mixed(result: string, ...from: readonly unknown[]): Str {
  const origin = from.find((text): text is Text => text instanceof Text && text.spans.length > 0)
  return origin ? foreign(result, origin.spans[0]!.source, -1) : result
}

export function slice(text: Str, from: number, to: number = raw(text).length): Str {
  if (typeof text === 'string') return text.slice(from, to)
  const part = text.raw.slice(from, to)
  const spans: Span[] = []
  for (const span of text.spans) {
    const [start, end] = [Math.max(span.from, from), Math.min(span.to, to)]
    if (start >= end) continue
    const at = span.at < 0 ? -1 : span.at + start - span.from
    spans.push({ from: start - from, to: end - from, source: span.source, at })
  }
  return spans.length > 0 ? new Text(part, spans) : part
}

/** Adds `text`'s spans, moved by `by`, to `spans`; stretches that go on are one. */
function addSpans(spans: Span[], text: Text, by: number): void {
  for (const { from, to, source, at } of text.spans) {
    const last = spans.at(-1)
    const goesOn = last !== undefined && last.to === by + from && last.source === source
    if (goesOn && last.at >= 0 && last.at + last.to - last.from === at) last.to = by + to
    else spans.push({ from: by + from, to: by + to, source, at })
  }
}

export function concat(parts: readonly Str[]): Str {
  if (parts.length === 1) return parts[0]!
  let length = 0
  let plain = true
  for (const part of parts) {
    length += raw(part).length
    plain &&= typeof part === 'string'
  }
  takeCharacters(length)
  if (plain) return parts.join('')
  const spans: Span[] = []
  let at = 0
  for (const part of parts) {
    if (typeof part !== 'string') addSpans(spans, part, at)
    at += raw(part).length
  }
  const joined = parts.map(raw).join('')
  return spans.length > 0 ? new Text(joined, spans) : joined
}

/** Each stretch changed by itself. */
export function mapStretches(text: Str, change: (stretch: string) => string): Str {
  if (typeof text === 'string') {
    const changed = change(text)
    takeCharacters(changed.length)
    return changed
  }
  const parts: Str[] = []
  let at = 0
  for (const span of text.spans) {
    if (span.from > at) parts.push(change(text.raw.slice(at, span.from)))
    const stretch = text.raw.slice(span.from, span.to)
    const changed = change(stretch)
    parts.push(foreign(changed, span.source, changed === stretch ? span.at : -1))
    at = span.to
  }
  if (at < text.raw.length) parts.push(change(text.raw.slice(at)))
  return concat(parts)
}

const escapes: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', "'": '&#39;', '"': '&#34;' }

/** For HTML; Markup stays. */
export const escapeHtml = (text: Str): Str =>
  isMarkup(text) ? text : mapStretches(text, (stretch) => stretch.replace(/[&<>'"]/g, (c) => escapes[c]!))

/** Pieces kept before they are put together. */
const mostPieces = 4096

/** A text that grows: the output, or a value that is shown. */
export class Output {
  readonly #done: string[] = []
  #pieces: string[] = []
  readonly #spans: Span[] = []
  #length = 0

  add(text: Str): void {
    const piece = raw(text)
    if (piece === '') return
    if (typeof text !== 'string') addSpans(this.#spans, text, this.#length)
    takeCharacters(piece.length)
    this.#length += piece.length
    checkCharacters(this.#length)
    this.#pieces.push(piece)
    if (this.#pieces.length < mostPieces) return
    this.#done.push(this.#pieces.join(''))
    this.#pieces = []
  }

  text(): Str {
    const whole = this.#done.join('') + this.#pieces.join('')
    return this.#spans.length > 0 ? new Text(whole, this.#spans) : whole
  }
}
