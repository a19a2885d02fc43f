/**
 * Entry of the engine thread: loads the model, then hands every message to the loop. The loop takes further messages from the
 * port itself, so that it need not return to the event loop between steps. Closed, it may be told to load again; failed, it ends.
 */
import { parentPort, receiveMessageOnPort } from 'node:worker_threads'
import { toErrorData } from '../base/errors.ts'
import { load } from './load.ts'
import type { HostLoop } from './loop.ts'
import type { HostPort, ToHost, ToThread } from './wire/protocol.ts'

const wire = parentPort!
let loop: HostLoop | undefined
let timer: NodeJS.Timeout | undefined
/** A longer timeout would fire at once. */
const longestTimeoutMs = 2 ** 31 - 1
const port: HostPort = {
  receive: () => receiveMessageOnPort(wire)?.message as ToHost | undefined,
  post(message) {
    wire.postMessage(message)
    // Nothing keeps the thread alive then.
    if (message.type === 'failed') wire.close()
  },
  wakeAt(timeMs) {
    clearTimeout(timer)
    if (timeMs === Number.POSITIVE_INFINITY) return
    const delayMs = Math.max(0, timeMs - performance.timeOrigin - performance.now())
    timer = setTimeout(run, Math.min(delayMs, longestTimeoutMs))
  },
}

function run(message?: ToHost): void {
  loop?.run(message)
  if (loop?.closed) loop = undefined
}

wire.on('message', (message: ToThread) => {
  // What comes while there is no loop was posted to one that had just ended.
  if (message.type !== 'start') return run(message)
  try {
    loop = load(message, port)
  } catch (error) {
    port.post({ type: 'failed', error: toErrorData(error) })
  }
})
