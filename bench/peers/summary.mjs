// The rounds of run.mjs as medians and ratios, as a Markdown table and as charts.
import { median } from '../median.mjs'

/** What is measured, in the order of the table; of load and rss less is better. */
const measures = {
  prefill: 'prefill 512, tokens/s',
  decode: 'decode, tokens/s',
  parallel8: '8 parallel, tokens/s',
  parallel32: '32 parallel, tokens/s',
  load: 'load, s',
  rss: 'memory, MiB',
}
const less = new Set(['load', 'rss'])
/** Each peer counts with the better of its thread counts. */
const peers = ['node-llama-cpp', 'llama.cpp']

const rounded = (value) => Number(value.toPrecision(4))
const mapped = (keys, of) =>
  Object.fromEntries(keys.map((key) => [key, of(key)]).filter(([, value]) => value !== undefined))

/** `rounds`: engine -> measure -> value. A ratio is the median of the rounds' own ratios: octavo to the better thread count. */
export function summarisePeers(rounds) {
  const keys = Object.keys(measures)
  const known = (of) => {
    const list = rounds.map(of).filter((value) => value !== undefined)
    return list.length > 0 ? rounded(median(list)) : undefined
  }
  const medians = mapped(Object.keys(rounds[0]), (engine) =>
    mapped(keys, (key) => known((round) => round[engine][key])),
  )
  const best = (round, peer, key) => {
    const list = Object.entries(round).filter(([name, row]) => name.split(',')[0] === peer && row[key] !== undefined)
    if (list.length === 0) return undefined
    return (less.has(key) ? Math.min : Math.max)(...list.map(([, row]) => row[key]))
  }
  const ratio = (peer, key) =>
    known((round) => {
      const other = best(round, peer, key)
      return other === undefined ? undefined : round.octavo[key] / other
    })
  const ratios = Object.fromEntries(peers.map((peer) => [`octavo / ${peer}`, mapped(keys, (key) => ratio(peer, key))]))
  return { medians, ratios }
}

export function peersTable({ medians, ratios }) {
  const shown = (value, digits) => (value === undefined ? '-' : value >= 100 ? value.toFixed(0) : value.toFixed(digits))
  const rows = Object.entries(measures).map(([key, label]) => [
    label,
    ...Object.values(medians).map((row) => shown(row[key], 1)),
    ...Object.values(ratios).map((row) => (row[key] === undefined ? '-' : `${row[key].toFixed(2)}x`)),
  ])
  return { head: ['', ...Object.keys(medians), ...Object.keys(ratios)], rows }
}

export function peersCharts({ model, medians, rounds }) {
  const counts = { decode: 1, parallel8: 8, parallel32: 32 }
  const engines = Object.keys(medians)
  const byCount = (name) =>
    Object.entries(counts).flatMap(([key, count]) =>
      medians[name][key] === undefined ? [] : [[count, medians[name][key]]],
    )
  const series = (points) => engines.map((name) => ({ name, points: points(name) }))
  return [
    { title: `Decode, ${model}`, x: 'requests at once', y: 'tokens/s', logX: true, series: series(byCount) },
    {
      title: `Prefill of 512 tokens, ${model}`,
      ...{ x: 'round', y: 'tokens/s' },
      series: series((name) => rounds.map((round, i) => [i + 1, round[name].prefill])),
    },
  ]
}
