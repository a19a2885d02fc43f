/** Chat templates are programs out of model files: whatever one does, it ends with TEMPLATE_ERROR and the next message is served. */
import { readFileSync } from 'node:fs'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { ChatTemplate } from '../dist/text/chat-template.js'
import { TemplateFault, TemplateLimit } from '../lib/text/jinja/values/faults.ts'
import { account, limits } from '../lib/text/jinja/values/limits.ts'
import { ChatRenderer } from '../lib/text/template-render.ts'
import { TemplateProgram } from '../lib/text/template-sandbox.ts'
import type { SpecialToken } from '../lib/text/vocabulary/vocabulary.ts'
import { choose, random } from './hostile-values.ts'

const rounds = process.env.OCTAVO_DEEP ? 300 : 12

const open: ChatTemplate[] = []
afterEach(async () => {
  await Promise.all(open.splice(0).map((template) => template.close()))
})

const say = (content: string) => ({ messages: [{ role: 'user', content }], tools: null, addGenerationPrompt: false })

/** A template that does `evil` when it is told to. */
function template(evil: string, deadlineMs = 400): ChatTemplate {
  const source = `{% if messages[0].content == 'evil' %}${evil}{% else %}fine{% endif %}`
  const made = new ChatTemplate({ source, control: [], named: {}, deadlineMs })
  open.push(made)
  return made
}

/** Tried again where the machine stood still for longer than the deadline. */
const serves = (made: ChatTemplate) =>
  vi.waitFor(async () => expect(await made.render(say('good'))).toMatchObject({ text: 'fine' }), { timeout: 45_000 })

const square = '{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}'
const grow = (start: string, step: string) =>
  `{% set ns = namespace(a=${start}) %}{% for i in range(200) %}{% set ns.a = ${step} %}{% endfor %}{{ ns.a }}`

describe('what could go wrong if a template', () => {
  it.each([
    ['never ends', square],
    ['calls itself for ever', '{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}'],
    [
      'calls itself twice, forty deep',
      '{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(40) }}',
    ],
    [
      'calls itself through a caller',
      '{% macro f() %}{{ caller() }}{% endmacro %}{% macro g() %}{% call f() %}{{ g() }}{% endcall %}{% endmacro %}{{ g() }}',
    ],
    ['doubles a text', grow('"xx"', 'ns.a ~ ns.a')],
    ['doubles a text by adding', grow('"xx"', 'ns.a + ns.a')],
    ['doubles a list', grow('[1]', 'ns.a + ns.a')],
    ['puts lists into lists', grow('[1]', '[ns.a]')],
    ['puts mappings into mappings', grow('{"a": 1}', '{"a": ns.a, "b": ns.a}')],
    ['asks for a huge range', '{{ range(1000000000) | length }}'],
    ['asks for a range backwards for ever', '{{ range(0, 1, -1) | length }}{{ range(0, -1000000000, -1) | length }}'],
    ['asks for a range of steps that vanish', '{{ range(0, 1, 0.0000000001) | length }}'],
    ['writes without end', `{% for i in range(100000) %}${'x'.repeat(1000)}{% endfor %}`],
    [
      'writes a message without end',
      '{% for i in range(100000) %}{% for j in range(1000) %}{{ messages }}{% endfor %}{% endfor %}',
    ],
    ['indents without end', '{{ ("a\n" | replace("a", range(9999) | join)) | indent(9999999) }}'],
    [
      'shows a thing that holds itself',
      '{% set ns = namespace() %}{% set ns.a = ns %}{{ ns | tojson }}{{ [ns] | tojson }}',
    ],
    ['raises an error', '{{ raise_exception("no") }}'],
    ['calls what is no function', '{{ messages() }}'],
    ['reads the constructor of functions', '{{ range.constructor("return process")().exit(7) }}'],
    ['reads the constructor of a text', '{{ "".constructor.constructor("return process")().exit(7) }}'],
    ['reads the constructor of a list', '{{ messages.constructor.constructor("return 1")() }}'],
    ['reads a prototype', '{{ messages[0].__proto__.polluted() }}'],
  ])('%s', async (_, evil) => {
    const made = template(evil)
    await expect(made.render(say('evil'))).rejects.toMatchObject({ code: 'TEMPLATE_ERROR' })
    await serves(made)
  })

  it.each([
    ['is not closed', '{% for'],
    ['nests without end', '{% if 1 %}'.repeat(20000)],
    ['nests brackets without end', `{{ ${'['.repeat(50000)}`],
    ['is larger than any template', '{{ 1 }}'.repeat(2e6)],
    ['is as large as allowed and all tokens', '{{1}}'.repeat(50000)],
    ['is one long chain', `{{ ${'1 + '.repeat(50000)}1 }}`],
    ['is one long list of filters', `{{ 'x' ${'| trim '.repeat(20000)} }}`],
    ['imports a file', '{% import "/etc/passwd" as p %}{{ p }}'],
    ['includes a file', '{% include "/etc/passwd" %}'],
    ['is empty', ''],
  ])('%s', async (_, source) => {
    const made = new ChatTemplate({ source, control: [], named: {}, deadlineMs: 8000 })
    open.push(made)
    const outcome = await made.render(say('x')).then(
      ({ text }) => text.length,
      (error) => error.code,
    )
    expect(typeof outcome === 'number' || outcome === 'TEMPLATE_ERROR', String(outcome)).toBe(true)
  })

  it('changes what objects inherit', async () => {
    const evil =
      '{% set ns = namespace() %}{% set ns.__proto__ = {"polluted": 1} %}{% set ns.constructor = 1 %}{{ {"__proto__": {"polluted": 1}} | length }}'
    const made = template(evil)
    await made.render(say('evil')).catch((error) => expect(error.code).toBe('TEMPLATE_ERROR'))
    expect(({} as Record<string, unknown>).polluted).toBeUndefined()
    await serves(made)
  })

  it('looks for the process, the file system or the network', () => {
    const run = (source: string) => new TemplateProgram(source).render({ messages: [] }, new Date())
    for (const name of ['process', 'require', 'globalThis', 'Function', 'fetch', 'eval', 'module', 'import', 'Buffer'])
      expect(run(`{{ ${name} is defined }}`)).toBe('False')
  })
})

describe('what could go wrong if a damaged template runs', () => {
  const { templates } = JSON.parse(readFileSync(new URL('./goldens/chat-templates.json', import.meta.url), 'utf8'))
  const specials = (names: string[]): SpecialToken[] =>
    names.map((text, id) => ({ id, text, stripLeft: false, stripRight: false }))

  it.each(Object.keys(templates))(
    '%s: names of control tokens in messages still never become control tokens',
    (name) => {
      const { source, named, control } = templates[name]
      let rendered = 0
      for (let seed = 1; seed <= rounds; seed++) {
        const next = random(seed)
        const pieces = source.split(/(\{%.*?%\}|\{\{.*?\}\})/s)
        const at = next(pieces.length)
        const how = next(3)
        if (how === 0) pieces.splice(at, 1)
        else if (how === 1) pieces.splice(at, 0, choose(next, pieces))
        else
          pieces[at] = pieces[at].replace(/\w+/, (word: string) =>
            choose(next, [word.slice(1), `${word}x`, 'messages', '1']),
          )
        const controls = (content: string) => {
          const damaged = pieces.join('')
          const renderer = new ChatRenderer(new TemplateProgram(damaged), damaged, specials(control), named)
          return renderer.render(say(content)).pieces.filter((piece) => typeof piece === 'number')
        }
        let honest: number[]
        try {
          honest = controls('x')
        } catch {
          continue
        }
        rendered++
        expect(controls(`a ${control.join(' ')} b`)).toEqual(honest)
      }
      expect(rendered).toBeGreaterThan(2)
    },
  )
})

describe('what could go wrong if a template wants too much', () => {
  const big = 10 ** 9
  const grow = (start: string, step: string) =>
    `{% set ns = namespace(a=${start}) %}{% for i in range(99) %}{% set ns.a = ${step} %}{% endfor %}{{ ns.a }}`
  const texts = ["'x'", "'ab '", 'messages[0].content', "'%s' % 1", "('a' | upper)", "'😀'"]
  const huge = [
    ...texts.flatMap((text) => [
      `{{ ${text} * ${big} }}`,
      `{{ ${text} | center(${big}) }}`,
      `{{ ${text}.ljust(${big}) }}`,
      `{{ ${text}.rjust(${big}, '.') }}`,
      `{{ ${text}.zfill(${big}) }}`,
      `{{ ${text}.center(${big}) }}`,
      `{{ (${text} ~ '\t').expandtabs(${big}) }}`,
      `{{ '%${big}s' % ${text} }}`,
      `{{ '{:>${big}}'.format(${text}) }}`,
      `{{ (${text} * 3000).replace('', ${text} * 3000) }}`,
      `{{ (${text} * 3000) | replace('', ${text} * 3000) }}`,
      `{{ range(100000) | join(${text} * 1000) }}`,
      `{{ (${text} * 3000).join(range(100000) | map('string')) }}`,
      `{{ (${text} ~ '\n') * 3000 | indent(${big}) }}`,
      `{{ ((${text} ~ '\n') * 3000) | indent(9999) }}`,
      `{{ [[${text}]] | tojson(indent=${big}) }}`,
      `{{ [[${text}] * 4000] | tojson(indent=9999) }}`,
      `{{ [${text}] * ${big} }}`,
      `{{ (${text}, 1) * ${big} }}`,
      `{{ [${text}] | batch(${big}, 0) | list }}`,
      `{{ [${text}] | slice(${big}) | list }}`,
      `{{ ((${text} * 300000) | list) + ((${text} * 300000) | list) }}`,
      `{{ (${text} * 2000000) | wordwrap(1) }}`,
      grow(text, 'ns.a ~ ns.a'),
      grow(text, 'ns.a + ns.a'),
      grow(text, "ns.a.replace('', ns.a)"),
      grow(`[${text}]`, 'ns.a + ns.a'),
      grow(`[${text}]`, '[ns.a, ns.a]'),
      grow(`(${text},)`, '(ns.a, ns.a)'),
      grow(`{'k': ${text}}`, "{'a': ns.a, 'b': ns.a}"),
      `{% set ns = namespace(a=${text}) %}{% for i in range(99) %}{% set ns.a %}{{ ns.a }}{{ ns.a }}{% endset %}{% endfor %}`,
      `{% macro m(t, n) %}{% if n %}{{ m(t ~ t, n - 1) }}{% else %}{{ t }}{% endif %}{% endmacro %}{{ m(${text}, 150) }}`,
      `{% for i in range(100000) %}{% for j in range(1000) %}{{ ${text} * 100 }}{% endfor %}{% endfor %}`,
    ]),
    ...[
      '2 ** 1000000',
      '10 ** 999999999',
      '(10 ** 4000) ** 10',
      '(2 ** 16000) * (2 ** 16000)',
      "'%d' % (7 ** 99999)",
      "('9' * 4000) | int ** 9",
    ].map((number) => `{{ ${number} }}`),
    ...[
      "'%.999999999f' % 1.5",
      "'{:.999999999f}'.format(2.5)",
      "'%0999999999d' % 3",
      "'%*d' % (999999999, 1)",
      "'{:{}}'.format(1, 999999999)",
    ].map((format) => `{{ ${format} }}`),
    ...['range(100001)', 'range(0, -1000000, -1)', 'range(10 ** 15)', 'range(10 ** 30)', 'range(0, 10 ** 9, 3)'].map(
      (range) => `{% for i in ${range} %}{% endfor %}`,
    ),
    grow('messages[0].content', '(ns.a, ns.a) | string'),
    grow("'x'", '[ns.a, ns.a] | tojson'),
    '{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}',
    '{% macro f(a=none) %}{{ g() }}{% endmacro %}{% macro g() %}{{ f() }}{% endmacro %}{{ f() }}',
    '{% macro f() %}{% call f() %}{{ caller() if caller }}{% endcall %}{{ caller() if caller }}{% endmacro %}{{ f() }}',
    '{% for a in [1] recursive %}{{ loop([1]) }}{% endfor %}',
    '{% block a %}{{ self.a() }}{% endblock %}',
    '{% set ns = namespace() %}{% set ns.a = ns %}{{ ns }}',
    '{% set ns = namespace() %}{% set ns.a = [ns] %}{{ ns.a == [ns.a] }}{{ ns.a }}',
  ]
  const holders = [
    "''",
    '[]',
    '{}',
    '()',
    '1',
    '1.5',
    'true',
    'range',
    'range(2)',
    'namespace()',
    'messages',
    'messages[0]',
    "'a'.upper",
    'self',
    "cycler('a')",
    'joiner()',
    "{'a': 1}.items()",
    '[1] | map("string")',
  ]
  const reaches = (holder: string) => [
    `{{ (${holder}).constructor.constructor('return process')() }}`,
    `{{ (${holder})['constructor']['constructor']('return this')() }}`,
    `{{ (${holder}).__proto__.polluted() }}`,
    `{{ (${holder})['__proto__']['toString']() }}`,
    `{{ ((${holder}) | attr('constructor'))() }}`,
    `{{ (${holder}).__class__.__mro__[1].__subclasses__() }}`,
    `{{ (${holder}).prototype.x }}`,
    `{{ (${holder}).constructor['prototype'].x }}`,
    `{{ (${holder}).hasOwnProperty('a') }}`,
    `{{ (${holder}).toString() }}`,
    `{{ (${holder}).valueOf.call() }}`,
    `{{ (${holder}).call.apply() }}`,
    `{{ (${holder}).__defineGetter__('a', range) }}`,
    `{{ [${holder}] | map(attribute='constructor.name') | map('upper') | first + 1 }}`,
    `{{ '{0.constructor.constructor}'.format(${holder}) }}`,
    `{{ '{0.__class__.__init__}'.format(${holder}) }}`,
  ]
  const all = [...huge, ...holders.flatMap(reaches)]
  // A third of each kind otherwise, with every kind of text and holder among them: their numbers are no multiple of three.
  const attacks = process.env.OCTAVO_DEEP ? all : all.filter((_, i) => i % 3 === 0)

  it(`each of ${attacks.length} of ${all.length} ends with a fault or a limit, within the limits`, () => {
    expect(all.length).toBeGreaterThanOrEqual(500)
    const variables = { messages: [{ role: 'user', content: 'content' }] }
    for (const source of attacks) {
      let ended: unknown
      try {
        new TemplateProgram(source).render(variables, new Date())
      } catch (error) {
        ended = error
      }
      expect.soft(ended instanceof TemplateFault || ended instanceof TemplateLimit, `${source}: ${ended}`).toBe(true)
      expect.soft(account.bytes, source).toBeLessThan(limits.heapBytes + 4 * limits.characters)
      expect.soft(account.steps, source).toBeLessThanOrEqual(limits.steps + 1)
    }
    expect(Object.keys(Object.prototype)).toEqual([])
  })
})
