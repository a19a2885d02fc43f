/**
 * The parser of statements: a table of tags. Tags that read other templates (include, import, extends) are refused here, since a chat
 * template is one text.
 */
import type { Expression, MacroBody, Parameter, Statement, Target, Template } from './ast.ts'
import { Expressions, isConstant } from './expressions.ts'
import { lex } from './lexer.ts'
import { namesOf } from './symbols.ts'
import { Tokens } from './tokens.ts'
import type { Place } from './values/faults.ts'

const otherTemplates = new Set(['include', 'import', 'from', 'extends'])
const absentTags: Record<string, string> = {
  autoescape: 'chat templates are not HTML',
  trans: 'there are no translations',
}

class Parser {
  readonly #tokens: Tokens
  readonly #expressions: Expressions
  readonly #blocks = new Map<string, Statement[]>()
  /** Tags around this place. */
  readonly #open: Place[] = []
  /** Loops around this place, within one macro. */
  #loops = 0

  constructor(source: string) {
    this.#tokens = new Tokens(lex(source))
    this.#expressions = new Expressions(this.#tokens)
  }

  template(): Template {
    return { body: this.#body([]), blocks: this.#blocks }
  }

  /** Statements up to a tag named in `ends`, whose name is next. */
  #body(ends: readonly string[]): Statement[] {
    const tokens = this.#tokens
    return tokens.nest(() => {
      const list: Statement[] = []
      for (;;) {
        const { place, value, type } = tokens.current
        if (type === 'end') {
          if (ends.length > 0) this.#unclosed(ends)
          return list
        }
        tokens.next()
        if (type === 'data') list.push({ kind: 'data', text: String(value), place })
        else if (type === 'print_begin') {
          list.push({ kind: 'print', value: this.#expressions.tuple(), place })
          tokens.expect('print_end')
        } else if (tokens.is('name') && ends.includes(String(tokens.current.value))) return list
        else list.push(this.#statement(place))
      }
    })
  }

  #unclosed(ends: readonly string[]): never {
    const { construct, line } = this.#open.at(-1)!
    const expected = ends.map((end) => `'${end}'`).join(' or ')
    return this.#tokens.fail(`Unexpected end of template, expected ${expected} for ${construct} in line ${line}`)
  }

  #statement(place: Place): Statement {
    const tokens = this.#tokens
    if (!tokens.is('name')) tokens.fail('tag name expected')
    const name = String(tokens.current.value)
    if (otherTemplates.has(name)) tokens.fail(`'${name}' is not supported: a chat template is one text`)
    if (Object.hasOwn(absentTags, name)) tokens.fail(`'${name}' is not supported: ${absentTags[name]}`)
    if (!Object.hasOwn(this.#tags, name)) tokens.fail(`Encountered unknown tag '${name}'.`)
    tokens.next()
    this.#open.push(place)
    const statement = this.#tags[name]!(place)
    this.#open.pop()
    return statement
  }

  readonly #tags: Record<string, (place: Place) => Statement> = {
    if: (place) => this.#if(place),
    for: (place) => this.#for(place),
    set: (place) => this.#set(place),
    macro: (place) => {
      const name = this.#tokens.expect('name')
      return { kind: 'macro', macro: this.#macro(name, this.#signature(), 'endmacro'), place }
    },
    call: (place) => this.#call(place),
    filter: (place) => {
      const filter = this.#expressions.blockFilters()
      return { kind: 'filter-block', filter, body: this.#inner('endfilter'), place }
    },
    with: (place) => this.#with(place),
    block: (place) => this.#block(place),
    do: (place) => {
      const value = this.#expressions.tuple()
      this.#tokens.expect('block_end')
      return { kind: 'do', value, place }
    },
    break: (place) => this.#loopControl('break', place),
    continue: (place) => this.#loopControl('continue', place),
    generation: (place) => {
      const macro = this.#macro('generation', [], 'endgeneration')
      const callee: Expression = { kind: 'name', name: 'caller' }
      return { kind: 'call-block', callee, args: { positional: [], named: [] }, macro, place }
    },
  }

  /** The rest of an opening tag, the body, the closing tag. */
  #inner(end: string): Statement[] {
    this.#tokens.expect('block_end')
    const body = this.#body([end])
    this.#close(end)
    return body
  }

  #close(end: string): void {
    this.#tokens.expect('name', end)
    this.#tokens.expect('block_end')
  }

  #if(place: Place): Statement {
    const tokens = this.#tokens
    const branches: [Expression, Statement[]][] = []
    let otherwise: Statement[] | undefined
    for (;;) {
      const test = this.#expressions.tuple({ choices: false })
      tokens.expect('block_end')
      branches.push([test, this.#body(['elif', 'else', 'endif'])])
      if (tokens.skip('name', 'elif')) continue
      if (tokens.skip('name', 'else')) {
        tokens.expect('block_end')
        otherwise = this.#body(['endif'])
      }
      this.#close('endif')
      return { kind: 'if', branches, otherwise, place }
    }
  }

  #for(place: Place): Statement {
    const tokens = this.#tokens
    const target = this.#targets(false)
    if (namesOf(target).includes('loop')) tokens.fail("Can't assign to special loop variable in for-loop target")
    tokens.expect('name', 'in')
    const over = this.#expressions.tuple({ choices: false, stop: 'recursive' })
    const test = tokens.skip('name', 'if') ? this.#expressions.expression() : undefined
    const recursive = tokens.skip('name', 'recursive')
    tokens.expect('block_end')
    this.#loops++
    const body = this.#body(['endfor', 'else'])
    this.#loops--
    let otherwise: Statement[] | undefined
    if (tokens.skip('name', 'else')) {
      tokens.expect('block_end')
      otherwise = this.#body(['endfor'])
    }
    this.#close('endfor')
    return { kind: 'for', target, over, test, recursive, body, otherwise, place }
  }

  #set(place: Place): Statement {
    const tokens = this.#tokens
    const target = this.#targets(true)
    if (tokens.skip('op', '=')) {
      const value = this.#expressions.tuple()
      tokens.expect('block_end')
      return { kind: 'set', target, value, place }
    }
    const filter = tokens.skip('op', '|') ? this.#expressions.blockFilters() : undefined
    return { kind: 'set-block', target, filter, body: this.#inner('endset'), place }
  }

  #call(place: Place): Statement {
    const tokens = this.#tokens
    const parameters = tokens.isOp('(') ? this.#signature() : []
    const callee = this.#expressions.expression()
    if (callee.kind !== 'call') return tokens.fail('expected call')
    return {
      kind: 'call-block',
      callee: callee.of,
      args: callee.args,
      macro: this.#macro('', parameters, 'endcall'),
      place,
    }
  }

  #with(place: Place): Statement {
    const tokens = this.#tokens
    const targets: [Target, Expression][] = []
    while (!tokens.is('block_end')) {
      if (targets.length > 0) tokens.expect('op', ',')
      const target = this.#targets(false, true)
      tokens.expect('op', '=')
      targets.push([target, this.#expressions.expression()])
    }
    return { kind: 'with', targets, body: this.#inner('endwith'), place }
  }

  #block(place: Place): Statement {
    const tokens = this.#tokens
    const name = tokens.expect('name')
    if (this.#blocks.has(name)) tokens.fail(`block '${name}' defined twice`)
    const scoped = tokens.skip('name', 'scoped')
    if (tokens.isName('required')) tokens.fail("'required' is not supported: a chat template is one text")
    tokens.expect('block_end')
    const loops = this.#loops
    this.#loops = 0
    // Known before its body is: a block may show itself.
    const body: Statement[] = []
    this.#blocks.set(name, body)
    body.push(...this.#body(['endblock']))
    this.#loops = loops
    tokens.expect('name', 'endblock')
    tokens.skip('name', name)
    tokens.expect('block_end')
    return { kind: 'block', name, scoped, body, place }
  }

  #loopControl(kind: 'break' | 'continue', place: Place): Statement {
    if (this.#loops === 0) this.#tokens.fail(`'${kind}' outside of a loop`)
    this.#tokens.expect('block_end')
    return { kind, place }
  }

  #signature(): Parameter[] {
    const tokens = this.#tokens
    const parameters: Parameter[] = []
    tokens.expect('op', '(')
    while (!tokens.isOp(')')) {
      if (parameters.length > 0) tokens.expect('op', ',')
      if (tokens.isOp(')')) break
      const name = this.#assignable(tokens.expect('name'))
      const fallback = tokens.skip('op', '=') ? this.#expressions.expression() : undefined
      if (!fallback && parameters.at(-1)?.fallback) tokens.fail('non-default argument follows default argument')
      if (parameters.some((known) => known.name === name)) tokens.fail(`the parameter '${name}' is there twice`)
      parameters.push({ name, fallback })
    }
    tokens.expect('op', ')')
    return parameters
  }

  #macro(name: string, parameters: Parameter[], end: string): MacroBody {
    const uses = new Set<string>()
    this.#expressions.uses.push(uses)
    const loops = this.#loops
    this.#loops = 0
    const body = this.#inner(end)
    this.#loops = loops
    this.#expressions.uses.pop()
    return { name, parameters, body, uses }
  }

  #assignable(name: string): string {
    if (isConstant(name)) this.#tokens.fail(`can't assign to '${name}'`)
    return name
  }

  /** One name, or several with commas; `members`: also `namespace.name`. */
  #targets(members: boolean, onlyOne = false): Target {
    const tokens = this.#tokens
    const targets = [this.#target(members)]
    let many = false
    while (!onlyOne && tokens.skip('op', ',')) {
      many = true
      if (tokens.isName('in') || tokens.isOp(')')) break
      targets.push(this.#target(members))
    }
    return many ? { kind: 'targets', targets } : targets[0]!
  }

  #target(members: boolean): Target {
    const tokens = this.#tokens
    if (tokens.skip('op', '(')) {
      const inner = this.#targets(members)
      tokens.expect('op', ')')
      return inner
    }
    const name = this.#assignable(tokens.expect('name'))
    if (!members || !tokens.skip('op', '.')) return { kind: 'name', name }
    for (const names of this.#expressions.uses) names.add(name)
    return { kind: 'member', name, member: tokens.expect('name') }
  }
}

export const parseTemplate = (source: string): Template => new Parser(source).template()
