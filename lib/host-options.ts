/** What a load asks of the host and of the text worker: its options and its model's place, as both take them. */
import type { SchedulingPolicy } from './host/wire/protocol.ts'
import { openCheckpoint } from './model/checkpoint.ts'
import type { ModelLocation } from './model/locate.ts'
import type { ParsedLoad } from './options.ts'
import { defaultSharingFolder } from './paths.ts'
import type { TextSource } from './text/text-service.ts'

/** A synthetic model's vocabulary exists in memory only. */
export function textSource(location: ModelLocation): TextSource {
  if (location.kind === 'files') return { kind: 'gguf', path: location.files[0]! }
  return { kind: 'metadata', metadata: openCheckpoint(location).metadata }
}

export function hostOptions(options: ParsedLoad, location: ModelLocation) {
  return {
    model: location,
    backend: options.device === 'reference' ? 'reference' : 'cpu',
    isa: options.internal.isa ?? null,
    sharingFolder: sharingFolder(options.shareWeights),
    threads: options.threads,
    contextTokens: options.contextTokens,
    kvMemoryBytes: options.kv.memory,
    kvDtype: options.kv.dtype,
    prefixCache: options.prefixCache,
    stepTokens: options.internal.stepTokens,
    maxSequences: options.internal.maxSequences,
    policy: schedulingPolicy(options),
    checkBlocks: options.internal.checkBlocks,
    recordFile: options.internal.recordFile,
  } as const
}

/** Null: weights are not shared between processes. */
function sharingFolder(shareWeights: boolean | string): string | null {
  if (typeof shareWeights === 'string') return shareWeights
  return shareWeights ? defaultSharingFolder() : null
}

function schedulingPolicy({ objective, maxStepMs, queue, tenants, idleTimeoutMs }: ParsedLoad): SchedulingPolicy {
  const weights = Object.fromEntries(Object.entries(tenants).map(([name, { weight }]) => [name, weight]))
  const { maxRequests: maxQueuedRequests, maxTokens: maxQueuedTokens } = queue
  return { objective, maxStepMs, maxQueuedRequests, maxQueuedTokens, idleTimeoutMs, weights }
}
