/**
 * Starts the engine thread (worker.ts), which begins to load at once, and is the other end of its wire. What must be seen in the
 * middle of a step does not travel as a message: the shared control words, `native.interrupt` and `native.nudge`.
 */
import type { ErrorData } from '../../base/errors.ts'
import { native } from '../../base/native.ts'
import { takeThread } from '../../base/threads.ts'
import { controlBytes, controlIndex, type FromHost, type HostOptions, type ToHost, type ToThread } from './protocol.ts'
import type { HostWire } from './wire.ts'

/** Prompt chunks make a step long; a step with fewer tokens is not worth discarding for a cancelled request. */
export const longStepTokens = 64

export function threadWire(options: HostOptions): HostWire {
  const control = new Int32Array(new SharedArrayBuffer(controlBytes))
  // Little of what a step makes is kept: a small young generation is collected before it has become a part of the process's size.
  const resourceLimits = { maxYoungGenerationSizeMb: 8 }
  let engineId: number | undefined
  let fatal: ErrorData | undefined
  let isGone = false
  let onMessage: ((message: FromHost) => void) | undefined
  let onExit: ((error: ErrorData | undefined) => void) | undefined
  const gone = () => {
    isGone = true
    engineId = undefined
    onExit?.(fatal)
  }
  const { worker, giveBack } = takeThread(
    'host/worker',
    { name: 'octavo engine', resourceLimits },
    {
      message: (message: FromHost) => {
        if (message.type === 'loaded') engineId = message.info.engineId
        onMessage?.(message)
        if (message.type !== 'closed') return
        // All is freed, and the thread is at its beginning.
        giveBack()
        gone()
      },
      error: (error) => {
        const message = `The engine thread died: ${error.message}`
        fatal = { code: 'ENGINE_FAILED', message, details: { cause: error.stack ?? String(error) } }
      },
      exit: gone,
    },
  )
  worker.postMessage({ type: 'start', options, control: control.buffer as SharedArrayBuffer } satisfies ToThread)
  const interrupt = () => {
    if (engineId !== undefined) native().interrupt(engineId)
  }
  const post = (message: ToHost) => {
    if (isGone) return
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
    setRef: (ref) => {
      if (!isGone) ref ? worker.ref() : worker.unref()
    },
    onMessage: (listener) => {
      onMessage = listener
    },
    onExit: (listener) => {
      onExit = listener
    },
    halt,
    discardLongStep: () => {
      if (Atomics.load(control, controlIndex.stepTokens) >= longStepTokens) interrupt()
    },
    abandon: halt,
  }
}
