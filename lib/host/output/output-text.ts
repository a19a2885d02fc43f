/** The text of one request's output: the streaming detokeniser, then stop strings. */
import type { Detokenizer, DetokenizerOptions, TokenTable } from './detokenizer.ts'
import { StopMatcher } from './stop-matcher.ts'

/** Output tokens -> text, with stop strings: `stopped` means that the text just returned is the last. */
export interface TokenText {
  push(token: number): { text: string; stopped: boolean }
  flush(): { text: string; stopped: boolean }
}

export class OutputText implements TokenText {
  readonly #detokenizer: Detokenizer
  readonly #matcher: StopMatcher

  constructor(table: TokenTable, stop: string[], options: DetokenizerOptions = {}) {
    this.#detokenizer = table.stream(options)
    this.#matcher = new StopMatcher(stop)
  }

  push(token: number): { text: string; stopped: boolean } {
    const { text, stop } = this.#matcher.push(this.#detokenizer.push(token))
    return { text, stopped: stop !== undefined }
  }

  flush(): { text: string; stopped: boolean } {
    const { text, stop } = this.#matcher.push(this.#detokenizer.end())
    return stop === undefined ? { text: text + this.#matcher.end(), stopped: false } : { text, stopped: true }
  }
}
