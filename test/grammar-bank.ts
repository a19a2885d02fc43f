/**
 * Schemas for each keyword with values near their borders. Which of them a schema allows is for ajv to say.
 */
export interface Case {
  keyword: string
  schema: unknown
  values: unknown[]
}

const scalars = [
  null,
  true,
  false,
  0,
  1,
  -1,
  1.5,
  -0.5,
  1e21,
  1e-7,
  '',
  'a',
  'aa',
  'é',
  '𝄞',
  '"\\',
  '\n\u001f',
  ' a',
  'a ',
] as const
const mixed = [...scalars, [], [1], ['a'], [[1]], {}, { a: 1 }, { a: 'x', b: [null] }]
const numbers = [
  -101, -100, -99.99, -11, -10, -9, -2, -1.5, -1, -0.5, -0.1, 0, 0.1, 0.5, 1, 1.5, 2, 9, 9.99, 10, 11, 99, 100, 101,
]
const strings = [
  '',
  'a',
  'b',
  'ab',
  'abc',
  'abcd',
  'A1',
  '12',
  '-',
  'ä',
  'äö',
  '𝄞',
  '𝄞𝄞',
  '𝄞𝄞𝄞',
  'a\nb',
  'a b',
  '"',
  '\\',
  'x'.repeat(40),
]
const lists = [
  [],
  [1],
  [1, 2],
  [1, 2, 3],
  [1, 'a'],
  ['a', 1],
  ['a'],
  [null],
  [1, 1],
  [2, 1, 2],
  [5],
  [5, 5],
  [5, 5, 5],
  [1, 5, 6],
]
const objects = [
  ...[{}, { a: 1 }, { a: 'x' }, { b: 1 }, { a: 1, b: 2 }, { a: 1, b: 'x' }, { c: 1 }, { a: 1, c: 1 }, { a: 1, c: 'x' }],
  ...[
    { a: 1, b: 2, c: 3 },
    { aa: 1 },
    { '': 1 },
    { ä: 1 },
    { 'a"b': 1 },
    { x1: 1 },
    { x1: 'x' },
    { a: 1, x1: 1 },
    { y: 1, z: 2 },
  ],
]

const of = (keyword: string, schemas: unknown[], values: readonly unknown[]): Case[] =>
  schemas.map((schema) => ({ keyword, schema, values: [...values] }))

export const bank: Case[] = [
  ...of('boolean schemas', [true, {}, { properties: { a: false } }, { items: false }], mixed),
  ...of(
    'type',
    [
      ...['null', 'boolean', 'integer', 'number', 'string', 'array', 'object'].map((type) => ({ type })),
      { type: ['string', 'null'] },
      { type: ['integer', 'array', 'boolean'] },
    ],
    mixed,
  ),
  ...of(
    'enum',
    [
      { enum: ['a', 'aa', 1, null] },
      { enum: [[1], { a: 1 }, true] },
      { enum: ['"\\', '\n\u001f', '𝄞', 'é'] },
      { enum: ['a', 'aa', 'aaa', 1, 2], type: 'string', minLength: 2 },
      { enum: [1, 2, 3, 'x'], not: { const: 2 } },
    ],
    [...mixed, 'aaa', 2, 3, 'x'],
  ),
  ...of('const', [{ const: 'a' }, { const: 1 }, { const: null }, { const: [[1]] }, { const: { a: 1 } }], mixed),
  ...of(
    'minimum',
    [-10, -1.5, -0.1, 0, 0.1, 1, 9.99, 100].flatMap((minimum) => [
      { type: 'number', minimum },
      { type: 'integer', minimum },
    ]),
    numbers,
  ),
  ...of(
    'maximum',
    [-10, -1.5, 0, 0.1, 10, 99.5].flatMap((maximum) => [
      { type: 'number', maximum },
      { type: 'integer', maximum },
    ]),
    numbers,
  ),
  ...of(
    'exclusiveMinimum',
    [-10, -0.5, 0, 0.1, 10].flatMap((exclusiveMinimum) => [
      { type: 'number', exclusiveMinimum },
      { type: 'integer', exclusiveMinimum },
    ]),
    numbers,
  ),
  ...of(
    'exclusiveMaximum',
    [-10, -0.5, 0, 0.1, 10].flatMap((exclusiveMaximum) => [
      { type: 'number', exclusiveMaximum, minimum: -100 },
      { type: 'integer', exclusiveMaximum },
    ]),
    numbers,
  ),
  ...of(
    'bounds together',
    [
      { type: 'integer', minimum: -10, maximum: 10, not: { minimum: -1, maximum: 1 } },
      { type: 'number', minimum: 0.1, maximum: 0.1 },
      { type: 'number', exclusiveMinimum: 0, exclusiveMaximum: 1 },
      { minimum: 5, type: ['integer', 'string'], maxLength: 2 },
    ],
    [...numbers, ...strings],
  ),
  ...of(
    'multipleOf',
    [
      ...[1, 2, 3, 7, 10].map((multipleOf) => ({ type: 'integer', multipleOf })),
      ...[0.5, 0.1, 0.01, 2.5].map((multipleOf) => ({ type: 'number', multipleOf })),
      { type: 'integer', multipleOf: 4, minimum: 10, maximum: 100 },
      { type: 'integer', not: { multipleOf: 2 } },
      { type: 'integer', allOf: [{ multipleOf: 2 }, { multipleOf: 3 }] },
    ],
    [...numbers, 12, 14, 0.07, 2.5, 5, 7.5, 1.25, 21, 96],
  ),
  ...of(
    'minLength',
    [0, 1, 2, 3].map((minLength) => ({ type: 'string', minLength })),
    strings,
  ),
  ...of(
    'maxLength',
    [0, 1, 2, 3, 39, 40].map((maxLength) => ({ type: 'string', maxLength })),
    strings,
  ),
  ...of(
    'pattern',
    [
      ...[
        'a',
        '^a',
        'b$',
        '^ab?c*$',
        '^[a-c]{2,3}$',
        '^(ab|cd)+$',
        '\\d',
        '^\\S+$',
        '^.$',
        '^..$',
        '^[^a]*$',
        '^\\p{L}+$',
        '^\\w+$',
      ],
      ...['^(?=.*b)(?!.*d)[a-d]+$', 'a|^b|c$', '^$', '^(a|b$)', '[\\u{1D11E}]', '^\\x61', '^x{40}$', '(^a)?b'],
    ].map((pattern) => ({ type: 'string', pattern })),
    strings,
  ),
  ...of(
    'pattern and lengths',
    [
      { type: 'string', pattern: '^[a-z]*$', minLength: 2, maxLength: 3 },
      { type: 'string', pattern: '^(ab)*$', maxLength: 5 },
      { type: 'string', pattern: 'b', minLength: 3 },
      { type: 'string', allOf: [{ pattern: 'a' }, { pattern: 'b' }], not: { pattern: 'c' } },
      { type: 'string', not: { enum: ['a', 'ab'] }, maxLength: 3 },
    ],
    [...strings, 'abab', 'ababab', 'ba', 'bab'],
  ),
  ...of(
    'items',
    [
      { type: 'array', items: { type: 'integer' } },
      { type: 'array', items: false },
    ],
    lists,
  ),
  ...of(
    'prefixItems',
    [
      { type: 'array', prefixItems: [{ type: 'integer' }, { type: 'string' }] },
      { type: 'array', prefixItems: [{ type: 'integer' }], items: { const: 'a' } },
      { type: 'array', prefixItems: [{ type: 'integer' }, {}], items: false, minItems: 1 },
      { type: 'array', prefixItems: [{ type: 'integer' }, false] },
    ],
    lists,
  ),
  ...of(
    'minItems, maxItems',
    [
      { type: 'array', minItems: 1 },
      { type: 'array', maxItems: 2 },
      { type: 'array', minItems: 2, maxItems: 2, items: { type: 'integer' } },
      { type: 'array', maxItems: 0 },
    ],
    lists,
  ),
  ...of(
    'contains',
    [
      { type: 'array', contains: { const: 5 } },
      { type: 'array', contains: { const: 5 }, minContains: 2 },
      { type: 'array', contains: { const: 5 }, maxContains: 1 },
      { type: 'array', contains: { const: 5 }, minContains: 0, maxContains: 2, maxItems: 3 },
      { type: 'array', items: { type: 'integer' }, contains: { minimum: 2 }, minItems: 2 },
      { type: 'array', allOf: [{ contains: { const: 1 } }, { contains: { const: 2 } }] },
      { type: 'array', not: { contains: { const: 5 } } },
      { type: 'array', not: { items: { type: 'integer' } } },
      { type: 'array', not: { prefixItems: [{ type: 'integer' }, { type: 'string' }] } },
    ],
    lists,
  ),
  ...of(
    'uniqueItems',
    [
      { type: 'array', items: { enum: [1, 2, 3] }, uniqueItems: true },
      { type: 'array', items: { enum: [1, 5, 'a'] }, uniqueItems: true, minItems: 2 },
      { type: 'array', prefixItems: [{ const: 1 }], items: { enum: [1, 2] }, uniqueItems: true, maxItems: 2 },
      { type: 'array', uniqueItems: true, maxItems: 1 },
      { type: 'array', uniqueItems: false, maxItems: 2 },
      { type: 'array', items: { enum: [1, 2, 5] }, uniqueItems: true, contains: { const: 5 } },
    ],
    [...lists, [3, 2, 1], [5, 1], [1, 'a', 5], [2, 5, 1]],
  ),
  ...of(
    'properties, required',
    [
      { type: 'object', properties: { a: { type: 'integer' }, b: { type: 'integer' } } },
      { type: 'object', properties: { a: { type: 'integer' } }, required: ['a'] },
      { type: 'object', properties: { a: {}, b: {} }, required: ['b'] },
      { type: 'object', required: ['a', 'c'] },
      { type: 'object', properties: { a: false, b: true } },
      { type: 'object', properties: { 'a"b': { type: 'integer' }, ä: { type: 'string' }, '': {} } },
    ],
    objects,
  ),
  ...of(
    'additionalProperties',
    [
      { type: 'object', properties: { a: {} }, additionalProperties: false },
      { type: 'object', additionalProperties: { type: 'integer' } },
      { type: 'object', properties: { a: {} }, additionalProperties: { type: 'string' }, required: ['a'] },
      { type: 'object', properties: { a: {} }, unevaluatedProperties: false },
    ],
    objects,
  ),
  ...of(
    'unevaluatedProperties, unevaluatedItems',
    [
      { type: 'object', allOf: [{ properties: { a: { type: 'integer' } } }], unevaluatedProperties: false },
      {
        type: 'object',
        $ref: '#/$defs/a',
        properties: { b: {} },
        unevaluatedProperties: { type: 'string' },
        $defs: { a: { properties: { a: {} } } },
      },
      { type: 'object', allOf: [{ patternProperties: { '^x': {} } }], unevaluatedProperties: false },
      { type: 'object', allOf: [{ additionalProperties: true }], unevaluatedProperties: false },
      { type: 'object', properties: { a: {} }, anyOf: [{ required: ['a'] }], unevaluatedProperties: false },
      { type: 'array', allOf: [{ prefixItems: [{ type: 'integer' }] }], unevaluatedItems: false },
      { type: 'array', prefixItems: [true], unevaluatedItems: { type: 'integer' } },
      { type: 'array', allOf: [{ items: { type: 'integer' } }], unevaluatedItems: false },
    ],
    [...objects, ...lists],
  ),
  ...of(
    'patternProperties',
    [
      { type: 'object', patternProperties: { '^x\\d$': { type: 'integer' } } },
      { type: 'object', patternProperties: { '^x\\d$': { type: 'integer' } }, additionalProperties: false },
      {
        type: 'object',
        patternProperties: { x: { type: 'integer' }, '\\d': { minimum: 1 } },
        additionalProperties: { type: 'string' },
      },
      { type: 'object', properties: { x1: { minimum: 1 } }, patternProperties: { '^x': { type: 'integer' } } },
    ],
    objects,
  ),
  ...of(
    'propertyNames',
    [
      { type: 'object', propertyNames: { maxLength: 1 } },
      { type: 'object', propertyNames: { pattern: '^[a-c]' } },
      { type: 'object', propertyNames: { enum: ['a', 'b', 'x1'] }, additionalProperties: { type: 'integer' } },
      { type: 'object', properties: { a: {}, aa: {} }, propertyNames: { maxLength: 1 } },
    ],
    objects,
  ),
  ...of(
    'minProperties, maxProperties',
    [
      { type: 'object', minProperties: 1 },
      { type: 'object', maxProperties: 1 },
      { type: 'object', maxProperties: 0 },
      { type: 'object', properties: { a: {}, b: {}, c: {} }, additionalProperties: false, minProperties: 2 },
      {
        type: 'object',
        properties: { a: {}, b: {}, c: {} },
        additionalProperties: false,
        minProperties: 2,
        maxProperties: 2,
      },
      { type: 'object', properties: { a: {}, b: {} }, required: ['b'], minProperties: 2, maxProperties: 2 },
      { type: 'object', properties: { a: {}, b: {}, c: {} }, required: ['c'], maxProperties: 2 },
    ],
    objects,
  ),
  ...of(
    'dependentRequired, dependentSchemas',
    [
      { type: 'object', properties: { a: {}, b: {}, c: {} }, dependentRequired: { a: ['b'] } },
      { type: 'object', properties: { a: {}, b: {}, c: {} }, dependentRequired: { a: ['b'], b: ['c'] } },
      {
        type: 'object',
        properties: { a: {}, c: {} },
        dependentSchemas: { a: { properties: { c: { type: 'integer' } }, required: ['c'] } },
      },
      { dependentRequired: { a: ['b'] }, not: { type: ['string', 'null', 'boolean', 'number', 'array'] } },
    ],
    objects,
  ),
  ...of(
    'allOf',
    [
      { allOf: [{ type: 'integer' }, { minimum: 1 }, { maximum: 10 }] },
      { allOf: [{ type: ['string', 'integer'] }, { type: ['integer', 'null'] }] },
      {
        allOf: [
          { properties: { a: { type: 'integer' } }, required: ['a'] },
          { properties: { a: { minimum: 1 }, b: {} } },
        ],
        type: 'object',
      },
      { allOf: [{ enum: [1, 2, 'a'] }, { enum: [2, 'a', 3] }] },
      { type: 'array', allOf: [{ prefixItems: [{ type: 'integer' }] }, { items: { minimum: 1 } }] },
    ],
    [...numbers, ...strings, ...objects, ...lists, null],
  ),
  ...of(
    'anyOf',
    [
      {
        anyOf: [
          { type: 'string', maxLength: 1 },
          { type: 'integer', minimum: 10 },
        ],
      },
      { anyOf: [{ const: 1 }, { const: 'a' }, { type: 'null' }] },
      { type: 'object', anyOf: [{ required: ['a'] }, { required: ['b'] }] },
      {
        type: 'object',
        properties: { a: {}, b: {} },
        anyOf: [{ properties: { a: { type: 'integer' } } }, { properties: { b: { type: 'integer' } } }],
      },
    ],
    [...numbers, ...strings, ...objects, null],
  ),
  ...of(
    'oneOf',
    [
      { oneOf: [{ type: 'integer' }, { type: 'number', minimum: 2 }] },
      {
        oneOf: [
          { type: 'string', maxLength: 2 },
          { type: 'string', pattern: '^a' },
        ],
      },
      { type: 'object', properties: { a: {}, b: {} }, oneOf: [{ required: ['a'] }, { required: ['b'] }] },
      {
        oneOf: [
          { type: 'object', properties: { a: { const: 1 }, b: {} }, required: ['a'], additionalProperties: false },
          { type: 'object', properties: { a: { const: 'x' }, c: {} }, required: ['a'], additionalProperties: false },
        ],
      },
      {
        oneOf: [
          { type: 'object', properties: { a: {} }, additionalProperties: false },
          { type: 'object', properties: { a: {}, b: {} }, additionalProperties: false },
        ],
      },
      { oneOf: [true, { type: 'string' }] },
    ],
    [...numbers, ...strings, ...objects],
  ),
  ...of(
    'not',
    [
      { not: { type: 'string' } },
      { not: { enum: [1, 'a', null] } },
      { not: { const: [[1]] } },
      { not: { const: { a: 1 } }, type: 'object' },
      { type: 'object', not: { properties: { a: {} }, additionalProperties: false } },
      { type: 'object', not: { additionalProperties: false }, maxProperties: 1 },
      { type: 'object', not: { required: ['a'] } },
      { type: 'object', not: { required: ['a', 'b'] } },
      { type: 'object', not: { properties: { a: { type: 'integer' } } } },
      { type: 'object', not: { properties: { a: { type: 'integer' } }, required: ['a'] } },
      { not: { not: { type: 'integer' } } },
      { not: { anyOf: [{ type: 'string' }, { type: 'object' }] } },
      { not: { allOf: [{ type: 'integer' }, { minimum: 1 }] }, type: ['integer', 'string'] },
      { type: 'string', not: { minLength: 2 } },
      { type: 'array', not: { minItems: 2 } },
    ],
    [...mixed, ...objects, ...lists],
  ),
  ...of(
    'if, then, else',
    // biome-ignore-start lint/suspicious/noThenProperty: a keyword of JSON Schema
    [
      { type: 'integer', if: { minimum: 10 }, then: { multipleOf: 10 }, else: { maximum: 2 } },
      {
        type: 'object',
        properties: { a: {}, b: {} },
        if: { properties: { a: { const: 1 } }, required: ['a'] },
        then: { required: ['b'] },
      },
      { if: { type: 'string' }, then: { maxLength: 1 }, else: { type: 'integer' } },
    ],
    // biome-ignore-end lint/suspicious/noThenProperty: as above
    [...numbers, ...strings, ...objects, 20],
  ),
  ...of(
    '$ref',
    [
      { $ref: '#/$defs/a', $defs: { a: { type: 'integer' } } },
      { type: 'object', properties: { a: { $ref: '#/$defs/x%25~1y' } }, $defs: { 'x%/y': { type: 'integer' } } },
      {
        $ref: '#/$defs/list',
        $defs: { list: { type: 'array', items: { anyOf: [{ type: 'integer' }, { $ref: '#/$defs/list' }] } } },
      },
      {
        $ref: '#n',
        $defs: {
          n: { $anchor: 'n', type: 'object', properties: { a: { anyOf: [{ type: 'integer' }, { $ref: '#n' }] } } },
        },
      },
      { $ref: '#/$defs/a', minimum: 5, $defs: { a: { type: 'integer' } } },
      { $id: 'http://example.com/root', $ref: 'part', $defs: { part: { $id: 'part', type: 'string' } } },
      {
        allOf: [{ $ref: '#/$defs/t' }, { $ref: '#/$defs/u' }],
        $defs: {
          t: { type: ['array', 'integer'], items: { $ref: '#/$defs/t' }, maxItems: 2 },
          u: { type: ['array', 'integer'], items: { $ref: '#/$defs/u' }, minItems: 1 },
        },
      },
    ],
    [...mixed, ...numbers, ...lists, [[[1], 2]], [[[]]], { a: { a: { a: 1 } } }, { a: { a: 'x' } }],
  ),
]
