/**
 * `octavo inspect --device cuda`: what a model takes of a GPU, the one that is here or one of a stated size, by the plan that a load
 * follows. Nothing is allocated and no GPU need be there.
 */
import { OctavoError } from '../base/errors.ts'
import { blocksFor, kvBlockTokens } from '../base/kv-blocks.ts'
import { type CudaStatus, type KvDtype, type ModelDesc, native } from '../base/native.ts'
import { chooseDevice, type DeviceRequest, deviceBudget } from '../host/device.ts'
import { type MemoryPlan, planMemory } from '../host/memory-plan.ts'
import { textBytes } from '../model/memory.ts'
import { formatBytes, markdownTable } from './output.ts'

/** A GPU to plan for. */
export interface Target {
  name: string
  /** That an engine may take; undefined: there is no GPU to ask. */
  availableBytes?: number
  /** Why there is none. */
  reason?: string
}

/** Undefined: the CPU. Throws DEVICE_UNAVAILABLE for a number that is not there. */
export function deviceTarget(
  device: DeviceRequest = 'cpu',
  deviceMemory?: number,
  cuda: () => CudaStatus = () => native().cuda(),
): Target | undefined {
  if (deviceMemory !== undefined)
    return {
      name: `a GPU of ${formatBytes(deviceMemory)}`,
      availableBytes: deviceBudget({ memoryBytes: deviceMemory }),
    }
  const status = device === 'cuda' ? cuda() : undefined
  if (status?.available === false) return { name: 'a GPU', reason: status.reason }
  const [first] = chooseDevice(device, cuda).candidates
  if (first?.gpu === undefined) return undefined
  return { name: `${first.gpu.name} (${first.backend})`, availableBytes: deviceBudget(first.gpu) }
}

interface Wanted {
  desc: ModelDesc
  draft: ModelDesc | undefined
  contextTokens: number | undefined
  kvDtype: KvDtype
  stepTokens: number
}

/** What does not fit is shown all the same: for one request of the length that was asked for, or of one block. */
export function deviceMemory(target: Target, wanted: Wanted) {
  const { desc, draft, kvDtype, stepTokens } = wanted
  const { plan, refusal } = planned(target, wanted)
  const { contextTokens, kvBlocks } = plan
  const needsOf = (model: ModelDesc) => native().cudaNeeds(model, { kvDtype, maxStepTokens: stepTokens, kvBlocks })
  const { weightBytes, blockBytes, buffers, bufferBytes, pinnedBytes } = needsOf(desc)
  const kvBytes = kvBlocks * blockBytes
  const guesser = draft && needsOf(draft)
  const draftBytes = guesser && guesser.weightBytes + guesser.bufferBytes + kvBlocks * guesser.blockBytes
  return {
    device: target.name,
    ...{ contextTokens, kvDtype, kvTokens: kvBlocks * kvBlockTokens },
    ...{ weightBytes, kvBytes, scratchBytes: bufferBytes, buffers },
    ...(draftBytes !== undefined && { draftBytes }),
    totalBytes: weightBytes + kvBytes + bufferBytes + (draftBytes ?? 0),
    ...(target.availableBytes !== undefined && { availableBytes: target.availableBytes, fits: refusal === undefined }),
    ...(refusal !== undefined && { largestContextTokens: refusal.details.largestContextTokens as number }),
    ...(target.reason !== undefined && { reason: target.reason }),
    hostBytes: textBytes(desc) + pinnedBytes + (guesser?.pinnedBytes ?? 0),
  }
}

export type DeviceMemory = ReturnType<typeof deviceMemory>

function planned({ availableBytes }: Target, wanted: Wanted): { plan: MemoryPlan; refusal?: OctavoError } {
  const one = (contextTokens: number) => ({ contextTokens, kvBlocks: blocksFor(contextTokens) })
  const { desc, contextTokens } = wanted
  if (availableBytes === undefined) return { plan: one(contextTokens ?? desc.contextTokens) }
  try {
    const limits = { memoryAvailable: availableBytes, kvMemoryBytes: undefined, onDevice: true }
    return { plan: planMemory({ ...wanted, ...limits }) }
  } catch (error) {
    if (!(error instanceof OctavoError) || error.code !== 'OUT_OF_MEMORY') throw error
    return { plan: one(contextTokens ?? kvBlockTokens), refusal: error }
  }
}

/** Each buffer in words. */
const purposes: Record<keyof DeviceMemory['buffers'], string> = {
  activations: 'activations',
  logits: 'logits and counts of tokens',
  attention: 'attention, parts of long contexts',
  linear: 'rounded inputs',
  upload: "a step's inputs",
  results: "a step's results",
  constants: 'norms and biases',
  graphs: 'graphs, about',
}

export function deviceTable(memory: DeviceMemory, stepTokens: number): string {
  const rows = [
    ['weights', memory.weightBytes],
    [`KV cache, ${memory.kvTokens} tokens in requests of ${memory.contextTokens}, ${memory.kvDtype}`, memory.kvBytes],
    ...Object.entries(purposes).map(([name, text]) => [text, memory.buffers[name as keyof typeof purposes]] as const),
    ...(memory.draftBytes === undefined ? [] : [['draft model, all of it', memory.draftBytes] as const]),
    [`total, steps of up to ${stepTokens} tokens`, memory.totalBytes],
    ...(memory.availableBytes === undefined ? [] : [['available', memory.availableBytes] as const]),
    ['beside it, of the host: vocabulary and transfers', memory.hostBytes],
  ] as const
  const table = rows.map(([name, bytes]) => [name, formatBytes(bytes)])
  return `${markdownTable([`memory of ${memory.device}`, 'bytes'], table, ['bytes'])}\n\n${verdict(memory)}`
}

function verdict({ fits, largestContextTokens, contextTokens, reason }: DeviceMemory): string {
  if (fits === undefined) return `Whether it fits is not known here: ${reason}. --device-memory says what a GPU has.`
  if (fits) return `It fits, with requests of up to ${contextTokens} tokens.`
  return largestContextTokens
    ? `It does not fit: the largest context that does is ${largestContextTokens} tokens.`
    : 'It does not fit at all.'
}
