/**
 * Decides which request computes how many tokens in the next step. Pure: no I/O, no clock, no randomness; time is an argument
 * and the KV cache a small interface, so that it runs against a fake.
 *
 * There are no phases. A request has tokens (`target`) and tokens that are computed; a step spends a budget on closing the
 * gap: first requests that lack one token (decoding), then longer gaps (prefill, recomputation) in order of arrival, then
 * new ones while blocks suffice. Blocks for all of a request's tokens are reserved when it is admitted, so that only its output
 * can run short: then the youngest running request (one that is paused, if there is any) gives its blocks back, waits at its
 * place in the order of arrival and is recomputed later. The oldest one always advances, so every request ends.
 */
import { OctavoError, toErrorData } from '../errors.ts'
import { segmentMode, segmentStride } from '../native.ts'
import type { HostRequest, TopLogprobs } from './request.ts'

export const kvBlockTokens = 16

/** What the scheduler needs of the block manager. */
export interface KvPort {
  readonly totalBlocks: number
  /** A new empty sequence with the request's salt and sampling parameters. */
  create(request: HostRequest): number
  /** Attaches the longest cached prefix; returns its tokens. */
  match(sequence: number, tokens: Int32Array): number
  /** Room for `count` tokens after the committed ones; all or nothing; asking again for the same changes nothing. */
  reserve(sequence: number, count: number): boolean
  free(sequence: number): void
  /** Blocks that a reserve could take: free and cached. */
  available(): number
}

export interface SchedulerOptions {
  /** Tokens of one step. */
  stepTokens: number
  /** Requests that may hold a sequence at once. */
  maxSequences: number
  prefixCache: boolean
}

/** One step: who computes how many tokens, and the arrays that `NativeEngine.submit` takes. */
export class StepPlan {
  readonly requests: HostRequest[] = []
  readonly counts: number[] = []
  /** Result rows of each request. */
  readonly rows: number[] = []
  readonly segments: Int32Array
  readonly tokens: Int32Array
  nTokens = 0

  constructor(stepTokens: number, maxSequences: number) {
    this.segments = new Int32Array(Math.min(stepTokens, maxSequences) * segmentStride)
    this.tokens = new Int32Array(stepTokens)
  }

  get nSegments(): number {
    return this.requests.length
  }

  clear(): void {
    this.requests.length = this.counts.length = this.rows.length = this.nTokens = 0
  }

  add(request: HostRequest, count: number): void {
    this.requests.push(request)
    this.counts.push(count)
    this.nTokens += count
  }

  /** Takes a request out again; returns the tokens it had. */
  remove(request: HostRequest): number {
    const at = this.requests.indexOf(request)
    if (at < 0) return 0
    const count = this.counts[at]!
    this.requests.splice(at, 1)
    this.counts.splice(at, 1)
    this.nTokens -= count
    return count
  }

  /** Writes segments and tokens. */
  fill(): void {
    let at = 0
    for (let i = 0; i < this.requests.length; i++) {
      const request = this.requests[i]!
      const count = this.counts[i]!
      const end = request.computed + count
      const score = request.spec.mode === 'score'
      const rows = score ? count : end === request.length ? 1 : 0
      this.rows.push(rows)
      const segment = i * segmentStride
      this.segments[segment] = request.sequence
      this.segments[segment + 1] = count
      this.segments[segment + 2] = rows
      this.segments[segment + 3] = score ? segmentMode.score : segmentMode.draw
      this.segments[segment + 4] = score ? request.tokens[end]! : -1
      for (let t = request.computed; t < end; t++) this.tokens[at++] = request.tokens[t]!
    }
  }
}

export class Scheduler {
  readonly #kv: KvPort
  readonly #options: SchedulerOptions
  readonly #plan: StepPlan
  /** Both in order of arrival. */
  readonly #running: HostRequest[] = []
  readonly #waiting: HostRequest[] = []
  readonly #byId = new Map<number, HostRequest>()
  /** Requests that ended while a step was planned. */
  #refused: HostRequest[] = []
  #arrivals = 0
  /** How often blocks were given back or could be taken: a request that found too few tries again only after that. */
  #releases = 0
  readonly counts = { steps: 0, promptTokens: 0, cachedTokens: 0, generatedTokens: 0, preemptions: 0 }

  constructor(kv: KvPort, options: SchedulerOptions) {
    this.#kv = kv
    this.#options = options
    this.#plan = new StepPlan(options.stepTokens, options.maxSequences)
  }

  get running(): number {
    return this.#running.length
  }

  get waiting(): number {
    return this.#waiting.length
  }

  get requests(): IterableIterator<HostRequest> {
    return this.#byId.values()
  }

  /** Requests that ended while the last steps were planned; each is handed out once. */
  takeRefused(): HostRequest[] {
    const refused = this.#refused
    if (refused.length > 0) this.#refused = []
    return refused
  }

  /** Queues a request, or ends it with an error when it could never fit. */
  add(request: HostRequest): void {
    const blocks = Math.ceil(request.maxComputed / kvBlockTokens)
    if (blocks > this.#kv.totalBlocks) {
      request.fail({
        code: 'CONTEXT_OVERFLOW',
        message: `The request may need ${blocks} KV blocks of ${kvBlockTokens} tokens, the engine has ${this.#kv.totalBlocks}.`,
        details: { expected: `at most ${this.#kv.totalBlocks} blocks`, found: blocks },
      })
      return
    }
    request.order = this.#arrivals++
    this.#byId.set(request.id, request)
    this.#waiting.push(request)
  }

  /** Ends a request with what it has. Returns it, or undefined when it is not there (any more). */
  cancel(id: number, nowMs: number): HostRequest | undefined {
    const request = this.#byId.get(id)
    if (request === undefined) return undefined
    request.finish('cancelled', nowMs)
    this.#retire(request)
    return request
  }

  setPaused(id: number, paused: boolean): void {
    const request = this.#byId.get(id)
    if (request === undefined || request.paused === paused) return
    request.paused = paused
    // A paused request's blocks may be taken.
    if (paused) this.#releases++
  }

  /** The next step, or undefined when there is nothing to compute. Planning again before a commit gives the same work again. */
  plan(nowMs: number): StepPlan | undefined {
    const plan = this.#plan
    plan.clear()
    this.#planRunning(plan, true)
    this.#planRunning(plan, false)
    while (plan.nTokens < this.#options.stepTokens && this.#admit(plan, nowMs));
    if (plan.requests.length === 0) return undefined
    plan.fill()
    return plan
  }

  /**
   * Takes a step's results: `tokens[row]` (-1: no finite logit) and `logprobs[row]`. Requests that ended since the step was planned
   * drop theirs. `top` reads the most likely tokens of a row.
   */
  commit(
    plan: StepPlan,
    tokens: Int32Array,
    logprobs: Float32Array,
    top: (row: number) => TopLogprobs,
    nowMs: number,
  ): void {
    this.counts.steps++
    let row = 0
    for (let i = 0; i < plan.requests.length; i++) {
      const request = plan.requests[i]!
      const rows = plan.rows[i]!
      if (request.end === undefined && request.sequence >= 0) {
        const from = request.computed
        request.computed += plan.counts[i]!
        this.#accept(request, from, row, rows, tokens, logprobs, top, nowMs)
        if (request.end !== undefined) this.#retire(request)
      }
      row += rows
    }
  }

  #accept(
    request: HostRequest,
    from: number,
    row: number,
    rows: number,
    tokens: Int32Array,
    logprobs: Float32Array,
    top: (row: number) => TopLogprobs,
    nowMs: number,
  ): void {
    for (let r = row; r < row + rows; r++) {
      if (tokens[r]! < 0) {
        request.fail(numericError(request))
        return
      }
    }
    if (request.spec.mode === 'score') {
      request.acceptScores(from + 1, logprobs.subarray(row, row + rows), nowMs)
    } else if (rows > 0) {
      const wanted = request.spec.sampling.logprobs > 0
      request.accept(tokens[row]!, logprobs[row]!, wanted ? top(row) : undefined, nowMs)
      this.counts.generatedTokens++
    }
  }

  /** Chunks of running requests: those that lack one token, or those that lack more. */
  #planRunning(plan: StepPlan, decoding: boolean): void {
    for (const request of this.#running.slice()) {
      if (plan.nTokens >= this.#options.stepTokens) return
      // Planning an older request may have preempted this one.
      if (request.paused || request.sequence < 0) continue
      if ((request.target - request.computed === 1) === decoding) this.#planChunk(plan, request)
    }
  }

  /** Gives a running request its share of the budget, at the cost of younger ones' blocks. */
  #planChunk(plan: StepPlan, request: HostRequest): void {
    const count = Math.min(this.#options.stepTokens - plan.nTokens, request.target - request.computed)
    while (!this.#kv.reserve(request.sequence, count)) {
      const victim = this.#victim()
      if (victim === undefined || this.#running.length === 1) throw noRoom(request)
      this.#preempt(plan, victim)
      if (victim === request) return
    }
    plan.add(request, count)
  }

  /** The youngest paused request, else the youngest. */
  #victim(): HostRequest | undefined {
    return this.#running.findLast((request) => request.paused) ?? this.#running.at(-1)
  }

  #preempt(plan: StepPlan, request: HostRequest): void {
    plan.remove(request)
    this.#running.splice(this.#running.indexOf(request), 1)
    this.#release(request)
    request.computed = 0
    insert(this.#waiting, request)
    this.counts.preemptions++
  }

  /** Starts the first waiting request that is not paused. False when there is none or it does not fit yet. */
  #admit(plan: StepPlan, nowMs: number): boolean {
    const request = this.#waiting.find((r) => !r.paused)
    if (request === undefined || request.blockedAt === this.#releases) return false
    if (this.#running.length >= this.#options.maxSequences) {
      // Readers that stopped reading keep their sequences only while nobody else wants one.
      const paused = this.#running.findLast((r) => r.paused)
      if (paused === undefined) return false
      this.#preempt(plan, paused)
    }
    while (!this.#start(request, nowMs)) {
      const idle = this.#running.every((r) => r.paused)
      const victim = idle ? this.#victim() : undefined
      if (victim === undefined) {
        if (this.#running.length === 0) throw noRoom(request)
        request.blockedAt = this.#releases
        return false
      }
      this.#preempt(plan, victim)
    }
    if (request.end !== undefined) {
      this.#retire(request)
      this.#refused.push(request)
      return true
    }
    this.#waiting.splice(this.#waiting.indexOf(request), 1)
    insert(this.#running, request)
    this.#planChunk(plan, request)
    return true
  }

  /** Finds its cached prefix and reserves the rest. All or nothing. */
  #start(request: HostRequest, nowMs: number): boolean {
    const tokens = request.targetTokens
    const sequence = this.#create(request)
    if (sequence === undefined) return true
    const mayMatch = this.#options.prefixCache && request.spec.mode === 'generate'
    const cached = mayMatch ? this.#kv.match(sequence, tokens) : 0
    const running = this.#running.length
    // One block to spare for each running request: else the next one to fill its last block would take this one's back.
    const fits =
      this.#kv.reserve(sequence, tokens.length - cached) && (running === 0 || this.#kv.available() >= running)
    if (!fits) {
      this.#kv.free(sequence)
      return false
    }
    request.sequence = sequence
    request.computed = cached
    if (request.cachedTokens < 0) {
      this.counts.promptTokens += request.promptLength
      this.counts.cachedTokens += cached
    }
    request.begin(cached, nowMs)
    return true
  }

  /** A sequence; a request whose parameters are refused ends with that error, alone. */
  #create(request: HostRequest): number | undefined {
    try {
      return this.#kv.create(request)
    } catch (error) {
      const data = toErrorData(error)
      if (data.code !== 'INVALID_ARGUMENT') throw error
      request.fail(data)
      return undefined
    }
  }

  #retire(request: HostRequest): void {
    this.#byId.delete(request.id)
    for (const list of [this.#running, this.#waiting]) {
      const at = list.indexOf(request)
      if (at >= 0) list.splice(at, 1)
    }
    this.#release(request)
  }

  #release(request: HostRequest): void {
    if (request.sequence < 0) return
    this.#kv.free(request.sequence)
    request.sequence = -1
    this.#releases++
  }
}

/** Into a list in order of arrival. */
function insert(list: HostRequest[], request: HostRequest): void {
  const at = list.findLastIndex((r) => r.order < request.order)
  list.splice(at + 1, 0, request)
}

function numericError(request: HostRequest) {
  return {
    code: 'NUMERIC_ERROR' as const,
    message: 'The model produced logits without a finite value.',
    details: { position: request.computed },
  }
}

function noRoom(request: HostRequest): OctavoError {
  return new OctavoError('INTERNAL', 'A request that runs alone found no KV blocks, although its maximum fits.', {
    computed: request.computed,
    target: request.target,
    limit: request.limit,
  })
}
