/**
 * Names and what they are, one scope in another. A loop makes a new one for each turn, a macro for each call, so that what is set in
 * them ends with them; `if` makes none.
 */
import { Undefined, type Value } from './values/values.ts'

/** Stands for a name that belongs to a scope and is not set yet: what is outside is not looked at (symbols.ts). */
const hidden = new Undefined('')

interface ScopeOptions {
  /** Names that are hidden from the beginning. */
  hidden?: readonly string[]
  /** A block sees what the template was given and has set, as if nothing were hidden. */
  isBlock?: boolean
  /** The outermost one that a template sets names in. */
  isRoot?: boolean
}

export class Scope {
  readonly #values = new Map<string, Value>()
  readonly #parent: Scope | undefined
  readonly #isBlock: boolean
  readonly root: Scope

  constructor(parent?: Scope, options: ScopeOptions = {}) {
    this.#parent = parent
    this.#isBlock = options.isBlock ?? false
    this.root = options.isRoot || parent === undefined ? this : parent.root
    for (const name of options.hidden ?? []) this.#values.set(name, hidden)
  }

  get(name: string): Value {
    let seesHidden = false
    for (let scope: Scope | undefined = this; scope; scope = scope.#parent) {
      const value = scope.#values.get(name)
      if (value !== undefined && !(value === hidden && seesHidden))
        return value === hidden ? undefinedName(name) : value
      seesHidden ||= scope.#isBlock
    }
    return undefinedName(name)
  }

  set(name: string, value: Value): void {
    this.#values.set(name, value)
  }
}

const undefinedName = (name: string) => new Undefined(`'${name}' is undefined`)
