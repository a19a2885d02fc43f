/**
 * Threads of the package's own entries. Most of what one costs is its start: Node's own code, and ours that is read and compiled anew.
 * So a thread that has done its work and forgotten it waits a moment for the next of the same entry: who closes an engine and loads
 * another has the second one for a fifth of the CPU time. It keeps no process alive, and whoever gives it back knows it to be sound.
 */
import { Worker, type WorkerOptions } from 'node:worker_threads'
import { codeFile } from './package-files.ts'

/** The same for all threads of an entry; what is one thread's alone comes as its first message. */
export type ThreadOptions = Omit<WorkerOptions, 'workerData' | 'execArgv'>

export interface ThreadListeners {
  message: (message: never) => void
  error: (error: Error) => void
  exit: (code: number) => void
}

export interface Thread {
  worker: Worker
  /** It was told to forget what it did and has nothing more to say. Its listeners hear no more of it. */
  giveBack(): void
}

const keptMs = 5000
/** Of one entry. A thread takes some 10 MB. */
const mostKept = 2

/** By entry: threads that wait, with what ends their waiting. */
const spares = new Map<string, Map<Worker, () => void>>()

/** A thread of `entry` (package-files.ts): one that was given back, or a new one. It keeps the process alive. */
export function takeThread(entry: string, options: ThreadOptions, listeners: ThreadListeners): Thread {
  const worker = takeSpare(entry) ?? new Worker(codeFile(entry), { ...options, execArgv: [] })
  const each = (listen: 'on' | 'off') => {
    for (const [event, listener] of Object.entries(listeners)) worker[listen](event, listener)
  }
  each('on')
  const giveBack = () => {
    each('off')
    keep(entry, worker)
  }
  return { worker, giveBack }
}

/** Ends those that wait. */
export async function endSpareThreads(): Promise<void> {
  for (const entry of spares.keys())
    for (let spare = takeSpare(entry); spare !== undefined; spare = takeSpare(entry)) await spare.terminate()
}

function takeSpare(entry: string): Worker | undefined {
  for (const [worker, taken] of spares.get(entry) ?? []) {
    taken()
    worker.ref()
    return worker
  }
  return undefined
}

function keep(entry: string, worker: Worker): void {
  const kept = spares.get(entry) ?? new Map<Worker, () => void>()
  spares.set(entry, kept)
  worker.unref()
  const end = () => {
    taken()
    void worker.terminate()
  }
  const timer = setTimeout(end, keptMs).unref()
  const taken = () => {
    clearTimeout(timer)
    kept.delete(worker)
    worker.off('exit', end).off('error', end)
  }
  worker.on('exit', end).on('error', end)
  if (kept.size < mostKept) kept.set(worker, taken)
  else end()
}
