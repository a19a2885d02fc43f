/** What a load asks of the host and of the text worker: its options and its model's place, as both take them. */

import { defaultSharingFolder } from './base/paths.ts'
import { isLogRead } from './diagnostics.ts'
import type { DraftingOptions, SchedulingPolicy } from './host/wire/protocol.ts'
import { openCheckpoint } from './model/checkpoint.ts'
import { locateModel, type ModelLocation } from './model/locate.ts'
import type { ParsedLoad } from './options.ts'
import type { TextSource } from './text/text-service.ts'

/** A synthetic model's vocabulary exists in memory only. */
export function textSource(location: ModelLocation): TextSource {
  if (location.kind === 'files') return { kind: 'gguf', path: location.files[0]! }
  return { kind: 'metadata', metadata: openCheckpoint(location).metadata }
}

export function hostOptions(options: ParsedLoad, location: ModelLocation) {
  return {
    model: location,
    device: options.device,
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
    drafting: drafting(options),
    checkBlocks: options.internal.checkBlocks,
    recordFile: options.internal.recordFile,
    told: { progress: options.onProgress !== undefined, log: isLogRead(options.onLog) },
  } as const
}

/** Null: weights are not shared between processes. */
function sharingFolder(shareWeights: boolean | string): string | null {
  if (typeof shareWeights === 'string') return shareWeights
  return shareWeights ? defaultSharingFolder() : null
}

function drafting({ speculation }: ParsedLoad): DraftingOptions | undefined {
  if (speculation === 'off') return undefined
  const { drafters, drafts: fixed } =
    speculation === 'auto' ? { drafters: ['ngram', 'shared'] as const, drafts: undefined } : speculation
  const model = drafters.find((drafter) => typeof drafter === 'object')
  return {
    own: drafters.includes('ngram'),
    shared: drafters.includes('shared'),
    model: model && locateModel(model.model),
    maxModelDrafts: model?.maxDrafts ?? 0,
    fixed,
  }
}

function schedulingPolicy({ objective, maxStepMs, queue, tenants, idleTimeoutMs }: ParsedLoad): SchedulingPolicy {
  const weights = Object.fromEntries(Object.entries(tenants).map(([name, { weight }]) => [name, weight]))
  const { maxRequests: maxQueuedRequests, maxTokens: maxQueuedTokens } = queue
  return { objective, maxStepMs, maxQueuedRequests, maxQueuedTokens, idleTimeoutMs, weights }
}
