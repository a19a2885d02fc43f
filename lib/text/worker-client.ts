/**
 * Calls into a worker thread: each call is a message with a number, each answer carries the number back. A dead worker
 * rejects everything that is pending. The worker keeps the process alive exactly while a call is pending.
 */
import { Worker, type WorkerOptions } from 'node:worker_threads'
import { type ErrorData, fromErrorData, OctavoError } from '../base/errors.ts'

export interface Call {
  id: number
  op: string
  args: unknown
}

export type Answer = { id: number; result: unknown } | { id: number; error: ErrorData }

interface Pending {
  resolve(result: never): void
  reject(error: unknown): void
}

export class WorkerClient {
  readonly #worker: Worker
  readonly #pending = new Map<number, Pending>()
  #nextId = 1
  /** Why no call is taken any more. */
  #ended: OctavoError | undefined

  /** `name` is what messages call the worker. */
  constructor(entry: URL, name: string, options: WorkerOptions) {
    // The application's own flags (--input-type, --import, ...) are not for this thread.
    this.#worker = new Worker(entry, { execArgv: [], ...options })
    this.#worker.on('message', (answer: Answer) => this.#settle(answer))
    this.#worker.on('error', (error) => {
      this.#end(new OctavoError('ENGINE_FAILED', `The ${name} died: ${error?.message ?? error}`, {}, { cause: error }))
    })
    this.#worker.on('exit', (code) => {
      this.#end(new OctavoError('ENGINE_FAILED', `The ${name} ended unexpectedly with exit code ${code}.`, { code }))
    })
    this.#worker.unref()
  }

  /** False once the worker is dead or was stopped. */
  get alive(): boolean {
    return this.#ended === undefined
  }

  call<Result>(op: string, args: unknown): Promise<Result> {
    return new Promise<Result>((resolve, reject) => {
      if (this.#ended) return reject(this.#ended)
      const id = this.#nextId++
      try {
        this.#worker.postMessage({ id, op, args } satisfies Call)
      } catch (error) {
        return reject(new OctavoError('INVALID_ARGUMENT', `Expected plain data: ${(error as Error).message}`))
      }
      if (this.#pending.size === 0) this.#worker.ref()
      this.#pending.set(id, { resolve, reject })
    })
  }

  /** Ends the worker now; pending and later calls reject with `reason`. */
  async stop(reason: OctavoError): Promise<void> {
    this.#end(reason)
    await this.#worker.terminate()
  }

  #settle(answer: Answer): void {
    const pending = this.#pending.get(answer.id)
    if (!pending) return
    this.#pending.delete(answer.id)
    if (this.#pending.size === 0) this.#worker.unref()
    if ('error' in answer) pending.reject(fromErrorData(answer.error))
    else pending.resolve(answer.result as never)
  }

  #end(reason: OctavoError): void {
    if (this.#ended) return
    this.#ended = reason
    this.#worker.unref()
    for (const { reject } of this.#pending.values()) reject(reason)
    this.#pending.clear()
  }
}
