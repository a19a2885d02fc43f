/**
 * Loading, on the engine thread: open the checkpoint, see what fits into memory, read tensor after tensor (with progress, and
 * looking between two of them whether anybody still wants it), make the KV pool, start the loop.
 */

import { kvBlockTokens } from '../base/kv-blocks.ts'
import {
  type CudaDevice,
  type KvDtype,
  type ModelDesc,
  type NativeEngine,
  type NativeModel,
  native,
} from '../base/native.ts'
import { type Checkpoint, openCheckpoint } from '../model/checkpoint.ts'
import { modelDescription } from '../model/identity.ts'
import { type Backend, chooseDevice, deviceBudget, freeBudget, onFirstDevice } from './device.ts'
import { openDraft } from './draft-model.ts'
import { HostLoop } from './loop.ts'
import { type MemoryPlan, planMemory } from './memory-plan.ts'
import { recorded } from './record/step-recorder.ts'
import type { HostData, HostOptions, HostPort, LoadProgress, ModelInfo } from './wire/protocol.ts'
import { controlIndex } from './wire/protocol.ts'

/** Reading the weights is nearly all of the work; the pool is touched as it fills. */
const weightsShare = 0.95
/** While weights are read: each costs both threads some microseconds. */
const mostProgressMessages = 400
/** Another process that reads the same weights is looked for so often, and so long: it may have been stopped. */
const sharingPollMs = 10
const mostSharingWaitMs = 120_000
/** Of docs/numerics.md: another one where any result is another one. */
const numericsVersion = 3

type OnProgress = (phase: LoadProgress['phase'], loadedBytes: number, totalBytes: number, fraction: number) => void

/** What all attempts of a load have in common. */
interface Loading {
  options: HostOptions
  port: HostPort
  onProgress: OnProgress
  words: Int32Array
  checkpoint: Checkpoint
  draft: Checkpoint | undefined
  startedMs: number
}

/** Undefined when the load was called off: then everything is freed. Throws what cannot be loaded. */
export function load({ options, control }: HostData, port: HostPort): HostLoop | undefined {
  const startedMs = performance.now()
  const words = new Int32Array(control)
  const onProgress: OnProgress = (phase, loadedBytes, totalBytes, fraction) => {
    if (options.told.progress) port.post({ type: 'progress', progress: { phase, loadedBytes, totalBytes, fraction } })
  }
  onProgress('open', 0, 0, 0)
  const checkpoint = openCheckpoint(options.model, { texts: false })
  const draft = options.drafting?.model && openDraft(options.drafting.model, options.model)
  const loading = { options, port, onProgress, words, checkpoint, draft, startedMs }
  const choice = chooseDevice(options.device)
  const automatic = choice.wanted === 'auto' && choice.candidates.length > 1
  const leastContextTokens = automatic ? contextOnCpu(loading) : undefined
  return onFirstDevice(choice, ({ backend, gpu }, why) => loadOn(backend, gpu, why, leastContextTokens, loading))
}

/** A GPU that the user has not named must not shorten the context that there would be without it. */
function contextOnCpu({ options, checkpoint, draft }: Loading): number | undefined {
  const { memoryAvailable } = native().cpu()
  try {
    return planMemory({ desc: checkpoint.desc, draft: draft?.desc, memoryAvailable, ...demands(options) }).contextTokens
  } catch {
    return undefined
  }
}

/** On one device. Whatever fails, everything is freed. */
function loadOn(
  backend: Backend,
  gpu: CudaDevice | undefined,
  why: string,
  leastContextTokens: number | undefined,
  { options, port, onProgress, words, checkpoint, draft: drafted, startedMs }: Loading,
): HostLoop | undefined {
  const calledOff = () => Atomics.load(words, controlIndex.halt) !== 0
  const { desc } = checkpoint
  const totalBytes = bytesOf(desc) + (drafted === undefined ? 0 : bytesOf(drafted.desc))
  const { cpus, memoryAvailable: hostMemory } = native().cpu()
  const model = new (native().Model)(desc, backend, options.isa, options.sharingFolder)
  const draft = drafted && new (native().Model)(drafted.desc, backend, options.isa, options.sharingFolder)
  const models = draft === undefined ? [model] : [model, draft]
  const closeModels = () => {
    for (const one of models) one.close()
  }
  let engine: NativeEngine | undefined
  try {
    const adopted = gpu === undefined && options.sharingFolder !== null && adopt(model, calledOff)
    // Before any weight is read: a model that cannot fit is refused in milliseconds.
    const weightsShared = adopted || model.shared
    const onGpu = gpu && { onDevice: true, leastContextTokens }
    const plan = (memoryAvailable: number) =>
      planMemory({ desc, draft: drafted?.desc, weightsShared, memoryAvailable, ...demands(options), ...onGpu })
    // What a GPU has at all is known without opening it, which takes its time.
    if (gpu !== undefined) {
      plan(deviceBudget(gpu))
      for (const one of models) one.checkDevice(options.kvDtype)
    }
    const memory = plan(gpu === undefined ? hostMemory : freeBudget(model.deviceMemoryFree))
    const threads = options.threads === 'auto' ? cpus : options.threads
    const onBytes = (bytes: number) =>
      onProgress('weights', bytes, totalBytes, (weightsShare * bytes) / Math.max(1, totalBytes))
    let read = readWeights(model, calledOff, onBytes)
    if (read && draft !== undefined) {
      if (options.sharingFolder !== null) adopt(draft, calledOff)
      read = readWeights(draft, calledOff, (bytes) => onBytes(bytesOf(desc) + bytes))
    }
    if (read) {
      onProgress('cache', totalBytes, totalBytes, weightsShare)
      const { stepTokens: maxStepTokens, prefixCache, kvDtype } = options
      const poolOptions = { threads, kvBlocks: memory.kvBlocks, maxStepTokens, prefixCache, kvDtype }
      engine = new (native().Engine)(model, poolOptions)
      if (draft !== undefined) engine.setDraftModel(draft, poolOptions)
      if (options.recordFile !== undefined) engine = recorded(engine, options.recordFile)
    }
    if (engine === undefined || calledOff()) {
      engine?.close()
      closeModels()
      port.post({ type: 'closed' })
      return undefined
    }
    const durationMs = performance.now() - startedMs
    const lines = options.told.log ? report(checkpoint, options, model, engine, memory, threads, durationMs, why) : []
    if (options.told.log && drafted !== undefined) lines.push(draftReport(drafted, engine))
    for (const message of lines) port.post({ type: 'log', message })
    onProgress('ready', model.residentBytes, model.residentBytes, 1)
    const loop = start(options, checkpoint, model, engine, memory.contextTokens, words, port, closeModels)
    // While the other threads go on with the news: results do not depend on it, and steps are right without it.
    for (const one of models) tune(one, threads)
    return loop
  } catch (error) {
    engine?.close()
    closeModels()
    throw error
  }
}

/** Whether weights came from another process; waits while one is about to offer them. */
function adopt(model: NativeModel, calledOff: () => boolean): boolean {
  const sleep = new Int32Array(new SharedArrayBuffer(4))
  for (let waitedMs = 0; !model.claim(); waitedMs += sharingPollMs) {
    if (calledOff() || waitedMs >= mostSharingWaitMs) return false
    Atomics.wait(sleep, 0, 0, sharingPollMs)
  }
  return model.origin === 'adopted'
}

const bytesOf = (desc: ModelDesc) => Object.values(desc.tensors).reduce((sum, tensor) => sum + tensor.bytes, 0)

const draftReport = ({ info }: Checkpoint, engine: NativeEngine) =>
  `${info.name} (${info.architecture}, ${info.weightFormat}) guesses: ${(engine.draftBytes / 2 ** 20).toFixed(1)} MiB of keys, values and buffers.`

/** What a log may want to know of a load: what was made, and what was decided on the way. */
function report(
  { info }: Checkpoint,
  options: HostOptions,
  model: NativeModel,
  engine: NativeEngine,
  { contextTokens, kvBlocks }: MemoryPlan,
  threads: number,
  durationMs: number,
  deviceChoice: string,
): string[] {
  const mebibytes = (bytes: number) => `${(bytes / 2 ** 20).toFixed(1)} MiB`
  const origin = model.shared
    ? ', shared with another engine'
    : { own: '', offered: ', offered to other processes', adopted: ', adopted from another process' }[model.origin]
  const weights = `${mebibytes(model.residentBytes)} of ${info.weightFormat} weights${origin}`
  const cache = `KV cache of ${mebibytes(engine.kvBytes)} for ${kvBlocks * kvBlockTokens} tokens (${mebibytes(engine.kvTouchedBytes)} in use so far)`
  const lines = [
    `Loaded ${info.name} (${info.architecture}) in ${durationMs.toFixed(0)} ms: ${model.isa} kernels, ${threads} threads, ${weights}, ${cache}, buffers of ${mebibytes(engine.scratchBytes)}; ${mebibytes(native().hugePageBytes())} of this process lie in huge pages.${deviceChoice === '' ? '' : ` ${deviceChoice}`}`,
  ]
  if (model.sharingFailure !== '') lines.push(`Weights are not shared with other processes: ${model.sharingFailure}`)
  if (options.contextTokens === undefined && contextTokens < info.contextTokens) {
    const reason = options.kvMemoryBytes === undefined ? 'memory allows no more' : 'kv.memory holds no more'
    lines.push(`contextTokens is ${contextTokens} instead of the trained ${info.contextTokens}: ${reason}.`)
  }
  if (contextTokens > info.contextTokens)
    lines.push(
      `contextTokens is ${contextTokens}, the model was trained for ${info.contextTokens}: beyond these its answers are likely to be worse.`,
    )
  return lines
}

function start(
  options: HostOptions,
  checkpoint: Checkpoint,
  model: NativeModel,
  engine: NativeEngine,
  contextTokens: number,
  control: Int32Array,
  port: HostPort,
  closeModels: () => void,
): HostLoop {
  const { stepTokens, maxSequences, prefixCache, policy, drafting, checkBlocks } = options
  const loop = new HostLoop(port, engine, {
    ...{ stepTokens, maxSequences, prefixCache, policy, drafting, checkBlocks, contextTokens, control },
    now: () => performance.timeOrigin + performance.now(),
    release: () => {
      engine.close()
      closeModels()
    },
  })
  const bytes = model.residentBytes
  const { desc } = checkpoint
  const kv = {
    model: modelDescription(desc, model.contentHash),
    numerics: numerics(desc, options.kvDtype),
    blockBytes: engine.kvBlockBytes,
  }
  const info = { engineId: engine.id, model: modelInfo(checkpoint, bytes), contextTokens, stats: loop.stats(), kv }
  port.post({ type: 'loaded', info })
  return loop
}

/** What keys and values depend on beside the weights: the specification (docs/numerics.md) and how the cache stores them. */
function numerics({ layers, kvHeads, headSize }: ModelDesc, kvDtype: KvDtype): string {
  return `cpu numerics ${numericsVersion}, kv ${kvDtype}, ${layers} layers, ${kvHeads} heads of ${headSize}, blocks of ${kvBlockTokens}`
}

/** For want of memory it stays as usual. */
function tune(model: NativeModel, threads: number): void {
  try {
    model.tune(threads)
  } catch (error) {
    if ((error as { code?: unknown }).code !== 'OUT_OF_MEMORY') throw error
  }
}

/** False when it was called off. */
function readWeights(model: NativeModel, calledOff: () => boolean, onBytes: (bytes: number) => void): boolean {
  const { tensorCount } = model
  const pieces = Math.ceil(tensorCount / mostProgressMessages)
  let bytes = 0
  for (let i = 0; i < tensorCount; i++) {
    if (calledOff()) return false
    bytes += model.loadTensor(i)
    if (i % pieces === 0) onBytes(bytes)
  }
  model.finishLoad()
  return true
}

function demands({ contextTokens, kvMemoryBytes, kvDtype, stepTokens }: HostOptions) {
  return { contextTokens, kvMemoryBytes, kvDtype, stepTokens }
}

function modelInfo({ info }: Checkpoint, bytes: number): ModelInfo {
  const { contextTokens: trainedContextTokens, vocabulary: vocabularySize, ...rest } = info
  return { ...rest, trainedContextTokens, vocabularySize, bytes }
}
