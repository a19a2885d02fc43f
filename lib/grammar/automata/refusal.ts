/**
 * What a grammar cannot enforce exactly is refused by name: SCHEMA_UNSUPPORTED with the keyword, the place as a JSON pointer and
 * the reason. Limits are counted work, not time: the same schema is refused on every machine, or on none.
 */
import { OctavoError } from '../../base/errors.ts'

export function unsupported(keyword: string, path: string, reason: string): OctavoError {
  const place = path === '' ? 'the root' : path
  return new OctavoError('SCHEMA_UNSUPPORTED', `The grammar cannot enforce '${keyword}' at ${place}: ${reason}.`, {
    ...{ keyword, path, reason },
  })
}

/** Units of work of one compilation: a tenth to a third of a microsecond each. */
const mostWork = 250_000

/** Work that is left, and what is being worked on: named when none is left. */
export class Budget {
  /** For whom the work is done. */
  readonly tenant: string
  #left = mostWork
  #keyword = 'schema'
  #path = ''

  constructor(tenant = '') {
    this.tenant = tenant
  }

  at(keyword: string, path: string): void {
    this.#keyword = keyword
    this.#path = path
  }

  spend(units: number): void {
    this.#left -= units
    if (this.#left < 0) throw this.refuse('it takes more work than a grammar may')
  }

  get spent(): number {
    return mostWork - this.#left
  }

  /** For those who do not know where they are. */
  refuse(reason: string): OctavoError {
    return unsupported(this.#keyword, this.#path, reason)
  }
}

/** Things made of a text for one tenant, the last ones kept. Using one costs the work that making it did: what is refused does not depend on it. */
export class Remembered<T> {
  readonly #known = new Map<string, { value: T; work: number }>()
  readonly #most: number

  constructor(most: number) {
    this.#most = most
  }

  get(text: string, budget: Budget, make: () => T): T {
    const key = `${budget.tenant}\0${text}`
    let known = this.#known.get(key)
    if (known === undefined) {
      const before = budget.spent
      known = { value: make(), work: budget.spent - before }
    } else {
      budget.spend(known.work)
      this.#known.delete(key)
    }
    this.#known.set(key, known)
    if (this.#known.size > this.#most) this.#known.delete(this.#known.keys().next().value!)
    return known.value
  }
}
