/**
 * Sends a workload to an engine and measures what a client sees. Closed loop: each of n clients asks again when its answer is
 * complete. Open: requests arrive at random times (a Poisson process) whether or not earlier ones are done. The measured span
 * begins after the warm-up; requests that begin in it count, and are waited for after its end, so that long ones count as well.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { blocksFor, kvBlockTokens } from '../base/kv-blocks.ts'
import type { Engine, EngineStats, GenerateOptions } from '../index.ts'
import type { Random } from './random.ts'
import type { LoadOutcome, LoadRequest, Workload } from './workload.ts'

export interface LoadPlan {
  arrivals: { clients: number } | { perSecond: number }
  warmupSeconds: number
  /** The measured span ends after this time, or when so many requests have ended. */
  seconds: number
  requests: number
  /** So many requests altogether, warm-up included: the span ends with the last answer. Without it clients ask until the end. */
  total?: number
  /** For every request. */
  options: Omit<GenerateOptions, 'prompt' | 'messages' | 'maxTokens'>
  random: Random
}

/** One request as its client saw it; times in milliseconds since the measured span began. */
export interface LoadSample {
  startMs: number
  firstTokenMs: number
  endMs: number
  promptTokens: number
  cachedTokens: number
  outputTokens: number
  /** Of prompt and output: equal for equal tokens. */
  promptHash: number
  outputHash: number
  /** Between the parts that arrived. */
  gapsMs: number[]
  /** The code of the error that ended it. */
  error?: string
}

/** The KV cache at one moment. `sequences`: requests that have their first token; their tokens, also rounded up to blocks. */
export interface KvMoment {
  atMs: number
  running: number
  waiting: number
  sequences: number
  tokens: number
  blockTokens: number
  heldBlocks: number
  totalBlocks: number
}

export interface LoadResult {
  spanSeconds: number
  samples: LoadSample[]
  moments: KvMoment[]
  /** Counters of the engine over the measured span. */
  counts: Pick<EngineStats, 'steps' | 'promptTokens' | 'cachedTokens' | 'generatedTokens' | 'preemptions'>
  cpuSeconds: number
}

const momentMs = 50

export async function drive(engine: Engine, workload: Workload, plan: LoadPlan): Promise<LoadResult> {
  const run = new LoadRun(engine, workload, plan)
  return run.result()
}

class LoadRun {
  readonly #engine: Engine
  readonly #workload: Workload
  readonly #plan: LoadPlan
  readonly #samples: LoadSample[] = []
  readonly #moments: KvMoment[] = []
  /** Prompt and output tokens so far of requests that have their first token. */
  readonly #lengths = new Set<{ tokens: number }>()
  readonly #pending = new Set<Promise<unknown>>()
  readonly #startedAt = performance.now()
  /** The measured span's begin; Infinity during the warm-up. */
  #spanAt = Number.POSITIVE_INFINITY
  #over = false
  #asked = 0
  #ended = 0
  #onEnough: (() => void) | undefined

  constructor(engine: Engine, workload: Workload, plan: LoadPlan) {
    this.#engine = engine
    this.#workload = workload
    this.#plan = plan
  }

  async result(): Promise<LoadResult> {
    const { warmupSeconds } = this.#plan
    if (warmupSeconds === 0) this.#spanAt = performance.now()
    const arrivals = this.#arrive()
    if (warmupSeconds > 0) {
      await sleep(warmupSeconds * 1000)
      this.#spanAt = performance.now()
    }
    const [before, cpuBefore] = [this.#engine.stats(), process.cpuUsage()]
    const timer = setInterval(() => this.#look(), momentMs)
    const enough = new Promise<void>((resolve) => {
      this.#onEnough = resolve
    })
    const limit = new AbortController()
    const ends: Promise<unknown>[] = [enough, sleep(this.#plan.seconds * 1000, undefined, { signal: limit.signal })]
    if (this.#plan.total !== undefined) ends.push(arrivals.then(() => Promise.all(this.#pending)))
    await Promise.race(ends)
    limit.abort()
    const spanSeconds = (performance.now() - this.#spanAt) / 1000
    const [after, cpu] = [this.#engine.stats(), process.cpuUsage(cpuBefore)]
    clearInterval(timer)
    this.#over = true
    await arrivals
    await Promise.all(this.#pending)
    const samples = this.#samples.filter(({ startMs }) => startMs >= 0 && startMs <= spanSeconds * 1000)
    const cpuSeconds = (cpu.user + cpu.system) / 1e6
    return { spanSeconds, samples, moments: this.#moments, counts: difference(after, before), cpuSeconds }
  }

  async #arrive(): Promise<void> {
    const { arrivals, random } = this.#plan
    if ('clients' in arrivals) {
      await Promise.all(Array.from({ length: arrivals.clients }, (_, i) => this.#client(random.child(i))))
      return
    }
    const gaps = random.child(0)
    let nextAt = this.#startedAt
    for (let i = 1; ; i++) {
      nextAt += gaps.exponential(1000 / arrivals.perSecond)
      await sleep(Math.max(0, nextAt - performance.now()))
      if (!this.#more()) return
      const request = this.#ask(this.#workload.next(random.child(i), undefined))
      this.#pending.add(request)
      request.finally(() => this.#pending.delete(request))
    }
  }

  async #client(random: Random): Promise<void> {
    let previous: LoadOutcome | undefined
    while (this.#more()) previous = await this.#ask(this.#workload.next(random, previous))
  }

  #more(): boolean {
    return !this.#over && this.#asked++ < (this.#plan.total ?? Number.POSITIVE_INFINITY)
  }

  async #ask({ prompt, maxTokens }: LoadRequest): Promise<LoadOutcome> {
    const startAt = performance.now()
    const length = { tokens: prompt.length }
    const gapsMs: number[] = []
    const output: number[] = []
    let [firstAt, lastAt, cachedTokens] = [0, 0, 0]
    let error: string | undefined
    try {
      const generation = this.#engine.generate({ prompt, maxTokens, ignoreEos: true, ...this.#plan.options })
      for await (const { tokens } of generation) {
        if (tokens.length === 0) continue
        const now = performance.now()
        if (firstAt === 0) {
          firstAt = now
          this.#lengths.add(length)
        } else gapsMs.push(now - lastAt)
        lastAt = now
        for (const token of tokens) output.push(token)
        length.tokens += tokens.length
      }
      cachedTokens = (await generation.result).usage.cachedTokens
    } catch (thrown) {
      error = (thrown as { code?: string }).code ?? 'INTERNAL'
      // A full queue answers at once; a client that asks again at once would ask for ever.
      await sleep(10)
    } finally {
      this.#lengths.delete(length)
    }
    const endAt = performance.now()
    const startMs = startAt - this.#spanAt
    const times = { startMs, firstTokenMs: firstAt - this.#spanAt, endMs: endAt - this.#spanAt }
    const hashes = { promptHash: hash(prompt), outputHash: hash(output) }
    const counts = { promptTokens: prompt.length, cachedTokens, outputTokens: output.length, ...hashes }
    this.#samples.push({ ...times, ...counts, gapsMs, ...(error !== undefined && { error }) })
    if (startMs >= 0 && ++this.#ended === this.#plan.requests) this.#onEnough?.()
    return { prompt, maxTokens, output }
  }

  #look(): void {
    const { kv, requests } = this.#engine.stats()
    let [tokens, inBlocks] = [0, 0]
    for (const length of this.#lengths) {
      tokens += length.tokens
      inBlocks += blocksFor(length.tokens) * kvBlockTokens
    }
    this.#moments.push({
      atMs: performance.now() - this.#spanAt,
      running: requests.running,
      waiting: requests.waiting,
      ...{ sequences: this.#lengths.size, tokens, blockTokens: inBlocks },
      heldBlocks: kv.totalBlocks - kv.freeBlocks - kv.cachedBlocks,
      totalBlocks: kv.totalBlocks,
    })
  }
}

/** FNV-1a. */
function hash(tokens: ArrayLike<number>): number {
  let state = 0x811c9dc5
  for (let i = 0; i < tokens.length; i++) state = Math.imul(state ^ tokens[i]!, 0x01000193)
  return state >>> 0
}

function difference(after: EngineStats, before: EngineStats): LoadResult['counts'] {
  return {
    steps: after.steps - before.steps,
    promptTokens: after.promptTokens - before.promptTokens,
    cachedTokens: after.cachedTokens - before.cachedTokens,
    generatedTokens: after.generatedTokens - before.generatedTokens,
    preemptions: after.preemptions - before.preemptions,
  }
}
