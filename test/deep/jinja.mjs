// Random templates and data, rendered by lib/text/jinja/ and by Jinja2: every text must be equal, and where one of the two refuses the other must.
//
//   node test/deep/jinja.mjs [--templates 20000] [--seed 1] [--python python3]
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { toValue } from '../../dist/text/jinja/values/convert.js'
import { TemplateLimit } from '../../dist/text/jinja/values/faults.js'
import { foreign, raw } from '../../dist/text/jinja/values/text.js'
import { TemplateProgram } from '../../dist/text/template-sandbox.js'

const { values } = parseArgs({
  options: {
    templates: { type: 'string', default: '20000' },
    seed: { type: 'string', default: '1' },
    python: { type: 'string', default: 'python3' },
  },
})
let state = (Number(values.seed) * 2654435761 + 1) >>> 0
const below = (n) => {
  state ^= state << 13
  state ^= state >>> 17
  state ^= state << 5
  state >>>= 0
  return Math.floor((state / 2 ** 32) * n)
}
const one = (list) => list[below(list.length)]
const some = (most, make) => Array.from({ length: below(most + 1) }, make)

const words = [
  '',
  'a',
  'b c',
  'Hello, World',
  ' x ',
  'é',
  '😀z',
  "it's",
  '<b>',
  'a\nb',
  'A-b_c',
  '12',
  '3.5',
  '%s',
  '{}',
  '</think>',
  '\t',
  'ß',
  '"q"',
]
const names = ['x', 'y', 'tools', 'n', 's', 'l', 'd', 'nothing', 'yes', 'f']
const keys = ['role', 'content', 'items', 'k', 'a', 'get', 'name']
const quote = (text) => `'${text.replace(/[\\']/g, '\\$&').replaceAll('\n', '\\n').replaceAll('\t', '\\t')}'`

const constant = () =>
  one([
    () => quote(one(words)),
    () => String(below(12) - 3),
    () => one(['2.5', '0.1', '1e3', '10.0']),
    () => one(['true', 'none', 'False']),
    () => quote(one(keys)),
  ])()

/** Filters and methods by what they take; each says what it gives. The names in the second column are generators of this file. */
const textFilters = {
  text: [
    'upper',
    'lower',
    'title',
    'capitalize',
    'trim',
    'string',
    'reverse',
    'tojson',
    'escape',
    'striptags',
    'urlencode',
    'first',
    'last',
    'safe',
    'forceescape',
    'indent',
    'indent(2, true)',
    "indent('> ', blank=true)",
    'truncate(7)',
    'truncate(6, true)',
    'center(9)',
    "trim('ab ')",
    'wordwrap(4)',
    "replace('a', 'bb')",
    "replace(' ', '', 1)",
    "join('-')",
    "default('z')",
    'format(1)',
    'tojson(ensure_ascii=true)',
  ],
  number: ['length', 'int', 'wordcount', 'float', 'int(5)', 'count'],
  list: ['list', 'unique | list', 'sort', 'batch(2) | list', 'slice(2) | list', "map('upper') | list"],
}
const textMethods = {
  text: [
    'strip()',
    'lstrip()',
    'rstrip()',
    "strip('a<>')",
    'upper()',
    'lower()',
    'title()',
    'capitalize()',
    'swapcase()',
    "replace('a', 'b')",
    "replace('', '.')",
    "replace('l', 'L', 1)",
    'center(9)',
    "center(8, '*')",
    'ljust(6)',
    'rjust(6)',
    'zfill(6)',
    "removeprefix('a')",
    "removesuffix('>')",
    'expandtabs(4)',
    'casefold()',
  ],
  number: ["find('a')", "rfind('l')", "count('l')", "find('b', 1)", "count('')"],
  flag: [
    'isdigit()',
    'isupper()',
    'islower()',
    'isalpha()',
    'isalnum()',
    'isspace()',
    'istitle()',
    "startswith('a')",
    "endswith('>')",
    "startswith(('<', 'H'))",
    'isascii()',
    'isdecimal()',
    'isnumeric()',
    'isprintable()',
    'isidentifier()',
  ],
  list: [
    'split()',
    "split(' ')",
    "split(',', 1)",
    "rsplit(' ', 1)",
    "split('</think>')",
    'splitlines()',
    'splitlines(true)',
    "partition(' ')",
    "rpartition('l')",
    'rsplit(none, 1)',
    'split(none, 1)',
  ],
}
const listFilters = {
  text: [
    'join',
    "join(', ')",
    'tojson',
    'string',
    'tojson(indent=2)',
    "tojson(separators=(',', ':'))",
    "join('|') | upper",
    'tojson(indent=1, sort_keys=true)',
  ],
  number: ['length', "map('string') | map('length') | sum", 'count'],
  list: [
    'list',
    'reverse | list',
    'select | list',
    'reject | list',
    "select('string') | list",
    "reject('number') | list",
    "map('string') | list",
    "map('string') | map('upper') | list",
    'batch(2) | list',
    "batch(3, 'x') | list",
    'slice(3) | list',
    "slice(2, 'y') | list",
    "map('string') | sort",
    "map('string') | unique | list",
    "map('tojson') | list",
    "select('in', [1, 'a']) | list",
    "map('default', 'q') | list",
    "map('string') | sort(reverse=true, case_sensitive=true)",
  ],
}
const messageFilters = {
  text: [
    "map(attribute='role') | join(',')",
    "map(attribute='content') | map('string') | join",
    "selectattr('role', 'equalto', 'user') | map(attribute='content') | list | tojson",
  ],
  number: [
    "selectattr('role', '==', 'user') | list | length",
    "rejectattr('role', 'in', ['user', 'tool']) | list | length",
    "selectattr('name', 'defined') | list | length",
  ],
  list: [
    "map(attribute='role') | list",
    "sort(attribute='role')",
    "groupby('role')",
    "unique(attribute='role') | list",
    "map(attribute='name', default='none') | list",
    "selectattr('content') | list",
  ],
}
const dictFilters = {
  text: ['tojson', 'string', 'tojson(indent=2)', 'urlencode', 'xmlattr'],
  number: ['length'],
  list: ['list', 'items | list', 'dictsort', 'dictsort(reverse=true)'],
}
const numberFilters = {
  text: ['string', 'tojson', 'filesizeformat'],
  number: ['abs', 'round', 'round(1)', 'int', 'float', 'round(-1)', "round(1, 'floor')", "round(method='ceil')"],
}

/** `value` with a filter or a method of a table that gives `kind`. */
const piped = (table, value, kind) => (table[kind] ? `(${value} | ${one(table[kind])})` : value)
const called = (table, value, kind) => (table[kind] ? `${value}.${one(table[kind])}` : value)

const generators = {
  text: (d) => [
    () => quote(one(words)),
    () => 's',
    () => 'messages[0].content',
    () => piped(textFilters, text(d), 'text'),
    () => called(textMethods, text(d), 'text'),
    () => called(textMethods, text(d), 'text'),
    () => piped(listFilters, list(d), 'text'),
    () => piped(messageFilters, 'messages', 'text'),
    () => piped(dictFilters, dict(d), 'text'),
    () => piped(numberFilters, number(d), 'text'),
    () => `(${text(d)} + ${text(d)})`,
    () => `(${any(d)} ~ ${any(d)})`,
    () => `(${text(d)} * ${below(4)})`,
    () => `${text(d)}[${below(5) - 2}:${one(['', String(below(7) - 3)])}]`,
    () => `${text(d)}[::${one(['-1', '2', '-2'])}]`,
    () => `(${text(d)} if ${flag(d)} else ${text(d)})`,
    () => `(${quote(one(['%s', '%r|%s', '%5s', '%-6s|', '%.2s']))} % (${any(d)}, ${any(d)})[:1])`,
    () => `'%d %5.1f %x %e %g' % (${below(99)}, ${one(['2.25', '-0.5', '1e10'])}, ${below(300)}, 12.5, 0.00001)`,
    () => `${quote(one(['{}', '{!r}', '{0} {0}', '{:>8}', '{:^7}|']))}.format(${text(d)})`,
    () =>
      `${quote(one(['{:5d}', '{:,}', '{:x}', '{:+}', '{:05}', '{:.2f}', '{:e}', '{:g}', '{:%}']))}.format(${below(4000)})`,
    () => `m(${any(d)})`,
    () => `(${text(d)} or ${text(d)})`,
    () => `', '.join(${list(d)} | map('string'))`,
  ],
  number: (d) => [
    () => String(below(12) - 3),
    () => 'n',
    () => 'f',
    () => one(['2.5', '0.1', '1e3', '1e17', '9007199254740993']),
    () => piped(textFilters, text(d), 'number'),
    () => called(textMethods, text(d), 'number'),
    () => piped(listFilters, list(d), 'number'),
    () => piped(messageFilters, 'messages', 'number'),
    () => piped(numberFilters, number(d), 'number'),
    () => `(${number(d)} ${one(['+', '-', '*'])} ${number(d)})`,
    () => `(${number(d)} ${one(['/', '//', '%'])} ${one(['3', '-4', '0.5', '7', '-2.5'])})`,
    () => `(${below(20)} ** ${below(12)})`,
    () => `(-${number(d)})`,
    () => `(${number(d)} if ${flag(d)} else ${number(d)})`,
    () => `(${flag(d)} + ${number(d)})`,
    () => `([${number(d)}, ${number(d)}] | ${one(['sum', 'min', 'max', 'first', 'last'])})`,
  ],
  list: (d) => [
    () => 'l',
    () => 'messages',
    () => `[${some(4, () => any(d)).join(', ')}]`,
    () => `(${some(3, () => `${any(d)},`).join(' ')})`,
    () => `(range(${below(7)}) | list)`,
    () => piped(textFilters, text(d), 'list'),
    () => called(textMethods, text(d), 'list'),
    () => piped(listFilters, list(d), 'list'),
    () => piped(messageFilters, 'messages', 'list'),
    () => piped(dictFilters, dict(d), 'list'),
    () => `([${any(d)}] + [${any(d)}])`,
    () => `([${any(d)}, ${any(d)}] * ${below(3)})`,
    () => `${list(d)}[${below(5) - 2}:${one(['', String(below(6) - 2)])}]`,
    () => `${list(d)}[::${one(['-1', '2', '-2'])}]`,
    () => `range(${below(9)})[${below(3)}::${one(['1', '2', '-1'])}]`,
    () => `d.${one(['items()', 'keys()', 'values()'])} | list`.replace(/.*/, '($&)'),
  ],
  dict: (d) => [
    () => 'd',
    () => 'messages[0]',
    () => `{${some(3, () => `${quote(one(keys))}: ${any(d)}`).join(', ')}}`,
    () => `dict(a=${any(d)}, k=1)`,
    () => `dict(d, a=${any(d)})`,
    () => `{1: ${any(d)}, none: 2, true: ${any(d)}, (1, 2): 3}`,
  ],
  flag: (d) => [
    () => one(['true', 'false', 'yes']),
    () => `(${number(d)} ${one(['<', '<=', '>', '>=', '==', '!='])} ${number(d)})`,
    () => `(${text(d)} ${one(['==', '!=', '<', 'in', 'not in'])} ${text(d)})`,
    () => `(${any(d)} ${one(['==', '!='])} ${any(d)})`,
    () => `(${any(d)} ${one(['in', 'not in'])} ${list(d)})`,
    () => `(not ${any(d)})`,
    () => `(${flag(d)} ${one(['and', 'or'])} ${flag(d)})`,
    () => called(textMethods, text(d), 'flag'),
    () =>
      `(${any(d)} is ${one(['', 'not '])}${one(['defined', 'none', 'string', 'number', 'integer', 'float', 'boolean', 'mapping', 'sequence', 'iterable', 'true', 'false', 'lower', 'upper', 'undefined'])})`,
    () => `(${below(9)} is ${one(['odd', 'even', 'divisibleby 3', 'eq 4', 'gt(3)', 'in [1, 2, 3]'])})`,
    () => `(${quote(one(keys))} in ${dict(d)})`,
    () => `(1 < ${number(d)} <= 5)`,
  ],
}
const of = (kind, depth) => (depth <= 0 ? one(generators[kind](0).slice(0, 2)) : one(generators[kind](depth - 1)))()
const text = (depth) => of('text', depth)
const number = (depth) => of('number', depth)
const list = (depth) => of('list', depth)
const dict = (depth) => of('dict', depth)
const flag = (depth) => of('flag', depth)
/** Anything; now and then what has no sense. */
function any(depth) {
  const kind = one(['text', 'text', 'number', 'list', 'dict', 'flag', 'odd'])
  if (kind !== 'odd' || depth <= 0) return of(kind === 'odd' ? 'text' : kind, depth)
  return one([
    () => one(names),
    () => `${one(names)}.${one(keys)}`,
    () => `d[${constant()}]`,
    () => `${dict(depth - 1)}.get(${quote(one(keys))}, ${constant()})`,
    () => `(${any(depth - 1)} | default(${constant()}, true))`,
    () => `(${any(depth - 1)} if ${flag(depth - 1)})`,
    () => `(${any(depth - 1)} and ${any(depth - 1)})`,
    () => `(${any(depth - 1)} ${one(['+', '-', '*', '<'])} ${any(depth - 1)})`,
    () => `messages[${below(3) - 1}]`,
    () => `${list(depth - 1)}[${below(4) - 2}]`,
    () => 'none',
  ])()
}
const expression = any

const space = () => one(['', '', '', ' ', '\n', '\n  ', 'text ', '\r\n'])
const sign = () => one(['', '', '', '-', '-', '+'])
const tag = (body) => `${space()}{%${sign()} ${body} ${one(['', '-'])}%}${space()}`
const print = (body) => `${space()}{{${one(['', '-'])} ${body} ${one(['', '-'])}}}${space()}`

function statements(depth, inLoop) {
  return Array.from({ length: 1 + below(3) }, () => statement(depth, inLoop)).join('')
}

function statement(depth, inLoop) {
  const e = () => any(1 + below(2))
  const shown = () => print(expression(1 + below(3)))
  if (depth <= 0) return shown()
  const body = (loop = inLoop) => statements(depth - 1, loop)
  return one([
    shown,
    shown,
    shown,
    () =>
      `${tag(`if ${flag(2)}`)}${body()}${below(2) ? tag(`elif ${flag(2)}`) + body() : ''}${below(2) ? tag('else') + body() : ''}${tag('endif')}`,
    () =>
      `${tag(`for ${one(['x', 'y', 'm'])} in ${one(['messages', 'l', 's', 'd', list(2)])}${one(['', '', ` if ${flag(1)}`])}`)}${body(true)}${below(3) ? '' : tag('else') + body()}${tag('endfor')}`,
    () => `${tag('for k, v in d.items()')}${body(true)}{{ k }}${tag('endfor')}`,
    () =>
      tag(
        one([
          `set ${one(['x', 'y', 'ns.v'])} = ${e()}`,
          `set s = ${text(2)}`,
          `set l = ${list(2)}`,
          `set d = ${dict(2)}`,
          `set n = ${number(1)}`,
        ]),
      ),
    () => `${tag(`set ${one(['x', 'y'])}`)}${body()}${tag('endset')}`,
    () => `${tag(`with x = ${e()}, y = ${e()}`)}${body()}${tag('endwith')}`,
    () => `${tag(`filter ${one(['upper', 'trim', "replace('a', 'b')"])}`)}${body(false)}${tag('endfilter')}`,
    () =>
      `${tag(`macro m(a=${constant()}, b=1)`)}{{ a }}${body(false)}${one(['', '{{ varargs }}{{ kwargs }}', '{{ caller() if caller }}'])}${tag('endmacro')}`,
    () => `${tag('call m()')}${body(false)}${tag('endcall')}`,
    () => (inLoop ? `${tag(`if ${flag(2)}`)}${tag(one(['break', 'continue']))}${tag('endif')}` : shown()),
    () =>
      inLoop
        ? print(
            one([
              'loop.index',
              'loop.last',
              'loop.first',
              'loop.length',
              'loop.revindex0',
              'loop.previtem',
              'loop.nextitem',
              "loop.cycle('a', 'b')",
              'loop.changed(x)',
            ]),
          )
        : shown(),
    () => `${space()}{#${one(['', '-'])} note ${one(['', '-'])}#}${space()}`,
    () => `${tag('generation')}${body(false)}${tag('endgeneration')}`,
  ])()
}

const value = (depth = 2) =>
  one([
    () => one(words),
    () => below(20) - 5,
    () => one([0.5, 2.25, 1e20]),
    () => one([null, true, false]),
    () => (depth ? some(3, () => value(depth - 1)) : []),
    () => (depth ? Object.fromEntries(some(3, () => [one(keys), value(depth - 1)])) : {}),
  ])()

const variables = () => ({
  messages: some(4, () => ({
    role: one(['user', 'assistant', 'system', 'tool']),
    content: below(6) ? one(words) : value(),
    ...(below(3) ? {} : { [one(keys)]: value() }),
  })),
  tools: below(2) ? null : [value()],
  n: below(9),
  s: one(words),
  x: value(),
  y: one(words),
  l: some(4, () => value(1)),
  d: Object.fromEntries(some(4, () => [one(keys), value(1)])),
  yes: true,
  f: 2.5,
})

const now = new Date(2025, 2, 4, 5, 6, 7)
const head = "{% macro m(a='q', b=1) %}{{ a }}{% endmacro %}{% set ns = namespace(v=0) %}"

function render({ source, vars }, mark) {
  const values = () => new Map(Object.entries(vars).map(([name, value]) => [name, toValue(value, mark)]))
  try {
    return { text: raw(new TemplateProgram(head + source).run(values, now)) }
  } catch (error) {
    return { error: String(error.message), limit: error instanceof TemplateLimit }
  }
}
const plain = (text) => text
/** Every string foreign: the same text must come out. */
const marked = (text) => foreign(text, 0)

const script = fileURLToPath(new URL('../scripts/jinja_render.py', import.meta.url))
function truth(jobs) {
  const input = JSON.stringify(jobs.map(({ source, vars }) => ({ source: head + source, vars })))
  const { status, stdout, stderr } = spawnSync(values.python, [script], { input, maxBuffer: 2 ** 30, encoding: 'utf8' })
  if (status !== 0) throw new Error(stderr)
  return JSON.parse(stdout)
}

/** What both show in their own way: addresses, names of classes. */
const incomparable = (text) =>
  / at 0x|<generator|<built-in|<bound method|<function|<class|<Macro|<jinja2|Macro object|Undefined|<LoopContext|object at/i.test(
    text ?? '',
  )

const total = Number(values.templates)
const counts = { equal: 0, refused: 0, skipped: 0, different: 0 }
for (let done = 0; done < total; done += 1000) {
  const jobs = Array.from({ length: Math.min(1000, total - done) }, () => ({
    source: statements(3, false),
    vars: variables(),
  }))
  truth(jobs).forEach((wanted, i) => {
    const found = render(jobs[i], plain)
    const origins = render(jobs[i], marked)
    if (origins.text !== found.text) {
      counts.different++
      console.log(JSON.stringify({ ...jobs[i], plain: found, marked: origins }))
    }
    if (incomparable(wanted.text) || incomparable(found.text) || found.limit || wanted.limit) counts.skipped++
    else if (wanted.text !== undefined && wanted.text === found.text) counts.equal++
    else if (wanted.error !== undefined && found.error !== undefined) counts.refused++
    else {
      counts.different++
      if (counts.different <= 20) console.log(JSON.stringify({ ...jobs[i], jinja2: wanted, octavo: found }))
    }
  })
}
const { equal, refused, skipped, different } = counts
console.log(
  `summary: ${total} random templates (seed ${values.seed}): ${equal} equal, ${refused} refused by both, ${skipped} not comparable, ${different} different`,
)
process.exit(different === 0 ? 0 : 1)
