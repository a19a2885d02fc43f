/** Calls of tools as answers have them, and answers that may have some: what adapters read of both. */
import type { GenerationPart, GenerationResult } from '../index.ts'

interface Call {
  id: string
  name: string
  /** As the model wrote them. */
  argumentsText: string
}

export type AnyCall =
  | (Call & { arguments: Record<string, unknown>; invalid?: undefined })
  | (Call & { invalid: true; reason: 'unfinished' | 'malformed' | 'unknown' | 'arguments'; message: string })

/** A piece of a call. */
export interface ToolCallDelta {
  index: number
  id: string
  name: string
  argumentsDelta: string
  /** The whole call, with its last piece. */
  call?: AnyCall
}

export type ToolChoice = 'auto' | 'none' | 'required' | { name: string }

export type AnswerPart = GenerationPart & { toolCall?: ToolCallDelta }

export type Answer = Omit<GenerationResult, 'finishReason'> & {
  finishReason: GenerationResult['finishReason'] | 'toolCalls'
  toolCalls?: AnyCall[]
}
