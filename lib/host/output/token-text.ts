/** What an output is made of, answer and reasoning, and what turns its tokens into text, as a request sees it. */

/** What a token of the output spells: a piece of the answer, of the reasoning, or of neither (markers and white space around them). */
export const tokenRole = { answer: 0, reasoning: 1, neither: 2 } as const
export type TokenRole = (typeof tokenRole)[keyof typeof tokenRole]

/** How reasoning is told from an answer: see lib/text/reasoning-markers.ts. */
export interface ReasoningSpec {
  open: string
  close: string[]
  /** Marks around answers that are no part of them. */
  skip: string[]
  /** Names in these texts that are control tokens, which have no text. */
  control: [name: string, token: number][]
  /** The prompt ends within reasoning. */
  begun: boolean
}

/** What can be given out: so many of the next tokens of the output, and the text they spell. */
export interface Given {
  text: string
  reasoning: string
  tokens: number
  roles?: TokenRole[]
}

/** Output tokens -> text, with stop texts. */
export interface TokenText {
  /** Takes a token of the output. True: it completed a stop text, and nothing more comes. */
  push(token: number): boolean
  /** The output ended: nothing is held back any longer. True: that completed a stop text. */
  flush(): boolean
  /** The stop text that was completed. */
  readonly stop: string | undefined
  /** Whether the token is a marker within the output here, and so does not end it. */
  marks(token: number): boolean
  /** What came since the last call. */
  take(): Given
}
