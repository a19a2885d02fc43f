/** Python's arithmetic: integers without end (to a limit), floats, how both are written and read. */
import { fail } from './faults.ts'
import { checkBits } from './limits.ts'
import { Float, type Int, isInt, isNumber, known, typeName, type Value } from './values.ts'

/** Integers are numbers as long as these are exact. */
export function integer(value: number | bigint): number | bigint {
  if (typeof value === 'number') {
    if (Number.isSafeInteger(value)) return value + 0
    if (!Number.isFinite(value)) fail(`cannot convert float ${Number.isNaN(value) ? 'NaN' : 'infinity'} to integer`)
    return integer(BigInt(value))
  }
  const small = Number(value)
  if (Number.isSafeInteger(small)) return small
  checkBits(Math.ceil(value.toString(16).length * 4))
  return value
}

export const toNumber = (value: Int | Float): number => (value instanceof Float ? value.number : Number(value))
const toBig = (value: Int): bigint => BigInt(value)

/** -1, 0, 1; NaN when they have no order. */
export function compareNumbers(a: Int | Float, b: Int | Float): number {
  const x = a instanceof Float ? a.number : typeof a === 'boolean' ? Number(a) : a
  const y = b instanceof Float ? b.number : typeof b === 'boolean' ? Number(b) : b
  if (x < y) return -1
  if (x > y) return 1
  return Number.isNaN(x) || Number.isNaN(y) ? Number.NaN : 0
}

interface Operator {
  numbers(a: number, b: number): number
  bigs(a: bigint, b: bigint): bigint
}

const operators: Record<string, Operator> = {
  '+': { numbers: (a, b) => a + b, bigs: (a, b) => a + b },
  '-': { numbers: (a, b) => a - b, bigs: (a, b) => a - b },
  '*': { numbers: (a, b) => a * b, bigs: (a, b) => a * b },
  '//': { numbers: floorDivide, bigs: (a, b) => (a - bigModulo(a, b)) / b },
  '%': { numbers: modulo, bigs: bigModulo },
}

/** With the sign of the divisor. */
function modulo(a: number, b: number): number {
  const rest = a % b
  if (rest === 0) return b < 0 ? -0 : 0
  return rest < 0 !== b < 0 ? rest + b : rest
}

function bigModulo(a: bigint, b: bigint): bigint {
  const rest = a % b
  return rest !== 0n && rest < 0n !== b < 0n ? rest + b : rest
}

/** As CPython's float_floor_div: from the exact rest. */
function floorDivide(a: number, b: number): number {
  const quotient = (a - modulo(a, b)) / b
  if (quotient === 0) return a / b < 0 || Object.is(a / b, -0) ? -0 : 0
  const floor = Math.floor(quotient)
  return quotient - floor > 0.5 ? floor + 1 : floor
}

export function unsupported(operator: string, a: Value, b: Value): never {
  return fail(`unsupported operand type(s) for ${operator}: '${typeName(known(a))}' and '${typeName(known(b))}'`)
}

export function calculate(operator: string, a: Value, b: Value): Value {
  if (!isNumber(a) || !isNumber(b)) return unsupported(operator, a, b)
  if (operator === '/') return divide(a, b)
  if (operator === '**') return power(a, b)
  const { numbers, bigs } = operators[operator]!
  if ((operator === '//' || operator === '%') && toNumber(b) === 0) fail('division or modulo by zero')
  if (a instanceof Float || b instanceof Float) return new Float(numbers(toNumber(a), toNumber(b)))
  if (typeof a !== 'bigint' && typeof b !== 'bigint') {
    const result = numbers(Number(a), Number(b))
    if (Number.isSafeInteger(result)) return result + 0
  }
  return integer(bigs(toBig(a), toBig(b)))
}

function divide(a: Int | Float, b: Int | Float): Float {
  if (toNumber(b) === 0) fail('division by zero')
  const isBig = typeof a === 'bigint' || typeof b === 'bigint'
  if (isBig && !(a instanceof Float) && !(b instanceof Float)) return new Float(divideBig(toBig(a), toBig(b)))
  return new Float(toNumber(a) / toNumber(b))
}

/** The float next to a quotient of integers: 64 bits of it, of which the last says whether anything follows. */
function divideBig(a: bigint, b: bigint): number {
  const bits = (value: bigint) => value.toString(2).replace('-', '').length
  const shift = 64 - bits(a) + bits(b)
  const [top, bottom] = shift > 0 ? [a << BigInt(shift), b] : [a, b << BigInt(-shift)]
  const [quotient, rest] = [top / bottom, top % bottom]
  const sticky = rest === 0n ? quotient : quotient | 1n
  const result = Number(sticky) * 2 ** -shift
  if (!Number.isFinite(result)) fail('integer division result too large for a float')
  return result
}

function power(a: Int | Float, b: Int | Float): Value {
  if (a instanceof Float || b instanceof Float || Number(b) < 0) {
    if (toNumber(a) === 0 && toNumber(b) < 0) fail('0.0 cannot be raised to a negative power')
    if (toNumber(a) < 0 && !Number.isInteger(toNumber(b))) fail('complex numbers are not supported')
    const result = toNumber(a) ** toNumber(b)
    if (!Number.isFinite(result) && Number.isFinite(toNumber(a)) && Number.isFinite(toNumber(b)))
      fail('Numerical result out of range')
    return new Float(result)
  }
  const result = Number(a) ** Number(b)
  if (Number.isSafeInteger(result)) return result
  checkBits(Math.log2(Math.abs(Number(a))) * Number(b))
  return integer(toBig(a) ** toBig(b))
}

export function negate(value: Value): Value {
  if (value instanceof Float) return new Float(-value.number)
  if (typeof value === 'bigint') return integer(-value)
  if (isInt(value)) return 0 - Number(value)
  return fail(`bad operand type for unary -: '${typeName(known(value))}'`)
}

export function positive(value: Value): Value {
  if (value instanceof Float || typeof value === 'bigint') return value
  if (isInt(value)) return Number(value)
  return fail(`bad operand type for unary +: '${typeName(known(value))}'`)
}

/** repr() of a float. */
export function floatText(value: number): string {
  if (Number.isNaN(value)) return 'nan'
  if (!Number.isFinite(value)) return value < 0 ? '-inf' : 'inf'
  if (value === 0) return Object.is(value, -0) ? '-0.0' : '0.0'
  const [digits, exponent] = value.toExponential().split('e')
  if (Number(exponent) < -4 || Number(exponent) >= 16) return `${digits}e${signed(Number(exponent))}`
  const text = String(value)
  return text.includes('.') ? text : `${text}.0`
}

/** An exponent: its sign and at least two digits. */
export const signed = (exponent: number) => `${exponent < 0 ? '-' : '+'}${String(Math.abs(exponent)).padStart(2, '0')}`

/** How int() reads text, per base; undefined where it does not. */
export function readInt(text: string, base: number): number | bigint | undefined {
  const match = /^([+-]?)(0[xob])?_?([0-9a-z]+(?:_[0-9a-z]+)*)$/i.exec(text)
  if (!match) return undefined
  const [, sign, prefix = '', underlined] = match
  const marks: Record<string, number> = { '0x': 16, '0o': 8, '0b': 2 }
  const marked = marks[prefix.toLowerCase()]
  const digits = `${marked !== undefined && base !== 0 && marked !== base ? prefix : ''}${underlined}`.replaceAll(
    '_',
    '',
  )
  const used = base === 0 ? (marked ?? 10) : base
  if (used < 2 || used > 36 || digits.length > 4300) return undefined
  if (base === 0 && marked === undefined && /^0+[1-9]/.test(digits)) return undefined
  let value = 0n
  for (const digit of digits.toLowerCase()) {
    const one = Number.parseInt(digit, 36)
    if (!(one < used)) return undefined
    value = value * BigInt(used) + BigInt(one)
  }
  return integer(sign === '-' ? -value : value)
}

/** How float() reads text. */
export function readFloat(text: string): number | undefined {
  const clean = text.replace(/(?<=\d)_(?=\d)/g, '')
  if (/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(clean)) return Number(clean)
  const named = /^([+-]?)(inf(?:inity)?|nan)$/i.exec(clean)
  if (!named) return undefined
  const value = named[2]!.toLowerCase() === 'nan' ? Number.NaN : Number.POSITIVE_INFINITY
  return named[1] === '-' ? -value : value
}

/** round(): half to even, of the number that the float exactly is. */
export function roundHalfEven(value: number, digits: number): number {
  if (!Number.isFinite(value) || digits > 22) return value
  if (digits < 0) {
    const unit = 10 ** -digits
    return roundHalfEven(value / unit, 0) * unit
  }
  if (digits === 0) {
    const floor = Math.floor(value)
    const rest = value - floor
    const up = rest > 0.5 || (rest === 0.5 && floor % 2 !== 0)
    const rounded = up ? floor + 1 : floor
    return rounded === 0 && (value < 0 || Object.is(value, -0)) ? -0 : rounded
  }
  return Number(fixed(value, digits))
}

/** `value` with so many decimals, half to even of its exact binary value. */
export function fixed(value: number, decimals: number): string {
  if (!Number.isFinite(value)) return floatText(value)
  const sign = value < 0 || Object.is(value, -0) ? '-' : ''
  const { digits, scale } = exact(Math.abs(value))
  // value = digits / 2^scale
  const unit = 10n ** BigInt(decimals)
  const [numerator, denominator] = [digits * unit, 1n << BigInt(scale)]
  let whole = numerator / denominator
  const rest = 2n * (numerator % denominator)
  if (rest > denominator || (rest === denominator && whole % 2n === 1n)) whole++
  const text = String(whole).padStart(decimals + 1, '0')
  const cut = text.length - decimals
  return decimals === 0 ? sign + text : `${sign}${text.slice(0, cut)}.${text.slice(cut)}`
}

/** A positive float as digits / 2^scale. */
function exact(value: number): { digits: bigint; scale: number } {
  let scale = 0
  let scaled = value
  while (!Number.isInteger(scaled)) {
    scaled *= 2
    scale++
  }
  return { digits: BigInt(scaled), scale }
}
