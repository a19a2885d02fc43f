/**
 * Checks what callers give: `parse` throws INVALID_ARGUMENT at the call, with the caller's stack, naming the option, what was expected
 * and what was found.
 */

import type { CallSite } from './base/call-site.ts'
import { quickCheck, unsure } from './base/quick-check.ts'
import * as z from './base/zod.ts'

/**
 * The options with defaults filled in. `what` names the argument in messages, `site` is the caller. `once`: nothing is made of the schema,
 * neither a quick check nor zod's own program, which takes longer than a look at what is rarely checked.
 */
export function parse<S extends z.ZodType>(
  schema: S,
  value: unknown,
  what: string,
  site: CallSite,
  once = false,
): z.output<S> {
  const quick = once ? unsure : quickCheck(schema)(value)
  if (quick !== unsure) return quick as z.output<S>
  const result = schema.safeParse(value, once ? { jitless: true } : undefined)
  if (result.success) return result.data
  const issue = result.error.issues[0]!
  const unknown = issue.code === 'unrecognized_keys' ? issue.keys[0]! : undefined
  const path = [...issue.path, ...(unknown === undefined ? [] : [unknown])]
  throw invalidArgument(
    site,
    // Options are known by their own names.
    [...(what === 'options' && path.length > 0 ? [] : [what]), ...path.map(String)].join('.'),
    expectation(issue, schema),
    at(value, path),
  )
}

/** INVALID_ARGUMENT for what a schema cannot know. */
export function invalidArgument(site: CallSite, option: string, expected: string, found: unknown) {
  const shown = describe(found)
  const message = `Option ${option}: expected ${expected}, found ${shown}.`
  return site.error({ code: 'INVALID_ARGUMENT', message, details: { option, expected, found: shown } })
}

type Issue = z.core.$ZodIssue

function expectation(issue: Issue, schema: z.ZodType): string {
  switch (issue.code) {
    case 'invalid_type':
      return issue.expected === 'int'
        ? 'an integer'
        : `${/^[aeiou]/.test(issue.expected) ? 'an' : 'a'} ${issue.expected}`
    case 'too_small':
      return bound(issue.inclusive ? 'at least' : 'more than', issue.minimum, issue.origin)
    case 'too_big':
      return bound(issue.inclusive === false ? 'less than' : 'at most', issue.maximum, issue.origin)
    case 'invalid_value':
      return issue.values.map((value) => describe(value)).join(' or ')
    case 'unrecognized_keys':
      return `no such option; there are ${keysAt(schema, issue.path).join(', ')}`
    default:
      return issue.message
  }
}

function bound(relation: string, limit: number | bigint, origin: string): string {
  if (origin === 'string') return limit === 1 ? 'a non-empty string' : `${relation} ${limit} characters`
  return origin === 'array' ? `${relation} ${limit} entries` : `a number, ${relation} ${limit}`
}

/** The keys that an object in the schema knows, for the message about one it does not. */
function keysAt(schema: z.ZodType, path: PropertyKey[]): string[] {
  let node: unknown = schema
  for (const key of [undefined, ...path]) {
    if (key !== undefined)
      node = typeof key === 'number' ? (node as z.ZodArray).element : (node as z.ZodObject).shape[String(key)]
    while (node instanceof z.ZodOptional || node instanceof z.ZodDefault || node instanceof z.ZodPrefault)
      node = node.unwrap()
  }
  return node instanceof z.ZodObject ? Object.keys(node.shape).filter((key) => key !== 'internal') : []
}

function at(value: unknown, path: PropertyKey[]): unknown {
  return path.reduce((inner: unknown, key) => (inner as Record<PropertyKey, unknown> | undefined)?.[key], value)
}

const shownCharacters = 60

function describe(value: unknown): string {
  if (typeof value === 'function') return 'a function'
  if (typeof value !== 'string' && typeof value !== 'object') return String(value)
  if (value !== null && typeof value === 'object' && !Array.isArray(value)) {
    const name = value.constructor?.name
    if (name !== undefined && name !== 'Object') return `a ${name}`
  }
  const text = jsonOf(value)
  return text.length > shownCharacters ? `${text.slice(0, shownCharacters)}...` : text
}

/** No more is looked at than may be shown: one value in many places makes a text that never ends. */
function jsonOf(value: unknown): string {
  let left = shownCharacters
  try {
    return JSON.stringify(value, (_, item) => (left-- > 0 ? item : null)) ?? String(value)
  } catch {
    return Array.isArray(value) ? 'an array' : 'an object'
  }
}
