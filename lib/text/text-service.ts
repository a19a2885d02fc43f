/**
 * Text for the main thread: tokenising in a worker thread with the one copy of the vocabulary, chat templates in another
 * one. Every call is a promise; a long text delays neither the event loop nor short calls that come after it.
 */
import { type ErrorData, type ErrorDetails, fromErrorData, OctavoError } from '../base/errors.ts'
import type { GgufValue } from '../base/native.ts'
import type { CompiledGrammar, GrammarSource } from '../grammar/compile.ts'
import { TokenTable } from '../host/output/detokenizer.ts'
import { ChatTemplate } from './chat-template.ts'
import type { ChatRequest, RenderedChat } from './template-render.ts'
import { TemplateShelf } from './template-shelf.ts'
import type { ChatText, DecodeOptions, EncodeOptions, TokenizerInfo } from './tokenizer.ts'
import type { SpecialToken } from './vocabulary/vocabulary.ts'
import { WorkerClient } from './worker-client.ts'

/** Where the worker finds the vocabulary. It reads files itself. */
export type TextSource =
  | { kind: 'gguf'; path: string }
  | { kind: 'metadata'; metadata: Record<string, GgufValue> }
  | { kind: 'tokenizer-json'; path: string }

/** What the worker reports once the vocabulary is loaded. */
export interface Started {
  info: TokenizerInfo
  control: SpecialToken[]
  named: Record<string, string>
  chatTemplate: string | undefined
  /** Why the chat template cannot be used. */
  fault: TemplateProblem | undefined
}

export interface TemplateProblem {
  message: string
  details: ErrorDetails
}

/** What the text worker is started with. */
export interface TextWorkerData {
  source: TextSource
  /** Instead of the one beside the vocabulary. */
  chatTemplate: string | undefined
}

export interface ChatOptions {
  /** Render the beginning of the assistant's answer, too. Default: true, unless the last message is to be continued. */
  addGenerationPrompt?: boolean | undefined
  /** The prompt ends with the content of the last message, which is the assistant's. */
  continueFinalMessage?: boolean | undefined
  tools?: unknown[] | undefined
  documents?: unknown[] | undefined
  /** Variables of the template. */
  templateOptions?: Record<string, unknown> | undefined
  /** The source of a template in the place of the model's. */
  chatTemplate?: string | undefined
  /** As for prompts, see PromptOptions. */
  maxTokens?: number | undefined
}

export interface ChatPrompt {
  tokens: Int32Array
  /** The rendering, control tokens by name: for people to read, since names in messages look the same. */
  text: string
}

export interface PromptOptions extends EncodeOptions {
  /** A text that has more bytes than so many tokens can hold is refused before it is tokenised: CONTEXT_OVERFLOW. */
  maxTokens?: number | undefined
}

export interface TextServiceOptions {
  source: TextSource
  /** Instead of the model's own chat template. */
  chatTemplate?: string | undefined
  templateDeadlineMs?: number | undefined
  /** Ends the worker in the midst of its start, which rejects with ENGINE_CLOSED. */
  signal?: AbortSignal | undefined
}

/** UTF-8 bytes without those that vanish. */
function countBytes(text: string, lost: readonly number[]): number {
  if (lost.length === 0) return Buffer.byteLength(text)
  const counts = new Uint8Array(256).fill(1)
  for (const byte of lost) counts[byte] = 0
  let sum = 0
  for (const byte of Buffer.from(text)) sum += counts[byte]!
  return sum
}

/** A vocabulary that does not fit into the worker's heap. */
function outOfMemory(error: unknown): OctavoError | undefined {
  const cause = (error as Error | undefined)?.cause as NodeJS.ErrnoException | undefined
  if (cause?.code !== 'ERR_WORKER_OUT_OF_MEMORY') return undefined
  return new OctavoError('OUT_OF_MEMORY', `The vocabulary is too large: ${cause.message}`, {}, { cause })
}

const closed = () => new OctavoError('ENGINE_CLOSED', 'The engine was closed.')

/** What an id stands for. */
export interface TokenInfo {
  /** Of a control token its name. A piece of a character is U+FFFD. */
  text: string
  /** What it spells; nothing where it is a control token. */
  bytes: Uint8Array
  isControl: boolean
}

const lenient = new TextDecoder('utf-8', { ignoreBOM: true })

export class TextService {
  readonly info: TokenizerInfo
  readonly control: readonly SpecialToken[]
  /** The source of the chat template; undefined when there is none that could be used. */
  readonly templateSource: string | undefined
  readonly #client: WorkerClient
  readonly #template: ChatTemplate | undefined
  readonly #others: TemplateShelf
  readonly #fault: TemplateProblem | undefined
  #table: TokenTable | undefined
  #names: Map<number, string> | undefined

  private constructor(client: WorkerClient, started: Started, options: TextServiceOptions) {
    this.#client = client
    const { info, chatTemplate, fault, control, named } = started
    this.control = control
    this.#fault = fault
    const notes = fault ? [`The model's chat template cannot be used. ${fault.message}`] : []
    this.info = { ...info, hasChatTemplate: chatTemplate !== undefined && !fault, notes: [...info.notes, ...notes] }
    const deadline = options.templateDeadlineMs === undefined ? {} : { deadlineMs: options.templateDeadlineMs }
    this.#others = new TemplateShelf({ control, named, ...deadline })
    if (chatTemplate !== undefined && !fault) {
      this.templateSource = chatTemplate
      this.#template = new ChatTemplate({ source: chatTemplate, control, named, ...deadline })
    }
  }

  /** A conversation is likely to begin: its first message waits some 50 ms less. Those who never chat have no thread for templates. */
  warmTemplate(): void {
    this.#template?.warm()
  }

  static async start(options: TextServiceOptions): Promise<TextService> {
    const { signal } = options
    if (signal?.aborted) throw closed()
    // Little of a call is kept: see youngMb in chat-template.ts.
    const resourceLimits = { maxYoungGenerationSizeMb: 4 }
    const data: TextWorkerData = { source: options.source, chatTemplate: options.chatTemplate }
    const client = new WorkerClient('text/text-worker', 'text worker', { resourceLimits })
    const stop = () => void client.stop(closed())
    signal?.addEventListener('abort', stop, { once: true })
    try {
      return new TextService(client, await client.call<Started>('load', data), options)
    } catch (error) {
      await client.stop(closed())
      throw outOfMemory(error) ?? error
    } finally {
      signal?.removeEventListener('abort', stop)
    }
  }

  async tokenize(text: string, { maxTokens, ...options }: PromptOptions = {}): Promise<Int32Array> {
    this.#checkBytes([text], maxTokens)
    return this.#client.call('tokenize', { text, options })
  }

  detokenize(ids: Int32Array | readonly number[], options: DecodeOptions = {}): Promise<string> {
    return this.#client.call('detokenize', { ids: ids instanceof Int32Array ? ids : Int32Array.from(ids), options })
  }

  token(id: number): TokenInfo {
    this.#table ??= new TokenTable(this.info.tokenBytes)
    this.#names ??= new Map(this.control.map(({ id, text }) => [id, text]))
    const name = this.#names.get(id)
    const bytes = name === undefined ? this.#table.bytes(id) : new Uint8Array()
    return { text: name ?? lenient.decode(bytes), bytes, isControl: name !== undefined }
  }

  /**
   * The prompt of a conversation. Strings in the messages never become control tokens. A message with `tokens` (an Int32Array) is
   * an answer that the model generated as these ids; where the template shows it, they stand in the prompt as far as they spell
   * exactly what is there.
   */
  async chatPrompt(messages: readonly unknown[], options: ChatOptions = {}): Promise<ChatPrompt> {
    const places = messages.flatMap((message, i) => (idsOf(message) ? [i] : []))
    const { text, cuts, answers } = await this.#render(messages, options, places)
    const texts = cuts.flatMap(({ from, to, id }) => (id === undefined ? [text.slice(from, to)] : []))
    this.#checkBytes(texts, options.maxTokens)
    const known = places.map((place, i) => ({ ids: idsOf(messages[place])!, stretches: answers[i]! }))
    const chat: ChatText = { text, cuts, answers: known.filter(({ stretches }) => stretches.length > 0) }
    return { tokens: await this.#client.call<Int32Array>('chat', chat), text }
  }

  /** The same prompt as text alone. */
  async renderChat(messages: readonly unknown[], options: ChatOptions = {}): Promise<string> {
    return (await this.#render(messages, options, [])).text
  }

  /** What is said when there is no template that could be used. */
  get noTemplate(): ErrorData {
    const why = this.#fault
      ? `The model's chat template cannot be used; give a prompt instead of messages. ${this.#fault.message}`
      : 'The model has no chat template; give a prompt instead of messages.'
    return { code: 'NO_CHAT_TEMPLATE', message: why, details: { ...this.#fault?.details } }
  }

  /** Rejects with SCHEMA_UNSUPPORTED. */
  compileGrammar(source: GrammarSource, tenant: string): Promise<CompiledGrammar> {
    return this.#client.call('grammar', { source, tenant })
  }

  /** Ends all workers; calls that are pending reject with ENGINE_CLOSED. */
  async close(): Promise<void> {
    await Promise.all([this.#client.stop(closed()), this.#template?.close(), this.#others.close()])
  }

  #checkBytes(texts: readonly string[], maxTokens = Number.POSITIVE_INFINITY): void {
    const limit = maxTokens * this.info.maxTextBytes
    // A UTF-16 unit has up to three bytes: most texts need not be measured.
    if (3 * texts.reduce((sum, text) => sum + text.length, 0) <= limit) return
    const bytes = texts.reduce((sum, text) => sum + countBytes(text, this.info.lostBytes), 0)
    if (bytes <= limit) return
    throw new OctavoError(
      'CONTEXT_OVERFLOW',
      `The prompt has ${bytes} bytes; ${maxTokens} tokens, prompt and output together, hold at most ${limit}.`,
      { promptBytes: bytes, contextTokens: maxTokens, maxPromptBytes: limit },
    )
  }

  async #render(messages: readonly unknown[], options: ChatOptions, answers: number[]): Promise<RenderedChat> {
    const { chatTemplate, tools = null, documents = null, templateOptions = {}, continueFinalMessage = false } = options
    const { addGenerationPrompt = !continueFinalMessage } = options
    checkOptions(messages, templateOptions, continueFinalMessage, addGenerationPrompt)
    const request: ChatRequest = {
      messages: messages.map((message) => (idsOf(message) ? withoutIds(message) : message)),
      ...{ tools, documents, templateOptions, addGenerationPrompt, continueFinalMessage, answers },
    }
    if (chatTemplate !== undefined) return this.#others.render(chatTemplate, request)
    if (!this.#template) throw fromErrorData(this.noTemplate)
    return this.#template.render(request)
  }
}

/** Variables that stand for the arguments of a call. */
const reserved = ['messages', 'tools', 'documents', 'add_generation_prompt']

function checkOptions(
  messages: readonly unknown[],
  templateOptions: Record<string, unknown>,
  continueFinalMessage: boolean,
  addGenerationPrompt: boolean,
): void {
  const invalid = (message: string, details: ErrorDetails = {}) => new OctavoError('INVALID_ARGUMENT', message, details)
  const taken = reserved.find((name) => Object.hasOwn(templateOptions, name))
  if (taken !== undefined)
    throw invalid(`templateOptions: expected other names than ${reserved.join(', ')}, got '${taken}'.`, { name: taken })
  if (!continueFinalMessage) return
  if (addGenerationPrompt) throw invalid('continueFinalMessage: expected addGenerationPrompt to be false.')
  const role = (messages.at(-1) as { role?: unknown } | undefined)?.role
  if (role !== 'assistant')
    throw invalid(
      `continueFinalMessage: expected the last message to be the assistant's, got role ${JSON.stringify(role)}.`,
    )
}

function idsOf(message: unknown): Int32Array | undefined {
  const tokens = (message as { tokens?: unknown } | null | undefined)?.tokens
  return tokens instanceof Int32Array ? tokens : undefined
}

/** A message as templates know it. */
function withoutIds(message: unknown): object {
  const { tokens: _, ...rest } = message as { tokens: Int32Array }
  return rest
}
