/** The parser of expressions: recursive descent in Jinja2's order of precedence. */
import type { Args, Expression } from './ast.ts'
import type { Tokens } from './tokens.ts'
import { comparisons } from './values/compare.ts'
import { TemplateLimit } from './values/faults.ts'
import { limits } from './values/limits.ts'
import { Float, type Value } from './values/values.ts'

const constants: Record<string, Value> = { true: true, True: true, false: false, False: false, none: null, None: null }
export const isConstant = (name: string) => Object.hasOwn(constants, name)

interface TupleOptions {
  /** In brackets: may be empty. */
  explicit?: boolean
  /** `a if b else c` may stand in it. */
  choices?: boolean
  /** A name that ends it. */
  stop?: string
}

export class Expressions {
  readonly tokens: Tokens
  /** Names that are read, for each macro that is open. */
  readonly uses: Set<string>[] = []

  constructor(tokens: Tokens) {
    this.tokens = tokens
  }

  expression(): Expression {
    return this.tokens.nest(() => this.#choice())
  }

  tuple({ explicit = false, choices = true, stop }: TupleOptions = {}): Expression {
    const { tokens } = this
    const ends = () =>
      tokens.is('print_end') ||
      tokens.is('block_end') ||
      tokens.isOp(')') ||
      (stop !== undefined && tokens.isName(stop))
    const items: Expression[] = []
    let isTuple = false
    while (!ends()) {
      items.push(choices ? this.expression() : this.tokens.nest(() => this.#or()))
      if (!tokens.skip('op', ',')) break
      isTuple = true
    }
    if (!isTuple && items.length === 1) return items[0]!
    if (items.length === 0 && !explicit) tokens.fail(`Expected an expression, got ${tokens.describe()}`)
    return { kind: 'tuple', items }
  }

  #choice(): Expression {
    let value = this.#or()
    while (this.tokens.skip('name', 'if')) {
      const test = this.#or()
      const no = this.tokens.skip('name', 'else') ? this.tokens.nest(() => this.#choice()) : undefined
      value = { kind: 'choice', test, yes: value, no }
      if (no) return value
    }
    return value
  }

  #or = (): Expression => this.#list('or', this.#and)
  #and = (): Expression => this.#list('and', this.#not)

  #list(kind: 'and' | 'or', next: () => Expression): Expression {
    const items = [next()]
    while (this.tokens.skip('name', kind)) items.push(next())
    return items.length === 1 ? items[0]! : { kind, items }
  }

  #not = (): Expression => {
    if (!this.tokens.skip('name', 'not')) return this.#comparison()
    return { kind: 'not', of: this.tokens.nest(this.#not) }
  }

  #comparison(): Expression {
    const { tokens } = this
    const first = this.#sum()
    const rest: [string, Expression][] = []
    for (;;) {
      const { type, value } = tokens.current
      if (type === 'op' && Object.hasOwn(comparisons, String(value))) {
        tokens.next()
        rest.push([String(value), this.#sum()])
      } else if (tokens.skip('name', 'in')) rest.push(['in', this.#sum()])
      else if (tokens.isName('not') && tokens.following.type === 'name' && tokens.following.value === 'in') {
        tokens.next()
        tokens.next()
        rest.push(['not in', this.#sum()])
      } else return rest.length === 0 ? first : { kind: 'comparison', first, rest }
    }
  }

  #chain(next: () => Expression, operators: readonly string[]): Expression {
    const first = next()
    const rest: [string, Expression][] = []
    while (this.tokens.current.type === 'op' && operators.includes(String(this.tokens.current.value))) {
      const operator = String(this.tokens.next().value)
      rest.push([operator, next()])
    }
    return rest.length === 0 ? first : { kind: 'chain', first, rest }
  }

  #sum = () => this.#chain(this.#concat, ['+', '-'])
  #product = () => this.#chain(this.#power, ['*', '/', '//', '%'])
  #power = () => this.#chain(() => this.#unary(true), ['**'])

  #concat = (): Expression => {
    const items = [this.#product()]
    while (this.tokens.skip('op', '~')) items.push(this.#product())
    return items.length === 1 ? items[0]! : { kind: 'concat', items }
  }

  #unary(withFilters: boolean): Expression {
    const { tokens } = this
    const sign = tokens.isOp('-') ? 'negative' : tokens.isOp('+') ? 'positive' : undefined
    let value: Expression
    if (sign) {
      tokens.next()
      value = { kind: sign, of: tokens.nest(() => this.#unary(false)) }
    } else value = this.#primary()
    value = this.#postfix(value)
    return withFilters ? this.#filtered(value) : value
  }

  #primary(): Expression {
    const { tokens } = this
    const { type, value } = tokens.current
    if (type === 'name') {
      tokens.next()
      const name = String(value)
      if (isConstant(name)) return { kind: 'constant', value: constants[name]! }
      for (const names of this.uses) names.add(name)
      return { kind: 'name', name }
    }
    if (type === 'string') {
      let text = ''
      while (tokens.is('string')) text += tokens.next().value
      return { kind: 'constant', value: text }
    }
    if (type === 'int' || type === 'float') {
      tokens.next()
      return { kind: 'constant', value: type === 'int' ? (value as number | bigint) : new Float(Number(value)) }
    }
    if (tokens.skip('op', '(')) {
      const inner = this.tuple({ explicit: true })
      tokens.expect('op', ')')
      return inner
    }
    if (tokens.skip('op', '[')) return { kind: 'list', items: this.#until(']', () => this.expression()) }
    if (tokens.skip('op', '{')) return { kind: 'dict', pairs: this.#until('}', () => this.#pair()) }
    return tokens.fail(`unexpected ${tokens.describe()}`)
  }

  #pair(): [Expression, Expression] {
    const key = this.expression()
    this.tokens.expect('op', ':')
    return [key, this.expression()]
  }

  #until<Item>(close: string, parse: () => Item): Item[] {
    const { tokens } = this
    const items: Item[] = []
    while (!tokens.isOp(close)) {
      if (items.length > 0) tokens.expect('op', ',')
      if (tokens.isOp(close)) break
      items.push(parse())
    }
    tokens.expect('op', close)
    return items
  }

  /** Each link wraps the one before: a chain is as deep as it is long. */
  #links(value: Expression, link: (value: Expression) => Expression | undefined): Expression {
    let current = value
    for (let length = 0; ; length++) {
      const next = link(current)
      if (next === undefined) return current
      if (length > limits.sourceNesting) throw new TemplateLimit('nesting of the source', limits.sourceNesting)
      current = next
    }
  }

  #postfix(value: Expression): Expression {
    return this.#links(value, (of) => {
      const { tokens } = this
      if (tokens.skip('op', '.')) return this.#member(of)
      if (tokens.skip('op', '[')) return this.#subscript(of)
      return tokens.isOp('(') ? { kind: 'call', of, args: this.callArgs() } : undefined
    })
  }

  #member(of: Expression): Expression {
    const { type, value } = this.tokens.current
    if (type === 'name') {
      this.tokens.next()
      return { kind: 'attribute', of, name: String(value) }
    }
    if (type !== 'int') this.tokens.fail('expected name or number')
    this.tokens.next()
    return { kind: 'item', of, key: { kind: 'constant', value: value as number } }
  }

  #subscript(of: Expression): Expression {
    const { tokens } = this
    const parts: { key: Expression | undefined; bounds: (Expression | undefined)[] }[] = []
    do parts.push(this.#subscriptPart())
    while (tokens.skip('op', ','))
    tokens.expect('op', ']')
    const [part] = parts
    if (parts.length > 1) {
      const items = parts.map(({ key }) => key ?? tokens.fail('a slice is no part of a tuple here'))
      return { kind: 'item', of, key: { kind: 'tuple', items } }
    }
    return part!.key ? { kind: 'item', of, key: part!.key } : { kind: 'slice', of, bounds: part!.bounds }
  }

  #subscriptPart() {
    const { tokens } = this
    const bounds: (Expression | undefined)[] = []
    if (!tokens.isOp(':')) {
      const key = this.expression()
      if (!tokens.isOp(':')) return { key, bounds }
      bounds.push(key)
    } else bounds.push(undefined)
    while (bounds.length < 3 && tokens.skip('op', ':')) {
      const missing = tokens.isOp(':') || tokens.isOp(']') || tokens.isOp(',')
      bounds.push(missing ? undefined : this.expression())
    }
    return { key: undefined, bounds }
  }

  callArgs(): Args {
    const { tokens } = this
    tokens.expect('op', '(')
    const args: Args = { positional: [], named: [] }
    const ensure = (fits: boolean) => {
      if (!fits) tokens.fail('invalid syntax for function call expression')
    }
    this.#until(')', () => {
      if (tokens.skip('op', '*')) {
        ensure(!args.list && !args.mapping)
        args.list = this.expression()
      } else if (tokens.skip('op', '**')) {
        ensure(!args.mapping)
        args.mapping = this.expression()
      } else if (tokens.is('name') && tokens.following.type === 'op' && tokens.following.value === '=') {
        ensure(!args.mapping)
        const name = tokens.expect('name')
        tokens.next()
        ensure(!args.named.some(([known]) => known === name))
        args.named.push([name, this.expression()])
      } else {
        ensure(!args.list && !args.mapping && args.named.length === 0)
        args.positional.push(this.expression())
      }
    })
    return args
  }

  #dotted(): string {
    let name = this.tokens.expect('name')
    while (this.tokens.skip('op', '.')) name += `.${this.tokens.expect('name')}`
    return name
  }

  #filterLink(of: Expression | undefined): Expression {
    const name = this.#dotted()
    const args = this.tokens.isOp('(') ? this.callArgs() : { positional: [], named: [] }
    return { kind: 'filter', of, name, args }
  }

  /** `name | name(args)`: the filters of a block, the first without its bar. */
  blockFilters(): Expression {
    return this.#links(this.#filterLink(undefined), (of) =>
      this.tokens.skip('op', '|') ? this.#filterLink(of) : undefined,
    )
  }

  #filtered(value: Expression): Expression {
    return this.#links(value, (of) => {
      const { tokens } = this
      if (tokens.skip('op', '|')) return this.#filterLink(of)
      if (tokens.skip('name', 'is')) return this.#test(of)
      return tokens.isOp('(') ? { kind: 'call', of, args: this.callArgs() } : undefined
    })
  }

  #test(of: Expression): Expression {
    const { tokens } = this
    const not = tokens.skip('name', 'not')
    const name = this.#dotted()
    if (tokens.isOp('(')) return { kind: 'test', of, name, args: this.callArgs(), not }
    const { type, value } = tokens.current
    const begins = type === 'string' || type === 'int' || type === 'float' || tokens.isOp('[') || tokens.isOp('{')
    if (!begins && !(type === 'name' && !['else', 'or', 'and'].includes(String(value))))
      return { kind: 'test', of, name, args: { positional: [], named: [] }, not }
    if (tokens.isName('is')) tokens.fail('You cannot chain multiple tests with is')
    const argument = this.#postfix(this.#primary())
    return { kind: 'test', of, name, args: { positional: [argument], named: [] }, not }
  }
}
