// How far octavo and llama.cpp are from float32 on the same weights: mean |difference of log-probability| over the same tokens of
// test/goldens/oracle-texts.json and of stories that the f16 model writes. The model is written in each weight format by llama.cpp's
// quantisers; both engines score it as they do by default, and llama.cpp scores the same weights dequantised to a float32
// file, with float32 keys and values. Exits 1 when octavo's distance is larger than llama.cpp's by more than two standard errors
// of the difference. llama.cpp is the one that node-llama-cpp ships, installed from the npm registry into a folder of its own.
//
//   node scripts/quality/float-distance.mjs MODEL.gguf... [--types q4_0,q2_k | stored] [--threads N] [--peers FOLDER]
//
// --types stored: the weights as they are in the file. One thread, since others would wait for each other on a machine that does other work;
// a format of the stories model takes ten seconds of CPU.
import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { installPeer } from '../../bench/peers/install.mjs'
import { buildLlamaCpp } from '../../bench/peers/llama-cpp.mjs'
import { weightFormats } from '../../dist/base/native.js'
import { Engine } from '../../dist/index.js'

const root = fileURLToPath(new URL('../..', import.meta.url))
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    types: { type: 'string' },
    threads: { type: 'string', default: '1' },
    peers: { type: 'string', default: join(root, 'build/peers') },
  },
})
if (positionals.length === 0) {
  console.error(
    'usage: node scripts/quality/float-distance.mjs MODEL.gguf... [--types A,B | stored] [--threads N] [--peers FOLDER]',
  )
  process.exit(2)
}
const threads = Number(values.threads)
const types = values.types?.split(',') ?? weightFormats.filter((format) => !['f32', 'f16', 'bf16'].includes(format))
/** What takes the place of a format of wide blocks where rows are no whole number of them. */
const narrower = 'q8_0'
const storyTokens = 400
const stories = 12
const windowTokens = 700

const texts = JSON.parse(readFileSync(join(root, 'test/goldens/oracle-texts.json'), 'utf8')).map(({ text }) => text)
const folder = join(root, 'build/float-distance')
mkdirSync(folder, { recursive: true })
mkdirSync(values.peers, { recursive: true })
installPeer(values.peers)
const peer = buildLlamaCpp(values.peers, fileURLToPath(new URL('float-distance.cpp', import.meta.url)))
if (peer.reason !== undefined) {
  console.error(`float-distance: llama.cpp is not to be had: ${peer.reason}`)
  process.exit(2)
}

function tool(args, input) {
  const { status, stdout, stderr } = spawnSync(peer.program, args, { input, encoding: 'utf8', maxBuffer: 2 ** 30 })
  if (status !== 0) throw new Error(`float-distance ${args[0]}: ${stderr || `status ${status}`}`)
  return stdout
}

/** Tokens of all texts, cut into windows. */
async function windowsOf(model) {
  const engine = await Engine.load({ model, threads, contextTokens: 1024 })
  const written = await Promise.all(
    Array.from({ length: stories }, (_, seed) => {
      const prompt = texts[seed % texts.length].slice(0, 60)
      return engine.generate({ prompt, maxTokens: storyTokens, temperature: 1, seed, ignoreEos: true }).result
    }),
  )
  const all = [...texts, texts.join('\n\n'), ...written.map(({ text }) => text)]
  const windows = []
  for (const text of all) {
    const tokens = [...(await engine.tokenize(text))]
    for (let at = 0; at + 2 <= tokens.length; at += windowTokens) windows.push(tokens.slice(at, at + windowTokens))
  }
  await engine.close()
  return windows.filter((tokens) => tokens.length >= 2)
}

function scoresOfPeer(path, windows, cache) {
  const lines = tool(
    ['score', path, peer.libraries, String(threads), cache],
    `${windows.map((tokens) => tokens.join(' ')).join('\n')}\n`,
  )
  return lines.trim().split(/\s+/).map(Number)
}

async function scoresOfOctavo(model, windows) {
  const engine = await Engine.load({ model, threads, contextTokens: 1024 })
  const scores = []
  for (const prompt of windows) scores.push(...(await engine.score({ prompt })).logprobs)
  await engine.close()
  return scores
}

const mean = (numbers) => numbers.reduce((sum, value) => sum + value, 0) / numbers.length
const distances = (scores, truth) => scores.map((value, i) => Math.abs(value - truth[i]))

let failed = false
for (const model of positionals.map((path) => resolve(path))) {
  const windows = await windowsOf(model)
  console.log(`${model.split('/').at(-1)}: ${windows.reduce((sum, tokens) => sum + tokens.length - 1, 0)} positions`)
  console.log('| format | octavo | llama.cpp | octavo less llama.cpp, standard error |\n| --- | --- | --- | --- |')
  for (const type of types) {
    const path = type === 'stored' ? model : join(folder, `${type}.gguf`)
    const inFloat = join(folder, `${type}-f32.gguf`)
    if (type !== 'stored') tool(['quantise', model, path, type, narrower])
    tool(['float', path, inFloat])
    const truth = scoresOfPeer(inFloat, windows, 'f32')
    const own = distances(await scoresOfOctavo(path, windows), truth)
    const peers = distances(scoresOfPeer(path, windows, 'f16'), truth)
    const change = own.map((value, i) => value - peers[i])
    const error = Math.sqrt(mean(change.map((value) => (value - mean(change)) ** 2)) / change.length)
    const missed = !(mean(change) <= 2 * error)
    failed ||= missed
    console.log(
      `| ${type} | ${mean(own).toFixed(4)} | ${mean(peers).toFixed(4)} | ${mean(change).toFixed(4)}, ${error.toFixed(4)} |` +
        `${missed ? '  LARGER' : ''}`,
    )
    if (type !== 'stored') rmSync(path)
    rmSync(inFloat)
  }
}
console.log(failed ? 'failed' : `summary: ${types.length} formats no farther from float32 than llama.cpp`)
process.exit(failed ? 1 : 0)
