/**
 * What `octavo bench-load` and `octavo trace` share: the flags that describe a load, and an engine with room for it.
 */
import { type Command, Option } from 'commander'
import { Engine } from '../index.ts'
import { drive, type LoadResult } from '../load/drive.ts'
import { Random } from '../load/random.ts'
import { createWorkload, type Workload, type WorkloadName, workloadNames } from '../load/workload.ts'
import { openCheckpoint } from '../model/checkpoint.ts'
import { kvBytesPerToken } from '../model/memory.ts'
import { integer, number, positive, speculationOption } from './flags.ts'
import { clearStatusLine, statusLine } from './output.ts'

export interface LoadFlags {
  workload: WorkloadName
  clients: number
  rate?: number
  seconds: number
  requests?: number
  warmup: number
  scale: number
  prompt: number
  shared: number
  tokens: number
  temperature: number
  seed: number
  threads?: number
  kvMemory?: string
  prefixCache: boolean
  isolation: 'thread' | 'process'
  objective: 'latency' | 'throughput'
  maxStepMs?: number
  speculation: 'auto' | 'off'
}

export function addLoadFlags(command: Command, defaults: { seconds: number; warmup: number }): Command {
  return command
    .addOption(new Option('--workload <name>', 'what is asked for').choices(workloadNames).default('sharegpt'))
    .option('--clients <n>', 'clients that ask again when their answer is complete', positive, 16)
    .option('--rate <n>', 'instead of clients: requests that arrive per second, at random times', number)
    .option('--seconds <n>', 'length of the measured span', number, defaults.seconds)
    .option('--requests <n>', 'the span ends when so many of its requests have ended', positive)
    .option('--warmup <seconds>', 'before the measured span', number, defaults.warmup)
    .option('--scale <x>', 'multiplies all lengths of the workload', number, 1)
    .option('-p, --prompt <tokens>', "of workload 'fixed'", positive, 128)
    .option('--shared <tokens>', "of workload 'fixed': tokens that all prompts begin with", integer, 0)
    .option('-n, --tokens <tokens>', "of workload 'fixed': tokens to generate", positive, 64)
    .option('-t, --temperature <x>', '0 takes the most likely token each time', number, 0.8)
    .option('--seed <n>', 'same seed, same requests', integer, 1)
    .option('--threads <n>', 'threads to compute with; all CPUs of this process when absent', positive)
    .option('--kv-memory <size>', 'memory of the KV cache; room for all clients when absent')
    .option('--no-prefix-cache', 'requests do not find what earlier ones computed')
    .addOption(new Option('--isolation <place>', 'where to compute').choices(['thread', 'process']).default('thread'))
    .addOption(new Option('--objective <what>').choices(['latency', 'throughput']).default('latency'))
    .option('--max-step-ms <n>', 'milliseconds a step may take while requests are generating', number)
    .addOption(speculationOption().default('off'))
}

export interface LoadRun {
  model: string
  workload: Workload
  result: LoadResult
}

/** Loads, sends the load, closes. `around` may do something with the engine before and after. */
export async function runLoad(
  model: string,
  flags: LoadFlags,
  around: { before?: (engine: Engine) => void; after?: (engine: Engine) => Promise<void> } = {},
): Promise<LoadRun> {
  const random = new Random(flags.seed)
  const { desc } = openCheckpoint(model)
  const workload = createWorkload(flags.workload, {
    vocabulary: desc.vocabulary,
    scale: flags.scale,
    promptTokens: flags.prompt,
    sharedTokens: flags.shared,
    outputTokens: flags.tokens,
    random: random.child(-1),
  })
  const memory = flags.kvMemory ?? kvMemory(flags, workload, kvBytesPerToken(desc, 'f16'))
  statusLine(`loading ${model}`)
  const engine = await Engine.load({
    model,
    contextTokens: workload.contextTokens,
    kv: { memory },
    threads: flags.threads,
    prefixCache: flags.prefixCache,
    isolation: flags.isolation,
    objective: flags.objective,
    maxStepMs: flags.maxStepMs,
    speculation: flags.speculation,
  })
  try {
    statusLine(`measuring: ${flags.warmup} s to warm up, then up to ${flags.seconds} s`)
    around.before?.(engine)
    const result = await drive(engine, workload, {
      arrivals: flags.rate === undefined ? { clients: flags.clients } : { perSecond: flags.rate },
      warmupSeconds: flags.warmup,
      seconds: flags.seconds,
      requests: flags.requests ?? Number.POSITIVE_INFINITY,
      options: { temperature: flags.temperature, seed: flags.seed },
      random,
    })
    await around.after?.(engine)
    return { model: engine.model.name, workload, result }
  } finally {
    clearStatusLine()
    await engine.close()
  }
}

/** Room for what the clients hold on average and a third more, at least for one request of any length. */
function kvMemory(flags: LoadFlags, workload: Workload, tokenBytes: number): number {
  const sequences = flags.rate === undefined ? flags.clients : 32
  const tokens = Math.max(workload.contextTokens + 64, Math.ceil((4 / 3) * sequences * workload.meanTokens))
  return tokens * tokenBytes
}
