/**
 * What describes a value: a zod 4 type, of octavo's zod or of the caller's own, or a JSON Schema. A zod type is known by its `_zod`, not
 * by its class: there may be several copies of zod in a program. It checks with its own methods; a JSON Schema is checked as the zod
 * type that it becomes.
 */
import * as z from '../zod.ts'

/** Of any copy and version of zod 4. */
export interface ZodLike {
  _zod: { output: unknown; input: unknown }
}

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
  const made = schema.toJSONSchema?.(options) ?? z.toJSONSchema(schema as unknown as z.ZodType, options)
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
  const type = isZod(schema)
    ? schema
    : (z.fromJSONSchema(schema as Parameters<typeof z.fromJSONSchema>[0]) as ZodMethods)
  return (value) => {
    const { success, data, error } = type.safeParse(value)
    if (success) return { value: data }
    return { wrong: error!.issues.slice(0, mostIssues).map(describe).join('; ') }
  }
}

/** More of them tell nobody more. */
const mostIssues = 8

const describe = ({ path, message }: Issue): string =>
  path.length === 0 ? message : `${path.map(String).join('.')}: ${message}`
