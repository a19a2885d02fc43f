/**
 * A NativeEngine in memory: the block manager's accounting (reference counts, prefix index, LRU of unreferenced blocks) with the
 * rules of lib/base/native.ts, and a "model" whose next token is a hash of all tokens before it, so that any token lost, doubled or
 * reordered on the way changes everything after it. Breaking a rule throws.
 */
import { OctavoError } from '../lib/base/errors.ts'
import type { NativeEngine, NativeEngineOptions, SamplerParams } from '../lib/base/native.ts'
import { draftField, draftSource, draftStride, segmentMode, segmentStride, statIndex } from '../lib/base/native.ts'
import type { SchedulingPolicy } from '../lib/host/wire/protocol.ts'

const blockTokens = 16

/** Defaults but for the budget: a step is as large as it can be. */
export const policy: SchedulingPolicy = {
  ...{ objective: 'latency', maxStepMs: Number.POSITIVE_INFINITY, weights: {} },
  ...{ maxQueuedRequests: 4096, maxQueuedTokens: Number.MAX_SAFE_INTEGER, idleTimeoutMs: Number.POSITIVE_INFINITY },
}

interface Block {
  references: number
  /** Key in the prefix index, once full. */
  key: string | undefined
}

interface Sequence {
  salt: string
  tokens: number[]
  /** Pool block of each 16 positions. */
  table: number[]
  /** Keys of its full blocks that are indexed. */
  keys: string[]
  params: SamplerParams | undefined
}

export interface FakeOptions extends Pick<NativeEngineOptions, 'kvBlocks' | 'prefixCache'> {
  maxStepTokens?: number
  vocabulary?: number
  /** How many steps may be submitted before the first is waited for; default 1. */
  stepsAhead?: number
  /** Milliseconds a step takes; default none. */
  stepMs?: (tokens: number, attended: number, sequences: number) => number
  /** What native drafters guess after these tokens, and as a match of which class. */
  guess?: Guess
  /** Called at every wait: return true to discard the step, throw to break the engine. */
  onWait?: (engine: FakeNativeEngine) => boolean
}

export type Guess = (tokens: readonly number[], most: number, seed: number) => { tokens: number[]; confidence: number }

/** FNV-1a over tokens; the model's state. */
export function hashTokens(tokens: ArrayLike<number>, length = tokens.length): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < length; i++) hash = Math.imul(hash ^ tokens[i]!, 0x01000193) ^ (hash >>> 15)
  return hash >>> 0
}

/** The token that the fake model draws after `tokens`. */
export function nextToken(tokens: ArrayLike<number>, seed: number, vocabulary: number): number {
  return ((hashTokens(tokens) ^ Math.imul(seed + 1, 0x9e3779b1)) >>> 0) % vocabulary
}

/** The log-probability that the fake model gives `token` after `tokens`. */
export function tokenLogprob(tokens: ArrayLike<number>, length: number, token: number): number {
  return Math.fround(-((hashTokens(tokens, length) ^ token) >>> 0) / 2 ** 32)
}

let engines = 0

export class FakeNativeEngine implements NativeEngine {
  readonly id = ++engines
  readonly kvBytes = 0
  readonly kvTouchedBytes = 0
  readonly kvBlockBytes = 1024
  readonly scratchBytes = 0
  readonly draftBytes = 0
  readonly tuning = { prefetchFromTokens: 6, matrixFromTokens: Infinity, seconds: 0 }
  stepSeconds = 0
  readonly vocabulary: number
  closed = false
  /** Blocks that the system has no memory for. */
  withheld = 0
  /** Tokens computed in all committed steps, and those of each step. */
  computedTokens = 0
  readonly stepSizes: number[] = []
  /** Steps of each wait. */
  readonly runs: number[] = []
  readonly #options: FakeOptions
  readonly #blocks: Block[]
  readonly #sequences = new Map<number, Sequence>()
  readonly #keys = new Map<string, string>()
  /** Block by content key. */
  readonly #index = new Map<string, number>()
  /** Unreferenced indexed blocks, least recently used first. */
  readonly #cached = new Set<number>()
  readonly #free: number[]
  #nextSequence = 0
  readonly stepsAhead: number
  /** Steps that were not waited for, and what the last one that was drew, by row. */
  #submitted: { segments: Int32Array; tokens: Int32Array }[] = []
  #drawn: Int32Array = new Int32Array(0)
  /** Steps that were submitted behind another one, and of their tokens those that it drew. */
  stepsBehind = 0
  tokensFed = 0
  #tops: number[][] = []
  #endTokens = new Set<number>()
  #nudged = false
  /** Of the last step: guesses from outside, each segment's last draw, whether an end token was drawn. */
  readonly #drafts = new Map<number, number[]>()
  #last: number[] = []
  #ended = false
  /** Draws that each segment may have yet, in this wait. */
  #left: number[] = []
  /** Of the last wait, `draftStride` numbers a segment. */
  #reports: number[] = []

  constructor(options: FakeOptions) {
    this.#options = options
    this.vocabulary = options.vocabulary ?? 1000
    this.stepsAhead = options.stepsAhead ?? 1
    this.#blocks = Array.from({ length: options.kvBlocks }, () => ({ references: 0, key: undefined }))
    this.#free = this.#blocks.map((_, i) => i).reverse()
  }

  sequenceCreate(salt: string): number {
    this.#sequences.set(this.#nextSequence, { salt, tokens: [], table: [], keys: [], params: undefined })
    return this.#nextSequence++
  }

  sequenceMatch(id: number, tokens: Int32Array): number {
    const sequence = this.#sequence(id)
    if (sequence.tokens.length > 0) throw new Error('match: the sequence is not empty')
    if (!this.#options.prefixCache) return 0
    let key = sequence.salt
    for (let at = 0; at + blockTokens < tokens.length; at += blockTokens) {
      key = this.#contentKey(key, tokens.subarray(at, at + blockTokens))
      const block = this.#index.get(key)
      if (block === undefined) break
      this.#cached.delete(block)
      this.#blocks[block]!.references++
      sequence.table.push(block)
      sequence.keys.push(key)
      sequence.tokens.push(...tokens.subarray(at, at + blockTokens))
    }
    return sequence.tokens.length
  }

  sequenceReserve(id: number, count: number): boolean {
    const sequence = this.#sequence(id)
    const needed = Math.ceil((sequence.tokens.length + count) / blockTokens) - sequence.table.length
    if (needed > this.#free.length + this.#cached.size - this.withheld) return false
    for (let i = 0; i < needed; i++) sequence.table.push(this.#take())
    return true
  }

  sequenceLength(id: number): number {
    return this.#sequence(id).tokens.length
  }

  sequenceTruncate(): void {
    throw new Error('not faked')
  }

  sequenceAccept(id: number, tokens: Int32Array, from: number, count: number): void {
    const sequence = this.#sequence(id)
    const drafts = this.#drafts.get(id) ?? []
    for (let i = 0; i < count; i++) {
      if (tokens[from + i] !== drafts[i]) throw new Error('accept: not what was computed')
      sequence.tokens.push(drafts[i]!)
    }
    this.#drafts.delete(id)
    this.#indexFullBlocks(sequence)
  }

  kvExport(): void {
    throw new Error('not faked')
  }

  kvImport(): boolean {
    throw new Error('not faked')
  }

  sequenceFork(): number {
    throw new Error('not faked')
  }

  sequenceFree(id: number): void {
    const sequence = this.#sequence(id)
    for (const block of sequence.table.reverse()) this.#unreference(block)
    this.#sequences.delete(id)
  }

  heldBlocks(sequences: Int32Array): number {
    return new Set([...sequences].flatMap((id) => this.#sequence(id).table)).size
  }

  setSampler(id: number, params: SamplerParams): void {
    if (params.temperature < 0) throw new OctavoError('INVALID_ARGUMENT', 'temperature is negative')
    this.#sequence(id).params = params
  }

  submit(segments: Int32Array, nSegments: number, tokens: Int32Array, nTokens: number): void {
    if (this.#submitted.length === this.stepsAhead) throw new Error('submit: a step is pending')
    if (nSegments === 0 || nTokens > (this.#options.maxStepTokens ?? 512)) throw new Error(`submit: ${nTokens} tokens`)
    const step = { segments: segments.slice(0, nSegments * segmentStride), tokens: tokens.slice(0, nTokens) }
    const before = this.#submitted[0]?.segments ?? new Int32Array(0)
    const seen = new Set<number>()
    let total = 0
    for (let s = 0; s < nSegments; s++) {
      const [id, count] = step.segments.subarray(s * segmentStride) as unknown as [number, number]
      const sequence = this.#sequence(id)
      let taken = 0
      for (let b = 0, row = 0; b < before.length; row += before[b + 2]!, b += segmentStride) {
        if (before[b] !== id) continue
        taken = before[b + 1]!
        const drawn = step.tokens[total]! < 0
        if (drawn && (count !== 1 || before[b + 2] !== 1 || step.tokens[total] !== -1 - row))
          throw new Error('submit: no row draws the token')
        if (drawn) this.tokensFed++
      }
      if (taken === 0 && step.tokens[total]! < 0) throw new Error('submit: nothing draws the token')
      if (seen.has(id)) throw new Error('submit: a sequence twice')
      seen.add(id)
      if (sequence.tokens.length + taken + count > sequence.table.length * blockTokens)
        throw new Error('submit: no room reserved')
      total += count
    }
    if (total !== nTokens) throw new Error('submit: counts do not add up')
    this.stepsBehind += this.#submitted.length
    this.#submitted.push(step)
  }

  setVocabulary(): void {}

  setEndTokens(tokens: Int32Array): void {
    this.#endTokens = new Set(tokens)
  }

  /** The run in flight, or the next one, ends after its step. */
  nudge(): void {
    this.#nudged = true
  }

  setDraftModel(): void {
    throw new Error('not faked')
  }

  plantDrafts(): void {
    throw new Error('not faked')
  }

  wait(
    drawn: Int32Array,
    logprobs: Float32Array,
    steps = 1,
    seconds = 0,
    drafts: Int32Array = new Int32Array(0),
    draws = Number.MAX_SAFE_INTEGER,
  ): number {
    const submitted = this.#submitted.shift()
    if (submitted === undefined) throw new Error('wait: nothing was submitted')
    const { segments } = submitted
    const tokens = submitted.tokens.map((token) => (token < 0 ? this.#drawn[-1 - token]! : token))
    this.#tops = []
    this.stepSeconds = 0
    this.#reports = []
    this.#left = Array(segments.length / segmentStride).fill(Number.MAX_SAFE_INTEGER)
    let rows = this.#step(segments, tokens, drawn, logprobs, 0)
    if (rows < 0) {
      this.#submitted = []
      return -1
    }
    this.#left = this.#left.map((left) => draws - (Number.MAX_SAFE_INTEGER - left))
    const first = this.stepSeconds
    let last = first
    this.runs.push(1)
    for (let step = 1; step < steps && this.#submitted.length === 0 && this.#goesOn(segments); step++) {
      if (this.stepSeconds - first + last > seconds) break
      const before = this.stepSeconds
      const next = this.#step(segments, Int32Array.from(this.#last), drawn, logprobs, rows)
      if (next < 0) break
      rows = next
      last = this.stepSeconds - before
      this.runs[this.runs.length - 1]!++
    }
    this.#nudged = false
    drafts.set(this.#reports)
    this.#drawn = drawn.slice(0, rows)
    return rows
  }

  #goesOn(segments: Int32Array): boolean {
    if (this.#nudged || this.#ended) return false
    for (let s = 0; s < segments.length; s += segmentStride) {
      const [id, count, nRows, mode] = segments.subarray(s, s + segmentStride) as unknown as number[]
      if (mode === segmentMode.score || count !== 1 || nRows !== 1) return false
      const { tokens, table } = this.#sequence(id!)
      if (this.#left[s / segmentStride]! < 1) return false
      if (tokens.length >= table.length * blockTokens) return false
    }
    return true
  }

  /** Rows from `row` on; -1: discarded. */
  #step(segments: Int32Array, tokens: Int32Array, drawn: Int32Array, logprobs: Float32Array, row: number): number {
    if (this.#options.onWait?.(this)) return -1
    this.#drafts.clear()
    this.#last = []
    this.#ended = false
    const guessing = segments.some((_, at) => at % segmentStride === 3 && segments[at] === segmentMode.draft)
    const guesses = this.#guesses(segments, tokens)
    const computed = tokens.length + guesses.reduce((sum, { proposed }) => sum + proposed, 0)
    const ms = this.#options.stepMs?.(computed, this.#attended(segments), segments.length / segmentStride) ?? 0
    this.stepSeconds += ms / 1000
    let at = 0
    for (let s = 0; s < segments.length; s += segmentStride) {
      const [id, count, rows, mode, next] = segments.subarray(s, s + segmentStride) as unknown as number[]
      const sequence = this.#sequence(id!)
      const first = row
      for (let t = 0; t < count!; t++) {
        sequence.tokens.push(tokens[at++]!)
        if (t < count! - rows!) continue
        if (mode === segmentMode.score) {
          const following = t + 1 < count! ? tokens[at]! : next!
          if (following < 0) continue
          drawn[row] = following
          logprobs[row++] = tokenLogprob(sequence.tokens, sequence.tokens.length, following)
        } else this.#draw(sequence, drawn, logprobs, row++)
      }
      const { guessed, proposed, confidence } = guesses[s / segmentStride]!
      const foreseen = guessed.length > 0 && drawn[first] === guessed[0]
      for (let d = 0; d < proposed && drawn[row - 1] === guessed[d] && !this.#endTokens.has(guessed[d]!); d++) {
        sequence.tokens.push(guessed[d]!)
        this.#draw(sequence, drawn, logprobs, row++)
      }
      if (guessing) this.#report(row - first, proposed, guessed.length > 0, confidence, foreseen, ms)
      this.#left[s / segmentStride]! -= row - first
      if (row > first) this.#last.push(drawn[row - 1]!)
      for (let r = first; r < row; r++) this.#ended ||= this.#endTokens.has(drawn[r]!)
      // Guesses from outside are committed by sequenceAccept only.
      if (mode === segmentMode.draw && rows! > 1) this.#drafts.set(id!, sequence.tokens.splice(1 - rows!))
      this.#indexFullBlocks(sequence)
    }
    this.computedTokens += computed
    this.stepSizes.push(computed)
    return row
  }

  #draw(sequence: Sequence, drawn: Int32Array, logprobs: Float32Array, row: number): void {
    if (sequence.params === undefined) throw new Error('wait: no sampler')
    const token = nextToken(sequence.tokens, sequence.params.seed, this.vocabulary)
    const nTop = Math.max(0, sequence.params.logprobs)
    this.#tops[row] = Array.from({ length: nTop }, (_, i) => (token + i) % this.vocabulary)
    drawn[row] = token
    logprobs[row] = tokenLogprob(sequence.tokens, sequence.tokens.length, token)
  }

  /** Of each segment: what is guessed, and how much of it is computed, as rooms allow. */
  #guesses(segments: Int32Array, tokens: Int32Array): { guessed: number[]; proposed: number; confidence: number }[] {
    let room = (this.#options.maxStepTokens ?? 512) - tokens.length
    const guesses = []
    for (let s = 0, at = 0; s < segments.length; at += segments[s + 1]!, s += segmentStride) {
      const [id, count, rows, mode, packed] = segments.subarray(s, s + segmentStride) as unknown as number[]
      const { guess } = this.#options
      if (mode !== segmentMode.draft || guess === undefined) {
        guesses.push({ guessed: [], proposed: 0, confidence: 0 })
        continue
      }
      if (count !== 1 || rows !== 1) throw new Error('submit: guesses after more than a token')
      const { tokens: known, table, params } = this.#sequence(id!)
      const inCache = table.length * blockTokens - known.length - 1
      const made = guess([...known, tokens[at]!], 15, params!.seed)
      const left = this.#left[s / segmentStride]! - 1
      const most = Math.min((packed! >> (4 * made.confidence)) & 15, room, inCache, left, made.tokens.length)
      room -= most
      guesses.push({ guessed: made.tokens, proposed: most, confidence: made.confidence })
    }
    return guesses
  }

  #report(draws: number, proposed: number, some: boolean, confidence: number, foreseen: boolean, ms: number): void {
    const report = Array<number>(draftStride).fill(0)
    report[draftField.draws] = draws
    report[draftField.proposed] = proposed
    report[draftField.source] = some ? draftSource.own : draftSource.none
    report[draftField.confidence] = confidence
    report[draftField.foreseen] = Number(foreseen)
    report[draftField.nanoseconds] = Math.round(ms * 1e6)
    this.#reports.push(...report)
  }

  topLogprobs(row: number): { tokens: Int32Array; logprobs: Float32Array } {
    const tokens = Int32Array.from(this.#tops[row]!)
    return { tokens, logprobs: Float32Array.from(tokens, (_, i) => -i) }
  }

  stats(out: Int32Array): void {
    out[statIndex.total] = this.#blocks.length
    out[statIndex.free] = this.#free.length
    out[statIndex.cached] = this.#cached.size
    out[statIndex.owned] = this.#blocks.filter((block) => block.references > 0).length
    out[statIndex.sequences] = this.#sequences.size
  }

  check(): string {
    const references = this.#blocks.map(() => 0)
    for (const { table } of this.#sequences.values()) for (const block of table) references[block]!++
    const free = new Set(this.#free)
    for (const [i, block] of this.#blocks.entries()) {
      if (block.references !== references[i])
        return `block ${i}: ${block.references} references, tables hold ${references[i]}`
      const places = Number(free.has(i)) + Number(this.#cached.has(i)) + Number(block.references > 0)
      if (places !== 1) return `block ${i} is in ${places} of free, cached, owned`
      if (block.key !== undefined && this.#index.get(block.key) !== i) return `block ${i} is not where the index says`
    }
    const owned = this.#blocks.filter((block) => block.references > 0).length
    if (this.#free.length + this.#cached.size + owned !== this.#blocks.length) return 'free + cached + owned != total'
    return ''
  }

  clearPrefixCache(): void {
    for (const block of this.#cached) {
      this.#unindex(block)
      this.#free.push(block)
    }
    this.#cached.clear()
  }

  close(): void {
    if (this.closed) throw new Error('closed twice')
    this.closed = true
  }

  #attended(segments: Int32Array): number {
    let keys = 0
    for (let s = 0; s < segments.length; s += segmentStride) {
      const count = segments[s + 1]!
      keys += count * (this.#sequence(segments[s]!).tokens.length + (count + 1) / 2)
    }
    return keys
  }

  #sequence(id: number): Sequence {
    const sequence = this.#sequences.get(id)
    if (sequence === undefined) throw new Error(`no sequence ${id}`)
    return sequence
  }

  #take(): number {
    let block = this.#free.pop()
    if (block === undefined) {
      block = this.#cached.values().next().value!
      this.#cached.delete(block)
      this.#unindex(block)
    }
    this.#blocks[block]!.references = 1
    return block
  }

  #unindex(block: number): void {
    this.#index.delete(this.#blocks[block]!.key!)
    this.#blocks[block]!.key = undefined
  }

  #unreference(block: number): void {
    if (--this.#blocks[block]!.references > 0) return
    if (this.#blocks[block]!.key === undefined) this.#free.push(block)
    else this.#cached.add(block)
  }

  #indexFullBlocks(sequence: Sequence): void {
    if (!this.#options.prefixCache) return
    for (let b = sequence.keys.length; (b + 1) * blockTokens <= sequence.tokens.length; b++) {
      const tokens = sequence.tokens.slice(b * blockTokens, (b + 1) * blockTokens)
      const key = this.#contentKey(sequence.keys.at(-1) ?? sequence.salt, tokens)
      sequence.keys.push(key)
      const own = sequence.table[b]!
      const indexed = this.#index.get(key)
      if (indexed === own) continue
      if (indexed === undefined) {
        this.#index.set(key, own)
        this.#blocks[own]!.key = key
      } else {
        // Somebody wrote the same content first: share that block, give the own one back.
        this.#cached.delete(indexed)
        this.#blocks[indexed]!.references++
        sequence.table[b] = indexed
        this.#unreference(own)
      }
    }
  }

  /** Names a block by everything up to its end: a number for each (parent, 16 tokens) that ever was. */
  #contentKey(parent: string, tokens: ArrayLike<number>): string {
    const content = `${parent}|${Array.from(tokens).join(',')}`
    const known = this.#keys.get(content) ?? `#${this.#keys.size}`
    this.#keys.set(content, known)
    return known
  }
}
