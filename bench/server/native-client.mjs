// The clients of client.cpp as a process, compiled when it is first wanted.
import { spawn, spawnSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const source = fileURLToPath(new URL('client.cpp', import.meta.url))
const folder = fileURLToPath(new URL('../../build/bench/', import.meta.url))
const program = `${folder}http_client`

function compile() {
  mkdirSync(folder, { recursive: true })
  const compiler = process.env.CXX ?? 'c++'
  const { status, error } = spawnSync(compiler, ['-std=c++20', '-O2', '-o', program, source], {
    stdio: ['ignore', 2, 2],
  })
  if (status !== 0) throw new Error(`${compiler} cannot compile ${source}${error ? `: ${error.message}` : ''}`)
}

const portOf = (url) => new URL(url).port

export class NativeClient {
  #child
  #lines

  constructor() {
    compile()
    this.#child = spawn(program, { stdio: ['pipe', 'pipe', 'inherit'] })
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]()
  }

  get pid() {
    return this.#child.pid
  }

  /** One request: when it was sent and when its first text was there, of the clock of all processes. */
  async first(url, body) {
    const [asked, read, status] = (await this.#ask(`first\t${portOf(url)}\t${JSON.stringify(body)}`)).split('\t')
    if (status !== '200') throw new Error(`a request ended with ${status}`)
    return { asked: Number(asked), read: Number(read) }
  }

  /** So many clients as `begun` has bodies ask again and again, first for those. */
  async loop(url, { bodies, begun }) {
    const lines = (name, list) => list.map((body) => `${name}\t${JSON.stringify(body)}\n`).join('')
    this.#child.stdin.write(lines('body', bodies) + lines('begun', begun))
    await this.#ask(`loop\t${portOf(url)}`)
  }

  /** Cuts those off; gives how many of them failed. */
  async stop() {
    return Number(await this.#ask('stop'))
  }

  /** Its connections are closed. */
  async drop() {
    await this.#ask('drop')
  }

  close() {
    this.#child.stdin.end()
  }

  async #ask(line) {
    this.#child.stdin.write(`${line}\n`)
    const { value, done } = await this.#lines.next()
    if (done) throw new Error('the clients ended')
    return value
  }
}
