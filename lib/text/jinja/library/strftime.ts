/**
 * Python's strftime in the C locale, for chat templates that write today's date; the flags - _ 0 ^ # and widths as glibc has them. Unknown
 * directives stay as they are. The time has no zone, as datetime.now() has none.
 */

const days = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday']
const months = 'January February March April May June July August September October November December'.split(' ')

const dayMs = 864e5

/** Days since the first of January, from 0. */
function dayOfYear(date: Date): number {
  const noon = Date.UTC(date.getFullYear(), date.getMonth(), date.getDate())
  return Math.round((noon - Date.UTC(date.getFullYear(), 0, 1)) / dayMs)
}

/** The week that holds most of the days around: its year and number (ISO 8601). */
function isoWeek(date: Date): { year: number; week: number } {
  const thursday = new Date(date.getFullYear(), date.getMonth(), date.getDate() + 3 - ((date.getDay() + 6) % 7), 12)
  return { year: thursday.getFullYear(), week: Math.floor(dayOfYear(thursday) / 7) + 1 }
}

/** Weeks that begin on `firstDay`; days before the first of them are in week 0. */
const weekFrom = (date: Date, firstDay: number) =>
  Math.floor((dayOfYear(date) + 7 - ((date.getDay() + 7 - firstDay) % 7)) / 7)

interface Numeric {
  value(date: Date): number
  width: number
  pad: ' ' | '0'
}
const number = (width: number, value: (date: Date) => number, pad: ' ' | '0' = '0'): Numeric => ({ value, width, pad })
const hour12 = (date: Date) => date.getHours() % 12 || 12

const numbers: Record<string, Numeric> = {
  Y: number(1, (date) => date.getFullYear()),
  C: number(2, (date) => Math.floor(date.getFullYear() / 100)),
  y: number(2, (date) => date.getFullYear() % 100),
  m: number(2, (date) => date.getMonth() + 1),
  d: number(2, (date) => date.getDate()),
  e: number(2, (date) => date.getDate(), ' '),
  j: number(3, (date) => dayOfYear(date) + 1),
  H: number(2, (date) => date.getHours()),
  I: number(2, hour12),
  k: number(2, (date) => date.getHours(), ' '),
  l: number(2, hour12, ' '),
  M: number(2, (date) => date.getMinutes()),
  S: number(2, (date) => date.getSeconds()),
  f: number(6, (date) => date.getMilliseconds() * 1000),
  s: number(1, (date) => Math.floor(date.getTime() / 1000)),
  u: number(1, (date) => date.getDay() || 7),
  w: number(1, (date) => date.getDay()),
  U: number(2, (date) => weekFrom(date, 0)),
  W: number(2, (date) => weekFrom(date, 1)),
  V: number(2, (date) => isoWeek(date).week),
  G: number(1, (date) => isoWeek(date).year),
  g: number(2, (date) => isoWeek(date).year % 100),
}

const texts: Record<string, (date: Date) => string> = {
  A: (date) => days[date.getDay()]!,
  a: (date) => days[date.getDay()]!.slice(0, 3),
  B: (date) => months[date.getMonth()]!,
  b: (date) => months[date.getMonth()]!.slice(0, 3),
  h: (date) => months[date.getMonth()]!.slice(0, 3),
  p: (date) => (date.getHours() < 12 ? 'AM' : 'PM'),
  P: (date) => (date.getHours() < 12 ? 'am' : 'pm'),
  c: (date) => strftime(date, '%a %b %e %H:%M:%S %Y'),
  D: (date) => strftime(date, '%m/%d/%y'),
  x: (date) => strftime(date, '%m/%d/%y'),
  F: (date) => strftime(date, '%Y-%m-%d'),
  T: (date) => strftime(date, '%H:%M:%S'),
  X: (date) => strftime(date, '%H:%M:%S'),
  R: (date) => strftime(date, '%H:%M'),
  r: (date) => strftime(date, '%I:%M:%S %p'),
  n: () => '\n',
  t: () => '\t',
  z: () => '',
  Z: () => '',
  '%': () => '%',
}

function numeral(date: Date, { value, width, pad }: Numeric, flag: string, least: number): string {
  const text = String(value(date))
  if (flag === '-') return text
  return text.padStart(Math.max(width, least), flag === '_' ? ' ' : flag === '0' ? '0' : pad)
}

export function strftime(date: Date, format: string): string {
  return format.replace(/%([-_0^#]?)(\d{0,3})([A-Za-z%])/g, (all, flag: string, width: string, name: string) => {
    if (Object.hasOwn(numbers, name)) return numeral(date, numbers[name]!, flag, Number(width))
    if (!Object.hasOwn(texts, name)) return all
    const text = texts[name]!(date)
    const padded = text.padStart(Number(width), flag === '0' ? '0' : ' ')
    if (flag === '^') return padded.toUpperCase()
    // Only %p becomes small letters.
    return flag === '#' ? (name === 'p' ? padded.toLowerCase() : padded.toUpperCase()) : padded
  })
}
