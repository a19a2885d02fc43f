/**
 * Names and what they are, one scope in another. A loop makes a new one for each turn, a macro for each call, so that what is set in
 * them ends with them; `if` makes none.
 */
import { Undefined, type Value } from './values.ts'

export class Scope {
  readonly #values = new Map<string, Value>()
  readonly #parent: Scope | undefined
  /** The outermost one that a template sets names in. */
  readonly root: Scope

  constructor(parent?: Scope, isRoot = false) {
    this.#parent = parent
    this.root = isRoot || parent === undefined ? this : parent.root
  }

  get(name: string): Value {
    for (let scope: Scope | undefined = this; scope; scope = scope.#parent) {
      const value = scope.#values.get(name)
      if (value !== undefined) return value
    }
    return new Undefined(`'${name}' is undefined`)
  }

  set(name: string, value: Value): void {
    this.#values.set(name, value)
  }
}
