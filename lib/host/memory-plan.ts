/**
 * How large the KV pool is and how many tokens one request may have, decided before anything is allocated.
 *
 * What was asked for explicitly is granted or refused (OUT_OF_MEMORY, with the table of what needs what); nothing explicit
 * shrinks silently. Defaults give way: contextTokens is what the model was trained for or what fits, and the pool has room for
 * four such requests within 1 GiB, at least for one, within a quarter of the memory that weights and buffers leave; on a GPU, whose
 * memory nothing else waits for, within half of that, or nearly all of it for one. A request of contextTokens always fits the pool.
 *
 * The bytes are those of a footprint, the CPU's (lib/model/memory.ts) or a GPU's (lib/model/device-memory.ts).
 */
import { OctavoError } from '../base/errors.ts'
import { blocksFor, kvBlockTokens } from '../base/kv-blocks.ts'
import type { KvDtype, ModelDesc } from '../base/native.ts'
import { cudaFootprint } from '../model/device-memory.ts'
import { cpuFootprint, type Footprint } from '../model/memory.ts'

export interface MemoryDemands {
  desc: ModelDesc
  /** Another engine of this process holds the weights already. */
  weightsShared?: boolean
  /** A model that guesses: its pool has as many blocks, its steps are as large. */
  draft?: ModelDesc | undefined
  /** Bytes this process may still take, of the device's memory if that has its own. */
  memoryAvailable: number
  /** Memory is a GPU's. Default false. */
  onDevice?: boolean
  /** With less than these by default it is refused. */
  leastContextTokens?: number | undefined
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

/** Requests of full length that the default pool holds, as far as memory goes. */
const defaultRequests = 4
/** Of what is left: for one request of full length, for several. The host's rest is for the page cache and for the application. */
const defaultShares = {
  host: { one: 1 / 4, several: (leftBytes: number) => Math.min(leftBytes / 4, 2 ** 30) },
  device: { one: 0.9, several: (leftBytes: number) => leftBytes / 2 },
}

export function planMemory(demands: MemoryDemands): MemoryPlan {
  const { desc, contextTokens, kvMemoryBytes, leastContextTokens = 1 } = demands
  const needs = needsOf(demands)
  const blocksIn = (bytes: number) => Math.max(0, Math.floor(bytes / (needs.blockBytes + needs.bufferBytesPerBlock)))
  const outOfMemory = (kvBlocks: number) => refusal(demands, needs, kvBlocks, blocksIn(needs.leftBytes))

  if (kvMemoryBytes !== undefined) {
    const { blockBytes } = needs
    const kvBlocks = Math.max(0, Math.floor(kvMemoryBytes / blockBytes))
    if (kvBlocks > blocksIn(needs.leftBytes)) throw outOfMemory(kvBlocks)
    if (kvBlocks === 0 || blocksFor(contextTokens ?? 1) > kvBlocks) throw poolTooSmall(demands, kvBlocks, blockBytes)
    return { contextTokens: contextTokens ?? Math.min(desc.contextTokens, kvBlocks * kvBlockTokens), kvBlocks }
  }

  const shares = defaultShares[demands.onDevice ? 'device' : 'host']
  const wanted = blocksFor(contextTokens ?? desc.contextTokens)
  const one = contextTokens === undefined ? Math.min(wanted, blocksIn(needs.leftBytes * shares.one)) : wanted
  const least = Math.min(wanted, blocksFor(leastContextTokens))
  if (one < least || one > blocksIn(needs.leftBytes)) throw outOfMemory(Math.max(least, one))
  const several = Math.min(defaultRequests * one, blocksIn(shares.several(needs.leftBytes)))
  return {
    contextTokens: contextTokens ?? Math.min(desc.contextTokens, one * kvBlockTokens),
    kvBlocks: Math.max(one, several),
  }
}

interface Needs extends Footprint {
  /** All that the draft model takes besides keys and values. */
  draftBytes: number
  leftBytes: number
}

/** Of both models together, whose pools have as many blocks. */
function needsOf(demands: MemoryDemands): Needs {
  const { desc, draft, kvDtype, stepTokens, memoryAvailable } = demands
  const footprint = demands.onDevice ? cudaFootprint : cpuFootprint
  const own = footprint(desc, kvDtype, stepTokens)
  const guesser = draft && footprint(draft, kvDtype, stepTokens)
  const weightBytes = demands.weightsShared ? 0 : own.weightBytes
  const draftBytes = guesser === undefined ? 0 : guesser.weightBytes + guesser.bufferBytes
  return {
    ...{ weightBytes, bufferBytes: own.bufferBytes, draftBytes },
    blockBytes: own.blockBytes + (guesser?.blockBytes ?? 0),
    bufferBytesPerBlock: own.bufferBytesPerBlock + (guesser?.bufferBytesPerBlock ?? 0),
    leftBytes: memoryAvailable - weightBytes - own.bufferBytes - draftBytes,
  }
}

function refusal({ draft, memoryAvailable }: MemoryDemands, of: Needs, kvBlocks: number, blocks: number): OctavoError {
  const needs = {
    weightBytes: of.weightBytes,
    kvBytes: kvBlocks * of.blockBytes,
    scratchBytes: of.bufferBytes + kvBlocks * of.bufferBytesPerBlock,
    draftBytes: of.draftBytes,
  }
  const totalBytes = needs.weightBytes + needs.kvBytes + needs.scratchBytes + needs.draftBytes
  const largest = blocks * kvBlockTokens
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
