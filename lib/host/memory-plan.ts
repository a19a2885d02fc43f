/**
 * How large the KV pool is and how many tokens one request may have, decided before anything is allocated.
 *
 * What was asked for explicitly is granted or refused (OUT_OF_MEMORY, with the table of what needs what); nothing explicit
 * shrinks silently. Defaults give way: contextTokens is what the model was trained for or what fits, and the pool has room for
 * four such requests within 1 GiB, at least for one, within a quarter of the memory that weights and buffers leave.
 * A request of contextTokens always fits the pool.
 */
import { OctavoError } from '../base/errors.ts'
import { blocksFor, kvBlockTokens } from '../base/kv-blocks.ts'
import type { KvDtype, ModelDesc } from '../base/native.ts'
import { kvBytesPerToken, scratchBytes, weightBytes } from '../model/memory.ts'

export interface MemoryDemands {
  desc: ModelDesc
  /** Another engine of this process holds the weights already. */
  weightsShared?: boolean
  /** A model that guesses: its pool has as many blocks, its steps are as large. */
  draft?: ModelDesc | undefined
  /** Bytes this process may still take. */
  memoryAvailable: number
  stepTokens: number
  kvDtype: KvDtype
  /** Undefined: choose. */
  contextTokens: number | undefined
  kvMemoryBytes: number | undefined
}

export interface MemoryPlan {
  contextTokens: number
  kvBlocks: number
}

/** Requests of full length that the default pool holds, as far as this many bytes go. */
const defaultRequests = 4
const defaultPoolBytes = 2 ** 30
/** The rest is for the page cache and for the application. */
const defaultShare = 1 / 4

export function planMemory(demands: MemoryDemands): MemoryPlan {
  const { desc, memoryAvailable, stepTokens, contextTokens, kvMemoryBytes } = demands
  const blockBytes = tokenBytes(demands) * kvBlockTokens
  const fixedBytes = newWeightBytes(demands) + scratchBytes(desc, stepTokens) + draftFixedBytes(demands)
  const leftBytes = memoryAvailable - fixedBytes
  const blocksIn = (bytes: number) => Math.max(0, Math.floor(bytes / blockBytes))

  if (kvMemoryBytes !== undefined) {
    const kvBlocks = blocksIn(kvMemoryBytes)
    if (kvBlocks > blocksIn(leftBytes)) throw outOfMemory(demands, kvBlocks)
    if (kvBlocks === 0 || blocksFor(contextTokens ?? 1) > kvBlocks) throw poolTooSmall(demands, kvBlocks, blockBytes)
    return { contextTokens: contextTokens ?? Math.min(desc.contextTokens, kvBlocks * kvBlockTokens), kvBlocks }
  }

  const wanted = blocksFor(contextTokens ?? desc.contextTokens)
  const share = blocksIn(leftBytes * defaultShare)
  const one = contextTokens === undefined ? Math.min(wanted, share) : wanted
  if (one === 0 || one > blocksIn(leftBytes)) throw outOfMemory(demands, Math.max(1, one))
  const several = Math.min(defaultRequests * one, blocksIn(defaultPoolBytes), share)
  return {
    contextTokens: contextTokens ?? Math.min(desc.contextTokens, one * kvBlockTokens),
    kvBlocks: Math.max(one, several),
  }
}

const newWeightBytes = ({ desc, weightsShared }: MemoryDemands) => (weightsShared ? 0 : weightBytes(desc))

/** Keys and values of one token, in both pools. */
const tokenBytes = ({ desc, draft, kvDtype }: MemoryDemands) =>
  kvBytesPerToken(desc, kvDtype) + (draft === undefined ? 0 : kvBytesPerToken(draft, kvDtype))

const draftFixedBytes = ({ draft, stepTokens }: MemoryDemands) =>
  draft === undefined ? 0 : weightBytes(draft) + scratchBytes(draft, stepTokens)

function outOfMemory(demands: MemoryDemands, kvBlocks: number): OctavoError {
  const { desc, draft, memoryAvailable, stepTokens } = demands
  const needs = {
    weightBytes: newWeightBytes(demands),
    kvBytes: kvBlocks * kvBlockTokens * tokenBytes(demands),
    scratchBytes: scratchBytes(desc, stepTokens),
    draftBytes: draftFixedBytes(demands),
  }
  const totalBytes = needs.weightBytes + needs.kvBytes + needs.scratchBytes + needs.draftBytes
  const leftBytes = memoryAvailable - needs.weightBytes - needs.scratchBytes - needs.draftBytes
  const largest = Math.max(0, Math.floor(leftBytes / (tokenBytes(demands) * kvBlockTokens)) * kvBlockTokens)
  const rows: [string, number][] = [
    ['weights', needs.weightBytes],
    ['KV cache', needs.kvBytes],
    ['buffers', needs.scratchBytes],
    ...(draft === undefined ? [] : ([['draft', needs.draftBytes]] satisfies [string, number][])),
    ['together', totalBytes],
    ['available', memoryAvailable],
  ]
  const table = rows.map(([name, bytes]) => `  ${name.padEnd(10)}${mebibytes(bytes).padStart(12)}`).join('\n')
  const hint = largest > 0 ? `The largest contextTokens that fits is ${largest}.` : 'The model does not fit at all.'
  return new OctavoError('OUT_OF_MEMORY', `The model needs more memory than there is.\n${table}\n${hint}`, {
    ...needs,
    ...{ totalBytes, availableBytes: memoryAvailable, largestContextTokens: largest },
  })
}

function poolTooSmall({ contextTokens }: MemoryDemands, kvBlocks: number, blockBytes: number): OctavoError {
  const holds = kvBlocks * kvBlockTokens
  const needed = blocksFor(contextTokens ?? 1) * blockBytes
  return new OctavoError(
    'OUT_OF_MEMORY',
    `kv.memory holds ${holds} tokens; a request of contextTokens ${contextTokens ?? 1} needs ${mebibytes(needed)}.`,
    { contextTokens: contextTokens ?? 1, largestContextTokens: holds, neededBytes: needed },
  )
}

const mebibytes = (bytes: number) => `${(bytes / 2 ** 20).toFixed(1)} MiB`
