/**
 * The main thread's end of the wire to the host: routes each step's parts to their streams, keeps the last statistics, keeps the
 * process alive exactly while somebody waits for something, and turns the death of the host into an error of every stream. Or,
 * when restarts are wanted, into a new host that goes on where the old one stood: it gets each open request again with the
 * tokens that came before. They are a part of what the next token depends on, so the answer is the same as without a death.
 */
import type { ErrorData } from './base/errors.ts'
import { fromErrorData } from './base/errors.ts'
import type { Stream, StreamControl } from './generation.ts'
import { packStats, unpackStats } from './host/record/stats.ts'
import { unpackParts } from './host/wire/plain-parts.ts'
import { processWire } from './host/wire/process-wire.ts'
import type {
  EngineStats,
  FromHost,
  HostOptions,
  KvFile,
  LoadedInfo,
  LoadProgress,
  RequestSpec,
  StatsRow,
  StepPart,
  StepRecords,
  VocabularyData,
} from './host/wire/protocol.ts'
import { threadWire } from './host/wire/thread-wire.ts'
import type { HostWire } from './host/wire/wire.ts'

export interface HostCallbacks {
  onProgress?: ((progress: LoadProgress) => void) | undefined
  onLog?: ((message: string) => void) | undefined
}

export interface HostSetup {
  /** Starts a host; after a death with the context length that the first one chose. */
  start: (contextTokens?: number) => HostWire
  restart: boolean
  now: () => number
}

/** A host that dies again and again is not started for ever, and neither is a request served that may be what kills it. */
export const mostRestarts = 2
const restartWindowMs = 600_000

interface Entry {
  stream: Stream
  request: RequestSpec
  paused: boolean
  cancelled: boolean
  /** What came so far, kept only where a restart may need it: tokens, and characters of text, reasoning and calls. */
  received: number[]
  text: number
  reasoning: number
  calls: number
  firstTokenAtMs: number
  restarts: number
}

/** Clients whose host may be in mid-step when the process exits: exit must not wait for that step. */
const live = new Set<HostClient>()
function abandonAll(): void {
  for (const client of live) client.abandon()
}

export class HostClient {
  readonly loaded: Promise<LoadedInfo>
  readonly #setup: HostSetup
  readonly #callbacks: HostCallbacks
  readonly #streams = new Map<number, Entry>()
  #wire: HostWire
  /** Streams that somebody waits for: all but paused ones. */
  #waiting = 0
  #contextTokens: number | undefined
  #vocabulary: VocabularyData | undefined
  #stats: StatsRow | undefined
  /** Those who wait for a trace. */
  #traces: { resolve: (records: StepRecords) => void; reject: (error: ErrorData) => void }[] = []
  readonly #transfers = new Map<number, { resolve: (blocks: number) => void; reject: (error: Error) => void }>()
  #nextId = 1
  #failure: ErrorData | undefined
  /** Why the host is about to end. */
  #death: ErrorData | undefined
  #deathsAtMs: number[] = []
  #closing: Promise<void> | undefined
  #settleLoad: { resolve: (info: LoadedInfo) => void; reject: (error: ErrorData) => void } | undefined
  #exited = false
  #onExited: (() => void) | undefined

  constructor(setup: HostSetup, callbacks: HostCallbacks) {
    this.#setup = setup
    this.#callbacks = callbacks
    this.loaded = new Promise((resolve, reject) => {
      this.#settleLoad = { resolve, reject }
    })
    this.loaded.catch(() => {})
    this.#wire = this.#connect(setup.start())
    if (live.size === 0) process.on('exit', abandonAll)
    live.add(this)
  }

  /** The last snapshot; undefined before the model is loaded. */
  get stats(): EngineStats | undefined {
    return this.#stats && unpackStats(this.#stats)
  }

  /** Why nothing can be asked of it any more. */
  get failure(): ErrorData | undefined {
    return this.#failure
  }

  setVocabulary(vocabulary: VocabularyData): void {
    this.#vocabulary = vocabulary
    this.#wire.post({ type: 'vocabulary', vocabulary })
  }

  /** Posts a request; the stream gets its parts, then an end or a failure. */
  open(stream: Stream, spec: Omit<RequestSpec, 'id'>): StreamControl {
    const id = this.#nextId++
    const request = { id, ...spec }
    const state = {
      paused: false,
      cancelled: false,
      received: [],
      text: 0,
      reasoning: 0,
      calls: 0,
      firstTokenAtMs: 0,
      restarts: 0,
    }
    const entry: Entry = { stream, request, ...state }
    this.#streams.set(id, entry)
    this.#count(1)
    this.#wire.post({ type: 'request', request })
    const setPaused = (paused: boolean) => {
      if (paused === entry.paused || !this.#streams.has(id)) return
      entry.paused = paused
      this.#count(paused ? -1 : 1)
      this.#wire.post({ type: paused ? 'pause' : 'resume', id })
    }
    const cancel = () => {
      if (!this.#streams.has(id)) return
      // Somebody may wait for the host's answer.
      setPaused(false)
      entry.cancelled = true
      this.#wire.post({ type: 'cancel', id })
      this.#wire.discardLongStep()
    }
    return { cancel, pause: () => setPaused(true), resume: () => setPaused(false) }
  }

  startTrace(): void {
    this.#wire.post({ type: 'trace', on: true })
  }

  stopTrace(): Promise<StepRecords> {
    this.#count(1)
    const records = new Promise<StepRecords>((resolve, reject) => this.#traces.push({ resolve, reject }))
    this.#wire.post({ type: 'trace', on: false })
    return records.finally(() => this.#count(-1))
  }

  /** Moves keys and values between the cache and a file; resolves with the number of blocks. */
  transfer(type: 'kvSave' | 'kvRestore', file: KvFile): Promise<number> {
    if (this.#failure !== undefined) return Promise.reject(fromErrorData(this.#failure))
    const id = this.#nextId++
    this.#count(1)
    const done = new Promise<number>((resolve, reject) => this.#transfers.set(id, { resolve, reject }))
    this.#wire.post({ type, id, file })
    return done.finally(() => this.#count(-1))
  }

  /** Ends every stream with `error`, stops the step that runs, frees everything; resolves when the host is gone. */
  close(error: ErrorData): Promise<void> {
    this.#closing ??= new Promise((resolve) => {
      this.#failAll(error)
      if (this.#exited) return resolve()
      this.#onExited = resolve
      this.#wire.setRef(true)
      this.#wire.halt()
      this.#wire.post({ type: 'close' })
    })
    return this.#closing
  }

  /** The process exits. */
  abandon(): void {
    this.#wire.abandon()
  }

  #connect(wire: HostWire): HostWire {
    wire.onMessage((message) => {
      if (wire === this.#wire) this.#receive(message)
    })
    wire.onExit((error) => this.#exit(error))
    return wire
  }

  #receive(message: FromHost): void {
    switch (message.type) {
      case 'progress':
        if (this.#closing === undefined) this.#callbacks.onProgress?.(message.progress)
        return
      case 'log':
        this.#callbacks.onLog?.(message.message)
        return
      case 'loaded':
        this.#contextTokens = message.info.contextTokens
        this.#stats = packStats(message.info.stats)
        this.#settleLoad?.resolve(message.info)
        this.#settleLoad = undefined
        if (this.#closing !== undefined) this.#wire.halt()
        else this.#count(0)
        return
      case 'step':
        this.#stats = message.stats ?? this.#stats
        for (const part of unpackParts(message)) this.#route(part)
        return
      case 'trace':
        this.#traces.shift()?.resolve(message.records)
        return
      case 'kvDone': {
        const waiting = this.#transfers.get(message.id)
        this.#transfers.delete(message.id)
        if ('error' in message) waiting?.reject(fromErrorData(message.error))
        else waiting?.resolve(message.blocks)
        return
      }
      case 'failed':
        this.#death = this.#vocabulary === undefined ? message.error : asDeath(message.error)
        if (!this.#mayRestart()) this.#failAll(this.#death)
        return
      case 'closed':
        return
    }
  }

  #route(part: StepPart): void {
    const entry = this.#streams.get(part.id)
    if (entry === undefined) return
    if (part.end !== undefined) {
      this.#streams.delete(part.id)
      if (!entry.paused) this.#count(-1)
    } else if (this.#setup.restart) {
      entry.firstTokenAtMs ||= this.#setup.now()
      for (const token of part.tokens) entry.received.push(token)
      entry.text += part.text.length
      entry.reasoning += part.reasoning?.length ?? 0
      entry.calls += part.calls?.length ?? 0
    }
    entry.stream.part(part)
  }

  #exit(error: ErrorData | undefined): void {
    const reason = this.#death ?? error ?? unexpectedEnd
    if (this.#mayRestart()) {
      this.#restart(reason)
      return
    }
    this.#exited = true
    live.delete(this)
    if (live.size === 0) process.off('exit', abandonAll)
    if (this.#closing === undefined && this.#failure === undefined) this.#callbacks.onLog?.(reason.message)
    this.#failAll(reason)
    this.#onExited?.()
  }

  /** Only an engine that was loaded is: what fails to load once would fail again. */
  #mayRestart(): boolean {
    if (!this.#setup.restart || this.#vocabulary === undefined) return false
    if (this.#failure !== undefined || this.#closing !== undefined) return false
    const since = this.#setup.now() - restartWindowMs
    this.#deathsAtMs = this.#deathsAtMs.filter((atMs) => atMs > since)
    return this.#deathsAtMs.length < mostRestarts
  }

  #restart(reason: ErrorData): void {
    this.#deathsAtMs.push(this.#setup.now())
    this.#death = undefined
    this.#failCalls(reason)
    this.#callbacks.onLog?.(`${reason.message} It is started again (${this.#deathsAtMs.length} of ${mostRestarts}).`)
    const wire = this.#setup.start(this.#contextTokens)
    this.#wire = wire
    this.#connect(wire)
    wire.post({ type: 'vocabulary', vocabulary: this.#vocabulary! })
    for (const [id, entry] of [...this.#streams]) {
      if (entry.restarts++ < mostRestarts) this.#reopen(id, entry)
      else this.#route({ id, text: '', tokens: [], end: { error: reason } })
    }
    this.#count(0)
  }

  /** The order of arrival stays, because ids keep it. */
  #reopen(id: number, entry: Entry): void {
    const { request, received, text, reasoning, calls, firstTokenAtMs, paused, cancelled } = entry
    const resumed = { tokens: Int32Array.from(received), text, reasoning, calls, firstTokenAtMs }
    this.#wire.post({ type: 'request', request: { ...request, resumed } })
    if (paused) this.#wire.post({ type: 'pause', id })
    if (cancelled) this.#wire.post({ type: 'cancel', id })
  }

  #failAll(error: ErrorData): void {
    this.#failure ??= error
    this.#settleLoad?.reject(this.#failure)
    this.#settleLoad = undefined
    const entries = [...this.#streams.values()]
    this.#streams.clear()
    this.#waiting = 0
    for (const { stream } of entries) stream.fail(this.#failure)
    this.#failCalls(this.#failure)
  }

  #failCalls(error: ErrorData): void {
    for (const { reject } of this.#traces.splice(0)) reject(error)
    const transfers = [...this.#transfers.values()]
    this.#transfers.clear()
    for (const { reject } of transfers) reject(fromErrorData(error))
  }

  /** While loading and closing the wire keeps the process alive, too. */
  #count(change: number): void {
    this.#waiting = Math.max(0, this.#waiting + change)
    if (this.#closing === undefined && this.#settleLoad === undefined) this.#wire.setRef(this.#waiting > 0)
  }
}

/** What a host that is started again may say of its model (which was fine before) means no more than that the engine is dead. */
const asDeath = (error: ErrorData): ErrorData =>
  error.code === 'INTERNAL' ? error : { ...error, code: 'ENGINE_FAILED' }

const unexpectedEnd: ErrorData = { code: 'ENGINE_FAILED', message: 'The engine ended unexpectedly.', details: {} }

export interface HostPlace extends HostCallbacks {
  isolation: 'thread' | 'process'
  restart: boolean
  now: () => number
}

/** Starts a host, which begins to load at once. */
export function startHost(options: HostOptions, { isolation, restart, now, ...callbacks }: HostPlace): HostClient {
  const wire = isolation === 'process' ? processWire : threadWire
  const start = (contextTokens = options.contextTokens) => wire({ ...options, contextTokens })
  return new HostClient({ start, restart, now }, callbacks)
}
