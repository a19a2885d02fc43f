/**
 * Which names belong to which scope, as Jinja2 finds out before it runs anything (its idtracking). It matters in one case: a name that a
 * scope sets, and neither it nor one around it has read before, belongs to that scope from its beginning. Inner scopes that stand
 * before the place where it is set see it undefined, even when the template was given a variable of that name.
 */
import type { Args, Expression, Statement, Target } from './ast.ts'
import { nodesIn } from './walk.ts'

/** Whether a name that belongs to a scope has no value at its beginning, or is looked for further out. */
type Beginning = 'none' | 'outer'

export class Symbols {
  readonly #parent: Symbols | undefined
  readonly #names = new Map<string, Beginning>()
  readonly #stored = new Set<string>()

  constructor(parent?: Symbols) {
    this.#parent = parent
  }

  /** Names that hide those of the same name outside until they are set. */
  get hidden(): string[] {
    return Array.from(this.#names).flatMap(([name, beginning]) => (beginning === 'none' ? [name] : []))
  }

  declare(names: Iterable<string>): this {
    for (const name of names) {
      this.#names.set(name, 'outer')
      this.#stored.add(name)
    }
    return this
  }

  visit(statements: readonly Statement[]): this {
    for (const statement of statements) this.#visit(statement)
    return this
  }

  /** Names that expressions read. */
  read(tree: Expression | Args | Expression[] | undefined): this {
    for (const node of nodesIn(tree)) {
      if (node.kind === 'name' && !this.knows(node.name)) this.#names.set(node.name, 'outer')
    }
    return this
  }

  /** Whether the name belongs to this scope or one around it. */
  knows(name: string): boolean {
    return this.#names.has(name) || (this.#parent?.knows(name) ?? false)
  }

  #store(name: string): void {
    this.#stored.add(name)
    if (!this.#names.has(name)) this.#names.set(name, this.#parent?.knows(name) ? 'outer' : 'none')
  }

  #assign(target: Target): void {
    if (target.kind === 'targets') for (const one of target.targets) this.#assign(one)
    else if (target.kind === 'name') this.#store(target.name)
    else this.read({ kind: 'name', name: target.name })
  }

  #visit(statement: Statement): void {
    switch (statement.kind) {
      case 'print':
      case 'do':
        this.read(statement.value)
        break
      case 'if':
        this.#visitIf(statement.branches, statement.otherwise ?? [])
        break
      case 'for':
        this.read(statement.over)
        break
      case 'set':
        this.read(statement.value)
        this.#assign(statement.target)
        break
      case 'set-block':
        this.#assign(statement.target)
        break
      case 'macro':
        this.#store(statement.macro.name)
        break
      case 'call-block':
        this.read(statement.callee).read(statement.args)
        break
      case 'filter-block':
        this.read(statement.filter)
        break
      case 'with':
        this.read(statement.targets.map(([, value]) => value))
    }
  }

  #visitIf([first, ...rest]: [Expression, Statement[]][], otherwise: readonly Statement[]): void {
    this.read(first![0])
    const branches = [this.#copy().visit(first![1]), this.#copy(), this.#copy().visit(otherwise)]
    for (const branch of rest) branches[1]!.#visitIf([branch], [])
    this.#join(branches)
  }

  #copy(): Symbols {
    const copy = new Symbols(this.#parent)
    for (const [name, beginning] of this.#names) copy.#names.set(name, beginning)
    for (const name of this.#stored) copy.#stored.add(name)
    return copy
  }

  /** What only some branches set is looked for further out where they do not. */
  #join(branches: readonly Symbols[]): void {
    const counts = new Map<string, number>()
    for (const branch of branches) {
      for (const name of branch.#stored) if (!this.#stored.has(name)) counts.set(name, (counts.get(name) ?? 0) + 1)
    }
    for (const branch of branches) {
      for (const [name, beginning] of branch.#names) this.#names.set(name, beginning)
      for (const name of branch.#stored) this.#stored.add(name)
    }
    for (const [name, count] of counts) if (count < branches.length) this.#names.set(name, 'outer')
  }
}

export const namesOf = (target: Target): string[] =>
  target.kind === 'targets' ? target.targets.flatMap(namesOf) : target.kind === 'name' ? [target.name] : []
