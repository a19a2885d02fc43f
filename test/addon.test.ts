/** The native surface as hostile or careless JavaScript would call it: typed errors, and nothing half done. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { NativeEngine, NativeModel, SamplerParams } from '../lib/base/native.ts'
import { native, segmentMode } from '../lib/base/native.ts'
import { openCheckpoint } from '../lib/model/checkpoint.ts'
import { locateModel } from '../lib/model/locate.ts'

const { desc } = openCheckpoint(locateModel('stories'))
const newModel = () => new (native().Model)(desc, 'cpu', null)
const engineOptions = { threads: 1, kvBlocks: 8, maxStepTokens: 16, prefixCache: false }
const invalid = expect.objectContaining({ code: 'INVALID_ARGUMENT' })

let model: NativeModel
let engine: NativeEngine
beforeAll(() => {
  model = newModel()
  for (let i = 0; i < model.tensorCount; i++) model.loadTensor(i)
  model.finishLoad()
  engine = new (native().Engine)(model, engineOptions)
})
afterAll(() => {
  engine.close()
  model.close()
})

describe('what could go wrong if', () => {
  it('an object pretends to be a model or an engine', () => {
    const { Engine, Model, benchDecode } = native()
    const liars = [
      Object.create(Model.prototype),
      Object.setPrototypeOf({}, model),
      new Proxy(model, {}),
      Object.create(Engine.prototype),
      {},
    ]
    for (const liar of liars) {
      expect(() => new Engine(liar, engineOptions)).toThrow(invalid)
      expect(() => benchDecode(liar, new Int32Array(1), 1, {} as never)).toThrow(invalid)
    }
    // One of ours with the other's prototype.
    const disguised = new Engine(model, engineOptions)
    Object.setPrototypeOf(disguised, Model.prototype)
    expect(() => new Engine(disguised as never, engineOptions)).toThrow(invalid)
    for (const property of ['shared', 'isa', 'tensorCount', 'residentBytes'] as const)
      expect(() => (disguised as never as NativeModel)[property]).toThrow(invalid)
    Object.setPrototypeOf(disguised, Engine.prototype)
    const model2 = Object.setPrototypeOf(newModel(), Engine.prototype) as NativeEngine
    for (const property of ['id', 'kvBytes', 'kvTouchedBytes', 'scratchBytes', 'stepSeconds'] as const)
      expect(() => model2[property]).toThrow(invalid)
    disguised.close()
    expect(() => Model.prototype.finishLoad.call(engine)).toThrow()
    expect(() => Engine.prototype.wait.call(model, new Int32Array(1), new Float32Array(1))).toThrow()
  })

  it('looking at an argument closes the engine', () => {
    const { Engine, benchDecode, replaySteps } = native()
    const closing = (end: NativeEngine): SamplerParams => ({
      get temperature() {
        end.close()
        return 0
      },
      ...{ topK: 0, topP: 1, minP: 0, repetitionPenalty: 1, presencePenalty: 0, frequencyPenalty: 0, seed: 0 },
      ...{
        logprobs: -1,
        vocabulary: 0,
        promptLength: 0,
        biasTokens: new Int32Array(0),
        biasValues: new Float32Array(0),
      },
    })
    const calls = [
      (end: NativeEngine) => end.setSampler(end.sequenceCreate(''), closing(end)),
      (end: NativeEngine) => benchDecode(end, Int32Array.of(1, 2), 2, closing(end)),
      (end: NativeEngine) => replaySteps(end, Int32Array.of(0, 1), [closing(end)]),
    ]
    for (const call of calls) expect(() => call(new Engine(model, engineOptions))).toThrow('the engine was closed')
  })

  it('the arrays for results are too short: refused before the step, which can be waited for again', () => {
    const sequence = engine.sequenceCreate('')
    expect(engine.sequenceReserve(sequence, 4)).toBe(true)
    engine.submit(Int32Array.of(sequence, 4, 4, segmentMode.score, -1), 1, Int32Array.of(5, 6, 7, 8), 4)
    expect(() => engine.wait(new Int32Array(2), new Float32Array(4))).toThrow(invalid)
    expect(() => engine.wait(new Int32Array(4), new Float32Array(2))).toThrow(invalid)
    expect(engine.sequenceLength(sequence)).toBe(0)
    expect(engine.stepsAhead).toBe(1)
    const second = Int32Array.of(sequence, 1, 1, segmentMode.score, 2)
    expect(() => engine.submit(second, 1, Int32Array.of(-1), 1)).toThrow(invalid)
    expect(engine.wait(new Int32Array(3), new Float32Array(3))).toBe(3)
    expect(engine.sequenceLength(sequence)).toBe(4)
    engine.sequenceFree(sequence)
    expect(engine.check()).toBe('')
  })

  it('an engine is made of a model that is not loaded, or closed', () => {
    const synthetic = openCheckpoint(locateModel('synthetic:smollm2-135m')).desc
    const small = Object.fromEntries(Object.entries(synthetic.tensors).filter(([role]) => !/^layer\.[1-9]/.test(role)))
    const unloaded = new (native().Model)({ ...synthetic, layers: 1, tensors: small }, 'cpu', null)
    expect(() => new (native().Engine)(unloaded, engineOptions)).toThrow(invalid)
    expect(() => unloaded.finishLoad()).toThrow(invalid)
    unloaded.close()
    unloaded.close()
    expect(() => unloaded.tensorCount).toThrow(invalid)
    expect(() => new (native().Engine)(unloaded, engineOptions)).toThrow(invalid)
  })

  it('a model is made again while it is there: the same weights; a second finishLoad does nothing', () => {
    const again = newModel()
    expect([model.shared, again.shared]).toEqual([false, true])
    expect(again.residentBytes).toBe(model.residentBytes)
    again.finishLoad()
    again.close()
    expect(new (native().Model)(desc, 'reference', null).shared).toBe(false)
    expect(engine.stats(new Int32Array(5))).toBeUndefined()
  })
})
