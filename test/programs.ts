import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { expect } from 'vitest'

export interface Outcome {
  code: number | null
  stdout: string
  stderr: string
}

/** A process that runs programs one after the other (programs.mjs): most of what a short one costs is the start of its process. */
export class Programs {
  readonly #child = fork(fileURLToPath(new URL('programs.mjs', import.meta.url)), { stdio: 'pipe' })
  readonly #ended = once(this.#child, 'exit')
  #last: Promise<unknown> = Promise.resolve()

  constructor() {
    this.#child.stdin!.end()
  }

  run(file: string, args: string[] = [], input = ''): Promise<Outcome> {
    const outcome = this.#last.then(() => this.#run(file, args, input))
    this.#last = outcome.catch(() => {})
    return outcome
  }

  async #run(file: string, args: string[], input: string): Promise<Outcome> {
    const ended = this.#ended.then(([code, signal]) => {
      throw new Error(`${file} ${args.join(' ')} ended its process: ${code ?? signal}`)
    })
    const all = [once(this.#child, 'message'), this.#printed('stdout'), this.#printed('stderr')] as const
    this.#child.send({ file: pathToFileURL(file).href, args, input })
    const [[{ code, left }], stdout, stderr] = await Promise.race([Promise.all(all), ended])
    // Nothing keeps its process alive.
    expect(left).toEqual([])
    return { code, stdout, stderr }
  }

  /** What comes up to the NUL. */
  #printed(name: 'stdout' | 'stderr'): Promise<string> {
    const stream = this.#child[name]!
    return new Promise((resolve) => {
      let text = ''
      const listener = (part: string) => {
        text += part
        if (!text.endsWith('\0')) return
        stream.off('data', listener)
        resolve(text.slice(0, -1))
      }
      stream.setEncoding('utf8').on('data', listener)
    })
  }

  /** The exit code: with nothing to do the process ends by itself. */
  async close(): Promise<number | null> {
    this.#child.disconnect()
    return (await this.#ended)[0]
  }
}
