/** What arrays and objects need of the one who makes nodes of terms (values.ts). */

import type { Budget } from './automata/refusal.ts'
import type { Branch } from './branches.ts'
import type { Node, ProgramBuilder } from './program.ts'
import type { Json, Schemas, Term } from './schemas.ts'
import type { Strings } from './strings.ts'

export interface ValueMaker {
  readonly schemas: Schemas
  readonly strings: Strings
  readonly builder: ProgramBuilder
  readonly budget: Budget
  /** The node of a set of terms. */
  node(terms: readonly Term[]): Node
  /** What values of some types that meet all terms are. */
  branches(terms: readonly Term[], mask?: number): Branch[]
  /** All values of a set of terms, where they are few and no arrays or objects; undefined: they are not. */
  finite(terms: readonly Term[]): Json[] | undefined
}
