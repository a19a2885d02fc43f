/** Line charts as SVG text: a few series over two linear or logarithmic axes, several charts one above the other. */

export interface Series {
  name: string
  points: readonly (readonly [x: number, y: number])[]
}

export interface Chart {
  title: string
  x: string
  y: string
  logX?: boolean
  series: Series[]
}

const [width, height] = [780, 260]
const margin = { left: 64, right: 210, top: 30, bottom: 42 }
const colours = ['#3366cc', '#dc3912', '#109618', '#ff9900', '#990099']

const escaped = (text: string) => text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;')
const rounded = (value: number) => Number(value.toFixed(1))
const label = (value: number) => String(Number(value.toPrecision(3)))

/** Round steps of 1, 2 or 5, about five of them. */
function linearTicks(from: number, to: number): number[] {
  const rough = (to - from) / 5 || 1
  const power = 10 ** Math.floor(Math.log10(rough))
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough)!
  const first = Math.ceil(from / step)
  return Array.from({ length: Math.floor(to / step) - first + 1 }, (_, i) => (first + i) * step)
}

function logTicks(from: number, to: number): number[] {
  const ticks: number[] = []
  for (let power = Math.floor(Math.log10(from)); power <= Math.log10(to); power++) {
    for (const factor of [1, 2, 5]) ticks.push(factor * 10 ** power)
  }
  const inside = ticks.filter((tick) => tick >= from && tick <= to)
  return inside.length <= 8 ? inside : inside.filter((tick) => Math.log10(tick) % 1 === 0)
}

interface Axis {
  ticks: number[]
  /** 0..1 */
  place(value: number): number
}

function axis(values: number[], log: boolean): Axis {
  const usable = values.filter((value) => Number.isFinite(value) && (!log || value > 0))
  const to = usable.reduce((a, b) => Math.max(a, b), log ? 1 : 0) || 1
  if (!log) return { ticks: linearTicks(0, to), place: (value) => value / to }
  const from = Math.min(
    to / 2,
    usable.reduce((a, b) => Math.min(a, b), to),
  )
  const span = Math.log(to / from)
  return { ticks: logTicks(from, to), place: (value) => Math.log(Math.max(value, from) / from) / span }
}

function draw({ title, x, y, logX = false, series }: Chart, top: number): string {
  const points = series.flatMap((line) => line.points)
  const [xs, ys] = [
    axis(
      points.map(([px]) => px),
      logX,
    ),
    axis(
      points.map(([, py]) => py),
      false,
    ),
  ]
  const [plotWidth, plotHeight] = [width - margin.left - margin.right, height - margin.top - margin.bottom]
  const left = (value: number) => rounded(margin.left + plotWidth * xs.place(value))
  const up = (value: number) => rounded(top + margin.top + plotHeight * (1 - ys.place(value)))
  const [bottom, right] = [top + margin.top + plotHeight, margin.left + plotWidth]
  const text = (px: number, py: number, what: string, anchor = 'middle') =>
    `<text x="${px}" y="${py}" text-anchor="${anchor}">${escaped(what)}</text>`
  const parts = [
    `<text x="${margin.left}" y="${top + 18}" font-weight="bold">${escaped(title)}</text>`,
    `<rect x="${margin.left}" y="${top + margin.top}" width="${plotWidth}" height="${plotHeight}" fill="none" stroke="#999"/>`,
    ...xs.ticks.flatMap((tick) => [
      `<path d="M${left(tick)} ${bottom}v-${plotHeight}" stroke="#eee"/>`,
      text(left(tick), bottom + 15, label(tick)),
    ]),
    ...ys.ticks.flatMap((tick) => [
      `<path d="M${margin.left} ${up(tick)}h${plotWidth}" stroke="#eee"/>`,
      text(margin.left - 6, up(tick) + 4, label(tick), 'end'),
    ]),
    text(margin.left + plotWidth / 2, bottom + 32, x),
    `<text transform="translate(14 ${top + margin.top + plotHeight / 2}) rotate(-90)" text-anchor="middle">${escaped(y)}</text>`,
  ]
  for (const [i, { name, points: line }] of series.entries()) {
    const colour = colours[i % colours.length]!
    const path = line.map(([px, py], at) => `${at === 0 ? 'M' : 'L'}${left(px)} ${up(py)}`).join('')
    parts.push(`<path d="${path}" fill="none" stroke="${colour}" stroke-width="1.5"/>`)
    parts.push(`<path d="M${right + 10} ${top + margin.top + 12 + 18 * i}h18" stroke="${colour}" stroke-width="3"/>`)
    parts.push(text(right + 34, top + margin.top + 16 + 18 * i, name, 'start'))
  }
  return parts.join('\n')
}

export function svg(charts: Chart[]): string {
  const total = charts.length * height
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${total}" viewBox="0 0 ${width} ${total}" font-family="sans-serif" font-size="12">
<rect width="${width}" height="${total}" fill="white"/>
${charts.map((chart, i) => draw(chart, i * height)).join('\n')}
</svg>
`
}

/** The share of values that are at most x, as a line of at most 400 points. */
export function cumulative(values: readonly number[]): [number, number][] {
  const sorted = values.toSorted((a, b) => a - b)
  const every = Math.max(1, Math.floor(sorted.length / 400))
  return sorted.flatMap((value, i): [number, number][] =>
    i % every === 0 || i === sorted.length - 1 ? [[value, (100 * (i + 1)) / sorted.length]] : [],
  )
}
