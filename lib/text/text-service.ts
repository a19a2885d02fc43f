/**
 * Text for the main thread: tokenising in a worker thread with the one copy of the vocabulary, chat templates in another
 * one. Every call is a promise; a long text delays neither the event loop nor short calls that come after it.
 */
import { OctavoError } from '../errors.ts'
import type { GgufValue } from '../native.ts'
import { ChatTemplate } from './chat-template.ts'
import type { ChatRequest, RenderedChat } from './template-render.ts'
import type { Piece } from './token-cutter.ts'
import type { DecodeOptions, EncodeOptions, TokenizerInfo } from './tokenizer.ts'
import { plain, verbatim } from './verbatim.ts'
import type { SpecialToken } from './vocabulary.ts'
import { siblingEntry, WorkerClient } from './worker-client.ts'

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
}

export interface ChatOptions {
  /** Render the beginning of the assistant's answer, too. Default: true. */
  addGenerationPrompt?: boolean | undefined
  tools?: unknown[] | undefined
  /** As for prompts, see PromptOptions. */
  maxTokens?: number | undefined
}

/** A conversation as the model is told it. */
export interface ChatPrompt {
  tokens: Int32Array
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

export class TextService {
  readonly info: TokenizerInfo
  readonly control: readonly SpecialToken[]
  /** The source of the chat template. */
  readonly templateSource: string | undefined
  readonly #client: WorkerClient
  readonly #template: ChatTemplate | undefined

  private constructor(client: WorkerClient, started: Started, options: TextServiceOptions) {
    this.#client = client
    const source = options.chatTemplate ?? started.chatTemplate
    this.control = started.control
    this.templateSource = source
    this.info = { ...started.info, hasChatTemplate: source !== undefined }
    if (source !== undefined) {
      const deadline = options.templateDeadlineMs === undefined ? {} : { deadlineMs: options.templateDeadlineMs }
      this.#template = new ChatTemplate({ source, control: started.control, named: started.named, ...deadline })
      this.#template.warm()
    }
  }

  static async start(options: TextServiceOptions): Promise<TextService> {
    const entry = siblingEntry(import.meta.url, 'text-worker')
    const { signal } = options
    if (signal?.aborted) throw closed()
    // Little of a call is kept: see youngMb in chat-template.ts.
    const resourceLimits = { maxYoungGenerationSizeMb: 4 }
    const client = new WorkerClient(entry, 'text worker', { workerData: { source: options.source }, resourceLimits })
    const stop = () => void client.stop(closed())
    signal?.addEventListener('abort', stop, { once: true })
    try {
      return new TextService(client, await client.call<Started>('load', undefined), options)
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

  /**
   * The prompt of a conversation. Strings in the messages never become control tokens. A message with `tokens` (an Int32Array)
   * stands in the prompt with exactly these ids in the place of its content, where the template allows.
   */
  async tokenizeChat(messages: readonly unknown[], options: ChatOptions = {}): Promise<Int32Array> {
    return (await this.chatPrompt(messages, options)).tokens
  }

  /** The same with the prompt's text. */
  async chatPrompt(messages: readonly unknown[], options: ChatOptions = {}): Promise<ChatPrompt> {
    messages = await Promise.all(messages.map((message) => this.#spelled(message)))
    const known = verbatim(messages)
    const { text, pieces: rendered } = await this.#render(known?.messages ?? messages, options)
    const pieces =
      known === undefined
        ? rendered
        : (known.fill(rendered) ?? (await this.#render(messages.map(plain), options)).pieces)
    this.#checkBytes(pieces, options.maxTokens)
    return { tokens: await this.#client.call('pieces', { pieces }), text }
  }

  /** A message without its ids when they do not spell its content. */
  async #spelled(message: unknown): Promise<unknown> {
    const { content, tokens } = message as { content?: unknown; tokens?: Int32Array }
    if (tokens === undefined || (await this.detokenize(tokens, { special: true })) === content) return message
    return plain(message)
  }

  /** The same prompt as text, control tokens by name: for people to read, since names in messages look the same. */
  async renderChat(messages: readonly unknown[], options: ChatOptions = {}): Promise<string> {
    return (await this.#render(messages, options)).text
  }

  /** Ends both workers; calls that are pending reject with ENGINE_CLOSED. */
  async close(): Promise<void> {
    await Promise.all([this.#client.stop(closed()), this.#template?.close()])
  }

  #checkBytes(pieces: readonly Piece[], maxTokens = Number.POSITIVE_INFINITY): void {
    const limit = maxTokens * this.info.maxTextBytes
    const texts = pieces.filter((piece) => typeof piece === 'string')
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

  async #render(messages: readonly unknown[], options: ChatOptions): Promise<RenderedChat> {
    if (!this.#template)
      throw new OctavoError('NO_CHAT_TEMPLATE', 'The model has no chat template; give a prompt instead.')
    const request: ChatRequest = {
      messages: [...messages],
      tools: options.tools ?? null,
      addGenerationPrompt: options.addGenerationPrompt ?? true,
    }
    return this.#template.render(request)
  }
}
