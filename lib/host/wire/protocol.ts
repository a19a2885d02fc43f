/**
 * Messages between the main thread and the engine thread (the host). Plain data only, so that the same protocol can cross a
 * thread or a process border. The host answers with one `step` message per step, or run of short ones, which carries all tokens
 * of all requests.
 * Besides messages the two share a few words of memory (`Control`), for what must be seen in the middle of a step.
 */
import type { ErrorData } from '../../base/errors.ts'
import type { KvDtype, SamplerParams } from '../../base/native.ts'
import type { ModelLocation } from '../../model/locate.ts'
import type { CallSpec } from '../../tools/call-format.ts'
import type { TokenBytes } from '../output/detokenizer.ts'
import type { ReasoningSpec, TokenRole } from '../output/token-text.ts'

/** What load needs; made from LoadOptions on the main thread, every default filled in. */
export interface HostOptions {
  model: ModelLocation
  device: 'auto' | 'cpu' | 'reference' | 'cuda' | `cuda:${number}`
  isa: string | null
  /** Where processes that share weights find each other; null: they do not. */
  sharingFolder: string | null
  threads: number | 'auto'
  /** undefined: what the model was trained for, or less if memory says so. */
  contextTokens: number | undefined
  /** undefined: see memory-plan.ts. */
  kvMemoryBytes: number | undefined
  kvDtype: KvDtype
  prefixCache: boolean
  /** Tokens one step may compute. */
  stepTokens: number
  /** Sequences that may be running at once. */
  maxSequences: number
  policy: SchedulingPolicy
  /** Where guesses come from; undefined: nothing is guessed. */
  drafting: DraftingOptions | undefined
  /** Checks the block manager after every step: for tests. */
  checkBlocks: boolean
  /** Where to write what the engine was told to do (step-recorder.ts); for measurements. */
  recordFile: string | undefined
  /** Whether anybody wants the load's progress, and its lines for the log. */
  told: { progress: boolean; log: boolean }
}

/** Which drafters guess, and how much; see LoadOptions.speculation. */
export interface DraftingOptions {
  own: boolean
  shared: boolean
  /** A model that guesses. */
  model: ModelLocation | undefined
  maxModelDrafts: number
  /** Always so many guesses; undefined: as many as pay. */
  fixed: number | undefined
}

/** How requests share the engine; see LoadOptions for what each means. */
export interface SchedulingPolicy {
  objective: 'latency' | 'throughput'
  maxStepMs: number
  /** Requests, and prompt tokens, that may wait; a request too many is refused. */
  maxQueuedRequests: number
  maxQueuedTokens: number
  /** A request whose reader paused it this long fails. */
  idleTimeoutMs: number
  /** Weights of tenants that have another one than 1. */
  weights: Record<string, number>
}

export interface HostData {
  options: HostOptions
  control: SharedArrayBuffer
}

/** Words of the shared control memory (Int32Array). */
export const controlIndex = {
  /** 1: stop computing; set before `native.interrupt`, so that a discarded step is not planned again. */
  halt: 0,
  /** Tokens of the step in flight; 0 between steps, and when it repeats a discarded one. */
  stepTokens: 1,
} as const
export const controlBytes = 8

/** Sampling parameters as they travel: SamplerParams without what the host knows itself. */
export type SamplingSpec = Omit<SamplerParams, 'promptLength'>

export interface RequestSpec {
  id: number
  mode: 'generate' | 'score'
  tokens: Int32Array
  /** Tokens to generate at most; the context's end may come first. 0 when scoring. */
  maxTokens: number
  stop: string[]
  /** Tokens that end it as the model's end tokens do, whatever `ignoreEos` says. */
  stopTokens?: StopToken[]
  ignoreEos: boolean
  /** Present: the output's reasoning comes apart. */
  reasoning?: ReasoningSpec
  /** Present: calls of tools come apart. */
  calls?: CallSpec
  /** The output's first text loses one leading space: answers of SentencePiece models, but not continuations of a prompt. */
  dropPrefixSpace?: boolean
  sampling: SamplingSpec
  /** Requests with different salts share no cached prefix. */
  salt: string
  /** When the caller asked, in ms since the epoch (fractional): timings count from here. */
  askedAtMs: number
  /** Higher goes first among one tenant's requests. Default 0. */
  priority?: number
  /** Who is charged for it. Default ''. */
  tenant?: string
  /** Milliseconds after askedAtMs. */
  deadlines?: { firstTokenMs?: number | undefined; totalMs?: number | undefined }
  /** False: nothing is guessed for it. */
  speculation?: boolean
  /** A host that died had accepted the request (so no queue refuses it now): what was delivered of its output. */
  resumed?: Delivered
}

export interface StopToken {
  token: number
  /** The entry of `stop` that names it. */
  text?: string
}

export interface Delivered {
  tokens: Int32Array
  /** Characters (UTF-16). */
  text: number
  reasoning: number
  calls: number
  firstTokenAtMs: number
}

/** What a model file says, in numbers. */
export interface ModelInfo {
  /** The file's own name for the model, or the file's name. */
  name: string
  /** Architecture family. */
  architecture: string
  parameters: number
  layers: number
  width: number
  heads: number
  kvHeads: number
  headSize: number
  feedForward: number
  vocabularySize: number
  /** Tokens the model was trained for. */
  trainedContextTokens: number
  /** The format that holds most of the weights. */
  weightFormat: string
  /** Size of all files. */
  fileBytes: number
  /** Weights in memory. */
  bytes: number
}

/** The text side's contribution, known when the tokenizer is loaded. Sent once, before the first request. */
export interface VocabularyData {
  tokenBytes: TokenBytes
  eosIds: number[]
}

/** Keys and values in a session file. */
export interface KvFile {
  /** An existing file. */
  path: string
  /** Where the blocks begin. */
  offset: number
  /** Of the blocks: so many whole ones. */
  tokens: Int32Array
  salt: string
  /** Digest of what the file holds before its blocks. */
  seed: Uint8Array
}

export type ToHost =
  | { type: 'vocabulary'; vocabulary: VocabularyData }
  | { type: 'request'; request: RequestSpec }
  | { type: 'cancel'; id: number }
  | { type: 'pause'; id: number }
  | { type: 'resume'; id: number }
  /** Answered by `kvDone`. */
  | { type: 'kvSave'; id: number; file: KvFile }
  | { type: 'kvRestore'; id: number; file: KvFile }
  /** Turned off, the host answers with what it recorded. */
  | { type: 'trace'; on: boolean }
  /** Also aborts a load that is still under way. The host frees everything, posts `closed` and ends. */
  | { type: 'close' }

/** What the engine thread takes. */
export type ToThread = ({ type: 'start' } & HostData) | ToHost

export type FinishReason = 'stop' | 'length' | 'cancelled'

/**
 * What ended an answer: a text of `stop`, with its id where it names a control token; or a token of `stopTokens` or of the model's end
 * tokens.
 */
export interface StopMatch {
  text?: string
  token?: number
}

/** The log-probability of one token of the output, and of the most likely tokens at its place. */
export interface TokenLogprob {
  token: number
  logprob: number
  top: { token: number; logprob: number }[]
}

export interface Timings {
  /** From the call until the request's first step (tokenising and waiting). */
  queueMs: number
  /** From there to its first token. */
  prefillMs: number
  /** From the call to the first token. */
  firstTokenMs: number
  /** From the call to the end. */
  totalMs: number
  /** Output tokens after the first, per second since the first; 0 for fewer than two tokens. */
  tokensPerSecond: number
  /** Between one output token and the next; tokens that one step brought share its time. 0 for fewer than two tokens. */
  interTokenMs: { p50: number; p99: number }
  /** How often its place in the KV cache was taken from it; it was recomputed, the tokens are the same. */
  preemptions: number
  /** Absent when no guess was computed. */
  speculation?: SpeculationTimings
}

/** Guesses at what comes next that were computed for a request. */
export interface SpeculationTimings {
  proposed: number
  /** Those that were right. */
  accepted: number
  /** Tokens that it got beyond one a step. */
  stepsSaved: number
  /** Of guesses by their place in a row of guesses, the share that was right. */
  acceptanceByPosition: number[]
}

/** How a request ended. Scores carry their log-probabilities here. */
export type RequestEnd =
  | {
      reason: FinishReason
      stop?: StopMatch
      cachedTokens: number
      /** Those of a stop text included, which no part brings. */
      generatedTokens: number
      timings: Timings
      scores?: Float32Array
    }
  | { error: ErrorData }

/**
 * What one request can give out after a step: tokens with the text they spell. Tokens of an unfinished character or of what may be a
 * stop text or a marker come with a later part, or never. Only where a stop text cuts a token apart is there text without its token.
 */
export interface StepPart {
  id: number
  text: string
  reasoning?: string
  /** Calls of tools as the model writes them, for lib/tools/call-reader.ts. */
  calls?: string
  tokens: number[]
  /** Of each token; absent: all are of the answer. */
  roles?: TokenRole[]
  /** One entry a token. */
  logprobs?: TokenLogprob[]
  end?: RequestEnd
}

/** Parts that have text and tokens only, as they travel: id, text, how many tokens, the tokens; and so on. */
export type PlainParts = (number | string)[]

/** One tenant, '' for requests that named none. Counts since load; a tenant long idle may be forgotten. */
export interface TenantStats {
  weight: number
  running: number
  waiting: number
  /** Requests that began. */
  requests: number
  promptTokens: number
  cachedTokens: number
  generatedTokens: number
  /** Blocks of the KV cache that its running requests hold; what several of them share counts once, and no two tenants share any. */
  kvBlocks: number
}

export interface EngineStats {
  kv: { totalBlocks: number; freeBlocks: number; cachedBlocks: number }
  requests: { running: number; waiting: number; paused: number }
  /** What waits: tokens to compute before the first token of each, the longest wait, and an estimate of the time to work it off. */
  queue: { tokens: number; oldestMs: number; drainMs: number }
  tenants: Record<string, TenantStats>
  /** Requests that ended with OVERLOADED, DEADLINE_EXCEEDED, CONSUMER_TIMEOUT. */
  refused: { overloaded: number; deadline: number; consumer: number }
  /** Guesses computed, those that were right, and tokens that requests got beyond one a step. */
  drafts: { proposed: number; accepted: number; stepsSaved: number }
  /** Steps computed; the rest counts tokens and events since load. */
  steps: number
  /** Tokens of the prompts of requests that began; cachedTokens of them were found in the prefix cache. */
  promptTokens: number
  cachedTokens: number
  generatedTokens: number
  preemptions: number
}

/** EngineStats as it travels. */
export interface StatsRow {
  numbers: number[]
  /** Name and numbers of one tenant after the other. */
  tenants: (string | number)[]
}

export interface RequestRecord {
  id: number
  tenant: string
  promptTokens: number
  /** Found in the prefix cache; -1 when it never began. */
  cachedTokens: number
  outputTokens: number
  askedAtMs: number
  /** 0: it still runs. */
  endedAtMs: number
  /** How it ended: a finish reason or the code of an error. */
  reason: string
}

export interface StepRecords {
  beganAtMs: number
  endedAtMs: number
  steps: Float64Array
  segments: Int32Array
  requests: RequestRecord[]
  /** Steps that came when the trace was full. */
  lostSteps: number
}

/** `blocks`: how many were written, or are in the cache now. */
export type KvTransferEnd = { id: number } & ({ blocks: number } | { error: ErrorData })

export interface LoadProgress {
  phase: 'open' | 'weights' | 'cache' | 'ready'
  loadedBytes: number
  totalBytes: number
  /** 0..1 over all phases. */
  fraction: number
}

/** What the main thread learns when the model is loaded. */
export interface LoadedInfo {
  engineId: number
  model: ModelInfo
  /** Tokens of one request, prompt and output. */
  contextTokens: number
  stats: EngineStats
  /** What its keys and values depend on; `model` is what modelIdentity makes an identity of. */
  kv: { model: string; numerics: string; blockBytes: number }
}

export type FromHost =
  | { type: 'progress'; progress: LoadProgress }
  | { type: 'log'; message: string }
  | { type: 'loaded'; info: LoadedInfo }
  /** Statistics come with every end, with the last message before the host idles, and now and then between. */
  | { type: 'step'; parts: StepPart[]; plain?: PlainParts; stats?: StatsRow }
  /** Load failed, or the engine cannot go on; the host ends by itself after it. */
  | { type: 'failed'; error: ErrorData }
  | { type: 'trace'; records: StepRecords }
  | ({ type: 'kvDone' } & KvTransferEnd)
  | { type: 'closed' }

/** One end of the wire, as the loop sees it; `receive` never waits. */
export interface HostPort {
  receive(): ToHost | undefined
  post(message: FromHost): void
  /** Asks for a run of the loop at that time (ms since the epoch) even if no message comes; Infinity: not any more. */
  wakeAt(timeMs: number): void
}
