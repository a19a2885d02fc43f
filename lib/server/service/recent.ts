/** A request that was answered, in numbers, for the live view. */
export interface Recent {
  id: string
  model: string
  tenant: string
  /** Since the epoch. */
  endedMs: number
  queueMs: number
  prefillMs: number
  totalMs: number
  interTokenMs: number
  promptTokens: number
  cachedTokens: number
  completionTokens: number
  finishReason: string
}
