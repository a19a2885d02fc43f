// What guesses allocate: bytes of JavaScript heap that the engine thread's loop makes for a token, with `auto` and with none. Index, search and
// check are native; what TypeScript has of them (the controller, its estimates) is numbers in place. Each mode is a process of its own in which
// no collection comes in between, so that the space of new objects grows by all that is made (V8 puts what it compiles elsewhere); a token's
// bytes are the difference of a long and a short answer over the tokens between them, once code is compiled (a function that V8 still interprets
// makes an object of every fraction, so the best of some processes counts, of eight at most). Exits 1 where `auto` makes more than --limit bytes a token more than none.
//
//   node test/deep/draft-allocations.mjs [--model FILE] [--limit 16]
import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { getHeapSpaceStatistics } from 'node:v8'
import { median } from '../../bench/median.mjs'
import { greedySampling } from '../../dist/base/native.js'
import { load } from '../../dist/host/load.js'
import { locateModel } from '../../dist/model/locate.js'

const { values } = parseArgs({
  options: {
    model: { type: 'string', default: 'stories' },
    limit: { type: 'string', default: '16' },
    mode: { type: 'string' },
  },
})
const [short, long] = [64, 448]
const [warmUp, rounds, fewestProcesses, mostProcesses] = [150, 25, 3, 8]
const vocabulary = 1 << 16

function open(drafting) {
  const policy = { objective: 'latency', maxStepMs: 100, maxQueuedRequests: 64, maxQueuedTokens: 1e6, weights: {} }
  const options = {
    ...{
      model: locateModel(values.model),
      device: 'cpu',
      isa: null,
      sharingFolder: null,
      threads: 1,
      contextTokens: 512,
    },
    ...{ kvMemoryBytes: undefined, kvDtype: 'f16', prefixCache: false, stepTokens: 512, maxSequences: 8, drafting },
    ...{ policy: { ...policy, idleTimeoutMs: 60_000 }, checkBlocks: false, recordFile: undefined },
    told: { progress: false, log: false },
  }
  const said = { failure: undefined, tokens: 0 }
  const post = ({ type, parts = [], plain = [], error }) => {
    if (type === 'failed') said.failure = error
    for (const { end } of parts) if (end !== undefined) said.tokens += end.generatedTokens
    said.plain = plain.length
  }
  const control = new SharedArrayBuffer(8)
  const loop = load({ options, control }, { receive: () => undefined, post, wakeAt() {} })
  const offsets = Uint32Array.from({ length: vocabulary + 1 }, (_, i) => i)
  const tokenBytes = { bytes: new Uint8Array(vocabulary).fill(97), offsets }
  loop.run({ type: 'vocabulary', vocabulary: { tokenBytes, eosIds: [] } })
  return { loop, said }
}

const newBytes = () => getHeapSpaceStatistics().find(({ space_name: name }) => name === 'new_space').space_used_size

/** A text that says some things again, so that there is something to guess, right and wrong. */
const prompt = Int32Array.from({ length: 48 }, (_, i) => 20 + (((i % 16) * 37 + (i > 40 ? i : 0)) % 800))
function measure(mode) {
  const drafting = { own: true, shared: true, model: undefined, maxModelDrafts: 0, fixed: undefined }
  const { loop, said } = open(mode === 'off' ? undefined : drafting)
  let id = 0
  const answer = (maxTokens) => {
    const rest = {
      mode: 'generate',
      maxTokens,
      stop: [],
      ignoreEos: true,
      sampling: greedySampling,
      salt: `${id}`,
      askedAtMs: Date.now(),
    }
    const before = newBytes()
    loop.run({ type: 'request', request: { id: ++id, tokens: prompt, ...rest } })
    return newBytes() - before
  }
  for (let i = 0; i < warmUp; i++) answer(long)
  const [longs, shorts] = [[], []]
  for (let i = 0; i < rounds; i++) {
    globalThis.gc()
    longs.push(answer(long))
    shorts.push(answer(short))
  }
  if (said.failure !== undefined) throw new Error(said.failure.message)
  if (said.tokens !== warmUp * long + rounds * (long + short)) throw new Error(`${said.tokens} tokens`)
  return (median(longs) - median(shorts)) / (long - short)
}

if (values.mode !== undefined) console.log(measure(values.mode))
else {
  const script = fileURLToPath(import.meta.url)
  const flags = ['--expose-gc', '--max-semi-space-size=256', '--min-semi-space-size=256']
  const bytes = (mode) =>
    Number(
      execFileSync(process.execPath, [...flags, script, '--model', values.model, '--mode', mode], { encoding: 'utf8' }),
    )
  const least = { off: Number.POSITIVE_INFINITY, auto: Number.POSITIVE_INFINITY }
  const more = () => least.auto - least.off
  let processes = 0
  for (; processes < fewestProcesses || (processes < mostProcesses && more() > Number(values.limit)); processes++)
    for (const mode of Object.keys(least)) least[mode] = Math.min(least[mode], bytes(mode))
  const { off, auto } = least
  console.log(
    `bytes a token: ${off.toFixed(1)} without guesses, ${auto.toFixed(1)} with: ${more().toFixed(1)} more (${processes} processes each)`,
  )
  if (more() > Number(values.limit)) process.exit(1)
}
