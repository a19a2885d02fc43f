/** Schemas and grammars as sets of texts: what they allow is what ajv, RegExp and a list say. */
import { describe, expect, it } from 'vitest'
import { propertySet } from '../lib/grammar/automata/unicode-properties.ts'
import { compileGrammar } from '../lib/grammar/compile.ts'
import { bank } from './grammar-bank.ts'
import { formatTexts } from './grammar-formats.ts'
import { refusals } from './grammar-refusals.ts'
import { accepts, byteGrammar, ofSchema, randomBelow, validator } from './grammar-tools.ts'
import { refusal } from './refusal.ts'

/** JSON.stringify writes numbers beyond these with an exponent, which numbers with conditions do not have. */
const spelled = (value: unknown): boolean => !/\de[+-]/.test(JSON.stringify(value) ?? '')

/** An object with its properties in every order: those that a schema lists must come first. */
function orders(value: unknown): unknown[] {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return [value]
  const permutations = (list: [string, unknown][]): [string, unknown][][] =>
    list.length === 0
      ? [[]]
      : list.flatMap((one, i) => permutations(list.toSpliced(i, 1)).map((rest) => [one, ...rest]))
  return permutations(Object.entries(value)).map((entries) => Object.fromEntries(entries))
}

describe('a schema allows what ajv allows', () => {
  const keywords = [...new Set(bank.map(({ keyword }) => keyword))]
  it.each(keywords)('%s', (keyword) => {
    const verdicts = new Set<boolean>()
    const wrong: unknown[] = []
    for (const { schema, values } of bank.filter((one) => one.keyword === keyword)) {
      const valid = validator(schema)
      const grammar = ofSchema(schema)
      for (const value of values) {
        if (!spelled(value) && JSON.stringify(schema) !== '{"type":"number"}') continue
        const expected = valid(value)
        verdicts.add(expected)
        for (const indent of [0, 2]) {
          const texts = orders(value).map((one) => JSON.stringify(one, null, indent))
          if (texts.some((text) => accepts(grammar, text)) !== expected) wrong.push([schema, texts[0], expected])
        }
      }
    }
    expect(wrong).toEqual([])
    expect(verdicts.size).toBe(2)
  })

  it.each(Object.entries(formatTexts))('format %s', (format, texts) => {
    const schema = { type: 'string', format }
    const valid = validator(schema)
    const grammar = ofSchema(schema)
    expect(new Set(texts.map((text) => valid(text))).size).toBe(2)
    for (const text of texts) expect([text, accepts(grammar, JSON.stringify(text))]).toEqual([text, valid(text)])
  })

  it('an unknown format is an annotation', () => {
    expect(accepts(ofSchema({ type: 'string', format: 'isbn' }), '"x"')).toBe(true)
  })
})

describe('properties of Unicode', () => {
  it.each(['L', 'Nd', 'Cn', 'Co', 'Noncharacter_Code_Point', 'Script=Greek', 'Emoji'])('%s', (name) => {
    const set = propertySet(name)
    const one = new RegExp(`\\p{${name}}`, 'u')
    const wrong: number[] = []
    for (let c = 0, at = 0; c <= 0x10ffff; c++) {
      if (c === 0xd800) c = 0xe000
      while (at < set.length && c > set[at + 1]!) at += 2
      if ((at < set.length && c >= set[at]!) !== one.test(String.fromCodePoint(c))) wrong.push(c)
    }
    expect(wrong).toEqual([])
  })

  it('a backslash and a p that begin no property are a p', () => {
    const grammar = ofSchema({ type: 'string', pattern: '^\\pxLx\\_$' })
    expect(['"pxLx_"', '"Lx_"', '"x"'].map((text) => accepts(grammar, text))).toEqual([true, false, false])
    expect(refusal(() => ofSchema({ type: 'string', pattern: '\\p{Nothing}\\_' })).details).toMatchObject({
      ...{ keyword: 'pattern', path: '/pattern' },
    })
  })
})

describe('what cannot be enforced exactly', () => {
  it.each(refusals)('%j is refused for %s at "%s"', (schema, keyword, path) => {
    const { code, details } = refusal(() => ofSchema(schema))
    expect([code, details.keyword, details.path]).toEqual(['SCHEMA_UNSUPPORTED', keyword, path])
  })
})

describe('the spelling of JSON', () => {
  const text = ofSchema({ type: 'string' })
  it.each(['"\\u00e9"', '"\\/"', '"\\ud834\\udd1e"', '"\\uD834\\uDD1E"', '"é𝄞"', '"\\n"', '"\u007f"'])(
    'a string may be %s',
    (spelling) => {
      expect(accepts(text, spelling)).toBe(true)
      expect(typeof JSON.parse(spelling)).toBe('string')
    },
  )
  it.each(['"\\ud834"', '"\\udd1e"', '"\\x"', '"\n"', '"\\u00g0"', '"a'])('no string is %j', (spelling) => {
    expect(accepts(text, spelling)).toBe(false)
  })

  it('escapes of one character count as one', () => {
    const two = ofSchema({ type: 'string', minLength: 2, maxLength: 2 })
    for (const good of ['"\\ud834\\udd1e\\n"', '"𝄞é"', '"\\u0061\\u0062"']) expect(accepts(two, good)).toBe(true)
    for (const bad of ['"\\ud834\\udd1e"', '"𝄞"', '"abc"']) expect(accepts(two, bad)).toBe(false)
  })

  it('a name has one spelling, so that none is smuggled past its schema', () => {
    const grammar = ofSchema({ type: 'object', properties: { a: { type: 'integer' } } })
    expect(accepts(grammar, '{"\\u0061":"x"}')).toBe(false)
    expect(accepts(grammar, '{"a":1,"a":2}')).toBe(false)
  })

  it('white space is bounded', () => {
    const grammar = ofSchema({ type: 'array' })
    for (const good of ['[1,2]', '[1, 2]', '[\n  1,\n  2\n]', '[\n\t\t1\n]', `[\n${' '.repeat(48)}1]`])
      expect(accepts(grammar, good)).toBe(true)
    for (const bad of ['[ ]x', '[1 ,2]', '[1,  2]', '[\n\n1]', ' [1]', '[1] ', `[\n${' '.repeat(49)}1]`])
      expect(accepts(grammar, bad)).toBe(false)
  })

  it('digits are bounded, and no number is infinite', () => {
    const any = ofSchema({ type: 'number' })
    for (const good of ['9.9e307', '-1.5e-300', '0.1', '5e-324', '123e287', '0E0', '123456789012345678901']) {
      expect([good, accepts(any, good)]).toEqual([good, true])
    }
    for (const bad of ['01', '1.', '.5', '+1', '1e', '1e309', '1e308', '-', 'NaN', '1'.repeat(22)])
      expect([bad, accepts(any, bad)]).toEqual([bad, false])
    const whole = ofSchema({ type: 'integer' })
    for (const good of ['0', '-1', '9007199254740991', '-9007199254740991']) expect(accepts(whole, good)).toBe(true)
    for (const bad of ['9007199254740992', '-0', '1.0', '1e2', '00']) expect(accepts(whole, bad)).toBe(false)
  })

  it('a bound that is left out leaves out what is read as it', () => {
    const below = ofSchema({ type: 'number', exclusiveMaximum: 0.1, minimum: 0 })
    expect(accepts(below, '0.09999999999999999')).toBe(true)
    expect(Number('0.09999999999999999999')).toBe(0.1)
    expect(accepts(below, '0.09999999999999999999')).toBe(false)
    const other = ofSchema({ type: 'number', not: { const: 0.1 }, minimum: 0 })
    expect(accepts(other, '0.10000000000000000001')).toBe(false)
    expect(accepts(other, '0.2')).toBe(true)
  })
})

describe('patterns are those of RegExp', () => {
  const sources = [
    ...[
      'a*b',
      '^(a|b)*abb$',
      '(^|x)a',
      'a($|b)',
      '^a{2,4}$',
      '^(ab?){0,3}$',
      '[^ab]',
      '^[\\w-]+$',
      '^\\D\\s?$',
      '^(?:a|(?<n>b))c',
    ],
    ...[
      '^$|x',
      '(a*)*b',
      '^(?=a)(?!ab)',
      '^(?=.{2,3}$)[ab]',
      '.',
      '^.*a..$',
      '^(a|ab)(c|bcd)$',
      'a|b|$',
      '^x?y?z?$',
      '^[\\d.]+$',
    ],
  ]
  it.each(sources)('/%s/u', (source) => {
    const wanted = new RegExp(source, 'u')
    const grammar = ofSchema({ type: 'string', pattern: source })
    let whole: ReturnType<typeof byteGrammar> | undefined
    try {
      whole = byteGrammar({ kind: 'regex', text: source })
    } catch (error) {
      // Lookahead that no whole text meets.
      expect((error as Error).message).toContain('no text matches')
    }
    const wholly = new RegExp(`^(?:${source})$`, 'u')
    const below = randomBelow(source.length)
    const wrong: string[] = []
    for (let i = 0; i < 400; i++) {
      const text = Array.from({ length: below(7) }, () => 'abcdxyz1 -.é𝄞\n'[below(13)] ?? 'a')
        .join('')
        .replace(/\p{Surrogate}/gu, '')
      if (accepts(grammar, JSON.stringify(text)) !== wanted.test(text)) wrong.push(text)
      if ((whole !== undefined && accepts(whole, text)) !== wholly.test(text)) wrong.push(`${text}, whole`)
    }
    expect(wrong).toEqual([])
  })
})

it('patterns that are read only without the u flag mean what they say', () => {
  for (const [source, good, bad] of [
    ['^a\\_b$', 'a_b', 'ab'],
    ['^a{,2}$', 'a{,2}', 'aa'],
    ['^[\\w-.]+$', 'a-.', 'a+'],
    ['^x]}$', 'x]}', 'x'],
  ] as const) {
    expect(new RegExp(source).test(good)).toBe(true)
    const grammar = ofSchema({ type: 'string', pattern: source })
    expect([source, accepts(grammar, JSON.stringify(good)), accepts(grammar, JSON.stringify(bad))]).toEqual([
      source,
      true,
      false,
    ])
  }
})

describe('grammars', () => {
  it('choice', () => {
    const grammar = byteGrammar({ kind: 'choice', texts: ['yes', 'no', 'nothing', '\n', 'é'] })
    for (const good of ['yes', 'no', 'nothing', '\n', 'é']) expect(accepts(grammar, good)).toBe(true)
    for (const bad of ['', 'not', 'y', 'yess']) expect(accepts(grammar, bad)).toBe(false)
  })

  const arithmetic = `
    # sums of products
    root  ::= sum ("\\n" | "")
    sum   ::= term (" "? [+-] " "? term)*   # no left recursion
    term  ::= factor ("*" factor)*
    factor ::= "-"? number | "(" sum ")"
    number ::= [0-9]{1,3} ("." [0-9]+)?
  `
  it('rules', () => {
    const grammar = byteGrammar({ kind: 'ebnf', text: arithmetic })
    for (const good of ['1', '1+2', '(1 - 2)*3.5', '-(1)'.slice(1), '((7))\n', '123*4+(5)'])
      expect([good, accepts(grammar, good)]).toEqual([good, true])
    for (const bad of ['', '1+', '1234', '(1', '1 +  2', '1.'])
      expect([bad, accepts(grammar, bad)]).toEqual([bad, false])
  })

  it.each([
    ['root ::= [a-c]{2} [^\\x00-\\x7f]?', ['ab', 'abé', 'cc𝄞'], ['a', 'abc', 'abx']],
    ['root ::= "\\"" . "\\"" | "\\u00e9\\U0001d11e"', ['"x"', '"𝄞"', 'é𝄞'], ['"\n"', '""']],
    ['root ::= a b\na ::= "x"*\nb ::= "y" | a "z"', ['y', 'xxy', 'z', 'xz'], ['x', '']],
    ['root ::= ("a" | "")* "b"', ['b', 'aab'], ['', 'a']],
    ['root ::= ("ab"){2,} [\\]\\-x]', ['abab]', 'ababab-'], ['ab]', 'abab']],
  ])('%s', (text, good, bad) => {
    const grammar = byteGrammar({ kind: 'ebnf', text })
    for (const one of good) expect([one, accepts(grammar, one)]).toEqual([one, true])
    for (const one of bad) expect([one, accepts(grammar, one)]).toEqual([one, false])
  })

  it.each([
    ['root ::= root "a" | "b"', 'begin with itself'],
    ['root ::= a\na ::= b? c\nb ::= "x"\nc ::= a "y"', 'begin with itself'],
    ['root ::= x', "no rule 'x'"],
    ['a ::= "x"', "no rule 'root'"],
    ['root ::= "x', 'the end of a text'],
    ['root ::= (', "')'"],
    ['root ::= "a"\nroot ::= "b"', 'twice'],
    ['root ::= [b-a]', 'ascends'],
    ['root ::= "\\q"', 'an escape'],
    ['root ::= "a"{3,2}', 'nothing meets'],
    ['root = "a"', "'::='"],
    ['root ::= ("a"?){1000}', 'may be empty'],
    ['root ::= "(" root ")"', 'no text matches'],
  ])('%s is refused', (text, reason) => {
    const error = refusal(() => compileGrammar({ kind: 'ebnf', text }))
    expect([error.code, error.message]).toEqual(['SCHEMA_UNSUPPORTED', expect.stringContaining(reason)])
  })

  it('the same text gives the same program', () => {
    const schema = { kind: 'schema', text: JSON.stringify(bank[20]!.schema) } as const
    expect(compileGrammar(schema)).toEqual(compileGrammar(schema))
  })
})
