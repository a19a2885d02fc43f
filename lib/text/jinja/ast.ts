/** A template as a tree: what the parser makes and the compiler turns into functions. */
import type { Place } from './values/faults.ts'
import type { Value } from './values/values.ts'

export interface Args {
  positional: Expression[]
  named: [name: string, value: Expression][]
  /** `*list` and `**mapping` */
  list?: Expression
  mapping?: Expression
}

export type Expression =
  | { kind: 'constant'; value: Value }
  | { kind: 'name'; name: string }
  | { kind: 'list' | 'tuple'; items: Expression[] }
  | { kind: 'dict'; pairs: [Expression, Expression][] }
  | { kind: 'attribute'; of: Expression; name: string }
  | { kind: 'item'; of: Expression; key: Expression }
  | { kind: 'slice'; of: Expression; bounds: (Expression | undefined)[] }
  | { kind: 'call'; of: Expression; args: Args }
  /** `of` is missing where a block is the text. */
  | { kind: 'filter'; of: Expression | undefined; name: string; args: Args }
  | { kind: 'test'; of: Expression; name: string; args: Args; not: boolean }
  | { kind: 'choice'; test: Expression; yes: Expression; no: Expression | undefined }
  | { kind: 'and' | 'or'; items: Expression[] }
  | { kind: 'not' | 'negative' | 'positive'; of: Expression }
  | { kind: 'comparison' | 'chain'; first: Expression; rest: [operator: string, right: Expression][] }
  | { kind: 'concat'; items: Expression[] }

export type Target =
  | { kind: 'name'; name: string }
  | { kind: 'member'; name: string; member: string }
  | { kind: 'targets'; targets: Target[] }

export interface Parameter {
  name: string
  fallback: Expression | undefined
}

export interface MacroBody {
  name: string
  parameters: Parameter[]
  body: Statement[]
  /** Names that the body asks for. */
  uses: ReadonlySet<string>
}

export interface Loop {
  kind: 'for'
  target: Target
  over: Expression
  test: Expression | undefined
  recursive: boolean
  body: Statement[]
  otherwise: Statement[] | undefined
}

type Parts =
  | { kind: 'data'; text: string }
  | { kind: 'print' | 'do'; value: Expression }
  | { kind: 'if'; branches: [test: Expression, body: Statement[]][]; otherwise: Statement[] | undefined }
  | Loop
  | { kind: 'set'; target: Target; value: Expression }
  | { kind: 'set-block'; target: Target; filter: Expression | undefined; body: Statement[] }
  | { kind: 'macro'; macro: MacroBody }
  | { kind: 'call-block'; callee: Expression; args: Args; macro: MacroBody }
  | { kind: 'filter-block'; filter: Expression; body: Statement[] }
  | { kind: 'with'; targets: [Target, Expression][]; body: Statement[] }
  | { kind: 'block'; name: string; scoped: boolean; body: Statement[] }
  | { kind: 'break' | 'continue' }

export type Statement = Parts & { place: Place }

export interface Template {
  body: Statement[]
  blocks: ReadonlyMap<string, Statement[]>
}
