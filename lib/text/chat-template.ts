/**
 * A model's chat template: a program out of a model file, so it runs in a small worker of its own with limits on memory,
 * time and output, and is killed at its deadline. The worker starts with `warm()` or the first message and is replaced after a kill.
 * A template has a worker to itself, so one that spins holds up nobody but those who ask for it.
 */
import { OctavoError } from '../base/errors.ts'
import type { ChatRequest, RenderedChat } from './template-render.ts'
import type { TemplateWorkerData } from './template-worker.ts'
import type { SpecialToken } from './vocabulary/vocabulary.ts'
import { WorkerClient } from './worker-client.ts'

export interface ChatTemplateOptions {
  source: string
  control: SpecialToken[]
  /** bos_token and so on, by the names that templates use. */
  named: Record<string, string>
  deadlineMs?: number
}

/**
 * The template itself is stopped long before (jinja/limits.ts). V8 aborts the process when a single allocation goes
 * past its heap limit by more than some 16 MB, so the limit stays well above what one operation can ask for.
 */
const heapMb = 512

/** Little of a rendering is kept: a small young generation is collected before it has become a part of the process's size. */
const youngMb = 4

/**
 * Calls back when `ms` have passed during which this thread ran, too: looked at in short slices, of which none counts for more
 * than two, so that a machine that stood still (suspended, migrated) uses nothing up. An answer that came while this thread was
 * busy with something else is taken first. Gives the function that stops the clock.
 */
export function afterRunning(ms: number, callback: () => void): () => void {
  const sliceMs = Math.ceil(ms / 20)
  let leftMs = ms
  let lastMs = performance.now()
  let turn: NodeJS.Immediate | undefined
  const timer = setInterval(() => {
    const nowMs = performance.now()
    leftMs -= Math.min(nowMs - lastMs, 2 * sliceMs)
    lastMs = nowMs
    if (leftMs > 0) return
    clearInterval(timer)
    turn = setImmediate(callback)
  }, sliceMs)
  return () => {
    clearInterval(timer)
    clearImmediate(turn)
  }
}

export class ChatTemplate {
  readonly #data: TemplateWorkerData
  readonly #deadlineMs: number
  #client: WorkerClient | undefined
  /** Renders one at a time, so that each has its own deadline. */
  #turn: Promise<unknown> = Promise.resolve()
  #closed = false
  /** Renders that are not answered yet. */
  #pending = 0

  constructor(options: ChatTemplateOptions) {
    const { source, control, named } = options
    this.#data = { source, control, named }
    this.#deadlineMs = options.deadlineMs ?? 2000
  }

  /** Starts the worker ahead of the first message, which then waits some 50 ms less. A failure shows when rendering. */
  warm(): void {
    this.#turn = this.#turn.then(() => (this.#closed ? undefined : this.#start())).catch(() => undefined)
  }

  render(request: ChatRequest): Promise<RenderedChat> {
    this.#pending++
    const turn = this.#turn
      .then(() => this.#render(request))
      .finally(() => {
        this.#pending--
      })
    this.#turn = turn.catch(() => undefined)
    return turn
  }

  get isIdle(): boolean {
    return this.#pending === 0
  }

  /** When everything asked for so far is answered. */
  async settled(): Promise<void> {
    await this.#turn
  }

  async close(): Promise<void> {
    this.#closed = true
    await this.#client?.stop(new OctavoError('ENGINE_CLOSED', 'The engine was closed.'))
  }

  async #render(request: ChatRequest): Promise<RenderedChat> {
    if (this.#closed) throw new OctavoError('ENGINE_CLOSED', 'The engine was closed.')
    const client = await this.#start()
    const limit = `deadline ${this.#deadlineMs} ms`
    const late = new OctavoError('TEMPLATE_ERROR', `The chat template went over its limit: ${limit}.`, {
      limit: 'deadline',
    })
    const stopClock = afterRunning(this.#deadlineMs, () => void client.stop(late))
    try {
      return await client.call<RenderedChat>('render', request)
    } catch (error) {
      if (error instanceof OctavoError && error.code === 'ENGINE_FAILED') {
        const reason = `The chat template ended its worker: ${error.message}`
        throw new OctavoError('TEMPLATE_ERROR', reason, { limit: `heap ${heapMb} MB` }, { cause: error })
      }
      throw error
    } finally {
      stopClock()
    }
  }

  /** A worker that answers; its start is not on the template's clock. */
  async #start(): Promise<WorkerClient> {
    if (this.#client?.alive) return this.#client
    this.#client = new WorkerClient('text/template-worker', 'template worker', {
      resourceLimits: { maxOldGenerationSizeMb: heapMb, maxYoungGenerationSizeMb: youngMb },
      env: {},
    })
    await this.#client.call('start', this.#data)
    return this.#client
  }
}
