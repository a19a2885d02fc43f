/**
 * Whether a template takes the content of a message apart into parts, or treats it as one string. It takes it apart when it loops over
 * it, chooses from it by attributes, or asks a numbered item of it for a member. What counts as content is `x.content`, `x['content']`,
 * and every name that such a value is given to. (A test such as `content is string` alone says nothing: templates that make '' of
 * everything else have it, too.)
 */
import type { Args, Expression, Target, Template } from './ast.ts'
import { type Node, nodesIn } from './walk.ts'

const keepsItems = new Set(['selectattr', 'rejectattr', 'select', 'reject', 'list'])
const takesMembers = new Set(['selectattr', 'rejectattr', 'map'])

class Search {
  readonly #nodes: Node[]
  /** Names that hold content, somewhere in the template. */
  readonly #names = new Set<string>()
  readonly #parameters = new Map<string, string[]>()

  constructor({ body, blocks }: Template) {
    this.#nodes = [...nodesIn(body), ...nodesIn([...blocks.values()])]
    for (const node of this.#nodes) {
      if (node.kind === 'macro')
        this.#parameters.set(
          node.macro.name,
          node.macro.parameters.map(({ name }) => name),
        )
    }
    for (let known = -1; known !== this.#names.size; ) {
      known = this.#names.size
      for (const node of this.#nodes) this.#follow(node)
    }
  }

  get found(): boolean {
    return this.#nodes.some((node) => this.#takesApart(node))
  }

  #isContent(node: Expression | undefined): boolean {
    if (!node) return false
    switch (node.kind) {
      case 'name':
        return this.#names.has(node.name)
      case 'attribute':
        return node.name === 'content'
      case 'item':
        return node.key.kind === 'constant' && node.key.value === 'content'
      case 'choice':
        return this.#isContent(node.yes) || this.#isContent(node.no)
      case 'and':
      case 'or':
        return node.items.some((item) => this.#isContent(item))
      case 'filter':
        return keepsItems.has(node.name) && this.#isContent(node.of)
      case 'call':
        return node.of.kind === 'attribute' && node.of.name === 'get' && isNamed(node.args.positional[0], 'content')
      default:
        return false
    }
  }

  /** Content that is given to a name. */
  #follow(node: Node): void {
    if (node.kind === 'set') this.#give(node.target, node.value)
    else if (node.kind === 'with') for (const [target, value] of node.targets) this.#give(target, value)
    else if (node.kind === 'call' && node.of.kind === 'name')
      this.#pass(this.#parameters.get(node.of.name) ?? [], node.args)
  }

  #give(target: Target, value: Expression): void {
    if (target.kind === 'name' && this.#isContent(value)) this.#names.add(target.name)
  }

  #pass(parameters: readonly string[], { positional, named }: Args): void {
    for (const [i, name] of parameters.entries()) {
      const value = positional[i] ?? named.find(([given]) => given === name)?.[1]
      if (this.#isContent(value)) this.#names.add(name)
    }
  }

  #takesApart(node: Node): boolean {
    if (node.kind === 'for') return this.#isContent(node.over)
    if (node.kind === 'filter') return takesMembers.has(node.name) && this.#isContent(node.of)
    // `content[0].text`; a call such as `content[0].upper()` is what one does with a string.
    if (node.kind === 'attribute') return partMembers.has(node.name) && this.#isNumbered(node.of)
    return node.kind === 'item' && node.key.kind === 'constant' && this.#isNumbered(node.of)
  }

  #isNumbered(node: Expression): boolean {
    return (
      node.kind === 'item' &&
      node.key.kind === 'constant' &&
      typeof node.key.value === 'number' &&
      this.#isContent(node.of)
    )
  }
}

const partMembers = new Set(['type', 'text', 'image', 'image_url'])
const isNamed = (node: Expression | undefined, name: string) => node?.kind === 'constant' && node.value === name

export const takesParts = (template: Template): boolean => new Search(template).found
