/** One copy of the weights for several processes: what they save, that they answer alike, and that none depends on another's life. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { packageRoot } from './child.ts'

/** What a sharer says of itself whenever a line comes in. */
interface Report {
  tokens: number[]
  log: string
  weightBytes: number
  /** Of the whole process, every page divided by the number of processes that map it. */
  pssBytes: number
  /** Of the shared image alone. */
  image: { rssBytes: number; pssBytes: number }
}

const source = `
  import { readFileSync } from 'node:fs'
  import { createInterface } from 'node:readline'
  import { Engine } from 'octavo'
  const [model, shareWeights] = process.argv.slice(1)
  let log = ''
  const engine = await Engine.load({
    model, threads: 1, contextTokens: 64, shareWeights: shareWeights || false, onLog: (line) => { log += line + '\\n' },
  })
  const kib = (text, name) => [...text.matchAll(new RegExp('^' + name + ': +(\\\\d+) kB', 'mg'))].reduce((sum, [, n]) => sum + 1024 * n, 0)
  const image = () => {
    const parts = readFileSync('/proc/self/smaps', 'utf8').split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m)
    const ours = parts.filter((part) => part.split('\\n', 1)[0].includes('memfd:octavo-weights')).join('')
    return { rssBytes: kib(ours, 'Rss'), pssBytes: kib(ours, 'Pss') }
  }
  for await (const line of createInterface({ input: process.stdin })) {
    if (line === 'close') { await engine.close(); break }
    const request = { prompt: [1, 2, 3, 4, 5], maxTokens: 12, temperature: 0.8, seed: 7, ignoreEos: true }
    const { tokens } = await engine.generate(request).result
    const pssBytes = kib(readFileSync('/proc/self/smaps_rollup', 'utf8'), 'Pss')
    console.log(JSON.stringify({ tokens: [...tokens], log, weightBytes: engine.model.bytes, pssBytes, image: image() }))
  }`

class Sharer {
  readonly process: ChildProcess
  readonly #lines: AsyncIterator<string>

  constructor(model: string, folder: string) {
    const args = ['--input-type=module', '-e', source, model, folder]
    this.process = spawn(process.execPath, args, { cwd: packageRoot, stdio: ['pipe', 'pipe', 'inherit'] })
    this.#lines = createInterface({ input: this.process.stdout! })[Symbol.asyncIterator]()
  }

  async report(): Promise<Report> {
    this.process.stdin!.write('report\n')
    const { value, done } = await this.#lines.next()
    if (done) throw new Error(`a sharer ended: ${this.process.exitCode ?? this.process.signalCode}`)
    return JSON.parse(value)
  }

  async close(): Promise<number | null> {
    const exit = once(this.process, 'exit')
    this.process.stdin!.end('close\n')
    return (await exit)[0]
  }

  async kill(): Promise<void> {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return
    const exit = once(this.process, 'exit')
    this.process.kill('SIGKILL')
    await exit
  }
}

describe.skipIf(process.platform !== 'linux')('processes with shareWeights', () => {
  let parent = ''
  let folder = ''
  let sharers: Sharer[] = []
  const start = (model: string, where = folder) => {
    const sharer = new Sharer(model, where)
    sharers.push(sharer)
    return sharer
  }
  const offers = () => readdirSync(folder).filter((name) => !name.endsWith('.lock'))

  beforeEach(() => {
    parent = mkdtempSync(join(tmpdir(), 'octavo-shared-'))
    folder = join(parent, 'weights')
    sharers = []
  })
  afterEach(async () => {
    await Promise.all(sharers.map((sharer) => sharer.kill()))
    rmSync(parent, { recursive: true })
  })

  it('hold one copy together, however many start at once, and answer as a process of its own does', async () => {
    const model = 'synthetic:smollm2-135m'
    const alone = start(model, '')
    const own = await alone.report()
    expect(own.image.rssBytes).toBe(0)
    await alone.kill()

    for (let i = 0; i < 3; i++) start(model)
    await Promise.all(sharers.slice(1).map((sharer) => sharer.report()))
    const reports = await Promise.all(sharers.slice(1).map((sharer) => sharer.report()))
    const logs = reports.map(({ log }) => /(offered to|adopted from)/.exec(log)?.[0])
    expect(logs.sort()).toEqual(['adopted from', 'adopted from', 'offered to'])
    // Two copies of three are saved; the rest is room for Node's own ups and downs.
    const sum = reports.reduce((total, { pssBytes }) => total + pssBytes, 0)
    expect(3 * own.pssBytes - sum).toBeGreaterThan(1.2 * own.weightBytes)
    for (const { tokens, weightBytes, image } of reports) {
      expect(tokens).toEqual(own.tokens)
      expect(image.rssBytes).toBeGreaterThan(0.98 * weightBytes)
      expect(image.rssBytes).toBeLessThan(1.05 * weightBytes)
      expect(image.pssBytes / image.rssBytes).toBeGreaterThan(0.3)
      expect(image.pssBytes / image.rssBytes).toBeLessThan(0.36)
    }
    expect(offers()).toHaveLength(3)
  })

  it('outlive the one that loaded, killed or closed, and one that is killed while it loads', async () => {
    const loader = start('synthetic:smollm2-135m')
    const waiting = start('synthetic:smollm2-135m')
    // Whoever comes first has begun when the lock is there.
    while (readdirSync(parent).length === 0 || readdirSync(folder).length === 0)
      await new Promise((tick) => setTimeout(tick, 1))
    await loader.kill()
    const first = await waiting.report()
    expect(first.log).toMatch(/offered to|adopted from/) // the latter if this process was too slow to kill it in time

    const second = start('synthetic:smollm2-135m')
    const before = await second.report()
    expect(before.log).toContain('adopted from')
    await waiting.kill()
    expect((await second.report()).tokens).toEqual(first.tokens)

    const third = start('synthetic:smollm2-135m')
    expect((await third.report()).log).toContain('adopted from')
    expect(await second.close()).toBe(0)
    expect((await third.report()).tokens).toEqual(first.tokens)
    // What was killed may have left a name, what was closed has not.
    const offered = ({ process }: Sharer) => offers().some((name) => name.includes(`-${process.pid}-`))
    expect([offered(second), offered(third)]).toEqual([false, true])
    expect(await third.close()).toBe(0)
    expect(offered(third)).toBe(false)
  })

  it('read the weights themselves where what is offered is no sealed image of theirs, or the folder is open to others', async () => {
    const loader = start('stories')
    const { tokens } = await loader.report()
    const [offer] = offers()
    await loader.kill()
    // Names that lead to an ordinary file of a living process, and to nothing.
    writeFileSync(join(folder, `${offer!.split('-')[0]}-${process.pid}-0`), '')
    const second = start('stories')
    const report = await second.report()
    expect(report.log).toContain('offered to')
    expect(report.tokens).toEqual(tokens)
    expect(offers()).toHaveLength(1)

    chmodSync(folder, 0o755)
    const refused = await start('stories').report()
    expect(refused.log).toMatch(/Weights are not shared with other processes: .*only its owner may enter/)
    expect(refused.tokens).toEqual(tokens)
    chmodSync(folder, 0o700)
  })
})
