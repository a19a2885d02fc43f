/** Every statement and expression of a tree, from the outside in. */
import type { Expression, Statement } from './ast.ts'

export type Node = Expression | Statement

/** Trees are plain objects and lists; what has a class of its own is a value. */
export function* nodesIn(tree: unknown): Generator<Node> {
  if (typeof tree !== 'object' || tree === null) return
  if (Array.isArray(tree)) {
    for (const part of tree) yield* nodesIn(part)
    return
  }
  if (Object.getPrototypeOf(tree) !== Object.prototype) return
  if ('kind' in tree) yield tree as Node
  for (const part of Object.values(tree)) yield* nodesIn(part)
}
