#!/usr/bin/env node
/**
 * What a form costs: compiling schemas, making masks with the model's vocabulary, and decoding with and without a grammar, by turns.
 *
 *   node bench/grammar.mjs [--model model.gguf] [--rounds 5] [--tokens 96] [--schemas all.jsonl]
 *     [--ranks o200k_base.tiktoken [--vocabulary 128000]]
 *
 * Masks: `new` is the first time that a state is met, `known` the second time; times are of native code alone. With --ranks
 * also with the first tokens of another vocabulary, in which the texts are cut into the longest tokens.
 */
import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { native } from '../dist/base/native.js'
import { compileGrammar } from '../dist/grammar/compile.js'
import { Engine } from '../dist/index.js'
import { openCheckpoint } from '../dist/model/checkpoint.js'
import { locateModel } from '../dist/model/locate.js'
import { Tokenizer } from '../dist/text/tokenizer.js'
import { median } from './median.mjs'

const { values } = parseArgs({
  options: {
    model: { type: 'string', default: 'stories' },
    rounds: { type: 'string', default: '5' },
    tokens: { type: 'string', default: '96' },
    ranks: { type: 'string' },
    vocabulary: { type: 'string', default: '128000' },
    schemas: { type: 'string' },
  },
})
const rounds = Number(values.rounds)
const maxTokens = Number(values.tokens)

const text = (max) => ({ type: 'string', maxLength: max })
const object = (properties, more = {}) => ({
  type: 'object',
  properties,
  required: Object.keys(properties),
  additionalProperties: false,
  ...more,
})
const address = object({
  street: text(60),
  city: text(40),
  zip: { type: 'string', pattern: '^\\d{5}(-\\d{4})?$' },
  country: { enum: ['DE', 'FR', 'US'] },
})
const person = object({
  ...{ name: text(60), email: { type: 'string', format: 'email' }, age: { type: 'integer', minimum: 0, maximum: 130 } },
  ...{
    born: { type: 'string', format: 'date' },
    address,
    tags: { type: 'array', items: { enum: ['a', 'b', 'c'] }, uniqueItems: true },
  },
})
const shapes = ['circle', 'square', 'path'].map((kind) =>
  object({ kind: { const: kind }, size: { type: 'number', minimum: 0 }, label: { type: 'string' } }),
)
const tree = {
  $ref: '#/$defs/node',
  $defs: {
    node: object({ value: text(20), children: { type: 'array', items: { $ref: '#/$defs/node' }, maxItems: 3 } }),
  },
}
const numbered = (count) =>
  Object.fromEntries(
    Array.from({ length: count }, (_, i) => [`field_${i}`, i % 3 === 0 ? text(30) : { type: ['integer', 'null'] }]),
  )
/** Schemas as services have them: forms, unions, records, trees, long lists of properties. */
const schemas = {
  person,
  people: { type: 'array', items: person, minItems: 1 },
  union: { type: 'array', items: { oneOf: shapes }, maxItems: 10 },
  tree,
  record: { type: 'object', additionalProperties: { type: 'number' } },
  anything: {},
  words: { type: 'array', items: { type: 'string', pattern: '^[a-z]{1,12}$' }, minItems: 3, maxItems: 30 },
  formats: object(
    Object.fromEntries(
      ['date', 'time', 'date-time', 'uuid', 'email', 'ipv4', 'ipv6', 'uri'].map((format) => [
        format.replace('-', '_'),
        { type: 'string', format },
      ]),
    ),
  ),
  numbers: object({
    a: { type: 'number', exclusiveMinimum: 0, exclusiveMaximum: 1 },
    b: { type: 'integer', multipleOf: 5 },
    c: { type: 'number', multipleOf: 0.01, minimum: 0 },
  }),
  wide: object(numbered(60)),
  optional: { type: 'object', properties: numbered(200), additionalProperties: false },
  conditional: {
    ...object({ kind: { enum: ['a', 'b'] }, x: {}, y: {} }),
    required: ['kind'],
    if: { properties: { kind: { const: 'a' } } },
    // biome-ignore lint/suspicious/noThenProperty: a keyword of JSON Schema
    then: { required: ['x'] },
    else: { required: ['y'] },
  },
}
const free = {
  type: 'array',
  items: object({
    title: { type: 'string' },
    count: { type: 'integer' },
    notes: { type: 'array', items: { type: 'string' } },
  }),
  minItems: 1000,
}

const quantile = (list, p) =>
  list.toSorted((a, b) => a - b)[Math.min(list.length - 1, Math.floor(p * list.length))] ?? Number.NaN
const row = (name, list, unit, scale) =>
  console.log(
    `${name.padEnd(26)} ${[0.5, 0.9, 0.99, 1].map((p) => (quantile(list, p) * scale).toFixed(2).padStart(9)).join('')} ${unit}  (n ${list.length})`,
  )

/** Of schemas in a file, a JSON Schema a line: each once, refused ones too. */
function compileAll(file) {
  const times = []
  let refused = 0
  for (const text of readFileSync(file, 'utf8').trim().split('\n')) {
    const start = performance.now()
    try {
      compileGrammar({ kind: 'schema', text })
    } catch {
      refused++
    }
    times.push(performance.now() - start)
  }
  row(`compile, ${refused} refused`, times, 'ms', 1)
}

function compileTimes() {
  const first = []
  const again = []
  for (const [name, schema] of Object.entries(schemas)) {
    for (let i = 0; i < 20; i++) {
      // Another text each time: nothing of it is known.
      const source = { kind: 'schema', text: JSON.stringify({ ...schema, description: `${name} ${i}` }) }
      const start = performance.now()
      compileGrammar(source)
      ;(i < 3 ? first : again).push(performance.now() - start)
    }
  }
  row('compile, first three', first, 'ms', 1)
  row('compile', again, 'ms', 1)
}

/** Texts that the model wrote under each schema. */
async function texts(engine) {
  const written = []
  for (const [name, schema] of Object.entries(schemas)) {
    const options = { prompt: `An example of ${name} in JSON:`, schema, temperature: 1.2, maxTokens: 160 }
    const results = Array.from({ length: 4 }, (_, seed) => engine.generate({ ...options, seed }).result)
    for (const { text, tokens } of await Promise.all(results)) written.push({ name, text, tokens })
  }
  return written
}

/** A vocabulary as a file of tiktoken's has it (a token in base64 and its rank a line), and a text in its longest tokens. */
function ranked(file, count) {
  const lines = readFileSync(file, 'utf8').trim().split('\n').slice(0, count)
  const list = lines.map((line) => Buffer.from(line.split(' ')[0], 'base64'))
  const ids = new Map(list.map((bytes, id) => [bytes.toString('latin1'), id]))
  const offsets = new Uint32Array(list.length + 2)
  for (const [id, { length }] of list.entries()) offsets[id + 1] = offsets[id] + length
  offsets[list.length + 1] = offsets[list.length]
  const tokensOf = ({ text }) => {
    const bytes = Buffer.from(text).toString('latin1')
    const tokens = []
    for (let at = 0; at < bytes.length; ) {
      let length = Math.min(64, bytes.length - at)
      while (!ids.has(bytes.slice(at, at + length))) length--
      tokens.push(ids.get(bytes.slice(at, at + length)))
      at += length
    }
    return tokens
  }
  return { vocabulary: { bytes: Buffer.concat(list), offsets, endTokens: Int32Array.of(list.length) }, tokensOf }
}

/** Each place four times, of which the fastest counts: what else the machine does is nobody's mask. */
function maskTimes(written, { vocabulary, tokensOf }) {
  const [fresh, known, steps] = [[], [], []]
  let bytes = 0
  for (const [name, schema] of Object.entries(schemas)) {
    const program = compileGrammar({ kind: 'schema', text: JSON.stringify(schema) })
    const walks = written.filter((one) => one.name === name).map((one) => Int32Array.from(tokensOf(one)))
    const times = Array.from({ length: 4 }, () => {
      const grammar = new (native().Grammar)({ ...program, dropSpace: false }, vocabulary)
      const all = walks.map((tokens) => [grammar.time(tokens), grammar.time(tokens)])
      bytes = Math.max(bytes, grammar.size().bytes)
      return all
    })
    for (const [w, tokens] of walks.entries())
      for (const [again, list] of [fresh, known].entries())
        for (let i = 0; i < 2 * tokens.length; i++)
          (i % 2 === 0 ? list : steps).push(Math.min(...times.map((all) => all[w][again][i])))
  }
  row('mask, new', fresh, 'us', 1e6)
  row('mask, known', known, 'us', 1e6)
  row('mask, both', [...fresh, ...known], 'us', 1e6)
  row('token', steps, 'us', 1e6)
  const size = vocabulary.offsets.length - 1
  console.log(`vocabulary ${size}; largest grammar at work ${(bytes / 2 ** 20).toFixed(1)} MiB`)
}

async function decodeCost(engine, clients) {
  const perToken = { free: [], grammar: [] }
  for (let round = 0; round <= rounds; round++) {
    // Neither is always first.
    for (const kind of round % 2 === 0 ? ['free', 'grammar'] : ['grammar', 'free']) {
      const start = performance.now()
      const results = await Promise.all(
        Array.from({ length: clients }, (_, i) => {
          const form = kind === 'grammar' ? { schema: free } : { ignoreEos: true }
          return engine.generate({
            prompt: `List number ${i} of things as JSON:`,
            seed: round * 100 + i,
            maxTokens,
            ...form,
          }).result
        }),
      )
      const tokens = results.reduce((sum, { usage }) => sum + usage.completionTokens, 0)
      // The first round of each warms up.
      if (round > 0) perToken[kind].push((performance.now() - start) / tokens)
    }
  }
  const [without, with_] = [median(perToken.free), median(perToken.grammar)]
  const percent = (ratio) => `${(100 * (ratio - 1)).toFixed(1)}%`
  const best = Math.min(...perToken.grammar) / Math.min(...perToken.free)
  const paired = median(perToken.grammar.map((ms, i) => ms / perToken.free[i]))
  console.log(
    `${String(clients).padStart(3)} requests: ${without.toFixed(3)} ms a token without, ${with_.toFixed(3)} with a grammar: ${percent(with_ / without)}; median of pairs ${percent(paired)}, best of each ${percent(best)}`,
  )
}

console.log(`${''.padEnd(26)} ${['p50', 'p90', 'p99', 'max'].map((name) => name.padStart(9)).join('')}`)
compileTimes()
if (values.schemas !== undefined) compileAll(values.schemas)
// Texts differ in how well they are guessed, so nothing is.
const engine = await Engine.load({ model: values.model, contextTokens: 1024, speculation: 'off' })
const written = await texts(engine)
const { info } = Tokenizer.fromMetadata(openCheckpoint(locateModel(values.model)).metadata)
const own = { ...info.tokenBytes, endTokens: Int32Array.from(info.eosIds) }
maskTimes(written, { vocabulary: own, tokensOf: ({ tokens }) => tokens })
if (values.ranks !== undefined) maskTimes(written, ranked(values.ranks, Number(values.vocabulary)))
for (const clients of [1, 8, 32]) await decodeCost(engine, clients)
await engine.close()
