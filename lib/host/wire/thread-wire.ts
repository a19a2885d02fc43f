/**
 * Starts the engine thread (worker.ts), which begins to load at once, and is the other end of its wire. What must be seen in the
 * middle of a step does not travel as a message: the shared control words, `native.interrupt` and `native.nudge`.
 */
import { Worker } from 'node:worker_threads'
import type { ErrorData } from '../../base/errors.ts'
import { native } from '../../base/native.ts'
import { codeFile } from '../../base/package-files.ts'
import { controlBytes, controlIndex, type FromHost, type HostData, type HostOptions, type ToHost } from './protocol.ts'
import type { HostWire } from './wire.ts'

/** Prompt chunks make a step long; a step with fewer tokens is not worth discarding for a cancelled request. */
export const longStepTokens = 64

export function threadWire(options: HostOptions): HostWire {
  const control = new Int32Array(new SharedArrayBuffer(controlBytes))
  const data: HostData = { options, control: control.buffer as SharedArrayBuffer }
  // The application's own flags (--input-type, --import, ...) are not for this thread. Little of what a step makes is kept: a
  // small young generation is collected before it has become a part of the process's size.
  const resourceLimits = { maxYoungGenerationSizeMb: 8 }
  const thread = { workerData: data, name: 'octavo engine', execArgv: [], resourceLimits }
  const worker = new Worker(codeFile('host/worker'), thread)
  let engineId: number | undefined
  let fatal: ErrorData | undefined
  worker.on('error', (error) => {
    const message = `The engine thread died: ${error.message}`
    fatal = { code: 'ENGINE_FAILED', message, details: { cause: error.stack ?? String(error) } }
  })
  const interrupt = () => {
    if (engineId !== undefined) native().interrupt(engineId)
  }
  const post = (message: ToHost) => {
    worker.postMessage(message)
    // It is read after the step that is computed, not after a run of them.
    if (engineId !== undefined) native().nudge(engineId)
  }
  const halt = () => {
    Atomics.store(control, controlIndex.halt, 1)
    interrupt()
  }
  return {
    post,
    setRef: (ref) => (ref ? worker.ref() : worker.unref()),
    onMessage: (listener) =>
      void worker.on('message', (message: FromHost) => {
        if (message.type === 'loaded') engineId = message.info.engineId
        listener(message)
      }),
    onExit: (listener) => void worker.on('exit', () => listener(fatal)),
    halt,
    discardLongStep: () => {
      if (Atomics.load(control, controlIndex.stepTokens) >= longStepTokens) interrupt()
    },
    abandon: halt,
  }
}
