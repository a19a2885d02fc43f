/**
 * A histogram as Prometheus has it, one for each model, for what is observed with every token: prom-client checks and hashes the labels of
 * every observation, which costs ten times as much as to count it.
 */
import type { Metric, Registry } from 'prom-client'

export type Observe = (value: number, times?: number) => void

interface Counts {
  labels: Record<string, string>
  /** Of each bucket alone; the last one is what no bound holds. */
  counts: number[]
  sum: number
}

export class Histogram {
  readonly name: string
  readonly #help: string
  readonly #bounds: readonly number[]
  readonly #all: Counts[] = []

  constructor(name: string, help: string, bounds: readonly number[], registry: Registry) {
    this.name = name
    this.#help = help
    this.#bounds = bounds
    registry.registerMetric(this as unknown as Metric)
  }

  /** With labels that no one else has. */
  observer(labels: Record<string, string>): Observe {
    const bounds = this.#bounds
    const own: Counts = { labels, counts: Array.from({ length: bounds.length + 1 }, () => 0), sum: 0 }
    this.#all.push(own)
    return (value, times = 1) => {
      let at = 0
      while (at < bounds.length && value > bounds[at]!) at++
      own.counts[at]! += times
      own.sum += value * times
    }
  }

  /** What the registry asks of a metric. */
  async get() {
    const { name } = this
    return {
      name,
      help: this.#help,
      type: 'histogram',
      aggregator: 'sum',
      values: this.#all.flatMap((one) => this.#values(one)),
    }
  }

  #values({ labels, counts, sum }: Counts) {
    let count = 0
    const buckets = [...this.#bounds, '+Inf'].map((le, i) => {
      count += counts[i]!
      return { metricName: `${this.name}_bucket`, labels: { le, ...labels }, value: count }
    })
    const whole = { sum, count }
    return [
      ...buckets,
      ...(['sum', 'count'] as const).map((key) => ({ metricName: `${this.name}_${key}`, labels, value: whole[key] })),
    ]
  }
}
