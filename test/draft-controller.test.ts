/**
 * The controller of guesses against machines and texts that are simulated: what rows cost, and how often a guess of each kind is right,
 * are known here, so that what it chooses can be held against the best there is.
 */
import { beforeAll, describe, expect, it } from 'vitest'
import { draftField, draftSource, draftStride } from '../lib/base/native.ts'
import { DraftController, type DraftedRequest } from '../lib/host/drafts/controller.ts'
import { lookOnce, modelKind } from '../lib/host/drafts/kinds.ts'
import { CostModel } from '../lib/host/schedule/cost-model.ts'
import { HostRequest } from '../lib/host/schedule/request.ts'
import { StepPlan } from '../lib/host/schedule/step-plan.ts'
import type { DraftingOptions } from '../lib/host/wire/protocol.ts'
import { locateModel } from '../lib/model/locate.ts'
import { random } from './random.ts'
import { spec } from './scheduler-bench.ts'

const auto: DraftingOptions = { own: true, shared: true, model: undefined, maxModelDrafts: 0, fixed: undefined }

/** Every combination, or a third of them: no value of any misses all values of another. */
const isDeep = process.env.OCTAVO_DEEP === '1'

type Curve = (rows: number) => number
/** On the line between points measured: rows, milliseconds. */
const curve =
  (...points: [number, number][]): Curve =>
  (rows) => {
    let above = 1
    while (above < points.length - 1 && points[above]![0] < rows) above++
    const [[r0, ms0], [r1, ms1]] = [points[above - 1]!, points[above]!]
    return ms0 + ((rows - r0) / (r1 - r0)) * (ms1 - ms0)
  }

/**
 * Milliseconds by rows. Nearly free; each as dear as a step; measured of small models on two cores: 135M and 0.6M parameters; and of one
 * of which four rows take two and a half steps.
 */
const flat = curve([1, 10], [16, 11.5], [64, 20], [512, 130])
const linear = curve([1, 1], [512, 480])
const small = curve([1, 3.34], [4, 3.51], [5, 3.7], [8, 4.74], [16, 7.95], [32, 14.3], [512, 220])
const tiny = curve([1, 0.1], [4, 0.116], [5, 0.134], [8, 0.193], [16, 0.341], [32, 0.62], [512, 9])
const steep = curve([1, 0.067], [4, 0.172], [16, 0.5], [64, 1.8], [512, 13])
/** Rows are cheapest from thirteen on, where another kernel begins. */
const turning = curve([1, 4], [4, 4.3], [8, 5.6], [12, 7], [13, 5.9], [16, 6.2], [32, 9], [512, 130])
const curves = { flat, linear, small, tiny, steep }

/** A place of a text: the kind of match that is found there (-1: none), and whether each of the guesses is right. */
interface Place {
  kind: number
  right: () => boolean
}

interface Simulated {
  tokens: number
  ms: number
  steps: number
  rows: number
  /** Guesses of each step of the first request, with the number of tokens that it had. */
  first: { at: number; guesses: number; ms: number; undisturbed: number }[]
}

interface Machine {
  curve: Curve
  sequences?: number
  policy?: DraftingOptions
  noise?: (ms: number, step: number) => number
  /** What prompts and first steps took. */
  line?: Curve
  /** Of the draft model. */
  roundMs?: number
  maxStepMs?: number
}

function simulate(
  { curve, sequences = 1, policy = auto, noise = (ms) => ms, line = curve, roundMs = 0, maxStepMs }: Machine,
  place: (request: number, at: number) => Place,
  tokens: number,
): Simulated {
  const cost = new CostModel()
  for (const rows of [256, 1, 100, 1, 30, sequences])
    cost.observe(rows, rows * 100, rows === sequences ? sequences : 1, line(rows))
  const controller = new DraftController(policy, cost, maxStepMs)
  const plan = new StepPlan(1024, sequences)
  const requests = Array.from(
    { length: sequences },
    (_, id) => new HostRequest(spec(id, [1, 2, 3], 1e9), 1e9, new Set()),
  )
  const reports = new Int32Array(sequences * draftStride)
  const result: Simulated = { tokens: 0, ms: 0, steps: 0, rows: 0, first: [] }
  const said = requests.map(() => 0)
  while (result.tokens < tokens * sequences) {
    plan.clear()
    for (const request of requests) plan.add(request, 1)
    controller.begin(sequences)
    let rows = sequences
    let rounds = 0
    for (const [i, request] of requests.entries()) {
      const packed = controller.most(request)
      plan.draft(i, packed)
      const { kind, right } = place(i, said[i]!)
      const guesses = kind < 0 ? 0 : (packed >> (4 * kind)) & 15
      let draws = 1
      while (draws <= guesses && right()) draws++
      const foreseen = guesses > 0 ? draws > 1 : kind >= 0 && right()
      const ofModel = guesses > 0 ? draftSource.model : draftSource.none
      const source = kind === modelKind ? ofModel : kind < 0 ? draftSource.none : draftSource.own
      reports.set([draws, guesses, source, Math.max(0, kind), Number(foreseen), 0, 0, 0], i * draftStride)
      rounds = Math.max(rounds, kind === modelKind ? guesses : 0)
      if (i === 0) result.first.push({ at: said[0]!, guesses, ms: 0, undisturbed: 0 })
      rows += guesses
      said[i]! += draws
      result.tokens += draws
    }
    const ms = noise(curve(rows), result.steps)
    reports[draftField.nanoseconds] = Math.round(ms * 1e6)
    const guessMs = rounds === 0 ? 0 : noise(rounds * roundMs, result.steps)
    reports[draftField.guessNanoseconds] = Math.round(guessMs * 1e6)
    if (rows > sequences) controller.observe(plan, reports, 0)
    else controller.observeLooks(plan, reports, 1)
    result.ms += ms + guessMs
    Object.assign(result.first.at(-1)!, { ms, undisturbed: curve(rows) + rounds * roundMs })
    result.steps++
    result.rows += rows
  }
  return result
}

const rate = ({ tokens, ms }: Simulated) => tokens / ms
const fixed = (n: number): DraftingOptions => ({ ...auto, fixed: n })
const chances = (seed: number, kind: number, percent: number) => {
  const rng = random(seed)
  return (): Place => ({ kind, right: () => rng(100) < percent })
}
/** Nothing is guessed. */
const plainRate = (machine: Machine, tokens: number) =>
  rate(simulate({ ...machine, policy: fixed(0) }, () => ({ kind: -1, right: () => false }), tokens))

/**
 * An answer in parts of 120 to 200 tokens that copy the prompt and say something of their own in turns, looked up as the native index
 * does (cpp/drafts/ngram_index.h). Tokens are seldom or frequent as words are, so that a pair is found by chance, too.
 */
class Switching {
  readonly tokens: number[]
  readonly #copies: boolean[] = []
  readonly #prompt = 400
  /** What was found so far: every policy looks at the same places. */
  readonly #found: { best: number; length: number }[] = []

  constructor(seed: number, parts: number) {
    const rng = random(seed)
    const word = () => Math.floor(600 ** (rng(1000) / 1000))
    this.tokens = Array.from({ length: this.#prompt }, word)
    for (let part = 0; part < parts; part++) {
      const [copies, length, from] = [part % 2 === 0, 120 + rng(80), rng(200)]
      const said = copies ? this.tokens.slice(from, from + length) : Array.from({ length }, word)
      this.tokens.push(...said)
      this.#copies.push(...said.map(() => copies))
    }
  }

  get length(): number {
    return this.#copies.length
  }

  copies(at: number): boolean {
    return this.#copies[at] ?? false
  }

  /** What is found after `said` tokens of the answer, and the first is not looked for. */
  place(said: number): Place {
    const { tokens } = this
    const count = this.#prompt + said
    this.#found[said] ??= this.#longest(count)
    const { best, length } = this.#found[said]
    if (best === 0) return { kind: -1, right: () => false }
    let guess = 0
    const right = () => {
      const at = best + (guess % (count - best))
      return tokens[at] === tokens[count + guess++]
    }
    return { kind: [2, 4, 8].filter((longest) => length > longest).length, right }
  }

  /** Where the longest match of the end of so many tokens ends, the latest of them. */
  #longest(count: number): { best: number; length: number } {
    const { tokens } = this
    let [best, length] = [0, 1]
    for (let end = count - 1; end > 1 && length < 32; end--) {
      let matched = 0
      while (matched < Math.min(32, end) && tokens[end - 1 - matched] === tokens[count - 1 - matched]) matched++
      if (matched > length) [best, length] = [end, matched]
    }
    return { best, length }
  }
}

const noises: Record<string, (seed: number) => Machine['noise']> = {
  quiet: () => undefined,
  'never the same': (seed) => {
    const rng = random(seed)
    return (ms) => ms * (1 + rng(100) / 500)
  },
  'held up now and then': (seed) => {
    const rng = random(seed)
    return (ms) => ms * (1 + rng(100) / 500) * (rng(12) === 0 ? 1.5 + rng(100) / 40 : 1)
  },
}

describe('the controller', () => {
  it.each([
    ['flat', 95, 8],
    ['flat', 80, 4],
    ['small', 95, 5],
    ['tiny', 95, 3],
  ] as const)('takes long rows of guesses where rows are cheap: %s, %i of 100 right', (name, percent, least) => {
    const run = simulate({ curve: curves[name] }, chances(1, 3, percent), 3000)
    expect(run.rows / run.steps - 1).toBeGreaterThanOrEqual(least)
  })

  it.each([0, 20, 50, 80, 95])(
    'takes none where each costs a step, %i of 100 right, and loses next to nothing',
    (percent) => {
      const run = simulate({ curve: linear }, chances(2, 2, percent), 4000)
      expect(rate(run)).toBeGreaterThan(0.99 * plainRate({ curve: linear }, 4000))
      // Later on it hardly tries.
      const late = run.first.slice(-2000)
      expect(late.filter(({ guesses }) => guesses > 0).length).toBeLessThan(10)
    },
  )

  it.each([4, 16, 64])('takes none in a batch of %i that fills the machine', (sequences) => {
    const full = (rows: number) => 5 + rows
    const run = simulate({ curve: full, sequences }, chances(3, 1, 60), 1000)
    if (sequences >= 16) expect(run.rows / run.steps).toBeLessThan(1.02 * sequences)
    expect(rate(run)).toBeGreaterThan(0.99 * plainRate({ curve: full, sequences }, 1000))
  })

  it('is never much worse than none, nor than the best fixed number, whatever rows cost and guesses are worth', () => {
    for (const [i, [name, curve]] of Object.entries(curves).entries())
      for (const [j, sequences] of [1, 4, 16].entries())
        for (const [k, percent] of [10, 40, 70, 95].entries()) {
          if (!isDeep && (i + j + k) % 3 > 0) continue
          const run = rate(simulate({ curve, sequences }, chances(4, 2, percent), 1500))
          const plain = plainRate({ curve, sequences }, 1500)
          const fixedRates = [1, 2, 3, 4, 6, 8, 11, 15].map((n) =>
            rate(simulate({ curve, sequences, policy: fixed(n) }, chances(4, 2, percent), 1500)),
          )
          const best = Math.max(plain, ...fixedRates)
          const shares = { name, sequences, percent, ofPlain: run / plain, ofBest: run / best }
          if (run / plain < 0.985 || run / best < 0.93) expect.soft(shares).toBeUndefined()
        }
  })

  it('sees within some twenty tokens that a text goes over from copying to free, and back', () => {
    const phase = 300
    const rng = random(5)
    const place = (_request: number, at: number): Place => {
      const copying = Math.floor(at / phase) % 2 === 0
      // The same kind of match in both: only its worth changes.
      return { kind: 2, right: () => rng(100) < (copying ? 95 : 15) }
    }
    const run = simulate({ curve: small }, place, 6 * phase)
    for (let begin = phase; begin < 6 * phase; begin += phase) {
      const later = run.first.filter(({ at }) => at >= begin + 20 && at < begin + phase - 15)
      const mean = later.reduce((sum, { guesses }) => sum + guesses, 0) / later.length
      if ((begin / phase) % 2 === 1) expect(mean).toBeLessThan(3.1)
      else expect(mean).toBeGreaterThan(5)
    }
  })

  it.each(['small', 'tiny', 'flat'] as const)(
    'is as good as the better fixed number on each half of a text that turns from copying to free: %s',
    (name) => {
      const phase = 150
      const half = (at: number) => Math.floor(at / phase) % 2
      const ofHalves = (policy: DraftingOptions) => {
        const rng = random(9)
        const place = (_request: number, at: number): Place => {
          const kind = half(at) === 0 ? 3 : rng(3) === 0 ? 0 : -1
          return { kind, right: () => rng(100) < (half(at) === 0 ? 95 : 15) }
        }
        const { first, tokens } = simulate({ curve: curves[name], policy }, place, 40 * phase)
        const sums = [0, 1].map(() => ({ tokens: 0, ms: 0 }))
        for (const [i, step] of first.entries()) {
          const sum = sums[half(step.at)]!
          sum.tokens += (first[i + 1]?.at ?? tokens) - step.at
          sum.ms += step.ms
        }
        return sums.map((sum) => sum.tokens / sum.ms)
      }
      const fixedRates = [0, 1, 2, 4, 7, 15].map((n) => ofHalves(fixed(n)))
      for (const [which, rateOfHalf] of ofHalves(auto).entries()) {
        const better = Math.max(...fixedRates.map((rates) => rates[which]!))
        expect({ which, share: rateOfHalf / better > 0.95 || rateOfHalf / better }).toEqual({ which, share: true })
      }
    },
  )

  describe('is nearly as good as the better fixed number on each part of an answer that copies and does not', () => {
    const seeds = Array.from({ length: isDeep ? 6 : 3 }, (_, seed) => seed + 1)
    const texts = seeds.map((seed) => new Switching(seed, isDeep ? 14 : 10))
    /** Tokens a millisecond of the parts that copy, and of the others. */
    const rates = (curve: Curve, text: Switching, policy: DraftingOptions, noise: Machine['noise']) => {
      const machine = { curve, policy, ...(noise && { noise }) }
      const { first } = simulate(machine, (_request, at) => text.place(at), text.length)
      return [true, false].map((copies) => {
        let [tokens, ms] = [0, 0]
        for (const [i, { at, undisturbed }] of first.entries()) {
          if (text.copies(at) !== copies) continue
          tokens += (first[i + 1]?.at ?? text.length) - at
          ms += undisturbed
        }
        return tokens / ms
      })
    }
    const costs = Object.entries({ flat, small, tiny, steep, turning })
    /** Of each curve and text: noise changes nothing of fixed numbers. */
    let best: number[][][]
    beforeAll(() => {
      best = costs.map(([, curve]) =>
        texts.map((text) => {
          const fixedRates = [0, 2, 4, 7, 12, 15].map((n) => rates(curve, text, fixed(n), undefined))
          return [0, 1].map((which) => Math.max(...fixedRates.map((of) => of[which]!)))
        }),
      )
    })

    it.each(Object.keys(noises))('on a machine that is %s', (name) => {
      const shares = costs.flatMap(([curveName, curve], c) => {
        const sums = [0, 1].map(() => ({ share: 0, worst: 1 }))
        for (const [t, text] of texts.entries())
          for (const [which, rate] of rates(curve, text, auto, noises[name]!(seeds[t]!)).entries()) {
            const share = rate / best[c]![t]![which]!
            sums[which]!.share += share / seeds.length
            sums[which]!.worst = Math.min(sums[which]!.worst, share)
          }
        return sums.map(({ share, worst }, which) => ({ curveName, part: ['copy', 'free'][which], share, worst }))
      })
      expect(shares.filter(({ part, share }) => share < (part === 'copy' ? 0.93 : 0.98))).toEqual([])
    })
  })

  it('gives the draft model another chance with every request, and everybody a share in its rounds', () => {
    const costs = curve([1, 24], [4, 31], [8, 36], [12, 42], [16, 48], [64, 140], [512, 1200])
    const roundMs = 3
    const model = locateModel('stories')
    const policy: DraftingOptions = { ...auto, own: false, shared: false, model, maxModelDrafts: 15 }
    const drafted = (options: DraftingOptions) =>
      simulate({ curve: costs, sequences: 4, policy: options, roundMs }, chances(11, 6, 80), 600)
    const plain = rate(drafted({ ...policy, fixed: 0 }))
    const best = Math.max(...[1, 2, 3].map((n) => rate(drafted({ ...policy, fixed: n }))))
    expect(best / plain).toBeGreaterThan(1.4)
    expect(rate(drafted(policy)) / best).toBeGreaterThan(0.9)
  })

  describe('has a draft model read a prompt where the answer is likely long enough to bring that back', () => {
    const costs = curve([1, 33], [4, 36], [8, 38], [12, 41], [16, 49], [64, 125], [512, 1000])
    const [roundMs, readMs, atOnce] = [5.5, 0.4, 128]
    const policy: DraftingOptions = {
      ...auto,
      own: false,
      shared: false,
      model: locateModel('stories'),
      maxModelDrafts: 8,
    }

    /** Milliseconds of so many at a time until the last of the answers ends, with what the draft model lacks read as cpp/draft_model does. */
    const timeOf = (options: DraftingOptions, sequences: number, lengths: number[], knowsLengths = true) => {
      const line = new CostModel()
      for (const rows of [256, 1, 100, 4]) line.observe(rows, rows * 100, rows, costs(rows))
      const controller = new DraftController(options, line)
      const rng = random(14)
      const waiting = [...lengths]
      const promptLength = 1000
      const open = () => ({
        speculation: undefined,
        promptLength,
        length: promptLength,
        cachedTokens: 0,
        lacks: promptLength,
      })
      type Request = DraftedRequest & { length: number; lacks: number; ends: number; limit: number }
      const requests: Request[] = []
      let [ms, mean, reading] = [0, 0, 0]
      for (;;) {
        while (requests.length < sequences && waiting.length > 0) {
          const ends = promptLength + waiting.shift()!
          requests.push({ ...open(), ends, limit: knowsLengths ? ends : 4096 })
        }
        if (requests.length === 0) return { ms, reading }
        const reports = new Int32Array(requests.length * draftStride)
        controller.begin(requests.length, mean)
        let [rows, rounds, room] = [requests.length, 0, atOnce]
        const drafting = requests.map((request, i) => {
          const packed = controller.most(request)
          const wanted = (packed >> (4 * modelKind)) & 15
          const behind = wanted === 0 ? 0 : Math.min(request.lacks, room)
          room -= behind
          request.lacks -= behind
          const guesses = request.lacks === 0 ? wanted : 0
          let draws = 1
          while (draws <= guesses && rng(100) < 80) draws++
          request.lacks += guesses === 0 ? 1 : 0
          request.length += draws
          rows += guesses
          rounds = Math.max(rounds, guesses)
          const source = guesses > 0 ? draftSource.model : draftSource.none
          reports.set([draws, guesses, source, 0, Number(draws > 1), behind, 0, 0], i * draftStride)
          return packed
        })
        const guessMs = rounds * roundMs + (atOnce - room) * readMs
        reports[draftField.nanoseconds] = Math.round(costs(rows) * 1e6)
        reports[draftField.guessNanoseconds] = Math.round(guessMs * 1e6)
        reading += atOnce - room
        ms += costs(rows) + guessMs
        const step = { nSegments: requests.length, requests, counts: requests.map(() => 1), drafting }
        if (rows > requests.length) controller.observe(step, reports, 0)
        else controller.observeLooks(step, reports, 1)
        for (let i = requests.length - 1; i >= 0; i--) {
          if (requests[i]!.length < requests[i]!.ends) continue
          const said = requests[i]!.length - promptLength
          mean = mean === 0 ? said : 0.9 * mean + 0.1 * said
          requests.splice(i, 1)
        }
      }
    }
    const many = (length: number) => Array.from({ length: 60 }, () => length)
    const plain = { ...policy, fixed: 0 }
    const always = { ...policy, fixed: 2 }

    it.each([1, 4])('not for short answers, %i at a time', (sequences) => {
      const off = timeOf(plain, sequences, many(12))
      expect(timeOf(always, sequences, many(12)).ms).toBeGreaterThan(1.3 * off.ms)
      // The first tells what reading takes.
      expect(timeOf(policy, sequences, many(12)).ms).toBeLessThan(1.03 * off.ms)
    })

    it.each([1, 4])('for long ones as soon as they are known to be long, %i at a time', (sequences) => {
      const [off, on] = [timeOf(plain, sequences, many(400)), timeOf(always, sequences, many(400))]
      expect(off.ms / on.ms).toBeGreaterThan(1.3)
      expect(timeOf(policy, sequences, many(400), false).ms).toBeLessThan(1.05 * on.ms)
      // Most are read as soon as they come.
      expect(timeOf(policy, sequences, many(400), false).reading).toBeGreaterThan(0.95 * 60 * 1000)
    })

    it('for a long one among short ones, once it has said so much', () => {
      const lengths = many(12).flatMap((short, i) => (i % 20 === 19 ? [short, 1500] : [short]))
      const off = timeOf(plain, 1, lengths, false)
      expect(timeOf(policy, 1, lengths, false).ms).toBeLessThan(off.ms / 1.3)
    })
  })

  it('makes steps longer than may be for a request alone, and where they are without guesses', () => {
    const large = curve([1, 80], [4, 88], [16, 120], [64, 300], [512, 1500])
    for (const sequences of [1, 4]) {
      const machine = { curve: large, sequences, maxStepMs: 50 }
      const run = simulate(machine, chances(13, 3, 95), 600)
      expect(rate(run)).toBeGreaterThan(2 * plainRate(machine, 600))
      const { steps } = simulate({ ...machine, maxStepMs: 1000 }, chances(13, 3, 95), 600)
      if (sequences > 1) expect(run.steps).toBeGreaterThan(steps)
    }
    const limited = simulate({ curve: flat, sequences: 4, maxStepMs: 12 }, chances(13, 3, 95), 600)
    expect(limited.ms / limited.steps).toBeLessThan(1.5 * flat(4))
    expect(simulate({ curve: flat, maxStepMs: 10 }, chances(13, 3, 95), 600).rows).toBeGreaterThan(600)
  })

  it('finds a long chain of a draft model that pays where one more guess does not: rows cost by leaps', () => {
    const costs = curve(
      [1, 24],
      [4, 31],
      [8, 34],
      [12, 46],
      [16, 47],
      [20, 54],
      [24, 55],
      [32, 55],
      [44, 78],
      [64, 125],
      [512, 1650],
    )
    const policy: DraftingOptions = {
      ...auto,
      own: false,
      shared: false,
      model: locateModel('stories'),
      maxModelDrafts: 15,
    }
    for (const sequences of [1, 4]) {
      const rateOf = (options: DraftingOptions) =>
        rate(simulate({ curve: costs, sequences, policy: options, roundMs: 3 }, chances(12, 6, 85), 600))
      const rates = [0, 1, 2, 3, 4, 5, 7, 10].map((n) => rateOf({ ...policy, fixed: n }))
      const best = Math.max(...rates)
      if (sequences === 4) expect(rates.indexOf(best)).toBeGreaterThan(4)
      expect(rateOf(policy) / best).toBeGreaterThan(0.93)
    }
  })

  it('finds the rounds of a draft model that pay though all it measured at first was on a machine that was held up', () => {
    const costs = curve(
      [1, 19],
      [4, 26],
      [8, 33],
      [12, 37],
      [16, 43],
      [17, 50],
      [20, 54],
      [28, 61],
      [32, 64],
      [512, 900],
    )
    const model = locateModel('stories')
    const policy: DraftingOptions = { ...auto, own: false, shared: false, model, maxModelDrafts: 15 }
    const drafted = (options: DraftingOptions, seed: number) => {
      const rng = random(seed)
      const noise = (ms: number, step: number) => ms * (step < 12 ? 1.3 + rng(100) / 50 : 1 + rng(100) / 800)
      const machine = { curve: costs, sequences: 4, policy: options, roundMs: 4.2, noise }
      return simulate({ ...machine, line: (rows) => noise(costs(rows), 0) }, chances(seed, 6, 80), 600)
    }
    const seeds = Array.from({ length: 48 }, (_, seed) => seed + 1)
    const rateOf = ({ tokens, first }: Simulated) =>
      tokens / first.reduce((sum, { undisturbed }) => sum + undisturbed, 0)
    const mean = (options: DraftingOptions) => seeds.reduce((sum, seed) => sum + rateOf(drafted(options, seed)), 0)
    const best = Math.max(...[1, 2, 3, 4].map((n) => mean({ ...policy, fixed: n })))
    expect(mean(policy) / best).toBeGreaterThan(0.967)
  })

  it('looks less often for guesses where a look is a good part of a token and finds nothing, and in every step again where it does', () => {
    const runSteps = 16
    /** In 400 runs of a request whose guesses are all right, or whose text has nothing in common with what was said. */
    const looks = (stepMs: number, right: boolean, sequences = 1) => {
      const controller = new DraftController(auto, new CostModel())
      const plan = new StepPlan(64, 1)
      const request = new HostRequest(spec(1, [1, 2, 3], 1e9), 1e9, new Set())
      plan.add(request, 1)
      const reports = new Int32Array(runSteps * draftStride)
      let looked = 0
      for (let run = 0; run < 400; run++) {
        controller.begin(sequences)
        if (controller.rests(request)) continue
        const packed = controller.most(request)
        plan.draft(0, packed)
        const guesses = right ? (packed >> 12) & 15 : 0
        for (let step = 0; step < runSteps; step++) {
          const looks = step === 0 || packed !== lookOnce
          const source = right && looks ? draftSource.own : draftSource.none
          const guessNs = looks ? 4000 : 0
          looked += Number(looks)
          reports.set(
            [1 + guesses, guesses, source, 3, Number(right && looks), 0, 1e6 * stepMs, guessNs],
            step * draftStride,
          )
        }
        if (guesses === 0) controller.observeLooks(plan, reports, runSteps)
        else for (let step = 0; step < runSteps; step++) controller.observe(plan, reports, step * draftStride)
      }
      return looked
    }
    const every = 400 * runSteps
    // A look takes 4% of a step of 0.1 ms and its report 1%: one in every second run.
    expect(looks(0.1, false)).toBeLessThan(260)
    expect(looks(0.1, false)).toBeGreaterThan(180)
    expect(looks(0.1, true)).toBeGreaterThan(0.98 * every)
    expect(looks(2, false)).toBe(every)
    // Not at all where they fill a tile.
    expect(looks(0.1, false, 16)).toBeLessThan(4 * runSteps)
    expect(looks(2, false, 16)).toBe(every)
  })

  it('does not mind steps that are held up, nor a machine that is slow for a while', () => {
    const rng = random(6)
    const heldUp = (ms: number) => ms * (rng(10) === 0 ? 2.5 : 1)
    const slow = (ms: number, step: number) => ms * (Math.floor(step / 150) % 2 === 0 ? 1 : 1.8)
    for (const noise of [heldUp, slow]) {
      const long = simulate({ curve: flat, noise }, chances(7, 3, 95), 4000)
      expect(long.rows / long.steps - 1).toBeGreaterThan(7)
      const none = simulate({ curve: linear, noise }, chances(7, 3, 80), 4000)
      expect(none.rows / none.steps).toBeLessThan(1.05)
    }
  })

  it('knows each kind of match apart', () => {
    const rng = random(8)
    // Short matches are wrong, long ones right.
    const place = (_request: number, at: number): Place => {
      const kind = at % 3 === 0 ? 3 : 0
      return { kind, right: () => rng(100) < (kind === 3 ? 97 : 5) }
    }
    const run = simulate({ curve: steep }, place, 3000)
    expect(rate(run)).toBeGreaterThan(1.1 * plainRate({ curve: steep }, 3000))
  })
})
