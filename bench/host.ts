/**
 * What a step costs outside native code: planning and committing at 64 and 256 decoding sequences (against the in-memory fake of
 * the native engine), the streaming detokeniser with stop strings, and a native call. Microseconds, medians; the limit that
 * counts is the step itself, milliseconds long.
 *
 *   npm run bench
 */
import { Bench } from 'tinybench'
import { greedySampling, native } from '../lib/base/native.ts'
import { NativeKv } from '../lib/host/loop.ts'
import { TokenTable } from '../lib/host/output/detokenizer.ts'
import { OutputText } from '../lib/host/output/output-text.ts'
import { HostRequest } from '../lib/host/schedule/request.ts'
import { Scheduler } from '../lib/host/schedule/scheduler.ts'
import { FakeNativeEngine, policy } from '../test/fake-native.ts'

const stepTokens = 512

/** Steps of `sequences` decoding requests. */
function decoding(sequences: number) {
  const engine = new FakeNativeEngine({ kvBlocks: sequences * 4096, prefixCache: false, maxStepTokens: stepTokens })
  const scheduler = new Scheduler(new NativeKv(engine), { stepTokens, maxSequences: 256, prefixCache: false, policy })
  for (let id = 0; id < sequences; id++) {
    const rest = { mode: 'generate', maxTokens: 65000, ignoreEos: true, salt: '', askedAtMs: 0 } as const
    scheduler.add(
      new HostRequest(
        { id, tokens: Int32Array.of(1 + id), sampling: greedySampling, ...rest, stop: [] },
        65536,
        new Set(),
      ),
      0,
    )
  }
  const results = {
    ...{ tokens: new Int32Array(stepTokens).fill(7), logprobs: new Float32Array(stepTokens), steps: 1, ms: 10 },
    drafts: new Int32Array(0),
    top: () => ({ tokens: new Int32Array(0), logprobs: new Float32Array(0) }),
  }
  return () => {
    const plan = scheduler.plan(0)
    if (plan === undefined) return false // all have reached their limit
    scheduler.commit(plan, results, 0)
    for (let i = 0; i < plan.nSegments; i++) plan.requests[i]!.takePart()
    return true
  }
}

/** Decoding without end: begins anew, once in some 65,000 steps. */
function decodingForEver(sequences: number) {
  let step = decoding(sequences)
  return () => {
    if (!step()) step = decoding(sequences)
  }
}

const letters = new TextEncoder().encode('abcdefghijklmnopqrstuvwxyz')
const offsets = Uint32Array.from({ length: 27 }, (_, i) => i)
const text = new OutputText(new TokenTable({ bytes: letters, offsets }), { stop: ['\n\n', 'stop here'] })
let token = 0

const bench = new Bench({ time: 500 })
bench
  .add('plan + commit, 64 sequences', decodingForEver(64))
  .add('plan + commit, 256 sequences', decodingForEver(256))
  .add('detokenise + stop strings, one token', () => {
    text.push(token++ % 26)
    text.take()
  })
  .add('native call', () => native().interrupt(0))
await bench.run()

const rows = bench.tasks.map((task) => {
  if (!('latency' in task.result)) throw new Error(`${task.name} failed`)
  return { task: task.name, 'median us': Number((task.result.latency.p50 * 1000).toFixed(3)) }
})
if (process.argv.includes('--json')) console.log(JSON.stringify(rows))
else console.table(rows)
