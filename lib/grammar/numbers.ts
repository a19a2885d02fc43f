/**
 * Numbers as automata over their digits: bounds are compared digit by digit, multiples are remainders. What a text means is the double
 * that it is read as: a bound that excludes its own value excludes every text that is read as that value, too.
 *
 * Spelling: integers up to 2^53 - 1 without fraction and exponent; numbers with a condition without an exponent; others in any way
 * that JSON allows, with as many digits as a double may need.
 */
import { type Table, tabulate } from './automata/automaton.ts'
import type { Budget } from './automata/refusal.ts'

export const numberBytes = [...'0123456789-.eE+'].map((c) => c.charCodeAt(0))
const [minus, point, smallE, bigE, plus] = [10, 11, 12, 13, 14]

export interface NumberConditions {
  /** Which numbers: whole ones, those with a fraction, or both. */
  kind: 'integer' | 'fraction' | 'any'
  min: number
  minExcluded: boolean
  max: number
  maxExcluded: boolean
  multiples: readonly number[]
  notMultiples: readonly number[]
  not: readonly number[]
}

const integerDigits = 16
/** So many are always below 2^53. */
const shortDigits = 15
const wholeDigits = 21
const fractionDigits = 22
const largestModulus = 10_000

interface Decimal {
  negative: boolean
  whole: string
  fraction: string
}

/** The digits of a double's shortest text, without leading and trailing zeros. */
function decimal(value: number): Decimal {
  const [mantissa, exponent = '0'] = Math.abs(value).toString().split('e') as [string, string?]
  const [whole, fraction = ''] = mantissa.split('.') as [string, string?]
  const shift = Number(exponent)
  const digits = whole + fraction
  const at = whole.length + shift
  const left = at <= 0 ? '' : digits.slice(0, at).padEnd(at, '0')
  const right = at <= 0 ? '0'.repeat(-at) + digits : digits.slice(at)
  return { negative: value < 0, whole: left.replace(/^0+/, ''), fraction: right.replace(/0+$/, '') }
}

const scratch = new DataView(new ArrayBuffer(8))

/** The next double above (1) or below (-1). */
function neighbour(value: number, direction: 1 | -1): number {
  if (value === 0) return direction * Number.MIN_VALUE
  scratch.setFloat64(0, value)
  scratch.setBigInt64(0, scratch.getBigInt64(0) + BigInt(value > 0 === direction > 0 ? 1 : -1))
  return scratch.getFloat64(0)
}

interface Plan {
  whole: boolean
  fractionNeeded: boolean
  /** Digits before the point, and behind it, at most. */
  digits: number
  decimals: number
  constants: Decimal[]
  /** What must hold of the comparison (-1, 0, 1) with some of the constants. */
  holds: { of: number[]; by: (orders: readonly number[]) => boolean }[]
  moduli: { modulus: number; decimals: number; wanted: boolean }[]
}

/** Undefined: there is no such number. */
export function numberTable(conditions: NumberConditions, budget: Budget): Table | undefined {
  const plan = planOf(conditions, budget)
  if (plan === undefined) return undefined
  return plan.holds.length + plan.moduli.length === 0 && !plan.whole && !plan.fractionNeeded
    ? anyNumber(budget)
    : boundedNumber(plan, budget)
}

function planOf(conditions: NumberConditions, budget: Budget): Plan | undefined {
  const { kind, multiples, notMultiples, not } = conditions
  const moduli = multiples.map((value) => modulus(value, budget))
  // Multiples of whole numbers are whole, those of others have no more decimals than they.
  const whole = kind === 'integer' || moduli.some(({ decimals }) => decimals === 0)
  if (whole && kind === 'fraction') return undefined
  const decimals = Math.min(fractionDigits, ...moduli.map((one) => one.decimals))
  const plan: Plan = {
    ...{ whole, fractionNeeded: kind === 'fraction', decimals, constants: [], holds: [], moduli: [] },
    digits: whole ? integerDigits : wholeDigits,
  }
  const constant = (value: number) => plan.constants.push(decimal(value)) - 1
  const compare = (value: number, holds: (order: number) => boolean) => {
    plan.holds.push({ of: [constant(value)], by: ([order]) => holds(order!) })
  }
  let { min, minExcluded, max, maxExcluded } = conditions
  if (whole) {
    const most = Number.MAX_SAFE_INTEGER
    min = minExcluded ? Math.floor(min) + 1 : Math.ceil(min)
    max = maxExcluded ? Math.ceil(max) - 1 : Math.floor(max)
    if (min > max) return undefined
    if (min > most || max < -most) throw budget.refuse(`integers beyond ${most}`)
    ;[minExcluded, maxExcluded] = [false, false]
    // The largest integers are told apart digit by digit where that is all there is to do.
    const simple = multiples.length + notMultiples.length + not.length === 0
    const short = [min, max].every(
      (bound) => Math.abs(bound) < 10 ** shortDigits || Math.abs(bound) === Number.POSITIVE_INFINITY,
    )
    if (simple || !short) [min, max] = [Math.max(min, -most), Math.min(max, most)]
    else plan.digits = shortDigits
  }
  if (min > max || (min === max && (minExcluded || maxExcluded))) return undefined
  // 0 has no neighbour that could be read as 0.
  if (minExcluded && min !== 0 && min !== Number.NEGATIVE_INFINITY) {
    min = neighbour(min, 1)
    minExcluded = false
  }
  if (maxExcluded && max !== 0 && max !== Number.POSITIVE_INFINITY) {
    max = neighbour(max, -1)
    maxExcluded = false
  }
  if (min !== Number.NEGATIVE_INFINITY) compare(min, (order) => (minExcluded ? order > 0 : order >= 0))
  if (max !== Number.POSITIVE_INFINITY) compare(max, (order) => (maxExcluded ? order < 0 : order <= 0))
  for (const value of new Set(not)) {
    if (whole || value === 0) compare(value, (order) => order !== 0)
    else {
      const of = [constant(neighbour(value, -1)), constant(neighbour(value, 1))]
      plan.holds.push({ of, by: ([below, above]) => below! <= 0 || above! >= 0 })
    }
  }
  for (const [list, wanted] of [
    [multiples, true],
    [notMultiples, false],
  ] as const)
    for (const value of new Set(list)) plan.moduli.push({ ...modulus(value, budget), wanted })
  return plan
}

function modulus(value: number, budget: Budget): { modulus: number; decimals: number } {
  const { whole, fraction } = decimal(value)
  const number = Number(whole + fraction)
  if (number > largestModulus)
    throw budget.refuse(`multiples of a number of more than ${largestModulus} in its last place`)
  return { modulus: number, decimals: fraction.length }
}

const phases = { start: 0, sign: 1, zero: 2, whole: 3, dot: 4, fraction: 5, e: 6, up: 7, down: 8, exponent: 9 } as const
type Phase = (typeof phases)[keyof typeof phases]

/** Largest exponents of three digits, so that no number is infinite: behind one digit, behind several; and below zero. */
const exponents = { one: '307', several: '287', below: '324' } as const

/** Any number; none of them is read as infinite. */
function anyNumber(budget: Budget): Table | undefined {
  interface State {
    phase: Phase
    /** Of this part. */
    digits: number
    limit: string
    /** Whether the exponent so far is less than (-1), the beginning of (0), or more than (1) its limit. */
    order: number
  }
  const start: State = { phase: phases.start, digits: 0, limit: exponents.one, order: 0 }
  const step = (state: State, symbol: number): State | undefined => {
    const { phase, digits, limit } = state
    const digit = symbol <= 9
    const to = (next: Phase, count = 0): State => ({ ...state, phase: next, digits: count })
    switch (phase) {
      case phases.start:
      case phases.sign:
        if (symbol === minus && phase === phases.start) return to(phases.sign)
        return digit ? to(symbol === 0 ? phases.zero : phases.whole, 1) : undefined
      case phases.zero:
      case phases.whole:
      case phases.fraction:
        if (symbol === smallE || symbol === bigE) return to(phases.e)
        if (symbol === point) return phase === phases.fraction ? undefined : to(phases.dot)
        if (!digit || phase === phases.zero || digits >= (phase === phases.whole ? wholeDigits : fractionDigits))
          return undefined
        return { ...to(phase, digits + 1), limit: phase === phases.whole ? exponents.several : limit }
      case phases.dot:
        return digit ? to(phases.fraction, 1) : undefined
      case phases.e:
        if (symbol === minus) return { ...to(phases.down), limit: exponents.below }
        if (symbol === plus) return to(phases.up)
        break
    }
    // An exponent: 0, or digits that do not begin with 0.
    if (!digit || digits >= 3 || (digits === 1 && state.order === -2)) return undefined
    const order = digits === 0 && symbol === 0 ? -2 : state.order || Math.sign(symbol - Number(limit[digits]))
    if (digits === 2 && order > 0) return undefined
    return { ...to(phases.exponent, digits + 1), order }
  }
  const complete: readonly number[] = [phases.zero, phases.whole, phases.fraction, phases.exponent]
  const key = ({ phase, digits, limit, order }: State) =>
    ((phase * 32 + digits) * 4 + (limit === exponents.one ? 0 : limit === exponents.several ? 1 : 2)) * 4 + order + 2
  const label = ({ phase }: State) => (complete.includes(phase) ? 0 : -1)
  return tabulate({ start, classes: numberBytes.length, budget, key }, step, label)
}

interface Digits {
  phase: Phase
  negative: boolean
  /** Of the whole part, or of the fraction. */
  digits: number
  /** Some digit was not 0; one of the fraction. */
  some: boolean
  fraction: boolean
  /** |x| so far against each constant: less, the beginning of it, more. */
  orders: number[]
  /** Remainders; -1: no multiple any more. */
  rests: number[]
}

function boundedNumber(plan: Plan, budget: Budget): Table | undefined {
  const { constants, moduli, holds } = plan
  const longest = Math.max(0, ...constants.map(({ whole }) => whole.length))
  const start: Digits = {
    ...{ phase: phases.start, negative: false, digits: 0, some: false, fraction: false },
    ...{ orders: constants.map(() => 0), rests: moduli.map(() => 0) },
  }
  /** How the number compares with a constant whatever comes; undefined: that is not known yet. */
  const known = ({ phase, negative, digits, some, orders }: Digits, i: number): number | undefined => {
    if (!some) return undefined
    if (negative !== constants[i]!.negative) return negative ? -1 : 1
    const order = phase === phases.whole ? (digits > constants[i]!.whole.length ? 1 : 0) : orders[i]!
    return order === 0 ? undefined : negative ? -order : order
  }
  const hopeless = (state: Digits) =>
    holds.some((hold) => {
      const orders = hold.of.map((i) => known(state, i))
      return !orders.includes(undefined) && !hold.by(orders as number[])
    })
  const step = (state: Digits, symbol: number): Digits | undefined => {
    // Two bounds are paid for with the cell.
    budget.spend(2 * Math.max(0, constants.length + moduli.length - 2))
    const next = advance(plan, state, symbol)
    return next === undefined || hopeless(next) ? undefined : next
  }
  const accepts = (state: Digits): boolean => {
    const { phase, negative, digits, some } = state
    if (phase !== phases.zero && phase !== phases.whole && phase !== phases.fraction) return false
    if (plan.fractionNeeded && !state.fraction) return false
    const inFraction = phase === phases.fraction
    const orders = constants.map((constant, i) => {
      if (!some) return constant.negative ? 1 : constant.whole + constant.fraction === '' ? 0 : -1
      if (negative !== constant.negative) return negative ? -1 : 1
      let order = state.orders[i]!
      if (!inFraction) order = Math.sign(digits - constant.whole.length) || order
      if (order === 0 && /[1-9]/.test(constant.fraction.slice(inFraction ? digits : 0))) order = -1
      return negative ? -order : order
    })
    if (!holds.every((hold) => hold.by(hold.of.map((i) => orders[i]!)))) return false
    return moduli.every(({ modulus, decimals, wanted }, i) => {
      let rest = state.rests[i]!
      for (let k = inFraction ? digits : 0; k < decimals && rest >= 0; k++) rest = (rest * 10) % modulus
      return (rest === 0) === wanted
    })
  }
  const radix = moduli.reduce((product, { modulus }) => product * (modulus + 1), 2560 * 3 ** constants.length)
  const key = ({ phase, negative, digits, some, fraction, orders, rests }: Digits): number | string => {
    const head = (((phase * 2 + (negative ? 1 : 0)) * 32 + digits) * 2 + (some ? 1 : 0)) * 2 + (fraction ? 1 : 0)
    // Longer than all constants: how it began does not matter.
    const matter = phase !== phases.whole || digits <= longest
    if (radix > Number.MAX_SAFE_INTEGER) return `${head};${matter ? orders : ''};${rests}`
    let value = head
    for (const order of orders) value = value * 3 + (matter ? order + 1 : 0)
    for (const [i, rest] of rests.entries()) value = value * (moduli[i]!.modulus + 1) + rest + 1
    return value
  }
  return tabulate({ start, classes: numberBytes.length, budget, work: 1, key }, step, (state) =>
    accepts(state) ? 0 : -1,
  )
}

function advance(
  { whole, fractionNeeded, digits: wholeMost, decimals: most, constants, moduli }: Plan,
  state: Digits,
  symbol: number,
): Digits | undefined {
  const { phase, digits, orders, rests } = state
  if (symbol === minus) return phase === phases.start ? { ...state, phase: phases.sign, negative: true } : undefined
  if (symbol === point) {
    if (whole || (phase !== phases.zero && phase !== phases.whole)) return undefined
    const decided = orders.map((order, i) => Math.sign(digits - constants[i]!.whole.length) || order)
    return { ...state, phase: phases.dot, digits: 0, orders: decided }
  }
  if (symbol > 9 || phase === phases.zero) return undefined
  const some = state.some || symbol > 0
  if (phase === phases.dot || phase === phases.fraction) {
    if (digits >= most) return undefined
    return {
      ...{ phase: phases.fraction, negative: state.negative, digits: digits + 1, some },
      fraction: fractionNeeded && (state.fraction || symbol > 0),
      orders: orders.map((order, i) => order || Math.sign(symbol - Number(constants[i]!.fraction[digits] ?? '0'))),
      rests: rests.map((rest, i) => {
        const { modulus, decimals } = moduli[i]!
        if (rest < 0 || digits < decimals) return rest < 0 ? rest : (rest * 10 + symbol) % modulus
        return symbol > 0 ? -1 : rest
      }),
    }
  }
  // A whole number has no -0.
  if (symbol === 0 && phase !== phases.whole)
    return whole && phase === phases.sign ? undefined : { ...state, phase: phases.zero }
  if (digits >= wholeMost) return undefined
  return {
    ...{ phase: phases.whole, negative: state.negative, digits: digits + 1, some, fraction: false },
    orders: orders.map((order, i) => order || Math.sign(symbol - Number(constants[i]!.whole[digits] ?? '0'))),
    rests: rests.map((rest, i) => (rest * 10 + symbol) % moduli[i]!.modulus),
  }
}

/** Whether a number meets the conditions: for those that a schema lists. */
export function holdsNumber(value: number, conditions: NumberConditions): boolean {
  const { kind, min, minExcluded, max, maxExcluded, multiples, notMultiples, not } = conditions
  if (kind !== 'any' && Number.isInteger(value) !== (kind === 'integer')) return false
  if (value < min || (minExcluded && value === min) || value > max || (maxExcluded && value === max)) return false
  return (
    multiples.every((m) => isMultiple(value, m)) &&
    !notMultiples.some((m) => isMultiple(value, m)) &&
    !not.includes(value)
  )
}

/** In decimal, as both are written. */
function isMultiple(value: number, of: number): boolean {
  const [a, b] = [decimal(value), decimal(of)]
  const places = Math.max(a.fraction.length, b.fraction.length)
  const whole = ({ whole, fraction }: Decimal) => BigInt(whole + fraction.padEnd(places, '0'))
  return whole(a) % whole(b) === 0n
}
