/**
 * How many guesses pay. A guess costs a row of the step and brings a token when it and all before it are right: of a chain of d
 * guesses, the first right with chance a and each after a right one with chance b, the d-th brings a b^(d-1) tokens. So many are taken
 * as make the whole step bring the most tokens a second: on an idle machine rows are nearly free and long chains pay, in a full batch
 * none does. What rows cost is measured (row-costs.ts), as is what each kind of guess is worth (acceptance.ts), also while none is
 * computed: looking one up takes a microsecond. What does not pay by its costs is tried again now and then, ever more seldom, for
 * costs change; of a draft model one round or two more and less than pay are, as often as next to nothing is lost by it.
 *
 * A draft model has to read what was said before it can guess, and everybody waits for that: it does where the answer is likely so long
 * that guesses save more.
 *
 * With a model so small that looking and choosing is a good part of a token, texts in which nothing is found that pays are looked at
 * once in a run of steps, and not in every run; what is found there is no more than compared with the draw, until it was right twice.
 * With 16 sequences or more of such a model nothing is looked for.
 *
 * None of this changes a token.
 */
import { draftField, draftStride } from '../../base/native.ts'
import type { DraftingOptions } from '../wire/protocol.ts'
import { Acceptance } from './acceptance.ts'
import { firstSharedKind, kindOf, lookOnce, maxDrafts, modelKind, nDraftKinds, packMost } from './kinds.ts'
import { RequestDrafts } from './request-drafts.ts'
import { RowCosts, type StepLine } from './row-costs.ts'

/** Steps until costs are tried again after they spoke against guesses; doubled each time. */
const firstProbe = 64
const lastProbe = 4096
/** With a draft model, whose rounds have a cost of their own that only a try can tell. */
const lastModelProbe = 256
/** Steps until twice as many rounds of the draft model are tried as pay by what is known, doubled each time that they do not. */
const firstGrowth = 8
/**
 * One or two rounds more or less than pay are tried so often that each costs such a part of the time at most, but not in every few steps:
 * where costs leap, the next number may be worse than the one after it.
 */
const farthestTry = 2
const tryShare = 0.003
const betweenTries = 8
/** A try has so many guesses, of those that are likely right. */
const probeDrafts = 4
const probeChance = 0.5
/** Of the guesses of other requests in a step, and of the rounds of the draft model: what is left of the mean after each step. */
const memory = 0.9
/** A round that is quicker than those before is believed sooner: it may have been held up, never hurried. */
const quickerStep = 0.3
/** Estimates are uncertain: what rows of guesses add to a step counts so many times, and as such a part of one sequence's share of it more. */
const caution = 1.1
/** So much more as later guesses are likelier than the first: a chain that hopes for a copy is long, and free text must not pay for it. */
const doubt = 1.5
const effort = 0.02

/** Where a step takes longer than may be without guesses, they make it so many times as long at most: who has none waits for it, too. */
const longer = 1.5

/** What a look costs the host beside the search itself. */
const reportMs = 0.001
/** Of a token's time all looks together cost no more where nothing comes of them. */
const mostLooking = 0.005
/** A run that is looked at in its first step only costs as much as so many looks of one that is in every step. */
const onceLooks = 3
const longestRest = 15
/** Single looks in a row that foresaw the draw, until guesses are made in every step again. */
const promising = 2
/** So many sequences fill a tile of a matrix unit: of a model as small the next row costs more than the token that it may bring. */
const tile = 16
/** A chain as unlikely right brings nothing more. */
const hopeless = 0.01
/** Tokens that the draft model reads in a step at most: most_behind of cpp/draft_model.cpp. */
const readAtOnce = 128
/** Chances are told apart by a hundredth: what is best for a pair of them is found once for all requests, while its slot is not another's. */
const levels = 100
const slots = 64
/**
 * Runs without a guess that what was prepared is good for: costs change slowly, and to ask for all of them is half of what a look costs.
 * With a draft model so many steps, whatever is guessed.
 */
const preparedRuns = 8
const preparedSteps = 4

/** What the controller sees of a request, and of a step. */
export interface DraftedRequest {
  speculation: RequestDrafts | undefined
  readonly limit: number
  readonly length: number
  readonly promptLength: number
  /** Of the prompt those that the prefix cache had, of the draft model too as a rule; -1: not known. */
  readonly cachedTokens: number
}
export interface DraftedStep {
  readonly nSegments: number
  readonly requests: ArrayLike<DraftedRequest>
  readonly counts: ArrayLike<number>
  /** -1: not guessed for. */
  readonly drafting: ArrayLike<number>
}

export class DraftController {
  readonly #policy: DraftingOptions
  readonly #maxStepMs: number
  readonly #costs: RowCosts
  readonly #acceptance = Acceptance.ofEngine()
  readonly #most = new Uint8Array(nDraftKinds)
  /** Of the step being planned, by the guesses that one request adds to those of others: milliseconds. */
  readonly #stepMs = new Float64Array(1 + maxDrafts)
  #sequences = 1
  /** A step may take so long for the sake of guesses. */
  #limitMs = Number.POSITIVE_INFINITY
  #prepared = false
  /** Runs, or steps, until it is prepared anew. */
  #goodFor = 0
  #plainMs = 0
  /** Tokens that it brings without guesses of that request, and the tokens a millisecond that are to be beaten. */
  #tokens = 1
  #rate = 0
  /** What one request's best number of guesses makes of the rate. */
  #bestRate = 0
  /** Pairs of chances that were asked for in this step, -1: none; the best number, and its rate. */
  readonly #pairs = new Int32Array(slots)
  readonly #best = new Int8Array(slots)
  readonly #rates = new Float64Array(slots)
  /** Rows that guesses added to a step, and tokens they brought: means. */
  #extraRows = 0
  #extraTokens = 0
  /** Mean milliseconds of the draft model in a step. */
  #roundsMs = 0
  /** Milliseconds of one round of the draft model; rounds that pay when all take part, and what each gets then. */
  #roundMs = 0
  #modelRounds = 0
  #modelTokens = 1
  /** Milliseconds that a token takes less with them. */
  #modelSavesMs = 0
  /** What the draft model read lately of texts that it did not have, and how long it took: tokens, milliseconds. */
  #readTokens = 0
  #readMs = 0
  /** Tokens of an answer: a mean, 0: not known. */
  #answerTokens = 0
  /** A step by the guesses of one request, where all others have so many rounds. */
  readonly #modelMs = new Float64Array(1 + maxDrafts)
  /** Of each number of rounds that all take part in: tokens a millisecond, 0: not known; and the latest step that had so many. */
  readonly #modelRates = new Float64Array(1 + maxDrafts)
  readonly #takenAt = new Float64Array(1 + maxDrafts)
  /** Rounds that all take part in to see what they cost, -1: as many as pay. */
  #trial = -1
  /** When twice as many are tried, after how many steps, and the most that paid so far. */
  #growAt = firstGrowth
  #growEvery = firstGrowth
  #grown = 0
  /** Of what a token takes without guesses: what a look adds, and a row of a guess. */
  #look = 0
  /** Steps of a run: a mean; and those before the one that is planned. */
  #runSteps = 1
  #beganAt = 0
  #row = 0
  #steps = 0
  #probeAt = firstProbe
  #probeEvery = firstProbe
  #probing = false
  /** The one request of a step that tries. */
  #prober: DraftedRequest | undefined

  constructor(policy: DraftingOptions, line: StepLine, maxStepMs = Number.POSITIVE_INFINITY) {
    this.#policy = policy
    this.#costs = new RowCosts(line, policy.model !== undefined)
    this.#maxStepMs = maxStepMs
  }

  /** Before `most` is asked for the requests of a step with so many sequences; `answerTokens`: of answers in the mean, 0: not known. */
  begin(sequences: number, answerTokens = 0): void {
    this.#answerTokens = answerTokens
    const ran = this.#steps - this.#beganAt
    if (ran > 0) this.#runSteps += (ran - this.#runSteps) * (1 - memory)
    this.#beganAt = this.#steps
    if (sequences !== this.#sequences || this.#goodFor <= 0) this.#prepared = false
    this.#sequences = sequences
    this.#prober = undefined
  }

  /** Not before anybody asks: in many steps nobody does. */
  #prepare(): void {
    this.#prepared = true
    this.#goodFor = this.#policy.model === undefined ? preparedRuns : preparedSteps
    this.#probing = this.#policy.fixed === undefined && this.#steps >= this.#probeAt
    const sequences = this.#sequences
    this.#costs.refresh()
    const plainMs = this.#costs.ms(sequences)
    this.#plainMs = plainMs
    if (plainMs === 0 || (this.#policy.model !== undefined && this.#roundMs === 0)) this.#goodFor = 0
    // A request alone keeps nobody waiting.
    this.#limitMs = sequences === 1 ? Number.POSITIVE_INFINITY : Math.max(this.#maxStepMs, longer * plainMs)
    const others = (sequences - 1) / sequences
    const rows = sequences + this.#extraRows * others
    const rowsMs = this.#costs.ms(rows)
    this.#stepMs[0] = rowsMs + this.#roundsMs * others
    if (this.#policy.own || this.#policy.shared)
      for (let d = 1; d <= maxDrafts; d++)
        this.#stepMs[d] = this.#stepMs[0] + this.#withGuesses(rowsMs, rows, d) - rowsMs
    this.#pairs.fill(-1)
    this.#tokens = sequences + this.#extraTokens * others
    this.#rate = plainMs === 0 ? 0 : Math.max(sequences / plainMs, this.#tokens / this.#stepMs[0]!)
    if (this.#policy.model !== undefined && plainMs > 0) this.#planModel()
  }

  /** Whether looks cost more than may be, and bring the request less. */
  #spares(speculation: RequestDrafts | undefined): boolean {
    const { fixed, model } = this.#policy
    if (fixed !== undefined || model !== undefined || this.#look < mostLooking) return false
    return speculation === undefined || (speculation.saved <= this.#look && speculation.promise < promising)
  }

  /** Whether a request is not looked for now. Asked once before each run. */
  rests({ speculation }: DraftedRequest): boolean {
    if (!this.#spares(speculation)) return false
    if (this.#sequences >= tile) return true
    if (speculation === undefined || speculation.promise > 0) return false
    if (speculation.rest > 0) {
      speculation.rest--
      return true
    }
    const cost = (onceLooks * this.#look) / this.#runSteps
    speculation.rest = Math.min(longestRest, Math.ceil(cost / mostLooking)) - 1
    return false
  }

  /** Most guesses of each kind for a request, packed; or that there is one look and no guess in the run. */
  most(request: DraftedRequest): number {
    const { own, shared, model, maxModelDrafts, fixed } = this.#policy
    const spares = this.#spares(request.speculation)
    request.speculation ??= new RequestDrafts()
    if (spares) return lookOnce
    if (!this.#prepared) this.#prepare()
    const { acceptance } = request.speculation
    const room = Math.max(0, Math.min(maxDrafts, request.limit - request.length - 1))
    const ofModel = Math.min(room, maxModelDrafts)
    let modelRate = 0
    this.#most[modelKind] = 0
    if (model !== undefined && ofModel > 0 && this.#repays(request)) {
      const chance = acceptance.chanceWith(modelKind, this.#acceptance)
      this.#most[modelKind] = fixed === undefined ? this.#payingModel(chance, ofModel) : Math.min(ofModel, fixed)
      if (this.#trial >= 0) this.#most[modelKind] = Math.min(ofModel, this.#trial)
      if (this.#most[modelKind] > 0) modelRate = this.#bestRate
      else acceptance.forget(modelKind)
    }
    for (let kind = 0; kind < modelKind; kind++) {
      if (!(kind < firstSharedKind ? own : shared)) this.#most[kind] = 0
      else if (fixed !== undefined) this.#most[kind] = Math.min(room, fixed)
      else {
        const paying = this.#paying(request, kind, room)
        // A weak match leaves the word to the draft model.
        this.#most[kind] = this.#bestRate < modelRate ? 0 : paying
      }
    }
    return packMost(this.#most)
  }

  /** What a row adds to a step of so many sequences, as a part of what each of them takes. */
  rowShare(sequences: number): number {
    const ms = this.#costs.ms(sequences)
    if (ms === 0) return 0
    return Math.min(1, (Math.max(0, this.#costs.ms(sequences + 1) - ms) * sequences) / ms)
  }

  /** A run in which no guess was computed: what guesses would have been worth, and of the costs one step that stands for all. */
  observeLooks(step: DraftedStep, reports: Int32Array, steps: number): void {
    const { nSegments } = step
    const stride = nSegments * draftStride
    let single = 0
    let looks = 0
    let behind = 0
    for (let i = 0; i < nSegments; i++) {
      const { speculation } = step.requests[i]!
      const drafting = step.drafting[i]!
      if (speculation === undefined || drafting < 0) continue
      if (drafting === lookOnce) {
        single++
        this.#glanced(speculation, reports, i * draftStride)
        continue
      }
      looks += steps
      let foreseen = 0
      for (let s = 0; s < steps; s++) behind += this.#read(speculation, reports, i * draftStride + s * stride)
      speculation.saved *= memory ** steps
      for (let report = i * draftStride, s = 0; s < steps; s++, report += stride) {
        const kind = kindOf(reports, report)
        if (kind < 0) continue
        foreseen += reports[report + draftField.foreseen]!
        speculation.acceptance.observe(kind, reports, report)
        this.#acceptance.observe(kind, reports, report)
      }
      // Its guesses may be worth something from now on.
      speculation.promise = 2 * foreseen > steps ? promising : 0
    }
    let guessMs = 0
    for (let at = 0; at < steps * stride; at += stride) guessMs += reports[at + draftField.guessNanoseconds]! / 1e6
    const stepNanoseconds = reports[(steps - 1) * stride + draftField.nanoseconds]!
    this.#readsTook(behind, guessMs)
    this.#steps += steps
    this.#goodFor--
    if (single + looks > 0) this.#looked(nSegments, stepNanoseconds / 1e6, guessMs / (single + looks))
    if (looks === 0) return
    this.#costs.observe(nSegments, stepNanoseconds)
    this.#took(0)
    const left = memory ** steps
    this.#roundsMs *= left
    this.#extraRows *= left
    this.#extraTokens *= left
  }

  /** One step of a run with guesses: its reports from `at` on. */
  observe(step: DraftedStep, reports: Int32Array, at: number): void {
    let rows = 0
    let right = 0
    let rounds = 0
    let behind = 0
    let looks = 0
    const plainMs = this.#costs.ms(step.nSegments)
    for (let i = 0, report = at; i < step.nSegments; i++, report += draftStride) {
      const proposed = reports[report + draftField.proposed]!
      const draws = reports[report + draftField.draws]!
      rows += step.counts[i]! + proposed
      right += draws - 1
      const kind = kindOf(reports, report)
      if (kind === modelKind) rounds = Math.max(rounds, proposed)
      const { speculation } = step.requests[i]!
      const drafting = step.drafting[i]!
      if (speculation === undefined || drafting < 0) continue
      if (drafting === lookOnce) {
        if (at === 0) this.#glanced(speculation, reports, report)
        continue
      }
      looks++
      behind += this.#read(speculation, reports, report)
      speculation.promise = proposed === 0 && reports[report + draftField.foreseen]! > 0 ? promising : 0
      speculation.saved *= memory
      if (kind < 0) continue
      speculation.acceptance.observe(kind, reports, report)
      this.#acceptance.observe(kind, reports, report)
      if (proposed === 0) continue
      speculation.count(proposed, draws - 1)
      speculation.saved += (draws - 1 - proposed * this.#row) * (1 - memory)
    }
    this.#steps++
    this.#costs.observe(rows, reports[at + draftField.nanoseconds]!)
    const guessMs = reports[at + draftField.guessNanoseconds]! / 1e6
    this.#roundsMs = this.#roundsMs * memory + (rounds > 0 ? guessMs : 0) * (1 - memory)
    this.#readsTook(behind, guessMs - rounds * this.#roundMs)
    if (rounds > 0 && behind === 0) {
      const roundMs = guessMs / rounds
      const share = roundMs < this.#roundMs ? quickerStep : 1 - memory
      this.#roundMs += this.#roundMs === 0 ? roundMs : share * (roundMs - this.#roundMs)
    }
    this.#took(rounds)
    const extra = rows - step.nSegments
    this.#goodFor = this.#policy.model === undefined ? 0 : this.#goodFor - 1
    if (looks > 0 && plainMs > 0) {
      if (extra > 0) this.#row = ((this.#costs.ms(rows) - plainMs) * step.nSegments) / plainMs / extra
      this.#looked(step.nSegments, plainMs, rounds > 0 ? 0 : guessMs / looks)
    }
    this.#extraRows = this.#extraRows * memory + extra * (1 - memory)
    this.#extraTokens = this.#extraTokens * memory + right * (1 - memory)
    if (extra === 0) return
    if (this.#probing) this.#probed()
    // Guesses pay: when costs speak against them again, they are soon tried.
    else this.#probeEvery = firstProbe
  }

  /** What the draft model read for a request in a step. */
  #read(speculation: RequestDrafts, reports: Int32Array, at: number): number {
    const behind = reports[at + draftField.behind]!
    speculation.read += behind
    speculation.guessed ||= kindOf(reports, at) === modelKind
    return behind
  }

  #readsTook(tokens: number, ms: number): void {
    if (tokens === 0) return
    this.#readTokens = this.#readTokens * memory + tokens
    this.#readMs = this.#readMs * memory + Math.max(0, ms)
  }

  /** The one look of a run. */
  #glanced(speculation: RequestDrafts, reports: Int32Array, at: number): void {
    speculation.promise = reports[at + draftField.foreseen]! > 0 ? speculation.promise + 1 : 0
    const kind = kindOf(reports, at)
    if (kind >= 0) this.#acceptance.observe(kind, reports, at)
  }

  /** What a look of each of so many sequences adds to their step, of which one took `lookMs`. */
  #looked(sequences: number, plainMs: number, lookMs: number): void {
    if (plainMs > 0) this.#look = this.#look * memory + (((reportMs + lookMs) * sequences) / plainMs) * (1 - memory)
  }

  /** Milliseconds of a step that takes `ms` with `rows` rows and gets `more`, for the sake of a decision. */
  #withGuesses(ms: number, rows: number, more: number): number {
    return ms + caution * this.#costs.rise(rows, more) + (effort * ms) / this.#sequences
  }

  #probed(): void {
    this.#probing = false
    this.#probeEvery = Math.min(this.#policy.model === undefined ? lastProbe : lastModelProbe, 2 * this.#probeEvery)
    this.#probeAt = this.#steps + this.#probeEvery
  }

  /** Whether costs that speak against guesses are tried with this request now. */
  #probes(request: DraftedRequest): boolean {
    if (!this.#probing) return false
    this.#prober ??= request
    return this.#prober === request
  }

  #paying(request: DraftedRequest, kind: number, room: number): number {
    this.#bestRate = this.#rate
    if (this.#rate === 0) return 0
    const { acceptance } = request.speculation!
    const chance = acceptance.chanceWith(kind, this.#acceptance)
    const first = Math.floor(chance * levels)
    const later = Math.floor(acceptance.following(kind, this.#acceptance) * levels)
    const pair = first * (1 + levels) + later
    const slot = pair % slots
    if (this.#pairs[slot] !== pair) {
      this.#pairs[slot] = pair
      this.#findBest(slot, first / levels, later / levels)
    }
    const best = Math.min(room, this.#best[slot]!)
    this.#bestRate = this.#rates[slot]!
    if (best === 0 && chance > probeChance && this.#probes(request)) return Math.min(probeDrafts, room)
    return best
  }

  #findBest(slot: number, first: number, later: number): void {
    let best = 0
    let rate = this.#rate
    let tokens = this.#tokens
    let reach = first
    const doubts = doubt * Math.max(0, later - first)
    for (let d = 1; d <= maxDrafts && reach >= hopeless; d++) {
      tokens += reach
      reach *= later
      if (this.#stepMs[d]! > this.#limitMs) break
      const ms = this.#stepMs[d]! + doubts * (this.#stepMs[d]! - this.#stepMs[0]!)
      if (tokens > rate * ms) {
        best = d
        rate = tokens / ms
      }
    }
    this.#best[slot] = best
    this.#rates[slot] = rate
  }

  /** How many of the model's guesses are best where every request gets as many, each right as those of all are. */
  #planModel(): void {
    const sequences = this.#sequences
    const chance = this.#acceptance.chance(modelKind)
    this.#modelRounds = 0
    this.#modelTokens = 1
    let rate = sequences / this.#plainMs
    let tokens = 1
    let reach = 1
    this.#modelRates.fill(0)
    this.#modelRates[0] = rate
    for (let d = 1; d <= this.#policy.maxModelDrafts; d++) {
      reach *= chance
      tokens += reach
      const ms = this.#withGuesses(this.#plainMs, sequences, sequences * d) + d * this.#roundMs
      if (ms > this.#limitMs) break
      this.#modelRates[d] = (sequences * tokens) / ms
      if (this.#modelRates[d]! <= rate) continue
      rate = this.#modelRates[d]!
      this.#modelRounds = d
      this.#modelTokens = tokens
    }
    this.#modelSavesMs = this.#plainMs / sequences - 1 / rate
    this.#planTrial(chance)
    const others = sequences - 1
    const rounds = others === 0 ? 0 : this.#modelRounds
    for (let d = 0; d <= Math.min(maxDrafts, this.#policy.maxModelDrafts); d++)
      this.#modelMs[d] =
        this.#withGuesses(this.#plainMs, sequences, others * rounds + d) + Math.max(rounds, d) * this.#roundMs
  }

  /** What a number of rounds costs only a try can tell, and what it did a while ago, or on a machine that was held up, need not be so. */
  #planTrial(chance: number): void {
    this.#trial = -1
    if (this.#policy.fixed !== undefined || this.#roundMs === 0) return
    const best = this.#modelRounds
    if (this.#grows(chance)) this.#trial = 2 * best
    else
      for (let away = 1; away <= farthestTry && this.#trial < 0; away++)
        if (this.#isDue(best + away)) this.#trial = best + away
        else if (this.#isDue(best - away)) this.#trial = best - away
  }

  #isDue(rounds: number): boolean {
    const rate = this.#modelRates[rounds] ?? 0
    if (rate === 0) return false
    const loss = this.#modelRates[this.#modelRounds]! / rate - 1
    return this.#steps - this.#takenAt[rounds]! > Math.max(betweenTries, (loss * this.#runSteps) / tryShare)
  }

  /**
   * Costs rise by leaps, where another kernel begins or a tile is full, so that a longer chain may pay where one more guess does not:
   * one that would if its rows came with those of the best.
   */
  #grows(chance: number): boolean {
    const best = this.#modelRounds
    if (best > this.#grown) {
      this.#grown = best
      this.#growEvery = firstGrowth
    }
    const rounds = 2 * best
    if (rounds === 0 || rounds > this.#policy.maxModelDrafts || this.#steps < this.#growAt) return false
    const tokens = (1 - chance ** (rounds + 1)) / (1 - chance)
    const ms = this.#costs.ms(this.#sequences * (1 + best)) + rounds * this.#roundMs
    if (ms >= this.#limitMs || this.#sequences * tokens <= this.#modelRates[best]! * ms) return false
    this.#growAt = this.#steps + this.#growEvery
    this.#growEvery = Math.min(lastProbe, 2 * this.#growEvery)
    return true
  }

  /** A step in which nobody had more guesses of the draft model than so many. */
  #took(rounds: number): void {
    this.#takenAt[rounds] = this.#steps
    this.#trial = -1
  }

  /**
   * Whether guesses of the draft model save more than it takes to read what the request has said and was asked, which it does once. An
   * answer is taken to be as long as answers are; one that is longer already to be half of what it will be: then what is lost on those
   * that end soon, and what others miss, is no more than either takes anyhow.
   */
  #repays({ speculation, length, promptLength, cachedTokens, limit }: DraftedRequest): boolean {
    const { read, guessed } = speculation!
    if (this.#policy.fixed !== undefined || guessed || this.#readTokens === 0) return true
    if (this.#probing && this.#modelRounds === 0) return true
    const said = length - promptLength
    const lacks = length - Math.max(0, cachedTokens) - read
    const left = Math.min(limit - length, Math.max(said, this.#answerTokens - said)) - lacks / readAtOnce
    return (lacks * this.#readMs) / this.#readTokens <= left * this.#modelSavesMs
  }

  /** All are drafted for together, round by round: one more costs its rows, and rounds only beyond those of the others. */
  #payingModel(chance: number, room: number): number {
    const sequences = this.#sequences
    const others = sequences - 1
    this.#bestRate = 0
    if (this.#rate === 0) return 0
    this.#bestRate = this.#sequences / this.#plainMs
    // What a round takes is not known before one was measured: a short chain finds out.
    if (this.#roundMs === 0) return Math.min(2, room)
    const rounds = others === 0 ? 0 : this.#modelRounds
    let best = 0
    let tokens = others * this.#modelTokens + 1
    let reach = 1
    for (let d = 0; d <= room; d++) {
      if (d > 0) {
        reach *= chance
        tokens += reach
      } else if (rounds === 0) continue
      const ms = this.#modelMs[d]!
      if (ms > this.#limitMs) break
      if (tokens > this.#bestRate * ms) {
        best = d
        this.#bestRate = tokens / ms
      }
    }
    return best
  }
}
