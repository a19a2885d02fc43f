/**
 * Calls into a worker thread: each call is a message with a number, each answer carries the number back. A dead worker
 * rejects everything that is pending. The worker keeps the process alive exactly while a call is pending.
 */
import { type ErrorData, fromErrorData, OctavoError } from '../base/errors.ts'
import { type Thread, type ThreadOptions, takeThread } from '../base/threads.ts'

export interface Call {
  id: number
  /** 'forget' has no answer: the worker lets go of all that it holds. */
  op: string
  args: unknown
}

export type Answer = { id: number; result: unknown } | { id: number; error: ErrorData }

interface Pending {
  resolve(result: never): void
  reject(error: unknown): void
}

export class WorkerClient {
  readonly #thread: Thread
  readonly #pending = new Map<number, Pending>()
  #nextId = 1
  /** Why no call is taken any more. */
  #ended: OctavoError | undefined

  /** `name` is what messages call the worker. */
  constructor(entry: string, name: string, options: ThreadOptions) {
    const end = (how: string, details: object, options?: ErrorOptions) =>
      this.#end(new OctavoError('ENGINE_FAILED', `The ${name} ${how}`, { ...details }, options))
    this.#thread = takeThread(entry, options, {
      message: (answer: Answer) => this.#settle(answer),
      error: (error) => end(`died: ${error?.message ?? error}`, {}, { cause: error }),
      exit: (code) => end(`ended unexpectedly with exit code ${code}.`, { code }),
    })
    this.#thread.worker.unref()
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
        this.#thread.worker.postMessage({ id, op, args } satisfies Call)
      } catch (error) {
        return reject(new OctavoError('INVALID_ARGUMENT', `Expected plain data: ${(error as Error).message}`))
      }
      if (this.#pending.size === 0) this.#thread.worker.ref()
      this.#pending.set(id, { resolve, reject })
    })
  }

  /** Ends the worker now; pending and later calls reject with `reason`. One that has nothing to do is given back. */
  async stop(reason: OctavoError): Promise<void> {
    const isIdle = this.#ended === undefined && this.#pending.size === 0
    this.#end(reason)
    if (!isIdle) return void (await this.#thread.worker.terminate())
    this.#thread.worker.postMessage({ id: 0, op: 'forget', args: undefined } satisfies Call)
    this.#thread.giveBack()
  }

  #settle(answer: Answer): void {
    const pending = this.#pending.get(answer.id)
    if (!pending) return
    this.#pending.delete(answer.id)
    if (this.#pending.size === 0) this.#thread.worker.unref()
    if ('error' in answer) pending.reject(fromErrorData(answer.error))
    else pending.resolve(answer.result as never)
  }

  #end(reason: OctavoError): void {
    if (this.#ended) return
    this.#ended = reason
    this.#thread.worker.unref()
    for (const { reject } of this.#pending.values()) reject(reason)
    this.#pending.clear()
  }
}
