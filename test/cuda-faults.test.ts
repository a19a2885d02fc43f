/**
 * A GPU that fails, seen from Node: a sample of test/deep/cuda-faults.ts, in which each of the driver's calls fails once in turn; and
 * a GPU that is lost for good, which the process that holds its engine does not survive, but the answers do.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { isBuilt, lastLineOf, onFakeDriver } from './fake-gpu.ts'

describe.skipIf(!isBuilt)('faults on the fake driver (npm run test:cuda builds it)', () => {
  it('some of the calls of a load, of answers, of a save and a close fail: errors with a code, nothing left over', async () => {
    const args = ['--import', 'tsx', 'test/deep/cuda-faults.ts', '--tries', '12']
    const counts = (await lastLineOf(args)) as Record<string, number>
    expect(counts.tried).toBe(12)
    // Calls that give something back may fail without harm.
    expect(counts.unnoticed).toBeLessThan(4)
    expect(counts.load! + counts.answers! + counts.turn! + counts.save! + counts.after!).toBeGreaterThan(6)
    expect(counts.others).toBeGreaterThan(0)
  }, 180_000)

  it('a GPU lost in the midst of answers: ENGINE_FAILED, or, with restart, a new process and the very tokens', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'octavo-'))
    const file = join(folder, 'report')
    const run = (options: object, maxTokens: number, settings = '') =>
      onFakeDriver(
        `
        const logs = []
        const model = 'models/octavo-stories-draft-q4_0.gguf'
        const options = { model, contextTokens: 96, speculation: 'off', onLog: (line) => logs.push(line) }
        const engine = await Engine.load({ ...options, ...${JSON.stringify(options)} })
        const prompts = ${maxTokens} === 0 ? [] : ['Once upon a time', 'The little fox']
        const ask = (prompt) => engine.generate({ prompt, temperature: 0.8, seed: 5, maxTokens: ${maxTokens}, ignoreEos: true, logprobs: 0 })
        const outcomes = prompts.map((prompt) =>
          ask(prompt).result.then(({ tokens, text, logprobs }) => ({ tokens, text, logprobs }), ({ code }) => code))
        const answers = await Promise.all(outcomes)
        const another = async () => (await engine.generate({ prompt: 'A', maxTokens: 1, temperature: 0 }).result).tokens.length
        const later = await another().catch(({ code }) => code)
        await engine.close()
        console.log(JSON.stringify({ answers, later, restarts: logs.filter((line) => line.includes('started again')).length }))
      `,
        settings,
      )
    const callsOf = async (maxTokens: number) => {
      await run({ device: 'cuda' }, maxTokens, `report=${file}`)
      return (JSON.parse(readFileSync(file, 'utf8')) as { calls: number }).calls
    }
    try {
      const truth = (await run({ device: 'cpu' }, 24)) as { answers: { tokens: number[] }[] }
      expect(truth.answers.every(({ tokens }) => tokens.length === 24)).toBe(true)
      const [none, all] = [await callsOf(0), await callsOf(24)]
      // The new process meets the same setting: what is left for it takes fewer calls.
      const lost = `lost=${Math.round(none + 0.6 * (all - none))}`
      const isolated = { device: 'cuda', isolation: 'process' }
      expect(await run(isolated, 24, lost)).toEqual({
        answers: ['ENGINE_FAILED', 'ENGINE_FAILED'],
        later: 'ENGINE_FAILED',
        restarts: 0,
      })
      expect(await run({ ...isolated, restart: true }, 24, lost)).toEqual({ ...truth, later: 1, restarts: 1 })
    } finally {
      rmSync(folder, { recursive: true })
    }
  }, 180_000)
})
