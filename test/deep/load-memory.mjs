// Memory of a loaded engine, each in a process of its own: the resident set minus that of an engine with the small 'stories'
// must be what `octavo inspect` says of the two, within 5%; and the most that was resident during the load at most 1.15 times
// what is afterwards. Exits 1 otherwise. Models: those named, and synthetic ones.
//
//   node test/deep/load-memory.mjs [model.gguf ...]
import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const contextTokens = 256
const most = { error: 0.05, peak: 1.15 }
const root = fileURLToPath(new URL('../..', import.meta.url))
const run = (args) =>
  JSON.parse(execFileSync(process.execPath, args, { cwd: root, encoding: 'utf8', maxBuffer: 1 << 26 }))

const measured = (model) => {
  const source = `
    import { readFileSync } from 'node:fs'
    import { Engine } from 'octavo'
    const engine = await Engine.load({ model: ${JSON.stringify(model)}, contextTokens: ${contextTokens} })
    const status = readFileSync('/proc/self/status', 'utf8')
    const bytes = (name) => 1024 * parseInt(status.split(name + ':')[1])
    console.log(JSON.stringify({ resident: bytes('VmRSS'), peak: bytes('VmHWM') }))
    await engine.close()`
  const runs = Array.from({ length: 5 }, () => run(['--input-type=module', '-e', source]))
  return runs.toSorted((a, b) => a.resident - b.resident)[2]
}
const predicted = (model) =>
  run(['dist/cli/main.js', 'inspect', model, '--context', `${contextTokens}`, '--json']).memory.totalBytes

const base = { measured: measured('stories'), predicted: predicted('stories') }
const models = [...process.argv.slice(2), 'synthetic:smollm2-135m', 'synthetic:tinyllama-1.1b']
const mebibytes = (bytes) => (bytes / 2 ** 20).toFixed(1)
const results = models.map((model) => {
  const { resident, peak } = measured(model)
  const taken = resident - base.measured.resident
  const said = predicted(model) - base.predicted
  return { model: model.split('/').at(-1), taken, said, error: said / taken - 1, peak: peak / resident }
})
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
