/** Two ways to put values into a text: `'%s' % x`, and `'{}'.format(x)` with the numbers that both write. */
import { fail } from '../values/faults.ts'
import { checkCharacters } from '../values/limits.ts'
import { fixed, floatText, integer, signed, toNumber } from '../values/numbers.ts'
import { repr, str } from '../values/show.ts'
import { lengthOf, repeat, substring, surround } from '../values/strings.ts'
import { concat, foreign, isStr, noSource, raw, type Str, slice } from '../values/text.ts'
import {
  Dict,
  Float,
  type Int,
  isInt,
  isList,
  isNumber,
  type Keywords,
  known,
  Tuple,
  typeName,
  type Value,
} from '../values/values.ts'

const bases: Record<string, number> = { x: 16, X: 16, o: 8, b: 2, d: 10, i: 10, u: 10, n: 10 }

/** A number without width and sign rules; `type` is a letter that both formats know. */
function numberText(value: Int | Float, type: string, precision: number | undefined, alternate: boolean): string {
  const base = bases[type]
  if (base !== undefined) {
    const whole =
      value instanceof Float ? integer(Math.trunc(value.number)) : typeof value === 'boolean' ? Number(value) : value
    const text = whole.toString(base)
    const mark = alternate && base !== 10 ? `0${type}` : ''
    return type === 'X' ? `${text.replace(/^-?/, `$&${mark}`)}`.toUpperCase() : text.replace(/^-?/, `$&${mark}`)
  }
  const number = toNumber(value)
  const text = Number.isFinite(number)
    ? floatForm(number, type.toLowerCase(), precision ?? 6, alternate)
    : floatText(number)
  return type === type.toUpperCase() ? text.toUpperCase() : text
}

function floatForm(number: number, type: string, precision: number, alternate: boolean): string {
  if (type === 'f') return fixed(number, checkCharacters(precision))
  if (type === 'e') {
    const [digits, exponent] = number.toExponential(Math.min(100, precision)).split('e')
    return `${digits}e${signed(Number(exponent))}`
  }
  const digits = Math.min(100, precision === 0 ? 1 : precision)
  const exponent = number === 0 ? 0 : Number(number.toExponential(digits - 1).split('e')[1])
  const scientific = exponent < -4 || exponent >= digits
  const text = scientific
    ? floatForm(number, 'e', digits - 1, alternate)
    : fixed(number, Math.max(0, digits - 1 - exponent))
  if (alternate || !text.includes('.')) return text
  return text.replace(/\.?0+(?=e|$)/, '')
}

const conversions: Record<string, (value: Value) => Str> = { s: str, r: repr, a: ascii }

function ascii(value: Value): Str {
  return concat([repr(value)].map((text) => (isStr(text) && /[^\x20-\x7e]/.test(raw(text)) ? escapeAscii(text) : text)))
}

function escapeAscii(text: Str): Str {
  const escaped = raw(text).replace(/./gsu, (character) => {
    const code = character.codePointAt(0)!
    if (code < 0x7f) return character
    const hex = (digits: number) => code.toString(16).padStart(digits, '0')
    return code < 0x100 ? `\\x${hex(2)}` : code < 0x10000 ? `\\u${hex(4)}` : `\\U${hex(8)}`
  })
  return typeof text === 'string' ? escaped : foreign(escaped, text.spans[0]?.source ?? noSource, -1)
}

/** `%c` of a number may make any character: it is nobody's own. */
function character(value: Value): Str {
  if (isStr(value)) return lengthOf(value) === 1 ? value : fail('%c requires int or char')
  if (!isInt(value)) return fail('%c requires int or char')
  const code = Number(value)
  if (!(code >= 0 && code < 0x110000)) fail('%c arg not in range(0x110000)')
  return foreign(String.fromCodePoint(code), noSource)
}

const directive = /%(?:\(([^)]*)\))?([-+ 0#]*)(\*|\d+)?(?:\.(\*|\d+)?)?[hlL]?(.)?/gsu

/** `format % args`. */
export function percent(format: Str, args: Value): Str {
  const values = args instanceof Tuple ? args.items : [args]
  const parts: Str[] = []
  let [at, used] = [0, 0]
  let named = false
  const next = (): Value => (used < values.length ? values[used++]! : fail('not enough arguments for format string'))
  const size = (text: string | undefined): number | undefined => {
    if (text !== '*') return text === undefined ? undefined : Number(text)
    const value = next()
    return isInt(value) ? Number(value) : fail('* wants int')
  }
  for (const match of raw(format).matchAll(directive)) {
    parts.push(slice(format, at, match.index))
    at = match.index + match[0].length
    const [all, key, flags, widthText, precisionText, type] = match
    if (type === undefined) fail('incomplete format')
    if (type === '%') {
      parts.push('%')
      continue
    }
    const width = size(widthText)
    const precision = all.includes('.') && precisionText === undefined ? 0 : size(precisionText)
    if (key !== undefined && !(args instanceof Dict)) fail('format requires a mapping')
    named ||= key !== undefined
    const value = key === undefined ? next() : (args as Dict).get(key)
    if (value === undefined) fail(`KeyError: '${key}'`)
    parts.push(percentOne(value, type, flags!, width ?? 0, precision))
  }
  const mappingOk = args instanceof Dict || (isList(args) && used === 0)
  if (used < values.length && !named && !mappingOk) fail('not all arguments converted during string formatting')
  parts.push(slice(format, at))
  return concat(parts)
}

function percentOne(value: Value, type: string, flags: string, width: number, precision: number | undefined): Str {
  const missing = (text: Str) => Math.max(0, checkCharacters(width) - lengthOf(text))
  const pad = (text: Str) => (flags.includes('-') ? surround(text, 0, missing(text)) : surround(text, missing(text), 0))
  const convert = conversions[type]
  if (convert) {
    const text = convert(value)
    return pad(precision === undefined ? text : substring(text, 0, precision))
  }
  if (type === 'c') return pad(character(value))
  if (!/^[diouxXeEfFgG]$/.test(type)) fail(`unsupported format character '${type}'`)
  if (!isNumber(value)) fail(`%${type} format: a real number is required, not ${typeName(known(value))}`)
  if (/[xXo]/.test(type) && value instanceof Float) fail(`%${type} format: an integer is required, not float`)
  let text = numberText(value, type, precision, flags.includes('#'))
  const sign = text.startsWith('-') ? '-' : flags.includes('+') ? '+' : flags.includes(' ') ? ' ' : ''
  text = text.replace(/^-/, '')
  if (precision !== undefined && bases[type] !== undefined) text = text.padStart(checkCharacters(precision), '0')
  if (flags.includes('0') && !flags.includes('-')) text = text.padStart(checkCharacters(width) - sign.length, '0')
  return pad(sign + text)
}

const field = /\{\{|\}\}|\{([^{}:!]*)(?:!([^{}:]*))?(?::((?:[^{}]|\{[^{}]*\})*))?\}|[{}]/g

/** What `{0.name}` and `{0[key]}` reach. */
export type Resolve = (value: Value, key: string | number, byPoint: boolean) => Value

/** `text.format(...)`. */
export function formatText(format: Str, args: readonly Value[], keywords: Keywords, resolve: Resolve): Str {
  const counter = { next: 0 }
  const value = (name: string) => fieldValue(name, args, keywords, counter, resolve)
  return fillFields(format, value, 1)
}

/** Fields in the specification of a field are filled as well, once. */
function fillFields(format: Str, fieldNamed: (name: string) => Value, deeper: number): Str {
  const parts: Str[] = []
  let at = 0
  for (const match of raw(format).matchAll(field)) {
    parts.push(slice(format, at, match.index))
    at = match.index + match[0].length
    const [all, name, conversion, spec] = match
    if (all === '{{' || all === '}}') parts.push(all[0]!)
    else if (name === undefined) fail(`Single '${all}' encountered in format string`)
    else {
      let value = fieldNamed(name)
      const inner = spec === undefined ? '' : deeper > 0 ? raw(fillFields(spec, fieldNamed, deeper - 1)) : spec
      if (conversion !== undefined)
        value = (conversions[conversion] ?? fail(`Unknown conversion specifier '${conversion}'`))(value)
      parts.push(formatOne(value, inner))
    }
  }
  parts.push(slice(format, at))
  return concat(parts)
}

function fieldValue(
  name: string,
  args: readonly Value[],
  keywords: Keywords,
  counter: { next: number },
  resolve: Resolve,
): Value {
  const first = /^[^.[]*/.exec(name)![0]
  const index = first === '' ? counter.next++ : /^\d+$/.test(first) ? Number(first) : undefined
  let value = index === undefined ? keywords.get(first) : args[index]
  if (value === undefined)
    fail(
      index === undefined
        ? `KeyError: '${first}'`
        : `Replacement index ${index} out of range for positional args tuple`,
    )
  for (const [, attribute, item] of name.slice(first.length).matchAll(/\.([^.[]+)|\[([^\]]+)\]/g)) {
    value =
      attribute === undefined
        ? resolve(value, /^\d+$/.test(item!) ? Number(item) : item!, false)
        : resolve(value, attribute, true)
  }
  return value
}

const specification = /^(?:(.)?([<>=^]))?([+ -]?)(z?)(#?)(0?)(\d*)([,_]?)(?:\.(\d+))?([a-zA-Z%]?)$/su

function formatOne(value: Value, spec: string): Str {
  if (spec === '') return str(value)
  const match = specification.exec(spec) ?? fail(`Invalid format specifier '${spec}'`)
  const [, fillText, alignText, sign, , alternate, zero, widthText, group, precisionText, type] =
    match as unknown as string[]
  const width = checkCharacters(Number(widthText || 0))
  const precision = precisionText === undefined ? undefined : checkCharacters(Number(precisionText))
  const fill = fillText ?? (zero ? '0' : ' ')
  const numeric = isNumber(value) && !(typeof value === 'boolean' && type === '')
  let text: Str
  let prefix = ''
  if (numeric) {
    const number = formatNumber(value, type!, precision, alternate === '#', group!)
    prefix = number.startsWith('-') ? '-' : sign === '+' || sign === ' ' ? sign : ''
    text = number.replace(/^-/, '')
  } else {
    if (!isStr(value) && typeof value !== 'boolean')
      fail(`unsupported format string passed to ${typeName(known(value))}.__format__`)
    if ((type !== '' && type !== 's') || sign || group)
      fail(`Unknown format code '${type || sign || group}' for object of type '${typeName(value)}'`)
    text = precision === undefined ? str(value) : substring(str(value), 0, precision)
  }
  const align = alignText ?? (numeric ? (zero ? '=' : '>') : '<')
  if (align === '=' && numeric) {
    const missing = Math.max(0, width - prefix.length - lengthOf(text))
    return concat([prefix, repeat(fill, missing), text])
  }
  const whole = concat([prefix, text])
  const missing = Math.max(0, width - lengthOf(whole))
  const left = align === '<' ? 0 : align === '^' ? Math.floor(missing / 2) : missing
  return surround(whole, left, missing - left, fill)
}

function formatNumber(
  value: Int | Float,
  type: string,
  precision: number | undefined,
  alternate: boolean,
  group: string,
): string {
  let text: string
  if (type === 'c') fail("the format code 'c' is not supported")
  if (type === '%') text = `${fixed(toNumber(value) * 100, precision ?? 6)}%`
  else if (type === '' && value instanceof Float)
    text = precision === undefined ? floatText(value.number) : generalFloat(value.number, precision)
  else if (type === '') text = numberText(value, 'd', undefined, false)
  else if (bases[type] === undefined && !/^[eEfFgG]$/.test(type))
    return fail(`Unknown format code '${type}' for object of type '${typeName(value)}'`)
  else if (bases[type] !== undefined && value instanceof Float && type !== 'n')
    return fail(`Unknown format code '${type}' for object of type 'float'`)
  else text = numberText(value, type, precision, alternate)
  if (group === '') return text
  return text.replace(/^-?[0-9]+/, (digits) => digits.replace(/\B(?=(\d{3})+$)/g, group))
}

/** A float without a letter: as `g`, but with a decimal always. */
function generalFloat(number: number, precision: number): string {
  const text = floatForm(number, 'g', precision, false)
  return /[.e]/.test(text) ? text : `${text}.0`
}
