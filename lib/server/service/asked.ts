/** What a route asks for and how its answers are written, and what is known of a request when it has ended. */
import { randomFillSync } from 'node:crypto'
import type { GenerateOptions, Generation, GenerationPart, GenerationResult } from '../../index.ts'
import type { HttpError, NameOf } from './errors.ts'
import type { ServedModel } from './models.ts'

/** How answers are written; `index`: of the generations. */
export interface AnswerFormat {
  /** The body of an answer that comes as a whole. */
  whole(results: GenerationResult[]): object
  /** Events, ready to be sent: before everything, for a part, when a generation ended, and after everything. */
  open(): string
  part(index: number, part: GenerationPart): string
  end(index: number, result: GenerationResult): string
  close(results: GenerationResult[]): string
  /** After an error in the middle. */
  failed(error: HttpError): string
}

export interface Asked {
  operation: 'chat' | 'text_completion'
  model: ServedModel
  stream: boolean
  /** Starts them; throws where an option is wrong. */
  start: () => Generation[]
  /** What is told of the request. */
  options: Partial<GenerateOptions>
  n: number
  /** Default 1. */
  prompts?: number
  format: () => AnswerFormat
  warnings: string[]
  nameOf: NameOf
}

/** Random bytes for the next ids: the system is not asked for each. */
const idBytes = 16
const pool = Buffer.alloc(128 * idBytes)
let used = pool.length

export function newId(prefix: string): string {
  if (used === pool.length) {
    randomFillSync(pool)
    used = 0
  }
  used += idBytes
  return `${prefix}-${pool.toString('hex', used - idBytes, used)}`
}

/** What the log line of a request says beside its status and time. */
export interface Outcome {
  model?: string
  promptTokens?: number
  cachedTokens?: number
  completionTokens?: number
  firstTokenMs?: number
  finishReasons?: string[]
  error?: string
  prompt?: unknown
  answers?: string[]
}

export interface TotalUsage {
  promptTokens: number
  cachedTokens: number
  completionTokens: number
  reasoningTokens: number
}

/** Of samples of one prompt it counts once. */
export function usageOf(results: GenerationResult[], prompts = 1): TotalUsage {
  const sum = (of: (result: GenerationResult) => number, list = results) => list.reduce((all, one) => all + of(one), 0)
  const n = results.length / prompts
  const firsts = results.filter((_, i) => i % n === 0)
  return {
    promptTokens: sum(({ usage }) => usage.promptTokens, firsts),
    cachedTokens: sum(({ usage }) => usage.cachedTokens, firsts),
    completionTokens: sum(({ usage }) => usage.completionTokens),
    reasoningTokens: sum(({ reasoningTokens }) => reasoningTokens?.length ?? 0),
  }
}

export const usageBody = (usage: TotalUsage) => ({
  prompt_tokens: usage.promptTokens,
  completion_tokens: usage.completionTokens,
  total_tokens: usage.promptTokens + usage.completionTokens,
  prompt_tokens_details: { cached_tokens: usage.cachedTokens },
  completion_tokens_details: { reasoning_tokens: usage.reasoningTokens },
})
