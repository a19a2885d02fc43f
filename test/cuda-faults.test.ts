/**
 * A GPU that fails, seen from Node: a sample of test/deep/cuda-faults.ts, in which each of the driver's calls fails once in turn; and
 * a GPU that is lost for good, which the process that holds its engine does not survive, but the answers do.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { isBuilt, lastLineOfScript, onFakeDriver } from './fake-gpu.ts'

describe.skipIf(!isBuilt)('faults on the fake driver (npm run test:cuda builds it)', () => {
  it('some of the calls of a load, of answers, of a save and a close fail: errors with a code, nothing left over', async () => {
    const args = ['test/deep/cuda-faults.ts', '--tries', '12']
    const counts = (await lastLineOfScript(args)) as Record<string, number>
    expect(counts.tried).toBe(12)
    // Calls that give something back may fail without harm.
    expect(counts.unnoticed).toBeLessThan(4)
    expect(counts.load! + counts.answers! + counts.turn! + counts.save! + counts.after!).toBeGreaterThan(6)
    expect(counts.others).toBeGreaterThan(0)
  }, 180_000)

  it('a GPU lost in the midst of answers: ENGINE_FAILED, or, with restart, a new process and the very tokens', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'octavo-'))
    const control = join(folder, 'control')
    /** The device is lost when the first part of an answer has come. The driver takes the setting once: a new process works. */
    const run = (options: object, isLost: boolean) =>
      onFakeDriver(
        `
        import { renameSync, writeFileSync } from 'node:fs'
        const logs = []
        const model = 'models/octavo-stories-draft-q4_0.gguf'
        const options = { model, contextTokens: 96, speculation: 'off', onLog: (line) => logs.push(line) }
        const engine = await Engine.load({ ...options, ...${JSON.stringify(options)} })
        let toLose = ${isLost}
        const onPart = () => {
          if (!toLose) return
          toLose = false
          writeFileSync('${control}.next', 'lost=1')
          renameSync('${control}.next', '${control}')
        }
        const kind = { temperature: 0.8, seed: 5, maxTokens: 64, ignoreEos: true, logprobs: 0 }
        const ask = (prompt) => engine.generate({ prompt, ...kind }).read(onPart)
        const outcomes = ['Once upon a time', 'The little fox'].map((prompt) =>
          ask(prompt).then(({ tokens, text, logprobs }) => ({ tokens, text, logprobs }), ({ code }) => code))
        const answers = await Promise.all(outcomes)
        const another = async () => (await engine.generate({ prompt: 'A', maxTokens: 1, temperature: 0 }).result).tokens.length
        const later = await another().catch(({ code }) => code)
        await engine.close()
        console.log(JSON.stringify({ answers, later, restarts: logs.filter((line) => line.includes('started again')).length }))
      `,
        `control=${control}`,
      )
    try {
      const truth = (await run({ device: 'cpu' }, false)) as { answers: { tokens: number[] }[] }
      expect(truth.answers.every(({ tokens }) => tokens.length === 64)).toBe(true)
      const isolated = { device: 'cuda', isolation: 'process' }
      expect(await run(isolated, true)).toEqual({
        answers: ['ENGINE_FAILED', 'ENGINE_FAILED'],
        later: 'ENGINE_FAILED',
        restarts: 0,
      })
      expect(await run({ ...isolated, restart: true }, true)).toEqual({ ...truth, later: 1, restarts: 1 })
    } finally {
      rmSync(folder, { recursive: true })
    }
  }, 180_000)
})
