/**
 * The complete native surface, typed. The only place that loads the addon and the only cast. Every function is synchronous
 * and throws an `Error` with `code` (a stable octavo code) and `details` (names and values) set by cpp/addon/addon.cpp.
 */
import { fileURLToPath } from 'node:url'
import { findAddon, openAddon } from './addon.ts'
import { findCudaPlugin } from './cuda-plugin.ts'
import { packageRoot } from './package-files.ts'

/** A metadata value of a GGUF file. 64-bit integers beyond 2^53 arrive as bigint. */
export type GgufValue = boolean | number | bigint | string | GgufValue[]

/** Texts in one piece, UTF-8: text i is bytes[offsets[i] .. offsets[i + 1]]. */
export interface PackedTexts {
  bytes: Uint8Array
  offsets: Uint32Array
}

/** Texts of a file. */
export interface FileTexts extends PackedTexts {
  /** Whether no text begins within a character. */
  beginCharacters: boolean
}

/** A metadata value as `ggufRead` gives it when asked for packed ones. */
export type GgufPacked = GgufValue | FileTexts | Float64Array

export interface GgufTensor {
  name: string
  /** ggml type id, and its name ('q4_0', 'f32', ...; null when unknown to the reader). */
  type: number
  typeName: string
  /** ggml order: shape[0] is the contiguous dimension. */
  shape: number[]
  /** Absolute, in bytes. */
  offset: number
  bytes: number
}

export interface GgufFile {
  version: number
  alignment: number
  fileBytes: number
  metadata: Record<string, GgufValue>
  tensors: GgufTensor[]
}

/** Weight formats that can be computed with. */
export const weightFormats = [
  ...(['f32', 'f16', 'bf16', 'q8_0', 'q4_0', 'q4_1', 'q5_0', 'q5_1'] as const),
  ...(['q2_k', 'q3_k', 'q4_k', 'q5_k', 'q6_k', 'iq1_s', 'iq1_m', 'iq2_xxs', 'iq2_xs', 'iq2_s'] as const),
  ...(['iq3_xxs', 'iq3_s', 'iq4_nl', 'iq4_xs', 'mxfp4', 'nvfp4'] as const),
] as const
/** As GGUF stores weights (cpp/files/quant.h); each is computed with as it is, nothing is approximated. */
export type WeightFormat = (typeof weightFormats)[number]

/** Number formats of cached keys and values (docs/numerics.md, "KV cache"). */
export const kvDtypes = ['f16', 'bf16', 'fp8', 'int8'] as const
export type KvDtype = (typeof kvDtypes)[number]

/** Where a tensor's rows come from: bytes of a file, or a seeded generator (files[].path is then not used). */
export interface TensorSource {
  /** Index into ModelDesc.files; -1 = synthetic. */
  file: number
  offset: number
  bytes: number
  format: WeightFormat
  /** Output rows (n) and contiguous width (k). A vector has rows 1. */
  rows: number
  width: number
}

export type RopeScaling =
  | { kind: 'none' }
  | { kind: 'linear'; factor: number }
  | { kind: 'llama3'; factor: number; lowFreqFactor: number; highFreqFactor: number; originalContext: number }
  | {
      kind: 'yarn'
      factor: number
      originalContext: number
      betaFast: number
      betaSlow: number
      extrapolationFactor: number
      attentionFactor: number
    }
  /** One divisor per frequency (the `rope_freqs` tensor; longrope's factors), and the magnitude of cos and sin. */
  | { kind: 'factors'; factors: number[]; magnitude: number }

/** What the shapes of a model's tensors are made of. */
export interface ModelSizes {
  layers: number
  width: number
  heads: number
  kvHeads: number
  headSize: number
  feedForward: number
  vocabulary: number
}

/** Everything cpp/model/model.cpp needs: numbers, flags and byte ranges. Made by lib/model/checkpoint.ts. */
export interface ModelDesc extends ModelSizes {
  /** Architecture family, for messages. */
  architecture: string
  files: string[]
  normEps: number
  /** Tokens the model was trained for. */
  contextTokens: number
  activation: 'silu'
  rope: { style: 'interleaved' | 'half'; dims: number; base: number; scaling: RopeScaling }
  /** Keys a query sees; 0 = all. */
  slidingWindow: number
  /** First tokens of a sequence that a sliding window never hides. Absent: none. */
  attentionSinks?: number
  /** Attention scores become cap * tanh(score / cap). Absent: they stay. */
  attentionSoftCap?: number
  /** Seed of synthetic tensors. */
  seed: number
  /**
   * Tensors by role. Global roles: embed, outputNorm, output (absent: tied to embed). Per layer `layer.<i>.<role>` with roles
   * attnSinks (a learned logit a head that only takes weight), attnNorm, q, k, v, attnOut, qBias, kBias, vBias, attnOutBias,
   * qNorm, kNorm, ffnNorm, gate, up, down.
   */
  tensors: Record<string, TensorSource>
}

export interface CpuInfo {
  model: string
  /** Instruction set the CPU backend uses by default, and all it could use, best first. */
  isa: string
  isas: string[]
  /** CPUs this process may use (affinity and cgroup limits). */
  cpus: number
  /** Bytes this process may still take (MemAvailable and cgroup limits). */
  memoryAvailable: number
}

export interface CudaDevice {
  /** Among all that the driver shows. */
  index: number
  name: string
  /** Compute capability, '9.0'. */
  capability: string
  multiprocessors: number
  memoryBytes: number
  /** Why it is not used; empty: it can be. */
  unusable: string
}

export interface CudaStatus {
  /** Whether one of them can be used. */
  available: boolean
  /** Whether a step is one piece of work for the device; with one an operation it is slower than the CPU. */
  wholeSteps: boolean
  /** The newest CUDA that the driver knows, '13.0'; empty: there is no driver, or no device. */
  driver: string
  /** All that the driver shows. */
  info: CudaDevice[]
  /** Why CUDA is not used; empty when it is. */
  reason: string
}

/** What a model takes of a CUDA device; no device is asked. */
export interface CudaNeeds {
  weightBytes: number
  /** Keys and values of a block of the pool. */
  blockBytes: number
  /** Of steps, by purpose. */
  buffers: Record<
    'activations' | 'logits' | 'attention' | 'linear' | 'upload' | 'results' | 'constants' | 'graphs',
    number
  >
  /** Their sum. */
  bufferBytes: number
  /** Of the host's memory. */
  pinnedBytes: number
}

/** Sampling parameters of one sequence. `seed` is an integer in [0, 2^53). */
export interface SamplerParams {
  temperature: number
  topK: number
  topP: number
  minP: number
  repetitionPenalty: number
  presencePenalty: number
  frequencyPenalty: number
  seed: number
  /** -1: none; n >= 0: of the drawn token and the n most likely ones. */
  logprobs: number
  /** Ids from here on have no token and are never drawn; 0: all may be. Log-probabilities count them all the same. */
  vocabulary: number
  /** Tokens before the output begins; unchanged when a request is recomputed. */
  promptLength: number
  biasTokens: Int32Array
  biasValues: Float32Array
  /** What the output must be. */
  grammar?: NativeGrammarSource
}

/** The likeliest token of all: what those begin with who drive an engine, or a host, without the API. */
export const greedySampling: Omit<SamplerParams, 'promptLength'> = {
  temperature: 0,
  topK: 0,
  topP: 1,
  minP: 0,
  repetitionPenalty: 1,
  presencePenalty: 0,
  frequencyPenalty: 0,
  seed: 1,
  logprobs: -1,
  vocabulary: 0,
  biasTokens: new Int32Array(0),
  biasValues: new Float32Array(0),
}

/** A program that lib/grammar/ compiled. */
export interface NativeGrammarSource {
  /** Names the program, and the marks. */
  key: string
  program: Int32Array
  /** A space at the very beginning of the output is no part of its text. */
  dropSpace: boolean
  /** The output is free until one with `begin`, and again behind the text of the grammar; nothing begins within the model's reasoning. */
  marks?: NativeMark[]
  /** It begins within that. */
  reasoning?: boolean
}

export interface NativeMark {
  kind: 'begin' | 'open' | 'close'
  bytes: Uint8Array
}

/** A vocabulary as grammars need it: the bytes of token t are bytes[offsets[t] .. offsets[t + 1]]. */
export interface NativeVocabulary {
  bytes: Uint8Array
  offsets: Uint32Array
  /** Allowed where a grammar may end. */
  endTokens: Int32Array
}

/** A grammar by itself, for tests and measurements. Throws INVALID_ARGUMENT for a program that is broken. */
export interface NativeGrammar {
  /** 2: the bytes are a text of the grammar, 1: they begin one, 0: neither. */
  match(bytes: Uint8Array): number
  /** Bits of the tokens that may follow these; null when they begin no text. */
  mask(tokens: Int32Array): Uint32Array | null
  /** Seconds that the mask before each token took, and the token itself, by turns. */
  time(tokens: Int32Array): Float64Array
  size(): { states: number; bytes: number; maskBytes: number }
}

/** Fixed offsets in a step's Int32Array: `segmentStride` numbers per segment. */
export const segmentStride = 5
/**
 * [sequence, count, rows, mode, next]; see cpp/step.h. Mode `draw` draws, `score` scores: next = the token that follows, -1 for none.
 * `draft` draws after one token and the guesses that native drafters add to it: next = most guesses of each kind, packed, and whether
 * they are for the first step of a run only (cpp/drafts/drafting.h).
 */
export const segmentMode = { draw: 0, score: 1, draft: 2 } as const

/** What `wait` reports of each segment of each step of a run with guesses: `draftStride` numbers. */
export const draftStride = 8
/**
 * Draws that stand, guesses that were computed, who made them, class of the match, whether the first one equalled the draw (also one
 * that was looked up only), tokens of the prompt that the draft model had to compute first; and of the whole step nanoseconds without
 * guesses and those that guesses took.
 */
export const draftField = {
  ...{ draws: 0, proposed: 1, source: 2, confidence: 3, foreseen: 4, behind: 5, nanoseconds: 6, guessNanoseconds: 7 },
} as const
export const draftSource = { none: 0, own: 1, shared: 2, model: 3 } as const

/**
 * Weights and architecture, immutable once loaded. All that are made of the same files in the same way stand on the same weights,
 * in every thread of the process; the last `close()` frees them. They are allocated with the first look at anything but `shared`.
 */
export interface NativeModel {
  /** Whether somebody else has made the weights: they take no more memory. */
  readonly shared: boolean
  /** Instruction set that it computes with. */
  readonly isa: string
  /**
   * Before anything else, for a model with a sharingFolder: false while another process reads the same weights to share them; ask
   * again, or never more and go alone.
   */
  claim(): boolean
  /** How the weights came here: read for this process alone, read and offered to others, or adopted from another process. */
  readonly origin: 'own' | 'offered' | 'adopted'
  /** Why weights are not shared between processes although there is a sharingFolder; else empty. */
  readonly sharingFailure: string
  /** Hexadecimal, of the bytes of all tensors as they were read; known when all are loaded. */
  readonly contentHash: string
  /**
   * Pieces of tensors, about a MiB each, in the order of the files: call `loadTensor(i)` for each i < tensorCount, in any order,
   * then `finishLoad()`.
   */
  readonly tensorCount: number
  /** Bytes in memory once loaded (repacked). */
  readonly residentBytes: number
  /** Of the device that computes, asked of it now; -1: weights and cache are in the host's memory. Opens the device, takes nothing of it. */
  readonly deviceMemoryFree: number
  /**
   * Has the device compute small cases of what the model and a cache of this type ask for; nothing where that is the CPU. Throws
   * DEVICE_UNAVAILABLE for one that computes other numbers than docs/numerics.md says.
   */
  checkDevice(kvDtype: KvDtype): void
  /**
   * Reads and repacks one piece, waits for another thread that does, or passes one that is loaded; returns its bytes in the file.
   * The first call for a large model starts threads that load along.
   * Throws MODEL_INVALID, OUT_OF_MEMORY.
   */
  loadTensor(index: number): number
  finishLoad(): void
  /** Measures how this CPU wants to be worked: as `tune` of an engine, and for all engines of the model. */
  tune(threads: number): void
  close(): void
}

export interface NativeEngineOptions {
  threads: number
  /** KV pool size in blocks (kv-blocks.ts). */
  kvBlocks: number
  /** Largest number of tokens in one step (activation buffers are allocated for it). */
  maxStepTokens: number
  prefixCache: boolean
  /** Default 'f16'. */
  kvDtype?: KvDtype
  /** Whether to measure how this CPU wants to be worked: some milliseconds, once for a process and model. Default false. */
  tune?: boolean
}

/** How operations walk through their work; results never depend on it. See cpp/backend.h. */
export interface Tuning {
  /** Steps of so many tokens or more fetch the next tile of a weight before it is needed; Infinity: none do. */
  prefetchFromTokens: number
  /** Steps of so many tokens or more use matrix registers; Infinity: none do, or the CPU has none. */
  matrixFromTokens: number
  /** That the measurement took; 0: nothing was measured (none was asked for, or caches hold the weights). */
  seconds: number
}

/** Indices into the Int32Array that `stats` fills. */
export const statIndex = { total: 0, free: 1, cached: 2, owned: 3, sequences: 4 } as const

export interface NativeEngine {
  /** Process-wide id for `native.interrupt(id)`. */
  readonly id: number
  /** Of the whole pool, and of what is in use or was touched ahead of that. */
  readonly kvBytes: number
  readonly kvTouchedBytes: number
  readonly kvBlockBytes: number
  readonly scratchBytes: number
  readonly tuning: Tuning
  sequenceCreate(salt: string): number
  /** Attaches the longest cached prefix in whole blocks; returns its tokens. The sequence must be empty. */
  sequenceMatch(sequence: number, tokens: Int32Array): number
  /** Makes room for `count` more tokens; false (and nothing changed) when the pool has not enough blocks. */
  sequenceReserve(sequence: number, count: number): boolean
  sequenceLength(sequence: number): number
  sequenceTruncate(sequence: number, length: number): void
  /**
   * `tokens[from .. from + count)` were drafts of the last step (a draw segment with more than one row) and were right: they belong to
   * the sequence now. `wait` commits none of them by itself; those not accepted before the sequence's next step are overwritten.
   */
  sequenceAccept(sequence: number, tokens: Int32Array, from: number, count: number): void
  sequenceFork(sequence: number): number
  sequenceFree(sequence: number): void
  /** Blocks that these sequences hold, those that several share counted once. */
  heldBlocks(sequences: Int32Array): number
  /** Contents of full computed blocks of a sequence from block `first` on, as many as `out` (n * kvBlockBytes) has room for. */
  kvExport(sequence: number, first: number, out: Uint8Array): void
  /**
   * Appends whole blocks of tokens with contents that `kvExport` gave, between two steps; false (and nothing changed) when the pool
   * has no room.
   */
  kvImport(sequence: number, tokens: Int32Array, blocks: Uint8Array): boolean
  setSampler(sequence: number, params: SamplerParams): void
  /** Tokens after which no run of steps goes on. */
  setEndTokens(tokens: Int32Array): void
  /** What grammars are matched with: before the first sampler that has one. */
  setVocabulary(vocabulary: NativeVocabulary): void
  /** How many steps may be submitted before the first is waited for: 2 on a device, which computes meanwhile; else 1. */
  readonly stepsAhead: number
  /**
   * Stores a step: `nSegments * segmentStride` numbers and the tokens of all segments. Results come from `wait`. Behind a step that was not
   * waited for, a segment's only token may be -1 - r: what that step draws in row r, which is the same sequence's.
   */
  submit(segments: Int32Array, nSegments: number, tokens: Int32Array, nTokens: number): void
  /**
   * Runs (CPU) or waits for (device) the stored step on the calling thread. Fills `tokens[row]` (-1 = NUMERIC_ERROR for that row,
   * -2 = GRAMMAR_STUCK) and `logprobs[row]` for every result row; commits the segments' tokens, without drafts, to their sequences. Returns the
   * number of rows, or -1 when the step was discarded by `interrupt` (nothing is committed; reserved blocks stay reserved; a second
   * step that was submitted is discarded, too). Of two steps the first is waited for.
   *
   * With `steps` above 1 a step in which every segment is one token with a draw is the first of a run: the draws are the next step's
   * tokens, and so on, up to `steps` steps of which the last is expected to end within `seconds` of the end of the first. A run
   * ends early with an end token, a row without a token, a sequence without room, a `nudge`; an interrupt discards the step it
   * hits. Rows come step after step. A sequence may go on past a token that the caller takes for its end: free it then.
   *
   * After the first step each sequence draws `draws` tokens at most, that step's included. Segments of mode `draft` get guesses anew in each step. Those that the draws confirm, up to an end token, are committed, and
   * only rows that stand come back: `drafts` says how many of each segment (`draftStride` numbers a segment, step after step).
   */
  wait(
    tokens: Int32Array,
    logprobs: Float32Array,
    steps?: number,
    seconds?: number,
    drafts?: Int32Array,
    draws?: number,
  ): number
  /** The n most likely tokens of a row of the last `wait` (sampler's `logprobs` n > 0), most likely first. */
  topLogprobs(row: number): { tokens: Int32Array; logprobs: Float32Array }
  /** Seconds the last `wait` took inside native code. */
  readonly stepSeconds: number
  /** Of the draft model's KV pool and buffers; 0 without one. */
  readonly draftBytes: number
  /** A smaller model of the same vocabulary that makes guesses, with a pool and buffers of its own. */
  setDraftModel(model: NativeModel, options: NativeEngineOptions): void
  /** For measurements: what the draft model is taken to have drawn at each position of a sequence; its work stays the same. */
  plantDrafts(sequence: number, draws: Int32Array): void
  stats(out: Int32Array): void
  /** Empty, or the first broken invariant of the block manager in words. */
  check(): string
  /** Drops every cached (unreferenced) block. */
  clearPrefixCache(): void
  close(): void
}

/** Results of the native step benchmark: the same steps the host would submit, driven from C++. */
export interface NativeBench {
  /** Decodes `tokens` tokens of one sequence (argmax or sampled) after `prompt` tokens of prefill; seconds of the decode part. */
  decodeSeconds: number
  prefillSeconds: number
}

/** What a recorded run takes when it is driven from C++ alone. */
export interface ReplayTimes {
  seconds: number
  /** Of it, inside steps. */
  stepSeconds: number
  steps: number
  tokens: number
}

/** Measured limits of this machine with a number of threads (cpp/cpu/limits.cpp). */
export interface MachineLimits {
  /** Sequential DRAM reads, bytes per second. */
  readBytesPerSecond: number
  /** int8 multiply-add operations (2 per pair) per second with the widest vector instruction. */
  int8OpsPerSecond: number
  /** The same on matrix registers (AMX); 0 where there are none. */
  matrixOpsPerSecond: number
  /** f32 fused multiply-add operations (2 each) per second. */
  fmaOpsPerSecond: number
  /** Median seconds of an empty parallel operation. */
  barrierSeconds: number
}

/** Merges of byte-level BPE (cpp/text/byte_pairs.h). */
export interface NativeBytePairs {
  /** The first merge that has no two parts; -1: none. */
  readonly fault: number
  /** How many merges are not of tokens or make none, and the first of them. */
  readonly strange: number
  readonly firstStrange: number
  /** The token that a text becomes as a whole, or -1. */
  find(text: string): number
  /** The tokens of words, between which a space stands. `whole`: a word that is a token is not merged from its characters. */
  encode(words: string, whole: boolean): Int32Array
}

export interface Native {
  cpu(): CpuInfo
  /** Where the CUDA plugin is, or null and why there is none; before anything asks for it. */
  cudaPlugin(path: string | null, reason: string): void
  cuda(): CudaStatus
  /** Throws MODEL_UNSUPPORTED for what no kernel computes. */
  cudaNeeds(desc: ModelDesc, options: { kvDtype: KvDtype; maxStepTokens: number; kvBlocks: number }): CudaNeeds
  limits(threads: number): MachineLimits
  /** What a pool on the CPU takes into use when it is made, in huge pages. */
  kvBytesAtLoad(shape: { layers: number; blocks: number; kvHeads: number; headSize: number; kvDtype: KvDtype }): number
  /** Bytes of this process that lie in huge pages; 0 where the system does not say. */
  hugePageBytes(): number
  /**
   * `texts` false (default true): arrays of texts, and others of more than 4096 elements, come with their length and nothing in
   * them, which spares most of the time.
   */
  ggufRead(path: string, texts?: boolean): GgufFile
  /** `packed`: arrays of texts come in one piece, those of more than 4096 numbers as a typed array. */
  ggufRead(path: string, texts: 'packed'): Omit<GgufFile, 'metadata'> & { metadata: Record<string, GgufPacked> }
  /** Writes a GGUF file: metadata, then each tensor from the synthetic generator. `onTensor` is called before each one. */
  ggufSynthesize(
    path: string,
    metadata: Record<string, GgufValue>,
    tensors: { name: string; format: WeightFormat; shape: number[] }[],
    seed: number,
    onTensor?: (index: number) => void,
  ): void
  Model: new (
    desc: ModelDesc,
    backend: 'cpu' | 'reference' | `cuda:${number}`,
    isa: string | null,
    sharingFolder?: string | null,
  ) => NativeModel
  /** Refuses a model that is not loaded. */
  Engine: new (
    model: NativeModel,
    options: NativeEngineOptions,
  ) => NativeEngine
  /** `usable`: 1 for each token that text may become; merges are "left right". */
  BytePairs: new (
    tokens: PackedTexts,
    usable: Uint8Array,
    merges: PackedTexts,
  ) => NativeBytePairs
  /** The bytes that tokens spell, and how many the longest has. `types` as GGUF numbers them; control and unknown tokens have none. */
  spellTokens(tokens: PackedTexts, types: Uint8Array, spelling: 'bytes' | 'spaces'): PackedTexts & { longest: number }
  /** Fills `types` from a file's numbers, 0 being a normal token: the first that is no type, or -1. */
  tokenTypes(given: Float64Array, types: Uint8Array): number
  /** 1 for each token that text may become. */
  usableTokens(tokens: PackedTexts, types: Uint8Array): Uint8Array
  /** The numbers of those that are one of the names, ascending. */
  textsAmong(texts: PackedTexts, names: string[]): Int32Array
  Grammar: new (source: NativeGrammarSource, vocabulary: NativeVocabulary) => NativeGrammar
  /** Discards the step that engine `id` is computing, or the next one it starts; from any thread. Unknown ids do nothing. */
  interrupt(id: number): void
  /** Ends the run of steps that engine `id` is computing, or the next one, after its step; from any thread. */
  nudge(id: number): void
  /** Runs prefill and decode of one sequence inside C++, sampling with `params`; for the API-overhead comparison. */
  benchDecode(engine: NativeEngine, prompt: Int32Array, tokens: number, params: SamplerParams): NativeBench
  /** Does again what lib/host/record/step-recorder.ts recorded, on an engine whose pool is large enough. */
  replaySteps(engine: NativeEngine, ops: Int32Array, samplers: SamplerParams[]): ReplayTimes
  /** f32 rows of a tensor as the file means them, for tests and tools. */
  dequantise(format: WeightFormat, bytes: Uint8Array, width: number): Float32Array
}

let loaded: Native | undefined

/** The addon, loaded on first use. Throws PLATFORM_UNSUPPORTED when there is no binary for this platform, and BUNDLED. */
export function native(): Native {
  loaded ??= open()
  return loaded
}

function open(): Native {
  const root = fileURLToPath(packageRoot())
  const file = findAddon(root)
  const addon = openAddon(file) as Native
  const { path, reason } = findCudaPlugin(root, file)
  addon.cudaPlugin(path ?? null, reason)
  return addon
}

/** Throws what `native()` would for want of a binary, without loading it. */
export function assertPlatform(): void {
  if (loaded === undefined) findAddon(fileURLToPath(packageRoot()))
}
