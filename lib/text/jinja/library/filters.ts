/**
 * Jinja2's filters: tables of name, parameters, function. Those of texts and numbers are here, those of lists in list-filters.ts.
 * `tojson` is that of transformers: JSON as it is, not escaped for HTML.
 */

import { bind } from '../values/arguments.ts'
import { fail } from '../values/faults.ts'
import { checkCharacters } from '../values/limits.ts'
import { calculate, fixed, integer, readFloat, readInt, roundHalfEven, toNumber } from '../values/numbers.ts'
import { json, repr, str } from '../values/show.ts'
import * as strings from '../values/strings.ts'
import {
  concat,
  escapeHtml,
  isMarkup,
  isStr,
  mapStretches,
  mixed,
  raw,
  type Str,
  slice,
  toMarkup,
} from '../values/text.ts'
import {
  Dict,
  Float,
  isInt,
  isNumber,
  isSequence,
  isTrue,
  itemsOf,
  known,
  lengthOf,
  listOf,
  Tuple,
  typeName,
  Undefined,
  type Value,
  wantInt,
  wantStr,
} from '../values/values.ts'
import { wellFormed } from '../values/well-formed.ts'
import { getOwnAttribute } from './access.ts'
import type { Filter, FreeFilter } from './filter.ts'
import { percent } from './format.ts'
import { listFilters } from './list-filters.ts'
import { wordWrap } from './wrap.ts'

const kept = (from: Value, text: Str) => (isMarkup(from) ? toMarkup(text) : text)
const onText = (change: (text: Str) => Str): Filter => ({
  parameters: [],
  run: (value) => kept(value, change(str(value))),
})
const plain = (run: (value: Value) => Value): Filter => ({ parameters: [], run })

function round(value: Value, [precision, method]: Value[]): Value {
  if (!isNumber(value)) return fail(`type ${typeName(known(value))} doesn't define __round__ method`)
  const digits = wantInt(precision!)
  const how = raw(wantStr(method!))
  if (how === 'common') {
    if (value instanceof Float) return new Float(roundHalfEven(value.number, digits))
    if (digits >= 0) return integer(typeof value === 'boolean' ? Number(value) : value)
    return roundTens(value, -digits)
  }
  if (how !== 'ceil' && how !== 'floor') return fail('method must be common, ceil or floor')
  const unit = 10 ** digits
  // A whole number has no negative zero.
  return new Float((Math[how](toNumber(value) * unit) + 0) / unit)
}

function roundTens(value: number | bigint | boolean, digits: number): Value {
  const unit = 10n ** BigInt(Math.min(digits, 400))
  const own = BigInt(value)
  const rest = ((own % unit) + unit) % unit
  const low = own - rest
  const up = 2n * rest > unit || (2n * rest === unit && (low / unit) % 2n !== 0n)
  return integer(up ? low + unit : low)
}

function toInt(value: Value, [fallback, base]: Value[]): Value {
  if (value instanceof Float) return Number.isFinite(value.number) ? integer(Math.trunc(value.number)) : fallback!
  if (isInt(value)) return integer(typeof value === 'boolean' ? Number(value) : value)
  known(value)
  if (!isStr(value)) return fallback!
  const text = raw(strings.strip(value))
  const read = readInt(text, wantInt(base!))
  if (read !== undefined) return read
  const float = readFloat(text)
  return float === undefined || !Number.isFinite(float) ? fallback! : integer(Math.trunc(float))
}

function toFloat(value: Value, [fallback]: Value[]): Value {
  if (isNumber(value)) return new Float(toNumber(value))
  known(value)
  const read = isStr(value) ? readFloat(raw(strings.strip(value))) : undefined
  return read === undefined ? fallback! : new Float(read)
}

function toJson(value: Value, [ascii, indent, separators, sortKeys]: Value[]): Value {
  const pair = separators === null ? undefined : listOf(separators!)
  if (pair && pair.length !== 2) return fail('separators: expected two')
  const indentText =
    indent === null ? undefined : isStr(indent!) ? indent : ' '.repeat(checkCharacters(Math.max(0, wantInt(indent!))))
  return json(value, {
    ascii: isTrue(ascii!),
    indent: indentText,
    separators: pair && [wantStr(pair[0]!), wantStr(pair[1]!)],
    sortKeys: isTrue(sortKeys!),
  })
}

function indent(value: Value, [width, first, blank]: Value[]): Value {
  const ahead = isStr(width!) ? width : strings.repeat(' ', wantInt(width!))
  const lines = strings.splitLines(concat([str(value), '\n']))
  checkCharacters(lines.length * raw(ahead).length)
  const parts: Str[] = isTrue(first!) ? [ahead] : []
  lines.forEach((line, i) => {
    if (i > 0) parts.push('\n')
    if (i > 0 && (isTrue(blank!) || raw(line) !== '')) parts.push(ahead)
    parts.push(line)
  })
  return kept(value, concat(parts))
}

function truncate(value: Value, [lengthValue, kill, end, leeway]: Value[]): Value {
  const length = wantInt(lengthValue!)
  const endLength = strings.lengthOf(wantStr(end!))
  if (length < endLength) return fail(`expected length >= ${endLength}, got ${length}`)
  const spare = leeway === null ? 5 : wantInt(leeway!)
  if (spare < 0) return fail(`expected leeway >= 0, got ${spare}`)
  if (lengthOf(value) <= length + spare) return value
  const text = wantStr(value)
  const cut = strings.substring(text, 0, length - endLength)
  return concat([isTrue(kill!) ? cut : strings.splitRight(cut, ' ', 1)[0]!, wantStr(end!)])
}

const sizePrefixes = 'kMGTPEZY'

function fileSize(value: Value, [binary]: Value[]): Value {
  const bytes = toNumber(
    isNumber(value) ? value : ((toFloat(value, [null]) as Float | null) ?? fail('expected a number of bytes')),
  )
  const base = isTrue(binary!) ? 1024 : 1000
  if (bytes === 1) return '1 Byte'
  if (bytes < base) return `${Math.trunc(bytes)} Bytes`
  let power = 1
  while (power < sizePrefixes.length && bytes >= base ** (power + 1)) power++
  const prefix = sizePrefixes[power - 1]!
  return `${fixed(bytes / base ** power, 1)} ${isTrue(binary!) ? `${prefix.toUpperCase()}iB` : `${prefix}B`}`
}

function quoteUrl(value: Value, forQuery: boolean): Str {
  return mapStretches(str(value), (stretch) => {
    const quoted = encodeURIComponent(wellFormed(stretch)).replace(
      /[!'()*]/g,
      (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`,
    )
    return forQuery ? quoted.replaceAll('%20', '+') : quoted.replaceAll('%2F', '/')
  })
}

function urlEncode(value: Value): Value {
  if (isStr(value) || !(value instanceof Dict || isSequence(value))) return quoteUrl(value, false)
  const parts: Str[] = []
  for (const pair of value instanceof Dict ? value.list('items') : itemsOf(value)) {
    const [name, item] = listOf(pair)
    if (parts.length > 0) parts.push('&')
    parts.push(quoteUrl(name!, true), '=', quoteUrl(item!, true))
  }
  return parts.length === 0 ? '' : concat(parts)
}

function stripTags(value: Value): Value {
  const text = str(value)
  const bare = raw(text)
    .replace(/<!--.*?-->/gs, '')
    .replace(/<[^>]*>/g, '')
  const named: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'", nbsp: '\u00a0' }
  const words = bare.split(new RegExp(`[${strings.whiteSpace}]+`)).filter((word) => word !== '')
  const clear = words.join(' ').replace(/&(?:#(\d+)|#x([\da-f]+)|(\w+));/gi, (all, decimal, hex, name) => {
    const code = decimal ? Number(decimal) : hex ? Number.parseInt(hex, 16) : undefined
    if (code !== undefined) return code > 0 && code < 0x110000 ? String.fromCodePoint(code) : '\ufffd'
    return named[name] ?? all
  })
  return mixed(clear, text)
}

function xmlAttributes(value: Value, [autospace]: Value[]): Value {
  if (!(value instanceof Dict)) return fail('xmlattr expects a mapping')
  const parts: Str[] = []
  for (const [key, item] of value.pairs()) {
    if (item === null || item instanceof Undefined) continue
    if (/[\s/>=]/.test(raw(str(key)))) return fail(`Invalid character in attribute name: ${raw(repr(key))}`)
    if (parts.length > 0) parts.push(' ')
    parts.push(escapeHtml(str(key)), '="', escapeHtml(str(item)), '"')
  }
  if (parts.length === 0) return ''
  return concat(isTrue(autospace!) ? [' ', ...parts] : parts)
}

const escaping = plain((value) => toMarkup(escapeHtml(str(value))))
const fallback: Filter = {
  parameters: [
    ['default_value', ''],
    ['boolean', false],
  ],
  run: (value, [other, also]) => (value instanceof Undefined || (isTrue(also!) && !isTrue(value)) ? other! : value),
}
const length = plain(lengthOf)

const textFilters: Record<string, Filter> = {
  abs: plain((value) => {
    if (!isNumber(value)) return fail(`bad operand type for abs(): '${typeName(known(value))}'`)
    return toNumber(value) < 0 ? calculate('-', 0, value) : calculate('+', value, 0)
  }),
  attr: { parameters: [['name']], run: (value, [name]) => getOwnAttribute(value, raw(str(name!))) },
  capitalize: onText((text) => strings.capitalize(text)),
  center: {
    parameters: [['width', 80]],
    run: (value, [width]) => kept(value, strings.center(str(value), wantInt(width!))),
  },
  count: length,
  d: fallback,
  default: fallback,
  e: escaping,
  escape: escaping,
  filesizeformat: { parameters: [['binary', false]], run: fileSize },
  float: { parameters: [['default', new Float(0)]], run: toFloat },
  forceescape: plain((value) => toMarkup(escapeHtml(isMarkup(value) ? slice(value as Str, 0) : str(value)))),
  indent: {
    parameters: [
      ['width', 4],
      ['first', false],
      ['blank', false],
    ],
    run: indent,
  },
  int: {
    parameters: [
      ['default', 0],
      ['base', 10],
    ],
    run: toInt,
  },
  length,
  lower: onText(strings.lower),
  replace: {
    parameters: [['old'], ['new'], ['count', null]],
    run: (value, [from, to, count]) =>
      strings.replace(str(value), str(from!), str(to!), count === null ? -1 : wantInt(count!)),
  },
  round: {
    parameters: [
      ['precision', 0],
      ['method', 'common'],
    ],
    run: round,
  },
  safe: plain((value) => toMarkup(str(value))),
  string: plain(str),
  striptags: plain(stripTags),
  title: onText(strings.titleWords),
  tojson: {
    parameters: [
      ['ensure_ascii', false],
      ['indent', null],
      ['separators', null],
      ['sort_keys', false],
    ],
    run: toJson,
  },
  trim: {
    parameters: [['chars', null]],
    run: (value, [set]) => kept(value, strings.strip(str(value), set === null ? null : raw(wantStr(set!)))),
  },
  truncate: {
    parameters: [
      ['length', 255],
      ['killwords', false],
      ['end', '...'],
      ['leeway', null],
    ],
    run: truncate,
  },
  upper: onText(strings.upper),
  urlencode: plain(urlEncode),
  wordcount: plain((value) => raw(str(value)).match(/[\p{L}\p{N}_]+/gu)?.length ?? 0),
  wordwrap: {
    parameters: [
      ['width', 79],
      ['break_long_words', true],
      ['wrapstring', null],
      ['break_on_hyphens', true],
    ],
    run: (value, [width, long, ends, hyphens]) =>
      wordWrap(str(value), wantInt(width!), isTrue(long!), ends === null ? '\n' : wantStr(ends!), isTrue(hyphens!)),
  },
  xmlattr: { parameters: [['autospace', true]], run: xmlAttributes },
}

function named(name: string, { parameters, run }: Filter): FreeFilter {
  return (value, args, keywords) => run(value, bind(`the filter ${name}`, parameters, args, keywords))
}

const free: Record<string, FreeFilter> = {
  format: (value, args, keywords) => {
    if (args.length > 0 && keywords.size > 0)
      return fail("can't handle positional and keyword arguments at the same time")
    return percent(str(value), keywords.size > 0 ? Dict.from(keywords) : new Tuple(args))
  },
}

/** What a filter does that is there in Jinja2, and is not here. */
export const absentFilters: Record<string, string> = {
  random: 'an answer depends on its request alone',
  pprint: 'only json and plain printing are there',
  urlize: 'chat templates make no links',
}

/** Filters by name; `apply` calls another by its name, as `map` does, `test` a test, as `select` does. */
export function makeFilters(test: (name: string) => (value: Value, args: readonly Value[]) => boolean) {
  const filters = new Map<string, FreeFilter>(Object.entries(free))
  for (const [name, filter] of Object.entries(textFilters)) filters.set(name, named(name, filter))
  const filter = (name: string) => filters.get(name) ?? fail(`No filter named '${name}'.`)
  for (const [name, one] of Object.entries(listFilters(filter, test)))
    filters.set(name, typeof one === 'function' ? one : named(name, one))
  return filters
}
