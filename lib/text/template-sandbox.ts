/**
 * Runs a chat template, which is a program out of a model file, with @huggingface/jinja, and bounds what it may build.
 * A worker's heap limit alone does not do that: V8 ends the whole process when one large allocation fails. So every value
 * that an expression yields is weighed (characters and items, shared parts counted each time), the operations whose result
 * can be much larger than their operands are checked before they run, and the heap is looked at now and then.
 * The same hooks mend where the library departs from Python: strip() with characters, capitalize, title, white space.
 */
import { getHeapStatistics } from 'node:v8'
import { Environment, Interpreter, parse, tokenize } from '@huggingface/jinja'
import { strftime } from './strftime.ts'

/** Characters (and items) of one value and of the output. */
export const maxChars = 8 * 2 ** 20
/** Of the template's own source, whose tree takes a hundred times as much memory. The longest in use has 30,000. */
const maxSourceChars = 2 ** 18
const maxItems = 2 ** 18
/** Far below the worker's heap limit: what one operation may add on top must fit between them. */
const maxHeapBytes = 192 * 2 ** 20
/** Nesting of lists and mappings. */
const maxDepth = 64
/** Steps between two looks at the heap. */
const heapCheckSteps = 256

export class TemplateLimit extends Error {
  readonly limit: string

  constructor(limit: string, value: number) {
    super(`The chat template went over its limit: ${limit} ${value}.`)
    this.limit = limit
  }
}

interface Value {
  type: string
  value: unknown
  builtins: Map<string, Value>
}
interface Node {
  type: string
  value?: unknown
  callee?: { value: string }
  args?: Node[]
}
/** The parts of the interpreter that are hooked; they are private in its typings only. */
interface Hooks {
  evaluate(node: Node | undefined, scope: unknown): Value
  applyFilter(operand: Value, filter: Node, scope: unknown): Value
  evaluateArguments(args: Node[], scope: unknown): [Value[], Map<string, Value>]
  run(program: unknown): Value
}

/** str.isspace() of Python. */
const pythonSpace = String.raw`\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000`
const oneSpace = new RegExp(`[${pythonSpace}]`)
const wordSpace = new RegExp(`[${pythonSpace}]+`)

function strip(text: string, characters: unknown, left: boolean, right: boolean): string {
  const set = typeof characters === 'string' ? new Set(characters) : undefined
  const drop = (character: string) => (set ? set.has(character) : oneSpace.test(character))
  let start = 0
  let end = text.length
  // A character beyond the BMP is two units; only a set can hold one.
  const unit = (at: number) => (set ? String.fromCodePoint(text.codePointAt(at)!) : text[at]!)
  while (left && start < end && drop(unit(start))) start += unit(start).length
  const before = (at: number) => (set && at >= 2 && /[\uDC00-\uDFFF]/.test(text[at - 1]!) ? at - 2 : at - 1)
  while (right && end > start && drop(unit(before(end)))) end = before(end)
  return text.slice(start, end)
}

function replace(text: string, from: string, to: string, count: number): string {
  let found = 0
  if (from === '') found = [...text].length + 1
  else for (let at = text.indexOf(from); at >= 0; at = text.indexOf(from, at + from.length)) found++
  const times = count < 0 ? found : Math.min(found, count)
  if (text.length + times * (to.length - from.length) > maxChars) throw new TemplateLimit('characters', maxChars)
  const parts = from === '' ? ['', ...text, ''] : text.split(from)
  const cut = count < 0 ? parts.length : times
  return parts.slice(0, cut + 1).join(to) + (cut + 1 < parts.length ? from + parts.slice(cut + 1).join(from) : '')
}

const titleCase = (text: string) =>
  text.replace(/\p{L}+/gu, (word) => {
    const [first = '', ...rest] = word
    return first.toUpperCase() + rest.join('').toLowerCase()
  })

function range(start: number, stop?: number, step = 1): number[] {
  const [from, to] = stop === undefined ? [0, start] : [start, stop]
  if (step === 0) throw new Error('range() step must not be zero')
  if ((to - from) / step > maxItems) throw new TemplateLimit('items', maxItems)
  const items: number[] = []
  for (let item = from; step > 0 ? item < to : item > to; item += step) items.push(item)
  return items
}

/** Characters and items of a value as text would show them: shared parts count every time they occur. */
class Scale {
  readonly #known = new WeakMap<object, { weight: number; depth: number }>()

  weigh(value: Value, depth = 0): { weight: number; depth: number } {
    const content = value.value
    if (typeof content === 'string') return { weight: content.length, depth: 0 }
    if (!Array.isArray(content) && !(content instanceof Map)) return { weight: 1, depth: 0 }
    const known = this.#known.get(value)
    if (known) return known
    if (depth > maxDepth) throw new TemplateLimit('nesting', maxDepth)
    const sum = { weight: 1, depth: 1 }
    if ((Array.isArray(content) ? content.length : content.size) > maxItems) throw new TemplateLimit('items', maxItems)
    const add = (item: Value, key: number) => {
      const part = this.weigh(item, depth + 1)
      sum.weight += part.weight + key + 1
      sum.depth = Math.max(sum.depth, part.depth + 1)
    }
    if (Array.isArray(content)) for (const item of content as Value[]) add(item, 0)
    else for (const [key, item] of content as Map<string, Value>) add(item, key.length)
    if (sum.depth > maxDepth) throw new TemplateLimit('nesting', maxDepth)
    if (sum.weight > maxChars) throw new TemplateLimit('characters', maxChars)
    // A namespace may change later.
    if (value.type !== 'NamespaceValue') this.#known.set(value, sum)
    return sum
  }
}

/** Filters whose result can be far larger than their operand. */
function checkFilter(name: string, operand: Value, args: Value[], scale: Scale): void {
  const { weight, depth } = scale.weigh(operand)
  const texts = args.reduce((sum, arg) => sum + (typeof arg.value === 'string' ? arg.value.length : 0), 0)
  const numbers = args.reduce((sum, arg) => sum + (typeof arg.value === 'number' ? Math.abs(arg.value) : 0), 0)
  const items = Array.isArray(operand.value) ? operand.value.length : 0
  if (name === 'join' && weight + items * texts > maxChars) throw new TemplateLimit('characters', maxChars)
  if (name === 'tojson' && (weight * (1 + numbers * depth) > 4 * maxChars || weight * texts > 4 * maxChars)) {
    throw new TemplateLimit('characters', maxChars)
  }
  if (name === 'indent' && typeof operand.value === 'string') {
    const lines = operand.value.split('\n', maxItems).length
    if (lines * (numbers + texts) + weight > maxChars) throw new TemplateLimit('characters', maxChars)
  }
}

type TextMethod = (text: string, args: unknown[]) => string
const textMethods: Record<string, TextMethod> = {
  strip: (text, [characters]) => strip(text, characters, true, true),
  lstrip: (text, [characters]) => strip(text, characters, true, false),
  rstrip: (text, [characters]) => strip(text, characters, false, true),
  capitalize: (text) => text.slice(0, 1).toUpperCase() + text.slice(1).toLowerCase(),
  title: titleCase,
}

/** Makers of the library's values: their classes are not exported, but every environment hands out instances. */
function makers() {
  type Class<T> = new (content: T) => Value
  const classOf = <T>(sample: unknown) =>
    (new Environment().set('sample', sample) as unknown as Value).constructor as unknown as Class<T>
  const [Text, Integer, List] = [classOf<string>(''), classOf<number>(0), classOf<Value[]>([])]
  const Callable = classOf<(args: Value[]) => Value>(() => null)
  return { Text, Integer, List, Callable }
}

const contentOf = (value: Value) => value.value

let mended: ReturnType<typeof makers> | undefined

/** Puts Python's methods on the library's strings: once per module instance, which is the worker's own. */
function mendStrings(): ReturnType<typeof makers> {
  if (mended) return mended
  const { Text, Integer, List, Callable } = makers()
  const inherited = Object.getOwnPropertyDescriptor(Text.prototype, 'builtins')!.get!
  const mendedMaps = new WeakSet<object>()
  Object.defineProperty(Text.prototype, 'builtins', {
    get(this: Value) {
      const own = this.value as string
      const methods = inherited.call(this) as Map<string, Value>
      if (mendedMaps.has(methods)) return methods
      mendedMaps.add(methods)
      for (const [name, method] of Object.entries(textMethods)) {
        methods.set(name, new Callable((args) => new Text(method(own, args.map(contentOf)))))
      }
      const split = methods.get('split')!.value as (args: Value[]) => Value
      methods.set('length', new Integer(codePoints(own)))
      methods.set('replace', new Callable((args) => new Text(replaceValues(own, args))))
      methods.set(
        'split',
        new Callable((args) => {
          const separator = args[0]?.value ?? wordSpace
          const pieces = own.split(separator as string | RegExp, maxItems + 1)
          if (pieces.length > maxItems) throw new TemplateLimit('items', maxItems)
          if (separator !== wordSpace || args[1]) return split(args)
          return new List(pieces.filter((piece) => piece !== '').map((piece) => new Text(piece)))
        }),
      )
      return methods
    },
  })
  mended = { Text, Integer, List, Callable }
  return mended
}

/** Python counts code points. */
function codePoints(text: string): number {
  let count = text.length
  for (const _ of text.matchAll(/[\uD800-\uDBFF][\uDC00-\uDFFF]/g)) count--
  return count
}

function replaceValues(own: string, args: Value[]): string {
  const [from, to, count] = args.map((arg) => (arg.value instanceof Map ? arg.value.get('count')?.value : arg.value))
  if (typeof from !== 'string' || typeof to !== 'string') throw new Error('replace() arguments must be strings')
  return replace(own, from, to, typeof count === 'number' ? count : -1)
}

function guard(interpreter: Hooks): void {
  const scale = new Scale()
  const { evaluate, applyFilter } = interpreter
  let steps = 0
  interpreter.evaluate = (node, scope) => {
    const value = evaluate.call(interpreter, node, scope)
    if (typeof value.value === 'string' && value.value.length > maxChars)
      throw new TemplateLimit('characters', maxChars)
    if (typeof value.value === 'object' && value.value !== null) scale.weigh(value)
    if (++steps % heapCheckSteps === 0 || (typeof value.value === 'string' && value.value.length > 2 ** 16)) {
      if (getHeapStatistics().used_heap_size > maxHeapBytes) throw new TemplateLimit('heap bytes', maxHeapBytes)
    }
    return value
  }
  interpreter.applyFilter = (operand, filter, scope) => {
    const name = (filter.type === 'Identifier' ? filter.value : filter.callee?.value) as string
    const [args, keywords] = filter.args ? interpreter.evaluateArguments(filter.args, scope) : [[], new Map()]
    checkFilter(name, operand, [...args, ...keywords.values()], scale)
    if (typeof operand.value === 'string') {
      const own = operand.value
      const { Text, Integer } = mendStrings()
      if (name === 'length' || name === 'count') return new Integer(codePoints(own))
      if (name === 'trim') return new Text(strip(own, args[0]?.value ?? keywords.get('chars')?.value, true, true))
      if (name === 'capitalize' || name === 'title') return new Text(textMethods[name]!(own, []))
      if (name === 'replace') return new Text(replaceValues(own, [...args, ...keywords.values()]))
    }
    return applyFilter.call(interpreter, operand, filter, scope)
  }
}

/** A parsed template. */
export class TemplateProgram {
  readonly #program: unknown

  constructor(source: string) {
    if (source.length > maxSourceChars) throw new TemplateLimit('characters of source', maxSourceChars)
    // As Hugging Face sets up Jinja for chat templates.
    this.#program = parse(tokenize(source, { trim_blocks: true, lstrip_blocks: true }))
    mendStrings()
  }

  /** `now` is what strftime_now() tells. */
  render(variables: Record<string, unknown>, now: Date): string {
    const environment = new Environment()
    const globals = {
      true: true,
      True: true,
      false: false,
      False: false,
      none: null,
      None: null,
      range,
      raise_exception: (message: unknown) => {
        throw new Error(String(message))
      },
      strftime_now: (format: unknown) => strftime(now, String(format)),
    }
    for (const [name, value] of Object.entries({ ...variables, ...globals })) environment.set(name, value)
    const interpreter = new Interpreter(environment) as unknown as Hooks
    guard(interpreter)
    return interpreter.run(this.#program).value as string
  }
}
