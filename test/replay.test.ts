/** What an engine was told to do, recorded and done again from C++. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { deserialize } from 'node:v8'
import type { LoadOptions } from 'octavo'
import { Engine } from 'octavo'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type NativeEngine, type NativeModel, native, statIndex } from '../lib/base/native.ts'
import { replayOp, type StepRecord } from '../lib/host/record/step-recorder.ts'
import { openCheckpoint } from '../lib/model/checkpoint.ts'

let model: NativeModel
let engine: NativeEngine
beforeAll(() => {
  model = new (native().Model)(openCheckpoint('stories').desc, 'cpu', null)
  for (let i = 0; i < model.tensorCount; i++) model.loadTensor(i)
  model.finishLoad()
  engine = new (native().Engine)(model, { threads: 1, kvBlocks: 64, maxStepTokens: 512, prefixCache: true })
})
afterAll(() => {
  engine.close()
  model.close()
})

const replay = (ops: number[], samplers: StepRecord['samplers'] = []) =>
  native().replaySteps(engine, Int32Array.from(ops), samplers)

const draft = fileURLToPath(new URL('../models/octavo-stories-draft-q4_0.gguf', import.meta.url))

describe('a replay', () => {
  it.each([
    ['without guesses', 'off'],
    ['with guesses in them', { drafters: ['ngram', 'shared', { model: draft }], drafts: 4 }],
  ] satisfies [string, LoadOptions['speculation']][])(
    'does the same steps again and leaves nothing: %s',
    async (_, speculation) => {
      const folder = mkdtempSync(join(tmpdir(), 'octavo-'))
      const recordFile = join(folder, 'steps')
      const live = await Engine.load({
        model: 'stories',
        kv: { memory: '4MiB' },
        speculation,
        internal: { recordFile },
      })
      live.startTrace()
      const prompts = ['Once upon a time', 'Once upon a time there was', 'A fox', 'The sea and the', 'Once upon a time']
      await Promise.all(
        prompts.map((prompt, seed) => live.generate({ prompt, seed, maxTokens: 60 + 10 * seed }).result),
      )
      const { otherData } = await live.stopTrace()
      const { kv, drafts } = live.stats()
      expect([otherData.guesses > 200, otherData.guesses]).toEqual([speculation !== 'off', drafts.proposed])
      expect(otherData.rightGuesses).toBe(drafts.accepted)
      await live.close()
      const { ops, samplers } = deserialize(readFileSync(recordFile)) as StepRecord
      rmSync(folder, { recursive: true })
      const other = new (native().Engine)(model, {
        ...{ threads: 1, kvBlocks: kv.totalBlocks, maxStepTokens: 512, prefixCache: true },
      })
      const times = native().replaySteps(other, ops, samplers)
      expect([times.steps, times.tokens]).toEqual([otherData.steps, otherData.promptTokens + otherData.decodeTokens])
      expect(times.stepSeconds).toBeGreaterThan(0)
      expect(times.stepSeconds).toBeLessThanOrEqual(times.seconds)
      const stats = new Int32Array(5)
      other.stats(stats)
      // What came of it is in the prefix index as it was: blocks of right tokens.
      expect(stats[statIndex.cached]).toBe(kv.cachedBlocks)
      expect([stats[statIndex.owned], stats[statIndex.sequences], other.check()]).toEqual([0, 0, ''])
      other.close()
    },
  )

  it.each([
    ['ends in the middle', [replayOp.create, 1, replayOp.reserve, 1]],
    ['has fewer tokens than it says', [replayOp.create, 1, replayOp.match, 1, 5, 1, 2]],
    ['has a negative length', [replayOp.create, 1, replayOp.match, 1, -1]],
    ['names a sequence that is not open', [replayOp.reserve, 1, 4]],
    ['opens a sequence that is open', [replayOp.create, 1, replayOp.create, 1]],
    ['forks to a sequence that is open', [replayOp.create, 1, replayOp.create, 2, replayOp.fork, 1, 2]],
    ['names a sampler that is not there', [replayOp.create, 1, replayOp.sampler, 1, 0]],
    ['has an unknown operation', [99, 1]],
    ['has a step without room', [replayOp.create, 1, replayOp.step, 1, 1, 1, 1, 0, 0, -1, 7]],
    ['has a token outside the vocabulary', [0, 1, replayOp.reserve, 1, 1, replayOp.step, 1, 1, 1, 1, 0, 0, -1, 99999]],
  ])('refuses a record that %s', (_what, ops) => {
    expect(() => replay(ops)).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }))
    expect(engine.check()).toBe('')
    const stats = new Int32Array(5)
    engine.stats(stats)
    expect(stats[statIndex.sequences]).toBe(0)
  })

  it('says when the pool is too small', () => {
    expect(() => replay([replayOp.create, 1, replayOp.reserve, 1, 100_000])).toThrow(
      expect.objectContaining({ code: 'OUT_OF_MEMORY' }),
    )
  })
})
