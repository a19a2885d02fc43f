/**
 * Random JSON Schemas with all keywords that are enforced: nested, recursive, with unions, patterns, formats, numbers with bounds, names and texts
 * of all kinds, two hundred optional properties. A seed always gives the same.
 */
import { randomBelow } from './grammar-tools.ts'

export type Random = (below: number) => number
export type SchemaObject = Record<string, unknown>

const names = ['name', 'id', 'größe', 'a"b', 'tags', 'next', '𝄞', 'is_ok', 'x y', 'count']
const texts = ['red', 'grün', '', 'a "quoted" one', '𝄞', 'line\nbreak', 'back\\slash', 'red2', 'true']
const patterns = [
  '^[a-z]+$',
  '^\\d{3}-\\d{4}$',
  '^(red|green)?$',
  'x',
  '^\\p{Lu}\\p{Ll}*$',
  '^[^"]{0,8}$',
  '^(ab)*c$',
  '^.{2,5}$',
]
const formats = ['date', 'time', 'date-time', 'uuid', 'email', 'ipv4', 'ipv6', 'uri']

export const some = <T>(random: Random, list: readonly T[]): T => list[random(list.length)]!
const subset = <T>(random: Random, list: readonly T[]): T[] => list.filter(() => random(3) > 0)

function numberSchema(random: Random): SchemaObject {
  const type = random(2) === 0 ? 'integer' : 'number'
  const schema: SchemaObject = { type }
  if (random(3) > 0) schema[random(3) === 0 ? 'exclusiveMinimum' : 'minimum'] = random(200) - 100
  if (random(3) > 0)
    schema[random(3) === 0 ? 'exclusiveMaximum' : 'maximum'] = 101 + random(300) + (type === 'number' ? 0.5 : 0)
  if (random(4) === 0) schema.multipleOf = type === 'integer' ? 1 + random(12) : some(random, [0.5, 0.01, 2, 0.25])
  return schema
}

function stringSchema(random: Random): SchemaObject {
  switch (random(6)) {
    case 0:
      return { type: 'string', minLength: random(3), maxLength: 3 + random(40) }
    case 1:
      return { type: 'string', pattern: some(random, patterns) }
    case 2:
      return { type: 'string', format: some(random, formats) }
    case 3:
      return { enum: [...new Set([some(random, texts), some(random, texts), random(9), null])] }
    case 4:
      return { type: 'string', pattern: '^[a-zé]*$', minLength: 1 + random(4), maxLength: 5 + random(8) }
    default:
      return { type: 'string', maxLength: 20 + random(30) }
  }
}

function arraySchema(random: Random, depth: number): SchemaObject {
  const schema: SchemaObject = { type: 'array', maxItems: 1 + random(4) }
  switch (random(5)) {
    case 0:
      return { ...schema, items: { enum: [1, 2, 3, 'é'] }, uniqueItems: true, minItems: random(2) }
    case 1:
      return { ...schema, items: { type: 'integer', minimum: 0, maximum: 9 }, contains: { minimum: 5 }, maxContains: 2 }
    case 2:
      return {
        type: 'array',
        prefixItems: [schemaOf(random, depth - 1), schemaOf(random, depth - 1)],
        items: false,
        minItems: 2,
      }
    default:
      return { ...schema, items: schemaOf(random, depth - 1), minItems: random(2) }
  }
}

function objectSchema(random: Random, depth: number): SchemaObject {
  const listed = subset(random, names)
  const schema: SchemaObject = {
    type: 'object',
    properties: Object.fromEntries(listed.map((name) => [name, schemaOf(random, depth - 1)])),
    required: subset(random, listed),
  }
  if (random(3) > 0) schema.additionalProperties = false
  else if (random(2) === 0) schema.additionalProperties = { type: 'integer', minimum: 0, maximum: 99 }
  const third = random(4)
  if (third === 0) schema.maxProperties = Math.max((schema.required as string[]).length, 1) + random(3)
  else if (third === 1 && listed.length > 1) schema.dependentRequired = { [listed[0]!]: [listed[1]!] }
  if (random(5) === 0) {
    schema.patternProperties = { '^x-': { type: 'boolean' } }
    schema.additionalProperties = false
  }
  return schema
}

function combined(random: Random, depth: number): SchemaObject {
  switch (random(4)) {
    case 0:
      return { anyOf: [schemaOf(random, depth - 1), schemaOf(random, depth - 1), { type: 'null' }] }
    case 1:
      return { allOf: [numberSchema(random), { type: ['integer', 'string'] }, { not: { enum: [1, 2, 3] } }] }
    case 2: {
      const kinds = ['cat', 'dog', 'fish'].map((kind) => ({
        type: 'object',
        properties: { kind: { const: kind }, value: schemaOf(random, depth - 1) },
        required: ['kind', 'value'],
        additionalProperties: false,
      }))
      return { oneOf: kinds }
    }
    default:
      return { $ref: '#/$defs/tree' }
  }
}

function schemaOf(random: Random, depth: number): SchemaObject {
  if (depth <= 0)
    return some(random, [numberSchema, stringSchema, () => ({ type: 'boolean' }), () => ({ type: 'null' })])(random)
  return some(random, [numberSchema, stringSchema, arraySchema, objectSchema, objectSchema, combined])(random, depth)
}

/** A schema of a whole document, with a recursive definition. */
export function documentSchema(seed: number): SchemaObject {
  const random = randomBelow(seed)
  const tree = {
    type: 'object',
    properties: {
      value: schemaOf(random, 0),
      children: { type: 'array', items: { $ref: '#/$defs/tree' }, maxItems: 2 },
    },
    required: ['value'],
    additionalProperties: false,
  }
  if (seed % 50 === 7) {
    const many = Array.from({ length: 200 }, (_, i) => [`property_${i}`, { type: 'integer', minimum: 0, maximum: 9 }])
    return { type: 'object', properties: Object.fromEntries(many), additionalProperties: false }
  }
  return { ...(seed % 3 === 0 ? objectSchema(random, 2) : schemaOf(random, seed % 5 === 0 ? 3 : 2)), $defs: { tree } }
}
