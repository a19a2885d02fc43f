/**
 * What describes a value: a zod 4 type, of the caller's own copy of zod, or a JSON Schema. A zod type is known by its `_zod`, not by
 * its class: there may be several copies of zod in a program. It checks with its own methods.
 */
import { toJSONSchema, type ZodType } from '../base/zod.ts'
import { schemaCheck } from './schema-check.ts'

/** Of any copy and version of zod 4. */
export interface ZodLike {
  _zod: { output: unknown; input: unknown }
}

export type InputOf<T extends ZodLike> = T['_zod']['input']
export type OutputOf<T extends ZodLike> = T['_zod']['output']

type Issue = { path: readonly PropertyKey[]; message: string }
type SafeParse = (value: unknown) => { success: boolean; data?: unknown; error?: { issues: readonly Issue[] } }

interface ZodMethods {
  safeParse: SafeParse
  toJSONSchema?: (options: unknown) => unknown
}

export const isZod = (value: unknown): value is ZodLike & ZodMethods =>
  typeof value === 'object' &&
  value !== null &&
  typeof (value as Partial<ZodLike>)._zod === 'object' &&
  typeof (value as Partial<ZodMethods>).safeParse === 'function'

/** What is written is what zod reads: its input. Objects have the properties they list, unless they say otherwise. Throws where a type has none. */
export function jsonSchemaOf(schema: ZodLike & ZodMethods): { [keyword: string]: unknown } {
  const options = { io: 'input', override: closeObjects } as const
  // Types of zod before 4.2 and of zod/mini have no method for it.
  const made =
    typeof schema.toJSONSchema === 'function'
      ? schema.toJSONSchema(options)
      : toJSONSchema(schema as unknown as ZodType, options as unknown as Parameters<typeof toJSONSchema>[1])
  return structuredClone(made) as { [keyword: string]: unknown }
}

function closeObjects({
  zodSchema,
  jsonSchema,
}: {
  zodSchema: unknown
  jsonSchema: { additionalProperties?: unknown }
}) {
  const { def } = (zodSchema as { _zod: { def: { type: string } } })._zod
  if (def.type === 'object' && jsonSchema.additionalProperties === undefined) jsonSchema.additionalProperties = false
}

/** The value as the schema gives it, or what is wrong with it. */
export type Checked = { value: unknown } | { wrong: string }

/** Throws where a JSON Schema cannot be checked, and says why. */
export function checkOf(schema: unknown): (value: unknown) => Checked {
  if (isZod(schema))
    return (value) => {
      const { success, data, error } = schema.safeParse(value)
      return success ? { value: data } : { wrong: inWords(error!.issues) }
    }
  const check = schemaCheck(schema)
  return (value) => {
    const issues = check(value)
    return issues.length === 0 ? { value } : { wrong: inWords(issues) }
  }
}

/** More of them tell nobody more. */
const mostIssues = 8

const inWords = (issues: readonly Issue[]): string =>
  issues
    .slice(0, mostIssues)
    .map(({ path, message }) => (path.length === 0 ? message : `${path.map(String).join('.')}: ${message}`))
    .join('; ')
