/**
 * Entry of the engine thread: loads the model, then hands every message to the loop. The loop takes further messages from the
 * port itself, so that it need not return to the event loop between steps.
 */
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import { toErrorData } from '../base/errors.ts'
import { load } from './load.ts'
import type { HostLoop } from './loop.ts'
import type { HostData, HostPort, ToHost } from './wire/protocol.ts'

const wire = parentPort!
let loop: HostLoop | undefined
let timer: NodeJS.Timeout | undefined
/** A longer timeout would fire at once. */
const longestTimeoutMs = 2 ** 31 - 1
const port: HostPort = {
  receive: () => receiveMessageOnPort(wire)?.message as ToHost | undefined,
  post: (message) => wire.postMessage(message),
  wakeAt(timeMs) {
    clearTimeout(timer)
    if (timeMs === Number.POSITIVE_INFINITY) return
    const delayMs = Math.max(0, timeMs - performance.timeOrigin - performance.now())
    timer = setTimeout(run, Math.min(delayMs, longestTimeoutMs))
  },
}

function run(message?: ToHost): void {
  loop?.run(message)
  // Nothing keeps the thread alive then.
  if (loop?.closed) wire.close()
}

try {
  loop = load(workerData as HostData, port)
  if (loop !== undefined) wire.on('message', run)
} catch (error) {
  port.post({ type: 'failed', error: toErrorData(error) })
}
