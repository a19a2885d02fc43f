// Memory of a loaded engine, each in a process of its own: the resident set minus that of an engine with the small 'stories'
// must be what `octavo inspect` says of the two, within 5%; and the most that was resident during the load at most 1.15 times
// what is afterwards. The same for the first model with a larger context, after load, when its KV pool is mostly unused, and after
// prompts that fill the pool. Exits 1 otherwise. Models: those named, and synthetic ones.
//
//   node test/deep/load-memory.mjs [model.gguf ...]
import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const contextTokens = 256
const largeContextTokens = 2048
const most = { error: 0.05, peak: 1.15 }
const root = fileURLToPath(new URL('../..', import.meta.url))
const run = (args) =>
  JSON.parse(execFileSync(process.execPath, args, { cwd: root, encoding: 'utf8', maxBuffer: 1 << 26 }))

const measured = (model, { context = contextTokens, fill = 0, times = 5 } = {}) => {
  const source = `
    import { readFileSync } from 'node:fs'
    import { Engine } from 'octavo'
    const engine = await Engine.load(${JSON.stringify({ model, contextTokens: context })})
    const tokens = engine.model.contextTokens - 1
    for (let i = 0; i < ${fill}; i++)
      await engine.generate({ prompt: Array.from({ length: tokens }, (_, at) => 300 + ((i + at) % 1000)), maxTokens: 1 }).result
    const status = readFileSync('/proc/self/status', 'utf8')
    const bytes = (name) => 1024 * parseInt(status.split(name + ':')[1])
    console.log(JSON.stringify({ resident: bytes('VmRSS'), peak: bytes('VmHWM') }))
    await engine.close()`
  const runs = Array.from({ length: times }, () => run(['--input-type=module', '-e', source]))
  return runs.toSorted((a, b) => a.resident - b.resident)[times >> 1]
}
const predicted = (model, context = contextTokens) =>
  run(['dist/cli/main.js', 'inspect', model, '--context', `${context}`, '--json']).memory

const base = { measured: measured('stories'), predicted: predicted('stories').totalBytes }
const models = [...process.argv.slice(2), 'synthetic:smollm2-135m', 'synthetic:tinyllama-1.1b']
const mebibytes = (bytes) => (bytes / 2 ** 20).toFixed(1)
const compare = (model, { resident, peak }, bytes) => {
  const taken = resident - base.measured.resident
  const said = bytes - base.predicted
  return { model: model.split('/').at(-1), taken, said, error: said / taken - 1, peak: peak / resident }
}
const results = models.map((model) => compare(model, measured(model), predicted(model).totalBytes))
const large = predicted(models[0], largeContextTokens)
const runs = { context: largeContextTokens, fill: large.kvTokens / largeContextTokens }
results.push(
  compare(`${models[0]}, large pool`, measured(models[0], { ...runs, fill: 0 }), large.totalBytesAtLoad),
  compare(`${models[0]}, large pool, full`, measured(models[0], { ...runs, times: 1 }), large.totalBytes),
)
for (const { model, taken, said, error, peak } of results)
  console.log(
    `${model}: ${mebibytes(taken)} MiB more than stories, predicted ${mebibytes(said)} (${(100 * error).toFixed(1)}%); peak ${peak.toFixed(3)} of resident`,
  )
const bad = results.filter(({ error, peak }) => Math.abs(error) > most.error || peak > most.peak)
const worst = (list) => Math.max(...list).toFixed(3)
console.log(
  `summary: ${results.length} models, prediction off by at most ${worst(results.map((r) => Math.abs(r.error)))}, peak at most ${worst(results.map((r) => r.peak))} of resident`,
)
process.exitCode = bad.length === 0 ? 0 : 1
