/** The engine in a process of its own: the same answers, and what is left of them when it is killed. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { GenerateOptions, Generation, GenerationResult, LoadOptions } from 'octavo'
import { Engine } from 'octavo'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { childrenOf, enginesOf, isGone } from './child-processes.ts'

const packageRoot = fileURLToPath(new URL('..', import.meta.url))
const isolated = (options: Partial<LoadOptions> = {}) =>
  Engine.load({ model: 'stories', isolation: 'process', ...options })

const prompts = ['Once upon a time', 'The little fox', 'Tell me about the sea, said', 'A red kite and']
const kinds: GenerateOptions[] = [
  { temperature: 0 },
  { temperature: 0.9, seed: 7 },
  { temperature: 1.2, topK: 0, topP: 0.9, seed: 8, repetitionPenalty: 1.2, presencePenalty: 0.4 },
  { temperature: 0, logprobs: 3 },
  { temperature: 0.8, seed: 9, stop: ['the end', ' was', 'ing.'] },
  { temperature: 0.7, seed: 10, frequencyPenalty: 0.3, logitBias: { 20: 2 }, logprobs: 0 },
]
const requests: GenerateOptions[] = prompts.flatMap((prompt, p) =>
  kinds.map((kind, k) => ({ prompt, ...kind, maxTokens: 150 + 40 * ((p + k) % 4), ignoreEos: k % 2 === 0 })),
)

/** What an answer is, apart from its times. */
const answer = ({ text, tokens, logprobs, finishReason, usage }: GenerationResult) => {
  const { promptTokens, completionTokens } = usage
  return { text, tokens, logprobs, finishReason, promptTokens, completionTokens }
}

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

async function until(what: () => boolean): Promise<void> {
  while (!what()) await sleep(5)
}

const kill = (pids = enginesOf(process.pid)) => {
  for (const pid of pids) process.kill(pid, 'SIGKILL')
}

/** More than a fast machine computes before it is killed: the first of them have begun, the last have not ended. */
const more = (engine: Engine) =>
  Array.from({ length: 40 }, () => engine.generate({ prompt: 'A', maxTokens: 600, ignoreEos: true }))

let undisturbed: ReturnType<typeof answer>[]
beforeAll(async () => {
  const engine = await Engine.load({ model: 'stories' })
  undisturbed = (await Promise.all(requests.map((request) => engine.generate(request).result))).map(answer)
  await engine.close()
})
afterAll(() => expect(childrenOf(process.pid)).toEqual([]))

/** A program that prints lines; it may be killed, and its whole process group signalled. */
function program(source: string) {
  const args = ['--input-type=module', '-e', source]
  const child = spawn(process.execPath, args, { cwd: packageRoot, detached: true, stdio: ['ignore', 'pipe', 'pipe'] })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (part) => (stdout += part))
  child.stderr.setEncoding('utf8').on('data', (part) => (stderr += part))
  const ended = once(child, 'close').then(([code]) => ({ code, stdout: stdout.trim(), stderr }))
  return { pid: child.pid!, ended, says: (word: string) => until(() => stdout.includes(word)) }
}

const begin = `import { Engine } from 'octavo'
const engine = await Engine.load({ model: 'stories', isolation: 'process' })
const long = { prompt: 'Once', maxTokens: 600, ignoreEos: true, seed: 1 }
`

describe('an isolated engine', () => {
  it('gives the same answers, closes without a trace, and says nothing more', async () => {
    const engine = await isolated()
    expect(enginesOf(process.pid)).toHaveLength(1)
    const results = await Promise.all(requests.map((request) => engine.generate(request).result))
    expect(results.map(answer)).toEqual(undisturbed)
    expect((await engine.score({ prompt: 'Once upon a time' })).perplexity).toBeGreaterThan(1)
    expect(engine.stats().generatedTokens).toBeGreaterThan(1000)
    const running = engine.generate({ prompt: 'A', maxTokens: 600, ignoreEos: true })
    await engine.close()
    await expect(running.result).rejects.toMatchObject({ code: 'ENGINE_CLOSED' })
    expect(childrenOf(process.pid)).toEqual([])
  })

  it('cancels a long step, and holds slow readers', async () => {
    const engine = await isolated({ device: 'reference' })
    const long = engine.generate({ prompt: Array.from({ length: 700 }, (_, i) => 5 + (i % 900)), maxTokens: 9 })
    await sleep(30)
    long.cancel()
    expect(await long.result).toMatchObject({ finishReason: 'cancelled' })
    await engine.close()
  })

  it('rejects a load that fails, and ends one that is aborted', async () => {
    await expect(isolated({ model: `${packageRoot}/package.json` })).rejects.toMatchObject({ code: 'MODEL_INVALID' })
    const abort = new AbortController()
    const loading = isolated({ signal: abort.signal })
    abort.abort(new Error('enough'))
    await expect(loading).rejects.toThrow('enough')
    expect(childrenOf(process.pid)).toEqual([])
  })
})

describe('kill -9 of the engine', () => {
  it('rejects every stream with a typed error, and everything after', async () => {
    const engine = await isolated({ internal: { maxSequences: 2 } })
    const engines = enginesOf(process.pid)
    const running = more(engine)
    await running[0]![Symbol.asyncIterator]().next()
    kill(engines)
    for (const { result } of running.slice(20))
      await expect(result).rejects.toMatchObject({
        code: 'ENGINE_FAILED',
        retryable: true,
        details: { signal: 'SIGKILL' },
      })
    expect(() => engine.generate({ prompt: 'A' })).toThrow('killed by SIGKILL')
    await engine.close()
    expect(childrenOf(process.pid)).toEqual([])
  })

  it('rejects a load', async () => {
    // Once loaded it would be started again: a model that takes its time.
    const loading = isolated({ model: 'synthetic:smollm2-135m', restart: true })
    loading.catch(() => {})
    await until(() => childrenOf(process.pid).length > 0)
    for (const pid of childrenOf(process.pid)) process.kill(pid, 'SIGKILL')
    await expect(loading).rejects.toMatchObject({ code: 'ENGINE_FAILED' })
  })

  it('changes no answer when it is started again', async () => {
    const log: string[] = []
    const onLog = (line: string) => line.includes('started again') && log.push(line)
    // Five places: most requests wait while others run.
    const engine = await isolated({ restart: true, onLog, internal: { maxSequences: 5 } })
    const generations = requests.map((request) => engine.generate(request))
    const read = async (generation: Generation, slow: boolean) => {
      if (slow) for await (const _ of generation) await sleep(1)
      return answer(await generation.result)
    }
    const answers = Promise.all(generations.map((generation, i) => read(generation, i % 5 === 1)))
    const cancelled = engine.generate({ prompt: 'The end', maxTokens: 600, ignoreEos: true, temperature: 0 })
    // Read once and no further, it waits for its reader, however fast the machine is.
    void cancelled[Symbol.asyncIterator]().next()
    for (const ms of [30, 60]) {
      const deaths = log.length
      await until(() => enginesOf(process.pid).length > 0)
      await sleep(ms)
      kill()
      await until(() => log.length > deaths)
    }
    cancelled.cancel()
    expect(await answers).toEqual(undisturbed)
    expect(await cancelled.result).toMatchObject({ finishReason: 'cancelled' })
    expect(log[1]).toContain('2 of 2')
    const { kv, requests: counts } = engine.stats()
    expect(kv.freeBlocks + kv.cachedBlocks).toBe(kv.totalBlocks)
    expect(counts).toMatchObject({ running: 0, waiting: 0 })
    // It is not started for ever.
    const last = more(engine)
    await last[0]![Symbol.asyncIterator]().next()
    kill()
    await expect(last.at(-1)!.result).rejects.toMatchObject({ code: 'ENGINE_FAILED' })
    await engine.close()
  })

  it('is noticed by an idle engine', async () => {
    const engine = await isolated({ restart: true })
    kill()
    expect(answer(await engine.generate(requests[1]!).result)).toEqual(undisturbed[1])
    await engine.close()
  })
})

describe('the parent', () => {
  it('ends although an engine is open and idle, and prints nothing', async () => {
    const { code, stdout, stderr } = await program(`${begin}
console.log((await engine.generate(long).result).tokens.length)`).ended
    expect([code, stdout, stderr]).toEqual([0, '600', ''])
  })

  it('takes its engine with it when it is killed, in mid-step too', async () => {
    const { pid, says, ended } = program(`${begin}
for (let i = 0; i < 50; i++) engine.generate(long)
console.log('running')`)
    await says('running')
    const [engine] = enginesOf(pid)
    process.kill(pid, 'SIGKILL')
    await until(() => isGone(engine!))
    await ended
  })

  it('takes its engine with it when it exits', async () => {
    const { pid, says, ended } = program(`${begin}
for (let i = 0; i < 50; i++) engine.generate(long)
console.log('running')
setTimeout(() => process.exit(3), 300)`)
    await says('running')
    const [engine] = enginesOf(pid)
    expect((await ended).code).toBe(3)
    await until(() => isGone(engine!))
  })

  it('alone gets Ctrl-C', async () => {
    const { pid, says, ended } = program(`${begin}
process.on('SIGINT', async () => {
  console.log('interrupted', (await Promise.all(running)).map(({ tokens }) => tokens.length).join())
  await engine.close()
})
const running = [1, 2, 3].map(() => engine.generate(long).result)
console.log('running')
setTimeout(() => {}, 500)`)
    await says('running')
    process.kill(-pid, 'SIGINT')
    expect(await ended).toMatchObject({ code: 0, stdout: 'running\ninterrupted 600,600,600', stderr: '' })
  })
})
