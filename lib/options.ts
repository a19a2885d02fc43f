/**
 * Every public option: its documentation, its schema and its default, in one place; those of conversations are in messages.ts. They
 * are checked by arguments.ts.
 */
import { types } from 'node:util'
import { checkStructured, type GrammarOption, type Schema, structuredShape } from './answers/structured.ts'
import { type KvDtype, kvDtypes } from './base/native.ts'
import { absolutePath, pathOf } from './base/paths.ts'
import * as z from './base/zod.ts'
import type { DeviceRequest } from './host/device.ts'
import type { LoadProgress } from './host/wire/protocol.ts'
import {
  type ChatMessage,
  type CheckedConversation,
  type ConversationOptions,
  conversationShape,
  endMismatch,
  messagesSchema,
  promptEndShape,
  templateOptionsSchema,
} from './messages.ts'
import { isAbortSignal } from './signals.ts'
import type { ToolChoice } from './tools/tool-call.ts'
import type { Toolbox } from './tools/toolbox.ts'

export interface LoadOptions {
  /**
   * A GGUF file by its path or `file:` URL (of a split model: its first part), 'stories' for the embedded model, or
   * 'synthetic:<preset>'. Paths are resolved at the call, here and everywhere.
   */
  model: string | URL
  /** A Jinja template for conversations, used instead of the model's own. */
  chatTemplate?: string | undefined
  /**
   * 'auto', 'cpu', 'cuda' (the first GPU that holds the model) or 'cuda:1' (that one); DEVICE_UNAVAILABLE where there is none. Tokens are
   * the same on all. 'auto' is the first GPU that holds the weights and the wanted context and is faster than the CPU, else the CPU, and
   * says why in the log. 'reference' is the slow executable specification, for tests. Default 'auto'.
   */
  device?: 'auto' | 'cpu' | 'cuda' | `cuda:${number}` | 'reference' | undefined
  /** Threads to compute with. Default 'auto': every CPU that this process may use. */
  threads?: number | 'auto' | undefined
  /**
   * Most tokens of one request, prompt and output. Default: what the model was trained for, or less where memory or `kv.memory`
   * says so; an explicit value that does not fit is OUT_OF_MEMORY.
   */
  contextTokens?: number | undefined
  kv?:
    | {
        /**
         * Number format of cached keys and values. Default 'f16'. 'int8' and 'fp8' (e4m3) have a scale per token and head, take
         * half of the memory and less time to read; int8 is the more accurate and the faster of the two (perplexity of a 135M model:
         * +0.09% against +0.14%).
         */
        dtype?: KvDtype | undefined
        /**
         * Size of the KV pool that all requests share: bytes, or text such as '1GiB'. Default: room for four requests of
         * contextTokens within 1 GiB, never less than for one, never more than a quarter of the memory that is left; on a GPU within
         * half of what is left there.
         */
        memory?: number | string | undefined
      }
    | undefined
  /** Tokens that end a generation beside the model's own. */
  endTokens?: number[] | undefined
  /** Whether requests find KV that earlier ones with the same beginning computed. Default true. */
  prefixCache?: boolean | undefined
  /**
   * 'latency' (default): requests that are generating come first, and a step is kept under maxStepMs for them. 'throughput': prompts
   * come first and steps are as large as they can be.
   */
  objective?: 'latency' | 'throughput' | undefined
  /**
   * Whether what requests will say next is guessed and computed at once, where that pays; the tokens are the same. 'auto' (default):
   * guesses come from the request's own text and from recent texts of its tenant, as many as are worth their time, none when the
   * machine is full. An object names the drafters, in any order: 'ngram' (the own text), 'shared' (the tenant's texts), and a smaller
   * model of the same vocabulary; `drafts` makes their number fixed.
   */
  speculation?: 'auto' | 'off' | SpeculationOptions | undefined
  /** Milliseconds that a step may take while requests are generating, as far as its measured cost lets one choose. Default 50. */
  maxStepMs?: number | undefined
  /** What may wait: a request too many is OVERLOADED. Default: 4096 requests, any number of tokens. */
  queue?: { maxRequests?: number | undefined; maxTokens?: number | undefined } | undefined
  /** Tenants that shall have more or less than others: shares are proportional to weights. Default weight 1. */
  tenants?: Record<string, { weight?: number | undefined }> | undefined
  /** A generation whose reader reads nothing for so long while its output waits fails with CONSUMER_TIMEOUT. Default 60000. */
  idleTimeoutMs?: number | undefined
  /**
   * Where the model computes: a thread of this process, or a child process, whose death (a driver fault, memory running out)
   * leaves this one alive. The answers are the same. Default 'thread'.
   */
  isolation?: 'thread' | 'process' | undefined
  /**
   * Whether an engine that died is started again, at most twice in ten minutes: running generations go on with exactly the tokens
   * that they would have had. Otherwise they reject with ENGINE_FAILED, and so does everything after. Default false.
   */
  restart?: boolean | undefined
  /**
   * Whether processes of one user (a cluster's workers) share one copy of the weights: the first one to load a model offers it in
   * sealed memory, others adopt it, and it stays as long as one of them does. They find each other in the folder that is named,
   * or `octavo-<uid>` in the system's temporary folder; it must belong to this user alone. Where sharing is not to be had, weights are read as
   * ever, and `onLog` says why. Default false.
   */
  shareWeights?: boolean | string | URL | undefined
  /** Called while loading. */
  onProgress?: ((progress: LoadProgress) => void) | undefined
  /** Called with lines that a log may want: nothing is ever printed. They go to the diagnostics channel 'octavo:log', too. */
  onLog?: ((message: string) => void) | undefined
  /** Aborts loading: the promise rejects with `signal.reason` and nothing stays behind. */
  signal?: AbortSignal | undefined
  /** @internal For tests: no part of the API. */
  internal?:
    | {
        isa?: string | undefined
        stepTokens?: number | undefined
        maxSequences?: number | undefined
        checkBlocks?: boolean | undefined
        recordFile?: string | undefined
      }
    | undefined
}

export interface SpeculationOptions {
  /** Default: 'ngram' and 'shared'. */
  drafters?: ('ngram' | 'shared' | DraftModelOptions)[] | undefined
  /** So many guesses in every step, 0 to 15, whatever they cost. Default: as many as pay. */
  drafts?: number | undefined
}

/** A model that guesses: much smaller than the one it guesses for, with the same vocabulary. */
export interface DraftModelOptions {
  /** As `model` of Engine.load. */
  model: string
  /** Most guesses in a step, 1 to 15. Default 8. */
  maxDrafts?: number | undefined
}

/** When a request is computed. */
export interface RequestOptions {
  /**
   * From -100 to 100: a request goes before those of its tenant with a lower one, as if it had come one second earlier for each
   * level; so none starves. Default 0.
   */
  priority?: number | undefined
  /**
   * Who is asking: tenants share the engine in proportion to their weights, whatever they ask for, and share no cached prefix.
   * Default ''.
   */
  tenant?: string | undefined
  /**
   * Milliseconds from the call, tokenising included, until the first token and until the end. DEADLINE_EXCEEDED when one passes,
   * and at once when it cannot be met.
   */
  deadlines?: { firstTokenMs?: number | undefined; totalMs?: number | undefined } | undefined
}

/** How tokens are drawn, and when to end. */
export interface SamplingOptions extends RequestOptions {
  /** Most tokens to generate. Default: until the model ends its answer or the context is full. */
  maxTokens?: number | undefined
  /** 0 takes the most likely token. Default 0.7. */
  temperature?: number | undefined
  /** Keeps the k most likely tokens; 0 keeps all. Default 40. */
  topK?: number | undefined
  /** Keeps the most likely tokens that together reach this probability. Default 0.95. */
  topP?: number | undefined
  /** Keeps tokens at least this likely relative to the most likely one. Default 0. */
  minP?: number | undefined
  /** Divides positive and multiplies negative logits of tokens of prompt and output. Default 1 (off). */
  repetitionPenalty?: number | undefined
  /** Subtracted from the logits of tokens of the output. Default 0. */
  presencePenalty?: number | undefined
  /** Subtracted for every time a token is in the output. Default 0. */
  frequencyPenalty?: number | undefined
  /** Added to logits, by token id; -Infinity bans a token. */
  logitBias?: Record<number, number> | undefined
  /** Same seed, same tokens. Default: random, returned in the result. */
  seed?: number | undefined
  /**
   * Texts to end before. They are part of neither text nor tokens. They are looked for in the answer, not in reasoning that comes
   * apart; one that is the name of a control token ends the generation when that token is drawn, too.
   */
  stop?: string | string[] | undefined
  /** Tokens that end the generation wherever they are drawn, and are part of neither text nor tokens. */
  stopTokens?: number[] | undefined
  /**
   * 'split': what the model thinks between its markers comes apart as `reasoning`, `text` is the answer alone. 'keep': the text is
   * everything as the model wrote it. Default: 'split' for messages and sessions when the model's template or vocabulary has such
   * markers, 'keep' for prompts.
   */
  reasoning?: 'split' | 'keep' | undefined
  /** n: report the log-probability of each of the answer's tokens and the n most likely ones. Default false. */
  logprobs?: false | number | undefined
  /** 'off': nothing is guessed for this request (see Engine.load). Default 'auto'. */
  speculation?: 'auto' | 'off' | undefined
  /**
   * Whether to go on at the model's end tokens. Default false: such a token ends the generation and is part of neither text nor
   * tokens. Those of `stop` and `stopTokens` end it in any case.
   */
  ignoreEos?: boolean | undefined
  /**
   * The answer is JSON that meets this schema: a zod type, or a JSON Schema (2020-12). The result has it as `object`. What cannot
   * be enforced exactly is SCHEMA_UNSUPPORTED. Best said in the prompt, too: a mask guarantees form, not sense.
   */
  schema?: Schema | undefined
  /** The answer is a text of this grammar. */
  grammar?: GrammarOption | undefined
  /** Aborts the generation: iterator and result reject with `signal.reason`. */
  signal?: AbortSignal | undefined
}

/** What is done with a conversation's tools. */
export interface ToolUseOptions {
  /**
   * 'auto' (default): the model may call tools. 'none': it is not told of them. 'required', or the name of a tool: it calls one (that one),
   * with arguments that fit; in rounds after the first it may again do as it likes.
   */
  toolChoice?: ToolChoice | undefined
  /**
   * Answers at most: where tools have `execute`, their results are put to the model for a further one, until it calls no tool. When the
   * last one calls tools, they are not run. Default 8.
   */
  maxRounds?: number | undefined
}

/** With `messages`, what is said of `RenderOptions` holds for those options here. */
export interface GenerateOptions extends SamplingOptions, ConversationOptions, ToolUseOptions {
  /** Text or token ids; either this or `messages`. */
  prompt?: string | number[] | Int32Array | undefined
  /** A conversation, rendered with the model's chat template. */
  messages?: readonly ChatMessage[] | undefined
  /** Whether the prompt ends with the beginning of an answer. Default true. */
  addGenerationPrompt?: boolean | undefined
  /** Whether the last message, an assistant's, is left open: the generation's text is what comes after it. Default false. */
  continueFinalMessage?: boolean | undefined
  /** Whether control tokens written in a text prompt become such. Default false. */
  parseSpecial?: boolean | undefined
}

/** Tools, documents and a template of a session hold for all of its turns. */
export interface SessionOptions extends ConversationOptions {
  /** The system message. */
  system?: string | undefined
  /**
   * What a turn does that leaves its answer no room in the context. 'error' (default): it rejects with CONTEXT_OVERFLOW.
   * 'dropOldest': the oldest turns are forgotten, question and answer together, the system message never, until there is room for
   * maxTokens tokens (by default a quarter of the context); `history` shows what remains. The prompt then begins differently:
   * such a turn finds little in the prefix cache and its `usage.cachedTokens` falls.
   */
  overflow?: 'error' | 'dropOldest' | undefined
}

/** One turn of a session. */
export interface TurnOptions extends SamplingOptions, ToolUseOptions {
  /** Variables of the template for this turn, beside the session's and before them. */
  templateOptions?: Record<string, unknown> | undefined
  /** Whether the last message given, an assistant's, is the beginning of the answer. Default false. */
  continueFinalMessage?: boolean | undefined
}

/** Default: as the saved session had them. */
export interface RestoreOptions extends ConversationOptions {
  /** See SessionOptions. */
  overflow?: 'error' | 'dropOldest' | undefined
}

export interface ScoreOptions extends RequestOptions {
  /** Text or token ids, at least two tokens. */
  prompt: string | number[] | Int32Array
  /** Whether control tokens written in a text become such. Default false. */
  parseSpecial?: boolean | undefined
  signal?: AbortSignal | undefined
}

export interface TokenizeOptions {
  /** Whether control tokens written in the text become such. Default false. */
  parseSpecial?: boolean | undefined
  /** Whether to begin with the model's begin-of-text token, if it has one. Default false. */
  addBos?: boolean | undefined
}

const units: Record<string, number> = { B: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40 }
const sizePattern = /^(\d+(?:\.\d+)?) ?(B|KiB|MiB|GiB|TiB)$/

/** Undefined: no size. */
export function sizeInBytes(text: string): number | undefined {
  const [, number, unit] = sizePattern.exec(text) ?? []
  return number === undefined ? undefined : Math.floor(Number(number) * units[unit!]!)
}

const sizeText = "bytes, or a size such as '512MiB' or '1GiB'"
const bytes = z
  .union([z.int().min(1), z.string().regex(sizePattern, sizeText)], { error: sizeText })
  .transform((value) => (typeof value === 'number' ? value : sizeInBytes(value)!))
const callback = <F>() => z.custom<F>((value) => typeof value === 'function', 'a function')
const signal = z.custom<AbortSignal>(isAbortSignal, 'an AbortSignal').optional()
/** Ids are checked against the vocabulary by the engine. */
const prompt = z.custom<string | number[] | Int32Array>(
  (value) => typeof value === 'string' || types.isInt32Array(value) || Array.isArray(value),
  'a string, an array of token ids or an Int32Array',
)
/** Ids are checked against the vocabulary by the engine. */
const tokenList = z.array(z.int().min(0)).max(1024).default([])
const isPath = (value: unknown) => pathOf(value) !== undefined
const modelText = "a file's path or file: URL, 'stories' or 'synthetic:<preset>'"
/** Absolute. */
const path = (expected: string) =>
  z.custom<string | URL>(isPath, expected).transform((value) => absolutePath(pathOf(value)!)!)

const tenantName = z.string().max(256)
const overflow = z.enum(['error', 'dropOldest'])

const draftCount = (least: number) => z.int().min(least).max(15)
const speculation = z
  .union(
    [
      z.enum(['auto', 'off']),
      z.strictObject({
        drafters: z
          .array(
            z.union([
              z.enum(['ngram', 'shared']),
              z.strictObject({ model: z.string().min(1), maxDrafts: draftCount(1).default(8) }),
            ]),
          )
          .min(1)
          .max(3)
          .default(['ngram', 'shared']),
        drafts: draftCount(0).optional(),
      }),
    ],
    { error: "'auto', 'off' or { drafters, drafts }" },
  )
  .default('auto')

export const isDevice = (value: unknown): value is DeviceRequest =>
  typeof value === 'string' && /^(auto|cpu|reference|cuda(:\d{1,3})?)$/.test(value)

export const loadSchema = z.strictObject({
  model: z.custom<string | URL>(isPath, modelText).transform((value) => pathOf(value)!),
  chatTemplate: conversationShape.chatTemplate,
  device: z.custom<DeviceRequest>(isDevice, "'auto', 'cpu', 'cuda', 'cuda:N' or 'reference'").default('auto'),
  threads: z
    .union([z.literal('auto'), z.int().min(1).max(1024)], { error: "'auto' or an integer from 1 to 1024" })
    .default('auto'),
  contextTokens: z.int().min(2).optional(),
  kv: z.strictObject({ dtype: z.enum(kvDtypes).default('f16'), memory: bytes.optional() }).prefault({}),
  endTokens: tokenList,
  prefixCache: z.boolean().default(true),
  objective: z.enum(['latency', 'throughput']).default('latency'),
  speculation,
  maxStepMs: z.number().min(1).max(60_000).default(50),
  queue: z
    .strictObject({
      maxRequests: z.int().min(1).default(4096),
      maxTokens: z.int().min(1).default(Number.MAX_SAFE_INTEGER),
    })
    .prefault({}),
  tenants: z
    .record(tenantName, z.strictObject({ weight: z.number().min(0.001).max(1000).default(1) }), {
      error: 'an object of tenant names and their { weight }',
    })
    .default({}),
  idleTimeoutMs: z
    .number()
    .min(1)
    .max(2 ** 31 - 1)
    .default(60_000),
  isolation: z.enum(['thread', 'process']).default('thread'),
  restart: z.boolean().default(false),
  shareWeights: z
    .union([z.boolean(), path('a folder')], { error: "true, false, or a folder's path or file: URL" })
    .default(false),
  onProgress: callback<(progress: LoadProgress) => void>().optional(),
  onLog: callback<(message: string) => void>().optional(),
  signal,
  internal: z
    .strictObject({
      isa: z.string().optional(),
      stepTokens: z.int().min(1).max(8192).default(512),
      maxSequences: z.int().min(1).max(4096).default(256),
      checkBlocks: z.boolean().default(false),
      recordFile: path('a path').optional(),
    })
    .prefault({}),
})

/** Native code computes with f32 numbers: what would become infinite there is refused, what would become 0 stays above it. */
const largestF32 = (2 - 2 ** -23) * 2 ** 127
const smallestF32 = 2 ** -126
const aboveZero = (max: number) =>
  z
    .number()
    .gt(0)
    .max(max)
    .transform((value) => Math.max(value, smallestF32))
const biasText = 'an object of token ids and finite numbers or -Infinity'

const deadlineMs = z
  .number()
  .gt(0)
  .max(2 ** 40)
  .optional()
const requestShape = {
  priority: z.int().min(-100).max(100).default(0),
  tenant: tenantName.default(''),
  deadlines: z.strictObject({ firstTokenMs: deadlineMs, totalMs: deadlineMs }).optional(),
}

const samplingShape = {
  ...requestShape,
  maxTokens: z.int().min(1).optional(),
  temperature: z.number().min(0).max(100).default(0.7),
  topK: z
    .int()
    .min(0)
    .max(2 ** 31 - 1)
    .default(40),
  topP: aboveZero(1).default(0.95),
  minP: z.number().min(0).max(1).default(0),
  repetitionPenalty: aboveZero(100).default(1),
  presencePenalty: z.number().min(-100).max(100).default(0),
  frequencyPenalty: z.number().min(-100).max(100).default(0),
  logitBias: z
    .record(
      z.string().regex(/^\d+$/),
      z.union([z.number().min(-largestF32).max(largestF32), z.literal(-Infinity)], {
        error: `a number from -${largestF32} to ${largestF32}, or -Infinity`,
      }),
      { error: biasText },
    )
    .default({}),
  seed: z.int().min(0).max(Number.MAX_SAFE_INTEGER).optional(),
  stop: z
    .union([z.string().min(1), z.array(z.string().min(1)).max(64)], {
      error: 'a non-empty string, or at most 64 of them',
    })
    .transform((stop) => (typeof stop === 'string' ? [stop] : stop))
    .prefault([]),
  stopTokens: tokenList,
  reasoning: z.enum(['split', 'keep']).optional(),
  logprobs: z
    .union([z.literal(false), z.int().min(0).max(100)], { error: 'false or an integer from 0 to 100' })
    .default(false),
  speculation: z.enum(['auto', 'off']).default('auto'),
  ignoreEos: z.boolean().default(false),
  toolChoice: z
    .union([z.enum(['auto', 'none', 'required']), z.strictObject({ name: z.string() })], {
      error: "'auto', 'none', 'required' or { name }",
    })
    .default('auto'),
  maxRounds: z.int().min(1).max(1024).default(8),
  ...structuredShape,
  signal,
}

/** What is expected of a choice of tools that does not go with the tools that there are. */
export function choiceMismatch(
  tools: Toolbox | undefined,
  { toolChoice: choice, schema, grammar }: Pick<ParsedSampling, 'toolChoice' | 'schema' | 'grammar'>,
): string | undefined {
  if (choice === 'auto' || choice === 'none') return undefined
  if ((schema ?? grammar) !== undefined) return "'auto' or 'none' where the answer has a form of its own"
  if (tools === undefined || tools.names.length === 0) return "'auto' or 'none' where there are no tools"
  if (choice === 'required' || tools.tools.has(choice.name)) return undefined
  return `the name of a tool: ${tools.names.join(', ')}`
}

/** A conversation without its tools where none shall be called. */
export function toldOf<T extends CheckedConversation>(conversation: T, choice: ToolChoice): T {
  return choice === 'none' ? { ...conversation, tools: undefined } : conversation
}

export const generateSchema = z
  .strictObject({
    prompt: prompt.optional(),
    messages: messagesSchema.optional(),
    ...conversationShape,
    ...promptEndShape,
    parseSpecial: z.boolean().default(false),
    ...samplingShape,
  })
  .check(checkStructured)
  .check(({ value, issues }) => {
    const combination = (path: string, expected: string) =>
      issues.push({ code: 'custom', message: expected, path: [path], input: value })
    const { prompt, messages } = value
    if ((prompt === undefined) === (messages === undefined)) {
      combination(prompt === undefined ? 'prompt' : 'messages', 'either prompt or messages')
    } else if (value.parseSpecial && typeof prompt !== 'string') {
      combination('parseSpecial', 'parseSpecial only with a prompt that is text')
    } else if (messages === undefined) {
      const other = onlyWithMessages.find((name) => value[name] !== undefined && value[name] !== false)
      if (other !== undefined) combination(other, `${other} only with messages`)
    } else {
      const mismatch = endMismatch(messages.at(-1), value)
      if (mismatch !== undefined) combination(...mismatch)
    }
    const choice = choiceMismatch(value.tools, value)
    if (choice !== undefined) combination('toolChoice', choice)
  })

const onlyWithMessages = [
  ...(Object.keys(conversationShape) as (keyof typeof conversationShape)[]),
  ...(Object.keys(promptEndShape) as (keyof typeof promptEndShape)[]),
]

export const renderSchema = z
  .strictObject({ messages: messagesSchema, ...conversationShape, ...promptEndShape })
  .check(({ value, issues }) => {
    const mismatch = endMismatch(value.messages.at(-1), value)
    if (mismatch === undefined) return
    const [option, message] = mismatch
    issues.push({ code: 'custom', message, path: [option], input: value })
  })

export const turnSchema = z
  .strictObject({
    ...samplingShape,
    templateOptions: templateOptionsSchema.optional(),
    continueFinalMessage: z.boolean().default(false),
  })
  .check(checkStructured)

export const sessionSchema = z.strictObject({
  system: z.string().optional(),
  overflow: overflow.default('error'),
  ...conversationShape,
})
export const restoreSchema = z.strictObject({ overflow: overflow.optional(), ...conversationShape })
export const scoreSchema = z.strictObject({
  prompt,
  parseSpecial: z.boolean().default(false),
  ...requestShape,
  signal,
})
export const countSchema = z.int().min(1).max(1024)
export const tokenizeSchema = z.strictObject({
  parseSpecial: z.boolean().default(false),
  addBos: z.boolean().default(false),
})
export const textSchema = z.string()
export const pathSchema = path('a path, or a file: URL')

export const idsSchema = z.custom<number[] | Int32Array>(
  (value) => types.isInt32Array(value) || Array.isArray(value),
  'an array of token ids or an Int32Array',
)

export type ParsedLoad = z.output<typeof loadSchema>
export type ParsedSampling = z.output<z.ZodObject<typeof samplingShape>>
export type ParsedRequest = Pick<ParsedSampling, 'priority' | 'tenant' | 'deadlines'>
export type ParsedSession = z.output<typeof sessionSchema>
export type ParsedGenerate = z.output<typeof generateSchema>
export type ParsedScore = z.output<typeof scoreSchema>
