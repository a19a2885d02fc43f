/** The functions that every chat template has: Jinja2's own, and raise_exception and strftime_now of transformers. */

import { bind } from '../values/arguments.ts'
import { fail } from '../values/faults.ts'
import { str } from '../values/show.ts'
import { mixed, raw } from '../values/text.ts'
import {
  Callable,
  Dict,
  type Keywords,
  known,
  listOf,
  Namespace,
  Range,
  Thing,
  type Value,
  wantInt,
  wantStr,
} from '../values/values.ts'
import { strftime } from './strftime.ts'

function range(args: readonly Value[]): Range {
  if (args.length < 1 || args.length > 3) return fail(`range expected 1 to 3 arguments, got ${args.length}`)
  const [first, second, step = 1] = args.map(wantInt)
  if (step === 0) return fail('range() arg 3 must not be zero')
  return second === undefined ? new Range(0, first!, 1) : new Range(first!, second, step)
}

function dict(args: readonly Value[], keywords: Keywords): Dict {
  if (args.length > 1) return fail(`dict expected at most 1 argument, got ${args.length}`)
  const [from] = args
  const made = new Dict()
  if (from instanceof Dict) for (const [key, value] of from.pairs()) made.set(key, value)
  else if (from !== undefined) {
    for (const pair of listOf(known(from))) {
      const [key, value, ...more] = listOf(pair)
      if (key === undefined || value === undefined || more.length > 0) return fail('dict: expected pairs')
      made.set(key, value)
    }
  }
  for (const [name, value] of keywords) made.set(name, value)
  return made
}

function cycler(args: readonly Value[]): Thing {
  if (args.length === 0) return fail('at least one item has to be provided')
  let at = 0
  const next = () => {
    const item = args[at]!
    at = (at + 1) % args.length
    return item
  }
  const reset = () => {
    at = 0
    return null
  }
  return new Thing('Cycler', {
    next: () => new Callable('next', next),
    reset: () => new Callable('reset', reset),
    current: () => args[at]!,
    pos: () => at,
  })
}

function joiner(args: readonly Value[], keywords: Keywords): Callable {
  const [separator] = bind('joiner()', [['sep', ', ']], args, keywords)
  let used = false
  return new Callable('Joiner', () => {
    const text = used ? separator! : ''
    used = true
    return text
  })
}

const raise: Callable['call'] = (args, keywords) => {
  const [message] = bind('raise_exception()', [['message']], args, keywords)
  return fail(raw(str(message!)))
}

/** `now` is what strftime_now() tells. */
export function makeGlobals(now: Date): Map<string, Value> {
  const functions: Record<string, Callable['call']> = {
    range,
    dict,
    namespace: (args, keywords) => new Namespace(dict(args, keywords)),
    cycler,
    joiner,
    lipsum: () => fail('lipsum() is not supported: an answer depends on its request alone'),
    raise_exception: raise,
    strftime_now: (args, keywords) => {
      const [format] = bind('strftime_now()', [['format']], args, keywords)
      return mixed(strftime(now, raw(wantStr(format!))), format)
    },
  }
  return new Map(Object.entries(functions).map(([name, call]) => [name, new Callable(name, call)]))
}
