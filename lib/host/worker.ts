/**
 * Entry of the engine thread: loads the model, then hands every message to the loop. The loop takes further messages from the
 * port itself, so that it need not return to the event loop between steps.
 */
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import { toErrorData } from '../errors.ts'
import { load } from './load.ts'
import type { HostData, HostPort, ToHost } from './protocol.ts'

const wire = parentPort!
const port: HostPort = {
  receive: () => receiveMessageOnPort(wire)?.message as ToHost | undefined,
  post: (message) => wire.postMessage(message),
}

try {
  const loop = load(workerData as HostData, port)
  if (loop !== undefined) {
    wire.on('message', (message: ToHost) => {
      loop.run(message)
      // Nothing keeps the thread alive then.
      if (loop.closed) wire.close()
    })
  }
} catch (error) {
  port.post({ type: 'failed', error: toErrorData(error) })
}
