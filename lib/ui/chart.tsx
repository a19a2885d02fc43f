/** A line chart over the last minutes; uPlot draws it, and a sentence says its last values to those who do not see it. */
import { Fragment } from 'preact'
import { useEffect, useRef } from 'preact/hooks'
import UPlot from 'uplot'

export interface Line {
  label: string
  colour: '--one' | '--two' | '--three' | '--four' | '--five'
}

interface ChartProps {
  title: string
  unit: string
  lines: Line[]
  /** Seconds since the epoch. */
  times: number[]
  values: (number | null)[][]
}

const height = 150
const colourOf = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(name)
const clock = (seconds: number) => new Date(seconds * 1000).toTimeString().slice(0, 8)
const shown = (value: number | null | undefined) => (value == null ? 'none' : Number(value.toPrecision(3)).toString())

export function Chart({ title, unit, lines, times, values }: ChartProps) {
  const place = useRef<HTMLDivElement>(null)
  const plot = useRef<UPlot>()
  useEffect(() => {
    const element = place.current!
    const axis = {
      stroke: colourOf('--dim'),
      grid: { stroke: colourOf('--line') },
      ticks: { stroke: colourOf('--line') },
    }
    const made = new UPlot(
      {
        ...{ width: element.clientWidth, height, legend: { show: false }, cursor: { show: false } },
        scales: { y: { range: (_plot, _min, max) => [0, max > 0 ? max * 1.1 : 1] } },
        axes: [
          { ...axis, size: 32, values: (_plot, seconds) => seconds.map(clock) },
          { ...axis, size: 56 },
        ],
        series: [{}, ...lines.map(({ label, colour }) => ({ label, stroke: colourOf(colour), width: 2 }))],
      },
      [times, ...values] as UPlot.AlignedData,
      element,
    )
    plot.current = made
    const observer = new ResizeObserver(() => made.setSize({ width: element.clientWidth, height }))
    observer.observe(element)
    return () => {
      observer.disconnect()
      made.destroy()
    }
  }, [])
  useEffect(() => plot.current?.setData([times, ...values] as UPlot.AlignedData), [times, values])
  const last = lines.map(({ label, colour }, i) => (
    <Fragment key={label}>
      {i === 0 ? '' : ', '}
      <span class="line">
        <i class={`swatch ${colour.slice(2)}`} aria-hidden="true" />
        {`${label} ${shown(values[i]?.at(-1))}`}
      </span>
    </Fragment>
  ))
  return (
    <figure class="panel chart">
      <figcaption>
        {title} ({unit}): {last}
      </figcaption>
      <div ref={place} aria-hidden="true" />
    </figure>
  )
}
