/** Python's strftime in the C locale, for chat templates that write today's date. Unknown directives stay as they are. */

const days = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday']
const months = 'January February March April May June July August September October November December'.split(' ')

const two = (value: number) => String(value).padStart(2, '0')

const directives: Record<string, (date: Date) => string | number> = {
  Y: (date) => date.getFullYear(),
  y: (date) => two(date.getFullYear() % 100),
  m: (date) => two(date.getMonth() + 1),
  B: (date) => months[date.getMonth()]!,
  b: (date) => months[date.getMonth()]!.slice(0, 3),
  d: (date) => two(date.getDate()),
  e: (date) => String(date.getDate()).padStart(2),
  '-d': (date) => date.getDate(),
  '-m': (date) => date.getMonth() + 1,
  A: (date) => days[date.getDay()]!,
  a: (date) => days[date.getDay()]!.slice(0, 3),
  j: (date) =>
    String(
      Math.round((+new Date(date).setHours(12, 0, 0, 0) - +new Date(date.getFullYear(), 0, 0, 12)) / 864e5),
    ).padStart(3, '0'),
  H: (date) => two(date.getHours()),
  I: (date) => two(date.getHours() % 12 || 12),
  M: (date) => two(date.getMinutes()),
  S: (date) => two(date.getSeconds()),
  p: (date) => (date.getHours() < 12 ? 'AM' : 'PM'),
  F: (date) => strftime(date, '%Y-%m-%d'),
  T: (date) => strftime(date, '%H:%M:%S'),
  '%': () => '%',
}

export function strftime(date: Date, format: string): string {
  return format.replace(/%(-?[A-Za-z%])/g, (text, name: string) => String(directives[name]?.(date) ?? text))
}
