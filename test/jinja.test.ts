/** The interpreter of chat templates against Jinja2 3.1.6 (test/scripts/jinja_goldens.py), and what Jinja2 has no word for: places and origins. */
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { takesParts } from '../lib/text/jinja/content-format.ts'
import { parseTemplate } from '../lib/text/jinja/parser.ts'
import { toValue } from '../lib/text/jinja/values/convert.ts'
import { TemplateFault } from '../lib/text/jinja/values/faults.ts'
import { foreign, raw, Text } from '../lib/text/jinja/values/text.ts'
import { TemplateProgram, templateFault } from '../lib/text/template-sandbox.ts'

interface Case {
  construct: string
  source: string
  text?: string
  error?: string
}
const golden = JSON.parse(readFileSync(new URL('./goldens/jinja.json', import.meta.url), 'utf8'))
const cases = golden.cases as Case[]
const now = new Date(2025, 2, 4, 5, 6, 7)
const render = (source: string, variables = golden.variables) => new TemplateProgram(source).render(variables, now)

/** The text and its foreign stretches in angle brackets, with [*] after those that were changed. */
function origins(source: string, variables: Record<string, unknown>): string {
  const mark = (text: string) => foreign(text, 0)
  const values = () => new Map(Object.entries(variables).map(([name, value]) => [name, toValue(value, mark)] as const))
  const text = new TemplateProgram(source).run(values, now)
  if (!(text instanceof Text)) return text
  let shown = ''
  let at = 0
  for (const span of text.spans) {
    shown += `${text.raw.slice(at, span.from)}<${text.raw.slice(span.from, span.to)}>${span.at < 0 ? '*' : ''}`
    at = span.to
  }
  return shown + text.raw.slice(at)
}

describe("output equals Jinja2's", () => {
  it.each([...new Set(cases.map(({ construct }) => construct))])('%s', (construct) => {
    for (const { source, text, error } of cases.filter((row) => row.construct === construct)) {
      if (error === undefined) expect.soft(render(source), source).toBe(text)
      else expect.soft(() => render(source), `${source}: ${error}`).toThrow()
    }
  })

  it('with every string foreign, too', () => {
    const mark = (text: string) => foreign(text, 0)
    const values = () =>
      new Map(Object.entries(golden.variables).map(([name, value]) => [name, toValue(value, mark)] as const))
    for (const { source, text } of cases) {
      if (text !== undefined) expect.soft(raw(new TemplateProgram(source).run(values, now)), source).toBe(text)
    }
  })
})

describe('a fault says where', () => {
  const fault = (source: string) => {
    try {
      render(source)
    } catch (error) {
      if (error instanceof TemplateFault) return { ...error.place, reason: error.message }
      throw error
    }
    return undefined
  }
  it.each([
    ['a\n{{ n + "x" }}', 2, '{{ n + "x" }}', /unsupported operand/],
    ['{% for m in ms %}\n\n  {{ m.zz.y }}\n{% endfor %}', 3, '{{ m.zz.y }}', /has no attribute 'zz'/],
    ['{% macro m() %}\n{{ 1 / 0 }}{% endmacro %}\n\n{{ m() }}', 2, '{{ 1 / 0 }}', /division by zero/],
    ['{% macro m() %}\n{{ 1 }}{% endmacro %}\n\n{{ m() + 1 }}', 4, '{{ m() + 1 }}', /unsupported operand/],
    ['\n{% if n %}{{ s | nope }}{% endif %}', 2, '{{ s | nope }}', /No filter named 'nope'/],
    ["{{ raise_exception('only users') }}", 1, "{{ raise_exception('only users') }}", /only users/],
  ])('while it runs: %j', (source, line, construct, reason) => {
    expect(fault(source)).toEqual({ line, construct, reason: expect.stringMatching(reason) })
  })
  it.each([
    ['a\n\n{% for x in %}', 3, '{% for x in %}', /Expected an expression/],
    ['{% if 1 %}\n{{ x', 2, '{{ x', /unexpected end of template/],
    ['{% if 1 %}\n\n', 2, 'the end of the template', /expected 'elif' or 'else' or 'endif' for {% if 1 %} in line 1/],
    ['x {# y', 1, '{# y', /Missing end of comment/],
    ['{{ 1 }}\n{% include "x" %}', 2, '{% include "x" %}', /'include' is not supported/],
    ['{% import "x" as y %}', 1, '{% import "x" as y %}', /'import' is not supported/],
    ['{% from "x" import y %}', 1, '{% from "x" import y %}', /'from' is not supported/],
    ['{% extends "x" %}', 1, '{% extends "x" %}', /'extends' is not supported/],
    ['{{ x | shout }}', 1, '{{ x | shout }}', /No filter named 'shout'/],
    ['{{ x | random }}', 1, '{{ x | random }}', /not supported/],
    ['{{ x is loud }}', 1, '{{ x is loud }}', /No test named 'loud'/],
    ['\n{% wobble %}', 2, '{% wobble %}', /unknown tag 'wobble'/],
    [`{{ ${'x + '.repeat(40)}1 }} {{ ( }}`, 1, '{{ ( }}', /unexpected '}'|expected/],
    [`{{ ${'x, '.repeat(40)}) }}`, 1, `{{ ${'x, '.repeat(40)}`.slice(0, 57).trimEnd(), /unexpected '\)'/],
  ])('when it is compiled: %j', (source, line, construct, reason) => {
    const told = templateFault(source)!
    expect(told.details).toMatchObject({ line, reason: expect.stringMatching(reason) })
    expect(String(told.details.construct)).toContain(construct)
    expect(told.message).toContain(`in line ${line}, `)
  })
})

describe('origins', () => {
  const variables = { a: 'Hello World', b: ' x|y ', list: ['p', 'q'], deep: { key: 'v' } }
  it.each([
    ['[{{ a }}]', '[<Hello World>]'],
    ["{{ a + '!' + b }}", '<Hello World>!< x|y >'],
    ['{{ a[:5] }}{{ a[5:] }}', '<Hello World>'],
    ['{{ b | trim }}', '<x|y>'],
    ["{{ a.replace('o', '0') }}", '<Hell>0< W>0<rld>'],
    ["{{ b.split('|') | join('+') }}", '< x>+<y >'],
    ['{{ a | upper }}', '<HELLO WORLD>*'],
    ["{{ 'AB' ~ a | lower }}", 'AB<hello world>*'],
    ["{{ ('ab' ~ a) | upper }}", 'AB<HELLO WORLD>*'],
    ["{{ ('of ' ~ a) | title }}", 'Of <Hello World>'],
    ['{{ a | tojson }}', '"<Hello World>"'],
    ['{{ deep | tojson }}', '{"<key>": "<v>"}'],
    ['{{ list }}', "['<p>', '<q>']"],
    ["{{ '%s-%5s' % (a, list[0]) }}", '<Hello World>-    <p>'],
    ["{{ '{}|{:>3}'.format(a, list[1]) }}", '<Hello World>|  <q>'],
    ["{{ list | join(', ') }}", '<p>, <q>'],
    ['{% for c in a[:3] %}{{ c }}{% endfor %}', '<Hel>'],
    ['{% for c in a[:3] | reverse %}{{ c }}{% endfor %}', '<l><e><H>'],
    ['{% set x %}<{{ a }}>{% endset %}{{ x | length }}', '13'],
    ['{% macro m(t) %}({{ t }}){% endmacro %}{{ m(a) }}', '(<Hello World>)'],
    ['{% filter replace("World", "all") %}{{ a }}{% endfilter %}', '<Hello >all'],
    ["{{ a | replace('World', b) }}", '<Hello >< x|y >'],
    ['{{ a | indent(2, true) }}', '  <Hello World>'],
    ["{{ 'a<b>c' | striptags }}{{ ('<i>' ~ a) | striptags }}", 'ac<Hello World>*'],
    ['{{ a | wordwrap(5) }}', '<Hello>\n<World>'],
    ['{{ a | center(15) }}|', '  <Hello World>  |'],
    ["{{ '-' * 3 }}{{ list[0] * 2 }}", '---<p><p>'],
    ["{{ '%c' % 60 }}", '<<>'],
    ["{{ 'const' if a == 'Hello World' else 'other' }}", 'const'],
    ['{{ strftime_now(a) }}', '<Hello World>*'],
    ['{{ a | list | first }}{{ a | last }}', '<H><d>'],
    ["{{ a.partition(' ')[2] }}{{ a.rsplit(none, 1)[0] }}", '<World><Hello>'],
    ['{{ a | escape }}{{ a | urlencode }}', '<Hello World><Hello%20World>*'],
    ['{{ dict(x=a) | xmlattr }}', ' x="<Hello World>"'],
  ])('%s', (source, expected) => {
    expect(origins(source, variables)).toBe(expected)
  })
})

describe('content in parts', () => {
  const takes = (source: string) => takesParts(parseTemplate(source))
  it.each([
    ['{% for m in messages %}{% for p in m.content %}{{ p.text }}{% endfor %}{% endfor %}', true],
    ["{% for m in messages %}{% for p in m['content'] %}{{ p.text }}{% endfor %}{% endfor %}", true],
    ['{% for m in messages %}{% set c = m.content %}{% for p in c %}{{ p.text }}{% endfor %}{% endfor %}', true],
    [
      "{% for m in messages %}{{ m.content | selectattr('type', 'equalto', 'text') | map(attribute='text') | join }}{% endfor %}",
      true,
    ],
    [
      "{% macro show(c) %}{% if c is string %}{{ c }}{% else %}{% for p in c %}{{ p['text'] }}{% endfor %}{% endif %}{% endmacro %}{{ show(messages[0].content) }}",
      true,
    ],
    ["{{ messages[0]['content'][0]['text'] }}", true],
    [
      "{% for m in messages %}{% for p in m.get('content') if p.type == 'text' %}{{ p.text }}{% endfor %}{% endfor %}",
      true,
    ],
    ['{% for m in messages %}{{ m.content }}{% endfor %}', false],
    [
      "{% for m in messages %}{% if m.content is string %}{% set c = m.content %}{% else %}{% set c = '' %}{% endif %}{{ c }}{% endfor %}",
      false,
    ],
    [
      "{% for m in messages %}{{ m.content[0].upper() }}{{ m.content[1:] }}{{ m.content.split('x')[0] }}{% endfor %}",
      false,
    ],
    ['{% for t in tools %}{% for p in t.parameters %}{{ p }}{% endfor %}{% endfor %}{{ messages[0].content }}', false],
  ])('%s', (source, expected) => {
    expect(takes(source)).toBe(expected)
  })
})
