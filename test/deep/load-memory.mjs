// Memory of a loaded engine, each in a process of its own: the resident set minus that of an engine with the small 'stories'
// must be what `octavo inspect` says of the two after a load, within 5%; and the most that was resident during the load at most 1.15
// times what is afterwards. The same with a large KV pool, of which little is in use then. Exits 1 otherwise. Models: those
// named, and files with random weights.
//
//   node test/deep/load-memory.mjs [model.gguf ...]
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const contextTokens = 256
const largeContextTokens = 8192
const most = { error: 0.05, peak: 1.15 }
const root = fileURLToPath(new URL('../..', import.meta.url))
const run = (args) =>
  JSON.parse(execFileSync(process.execPath, args, { cwd: root, encoding: 'utf8', maxBuffer: 1 << 26 }))

const measured = (model, context = contextTokens) => {
  const source = `
    import { readFileSync } from 'node:fs'
    import { Engine } from 'octavo'
    const engine = await Engine.load(${JSON.stringify({ model, contextTokens: context })})
    const status = readFileSync('/proc/self/status', 'utf8')
    const bytes = (name) => 1024 * parseInt(status.split(name + ':')[1])
    console.log(JSON.stringify({ resident: bytes('VmRSS'), peak: bytes('VmHWM') }))
    await engine.close()`
  const runs = Array.from({ length: 5 }, () => run(['--input-type=module', '-e', source]))
  return runs.toSorted((a, b) => a.resident - b.resident)[2]
}
const predicted = (model, context = contextTokens) =>
  run(['dist/cli/main.js', 'inspect', model, '--context', `${context}`, '--json']).memory.totalBytesAtLoad

const base = { measured: measured('stories'), predicted: predicted('stories') }
const folder = mkdtempSync(join(tmpdir(), 'octavo-load-memory-'))
process.on('exit', () => rmSync(folder, { recursive: true, force: true }))
const synthesized = ['tinyllama-1.1b', 'smollm2-135m'].map((preset) => {
  const file = join(folder, `${preset}.gguf`)
  execFileSync(process.execPath, ['dist/cli/main.js', 'synthesize', preset, file], { cwd: root, stdio: 'ignore' })
  return file
})
const models = [...process.argv.slice(2), ...synthesized]
const mebibytes = (bytes) => (bytes / 2 ** 20).toFixed(1)
const compare = (model, { resident, peak }, bytes) => {
  const taken = resident - base.measured.resident
  const said = bytes - base.predicted
  return { model: model.split('/').at(-1), taken, said, error: said / taken - 1, peak: peak / resident }
}
const results = models.map((model) => compare(model, measured(model), predicted(model)))
const large = models.at(-1)
results.push(
  compare(`${large} with a large pool`, measured(large, largeContextTokens), predicted(large, largeContextTokens)),
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
