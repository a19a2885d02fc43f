/**
 * Entry of the child process: its main thread passes messages on between the parent and the engine thread, so that the host is
 * the same code in both places. It computes nothing, so it sees at once what concerns a step in flight, and the parent's end.
 */
import { writeFileSync } from 'node:fs'
import type { ToProcess } from './process-wire.ts'
import type { FromHost } from './protocol.ts'
import { threadWire } from './thread-wire.ts'
import type { HostWire } from './wire.ts'

let wire: HostWire | undefined
let ending = false

process.title = 'octavo engine'
// The parent decides when this process ends; a signal to the whole group or service is for the parent.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {})

// An exit would wait for the step that the engine thread computes.
process.on('disconnect', () => ending || process.kill(process.pid, 'SIGKILL'))

process.on('message', (message: ToProcess) => {
  switch (message.type) {
    case 'start':
      start(message)
      return
    case 'halt':
      wire!.halt()
      return
    case 'discard':
      wire!.discardLongStep()
      return
    default:
      wire!.post(message)
  }
})

function start({ options }: Extract<ToProcess, { type: 'start' }>): void {
  offerToOutOfMemoryKiller()
  wire = threadWire(options)
  wire.onMessage((message) => send(message))
  wire.onExit((error) => {
    const end = () => {
      ending = true
      if (process.connected) process.disconnect()
    }
    // Written out before the channel is closed.
    if (error === undefined) send({ type: 'closed' }, end)
    else send({ type: 'failed', error }, end)
  })
}

function send(message: FromHost, then: () => void = () => {}): void {
  if (process.connected) process.send!(message, undefined, {}, then)
  else then()
}

/** When memory runs out, this process dies rather than the parent. Where the kernel has no such file, nothing is changed. */
function offerToOutOfMemoryKiller(): void {
  try {
    writeFileSync('/proc/self/oom_score_adj', '500')
  } catch {}
}
