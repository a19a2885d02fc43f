/**
 * Loading, on the engine thread: open the checkpoint, see what fits into memory, read tensor after tensor (with progress, and
 * looking between two of them whether anybody still wants it), make the KV pool, start the loop.
 */
import { type Checkpoint, openCheckpoint } from '../model/checkpoint.ts'
import { type NativeEngine, type NativeModel, native } from '../native.ts'
import { HostLoop } from './loop.ts'
import { planMemory } from './memory-plan.ts'
import type { HostData, HostOptions, HostPort, LoadProgress, ModelInfo } from './protocol.ts'
import { controlIndex } from './protocol.ts'

/** Reading the weights is nearly all of the work; the pool is touched once. */
const weightsShare = 0.95

/** Undefined when the load was called off: then everything is freed. Throws what cannot be loaded. */
export function load({ options, control }: HostData, port: HostPort): HostLoop | undefined {
  const words = new Int32Array(control)
  const calledOff = () => Atomics.load(words, controlIndex.halt) !== 0
  const progress = (phase: LoadProgress['phase'], loadedBytes: number, totalBytes: number, fraction: number) =>
    port.post({ type: 'progress', progress: { phase, loadedBytes, totalBytes, fraction } })

  progress('open', 0, 0, 0)
  const checkpoint = openCheckpoint(options.model)
  const { desc } = checkpoint
  const totalBytes = Object.values(desc.tensors).reduce((sum, tensor) => sum + tensor.bytes, 0)
  const { cpus, memoryAvailable } = native().cpu()
  // Before any weight is read: a model that cannot fit is refused in milliseconds.
  const memory = planMemory({ desc, memoryAvailable, ...demands(options) })
  const model = new (native().Model)(desc, options.backend, options.isa)
  let engine: NativeEngine | undefined
  try {
    const read = readWeights(model, calledOff, (bytes) =>
      progress('weights', bytes, totalBytes, (weightsShare * bytes) / Math.max(1, totalBytes)),
    )
    if (read) {
      progress('cache', totalBytes, totalBytes, weightsShare)
      const threads = options.threads === 'auto' ? cpus : options.threads
      const { stepTokens: maxStepTokens, prefixCache } = options
      engine = new (native().Engine)(model, { threads, kvBlocks: memory.kvBlocks, maxStepTokens, prefixCache })
    }
    if (engine === undefined || calledOff()) {
      engine?.close()
      model.close()
      port.post({ type: 'closed' })
      return undefined
    }
  } catch (error) {
    engine?.close()
    model.close()
    throw error
  }
  return start(options, checkpoint, model, engine, memory.contextTokens, words, port)
}

function start(
  options: HostOptions,
  checkpoint: Checkpoint,
  model: NativeModel,
  engine: NativeEngine,
  contextTokens: number,
  control: Int32Array,
  port: HostPort,
): HostLoop {
  const { stepTokens, maxSequences, prefixCache } = options
  const loop = new HostLoop(port, engine, {
    ...{ stepTokens, maxSequences, prefixCache, contextTokens, control },
    now: () => performance.timeOrigin + performance.now(),
    release: () => {
      engine.close()
      model.close()
    },
  })
  const bytes = model.residentBytes
  port.post({ type: 'progress', progress: { phase: 'ready', loadedBytes: bytes, totalBytes: bytes, fraction: 1 } })
  const info = { engineId: engine.id, model: modelInfo(checkpoint, bytes), contextTokens, stats: loop.stats() }
  port.post({ type: 'loaded', info })
  return loop
}

/** False when it was called off. */
function readWeights(model: NativeModel, calledOff: () => boolean, onBytes: (bytes: number) => void): boolean {
  let bytes = 0
  for (let i = 0; i < model.tensorCount; i++) {
    if (calledOff()) return false
    bytes += model.loadTensor(i)
    onBytes(bytes)
  }
  model.finishLoad()
  return true
}

function demands({ contextTokens, kvMemoryBytes, stepTokens }: HostOptions) {
  return { contextTokens, kvMemoryBytes, stepTokens }
}

function modelInfo({ info }: Checkpoint, bytes: number): ModelInfo {
  const { contextTokens: trainedContextTokens, vocabulary: vocabularySize, ...rest } = info
  return { ...rest, trainedContextTokens, vocabularySize, bytes }
}
