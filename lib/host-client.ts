/**
 * The main thread's end of the wire to the engine thread: routes each step's parts to their streams, keeps the last statistics,
 * keeps the process alive exactly while somebody waits for something, and turns the death of the host into an error of every
 * stream. It knows no tokens and no text.
 */
import { Worker } from 'node:worker_threads'
import type { ErrorData } from './errors.ts'
import type { Stream, StreamControl } from './generation.ts'
import type {
  EngineStats,
  FromHost,
  HostData,
  HostOptions,
  LoadedInfo,
  LoadProgress,
  RequestSpec,
  StepPart,
  ToHost,
  VocabularyData,
} from './host/protocol.ts'
import { controlBytes, controlIndex } from './host/protocol.ts'
import { packStats, type StatsRow, unpackStats } from './host/stats.ts'

/** The host as a thread (or a fake in tests). */
export interface HostWire {
  post(message: ToHost): void
  /** Whether it keeps the process alive. */
  setRef(ref: boolean): void
  onMessage(listener: (message: FromHost) => void): void
  /** The host is gone, for whatever reason; called once. */
  onExit(listener: (error: ErrorData | undefined) => void): void
}

export interface HostCallbacks {
  onProgress?: ((progress: LoadProgress) => void) | undefined
  onLog?: ((message: string) => void) | undefined
  /** native.interrupt */
  interrupt: (engineId: number) => void
}

/** Prompt chunks make a step long; a step with fewer tokens is not worth discarding for a cancelled request. */
const longStepTokens = 64

/** Clients whose engine may be in mid-step when the process exits: exit must not wait for that step. */
const live = new Set<HostClient>()
function haltAll(): void {
  for (const client of live) client.halt()
}

export class HostClient {
  readonly loaded: Promise<LoadedInfo>
  readonly control: Int32Array
  readonly #wire: HostWire
  readonly #callbacks: HostCallbacks
  readonly #streams = new Map<number, { stream: Stream; paused: boolean }>()
  /** Streams that somebody waits for: all but paused ones. */
  #waiting = 0
  #engineId: number | undefined
  #stats: StatsRow | undefined
  #nextId = 1
  #failure: ErrorData | undefined
  #closing: Promise<void> | undefined
  #settleLoad: { resolve: (info: LoadedInfo) => void; reject: (error: ErrorData) => void } | undefined
  #exited = false
  #onExited: (() => void) | undefined

  constructor(wire: HostWire, control: SharedArrayBuffer, callbacks: HostCallbacks) {
    this.#wire = wire
    this.control = new Int32Array(control)
    this.#callbacks = callbacks
    this.loaded = new Promise((resolve, reject) => {
      this.#settleLoad = { resolve, reject }
    })
    this.loaded.catch(() => {})
    wire.onMessage((message) => this.#receive(message))
    wire.onExit((error) => this.#exit(error))
    if (live.size === 0) process.on('exit', haltAll)
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
    this.#wire.post({ type: 'vocabulary', vocabulary })
  }

  /** Posts a request; the stream gets its parts, then an end or a failure. */
  open(stream: Stream, request: Omit<RequestSpec, 'id'>): StreamControl {
    const id = this.#nextId++
    const entry = { stream, paused: false }
    this.#streams.set(id, entry)
    this.#count(1)
    this.#wire.post({ type: 'request', request: { id, ...request } })
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
      this.#wire.post({ type: 'cancel', id })
      if (Atomics.load(this.control, controlIndex.stepTokens) >= longStepTokens) this.#interrupt()
    }
    return { cancel, pause: () => setPaused(true), resume: () => setPaused(false) }
  }

  /** Ends every stream with `error`, stops the step that runs, frees everything; resolves when the host is gone. */
  close(error: ErrorData): Promise<void> {
    this.#closing ??= new Promise((resolve) => {
      this.#failAll(error)
      if (this.#exited) return resolve()
      this.#onExited = resolve
      this.#wire.setRef(true)
      this.halt()
      this.#wire.post({ type: 'close' })
    })
    return this.#closing
  }

  /** The engine computes nothing more. Any step that runs is discarded. */
  halt(): void {
    Atomics.store(this.control, controlIndex.halt, 1)
    this.#interrupt()
  }

  #interrupt(): void {
    if (this.#engineId !== undefined) this.#callbacks.interrupt(this.#engineId)
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
        this.#engineId = message.info.engineId
        this.#stats = packStats(message.info.stats)
        this.#settleLoad?.resolve(message.info)
        this.#settleLoad = undefined
        if (this.#closing !== undefined) this.halt()
        else this.#count(0)
        return
      case 'step':
        this.#stats = message.stats
        for (const part of message.parts) this.#route(part)
        return
      case 'failed':
        this.#failAll(message.error)
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
    }
    entry.stream.part(part)
  }

  #exit(error: ErrorData | undefined): void {
    this.#exited = true
    live.delete(this)
    if (live.size === 0) process.off('exit', haltAll)
    if (this.#closing === undefined && this.#failure === undefined)
      this.#callbacks.onLog?.(error?.message ?? 'The engine thread ended unexpectedly.')
    this.#failAll(error ?? { code: 'ENGINE_FAILED', message: 'The engine thread ended unexpectedly.', details: {} })
    this.#onExited?.()
  }

  #failAll(error: ErrorData): void {
    this.#failure ??= error
    this.#settleLoad?.reject(this.#failure)
    this.#settleLoad = undefined
    const entries = [...this.#streams.values()]
    this.#streams.clear()
    this.#waiting = 0
    for (const { stream } of entries) stream.fail(this.#failure)
  }

  /** While loading and closing the wire keeps the process alive, too. */
  #count(change: number): void {
    this.#waiting = Math.max(0, this.#waiting + change)
    if (this.#closing === undefined && this.#settleLoad === undefined) this.#wire.setRef(this.#waiting > 0)
  }
}

/** Starts the engine thread, which begins to load at once. */
export function startHost(options: HostOptions, callbacks: HostCallbacks): HostClient {
  const control = new SharedArrayBuffer(controlBytes)
  const data: HostData = { options, control }
  // The application's own flags (--input-type, --import, ...) are not for this thread. Little of what a step makes is kept: a
  // small young generation is collected before it has become a part of the process's size.
  const resourceLimits = { maxYoungGenerationSizeMb: 8 }
  const thread = { workerData: data, name: 'octavo engine', execArgv: [], resourceLimits }
  const worker = new Worker(new URL('./host/worker.js', import.meta.url), thread)
  return new HostClient(workerWire(worker), control, callbacks)
}

function workerWire(worker: Worker): HostWire {
  let fatal: ErrorData | undefined
  return {
    post: (message) => worker.postMessage(message),
    setRef: (ref) => (ref ? worker.ref() : worker.unref()),
    onMessage: (listener) => void worker.on('message', listener),
    onExit: (listener) => {
      worker.on('error', (error) => {
        const message = `The engine thread died: ${error.message}`
        fatal = { code: 'ENGINE_FAILED', message, details: { cause: error.stack ?? String(error) } }
      })
      worker.on('exit', () => listener(fatal))
    },
  }
}
