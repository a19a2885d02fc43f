/**
 * A loaded model and everything one can ask of it. The model computes on the engine thread (host-client.ts), text becomes
 * tokens on the text worker (prompts.ts); this class only checks options and connects requests to streams.
 */
import { randomBytes, randomInt } from 'node:crypto'
import { answerForm } from './answers/answer-form.ts'
import type { DeepPartial } from './answers/partial-json.ts'
import { Grammars } from './answers/structured.ts'
import { invalidArgument, parse } from './arguments.ts'
import { CallSite } from './base/call-site.ts'
import type { ErrorData } from './base/errors.ts'
import { fromErrorData, OctavoError, toErrorData } from './base/errors.ts'
import { kvBlockTokens } from './base/kv-blocks.ts'
import { assertPlatform } from './base/native.ts'
import { type Log, logLine, logOf, publishLoad, RequestTrace } from './diagnostics.ts'
import type { Generation, GenerationResult, GenerationSetup } from './generation.ts'
import { RunningGeneration } from './generation.ts'
import type { EngineStats, LoadedInfo, ModelInfo, RequestSpec, SamplingSpec, StopToken } from './host/wire/protocol.ts'
import { type HostClient, startHost } from './host-client.ts'
import { hostOptions, textSource } from './host-options.ts'
import type {
  CheckedConversation,
  CheckedMessage,
  Conversation,
  RenderedPrompt,
  RenderOptions,
  VerbatimMessage,
} from './messages.ts'
import { modelIdentity } from './model/identity.ts'
import { locateModel } from './model/locate.ts'
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
  loadSchema,
  pathSchema,
  renderSchema,
  restoreSchema,
  scoreSchema,
  sessionSchema,
  textSchema,
  tokenizeSchema,
} from './options.ts'
import { type Prompt, type PromptSource, Prompts, splitOptions, tokenIds } from './prompts.ts'
import { samplingSpec } from './sampling-spec.ts'
import { type Score, ScoreStream } from './score.ts'
import type { SavedSession, SessionHost, SessionState, Turn } from './session.ts'
import { Session } from './session.ts'
import { type KvIdentity, readSession, writeSession } from './session-file.ts'
import { abortReason, untilAborted } from './signals.ts'
import { controlOf, endsInReasoning, type ReasoningMarkers, reasoningMarkers } from './text/reasoning-markers.ts'
import { TextService, type TokenInfo } from './text/text-service.ts'
import { answerMessage, type LoopSetup, ToolLoop } from './tool-loop.ts'
import { CallReader, callId } from './tools/call-reader.ts'
import { callFormat, type KnownFormat } from './tools/formats.ts'
import type { AnyCall, CallOf, ToolChoice, ToolsOf } from './tools/tool-call.ts'
import type { Toolbox } from './tools/toolbox.ts'
import type { InputOf, OutputOf, ZodLike } from './tools/value-schema.ts'
import { buildTrace, type Trace } from './trace.ts'

/** What is known about a loaded model. */
export interface EngineModel extends ModelInfo {
  /** Most tokens of one request, prompt and output. */
  contextTokens: number
  /** Whether `messages` and sessions can be used. */
  chatTemplate: boolean
  bosId: number | undefined
  /** Whether prompts that are text begin with it. */
  addsBos: boolean
  /** Tokens that end a generation. */
  eosIds: number[]
}

/** What one round of a generation is told beside what its caller says. */
type RoundOptions = Partial<Pick<RequestSpec, 'dropPrefixSpace' | 'salt' | 'askedAtMs'>> &
  Partial<Pick<GenerationSetup, 'queue' | 'onEnd'>> & {
    markers?: ReasoningMarkers | undefined
    reasoning?: ParsedSampling['reasoning']
    /** Present: calls of tools come apart. */
    calls?: { toolbox: Toolbox; format: KnownFormat }
    isFirst?: boolean
  }

/** Options with tools whose types are known. */
type WithTools<O, P> = Omit<O, 'tools' | 'toolChoice'> & {
  tools: ToolsOf<P>
  toolChoice?: ToolChoice<keyof P & string> | undefined
}

type RestoreChanges = CheckedConversation & { overflow?: SessionState['overflow'] | undefined }

const closedError: ErrorData = { code: 'ENGINE_CLOSED', message: 'The engine is closed.', details: {} }

/** Milliseconds since the epoch, fractional; comparable between threads. */
const now = () => performance.timeOrigin + performance.now()

export class Engine {
  readonly model: EngineModel
  readonly #host: HostClient
  readonly #text: TextService
  readonly #prompts: Prompts
  readonly #grammars: Grammars
  readonly #log: Log
  readonly #kv: LoadedInfo['kv']
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
    const { bosId, addBos: addsBos, hasChatTemplate } = text.info
    const { contextTokens, model } = loaded
    this.model = Object.freeze({ ...model, contextTokens, chatTemplate: hasChatTemplate, bosId, addsBos, eosIds })
    this.#prompts = new Prompts(text, this.model)
    this.#grammars = new Grammars((source, tenant) => text.compileGrammar(source, tenant))
  }

  /**
   * Loads a model. Option errors throw here; everything later rejects: PLATFORM_UNSUPPORTED, FILE_NOT_FOUND,
   * MODEL_INVALID, MODEL_UNSUPPORTED, OUT_OF_MEMORY, or `signal.reason` when the signal aborts. Nothing stays behind when it rejects.
   */
  static load(options: LoadOptions): Promise<Engine> {
    const site = new CallSite(Engine.load)
    return Engine.#start(parse(loadSchema, options, 'options', site, true), site)
  }

  static async #start(options: ParsedLoad, site: CallSite): Promise<Engine> {
    const { signal } = options
    if (signal?.aborted) throw abortReason(signal)
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
      const { chatTemplate } = options
      starting = TextService.start({ source: textSource(location), chatTemplate, signal: off.signal })
      const [loaded, text] = await untilAborted(Promise.all([host.loaded, starting]), signal)
      for (const note of text.info.notes) log(note)
      const { contextTokens, model } = loaded
      const own = tokenIds(options.endTokens, model.vocabularySize, 'endTokens', site)
      const eosIds = [...new Set([...text.info.eosIds, ...own])].sort((a, b) => a - b)
      host.setVocabulary({ tokenBytes: text.info.tokenBytes, eosIds })
      publishLoad({ type: 'end', ...named(), contextTokens, weightBytes: model.bytes })
      return new Engine(host, text, loaded, log, eosIds)
    } catch (error) {
      off.abort()
      await Promise.allSettled([host?.close(closedError), starting?.then((text) => text.close())])
      const reason = signal?.aborted ? abortReason(signal) : site.error(isErrorData(error) ? error : toErrorData(error))
      publishLoad({ type: 'error', ...named(), error: reason })
      throw reason
    }
  }

  /**
   * Starts a generation. Option errors throw here; what comes later rejects the result and the iterator: CONTEXT_OVERFLOW when the
   * prompt leaves no room for a token, TEMPLATE_ERROR, OUT_OF_MEMORY when other programs took the memory that the KV cache was
   * promised, SCHEMA_UNSUPPORTED, OBJECT_INVALID, ENGINE_FAILED, ENGINE_CLOSED. A generation that reaches the end of the context ends
   * with finishReason 'length'.
   */
  generate<P extends Record<string, unknown>, T extends ZodLike>(
    options: WithTools<GenerateOptions, P> & { schema: T },
  ): Generation<OutputOf<T>, CallOf<P>, DeepPartial<InputOf<T>>>
  generate<P extends Record<string, unknown>>(options: WithTools<GenerateOptions, P>): Generation<unknown, CallOf<P>>
  generate<T extends ZodLike>(
    options: GenerateOptions & { schema: T },
  ): Generation<OutputOf<T>, AnyCall, DeepPartial<InputOf<T>>>
  generate(options: GenerateOptions): Generation
  generate(options: GenerateOptions): Generation {
    const site = new CallSite(this.generate)
    const { source, sampling } = splitOptions(parse(generateSchema, options, 'options', site))
    return this.#request(source, sampling, site, (added) => this.#prompts.read(source, site, added))
  }

  /**
   * Starts n generations of one prompt, which is tokenised and computed once for all of them. Sample i is drawn with seed + i when
   * a seed is given, else with a random one (in its result): `generate` with that seed gives the same tokens.
   */
  samples<P extends Record<string, unknown>, T extends ZodLike>(
    options: WithTools<GenerateOptions, P> & { schema: T },
    n: number,
  ): Generation<OutputOf<T>, CallOf<P>, DeepPartial<InputOf<T>>>[]
  samples<P extends Record<string, unknown>>(
    options: WithTools<GenerateOptions, P>,
    n: number,
  ): Generation<unknown, CallOf<P>>[]
  samples<T extends ZodLike>(
    options: GenerateOptions & { schema: T },
    n: number,
  ): Generation<OutputOf<T>, AnyCall, DeepPartial<InputOf<T>>>[]
  samples(options: GenerateOptions, n: number): Generation[]
  samples(options: GenerateOptions, n: number): Generation[] {
    const site = new CallSite(this.samples)
    const { source, sampling } = splitOptions(parse(generateSchema, options, 'options', site))
    const count = parse(countSchema, n, 'n', site)
    const { seed } = sampling
    if (seed !== undefined && seed > Number.MAX_SAFE_INTEGER - count + 1)
      throw invalidArgument(site, 'seed', `at most ${Number.MAX_SAFE_INTEGER - count + 1} for ${count} samples`, seed)
    let made: Prompt | Promise<Prompt> | undefined
    const once = (added: readonly VerbatimMessage[]) => {
      if (added.length > 0) return this.#prompts.read(source, site, added)
      made ??= this.#prompts.read(source, site)
      return made
    }
    return Array.from({ length: count }, (_, i) => {
      const one = seed === undefined ? sampling : { ...sampling, seed: seed + i }
      return this.#request(source, one, site, once)
    })
  }

  /**
   * The prompt that a conversation becomes: what `generate` with these options would send. Rejects with TEMPLATE_ERROR. It may be
   * longer than the context.
   */
  renderPrompt(options: RenderOptions): Promise<RenderedPrompt> {
    const site = new CallSite(this.renderPrompt)
    const conversation = parse(renderSchema, options, 'options', site)
    this.#assertOpen(site)
    this.#prompts.assertTemplate(site, conversation)
    return this.#prompts.render(conversation).catch(rethrowAt(site))
  }

  /** Starts a conversation. It costs nothing until its first turn and holds no memory between turns. */
  session<P extends Record<string, unknown>>(options: WithTools<SessionOptions, P>): Session<CallOf<P>>
  session(options?: SessionOptions): Session
  session(options: SessionOptions = {}): Session {
    const site = new CallSite(this.session)
    const parsed = parse(sessionSchema, options, 'options', site)
    this.#assertOpen(site)
    this.#prompts.assertTemplate(site, parsed)
    this.#prompts.expectChat(parsed)
    const { system, overflow, ...conversation } = parsed
    const messages = system === undefined ? [] : [{ role: 'system', content: system }]
    return new Session(this.#sessionHost, { messages, turns: [], conversation, overflow, tenant: '', cacheId: '' })
  }

  /**
   * Goes on with a conversation that `session.save()` wrote. What the file holds of the computation comes back into the cache, for
   * this session and its forks alone; pass the same `tenant` as before, if any, to find it. Rejects with FILE_NOT_FOUND, IO_ERROR,
   * NO_CHAT_TEMPLATE when neither model nor file nor option has one, and SESSION_INVALID when the file is damaged, or was made with
   * another model or other numerics.
   */
  restoreSession<P extends Record<string, unknown>>(
    path: string | URL,
    options: WithTools<RestoreOptions, P>,
  ): Promise<Session<CallOf<P>>>
  restoreSession(path: string | URL, options?: RestoreOptions): Promise<Session>
  restoreSession(path: string | URL, options: RestoreOptions = {}): Promise<Session> {
    const site = new CallSite(this.restoreSession)
    const checked = parse(pathSchema, path, 'path', site)
    const changed = parse(restoreSchema, options, 'options', site)
    this.#assertOpen(site)
    return this.#restore(checked, changed, site).catch(rethrowAt(site))
  }

  /** The log-probability of each token of a text given all before it, and the text's perplexity. */
  score(options: ScoreOptions): Promise<Score> {
    const site = new CallSite(this.score)
    const { prompt, parseSpecial, signal, priority, tenant, deadlines } = parse(scoreSchema, options, 'options', site)
    this.#assertOpen(site)
    const pending = this.#prompts.read({ prompt, parseSpecial }, site)
    const stream = new ScoreStream(site, signal, RequestTrace.start(this.model.name, 'score'))
    const sampling = this.#samplingSpec(parse(generateSchema, { prompt: '' }, 'options', site), 0, site)
    const askedAtMs = now()
    this.#whenReady(pending, stream, ({ tokens }) => {
      if (tokens.length < 2) return stream.reject(invalidArgument(site, 'prompt', 'at least two tokens', tokens.length))
      if (tokens.length > this.model.contextTokens) return stream.fail(this.#prompts.overflow(tokens.length))
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

  /** What an id spells: text, and bytes where it is a piece of a character. A control token spells nothing: its text is its name. */
  token(id: number): TokenInfo {
    const isToken = Number.isInteger(id) && id >= 0 && id < this.model.vocabularySize
    if (!isToken) tokenIds([id], this.model.vocabularySize, 'id', new CallSite(this.token))
    return this.#text.token(id)
  }

  /** Why nothing can be asked of it any more: it failed, or was closed. */
  get failure(): OctavoError | undefined {
    const error = this.#unusable()
    return error && fromErrorData(error)
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
    start: (turn) => this.#turn(turn),
    render: (turn) => {
      this.#assertOpen(turn.site)
      return this.#prompts.renderTurn(turn).catch(rethrowAt(turn.site))
    },
    save: (state, path, site) => {
      this.#assertOpen(site)
      return this.#save(state, path).catch(rethrowAt(site))
    },
  }

  #kvIdentity(): KvIdentity {
    return { ...this.#kv, model: modelIdentity(this.#kv.model) }
  }

  async #save(state: SessionState, path: string): Promise<SavedSession> {
    const { messages, turns, conversation, overflow, tenant, cacheId } = state
    // Whatever the next question is, its prompt begins like this one's.
    const next: CheckedMessage[] = [...messages, { role: 'user', content: '.' }]
    const prompt = (await this.#prompts.render({ ...conversation, messages: next })).tokens
    const length = Math.min(prompt.length, this.model.contextTokens)
    const tokens = Int32Array.from(prompt.slice(0, length - (length % kvBlockTokens)))
    const content = { ...this.#kvIdentity(), history: { tenant, overflow, messages, turns, conversation }, tokens }
    return writeSession(path, content, (partial, offset, seed) =>
      this.#host.transfer('kvSave', { path: partial, offset, tokens, salt: saltOf(tenant, cacheId), seed }),
    )
  }

  async #restore(path: string, changed: RestoreChanges, site: CallSite): Promise<Session> {
    const { history, tokens, blocks, offset, seed } = await readSession(
      path,
      this.#kvIdentity(),
      this.model.vocabularySize,
    )
    const { overflow, ...others } = changed
    const given = Object.entries(others).filter(([, value]) => value !== undefined)
    const conversation: CheckedConversation = { ...history.conversation, ...Object.fromEntries(given) }
    this.#prompts.assertTemplate(site, conversation)
    this.#prompts.expectChat(conversation)
    const cacheId = randomBytes(16).toString('hex')
    const known = tokens.slice(0, blocks * kvBlockTokens)
    const file = { path, offset, tokens: known, salt: saltOf(history.tenant, cacheId), seed }
    if (blocks > 0) await this.#host.transfer('kvRestore', file)
    const error = this.#unusable()
    if (error !== undefined) throw fromErrorData(error)
    const state = { ...history, conversation, overflow: overflow ?? history.overflow, cacheId }
    return new Session(this.#sessionHost, state)
  }

  #turn(turn: Turn): Generation {
    const { conversation, sampling, site, cacheId, onEnd } = turn
    const make = (added: readonly VerbatimMessage[]) => this.#prompts.readTurn(turn, added)
    return this.#request(conversation, sampling, site, make, { cacheId, onEnd })
  }

  /** `make`: the prompt, `added` being messages that a generation of several rounds adds to the conversation. */
  #request(
    source: PromptSource,
    sampling: ParsedSampling,
    site: CallSite,
    make: (added: readonly VerbatimMessage[]) => Prompt | Promise<Prompt>,
    { cacheId = '', onEnd }: Partial<Pick<Turn, 'cacheId' | 'onEnd'>> = {},
  ): Generation {
    this.#assertOpen(site)
    if (!('messages' in source)) return this.#generate(() => make([]), sampling, site, {})
    this.#prompts.assertTemplate(site, source)
    const { tools, continueFinalMessage } = source
    const output = this.#chatOutput(source, sampling, cacheId)
    const calls = tools !== undefined && tools.names.length > 0
    if (!calls || continueFinalMessage) {
      const end = (result: GenerationResult | undefined, ids: readonly number[]) =>
        onEnd?.(result, result === undefined ? [] : [answerMessage(result, ids)])
      return this.#generate(() => make([]), sampling, site, { ...output, onEnd: end })
    }
    const format = this.#callFormat(source.chatTemplate)
    const askedAtMs = now()
    const seed = sampling.seed ?? randomSeed()
    const { maxRounds, signal } = sampling
    const start: LoopSetup['start'] = (added, queue, onEnd) => {
      const isFirst = added.length === 0
      const options = { ...sampling, seed, ...(!isFirst && { toolChoice: 'auto' as const }) }
      const calls = { toolbox: tools, format }
      return this.#generate(() => make(added), options, site, { ...output, queue, calls, onEnd, askedAtMs, isFirst })
    }
    return new ToolLoop({ toolbox: tools, maxRounds, signal, start, onEnd })
  }

  /** What a conversation says of its answer's text. */
  #chatOutput({ chatTemplate, continueFinalMessage }: Conversation, sampling: ParsedSampling, cacheId: string) {
    const markers = chatTemplate === undefined ? this.#markers : reasoningMarkers(chatTemplate, this.#text.control)
    // What goes on with a message is a part of it, with the space before its first word and all.
    const dropPrefixSpace = this.#text.info.dropPrefixSpace && !continueFinalMessage
    const reasoning = sampling.reasoning ?? (markers === undefined || continueFinalMessage ? 'keep' : 'split')
    return { dropPrefixSpace, salt: saltOf(sampling.tenant, cacheId), markers, reasoning }
  }

  #callFormat(chatTemplate: string | undefined): KnownFormat {
    return callFormat(chatTemplate ?? this.#text.templateSource, this.#text.control)
  }

  /** `make` is called when every option is known to be good: nobody would look at its promise after a throw. */
  #generate(
    make: () => Prompt | Promise<Prompt>,
    options: ParsedSampling,
    site: CallSite,
    { markers: known = this.#markers, reasoning, queue, calls, onEnd, ...round }: RoundOptions,
  ): RunningGeneration {
    this.#assertOpen(site)
    const seed = options.seed ?? randomSeed()
    const sampling = this.#samplingSpec(options, seed, site)
    const stopTokens = this.#stopTokens(options, site)
    const isSplit = (reasoning ?? options.reasoning) === 'split'
    const form = answerForm(this.#grammars, options, site, calls, { isSplit, markers: known })
    const { choice, grammar, read, markers } = form
    const prompt = choice === undefined ? make() : this.#begun(make(), choice.prefix, known)
    const pending = grammar === undefined ? prompt : grammar.after(prompt)
    const { signal, stop, ignoreEos, priority, tenant, speculation } = options
    const { askedAtMs = now(), isFirst = true, dropPrefixSpace, salt = tenant } = round
    const deadlines = isFirst ? options.deadlines : leftOf(options.deadlines, now() - askedAtMs)
    const trace = RequestTrace.start(this.model.name, 'generate')
    const setup = { site, seed, askedAtMs, now, signal, trace, queue, read, ...(onEnd && { onEnd }) }
    const generation = new RunningGeneration(setup)
    this.#whenReady(pending, generation, ({ tokens, text = '' }) => {
      if (tokens.length === 0) return generation.reject(invalidArgument(site, 'prompt', 'at least one token', 'none'))
      if (tokens.length >= this.model.contextTokens) return generation.fail(this.#prompts.overflow(tokens.length))
      const maxTokens = options.maxTokens ?? this.model.contextTokens
      const marks = controlOf(markers, calls?.format)
      const begun = choice && { begun: choice.begun }
      const isReasoning = markers !== undefined && endsInReasoning(text, markers)
      const source = grammar?.source(dropPrefixSpace, isReasoning)
      const callSpec = calls && { ...calls.format.format, control: marks, tools: calls.toolbox.names, ...begun }
      const spec: Omit<RequestSpec, 'id'> = {
        mode: 'generate',
        tokens,
        maxTokens,
        stop,
        ...(stopTokens.length > 0 && { stopTokens }),
        ignoreEos,
        ...(speculation === 'off' && { speculation: false }),
        ...(markers && { reasoning: { ...markers, control: marks, begun: isReasoning } }),
        ...(callSpec && { calls: callSpec }),
        ...(dropPrefixSpace !== undefined && { dropPrefixSpace }),
        sampling: source === undefined ? sampling : { ...sampling, grammar: source },
        salt,
        askedAtMs,
        priority,
        tenant,
        ...(deadlines && { deadlines }),
      }
      const idOf = (index: number) => callId(seed, tokens.length, index)
      const reader = callSpec && new CallReader(callSpec, calls.toolbox, idOf)
      generation.attach(this.#host.open(generation, spec), tokens.length, reader)
    })
    return generation
  }

  /** A prompt with the beginning of its answer, in which names of control tokens are such. */
  async #begun(
    pending: Prompt | Promise<Prompt>,
    prefix: string,
    markers: ReasoningMarkers | undefined,
  ): Promise<Prompt> {
    const { tokens, text = '' } = await pending
    const isThinking = markers !== undefined && endsInReasoning(text, markers)
    const begun = isThinking ? `${markers.close[0]}\n\n${prefix}` : prefix
    const more = begun === '' ? [] : await this.#text.tokenize(begun, { parseSpecial: true })
    return { tokens: Int32Array.from([...tokens, ...more]), text: text + begun }
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

  #unusable(): ErrorData | undefined {
    return this.#closing === undefined ? this.#host.failure : closedError
  }

  #assertOpen(site: CallSite): void {
    const error = this.#unusable()
    if (error !== undefined) throw site.error(error)
  }
}

/** It draws on bytes that are there, which `randomBytes` asks the system for each time. */
const randomSeed = (): number => randomInt(2 ** 48 - 1)

/** A later round has had its first token, and what the others left of the time. */
function leftOf(deadlines: ParsedSampling['deadlines'], elapsedMs: number): ParsedSampling['deadlines'] {
  return deadlines?.totalMs === undefined ? undefined : { totalMs: Math.max(deadlines.totalMs - elapsedMs, 0.001) }
}

/** Cached prefixes are shared within a tenant; a session with a cacheId shares its own with nobody. */
const saltOf = (tenant: string, cacheId: string): string => (cacheId === '' ? tenant : `${tenant}\0${cacheId}`)

const rethrowAt = (site: CallSite) => (error: unknown) => {
  throw site.error(toErrorData(error))
}

const isErrorData = (error: unknown): error is ErrorData =>
  !(error instanceof OctavoError) &&
  !(error instanceof Error) &&
  typeof error === 'object' &&
  error !== null &&
  'code' in error
