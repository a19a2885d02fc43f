// Token ids against llama.cpp's, on the same vocabularies and thousands of texts: every pre-tokenizer by its name, and SentencePiece
// vocabularies in which many tokens have one score. llama.cpp comes with node-llama-cpp, installed into a temporary folder from the
// npm registry (or --folder names one). --write FILE keeps the small vocabulary with equal scores and its ids: the truth of
// test/goldens/tokenizer-scores.json.
//
//   node test/deep/tokenizers.mjs [--texts 4000] [--folder DIR] [--write FILE]
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { installPeer } from '../../bench/peers/install.mjs'
import { native } from '../../dist/base/native.js'
import { Tokenizer } from '../../dist/text/tokenizer.js'
import { preTokenizers } from '../../dist/text/vocabulary/pre-tokenizers.js'
import { writeGguf } from '../write-gguf.mjs'
import { randomSource } from './random-source.mjs'

const { values } = parseArgs({
  options: { texts: { type: 'string', default: '4000' }, folder: { type: 'string' }, write: { type: 'string' } },
})
const read = (name) =>
  JSON.parse(readFileSync(fileURLToPath(new URL(`../goldens/${name}.json`, import.meta.url)), 'utf8'))
const own = mkdtempSync(join(tmpdir(), 'octavo-tokenizers-'))
const folder = values.folder ?? own
process.on('exit', () => rmSync(own, { recursive: true, force: true }))

const { model } = read('stories-tokenizer')
const storiesTokens = Object.entries(model.vocab)
  .sort((a, b) => a[1] - b[1])
  .map(([text]) => text)
const byteLevel = (pre) => ({
  'general.architecture': ['string', 'llama'],
  'tokenizer.ggml.model': ['string', 'gpt2'],
  'tokenizer.ggml.pre': ['string', pre],
  'tokenizer.ggml.tokens': ['string', storiesTokens],
  'tokenizer.ggml.token_type': ['i32', storiesTokens.map((_, id) => (id < 3 ? 3 : 1))],
  'tokenizer.ggml.merges': ['string', model.merges.map((merge) => merge.join(' '))],
  'tokenizer.ggml.bos_token_id': ['u32', 0],
  'tokenizer.ggml.eos_token_id': ['u32', 2],
})
const scored = ({ tokens, scores, types }) => ({
  'general.architecture': ['string', 'llama'],
  'tokenizer.ggml.model': ['string', 'llama'],
  'tokenizer.ggml.tokens': ['string', tokens],
  'tokenizer.ggml.scores': ['f32', scores],
  'tokenizer.ggml.token_type': ['i32', types],
  'tokenizer.ggml.bos_token_id': ['u32', 1],
  'tokenizer.ggml.eos_token_id': ['u32', 2],
})

// ---- texts and vocabularies -----------------------------------------------------------------------------------------

const pools = [
  ...[
    'abcXYZ',
    '0123456789',
    '²½Ⅷ٣४',
    ' \t\n\r\u00a0\u3000',
    '.,!?\'"()[]/|_-#@…。，、।۔،‘“！',
    '中漢字かナ가각',
    'ßǅʰªéΩЖא',
  ],
  ...['́̈', '+<=>^~`$€™', '😀𐐀\u200d'],
].map((pool) => [...pool])
const phrases = ["'s", "'LL", "'t", ' a', '\r\n', '  ', 'the ', ' quick', ' Fox']

function randomText(random) {
  return Array.from({ length: random(1, 24) }, () => {
    const pool = pools[random(0, pools.length)] ?? phrases
    return pool[random(0, pool.length - 1)]
  }).join('')
}

/** Few letters, many tokens of them, few scores. */
function equalScores(random) {
  const letters = ['▁', 'a', 'b', 'c']
  const pieces = new Set()
  while (pieces.size < 60) {
    const piece = Array.from({ length: random(2, 4) }, () => letters[random(0, 3)]).join('')
    if (!/[^▁]▁/.test(piece)) pieces.add(piece)
  }
  const bytes = Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`)
  const tokens = ['<unk>', '<s>', '</s>', ...bytes, ...letters, ...pieces]
  const types = tokens.map((_, id) => (id === 0 ? 2 : id < 3 ? 3 : id < 259 ? 6 : 1))
  const scores = tokens.map((_, id) => (id < 263 ? 0 : -random(1, 3)))
  return { tokens, types, scores }
}
const lettersText = (random) => Array.from({ length: random(1, 40) }, () => 'aabbcc é'[random(0, 7)]).join('')

// ---- comparison -----------------------------------------------------------------------------------------------------

/** Texts that are not compared, and why: where llama.cpp is known to be another one than the models' own tokenizers. */
const marks = { skip: (text) => /\p{M}/u.test(text), why: 'it takes no combining mark for a part of a word' }
const left = {
  ...Object.fromEntries(['tekken', 'gpt-4o', 'llama4', 'kanana2', 'talkie', 'kimi-k2'].map((name) => [name, marks])),
  qwen2: { skip: (text) => text !== text.normalize('NFC'), why: 'it does not normalise' },
  'deepseek-llm': {
    skip: (text) => /\p{N}{2}/u.test(text),
    why: 'it keeps numbers whole, of which the model has no tokens',
  },
  default: { skip: () => true, why: 'its default is a guess of its own' },
}

installPeer(folder)
const peer = pathToFileURL(join(folder, 'node_modules/node-llama-cpp/dist/index.js')).href
const { getLlama } = await import(peer)
const llama = await getLlama({ gpu: false, build: 'never', skipDownload: true, logLevel: 'disabled' })

/** Compares on one vocabulary; returns llama.cpp's ids. */
async function compare(name, entries, texts) {
  const path = join(own, 'vocabulary.gguf')
  writeGguf(path, entries)
  const theirs = await llama.loadModel({ modelPath: path, vocabOnly: true })
  const ours = Tokenizer.fromMetadata(native().ggufRead(path).metadata)
  const ids = texts.map((text) => theirs.tokenize(text, false))
  await theirs.dispose()
  const different = texts.filter((text, i) => ours.encode(text).join() !== Array.from(ids[i]).join())
  for (const text of different.slice(0, 3)) console.log(`  ${name}: ${JSON.stringify(text)}`)
  if (different.length > 0) failed += different.length
  compared += texts.length
  return ids
}

let failed = 0
let compared = 0
const random = randomSource(1)
const texts = [
  ...read('tokenizer-texts').filter((text) => text.isWellFormed() && !text.includes('\0')),
  ...Array.from({ length: Number(values.texts) }, () => randomText(random)),
]
for (const name of Object.keys(preTokenizers)) {
  const { skip = () => false, why } = left[name] ?? {}
  const kept = texts.filter((text) => !skip(text))
  if (why) console.log(`${name}: ${texts.length - kept.length} texts are left out: ${why}`)
  if (kept.length > 0) await compare(name, byteLevel(name), kept)
}
for (let i = 0; i < 10; i++) {
  const vocabulary = equalScores(randomSource(100 + i))
  const some = Array.from({ length: Number(values.texts) / 4 }, () => lettersText(random))
  const ids = await compare(`equal scores, vocabulary ${i}`, scored(vocabulary), some)
  if (i > 0 || values.write === undefined) continue
  const cases = some.slice(0, 60).map((text, k) => [text, Array.from(ids[k])])
  writeFileSync(values.write, JSON.stringify({ ...vocabulary, cases }))
}
const spm = read('tokenizer-spm')
await compare(
  'SentencePiece',
  scored(spm),
  texts.filter((text) => text === text.normalize('NFC')),
)
console.log(`summary: ${compared} texts compared with llama.cpp, ${failed} differ`)
process.exit(failed === 0 ? 0 : 1)
