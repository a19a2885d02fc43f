/**
 * Makes a conversation fit the context by leaving out its oldest turns: the fewest that leave the answer its room. If even the last
 * message alone leaves less, it goes as it is, and the answer is shorter. The prompt then begins differently from the one before, so
 * that only the system message is found in the prefix cache.
 */

export interface Fit {
  tokens: Int32Array
  /** Turns left out. */
  dropped: number
}

export interface FitDemands {
  /** Turns that may be left out. */
  turns: number
  contextTokens: number
  /** Tokens of the answer, if known. */
  maxTokens: number | undefined
  /** The prompt without the oldest `dropped` turns. */
  tokenize: (dropped: number) => Promise<Int32Array>
}

/** Room for an answer of unknown length: a share of the context, so that not every turn has to drop one. */
const answerShare = 1 / 4

export async function dropOldestTurns({ turns, contextTokens, maxTokens, tokenize }: FitDemands): Promise<Fit> {
  const room = Math.min(maxTokens ?? Math.ceil(contextTokens * answerShare), contextTokens - 1)
  const fits = (tokens: Int32Array) => tokens.length + room <= contextTokens
  const whole = await tokenize(0)
  if (turns === 0 || fits(whole)) return { tokens: whole, dropped: 0 }
  // Fewer turns, fewer tokens: the border is found by halving. `best` is what fits, or the last resort.
  let best: Fit = { tokens: await tokenize(turns), dropped: turns }
  let tooFew = 0
  while (best.dropped - tooFew > 1 && fits(best.tokens)) {
    const dropped = (tooFew + best.dropped) >> 1
    const tokens = await tokenize(dropped)
    if (fits(tokens)) best = { tokens, dropped }
    else tooFew = dropped
  }
  return best
}
