/** A running loop: one item of look-ahead over an iterator, and the variable `loop`. */
import { equal } from './values/compare.ts'
import { fail } from './values/faults.ts'
import { step } from './values/limits.ts'
import { Callable, Generator, iterate, listOf, Thing, Tuple, Undefined, type Value } from './values/values.ts'

export class LoopRun {
  #items: Iterator<Value>
  #ahead: IteratorResult<Value> | undefined
  #length: number | undefined
  #index0 = -1
  #current: Value = null
  #previous: Value = new Undefined('there is no previous item')
  #changed: Value | undefined
  readonly variable: Thing

  /** `again` runs the loop over other items, for a recursive one. */
  constructor(over: Value, depth0: number, again: ((over: Value) => Value) | undefined) {
    this.#items = iterate(over)
    this.variable = new Thing('LoopContext', this.#attributes(depth0), callOf(again), () => this.#count())
  }

  /** The next item, and whether there is one. */
  next(): IteratorResult<Value> {
    step()
    const next = this.#peek()
    this.#ahead = undefined
    if (next.done) return next
    if (this.#index0 >= 0) this.#previous = this.#current
    this.#index0++
    this.#current = next.value
    return next
  }

  #peek(): IteratorResult<Value> {
    this.#ahead ??= this.#items.next()
    return this.#ahead
  }

  /** How many there are: what is left is computed now. */
  #count(): number {
    if (this.#length !== undefined) return this.#length
    const ahead = this.#ahead
    const rest = ahead?.done ? [] : listOf(new Generator(this.#items))
    this.#items = rest.values()
    this.#length = this.#index0 + 1 + rest.length + (ahead && !ahead.done ? 1 : 0)
    return this.#length
  }

  #attributes(depth0: number): Record<string, () => Value> {
    return {
      index0: () => this.#index0,
      index: () => this.#index0 + 1,
      first: () => this.#index0 === 0,
      last: () => this.#peek().done === true,
      length: () => this.#count(),
      revindex0: () => this.#count() - this.#index0 - 1,
      revindex: () => this.#count() - this.#index0,
      previtem: () => this.#previous,
      nextitem: () => {
        const next = this.#peek()
        return next.done ? new Undefined('there is no next item') : next.value
      },
      depth0: () => depth0,
      depth: () => depth0 + 1,
      cycle: () =>
        new Callable('cycle', (args) =>
          args.length > 0 ? args[this.#index0 % args.length]! : fail('no items for cycling given'),
        ),
      changed: () =>
        new Callable('changed', (args) => {
          const value = new Tuple([...args])
          const same = this.#changed !== undefined && equal(this.#changed, value)
          this.#changed = value
          return !same
        }),
    }
  }
}

function callOf(again: ((over: Value) => Value) | undefined): Callable['call'] {
  if (!again) return () => fail("The loop must have the 'recursive' marker to be called recursively.")
  return (args) => (args.length === 1 ? again(args[0]!) : fail('loop() takes one argument'))
}
