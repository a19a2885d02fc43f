// Where the time to a first token goes, on one clock for both processes: marks of requests that come one after the other. A socket's
// writes are seen at its handle, below Node's streams: when the kernel is given the bytes.
import { subscribe } from 'node:diagnostics_channel'
import { sharedMs } from './clock.mjs'

/** Calls of a handle that give bytes to the kernel. */
const writes = ['writev', 'writeLatin1String', 'writeUtf8String', 'writeAsciiString', 'writeBuffer']

export class Timeline {
  /** Of the request that is under way. */
  #marks = {}

  constructor(engine) {
    const { generate } = engine
    engine.generate = (...options) => {
      const marks = this.#marks
      this.mark('generate')
      const generation = generate.apply(engine, options)
      this.mark('posted')
      generation.result.then(({ timings }) => Object.assign(marks, { timings }))
      return generation
    }
    subscribe('octavo:request', ({ type }) => type === 'firstToken' && this.mark('told'))
  }

  /** Marks requests of a server of node:http, and what it writes. */
  watch(server) {
    server.prependListener('request', () => this.mark('request'))
    server.on('connection', ({ _handle: handle }) => {
      for (const name of writes) {
        const write = handle[name]
        handle[name] = (...all) => {
          this.mark('written')
          return write.apply(handle, all)
        }
      }
    })
  }

  begin() {
    this.#marks = {}
  }

  /** The first time counts. */
  mark(name) {
    this.#marks[name] ??= sharedMs()
  }

  /** Milliseconds of each stretch. `asked`, `read`: by the client, or the caller in process. */
  take({ asked, read }) {
    const { request = asked, generate, posted, timings, told, written = told } = this.#marks
    const begun = generate + timings.queueMs
    const drawn = generate + timings.firstTokenMs
    return {
      clientToServer: request - asked,
      requestToEngine: generate - request,
      call: posted - generate,
      callToStep: begun - generate,
      step: drawn - begun,
      stepToMain: told - drawn,
      mainToSocket: written - told,
      toReader: read - written,
      total: read - asked,
    }
  }
}
