/** Schemas, patterns and rules that ask for too much: each ends with a typed error, or in a grammar that does no harm. */
import { describe, expect, it } from 'vitest'
import { OctavoError } from '../lib/base/errors.ts'
import { native } from '../lib/base/native.ts'
import { compileGrammar, type GrammarSource } from '../lib/grammar/compile.ts'
import { byteVocabulary, randomBelow } from './grammar-tools.ts'

const nested = (depth: number, wrap: (inner: unknown) => unknown): unknown =>
  Array.from({ length: depth }).reduce<unknown>((inner) => wrap(inner), {})
const range = <T>(count: number, make: (i: number) => T): T[] => Array.from({ length: count }, (_, i) => make(i))
const record = (count: number, make: (i: number) => unknown) =>
  Object.fromEntries(range(count, (i) => [`p${i}`, make(i)]))
const string = (pattern: string, more = {}) => ({ type: 'string', pattern, ...more })

const schemas: Record<string, unknown> = {
  'deep items': nested(1000, (items) => ({ items })),
  'deep allOf': nested(1000, (inner) => ({ allOf: [inner] })),
  'deep not': nested(255, (inner) => ({ not: inner })),
  'a product of alternatives': {
    allOf: range(30, (i) => ({ anyOf: [{ required: [`a${i}`] }, { required: [`b${i}`] }] })),
  },
  'alternatives that overlap': { oneOf: range(60, (i) => ({ properties: record(10, (j) => ({ minimum: i + j })) })) },
  'many dependencies': { type: 'object', dependentRequired: record(40, (i) => [`p${(i + 1) % 40}`]) },
  'a long chain of references': {
    $ref: '#/$defs/p0',
    $defs: record(3000, (i) => (i === 2999 ? { type: 'null' } : { $ref: `#/$defs/p${i + 1}` })),
  },
  'references in a circle': {
    $ref: '#/$defs/p0',
    $defs: record(100, (i) => ({ allOf: [{ $ref: `#/$defs/p${(i + 1) % 100}` }] })),
  },
  'a circle of alternatives': { anyOf: [{ $ref: '#' }, { type: 'null' }] },
  'a circle through not': { not: { $ref: '#' } },
  'no end to objects': { type: 'object', properties: { a: { $ref: '#' } }, required: ['a'] },
  'intersections of recursive schemas': {
    allOf: range(8, (i) => ({ $ref: `#/$defs/p${i}` })),
    $defs: record(8, (i) => ({
      type: 'array',
      items: { anyOf: range(8, (j) => ({ $ref: `#/$defs/p${(i + j) % 8}` })) },
    })),
  },
  'a million names': { type: 'object', properties: record(100_000, () => ({})) },
  'a long enum': { enum: range(50_000, (i) => `value ${i}`) },
  'a long text': { const: 'x'.repeat(1_500_000) },
  'too long a document': { description: 'x'.repeat(3_000_000) },
  'a huge array': { type: 'array', minItems: 1e9, contains: { const: 1 } },
  'arrays of huge counts': { type: 'array', minItems: 1e9, maxItems: 2e9, items: { type: 'null' } },
  permutations: { type: 'array', items: { enum: range(40, (i) => i) }, uniqueItems: true, minItems: 20 },
  'much contained': { type: 'array', allOf: range(12, (i) => ({ contains: { const: i } })) },
  'counts of what is contained': { type: 'array', contains: { const: 1 }, minContains: 20_000, maxContains: 30_000 },
  'coprime multiples': { type: 'integer', allOf: [9973, 9967, 9949, 9941].map((multipleOf) => ({ multipleOf })) },
  'many excluded numbers': { type: 'number', not: { enum: range(5000, (i) => i / 7) } },
  'bounds of 300 digits': { type: 'number', minimum: 1e-300, maximum: 1e300, multipleOf: 1e-300 },
  'many patterns of names': {
    type: 'object',
    patternProperties: Object.fromEntries(range(40, (i) => [`.*a.{${i}}b`, { type: 'integer' }])),
  },
  'many excluded texts': { type: 'string', not: { enum: range(3000, (i) => `${i}`.repeat(20)) }, pattern: '^\\d+$' },
}

const patterns: Record<string, unknown> = {
  'a subset for each place': string('(a|b)*a(a|b){20}'),
  'nested counts': string('((x{1,100}){1,100}){1,100}'),
  'nested stars': string('^(((a*)*)*)*$'),
  'a product of stars': string(`^${'(a*b*)*'.repeat(200)}$`),
  'counts of alternatives': string('^(a|ab|abc|abcd){500}$'),
  'a huge count': string('^(ab){100000}$'),
  'huge counts of everything': string('.{1,20000}x.{1,20000}'),
  'many classes': string(
    range(400, (i) => `[${String.fromCodePoint(0x400 + i)}-${String.fromCodePoint(0x900 + i)}]`).join('|'),
  ),
  'properties in counts': string('^[\\p{L}\\p{N}]{1,300}[\\p{Lu}\\p{Nd}]{1,300}$'),
  'many properties': string(
    `[${[...'Latn Grek Cyrl Armn Hebr Arab Syrc Thaa Deva Beng Guru Gujr Orya Taml Telu Knda Mlym Sinh Thai'.split(' ')]
      .map((name) => `\\p{Script=${name}}\\p{scx=${name}}`)
      .join('')}]`,
  ),
  'a property without an end': string('\\pxLx\\_'),
  'no property': string('\\p{Nothing}\\_'),
  'deep groups': string(`${'('.repeat(2000)}a${')'.repeat(2000)}`),
  'a long pattern': string('a'.repeat(100_000)),
  'patterns together': { type: 'string', allOf: range(12, (i) => ({ pattern: `a.{${i + 3}}b` })) },
  'lookaheads together': string(`^${range(12, (i) => `(?=.*a.{${i}}b)`).join('')}.*$`),
  'a length beside a pattern with gaps': string('^(abc)*$', { minLength: 1_000_000, maxLength: 3_000_000 }),
  backtracking: string('^(a+)+$', { maxLength: 100_000 }),
  'names that backtrack': {
    type: 'object',
    properties: { [`${'a'.repeat(30)}!`]: {} },
    patternProperties: { '^(a+)+$': { type: 'integer' } },
  },
}

const grammars: Record<string, GrammarSource> = {
  'a regex of everything': { kind: 'regex', text: '(.*a){12}(.*b){12}' },
  'a regex that fails': { kind: 'regex', text: '(?=' },
  'many choices': { kind: 'choice', texts: range(100_000, (i) => `choice number ${i}`) },
  'left recursion far away': {
    kind: 'ebnf',
    text: range(2000, (i) => `r${i} ::= r${(i + 1) % 2000} "x"?`)
      .join('\n')
      .replace('r0', 'root')
      .replaceAll('r0 ', 'root '),
  },
  'deep groups of rules': { kind: 'ebnf', text: `root ::= ${'('.repeat(1000)}"a"${')'.repeat(1000)}` },
  'all that may be empty': {
    kind: 'ebnf',
    text: `root ::= ${range(40, (i) => `a${i}?`).join(' ')} "x"\n${range(40, (i) => `a${i} ::= [a-z]{0,9}`).join('\n')}`,
  },
  'ambiguous rules': { kind: 'ebnf', text: 'root ::= "a" | "a" root "a"? | "a" root root' },
  'counts within counts': { kind: 'ebnf', text: 'root ::= (("a" "b"?){1000} | ("a"? "b"){1000}){1000}' },
  'nothing but names': { kind: 'ebnf', text: range(5000, (i) => `a${i} ::= a${i + 1} a${i + 1}`).join('\n') },
}

/** A walk of bytes that follows masks; the grammar may be too large for its bounds, and says so. */
function use(source: GrammarSource): void {
  const grammar = new (native().Grammar)({ ...compileGrammar(source), dropSpace: false }, byteVocabulary)
  const random = randomBelow(1)
  const tokens: number[] = []
  for (let i = 0; i < 60; i++) {
    const mask = grammar.mask(Int32Array.from(tokens))
    const allowed = Array.from({ length: 256 }, (_, byte) => byte).filter(
      (byte) => ((mask?.[byte >> 5] ?? 0) >>> (byte & 31)) & 1,
    )
    if (allowed.length === 0) return
    tokens.push(allowed[random(allowed.length)]!)
  }
  expect(grammar.size().bytes).toBeLessThan(2 ** 27)
}

function outcome(source: GrammarSource): string {
  try {
    use(source)
    return 'a grammar'
  } catch (error) {
    if (
      error instanceof OctavoError &&
      error.code === 'SCHEMA_UNSUPPORTED' &&
      typeof error.details.keyword === 'string'
    )
      return 'refused'
    throw error
  }
}

describe('hostile', () => {
  const all = {
    ...Object.fromEntries(
      Object.entries({ ...schemas, ...patterns }).map(([name, schema]) => [
        name,
        { kind: 'schema', text: JSON.stringify(schema) } as const,
      ]),
    ),
    ...grammars,
  }
  const outcomes = new Map<string, string>()
  it.each(Object.keys(all))('%s', (name) => {
    outcomes.set(name, outcome(all[name]!))
  })

  it('some are refused, some are harmless', () => {
    expect(outcomes.size).toBeGreaterThan(50)
    expect(new Set(outcomes.values())).toEqual(new Set(['refused', 'a grammar']))
  })
})
