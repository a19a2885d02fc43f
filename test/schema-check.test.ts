/** Checks of arguments against JSON Schemas: ajv is the truth. */
import { Ajv2020 } from 'ajv/dist/2020.js'
import { describe, expect, it } from 'vitest'
import { schemaCheck } from '../lib/tools/schema-check.ts'
import { random as generator } from './random.ts'

const ajv = new Ajv2020({ strict: false, multipleOfPrecision: 9, validateFormats: false, logger: false })

type Random = (n: number) => number
const keys = ['a', 'b', 'ab', 'c']
const one = <T>(random: Random, list: T[]): T => list[random(list.length)]!
const some = <T>(random: Random, n: number, make: () => T): T[] => Array.from({ length: random(n) }, make)

function value(random: Random, depth = 0): unknown {
  switch (random(depth > 2 ? 5 : 7)) {
    case 0:
      return one(random, ['', 'a', 'ab', 'abc', '😀', 'b1'])
    case 1:
      return one(random, [0, 1, -1, 2, 3, 1.5, 0.07, 10, 1e21])
    case 2:
      return random(2) === 0
    case 3:
      return null
    case 4:
      return one<unknown>(random, [[], {}, 'x', 7])
    case 5:
      return some(random, 4, () => value(random, depth + 1))
    default:
      return Object.fromEntries(some(random, 4, () => [one(random, keys), value(random, depth + 1)]))
  }
}

function schema(random: Random, depth = 0): unknown {
  if (depth > 3 || random(12) === 0) return random(4) > 0
  const inner = () => schema(random, depth + 1)
  const named = () => Object.fromEntries(some(random, 3, () => [one(random, keys), inner()]))
  const list = () => [inner(), ...some(random, 3, inner)]
  const makers: Record<string, () => unknown> = {
    type: () =>
      one<unknown>(random, ['object', 'array', 'string', 'number', 'integer', 'boolean', 'null', ['string', 'object']]),
    enum: () =>
      [value(random), value(random), 'a'].filter(
        (item, i, all) => all.findIndex((other) => JSON.stringify(other) === JSON.stringify(item)) === i,
      ),
    const: () => value(random),
    minimum: () => random(4),
    maximum: () => random(4),
    exclusiveMinimum: () => random(4),
    exclusiveMaximum: () => random(4),
    multipleOf: () => one(random, [1, 2, 0.5]),
    minLength: () => random(3),
    maxLength: () => random(3),
    pattern: () => one(random, ['^a', 'b$', '^.$', '\\d']),
    minItems: () => random(3),
    maxItems: () => random(3),
    uniqueItems: () => random(2) === 0,
    minProperties: () => random(3),
    maxProperties: () => random(3),
    required: () => [...new Set(some(random, 3, () => one(random, keys)))],
    properties: named,
    patternProperties: () => ({ [one(random, ['^a', 'b$'])]: inner() }),
    additionalProperties: inner,
    propertyNames: inner,
    dependentRequired: () => ({ [one(random, keys)]: [one(random, keys)] }),
    dependentSchemas: named,
    prefixItems: list,
    items: inner,
    contains: inner,
    minContains: () => random(3),
    maxContains: () => random(3),
    allOf: list,
    anyOf: list,
    oneOf: list,
    not: inner,
    if: inner,
    // biome-ignore lint/suspicious/noThenProperty: a keyword
    then: inner,
    else: inner,
    title: () => 'x',
    $ref: () => '#/$defs/d',
  }
  const chosen = some(random, 5, () => one(random, Object.keys(makers)))
  // ajv finds an element of a kind in an empty array where there are both.
  const names = chosen.includes('contains') ? chosen.filter((name) => name !== 'prefixItems') : chosen
  return Object.fromEntries(names.map((name) => [name, makers[name]!()]))
}

/** Undefined where ajv's own code fails (it keeps count of evaluated properties in what it never made). */
function verdict(validate: (data: unknown) => unknown, data: unknown): unknown {
  try {
    return validate(data)
  } catch (error) {
    if (error instanceof TypeError || error instanceof ReferenceError) return undefined
    throw error
  }
}

describe('a check of a JSON Schema', () => {
  const rounds = process.env.OCTAVO_DEEP ? 1500 : 500
  it(`says what ajv says, of ${rounds} random schemas and 20 values each`, () => {
    const random = generator(1)
    let [fine, wrong, broken] = [0, 0, 0]
    for (let round = 0; round < rounds; round++) {
      const inner = schema(random)
      const root =
        typeof inner === 'boolean'
          ? inner
          : { ...(inner as object), $defs: { d: one<unknown>(random, [{ type: 'string' }, { maxItems: 1 }]) } }
      const [mine, its] = [schemaCheck(root), ajv.compile(root as object)]
      for (let i = 0; i < 20; i++) {
        const data = value(random)
        const issues = mine(data)
        const truth = verdict(its, data)
        if (truth === undefined) {
          broken++
          continue
        }
        expect([root, data, issues.length === 0]).toEqual([root, data, truth])
        if (issues.length === 0) fine++
        else wrong++
      }
    }
    expect(Math.min(fine, wrong)).toBeGreaterThan((10 / 3) * rounds)
    expect(broken).toBeLessThan(rounds / 15)
  })

  it('says where it is wrong', () => {
    const check = schemaCheck({
      type: 'object',
      properties: { city: { type: 'string' }, days: { type: 'array', items: { type: 'integer', minimum: 1 } } },
      required: ['city'],
      additionalProperties: false,
    })
    expect(check({ days: [1, 0, 1.5], x: 1 })).toEqual([
      { path: ['days', 1], message: 'expected at least 1' },
      { path: ['days', 2], message: 'expected integer' },
      { path: ['city'], message: 'is missing' },
      { path: ['x'], message: 'must not be there' },
    ])
  })

  it.each([
    [{ unevaluatedProperties: false }, 'there is no check of #/unevaluatedProperties'],
    [{ properties: { a: { $dynamicRef: '#x' } } }, 'there is no check of #/properties/a/$dynamicRef'],
    [{ $ref: 'http://example.org/x' }, 'there is no check of a reference to http://example.org/x'],
    [{ $ref: '#/$defs/x' }, 'there is nothing at #/$defs/x'],
    [{ items: 5 }, 'expected a schema at #/items'],
    [{ anyOf: {} }, 'expected an array at #/anyOf'],
    [{ pattern: '(' }, /regular expression/],
    [[], 'expected a schema at #'],
  ])('refuses what it cannot check: %j', (given, message) => {
    expect(() => schemaCheck(given)).toThrow(message)
  })

  it('gives up a schema that refers to itself without end', () => {
    expect(() => schemaCheck({ $ref: '#' })(1)).toThrow('without end')
    const tree = schemaCheck({ type: 'object', properties: { next: { $ref: '#' } } })
    expect(tree({ next: { next: {} } })).toEqual([])
    expect(tree({ next: { next: 1 } })).toEqual([{ path: ['next', 'next'], message: 'expected object' }])
  })
})
