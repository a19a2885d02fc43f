/** The load generator: seeded draws, what workloads ask for, what a report says, charts. */
import { describe, expect, it } from 'vitest'
import type { KvMoment, LoadResult, LoadSample } from '../lib/load/drive.ts'
import { Random } from '../lib/load/random.ts'
import { percentile, summarise } from '../lib/load/report.ts'
import { cumulative, svg } from '../lib/load/svg.ts'
import { createWorkload, type LoadOutcome, type WorkloadName, workloadNames } from '../lib/load/workload.ts'

const options = (seed = 1, scale = 1) => ({
  ...{ vocabulary: 4096, scale, promptTokens: 128, sharedTokens: 20, outputTokens: 64 },
  random: new Random(seed),
})

function requests(name: WorkloadName, count: number, seed = 1, scale = 1) {
  const workload = createWorkload(name, options(seed, scale))
  const random = new Random(seed + 100)
  let previous: LoadOutcome | undefined
  const all = Array.from({ length: count }, () => {
    const request = workload.next(random, previous)
    previous = { ...request, output: Array.from({ length: request.maxTokens }, () => 7) }
    return request
  })
  return { workload, all }
}

const meanOf = (values: number[]) => values.reduce((a, b) => a + b, 0) / values.length

describe('random numbers', () => {
  it('are the same for the same seed, and others for a child', () => {
    const draw = (random: Random) => Array.from({ length: 5 }, () => random.next())
    expect(draw(new Random(3))).toEqual(draw(new Random(3)))
    expect(draw(new Random(3))).not.toEqual(draw(new Random(4)))
    expect(draw(new Random(3).child(0))).not.toEqual(draw(new Random(3).child(1)))
  })

  it('have the means that they are asked for', () => {
    const random = new Random(1)
    const mean = (draw: () => number) => meanOf(Array.from({ length: 20_000 }, draw))
    expect(mean(() => random.next())).toBeCloseTo(0.5, 1)
    expect(mean(() => random.exponential(10)) / 10).toBeCloseTo(1, 1)
    expect(mean(() => random.logNormal(100, 0.8)) / 100).toBeCloseTo(1, 1)
  })
})

describe('workloads', () => {
  it.each(workloadNames)('%s: the same requests for the same seed, within its context', (name) => {
    for (const scale of [0.1, 1]) {
      const { workload, all } = requests(name, 60, 5, scale)
      expect(all).toEqual(requests(name, 60, 5, scale).all)
      expect(all).not.toEqual(requests(name, 60, 6, scale).all)
      for (const { prompt, maxTokens } of all) {
        expect(prompt.length).toBeGreaterThan(0)
        expect(maxTokens).toBeGreaterThan(0)
        expect(prompt.length + maxTokens).toBeLessThanOrEqual(workload.contextTokens)
        expect(prompt.every((id) => id >= 0 && id < 4096)).toBe(true)
      }
    }
  })

  it('sharegpt has the means of the paper, less what is cut off', () => {
    const { all } = requests('sharegpt', 5000)
    expect(meanOf(all.map(({ prompt }) => prompt.length))).toBeGreaterThan(135)
    expect(meanOf(all.map(({ prompt }) => prompt.length))).toBeLessThan(165)
    expect(meanOf(all.map(({ maxTokens }) => maxTokens))).toBeGreaterThan(300)
    expect(meanOf(all.map(({ maxTokens }) => maxTokens))).toBeLessThan(342)
  })

  it('fixed shares exactly the prefix', () => {
    const [a, b] = requests('fixed', 2).all
    expect(a!.prompt.slice(0, 20)).toEqual(b!.prompt.slice(0, 20))
    expect(a!.prompt.slice(20)).not.toEqual(b!.prompt.slice(20))
    expect([a!.prompt.length, a!.maxTokens]).toEqual([148, 64])
  })

  it('agents go on with what was said before', () => {
    const { all } = requests('agents', 30)
    const continued = all.filter(({ prompt }, i) => {
      const before = all[i - 1]
      return before !== undefined && prompt.slice(0, before.prompt.length).join() === before.prompt.join()
    })
    expect(continued.length).toBeGreaterThan(15)
    expect(continued.length).toBeLessThan(30)
  })
})

const sample = (startMs: number, firstMs: number, gapsMs: number[], more: Partial<LoadSample> = {}): LoadSample => {
  const firstTokenMs = startMs + firstMs
  const endMs = firstTokenMs + gapsMs.reduce((a, b) => a + b, 0)
  const counts = { promptTokens: 10, cachedTokens: 0, outputTokens: gapsMs.length + 1, promptHash: 0, outputHash: 0 }
  return { startMs, firstTokenMs, endMs, gapsMs, ...counts, ...more }
}

const moment = (tokens: number[], heldBlocks: number): KvMoment => ({
  ...{ atMs: 0, running: tokens.length, waiting: 0, sequences: tokens.length, heldBlocks, totalBlocks: 20 },
  tokens: tokens.reduce((a, b) => a + b, 0),
  blockTokens: tokens.reduce((a, b) => a + Math.ceil(b / 16) * 16, 0),
})

describe('report', () => {
  const result: LoadResult = {
    spanSeconds: 2,
    cpuSeconds: 3,
    counts: { steps: 9, promptTokens: 40, cachedTokens: 10, generatedTokens: 60, preemptions: 1 },
    samples: [
      sample(0, 100, [10, 20, 30]),
      sample(5, 300, [10, 10]),
      sample(6, 50, [80]),
      sample(7, 0, [], { error: 'OVERLOADED' }),
    ],
    moments: [moment([24, 8], 4), moment([], 0)],
  }
  const report = summarise(result, { firstTokenMs: 200, interTokenMs: 40 }, 64)

  it('gives rates over the span', () => {
    expect(report.tokensPerSecond).toEqual({ prompt: 20, output: 30, total: 50 })
    expect(report.lengths.cachedShare).toBe(0.25)
    expect(report.cpu).toEqual({ secondsPerSecond: 1.5, msPerOutputToken: 50 })
    expect(report.requests).toEqual({ measured: 4, perSecond: 2, errors: { OVERLOADED: 1 } })
  })

  it('gives latencies of what was served, and goodput of what was asked', () => {
    expect(report.firstTokenMs).toMatchObject({ mean: 150, p50: 100, p99: 300, max: 300 })
    expect(report.interTokenMs).toMatchObject({ p50: 10, p90: 80 })
    expect(report.endToEndMs.max).toBe(320)
    // One is late to begin, one slow to go on, one refused.
    expect(report.goodput).toMatchObject({ share: 0.25, requestsPerSecond: 0.5 })
  })

  it('says what paging leaves unfilled, what contiguous reservation would, what is held ahead', () => {
    expect(report.kv).toEqual({
      heldShare: { mean: 0.2, max: 0.2 },
      unfilledShare: 1 - 32 / 48,
      unfilledTokensPerSequence: 8,
      contiguousUnfilledShare: 0.75,
      aheadShare: 0.25,
    })
  })

  it('takes percentiles by the nearest rank', () => {
    expect([0.5, 0.9, 0.99, 1].map((share) => percentile([1, 2, 3, 4], share))).toEqual([2, 4, 4, 4])
    expect(percentile([], 0.5)).toBe(0)
  })
})

describe('charts', () => {
  const numbers = (text: string) => text.match(/-?\d+(\.\d+)?/g)!.map(Number)

  it('draw every point inside, on linear and logarithmic axes', () => {
    const series = [{ name: 'a < b', points: cumulative([3, 1, 2, 1000]) }]
    for (const logX of [false, true]) {
      const text = svg([{ title: 't', x: 'ms', y: '%', logX, series }])
      expect(text).toContain('a &lt; b')
      expect(text).not.toMatch(/NaN|Infinity/)
      const path = /<path d="(M[^"]*L[^"]*)"/.exec(text)![1]!
      const places = numbers(path)
      expect(places).toHaveLength(8)
      for (const [i, place] of places.entries()) expect(place).toBeLessThanOrEqual(i % 2 === 0 ? 570 : 218)
    }
  })

  it('are valid without any point', () => {
    expect(svg([{ title: 't', x: 'x', y: 'y', logX: true, series: [{ name: 'a', points: [] }] }])).not.toMatch(
      /NaN|Infinity/,
    )
  })

  it('show the whole distribution with few points', () => {
    const points = cumulative(Array.from({ length: 10_000 }, (_, i) => i))
    expect(points.length).toBeLessThan(410)
    expect(points.at(-1)).toEqual([9999, 100])
  })
})
