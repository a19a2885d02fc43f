/** Drafts on the real backend: continuations that are known, with errors planted, change the number of steps and no token. */
import { describe, expect, it } from 'vitest'
import { native } from '../lib/base/native.ts'
import { NativeKv } from '../lib/host/loop.ts'
import type { Drafter } from '../lib/host/schedule/drafter.ts'
import { HostRequest } from '../lib/host/schedule/request.ts'
import { Scheduler } from '../lib/host/schedule/scheduler.ts'
import { resultsFor } from '../lib/host/schedule/step-results.ts'
import type { SamplingSpec } from '../lib/host/wire/protocol.ts'
import { openCheckpoint } from '../lib/model/checkpoint.ts'
import { locateModel } from '../lib/model/locate.ts'
import { policy } from './fake-native.ts'
import { random } from './random.ts'

const stepTokens = 256
const outputTokens = 60

const sampling = (seed: number): SamplingSpec => ({
  ...{ temperature: seed % 2 ? 0.9 : 0, topK: 40, topP: 0.95, minP: 0, repetitionPenalty: seed % 3 ? 1 : 1.2 },
  ...{ presencePenalty: 0, frequencyPenalty: seed % 4 ? 0 : 0.3, seed, logprobs: 0, vocabulary: 0 },
  ...{ biasTokens: new Int32Array(0), biasValues: new Float32Array(0) },
})

const { desc } = openCheckpoint(locateModel('stories'))

/** Tokens and log-probabilities of each request, and the steps that all of them took together. */
function run(drafter?: Drafter) {
  const model = new (native().Model)(desc, 'cpu', null)
  for (let i = 0; i < model.tensorCount; i++) model.loadTensor(i)
  model.finishLoad()
  const engine = new (native().Engine)(model, {
    threads: 2,
    kvBlocks: 80,
    maxStepTokens: stepTokens,
    prefixCache: true,
  })
  const options = { stepTokens, maxSequences: 16, prefixCache: true, policy, drafter }
  const scheduler = new Scheduler(new NativeKv(engine), options)
  const outputs = new Map<number, { tokens: number[]; logprobs: number[] }>()
  for (let id = 1; id <= 8; id++) {
    const rng = random(id)
    const tokens = Int32Array.from({ length: 5 + 9 * id }, () => 1 + rng(400))
    const rest = { maxTokens: outputTokens, stop: [], ignoreEos: true, salt: '', askedAtMs: 0 }
    const request = new HostRequest({ id, mode: 'generate', tokens, sampling: sampling(id), ...rest }, 400, new Set())
    scheduler.add(request, 0)
    outputs.set(id, { tokens: [], logprobs: [] })
  }
  const results = resultsFor(options, (row) => engine.topLogprobs(row))
  let steps = 0
  for (let plan = scheduler.plan(0); plan !== undefined; plan = scheduler.plan(steps)) {
    engine.submit(plan.segments, plan.nSegments, plan.tokens, plan.nTokens)
    engine.wait(results.tokens, results.logprobs)
    scheduler.commit(plan, { ...results, ms: 1 }, ++steps)
    expect(engine.check()).toBe('')
    for (let i = 0; i < plan.nSegments; i++) {
      const part = plan.requests[i]!.takePart()
      outputs.get(plan.requests[i]!.id)!.tokens.push(...(part?.tokens ?? []))
      outputs.get(plan.requests[i]!.id)!.logprobs.push(...(part?.logprobs ?? []).map((l) => l.logprob))
    }
  }
  const { drafts } = scheduler
  const stats = new NativeKv(engine).read().slice()
  engine.close()
  model.close()
  return { outputs, steps, drafts, stats }
}

/** The known continuation; each guess is wrong with a chance of `errors` in 100. */
function knowing(outputs: ReturnType<typeof run>['outputs'], errors: number): Drafter {
  const rng = random(errors)
  return {
    draft: (request, out, most) => {
      const { tokens } = outputs.get(request.id)!
      const from = request.length - request.promptLength
      const count = Math.min(most, tokens.length - from, 1 + rng(8))
      for (let i = 0; i < count; i++) out[i] = rng(100) < errors ? rng(400) : tokens[from + i]!
      return Math.max(0, count)
    },
  }
}

describe('drafts on the CPU backend', () => {
  const plain = run()

  it.each([0, 10, 40, 100])('with %d of 100 guesses wrong give the same tokens and log-probabilities', (errors) => {
    const drafted = run(knowing(plain.outputs, errors))
    expect(drafted.outputs).toEqual(plain.outputs)
    const { proposed, accepted } = drafted.drafts
    expect(proposed).toBeGreaterThan(300)
    if (errors === 0) expect([accepted, drafted.steps < plain.steps / 2]).toEqual([proposed, true])
    if (errors === 10) expect(drafted.steps).toBeLessThan(plain.steps * 0.75)
    if (errors === 100) expect(accepted).toBeLessThan(proposed / 20)
    // Nothing is held, and nothing wrong is kept: the cache has what it has without drafts.
    expect([...drafted.stats]).toEqual([...plain.stats])
  })
})
