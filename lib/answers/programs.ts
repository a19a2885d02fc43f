/**
 * Compiled grammars, kept for each tenant apart and together within a bound. Where room is wanted, the tenant that has most gives up what
 * it has not used for longest, so that nobody's schemas cost others theirs.
 */
import type { CompiledGrammar, GrammarSource } from '../grammar/compile.ts'

export type Compile = (source: GrammarSource, tenant: string) => Promise<CompiledGrammar>

/** Numbers of all programs and characters of their sources, together. */
const usualWords = 8 << 20

interface Kept {
  program: Promise<CompiledGrammar>
  /** 0 until it is compiled. */
  words: number
}

export class Programs {
  readonly #compile: Compile
  readonly #mostWords: number
  /** By tenant, then by source; the last used one last. */
  readonly #tenants = new Map<string, { kept: Map<string, Kept>; words: number }>()
  #words = 0

  constructor(compile: Compile, mostWords = usualWords) {
    this.#compile = compile
    this.#mostWords = mostWords
  }

  /** What is kept, in numbers. */
  get words(): number {
    return this.#words
  }

  of(source: GrammarSource, tenant: string): Promise<CompiledGrammar> {
    let own = this.#tenants.get(tenant)
    if (own === undefined) {
      own = { kept: new Map(), words: 0 }
      this.#tenants.set(tenant, own)
    }
    const key = JSON.stringify(source)
    const known = own.kept.get(key)
    if (known !== undefined) {
      own.kept.delete(key)
      own.kept.set(key, known)
      return known.program
    }
    const made: Kept = { program: this.#compile(source, tenant), words: 0 }
    own.kept.set(key, made)
    made.program.then(
      ({ program }) => this.#keep(tenant, made, program.length + key.length),
      () => this.#drop(tenant, key),
    )
    return made.program
  }

  #keep(tenant: string, made: Kept, words: number): void {
    made.words = words
    this.#tenants.get(tenant)!.words += words
    this.#words += words
    while (this.#words > this.#mostWords) {
      const [most, { kept }] = [...this.#tenants].reduce((a, b) => (b[1].words > a[1].words ? b : a))
      const oldest = [...kept].find(([, one]) => one.words > 0 && one !== made)
      // The newest one stays, alone if it must.
      if (oldest === undefined) return
      this.#drop(most, oldest[0])
    }
  }

  #drop(tenant: string, key: string): void {
    const own = this.#tenants.get(tenant)!
    const { words } = own.kept.get(key)!
    own.kept.delete(key)
    own.words -= words
    this.#words -= words
    if (own.kept.size === 0) this.#tenants.delete(tenant)
  }
}
