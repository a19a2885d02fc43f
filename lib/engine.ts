/**
 * A loaded model and everything one can ask of it. The model computes on the engine thread (host-client.ts), text becomes
 * tokens on the text worker; this class only checks options, turns prompts into token ids and connects requests to streams.
 */
import { randomBytes } from 'node:crypto'
import { tmpdir, userInfo } from 'node:os'
import { join, resolve } from 'node:path'
import { CallSite } from './call-site.ts'
import { dropOldestTurns } from './context-fit.ts'
import { type Log, logLine, logOf, publishLoad, RequestTrace } from './diagnostics.ts'
import type { ErrorData } from './errors.ts'
import { fromErrorData, OctavoError, toErrorData } from './errors.ts'
import type { Generation } from './generation.ts'
import { RunningGeneration } from './generation.ts'
import type {
  DraftingOptions,
  EngineStats,
  LoadedInfo,
  ModelInfo,
  RequestSpec,
  SamplingSpec,
  SchedulingPolicy,
  StopToken,
} from './host/wire/protocol.ts'
import { type HostClient, startHost } from './host-client.ts'
import { kvBlockTokens } from './kv-blocks.ts'
import { openCheckpoint } from './model/checkpoint.ts'
import { locateModel, type ModelLocation } from './model/locate.ts'
import { assertPlatform } from './native.ts'
import type {
  GenerateOptions,
  LoadOptions,
  ParsedLoad,
  ParsedSampling,
  RestoreOptions,
  ScoreOptions,
  SessionOptions,
  TokenizeOptions,
} from './options.ts'
import {
  countSchema,
  generateSchema,
  idsSchema,
  invalidArgument,
  loadSchema,
  parse,
  pathSchema,
  restoreSchema,
  scoreSchema,
  sessionSchema,
  textSchema,
  tokenizeSchema,
} from './options.ts'
import { type Score, ScoreStream } from './score.ts'
import type { SavedSession, SessionHost, SessionState, Turn, VerbatimMessage } from './session.ts'
import { Session } from './session.ts'
import { type KvIdentity, readSession, writeSession } from './session-file.ts'
import { endsInReasoning, type ReasoningMarkers, reasoningMarkers, usualMarkers } from './text/reasoning-markers.ts'
import { TextService, type TextSource } from './text/text-service.ts'
import { buildTrace, type Trace } from './trace.ts'

/** What is known about a loaded model. */
export interface EngineModel extends ModelInfo {
  /** Most tokens of one request, prompt and output. */
  contextTokens: number
  /** Whether `messages` and sessions can be used. */
  chatTemplate: boolean
  bosId: number | undefined
  /** Tokens that end a generation. */
  eosIds: number[]
}

/** What a request is told to compute, with its text where that is known. */
type Prompt = { tokens: Int32Array; text?: string }

const closedError: ErrorData = { code: 'ENGINE_CLOSED', message: 'The engine is closed.', details: {} }

/** Milliseconds since the epoch, fractional; comparable between threads. */
const now = () => performance.timeOrigin + performance.now()

export class Engine {
  readonly model: EngineModel
  readonly #host: HostClient
  readonly #text: TextService
  readonly #log: Log
  readonly #kv: KvIdentity
  /** Undefined: the model does not mark its reasoning. */
  readonly #markers: ReasoningMarkers | undefined
  /** Control tokens by name. */
  readonly #control: ReadonlyMap<string, number>
  #closing: Promise<void> | undefined

  private constructor(host: HostClient, text: TextService, loaded: LoadedInfo, log: Log, eosIds: number[]) {
    this.#host = host
    this.#text = text
    this.#log = log
    this.#kv = loaded.kv
    this.#markers = reasoningMarkers(text.templateSource, text.control)
    this.#control = new Map(text.control.map(({ id, text }) => [text, id]))
    const { bosId, hasChatTemplate } = text.info
    const { contextTokens, model } = loaded
    this.model = Object.freeze({ ...model, contextTokens, chatTemplate: hasChatTemplate, bosId, eosIds })
  }

  /**
   * Loads a model. Option errors throw here; everything later rejects: PLATFORM_UNSUPPORTED, FILE_NOT_FOUND,
   * MODEL_INVALID, MODEL_UNSUPPORTED, OUT_OF_MEMORY, or `signal.reason` when the signal aborts. Nothing stays behind when it rejects.
   */
  static load(options: LoadOptions): Promise<Engine> {
    const site = new CallSite(Engine.load)
    return Engine.#start(parse(loadSchema, options, 'options', site), site)
  }

  static async #start(options: ParsedLoad, site: CallSite): Promise<Engine> {
    const { signal } = options
    signal?.throwIfAborted()
    const startedMs = now()
    const named = () => ({ model: options.model, durationMs: now() - startedMs })
    publishLoad({ type: 'start', model: options.model })
    const log = logOf(options.model, options.onLog)
    let host: HostClient | undefined
    let starting: Promise<TextService> | undefined
    const off = new AbortController()
    try {
      assertPlatform()
      const location = locateModel(options.model)
      host = startHost(hostOptions(options, location), {
        onProgress: options.onProgress,
        onLog: log,
        ...{ isolation: options.isolation, restart: options.restart, now },
      })
      starting = TextService.start({ source: textSource(location), signal: off.signal })
      const [loaded, text] = await untilAborted(Promise.all([host.loaded, starting]), signal)
      const { contextTokens, model } = loaded
      const own = tokenIds(options.endTokens, model.vocabularySize, 'endTokens', site)
      const eosIds = [...new Set([...text.info.eosIds, ...own])].sort((a, b) => a - b)
      host.setVocabulary({ tokenBytes: text.info.tokenBytes, eosIds })
      publishLoad({ type: 'end', ...named(), contextTokens, weightBytes: model.bytes })
      return new Engine(host, text, loaded, log, eosIds)
    } catch (error) {
      off.abort()
      await Promise.allSettled([host?.close(closedError), starting?.then((text) => text.close())])
      const reason = signal?.aborted ? signal.reason : site.error(isErrorData(error) ? error : toErrorData(error))
      publishLoad({ type: 'error', ...named(), error: reason })
      throw reason
    }
  }

  /**
   * Starts a generation. Option errors throw here; what comes later rejects the result and the iterator: CONTEXT_OVERFLOW when the
   * prompt leaves no room for a token, TEMPLATE_ERROR, OUT_OF_MEMORY when other programs took the memory that the KV cache was
   * promised, ENGINE_FAILED, ENGINE_CLOSED. A generation that reaches the end of the context ends with finishReason 'length'.
   */
  generate(options: GenerateOptions): Generation {
    const site = new CallSite(this.generate)
    const { prompt, messages, parseSpecial, ...sampling } = parse(generateSchema, options, 'options', site)
    if (messages !== undefined) return this.#chat(messages, sampling, site)
    return this.#generate(() => this.#prompt(prompt!, parseSpecial, site), sampling, site, {})
  }

  /**
   * Starts n generations of one prompt, which is tokenised and computed once for all of them. Sample i is drawn with seed + i when
   * a seed is given, else with a random one (in its result): `generate` with that seed gives the same tokens.
   */
  samples(options: GenerateOptions, n: number): Generation[] {
    const site = new CallSite(this.samples)
    const { prompt, messages, parseSpecial, ...sampling } = parse(generateSchema, options, 'options', site)
    const count = parse(countSchema, n, 'n', site)
    const { seed } = sampling
    if (seed !== undefined && seed > Number.MAX_SAFE_INTEGER - count + 1)
      throw invalidArgument(site, 'seed', `at most ${Number.MAX_SAFE_INTEGER - count + 1} for ${count} samples`, seed)
    let made: Prompt | Promise<Prompt> | undefined
    const once = (make: () => Prompt | Promise<Prompt>) => {
      made ??= make()
      return made
    }
    return Array.from({ length: count }, (_, i) => {
      // Of its own: Node warns of many listeners on one signal.
      const signal = sampling.signal && AbortSignal.any([sampling.signal])
      const one = { ...sampling, ...(signal && { signal }), ...(seed !== undefined && { seed: seed + i }) }
      if (messages !== undefined) return this.#chat(messages, one, site, undefined, once)
      return this.#generate(() => once(() => this.#prompt(prompt!, parseSpecial, site)), one, site, {})
    })
  }

  /** Starts a conversation. It costs nothing until its first turn and holds no memory between turns. */
  session(options: SessionOptions = {}): Session {
    const site = new CallSite(this.session)
    const parsed = parse(sessionSchema, options, 'options', site)
    this.#assertOpen(site)
    this.#assertTemplate(site)
    const { system, overflow } = parsed
    const messages = system === undefined ? [] : [{ role: 'system', content: system }]
    return new Session(this.#sessionHost, { messages, overflow, tenant: '', cacheId: '' })
  }

  /**
   * Goes on with a conversation that `session.save()` wrote. What the file holds of the computation comes back into the cache, for
   * this session and its forks alone; pass the same `tenant` as before, if any, to find it. Rejects with FILE_NOT_FOUND, IO_ERROR,
   * and SESSION_INVALID when the file is damaged, or was made with another model or other numerics.
   */
  restoreSession(path: string, options: RestoreOptions = {}): Promise<Session> {
    const site = new CallSite(this.restoreSession)
    const checked = parse(pathSchema, path, 'path', site)
    const { overflow } = parse(restoreSchema, options, 'options', site)
    this.#assertOpen(site)
    this.#assertTemplate(site)
    return this.#restore(resolve(checked), overflow).catch(rethrowAt(site))
  }

  /** The log-probability of each token of a text given all before it, and the text's perplexity. */
  score(options: ScoreOptions): Promise<Score> {
    const site = new CallSite(this.score)
    const { prompt, parseSpecial, signal, priority, tenant, deadlines } = parse(scoreSchema, options, 'options', site)
    const pending = this.#prompt(prompt, parseSpecial, site)
    const stream = new ScoreStream(site, signal, RequestTrace.start(this.model.name, 'score'))
    const sampling = this.#samplingSpec(parse(generateSchema, { prompt: '' }, 'options', site), 0, site)
    const askedAtMs = now()
    this.#whenReady(pending, stream, ({ tokens }) => {
      if (tokens.length < 2) return stream.reject(invalidArgument(site, 'prompt', 'at least two tokens', tokens.length))
      if (tokens.length > this.model.contextTokens) return stream.fail(this.#overflow(tokens.length))
      const rest = { mode: 'score', maxTokens: 0, ignoreEos: false, sampling, salt: tenant, askedAtMs } as const
      const request = { tokens, ...rest, stop: [], priority, tenant, ...(deadlines && { deadlines }) }
      stream.attach(this.#host.open(stream, request), tokens)
    })
    return stream.result
  }

  /** The ids of a text. */
  tokenize(text: string, options: TokenizeOptions = {}): Promise<number[]> {
    const site = new CallSite(this.tokenize)
    const checked = parse(textSchema, text, 'text', site)
    const parsed = parse(tokenizeSchema, options, 'options', site)
    this.#assertOpen(site)
    return this.#text.tokenize(checked, parsed).then((ids) => Array.from(ids), rethrowAt(site))
  }

  /** The text of ids; control tokens have none. */
  detokenize(ids: number[] | Int32Array): Promise<string> {
    const site = new CallSite(this.detokenize)
    const checked = tokenIds(parse(idsSchema, ids, 'ids', site), this.model.vocabularySize, 'ids', site)
    this.#assertOpen(site)
    return this.#text.detokenize(checked).catch(rethrowAt(site))
  }

  /** Counts: exact when a request has just ended or nothing runs, else at most some 20 ms old, or as old as the step that runs. */
  stats(): EngineStats {
    return this.#host.stats!
  }

  /** Begins to record every step, who was in it and where its time went. A trace that runs already begins anew. */
  startTrace(): void {
    this.#assertOpen(new CallSite(this.startTrace))
    this.#host.startTrace()
  }

  /** Ends the trace: a document that Perfetto opens once it is written to a file as JSON. */
  stopTrace(): Promise<Trace> {
    const site = new CallSite(this.stopTrace)
    this.#assertOpen(site)
    return this.#host.stopTrace().then(buildTrace, (error: ErrorData) => {
      throw site.error(error)
    })
  }

  /** Ends running requests with ENGINE_CLOSED and frees everything. Resolves when it is done; closing twice is fine. */
  close(): Promise<void> {
    this.#closing ??= Promise.all([this.#host.close(closedError), this.#text.close()]).then(() => {})
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  readonly #sessionHost: SessionHost = {
    start: (turn) => this.#chat(turn.messages, turn.sampling, turn.site, turn),
    save: (state, path, site) => {
      this.#assertOpen(site)
      return this.#save(state, resolve(path)).catch(rethrowAt(site))
    },
  }

  async #save({ messages, overflow, tenant, cacheId }: SessionState, path: string): Promise<SavedSession> {
    // Whatever the next question is, its prompt begins like this one's.
    const next = [...messages, { role: 'user', content: '.' }]
    const { tokens: prompt } = await this.#text.chatPrompt(next, { addGenerationPrompt: true })
    const length = Math.min(prompt.length, this.model.contextTokens)
    const tokens = prompt.slice(0, length - (length % kvBlockTokens))
    const plain = messages.map(({ tokens, ...message }) =>
      tokens === undefined ? message : { ...message, tokens: Array.from(tokens) },
    )
    const content = { ...this.#kv, history: { tenant, overflow, messages: plain }, tokens }
    return writeSession(path, content, (partial, offset, seed) =>
      this.#host.transfer('kvSave', { path: partial, offset, tokens, salt: saltOf(tenant, cacheId), seed }),
    )
  }

  async #restore(path: string, overflow: SessionState['overflow'] | undefined): Promise<Session> {
    const { history, tokens, blocks, offset, seed } = await readSession(path, this.#kv, this.model.vocabularySize)
    const cacheId = randomBytes(16).toString('hex')
    const known = tokens.slice(0, blocks * kvBlockTokens)
    const file = { path, offset, tokens: known, salt: saltOf(history.tenant, cacheId), seed }
    if (blocks > 0) await this.#host.transfer('kvRestore', file)
    const error = this.#unusable()
    if (error !== undefined) throw fromErrorData(error)
    const messages = history.messages.map(({ tokens, ...message }) =>
      tokens === undefined ? message : { ...message, tokens: Int32Array.from(tokens) },
    )
    const state = { messages, overflow: overflow ?? history.overflow, tenant: history.tenant, cacheId }
    return new Session(this.#sessionHost, state)
  }

  #chat(
    messages: VerbatimMessage[],
    sampling: ParsedSampling,
    site: CallSite,
    turn?: Turn,
    once = (make: () => Prompt | Promise<Prompt>) => make(),
  ): RunningGeneration {
    this.#assertOpen(site)
    this.#assertTemplate(site)
    const make = () =>
      turn === undefined || turn.droppable === 0
        ? once(() =>
            this.#text.chatPrompt(messages, { addGenerationPrompt: true, maxTokens: this.model.contextTokens }),
          )
        : this.#fitTurn(turn)
    const { dropPrefixSpace } = this.#text.info
    const salt = saltOf(sampling.tenant, turn?.cacheId ?? '')
    const reasoning = sampling.reasoning ?? (this.#markers === undefined ? 'keep' : 'split')
    return this.#generate(make, { ...sampling, reasoning }, site, { dropPrefixSpace, salt }, turn?.onEnd)
  }

  async #fitTurn({ messages, sampling, droppable, onDropped }: Turn): Promise<Prompt> {
    const system = messages.length - 2 * droppable - 1
    // Only its end matters, which is the same whatever is left out.
    let text = ''
    const { tokens, dropped } = await dropOldestTurns({
      ...{ turns: droppable, contextTokens: this.model.contextTokens, maxTokens: sampling.maxTokens },
      tokenize: async (pairs) => {
        const prompt = await this.#text.chatPrompt(messages.toSpliced(system, 2 * pairs), { addGenerationPrompt: true })
        text = prompt.text
        return prompt.tokens
      },
    })
    onDropped(dropped)
    return { tokens, text }
  }

  /** `make` is called when every option is known to be good: nobody would look at its promise after a throw. */
  #generate(
    make: () => Prompt | Promise<Prompt>,
    options: ParsedSampling,
    site: CallSite,
    output: Partial<Pick<RequestSpec, 'dropPrefixSpace' | 'salt'>>,
    onEnd?: Turn['onEnd'],
  ): RunningGeneration {
    this.#assertOpen(site)
    const seed = options.seed ?? randomBytes(6).readUIntBE(0, 6)
    const sampling = this.#samplingSpec(options, seed, site)
    const stopTokens = this.#stopTokens(options, site)
    const markers = options.reasoning === 'split' ? (this.#markers ?? usualMarkers) : undefined
    const pending = make()
    const { signal, stop, ignoreEos, priority, tenant, deadlines, speculation } = options
    const askedAtMs = now()
    const trace = RequestTrace.start(this.model.name, 'generate')
    const generation = new RunningGeneration({ site, seed, askedAtMs, now, signal, trace, ...(onEnd && { onEnd }) })
    this.#whenReady(pending, generation, ({ tokens, text = '' }) => {
      if (tokens.length === 0) return generation.reject(invalidArgument(site, 'prompt', 'at least one token', 'none'))
      if (tokens.length >= this.model.contextTokens) return generation.fail(this.#overflow(tokens.length))
      const maxTokens = options.maxTokens ?? this.model.contextTokens
      const spec: Omit<RequestSpec, 'id'> = {
        mode: 'generate',
        tokens,
        maxTokens,
        stop,
        ...(stopTokens.length > 0 && { stopTokens }),
        ignoreEos,
        ...(speculation === 'off' && { speculation: false }),
        ...(markers && { reasoning: { ...markers, begun: endsInReasoning(text, markers) } }),
        sampling,
        salt: tenant,
        askedAtMs,
        priority,
        tenant,
        ...(deadlines && { deadlines }),
        ...output,
      }
      generation.attach(this.#host.open(generation, spec), tokens.length)
    })
    return generation
  }

  /** Posts a request when its tokens are there, unless it ended or the engine was closed meanwhile. */
  #whenReady(
    pending: Prompt | Promise<Prompt>,
    stream: { ended: boolean; fail(error: ErrorData): void },
    open: (prompt: Prompt) => void,
  ): void {
    const ready = (prompt: Prompt) => {
      if (stream.ended) return
      const error = this.#unusable()
      if (error !== undefined) stream.fail(error)
      else open(prompt)
    }
    if ('tokens' in pending) ready(pending)
    else pending.then(ready, (error) => stream.fail(this.#unusable() ?? this.#noticed(toErrorData(error))))
  }

  /** A template that fails is the model's fault, not the request's: worth a line of the log. */
  #noticed(error: ErrorData): ErrorData {
    if (error.code === 'TEMPLATE_ERROR') this.#log(logLine(error))
    return error
  }

  /** Ids without a token (a model may be padded) are never drawn. */
  #samplingSpec(options: ParsedSampling, seed: number, site: CallSite): SamplingSpec {
    const vocabulary = Math.min(this.#text.info.vocabularySize, this.model.vocabularySize)
    return samplingSpec(options, { seed, vocabulary, modelVocabulary: this.model.vocabularySize }, site)
  }

  /** A stop text that names a control token, which has no text, is that token. */
  #stopTokens({ stop, stopTokens }: ParsedSampling, site: CallSite): StopToken[] {
    const named = stop.flatMap((text) => {
      const token = this.#control.get(text)
      return token === undefined ? [] : [{ token, text }]
    })
    const ids = tokenIds(stopTokens, this.model.vocabularySize, 'stopTokens', site)
    return [...named, ...Array.from(ids, (token) => ({ token }))]
  }

  #prompt(prompt: string | number[] | Int32Array, parseSpecial: boolean, site: CallSite): Prompt | Promise<Prompt> {
    this.#assertOpen(site)
    if (typeof prompt !== 'string') return { tokens: tokenIds(prompt, this.model.vocabularySize, 'prompt', site) }
    const { contextTokens: maxTokens } = this.model
    return this.#text
      .tokenize(prompt, { parseSpecial, addBos: this.#text.info.addBos, maxTokens })
      .then((tokens) => ({ tokens, text: prompt }))
  }

  #overflow(promptTokens: number): ErrorData {
    const { contextTokens } = this.model
    return {
      code: 'CONTEXT_OVERFLOW',
      message: `The prompt has ${promptTokens} tokens; prompt and output together may have ${contextTokens}.`,
      details: { promptTokens, contextTokens },
    }
  }

  #unusable(): ErrorData | undefined {
    return this.#closing === undefined ? this.#host.failure : closedError
  }

  #assertOpen(site: CallSite): void {
    const error = this.#unusable()
    if (error !== undefined) throw site.error(error)
  }

  #assertTemplate(site: CallSite): void {
    if (this.model.chatTemplate) return
    const message = 'The model has no chat template; give a prompt instead of messages.'
    throw site.error({ code: 'NO_CHAT_TEMPLATE', message, details: { model: this.model.name } })
  }
}

/** Cached prefixes are shared within a tenant; a session with a cacheId shares its own with nobody. */
const saltOf = (tenant: string, cacheId: string): string => (cacheId === '' ? tenant : `${tenant}\0${cacheId}`)

/** A synthetic model's vocabulary exists in memory only. */
function textSource(location: ModelLocation): TextSource {
  if (location.kind === 'files') return { kind: 'gguf', path: location.files[0]! }
  return { kind: 'metadata', metadata: openCheckpoint(location).metadata }
}

function hostOptions(options: ParsedLoad, location: ModelLocation) {
  return {
    model: location,
    backend: options.device === 'reference' ? 'reference' : 'cpu',
    isa: options.internal.isa ?? null,
    sharingFolder: sharingFolder(options.shareWeights),
    threads: options.threads,
    contextTokens: options.contextTokens,
    kvMemoryBytes: options.kv.memory,
    kvDtype: options.kv.dtype,
    prefixCache: options.prefixCache,
    stepTokens: options.internal.stepTokens,
    maxSequences: options.internal.maxSequences,
    policy: schedulingPolicy(options),
    drafting: drafting(options),
    checkBlocks: options.internal.checkBlocks,
    recordFile: options.internal.recordFile,
  } as const
}

/** Null: weights are not shared between processes. */
function sharingFolder(shareWeights: boolean | string): string | null {
  if (typeof shareWeights === 'string') return resolve(shareWeights)
  return shareWeights ? join(tmpdir(), `octavo-${userInfo().uid}`) : null
}

function drafting({ speculation }: ParsedLoad): DraftingOptions | undefined {
  if (speculation === 'off') return undefined
  const { drafters, drafts: fixed } =
    speculation === 'auto' ? { drafters: ['ngram', 'shared'] as const, drafts: undefined } : speculation
  const model = drafters.find((drafter) => typeof drafter === 'object')
  return {
    own: drafters.includes('ngram'),
    shared: drafters.includes('shared'),
    model: model && locateModel(model.model),
    maxModelDrafts: model?.maxDrafts ?? 0,
    fixed,
  }
}

function schedulingPolicy({ objective, maxStepMs, queue, tenants, idleTimeoutMs }: ParsedLoad): SchedulingPolicy {
  const weights = Object.fromEntries(Object.entries(tenants).map(([name, { weight }]) => [name, weight]))
  const { maxRequests: maxQueuedRequests, maxTokens: maxQueuedTokens } = queue
  return { objective, maxStepMs, maxQueuedRequests, maxQueuedTokens, idleTimeoutMs, weights }
}

function samplingSpec(
  options: ParsedSampling,
  { seed, vocabulary, modelVocabulary }: { seed: number; vocabulary: number; modelVocabulary: number },
  site: CallSite,
): SamplingSpec {
  const { temperature, topK, topP, minP, repetitionPenalty, presencePenalty, frequencyPenalty } = options
  const bias = Object.entries(options.logitBias)
  const biasTokens = tokenIds(
    bias.map(([id]) => Number(id)),
    modelVocabulary,
    'logitBias',
    site,
  )
  const biasValues = Float32Array.from(bias, ([, value]) => value)
  const logprobs = options.logprobs === false ? -1 : Math.min(options.logprobs, modelVocabulary)
  const numbers = { temperature, topK, topP, minP, repetitionPenalty, presencePenalty, frequencyPenalty }
  return { ...numbers, seed, logprobs, vocabulary, biasTokens, biasValues }
}

/** A checked copy of ids. */
function tokenIds(ids: number[] | Int32Array, vocabularySize: number, option: string, site: CallSite): Int32Array {
  for (let i = 0; i < ids.length; i++) {
    const id = ids[i]!
    if (Number.isInteger(id) && id >= 0 && id < vocabularySize) continue
    throw invalidArgument(site, `${option}[${i}]`, `a token id from 0 to ${vocabularySize - 1}`, id)
  }
  return Int32Array.from(ids)
}

function untilAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason)
    signal.addEventListener('abort', abort, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort))
  })
}

const rethrowAt = (site: CallSite) => (error: unknown) => {
  throw site.error(toErrorData(error))
}

const isErrorData = (error: unknown): error is ErrorData =>
  !(error instanceof OctavoError) &&
  !(error instanceof Error) &&
  typeof error === 'object' &&
  error !== null &&
  'code' in error
