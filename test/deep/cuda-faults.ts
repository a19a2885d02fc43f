// What goes wrong at the driver, seen from Node: an engine is loaded, answers several requests at once, saves a session, answers again
// and is closed, and each of the driver's calls on the way fails once in turn (all the later ones too, where the error is one that a
// context keeps). Whatever fails is an error with a code; nothing else is wrong, nothing is left over, and another engine on the same
// device goes on.
//
//   node --import tsx test/deep/cuda-faults.ts --tries 100000 --errors 2,719,999
//
// Needs what `npm run test:cuda` builds. --tries N: so many calls, evenly spread, or each of them; the errors take turns. The last line
// is the counts as JSON.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { Engine, OctavoError } from 'octavo'
import { onFakeGpu } from '../fake-gpu.ts'

const driver = onFakeGpu(import.meta.url)
const { values } = parseArgs({
  options: { tries: { type: 'string', default: '100000' }, errors: { type: 'string', default: '2,719,999' } },
})
const errors = values.errors.split(',').map(Number)
/** CUDA_ERROR_LAUNCH_FAILED: the context is good for nothing from then on. */
const staying = 719
const model = fileURLToPath(new URL('../../models/octavo-stories-draft-q4_0.gguf', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'octavo-cuda-'))

const load = () =>
  Engine.load({ model, device: 'cuda', contextTokens: 64, kv: { memory: '256KiB' }, speculation: 'off' })
const prompts = ['Once upon a time there was a small fox', 'The'] as const
const kind = { temperature: 0.8, seed: 3, maxTokens: 2, ignoreEos: true, logprobs: 1 }
const turn = { ...kind, logitBias: { 0: -1000, 1: -1000, 2: -1000 } }

type Outcome = string
type Work = Record<'load' | 'answers' | 'turn' | 'save' | 'after' | 'close', Outcome>

/** The answer as a text, or an error's code. Anything else that is thrown ends the program. */
async function outcome(act: () => Promise<unknown>): Promise<Outcome> {
  try {
    return JSON.stringify((await act()) ?? null)
  } catch (error) {
    if (error instanceof OctavoError) return error.code
    throw error
  }
}

async function work(): Promise<Work> {
  let engine: Engine | undefined
  const answer = (prompt: string) => {
    return engine!.generate({ prompt, ...kind }).result.then(({ tokens, logprobs }) => ({ tokens, logprobs }))
  }
  const loaded = await outcome(async () => {
    engine = await load()
  })
  const none = { load: loaded, answers: '', turn: '', save: '', after: '', close: '' }
  if (engine === undefined) return none
  const session = engine.session({ system: 'Be kind to all.' })
  const answers = await outcome(() => Promise.all(prompts.map(answer)))
  const turned = await outcome(async () => (await session.generate('Go on.', turn).result).tokens)
  const save = await outcome(async () => (await session.save(join(folder, 'session'))).tokens)
  const after = await outcome(() => answer(prompts[1]))
  return { load: loaded, answers, turn: turned, save, after, close: await outcome(() => engine!.close()) }
}

const live = () => {
  const { liveObjects, liveDevice, liveHost } = driver.report()
  return JSON.stringify({ liveObjects, liveDevice, liveHost })
}
function check(holds: boolean, what: string, ...rest: unknown[]): void {
  if (holds) return
  console.error(what, ...rest)
  process.exit(1)
}

const bystander = await load()
const its = () => bystander.generate({ prompt: 'A', ...kind }).result.then(({ tokens }) => tokens.join())
const itsTokens = await its()
await work()
const before = live()
driver.set('reset')
const truth = await work()
const { calls, brokenRules, inexactSums } = driver.report()
check(inexactSums === 0, 'sums on the fake tensor cores were rounded', inexactSums)
check(brokenRules === 0 && live() === before, 'an undisturbed piece of work leaves something', before, live())
for (const [part, found] of Object.entries(truth)) check(!/^[A-Z_]+$/.test(found), `undisturbed, ${part} is`, found)

const expectedCodes = ['ENGINE_FAILED', 'OUT_OF_MEMORY', 'DEVICE_UNAVAILABLE']
const counts = { calls, tried: 0, load: 0, answers: 0, turn: 0, save: 0, after: 0, unnoticed: 0, others: 0 }
const tries = Math.min(calls, Number(values.tries))
for (let at = 0; at < tries; at++) {
  const k = 1 + Math.floor((at * calls) / tries)
  const error = errors[at % errors.length]!
  driver.set(`reset rules=record fail=${k}:${error}`)
  const found = await work()
  driver.set('fail=0:0')
  const { brokenRules, failedKernels, failedCall } = driver.report()
  const where = `call ${k} of ${calls}, ${failedCall}, fails with ${error}`
  driver.set('reset rules=abort')
  check(brokenRules === 0, `${where}: a rule of the API is broken`)
  check(failedKernels === 0, `${where}: a kernel ran on what was not there`)
  check(live() === before, `${where}: left over`, before, live(), found)
  const parts = Object.keys(truth) as (keyof Work)[]
  const first = parts.find((part) => found[part] !== truth[part])
  counts.tried++
  if (first === undefined) counts.unnoticed++
  else if (first !== 'close') counts[first]++
  for (const part of parts.slice(first === undefined ? parts.length : parts.indexOf(first))) {
    if (found.load !== truth.load && part !== 'load') break
    check(found[part] === truth[part] || expectedCodes.includes(found[part]), `${where}: ${part} is`, found[part])
  }
  // Only the save is lost where only the save needed that call.
  if (first === 'save' && error !== staying) check(found.after === truth.after, `${where}: after it`, found.after)
  if (first !== undefined && error !== staying && counts.tried % 4 === 0) {
    check((await its()) === itsTokens, `${where}: another engine on this device gives other tokens`)
    counts.others++
  }
}
await bystander.close()
const { liveObjects, liveDevice, liveHost } = driver.report()
check(liveObjects + liveDevice + liveHost === 0, 'left over in the end', live())
rmSync(folder, { recursive: true })
console.log(
  `summary: ${counts.tried} of ${calls} calls failed, each once: ${counts.load} loads, ${counts.answers + counts.turn + counts.after} answers, ` +
    `${counts.save} saves ended with a code, ${counts.unnoticed} did no harm; nothing left over, another engine undisturbed ${counts.others} times`,
)
console.log(JSON.stringify(counts))
