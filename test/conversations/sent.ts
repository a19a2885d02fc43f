/** What really reached the engine: the ids of each prompt and every id that was generated for it, markers and all. */
import type { Generation } from 'octavo'
import { HostClient } from '../../dist/host-client.js'

export interface Sent {
  prompt: number[]
  generated: number[]
}

const requests = new WeakMap<object, Sent>()

/** From here on until what it returns is called. */
export function watchSent(): () => void {
  const open = HostClient.prototype.open
  HostClient.prototype.open = function (stream, spec) {
    const sent: Sent = { prompt: Array.from(spec.tokens), generated: [] }
    requests.set(stream, sent)
    const part = stream.part.bind(stream)
    stream.part = (given) => {
      sent.generated.push(...given.tokens)
      part(given)
    }
    return open.call(this, stream, spec)
  }
  return () => {
    HostClient.prototype.open = open
  }
}

/** Undefined: it ended before it was sent. */
export const sentFor = (generation: Generation): Sent | undefined => requests.get(generation)
