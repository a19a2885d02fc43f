/**
 * Calls of tools as a grammar: one of several, each behind its own marks, or several of them with marks between. What a call is beside its
 * marks is said by a schema, a document of its own.
 */
import { bytesOf, type Piece } from '../base/control-bytes.ts'
import type { Budget } from './automata/refusal.ts'
import type { Node, ProgramBuilder } from './program.ts'
import { escapePointer, type Json, type SchemaObject, Schemas } from './schemas.ts'
import { Values } from './values.ts'

export interface CallsSource {
  kind: 'calls'
  /** Before all of them. */
  first: Piece[]
  /** One of these; `schema` is JSON. With `fields`, arguments are no object but stand one by one between marks. */
  calls: { before: Piece[]; schema: string; fields?: CallFields }[]
  /** Between two of several; empty: there is one. */
  between: Piece[]
  /** White space may come first, and several may come as a list. */
  free: boolean
  /** A schema, as JSON, of what may be there instead. */
  otherwise?: string
}

export interface CallFields {
  /** Properties of the schema, in this order. */
  list: { name: string; before: string; required: boolean /** Written as it is, without quotes. */; isText: boolean }[]
  /** Behind each; no text holds what of it is no white space. */
  end: string
  /** Behind all. */
  after: Piece[]
}

/** Calls of one answer: a weak model may not find the end. */
const mostCalls = 16

export function callsNode(source: CallsSource, builder: ProgramBuilder, budget: Budget): Node {
  const { first, calls, between, free, otherwise } = source
  const pieces = (list: readonly Piece[]) => (list.length === 0 ? [] : [builder.raw(bytesOf(list))])
  const one = builder.alt(
    calls.map(({ before, schema, fields }) =>
      fields === undefined
        ? builder.seq(...pieces(before), schemaNode(schema, builder, budget))
        : builder.seq(...pieces(before), ...fieldNodes(schema, fields, builder, budget), ...pieces(fields.after)),
    ),
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

/** Arguments one by one; those that are not required may be missing. */
function fieldNodes(text: string, { list, end }: CallFields, builder: ProgramBuilder, budget: Budget): Node[] {
  const schema = JSON.parse(text) as { properties: SchemaObject }
  const schemas = new Schemas(schema, budget)
  const values = new Values(schemas, builder, budget)
  const nodes = list.map(({ name, before, required, isText }) => {
    const path = `/properties/${escapePointer(name)}`
    const term = schemas.term(schema.properties[name]!, path)
    const value = isText ? values.bareText(term, end.trim()) : values.node([term])
    const field = builder.seq(builder.bytes(before), value, builder.bytes(end))
    return required ? field : builder.star(field, 0, 1)
  })
  values.finish()
  return nodes
}

/** Of a JSON Schema as text. */
export function schemaNode(text: string, builder: ProgramBuilder, budget: Budget): Node {
  const schemas = new Schemas(JSON.parse(text) as Json, budget)
  const values = new Values(schemas, builder, budget)
  const node = values.node([schemas.root])
  values.finish()
  return node
}
