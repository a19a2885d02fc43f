/**
 * Text for the main thread: tokenising in a worker thread with the one copy of the vocabulary, chat templates in another
 * one. Every call is a promise; a long text delays neither the event loop nor short calls that come after it.
 */
import { OctavoError } from '../errors.ts'
import type { GgufValue } from '../native.ts'
import { ChatTemplate } from './chat-template.ts'
import type { ChatRequest, RenderedChat } from './template-render.ts'
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
}

export interface TextServiceOptions {
  source: TextSource
  /** Instead of the model's own chat template. */
  chatTemplate?: string | undefined
  templateDeadlineMs?: number | undefined
}

const closed = () => new OctavoError('ENGINE_CLOSED', 'The engine was closed.')

export class TextService {
  readonly info: TokenizerInfo
  readonly #client: WorkerClient
  readonly #template: ChatTemplate | undefined

  private constructor(client: WorkerClient, started: Started, options: TextServiceOptions) {
    this.#client = client
    const source = options.chatTemplate ?? started.chatTemplate
    this.info = { ...started.info, hasChatTemplate: source !== undefined }
    if (source !== undefined) {
      const deadline = options.templateDeadlineMs === undefined ? {} : { deadlineMs: options.templateDeadlineMs }
      this.#template = new ChatTemplate({ source, control: started.control, named: started.named, ...deadline })
      this.#template.warm()
    }
  }

  static async start(options: TextServiceOptions): Promise<TextService> {
    const entry = siblingEntry(import.meta.url, 'text-worker')
    const client = new WorkerClient(entry, 'text worker', { workerData: { source: options.source } })
    try {
      return new TextService(client, await client.call<Started>('load', undefined), options)
    } catch (error) {
      await client.stop(closed())
      throw error
    }
  }

  tokenize(text: string, options: EncodeOptions = {}): Promise<Int32Array> {
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
    const known = verbatim(messages)
    const filled = known?.fill((await this.#render(known.messages, options)).pieces)
    const pieces = filled ?? (await this.#render(known ? messages.map(plain) : messages, options)).pieces
    return this.#client.call('pieces', { pieces })
  }

  /** The same prompt as text, control tokens by name: for people to read, since names in messages look the same. */
  async renderChat(messages: readonly unknown[], options: ChatOptions = {}): Promise<string> {
    return (await this.#render(messages, options)).text
  }

  /** Ends both workers; calls that are pending reject with ENGINE_CLOSED. */
  async close(): Promise<void> {
    await Promise.all([this.#client.stop(closed()), this.#template?.close()])
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
