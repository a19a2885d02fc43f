#!/usr/bin/env node
/**
 * Writes the hand-made part of the fuzzers' corpus (cpp/fuzz/corpus): small good files, and one file for every kind of damage
 * that model files are known to have. A file's name says what is wrong in it. What a fuzzer added lies beside them under its hash.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { compileGrammar } from '../dist/grammar/compile.js'

const type = {
  u8: 0,
  i8: 1,
  u16: 2,
  i16: 3,
  u32: 4,
  i32: 5,
  f32: 6,
  bool: 7,
  string: 8,
  array: 9,
  u64: 10,
  i64: 11,
  f64: 12,
}
const ggml = { f32: 0, f16: 1, q4_0: 2, q4_1: 3, q8_0: 8, q6_k: 14, bf16: 30 }
/** Weights and bytes of a block, by ggml's type. */
const groups = {
  ...{ 0: [1, 4], 1: [1, 2], 2: [32, 18], 3: [32, 20], 6: [32, 22], 7: [32, 24], 8: [32, 34], 12: [256, 144] },
  ...{ 13: [256, 176], 14: [256, 210], 20: [32, 18], 30: [1, 2], 39: [32, 17], 10: [256, 84], 11: [256, 110] },
  ...{ 16: [256, 66], 17: [256, 74], 18: [256, 98], 19: [256, 50], 21: [256, 110], 22: [256, 82] },
  ...{ 23: [256, 136], 29: [256, 56], 40: [64, 36] },
}
const max = 2n ** 64n - 1n

const raw = (bytes, write) => {
  const buffer = Buffer.alloc(bytes)
  write(buffer)
  return buffer
}
const u8 = (v) => Buffer.from([v])
const u32 = (v) => raw(4, (b) => b.writeUInt32LE(v))
const i32 = (v) => raw(4, (b) => b.writeInt32LE(v))
const f32 = (v) => raw(4, (b) => b.writeFloatLE(v))
const u64 = (v) => raw(8, (b) => b.writeBigUInt64LE(BigInt(v)))
const i64 = (v) => raw(8, (b) => b.writeBigInt64LE(BigInt(v)))
const text = (v, length) => Buffer.concat([u64(length ?? Buffer.byteLength(v)), Buffer.from(v)])
const pair = (key, kind, value) => Buffer.concat([text(key), u32(type[kind]), value])
const list = (kind, items, count) => Buffer.concat([u32(type[kind]), u64(count ?? items.length), ...items])
const head = (tensors, keys, version = 3) => Buffer.concat([Buffer.from('GGUF'), u32(version), u64(tensors), u64(keys)])
const tensor = (name, shape, kind, offset) =>
  Buffer.concat([text(name), u32(shape.length), ...shape.map(u64), u32(kind), u64(offset)])

const padded = (n, alignment) => Math.ceil(n / alignment) * alignment
const bytesOf = ({ shape, kind }) => {
  const [group, bytes] = groups[kind]
  return (shape.reduce((a, b) => a * b, 1) / group) * bytes
}

/** A whole file; `fill(tensor, i)` gives a byte of data, or the tensor's own `data`. */
function file({ keys = [], tensors = [], version = 3, alignment = 32, fill = (_, i) => (i * 7) % 64 }) {
  let offset = 0
  const rows = []
  const data = []
  for (const t of tensors) {
    const bytes = bytesOf(t)
    rows.push(tensor(t.name, t.shape, t.kind, offset))
    data.push(t.data ?? Buffer.from(Array.from({ length: bytes }, (_, i) => fill(t, i))))
    data.push(Buffer.alloc(padded(bytes, alignment) - bytes))
    offset += padded(bytes, alignment)
  }
  const header = Buffer.concat([head(tensors.length, keys.length, version), ...keys, ...rows])
  return Buffer.concat([header, Buffer.alloc(padded(header.length, alignment) - header.length), ...data])
}

/** Quantised groups with a small scale, so that a step has finite logits. */
const scaled = (kind) => (t, i) => (t.kind === kind && i % groups[kind][1] === 1 ? 0x2c : (i * 7) % 32)

/** A llama model of one layer that runs: width 32, two heads of 16, 8 tokens. */
function model(kind, change = {}) {
  const vector = (name, n = 32) => ({ name, shape: [n], kind: ggml.f32, data: Buffer.concat(Array(n).fill(f32(1))) })
  const matrix = (name, k, n) => ({ name, shape: [k, n], kind })
  const vocabulary = ['<unk>', '<s>', '</s>', 'a', 'b', 'ab', 'c', 'd']
  const layer = [
    ...['attn_q.weight', 'attn_output.weight', 'ffn_gate.weight', 'ffn_up.weight', 'ffn_down.weight'].map((name) =>
      matrix(`blk.0.${name}`, 32, 32),
    ),
    ...['attn_k.weight', 'attn_v.weight'].map((name) => matrix(`blk.0.${name}`, 32, 16)),
    ...['attn_norm.weight', 'ffn_norm.weight'].map((name) => vector(`blk.0.${name}`)),
  ]
  const keys = [
    pair('general.architecture', 'string', text('llama')),
    ...Object.entries({
      block_count: 1,
      embedding_length: 32,
      feed_forward_length: 32,
      context_length: 64,
      vocab_size: 8,
      'attention.head_count': 2,
      'attention.head_count_kv': 1,
      'rope.dimension_count': 16,
      ...change.sizes,
    }).map(([key, value]) => pair(`llama.${key}`, value < 0 ? 'i32' : 'u32', value < 0 ? i32(value) : u32(value))),
    pair('llama.attention.layer_norm_rms_epsilon', 'f32', f32(1e-5)),
    pair('tokenizer.ggml.model', 'string', text('llama')),
    pair(
      'tokenizer.ggml.tokens',
      'array',
      list(
        'string',
        vocabulary.map((v) => text(v)),
      ),
    ),
    pair(
      'tokenizer.ggml.scores',
      'array',
      list(
        'f32',
        vocabulary.map((_, i) => f32(-i)),
      ),
    ),
    pair('tokenizer.ggml.token_type', 'array', list('i32', [2, 3, 3, 1, 1, 1, 1, 1].map(i32))),
    pair('tokenizer.ggml.bos_token_id', 'u32', u32(1)),
    pair('tokenizer.ggml.eos_token_id', 'u32', u32(2)),
    ...(change.keys ?? []),
  ]
  const tensors = [
    matrix('token_embd.weight', 32, 8),
    vector('output_norm.weight'),
    ...layer,
    ...(change.tensors ?? []),
  ]
  return file({ keys, tensors, fill: change.fill ?? scaled(kind) })
}

const nanScale = (kind) => (t, i) => (t.kind === kind && i % groups[kind][1] < 2 ? 0xff : 1)
const one = (shape, kind, offset, bytes) =>
  Buffer.concat([head(1, 0), tensor('a', shape, kind, offset), Buffer.alloc(bytes)])
const two = (a, b) => Buffer.concat([head(2, 0), a, b, Buffer.alloc(512)])
const key = (kind, value) => Buffer.concat([head(0, 1), pair('k', kind, value)])
const plain = [pair('s', 'string', text('value')), pair('n', 'u32', u32(7))]

const gguf = {
  'good-f32': model(ggml.f32, { fill: (_, i) => (i % 4 === 3 ? 0x3c : 0) }),
  'good-f16': model(ggml.f16, { fill: (_, i) => (i % 2 ? 0x2c : i % 64) }),
  'good-bf16': model(ggml.bf16, { fill: (_, i) => (i % 2 ? 0x3c : i % 64) }),
  'good-q4_0': model(ggml.q4_0),
  'good-q4_1': model(ggml.q4_1, { fill: (_, i) => (i % 20 === 1 || i % 20 === 3 ? 0x2c : i % 32) }),
  'good-q8_0': model(ggml.q8_0),
  'good-biases-norms-output': model(ggml.q8_0, {
    tensors: [
      { name: 'blk.0.attn_q.bias', shape: [32], kind: ggml.f32 },
      { name: 'blk.0.attn_q_norm.weight', shape: [16], kind: ggml.f32 },
      { name: 'output.weight', shape: [32, 8], kind: ggml.q4_0 },
    ],
  }),
  'good-version-2': file({ version: 2, keys: plain, tensors: [{ name: 'a', shape: [32], kind: ggml.q8_0 }] }),
  'good-alignment-64': file({
    alignment: 64,
    keys: [pair('general.alignment', 'u32', u32(64))],
    tensors: [
      { name: 'a', shape: [3], kind: ggml.f32 },
      { name: 'b', shape: [256, 2], kind: ggml.q6_k },
    ],
  }),
  'good-all-value-types': file({
    keys: [
      pair('u8', 'u8', u8(200)),
      pair('i8', 'i8', u8(255)),
      pair('u16', 'u16', Buffer.from([1, 2])),
      pair('i16', 'i16', Buffer.from([255, 255])),
      pair('u32', 'u32', u32(2 ** 32 - 1)),
      pair('i32', 'i32', i32(-1)),
      pair('f32', 'f32', f32(Number.NaN)),
      pair('bool', 'bool', u8(1)),
      pair('u64', 'u64', u64(max)),
      pair('i64', 'i64', i64(-(2n ** 63n))),
      pair('f64', 'f64', u64(0x7ff0000000000000n)),
      ...Object.entries({
        u8: u8(1),
        i8: u8(1),
        u16: Buffer.alloc(2),
        i16: Buffer.alloc(2),
        u32: u32(1),
        i32: i32(-1),
        f32: f32(1),
        bool: u8(0),
        string: text('x'),
        u64: u64(1),
        i64: i64(-1),
        f64: u64(1),
      }).map(([kind, value]) => pair(`array of ${kind}`, 'array', list(kind, [value, value]))),
      pair('__proto__', 'array', list('string', [text('tokens')])),
      pair('none', 'array', list('i32', [])),
    ],
  }),
  'good-all-formats': file({
    tensors: Object.keys(groups).map((kind) => ({ name: `type ${kind}`, shape: [256, 2], kind: Number(kind) })),
    fill: (_, i) => (i % 2 ? 0x2c : (i * 7) % 64),
  }),
  'good-no-keys-no-tensors': head(0, 0),
  'good-alignment-48': Buffer.concat([head(0, 1), pair('general.alignment', 'u32', u32(48))]),
  'good-value-bool-of-2': key('bool', u8(2)),
  'good-value-array-of-bools-of-2': key('array', list('bool', [u8(2)])),
  'good-array-of-arrays': key('array', list('array', [list('u8', [u8(1)])])),
  'good-array-element-of-2-to-63': key('array', list('u64', [u64(2n ** 63n)])),
  'good-dimension-of-0': one([4, 0], ggml.f32, 0, 64),
  'good-dimension-of-0-far-away': two(tensor('flag', [0, max], ggml.q4_0, max - 31n), tensor('a', [4], 0, 0)),
  empty: Buffer.alloc(0),
  'magic-only': Buffer.from('GGUF'),
  'magic-of-another-format': Buffer.from('GGJT\x03\0\0\0 not this one'),
  'magic-reversed': Buffer.concat([Buffer.from('FUGG'), head(0, 0).subarray(4)]),
  'big-endian': Buffer.concat([Buffer.from('GGUF'), Buffer.from([0, 0, 0, 3]), Buffer.alloc(16)]),
  'version-0': head(0, 0, 0),
  'version-1': head(0, 0, 1),
  'version-4': head(0, 0, 4),
  'huge-tensor-count': head(max, 0),
  'huge-key-count': head(0, max),
  'counts-that-wrap': head(2n ** 61n, 2n ** 61n),
  'negative-tensor-count': Buffer.concat([Buffer.from('GGUF'), u32(3), i64(-1), u64(0), Buffer.alloc(64)]),
  'more-keys-than-there-are': Buffer.concat([head(0, 3), ...plain]),
  'huge-string': Buffer.concat([head(0, 1), text('k'), u32(type.string), u64(max)]),
  'string-that-wraps': Buffer.concat([head(0, 1), text('k'), u32(type.string), u64(2n ** 63n)]),
  'huge-key': Buffer.concat([head(0, 1), u64(2n ** 40n)]),
  'empty-key': Buffer.concat([head(0, 1), text(''), u32(type.u32), u32(1)]),
  'unknown-value-type': Buffer.concat([head(0, 1), text('k'), u32(13), u64(0)]),
  'huge-array': key('array', list('u8', [], max)),
  'huge-array-of-strings': key('array', list('string', [], 2n ** 60n)),
  'array-of-arrays-too-deep': key('array', Buffer.concat([...Array(500).fill(list('array', [], 1)), list('u8', [])])),
  'array-of-an-unknown-type': key('array', Buffer.concat([u32(99), u64(1), u64(0)])),
  'key-twice': Buffer.concat([head(0, 2), plain[0], plain[0]]),
  'alignment-0': Buffer.concat([head(0, 1), pair('general.alignment', 'u32', u32(0))]),
  'alignment-not-a-multiple-of-8': Buffer.concat([head(0, 1), pair('general.alignment', 'u32', u32(36))]),
  'alignment-huge': Buffer.concat([head(0, 1), pair('general.alignment', 'u64', u64(2n ** 63n))]),
  'alignment-of-text': Buffer.concat([head(0, 1), pair('general.alignment', 'string', text('32'))]),
  'no-dimensions': one([], ggml.f32, 0, 64),
  'five-dimensions': one([1, 1, 1, 1, 1], ggml.f32, 0, 64),
  'huge-dimension-count': Buffer.concat([head(1, 0), text('a'), u32(2 ** 32 - 1), Buffer.alloc(64)]),
  'dimensions-that-overflow': one([2n ** 32n, 2n ** 32n], ggml.f32, 0, 64),
  'dimensions-that-wrap-to-a-small-size': one([2n ** 63n, 2n, 2n, 1n], ggml.f32, 0, 64),
  'dimension-of-2-to-64-minus-1': one([max], ggml.f32, 0, 64),
  'row-of-half-a-group': one([48], ggml.q4_0, 0, 128),
  'unknown-tensor-type': one([32], 4, 0, 128),
  'tensor-type-out-of-range': one([32], 0xffffffff, 0, 128),
  'unaligned-offset': one([4], ggml.f32, 8, 64),
  'offset-that-wraps': one([4], ggml.f32, max - 31n, 64),
  'offset-beyond-the-end': one([4], ggml.f32, 2n ** 40n, 64),
  'data-cut-short': one([64], ggml.f32, 0, 100),
  'tensor-without-a-name': Buffer.concat([head(1, 0), tensor('', [4], 0, 0), Buffer.alloc(64)]),
  'tensor-twice': two(tensor('a', [4], 0, 0), tensor('a', [4], 0, 32)),
  'tensors-that-overlap': two(tensor('a', [16], 0, 0), tensor('b', [4], 0, 32)),
  'tensors-at-one-place': two(tensor('a', [4], 0, 0), tensor('b', [4], 0, 0)),
  'tensor-inside-another': two(tensor('b', [4], 0, 32), tensor('a', [64], 0, 0)),
  'nan-scales-q4_0': model(ggml.q4_0, { fill: nanScale(2) }),
  'nan-scales-q4_1': model(ggml.q4_1, { fill: nanScale(3) }),
  'nan-scales-q8_0': model(ggml.q8_0, { fill: nanScale(8) }),
  'nan-minimum-q4_1': model(ggml.q4_1, {
    fill: (_, i) => (i % 20 === 3 || i % 20 === 2 ? 0xff : i % 20 === 1 ? 0x2c : 1),
  }),
  'nan-weights-f16': model(ggml.f16, { fill: () => 0xff }),
  'infinite-weights-f16': model(ggml.f16, { fill: (_, i) => (i % 2 ? 0x7c : 0) }),
  'nan-norm': model(ggml.q4_0, {
    tensors: [{ name: 'blk.0.attn_k_norm.weight', shape: [16], kind: 0, data: Buffer.alloc(64, 0xff) }],
  }),
  'vocabulary-of-0': model(ggml.q4_0, { sizes: { vocab_size: 0 } }),
  'vocabulary-larger-than-the-table': model(ggml.q4_0, { sizes: { vocab_size: 9 } }),
  'negative-sizes': model(ggml.q4_0, { sizes: { embedding_length: -32, 'attention.head_count': -2 } }),
  'width-of-0': model(ggml.q4_0, { sizes: { embedding_length: 0 } }),
  'heads-of-0': model(ggml.q4_0, { sizes: { 'attention.head_count': 0, 'attention.head_count_kv': 0 } }),
  'more-kv-heads-than-heads': model(ggml.q4_0, { sizes: { 'attention.head_count_kv': 3 } }),
  'four-billion-layers': model(ggml.q4_0, { sizes: { block_count: 2 ** 31 - 1 } }),
  'layers-of-0': model(ggml.q4_0, { sizes: { block_count: 0 } }),
  'layers-missing': model(ggml.q4_0, { sizes: { block_count: 2 } }),
  'rope-dimensions-odd': model(ggml.q4_0, { sizes: { 'rope.dimension_count': 15 } }),
  'rope-dimensions-beyond-the-head': model(ggml.q4_0, { sizes: { 'rope.dimension_count': 4096 } }),
  'norm-of-another-width': model(ggml.q4_0, { tensors: [{ name: 'blk.0.attn_q_norm.weight', shape: [32], kind: 0 }] }),
}

/** Edits of cpp/fuzz/model_case.cpp: what, which, value. */
const edits = (...rows) =>
  Buffer.concat(rows.map(([what, which, value]) => Buffer.concat([u8(what), u8(which), i64(value)])))
const field = { file: 0, offset: 1, bytes: 2, format: 3, rows: 4, width: 5 }
const described = {
  good: Buffer.alloc(0),
  'good-with-weights': Buffer.concat([u8(255), Buffer.alloc(600, 0x2c)]),
  ...Object.fromEntries(
    ['layers', 'width', 'heads', 'kv-heads', 'head-size', 'feed-forward', 'vocabulary', 'rope-dims', 'window'].flatMap(
      (name, i) => [
        [`${name}-of-0`, edits([0, i, 0])],
        [`${name}-negative`, edits([0, i, -1])],
        [`${name}-of-2-to-31`, edits([0, i, 2 ** 31 - 1])],
      ],
    ),
  ),
  'heads-times-head-size-overflows': edits([0, 2, 2 ** 20], [0, 3, 2 ** 20], [0, 4, 2 ** 20]),
  'no-tensors': edits(...Array(12).fill([3, 0, 0])),
  'one-tensor-missing': edits([3, 4, 0]),
  'file-that-is-not-there': edits([6 + 8 * field.file, 2, 1]),
  'file-of-minus-2': edits([6 + 8 * field.file, 2, -2]),
  'offset-negative': edits([6 + 8 * field.offset, 2, -1]),
  'offset-at-the-end': edits([6 + 8 * field.offset, 2, 16384]),
  'bytes-wrong': edits([6 + 8 * field.bytes, 2, 1]),
  'rows-negative': edits([6 + 8 * field.rows, 2, -32]),
  'width-not-of-groups': edits([7 + 8 * field.width, 2, 31]),
  'another-format': edits([7 + 8 * field.format, 2, 0]),
  'f32-linear': edits([7 + 8 * field.format, 4, 0], [7 + 8 * field.format, 5, 1], [7 + 8 * field.format, 6, 5]),
  'norm-of-q4': edits([7 + 8 * field.format, 1, 2]),
  'biases-and-norms': edits([4, 1, 0], [4, 4, 0]),
  'epsilon-nan': edits([5, 0, 0x7fc00000]),
  'rope-frequencies-missing': edits([2, 0, 0]),
}

/** What cpp/fuzz/grammar_case.cpp reads: a walk of so many steps, then a program's numbers. */
const walked = (steps, words) =>
  Buffer.concat([
    Buffer.from([steps, ...Array.from({ length: steps }, (_, i) => (7 * i + steps) % 251)]),
    ...words.map((word) => (word >= -8 && word < 247 ? u8(word + 8) : Buffer.concat([u8(255), i32(word)]))),
  ])
const programOf = (source) => [...compileGrammar(source).program]
const ofSchema = (schema) => programOf({ kind: 'schema', text: JSON.stringify(schema) })
const digits = { type: 'string', pattern: '^\\d{3}$' }
const sources = {
  choice: programOf({ kind: 'choice', texts: ['abc', 'ab', '12'] }),
  regex: programOf({ kind: 'regex', text: '(ab|a[b-d]+x?){2,9}\\d*' }),
  rules: programOf({ kind: 'ebnf', text: 'root ::= "(" root* ")" | "a"{2,5}' }),
  integer: ofSchema({ type: 'integer', minimum: -7, maximum: 120 }),
  pattern: ofSchema(digits),
  counted: ofSchema({ type: 'string', pattern: '^[a-z]*$', minLength: 2, maxLength: 30 }),
  list: ofSchema({ type: 'array', items: { enum: [1, 2, 'ab'] }, uniqueItems: true }),
  object: ofSchema({
    type: 'object',
    properties: { ab: digits, abc: true },
    required: ['abc'],
    additionalProperties: false,
  }),
  others: ofSchema({ type: 'object', additionalProperties: { type: 'boolean' }, minProperties: 1, maxProperties: 4 }),
  tree: ofSchema({ type: 'array', items: { $ref: '#' } }),
}
const huge = 2 ** 30
const grammars = Object.fromEntries(
  Object.entries(sources).flatMap(([name, words], n) => [
    [`good-${name}`, walked(60, words)],
    [`${name}-cut`, walked(9, words.slice(0, Math.floor((words.length * (n + 1)) / 11)))],
    [`${name}-longer`, walked(9, [...words, 0])],
    [`${name}-with-a-huge-number`, walked(9, words.with(Math.floor((words.length * n) / 11), huge))],
    [`${name}-with-a-negative-number`, walked(9, words.with(Math.floor((words.length * (n + 1)) / 12), -huge))],
  ]),
)

for (const [folder, files] of Object.entries({ gguf, model: described, grammar: grammars })) {
  const path = fileURLToPath(new URL(`../cpp/fuzz/corpus/${folder}/`, import.meta.url))
  mkdirSync(path, { recursive: true })
  for (const [name, bytes] of Object.entries(files)) writeFileSync(path + name, bytes)
  const total = Object.values(files).reduce((sum, bytes) => sum + bytes.length, 0)
  console.log(`${folder}: ${Object.keys(files).length} files, ${total} bytes`)
}
