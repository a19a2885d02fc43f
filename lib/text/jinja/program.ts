/** Statements -> functions of a scope and an output: a template that runs. */

import type { Loop, MacroBody, Statement, Target, Template } from './ast.ts'
import { blockText, compile, compileArgs, type Evaluate, inBranch } from './evaluate.ts'
import { callValue } from './library/access.ts'
import { LoopRun } from './loop.ts'
import { Scope } from './scope.ts'
import { namesOf, Symbols } from './symbols.ts'
import { fail, type Place, TemplateFault, TemplateLimit } from './values/faults.ts'
import { account, limits, nested, openAccount, step, takeBytes } from './values/limits.ts'
import { str } from './values/show.ts'
import { Output, type Str } from './values/text.ts'
import {
  Callable,
  Dict,
  Generator,
  isTrue,
  iterate,
  known,
  listOf,
  Namespace,
  Thing,
  Tuple,
  Undefined,
  type Value,
} from './values/values.ts'

/** What a statement asks of the loop around it. */
type Signal = 'break' | 'continue' | undefined
type Run = (scope: Scope, out: Output) => Signal
type Assign = (scope: Scope, value: Value) => void
type Kind = Statement['kind']
/** `symbols` are those of the scope that the statement stands in. */
type Compiler<Node> = (node: Node, symbols: Symbols) => Run
type Of<K extends Kind> = Extract<Statement, { kind: K }>

/** A macro is a scope, a function and its names. */
const macroBytes = 512

function compileBody(list: readonly Statement[], symbols: Symbols): Run {
  const steps = list.map((statement) => compileStatement(statement, symbols))
  return (scope, out) => {
    for (const run of steps) {
      const signal = run(scope, out)
      if (signal) return signal
    }
    return undefined
  }
}

function compileStatement(statement: Statement, symbols: Symbols): Run {
  const { place } = statement
  if (statement.kind === 'data') {
    const { text } = statement
    return (_, out) => {
      out.add(text)
      return undefined
    }
  }
  let run: Run
  try {
    run = (compilers[statement.kind] as Compiler<Statement>)(statement, symbols)
  } catch (error) {
    if (error instanceof TemplateFault) error.place ??= place
    throw error
  }
  return (scope, out) => {
    step()
    account.place = place
    return run(scope, out)
  }
}

/** What statements write, as a text. */
function capture(run: Run, scope: Scope): { text: Str; signal: Signal } {
  const out = new Output()
  const signal = run(scope, out)
  return { text: out.text(), signal }
}

function compileTarget(target: Target): Assign {
  if (target.kind === 'name') return (scope, value) => scope.set(target.name, value)
  if (target.kind === 'member') {
    return (scope, value) => {
      const namespace = scope.get(target.name)
      if (!(namespace instanceof Namespace)) fail('cannot assign attribute on non-namespace object')
      namespace.values.set(target.member, value)
    }
  }
  const targets = target.targets.map(compileTarget)
  return (scope, value) => {
    const items = listOf(known(value))
    if (items.length < targets.length)
      fail(`not enough values to unpack (expected ${targets.length}, got ${items.length})`)
    if (items.length > targets.length) fail(`too many values to unpack (expected ${targets.length})`)
    for (const [i, assign] of targets.entries()) assign(scope, items[i]!)
  }
}

function compileIf({ branches, otherwise }: Of<'if'>, symbols: Symbols): Run {
  return inBranch(() => {
    const cases = branches.map(([test, body]) => [compile(test), compileBody(body, symbols)] as const)
    const other = otherwise && compileBody(otherwise, symbols)
    return (scope, out) => {
      for (const [test, run] of cases) if (isTrue(test(scope))) return run(scope, out)
      return other?.(scope, out)
    }
  })
}

/** The items for which the test of `for ... if` holds, found as they are asked for. */
function* chosen(over: Value, scope: Scope, assign: Assign, test: Evaluate): IterableIterator<Value> {
  const items = iterate(over)
  for (let next = items.next(); !next.done; next = items.next()) {
    step()
    const inner = new Scope(scope)
    assign(inner, next.value)
    if (isTrue(test(inner))) yield next.value
  }
}

function compileFor(node: Loop & { place: Place }, symbols: Symbols): Run {
  const { target, over, test, recursive, otherwise, place } = node
  const [assign, items, holds] = [compileTarget(target), compile(over), test && compile(test)]
  const inside = new Symbols(symbols).declare([...namesOf(target), 'loop']).visit(node.body)
  const after = new Symbols(symbols).visit(otherwise ?? [])
  const [run, other] = [compileBody(node.body, inside), otherwise && compileBody(otherwise, after)]
  const [{ hidden }, { hidden: hiddenAfter }] = [inside, after]
  const start = (scope: Scope, out: Output, value: Value, depth: number): Signal => {
    const again = (inner: Value): Value =>
      nested(() => capture((_, inside) => start(scope, inside, inner, depth + 1), scope).text)
    const from = holds ? new Generator(chosen(value, scope, assign, holds)) : value
    const loop = new LoopRun(from, depth, recursive ? again : undefined)
    // As in Jinja2, only a turn that came to its end keeps `else` away.
    let turns = 0
    for (let next = loop.next(); !next.done; next = loop.next()) {
      const inner = new Scope(scope, { hidden })
      inner.set('loop', loop.variable)
      assign(inner, next.value)
      const signal = run(inner, out)
      if (signal === 'break') break
      if (signal === undefined) turns++
      account.place = place
    }
    return turns === 0 ? other?.(new Scope(scope, { hidden: hiddenAfter }), out) : undefined
  }
  return (scope, out) => start(scope, out, items(scope), 0)
}

function compileSetBlock({ target, filter, body }: Of<'set-block'>, symbols: Symbols): Run {
  const inside = new Symbols(symbols).visit(body)
  const [assign, run, change] = [compileTarget(target), compileBody(body, inside), filter && compile(filter)]
  const { hidden } = inside
  return (scope) => {
    const inner = new Scope(scope, { hidden })
    const { text, signal } = capture(run, inner)
    if (signal) return signal
    assign(scope, change ? filtered(change, inner, text) : text)
    return undefined
  }
}

function filtered(change: Evaluate, scope: Scope, text: Str): Value {
  const inner = new Scope(scope)
  inner.set(blockText, text)
  return change(inner)
}

type MakeMacro = (scope: Scope) => Callable

function compileMacro({ name, parameters, body, uses }: MacroBody, symbols: Symbols): MakeMacro {
  const inside = new Symbols(symbols)
  for (const parameter of parameters) inside.declare([parameter.name]).read(parameter.fallback)
  const run = compileBody(body, inside.visit(body))
  const { hidden } = inside
  const defaults = parameters.map(({ fallback }) => fallback && compile(fallback))
  const names = parameters.map((parameter) => parameter.name)
  const takes = (special: string) => uses.has(special) && !names.includes(special)
  const bindAll = (scope: Scope, args: readonly Value[], keywords: ReadonlyMap<string, Value>) => {
    const rest = new Map(keywords)
    names.forEach((parameter, i) => {
      const given = i < args.length ? args[i] : rest.get(parameter)
      if (i >= args.length) rest.delete(parameter)
      const value = given === undefined ? defaults[i]?.(scope) : given
      scope.set(parameter, value === undefined ? new Undefined(`parameter '${parameter}' was not provided`) : value)
    })
    if (takes('caller')) {
      scope.set('caller', rest.get('caller') ?? new Undefined('No caller defined'))
      rest.delete('caller')
    }
    const [surplus] = rest.keys()
    if (takes('kwargs')) scope.set('kwargs', Dict.from(rest))
    else if (surplus !== undefined) fail(`macro '${name}' takes no keyword argument '${surplus}'`)
    if (takes('varargs')) scope.set('varargs', new Tuple(args.slice(names.length)))
    else if (args.length > names.length) fail(`macro '${name}' takes not more than ${names.length} argument(s)`)
  }
  const attributes = new Map<string, Value>([
    ['name', name],
    ['arguments', new Tuple(names)],
    ['catch_kwargs', takes('kwargs')],
    ['catch_varargs', takes('varargs')],
    ['caller', takes('caller')],
  ])
  return (scope) => {
    takeBytes(macroBytes)
    const call: Callable['call'] = (args, keywords) =>
      nested(() => {
        const inner = new Scope(scope, { hidden })
        bindAll(inner, args, keywords)
        return capture(run, inner).text
      })
    return new Callable(name, call, attributes)
  }
}

function compileCallBlock({ callee, args, macro }: Of<'call-block'>, symbols: Symbols): Run {
  const make = compileMacro(macro, symbols)
  // A block of its own, without anyone to call it: its text is written.
  if (macro.name === 'generation') {
    return (scope, out) => {
      out.add(str(callValue(make(scope), [], new Map())))
      return undefined
    }
  }
  const [called, compiled] = [compile(callee), compileArgs(args)]
  return (scope, out) => {
    const value = called(scope)
    const { args, keywords } = compiled(scope)
    out.add(str(callValue(value, args, new Map([...keywords, ['caller', make(scope)]]))))
    return undefined
  }
}

const compilers: { [K in Exclude<Kind, 'data'>]: Compiler<Of<K>> } = {
  print: ({ value }) => {
    const evaluate = compile(value)
    return (scope, out) => {
      out.add(str(evaluate(scope)))
      return undefined
    }
  },
  do: ({ value }) => {
    const evaluate = compile(value)
    return (scope) => {
      evaluate(scope)
      return undefined
    }
  },
  if: compileIf,
  for: compileFor,
  set: ({ target, value }) => {
    const [assign, evaluate] = [compileTarget(target), compile(value)]
    return (scope) => {
      assign(scope, evaluate(scope))
      return undefined
    }
  },
  'set-block': compileSetBlock,
  macro: ({ macro }, symbols) => {
    const make = compileMacro(macro, symbols)
    return (scope) => {
      scope.set(macro.name, make(scope))
      return undefined
    }
  },
  'call-block': compileCallBlock,
  'filter-block': ({ filter, body }, symbols) => {
    const inside = new Symbols(symbols).visit(body).read(filter)
    const [change, run] = [compile(filter), compileBody(body, inside)]
    const { hidden } = inside
    return (scope, out) => {
      const inner = new Scope(scope, { hidden })
      const { text, signal } = capture(run, inner)
      if (!signal) out.add(str(filtered(change, inner, text)))
      return signal
    }
  },
  with: ({ targets, body }, symbols) => {
    const inside = new Symbols(symbols).declare(targets.flatMap(([target]) => namesOf(target))).visit(body)
    const { hidden } = inside
    const assigns = targets.map(([target, value]) => [compileTarget(target), compile(value)] as const)
    const run = compileBody(body, inside)
    return (scope, out) => {
      const inner = new Scope(scope, { hidden })
      const values = assigns.map(([, evaluate]) => evaluate(scope))
      for (const [i, [assign]] of assigns.entries()) assign(inner, values[i]!)
      return run(inner, out)
    }
  },
  block: ({ scoped, body }) => {
    const run = compileBlock(body)
    return (scope, out) => {
      run(scoped ? scope : scope.root, out)
      return undefined
    }
  },
  break: () => () => 'break',
  continue: () => () => 'continue',
}

/** A block stands by itself: it knows the template's variables, not those of the scopes around it unless it is scoped. */
function compileBlock(body: readonly Statement[]): Run {
  const inside = new Symbols().visit(body)
  const run = compileBody(body, inside)
  const { hidden } = inside
  return (scope, out) => run(new Scope(new Scope(scope, { isBlock: true }), { hidden }), out)
}

/** `self`: the blocks as functions. */
function makeSelf(blocks: ReadonlyMap<string, Run>, root: Scope): Thing {
  const attributes: Record<string, () => Value> = {}
  for (const [name, run] of blocks)
    attributes[name] = () => new Callable(name, () => nested(() => capture(run, root).text))
  return new Thing('TemplateReference', attributes)
}

export class JinjaProgram {
  readonly #run: Run
  readonly #blocks: ReadonlyMap<string, Run>
  readonly #hidden: readonly string[]

  constructor({ body, blocks }: Template) {
    const symbols = new Symbols().declare(['self']).visit(body)
    this.#hidden = symbols.hidden
    this.#run = withPlaces(() => compileBody(body, symbols))
    this.#blocks = withPlaces(() => new Map(Array.from(blocks, ([name, list]) => [name, compileBlock(list)])))
  }

  run(variables: () => ReadonlyMap<string, Value>): Str {
    openAccount()
    return withPlaces(() => {
      const given = new Scope()
      for (const [name, value] of variables()) given.set(name, value)
      const own = new Scope(given, { hidden: this.#hidden, isRoot: true })
      own.set('self', makeSelf(this.#blocks, own))
      return capture(this.#run, own).text
    })
  }
}

/** What ends it says where, and a stack that is full is a limit like others. */
export function withPlaces<Result>(run: () => Result): Result {
  try {
    return run()
  } catch (error) {
    const full = error instanceof RangeError && /call stack/.test(error.message)
    const told = full ? new TemplateLimit('nesting', limits.nesting) : error
    if (told instanceof TemplateFault || told instanceof TemplateLimit) told.place ??= account.place
    throw told
  }
}
