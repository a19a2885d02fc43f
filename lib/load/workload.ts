/**
 * What the clients of a load test ask for: prompts as token ids and output lengths, from seeded distributions.
 *
 *   fixed     the same lengths for every request, after a shared prefix if wanted
 *   sharegpt  log-normal lengths with the means that Kwon et al. 2023 (PagedAttention) give for ShareGPT: 161 and 338 tokens
 *   rag       a question about one of 16 documents; some are asked for far more often than others
 *   agents    one of 4 long instructions, then a conversation that grows with every step by an answer and a tool's result
 *
 * Ids without meaning, as a random model needs; outputs are as long as drawn, because end-of-text tokens are ignored.
 */
import type { Random } from './random.ts'

export interface LoadRequest {
  prompt: Int32Array
  maxTokens: number
}

export interface LoadOutcome extends LoadRequest {
  output: number[]
}

export interface Workload {
  /** Most tokens of one request, prompt and output. */
  readonly contextTokens: number
  /** Mean tokens of one request, prompt and output; estimates the KV cache. */
  readonly meanTokens: number
  /** The next request of a client; `previous`: its last one, if it waited for its end. */
  next(random: Random, previous: LoadOutcome | undefined): LoadRequest
}

export const workloadNames = ['fixed', 'sharegpt', 'rag', 'agents'] as const
export type WorkloadName = (typeof workloadNames)[number]

export interface WorkloadOptions {
  vocabulary: number
  /** Multiplies all lengths. */
  scale: number
  /** Of `fixed`: tokens of its own, tokens that all requests begin with, tokens to generate. */
  promptTokens: number
  sharedTokens: number
  outputTokens: number
  random: Random
}

/** Lower ids are control tokens in most vocabularies. */
const firstId = 300

export function createWorkload(name: WorkloadName, options: WorkloadOptions): Workload {
  const makers = { fixed, sharegpt, rag, agents }
  return makers[name](options)
}

function ids(random: Random, count: number, vocabulary: number): Int32Array {
  const first = Math.min(firstId, vocabulary - 1)
  return Int32Array.from({ length: count }, () => first + random.below(vocabulary - first))
}

function joined(...parts: ArrayLike<number>[]): Int32Array {
  const all = new Int32Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.length
  }
  return all
}

const within = (length: number, least: number, most: number) => Math.max(least, Math.min(most, Math.round(length)))

function fixed({ vocabulary, scale, promptTokens, sharedTokens, outputTokens, random }: WorkloadOptions): Workload {
  const own = within(promptTokens * scale, 1, 1e6)
  const maxTokens = within(outputTokens * scale, 1, 1e6)
  const shared = ids(random, Math.round(sharedTokens * scale), vocabulary)
  const total = shared.length + own + maxTokens
  return {
    ...{ contextTokens: total, meanTokens: total },
    next: (client) => ({ prompt: joined(shared, ids(client, own, vocabulary)), maxTokens }),
  }
}

function sharegpt({ vocabulary, scale }: WorkloadOptions): Workload {
  const most = Math.ceil(1024 * scale)
  const draw = (client: Random, mean: number, sigma: number) => within(client.logNormal(mean * scale, sigma), 4, most)
  return {
    ...{ contextTokens: 2 * most, meanTokens: Math.ceil(499 * scale) },
    next: (client) => ({ prompt: ids(client, draw(client, 161, 1.1), vocabulary), maxTokens: draw(client, 338, 0.8) }),
  }
}

function rag({ vocabulary, scale, random }: WorkloadOptions): Workload {
  const system = ids(random, Math.ceil(64 * scale), vocabulary)
  const document = () => ids(random, within(random.logNormal(800 * scale, 0.3), 16, 2000 * scale), vocabulary)
  const documents = Array.from({ length: 16 }, document)
  const most = within(256 * scale, 8, 1e6)
  return {
    contextTokens: system.length + Math.max(...documents.map((d) => d.length)) + Math.ceil(40 * scale) + most,
    meanTokens: Math.ceil(960 * scale),
    next: (client) => {
      const question = ids(client, within((20 + client.below(20)) * scale, 1, 1e6), vocabulary)
      const prompt = joined(system, documents[client.zipf(documents.length)]!, question)
      return { prompt, maxTokens: within(client.logNormal(64 * scale, 0.6), 4, most) }
    },
  }
}

/** Steps of one conversation before the client starts another. */
const agentSteps = 8

function agents({ vocabulary, scale, random }: WorkloadOptions): Workload {
  const instructions = Array.from({ length: 4 }, () => ids(random, Math.ceil(1200 * scale), vocabulary))
  const longest = instructions[0]!.length
  const result = (client: Random) => ids(client, within(client.logNormal(100 * scale, 0.5), 4, 300 * scale), vocabulary)
  const mostOutput = within(200 * scale, 8, 1e6)
  const contextTokens = longest + agentSteps * (Math.ceil(300 * scale) + mostOutput)
  const fresh = (client: Random) => joined(instructions[client.below(instructions.length)]!, result(client))
  return {
    contextTokens,
    meanTokens: Math.ceil(longest + (agentSteps / 2) * 180 * scale),
    next: (client, previous) => {
      const maxTokens = within(client.logNormal(80 * scale, 0.5), 4, mostOutput)
      const goesOn = previous !== undefined && client.below(agentSteps) > 0
      const prompt = goesOn ? joined(previous.prompt, previous.output, result(client)) : fresh(client)
      return prompt.length + maxTokens <= contextTokens ? { prompt, maxTokens } : { prompt: fresh(client), maxTokens }
    },
  }
}
