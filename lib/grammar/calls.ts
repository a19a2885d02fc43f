/**
 * Calls of tools as a grammar: one of several, each behind its own marks, or several of them with marks between. What a call is beside its
 * marks is said by a schema, a document of its own.
 */
import { bytesOf, type Piece } from '../base/control-bytes.ts'
import type { Budget } from './automata/refusal.ts'
import type { Node, ProgramBuilder } from './program.ts'
import { type Json, Schemas } from './schemas.ts'
import { Values } from './values.ts'

export interface CallsSource {
  kind: 'calls'
  /** Before all of them. */
  first: Piece[]
  /** One of these; `schema` is JSON. */
  calls: { before: Piece[]; schema: string }[]
  /** Between two of several; empty: there is one. */
  between: Piece[]
  /** White space may come first, and several may come as a list. */
  free: boolean
  /** A schema, as JSON, of what may be there instead. */
  otherwise?: string
}

/** Calls of one answer: a weak model may not find the end. */
const mostCalls = 16

export function callsNode(source: CallsSource, builder: ProgramBuilder, budget: Budget): Node {
  const { first, calls, between, free, otherwise } = source
  const pieces = (list: readonly Piece[]) => (list.length === 0 ? [] : [builder.raw(bytesOf(list))])
  const one = builder.alt(
    calls.map(({ before, schema }) => builder.seq(...pieces(before), schemaNode(schema, builder, budget))),
  )
  const body = free ? builder.seq(builder.whiteSpace, builder.alt([one, listOf(one, builder)])) : one
  const more = between.length === 0 ? [] : [builder.star(builder.seq(...pieces(between), body), 0, mostCalls - 1)]
  const all = builder.seq(...pieces(first), body, ...more)
  return otherwise === undefined ? all : builder.alt([schemaNode(otherwise, builder, budget), all])
}

function listOf(one: Node, builder: ProgramBuilder): Node {
  const [open, comma, close] = [builder.bytes('['), builder.bytes(','), builder.bytes(']')]
  const space = builder.whiteSpace
  const more = builder.star(builder.seq(comma, space, one), 0, mostCalls - 1)
  return builder.seq(open, space, one, more, space, close)
}

/** Of a JSON Schema as text. */
export function schemaNode(text: string, builder: ProgramBuilder, budget: Budget): Node {
  const schemas = new Schemas(JSON.parse(text) as Json, budget)
  const values = new Values(schemas, builder, budget)
  const node = values.node([schemas.root])
  values.finish()
  return node
}
