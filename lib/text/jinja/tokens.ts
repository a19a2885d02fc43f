/** The parser's place in the tokens. */

import type { Token, TokenType } from './lexer.ts'
import { TemplateFault, TemplateLimit } from './values/faults.ts'
import { limits } from './values/limits.ts'

const spelled: Partial<Record<TokenType, string>> = {
  block_begin: '{%',
  block_end: '%}',
  print_begin: '{{',
  print_end: '}}',
  end: 'the end of the template',
  data: 'text',
}

export class Tokens {
  readonly #tokens: readonly Token[]
  #at = 0
  #nesting = 0

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens
  }

  get current(): Token {
    return this.#tokens[this.#at]!
  }

  get following(): Token {
    return this.#tokens[Math.min(this.#at + 1, this.#tokens.length - 1)]!
  }

  next(): Token {
    const token = this.current
    if (token.type !== 'end') this.#at++
    return token
  }

  is(type: TokenType, value?: string): boolean {
    const { current } = this
    return current.type === type && (value === undefined || current.value === value)
  }

  isOp = (value: string): boolean => this.is('op', value)
  isName = (value: string): boolean => this.is('name', value)

  skip(type: TokenType, value?: string): boolean {
    const found = this.is(type, value)
    if (found) this.next()
    return found
  }

  expect(type: TokenType, value?: string): string {
    if (!this.is(type, value)) this.fail(`expected ${value ?? spelled[type] ?? type}, got ${this.describe()}`)
    return String(this.next().value)
  }

  describe(): string {
    const { type, value } = this.current
    return spelled[type] ?? `'${value}'`
  }

  fail(reason: string): never {
    throw new TemplateFault(reason, this.current.place)
  }

  /** One level deeper in the source. */
  nest<Result>(parse: () => Result): Result {
    if (++this.#nesting > limits.sourceNesting) throw new TemplateLimit('nesting of the source', limits.sourceNesting)
    const result = parse()
    this.#nesting--
    return result
  }
}
