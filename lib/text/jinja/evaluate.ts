/** Expressions -> functions of a scope. */

import type { Args, Expression } from './ast.ts'
import { callValue, getAttribute, getItem, getSlice } from './library/access.ts'
import { filterNamed, missingFilter, testNamed } from './library/library.ts'
import { operators } from './library/operators.ts'
import type { Scope } from './scope.ts'
import { comparisons } from './values/compare.ts'
import { fail, TemplateFault } from './values/faults.ts'
import { step, takeItems } from './values/limits.ts'
import { negate, positive } from './values/numbers.ts'
import { str } from './values/show.ts'
import { concat, isStr, raw, type Str } from './values/text.ts'
import { Dict, isTrue, type Keywords, listOf, noKeywords, Tuple, Undefined, type Value } from './values/values.ts'

export type Evaluate = (scope: Scope) => Value
type Kind = Expression['kind']
type Of<K extends Kind> = Extract<Expression, { kind: K }>

/** What a block gives to its filters, in their innermost place. */
export const blockText = '\0block'

export interface Arguments {
  args: Value[]
  keywords: Keywords
}

export function compileArgs({ positional, named, list, mapping }: Args): (scope: Scope) => Arguments {
  const values = positional.map(compile)
  const names = named.map(([name, value]) => [name, compile(value)] as const)
  const [more, others] = [list && compile(list), mapping && compile(mapping)]
  return (scope) => {
    const args = values.map((value) => value(scope))
    if (more) for (const value of listOf(more(scope))) args.push(value)
    if (names.length === 0 && !others) return { args, keywords: noKeywords }
    const keywords = new Map<string, Value>()
    for (const [name, value] of names) keywords.set(name, value(scope))
    if (others) addAll(keywords, others(scope))
    return { args, keywords }
  }
}

function addAll(keywords: Map<string, Value>, mapping: Value): void {
  if (!(mapping instanceof Dict)) fail('argument after ** must be a mapping')
  for (const [key, value] of mapping.pairs()) {
    const name = isStr(key) ? raw(key) : fail('keywords must be strings')
    if (keywords.has(name)) fail(`got multiple values for keyword argument '${name}'`)
    keywords.set(name, value)
  }
}

function constant({ value }: Of<'constant'>): Evaluate {
  return () => value
}

function items(list: Expression[], make: (items: Value[]) => Value): Evaluate {
  const values = list.map(compile)
  return (scope) => {
    takeItems(values.length)
    return make(values.map((value) => value(scope)))
  }
}

function dict({ pairs }: Of<'dict'>): Evaluate {
  const values = pairs.map(([key, value]) => [compile(key), compile(value)] as const)
  return (scope) => {
    const made = new Dict()
    for (const [key, value] of values) made.set(key(scope), value(scope))
    return made
  }
}

function filter({ of, name, args }: Of<'filter'>): Evaluate {
  const value: Evaluate = of ? compile(of) : (scope) => scope.get(blockText)
  const compiled = compileArgs(args)
  const run = filterNamed(name)
  // As in Jinja2, a branch that is not taken may name what does not exist.
  if (!run) return missing(missingFilter(name))
  return (scope) => {
    step()
    const operand = value(scope)
    const { args, keywords } = compiled(scope)
    return run(operand, args, keywords)
  }
}

/** What is refused when the template is compiled, unless it stands in a branch. */
let branches = 0

export function inBranch<Result>(compileBranch: () => Result): Result {
  branches++
  try {
    return compileBranch()
  } finally {
    branches--
  }
}

function missing(reason: string): Evaluate {
  if (branches === 0) throw new TemplateFault(reason)
  return () => fail(reason)
}

function test({ of, name, args, not }: Of<'test'>): Evaluate {
  const value = compile(of)
  const compiled = compileArgs(args)
  const run = testNamed(name)
  if (!run) return missing(`No test named '${name}'.`)
  return (scope) => {
    const operand = value(scope)
    const { args, keywords } = compiled(scope)
    return run(operand, args, keywords) !== not
  }
}

function choice({ test, yes, no }: Of<'choice'>): Evaluate {
  const [condition, chosen, other] = inBranch(() => [compile(test), compile(yes), no && compile(no)] as const)
  const none = 'the inline if-expression evaluated to false and no else section was defined.'
  return (scope) => (isTrue(condition(scope)) ? chosen(scope) : other ? other(scope) : new Undefined(none))
}

/** The first that decides, or the last. */
function firstOf({ items }: Of<'and' | 'or'>, decides: boolean): Evaluate {
  const values = items.map(compile)
  const last = values.pop()!
  return (scope) => {
    for (const evaluate of values) {
      const value = evaluate(scope)
      if (isTrue(value) === decides) return value
    }
    return last(scope)
  }
}

function comparison({ first, rest }: Of<'comparison' | 'chain'>): Evaluate {
  const value = compile(first)
  const steps = rest.map(([operator, right]) => [comparisons[operator]!, compile(right)] as const)
  return (scope) => {
    let left = value(scope)
    for (const [holds, evaluate] of steps) {
      const right = evaluate(scope)
      if (!holds(left, right)) return false
      left = right
    }
    return true
  }
}

function chain({ first, rest }: Of<'comparison' | 'chain'>): Evaluate {
  const value = compile(first)
  const steps = rest.map(([operator, right]) => [operators[operator]!, compile(right)] as const)
  return (scope) => steps.reduce((left, [apply, evaluate]) => apply(left, evaluate(scope)), value(scope))
}

function joined({ items }: Of<'concat'>): Evaluate {
  const values = items.map(compile)
  return (scope) => concat(values.map((value): Str => str(value(scope))))
}

function slice({ of, bounds }: Of<'slice'>): Evaluate {
  const value = compile(of)
  const parts = bounds.map((part) => part && compile(part))
  const part = (scope: Scope, at: number) => parts[at]?.(scope) ?? null
  return (scope) => getSlice(value(scope), [part(scope, 0), part(scope, 1), part(scope, 2)])
}

function call({ of, args }: Of<'call'>): Evaluate {
  const callee = compile(of)
  const compiled = compileArgs(args)
  return (scope) => {
    const value = callee(scope)
    const { args, keywords } = compiled(scope)
    return callValue(value, args, keywords)
  }
}

const compilers: { [K in Kind]: (node: Of<K>) => Evaluate } = {
  constant,
  name:
    ({ name }) =>
    (scope) =>
      scope.get(name),
  list: ({ items: list }) => items(list, (values) => values),
  tuple: ({ items: list }) => items(list, (values) => new Tuple(values)),
  dict,
  attribute: ({ of, name }) => {
    const value = compile(of)
    return (scope) => getAttribute(value(scope), name)
  },
  item: ({ of, key }) => {
    const [value, index] = [compile(of), compile(key)]
    return (scope) => getItem(value(scope), index(scope))
  },
  slice,
  call,
  filter,
  test,
  choice,
  and: (node) => firstOf(node, false),
  or: (node) => firstOf(node, true),
  not: ({ of }) => {
    const value = compile(of)
    return (scope) => !isTrue(value(scope))
  },
  negative: ({ of }) => {
    const value = compile(of)
    return (scope) => negate(value(scope))
  },
  positive: ({ of }) => {
    const value = compile(of)
    return (scope) => positive(value(scope))
  },
  comparison,
  chain,
  concat: joined,
}

export function compile(node: Expression): Evaluate {
  return (compilers[node.kind] as (node: Expression) => Evaluate)(node)
}
