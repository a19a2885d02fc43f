/**
 * What one rendering may use, and the account of what it has used. A rendering is synchronous, so a thread has one account at a
 * time. Memory is reckoned, not measured: everything that is built counts, kept or not, so that the same template and messages
 * always end the same way. Far below the heap of the worker, which V8 ends with the process when a single allocation fails.
 */
import { type Place, TemplateLimit } from './faults.ts'

export const limits = {
  /** Of one value and of the output. */
  characters: 8 * 2 ** 20,
  /** Of one list or mapping. */
  items: 2 ** 18,
  /** As Jinja2's sandbox has it. */
  rangeItems: 100_000,
  /** Statements, filters, calls, turns of loops. */
  steps: 2e7,
  /** Parts of values that were compared, shown, searched. */
  looks: 2e7,
  /** Lists in lists. */
  nesting: 64,
  /** Macros in macros. */
  calls: 200,
  /** Bits of an integer. */
  bits: 2 ** 14,
  /** Reckoned: two bytes a character, 48 an item. */
  heapBytes: 384 * 2 ** 20,
  /** The longest template in use has 30,000. */
  sourceCharacters: 2 ** 18,
  /** Brackets, blocks and filters in one another. */
  sourceNesting: 200,
} as const

/** An item of a list: a pointer and the small object that it points to. */
const itemBytes = 48

interface Account {
  steps: number
  looks: number
  bytes: number
  calls: number
  /** The tag that runs. */
  place: Place
}

const nowhere: Place = { line: 1, construct: 'the template' }

export const account: Account = { steps: 0, looks: 0, bytes: 0, calls: 0, place: nowhere }

export function openAccount(): void {
  Object.assign(account, { steps: 0, looks: 0, bytes: 0, calls: 0, place: nowhere })
}

function over(limit: string, value: number): never {
  throw new TemplateLimit(limit, value)
}

export function step(): void {
  if (++account.steps > limits.steps) over('steps', limits.steps)
}

/** A look at a part of a value that lies `depth` deep in it. */
export function look(depth = 0): void {
  if (++account.looks > limits.looks) over('looks at values', limits.looks)
  if (depth > limits.nesting) over('nesting', limits.nesting)
}

export function takeBytes(bytes: number): void {
  account.bytes += bytes
  if (account.bytes > limits.heapBytes) over('heap bytes', limits.heapBytes)
}

/** So many characters in one value; nothing is built yet. */
export function checkCharacters(count: number): number {
  if (!(count <= limits.characters)) over('characters', limits.characters)
  return count
}

/** A new text. */
export function takeCharacters(count: number): void {
  checkCharacters(count)
  takeBytes(2 * count)
}

/** A new list or mapping, or what one grows by. */
export function takeItems(count: number): number {
  if (!(count <= limits.items)) over('items', limits.items)
  takeBytes(itemBytes * count)
  return count
}

export function checkRange(count: number): void {
  if (count > limits.rangeItems) over('items', limits.rangeItems)
}

export function checkBits(bits: number): void {
  if (bits > limits.bits) over('bits of a number', limits.bits)
}

/** A macro or a recursive loop calls. */
export function nested<Result>(call: () => Result): Result {
  if (account.calls >= limits.calls) over('calls in calls', limits.calls)
  const { place } = account
  account.calls++
  const result = call()
  account.calls--
  account.place = place
  return result
}
