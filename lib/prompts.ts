/**
 * From options to prompt tokens: ids as they are, text by the tokenizer, a conversation by the chat template, a session's turn with
 * its oldest turns left out where the context wants it. Text is the text worker's work; this only says what it is asked.
 */
import { invalidArgument } from './arguments.ts'
import type { CallSite } from './base/call-site.ts'
import type { ErrorData } from './base/errors.ts'
import { dropOldestTurns } from './context-fit.ts'
import type { Conversation, RenderedPrompt, VerbatimMessage } from './messages.ts'
import { type ParsedGenerate, type ParsedSampling, toldOf } from './options.ts'
import type { Turn } from './session.ts'
import { type MessageShape, messageShape, shapeMessage } from './text/message-shape.ts'
import type { ChatPrompt, TextService } from './text/text-service.ts'

/** What a request gives the model to read. */
export type PromptSource = Conversation | { prompt: string | number[] | Int32Array; parseSpecial: boolean }

/** What a request is told to compute, with its text where that is known. */
export interface Prompt {
  tokens: Int32Array
  text?: string
}

/** Options of a request: what is read, and how the answer is drawn. */
export function splitOptions(options: ParsedGenerate): { source: PromptSource; sampling: ParsedSampling } {
  const { prompt, parseSpecial, messages, tools, documents, templateOptions, chatTemplate } = options
  // With what else there is: to leave it out takes longer than all of this.
  const sampling: ParsedSampling = options
  if (messages === undefined) return { source: { prompt: prompt!, parseSpecial }, sampling }
  const { addGenerationPrompt, continueFinalMessage } = options
  const given = toldOf({ messages, tools, documents, templateOptions, chatTemplate }, sampling.toolChoice)
  return { source: { ...given, addGenerationPrompt, continueFinalMessage }, sampling }
}

export interface PromptModel {
  name: string
  contextTokens: number
  vocabularySize: number
}

export class Prompts {
  readonly #text: TextService
  readonly #model: PromptModel
  readonly #shape: MessageShape

  constructor(text: TextService, model: PromptModel) {
    this.#text = text
    this.#model = model
    this.#shape = messageShape(text.templateSource ?? '')
  }

  /** Throws NO_CHAT_TEMPLATE where there is none for a conversation. */
  assertTemplate(site: CallSite, { chatTemplate }: Pick<Conversation, 'chatTemplate'>): void {
    if (chatTemplate !== undefined || this.#text.info.hasChatTemplate) return
    const { noTemplate } = this.#text
    throw site.error({ ...noTemplate, details: { ...noTemplate.details, model: this.#model.name } })
  }

  /** A session begins. */
  expectChat({ chatTemplate }: Pick<Conversation, 'chatTemplate'>): void {
    if (chatTemplate === undefined) this.#text.warmTemplate()
  }

  /** `added`: messages after those of the source. */
  read(source: PromptSource, site: CallSite, added: readonly VerbatimMessage[] = []): Prompt | Promise<Prompt> {
    const { contextTokens: maxTokens, vocabularySize } = this.#model
    if ('messages' in source) return this.#chat(longer(source, added), maxTokens)
    const { prompt, parseSpecial } = source
    if (typeof prompt !== 'string') return { tokens: tokenIds(prompt, vocabularySize, 'prompt', site) }
    const options = { parseSpecial, addBos: this.#text.info.addBos, maxTokens }
    return this.#text.tokenize(prompt, options).then((tokens) => ({ tokens, text: prompt }))
  }

  async render(conversation: Conversation): Promise<RenderedPrompt> {
    const { text, tokens } = await this.#chat(conversation)
    return { text, tokens: Array.from(tokens) }
  }

  /** What a session's next turn reads. */
  async readTurn(turn: Turn, added: readonly VerbatimMessage[] = []): Promise<Prompt> {
    if (turn.droppable === 0) return this.read(turn.conversation, turn.site, added)
    const { dropped, prompt } = await this.#fit(turn, added)
    turn.onDropped(dropped)
    return prompt
  }

  async renderTurn(turn: Turn): Promise<RenderedPrompt> {
    const { text, tokens } = turn.droppable === 0 ? await this.#chat(turn.conversation) : (await this.#fit(turn)).prompt
    return { text, tokens: Array.from(tokens) }
  }

  overflow(promptTokens: number): ErrorData {
    const { contextTokens } = this.#model
    return {
      code: 'CONTEXT_OVERFLOW',
      message: `The prompt has ${promptTokens} tokens; prompt and output together may have ${contextTokens}.`,
      details: { promptTokens, contextTokens },
    }
  }

  async #fit(turn: Turn, added: readonly VerbatimMessage[] = []): Promise<{ dropped: number; prompt: ChatPrompt }> {
    const tried = new Map<Int32Array, ChatPrompt>()
    const { tokens, dropped } = await dropOldestTurns({
      ...{ turns: turn.droppable, contextTokens: this.#model.contextTokens, maxTokens: turn.sampling.maxTokens },
      tokenize: async (dropped) => {
        const prompt = await this.#chat(longer(turn.without(dropped), added))
        tried.set(prompt.tokens, prompt)
        return prompt.tokens
      },
    })
    return { dropped, prompt: tried.get(tokens)! }
  }

  #chat({ messages, ...options }: Conversation, maxTokens?: number): Promise<ChatPrompt> {
    const { chatTemplate, tools, addGenerationPrompt, continueFinalMessage } = options
    const shape = chatTemplate === undefined ? this.#shape : messageShape(chatTemplate)
    const shaped = messages.map((message) => shapeMessage(message, shape))
    return this.#text.chatPrompt(shaped, {
      ...options,
      tools: tools === undefined || tools.list.length === 0 ? undefined : [...tools.list],
      addGenerationPrompt: addGenerationPrompt ?? !continueFinalMessage,
      ...(maxTokens !== undefined && { maxTokens }),
    })
  }
}

function longer(conversation: Conversation, added: readonly VerbatimMessage[]): Conversation {
  return added.length === 0 ? conversation : { ...conversation, messages: [...conversation.messages, ...added] }
}

/** A checked copy of ids. */
export function tokenIds(
  ids: number[] | Int32Array,
  vocabularySize: number,
  option: string,
  site: CallSite,
): Int32Array {
  for (let i = 0; i < ids.length; i++) {
    const id = ids[i]!
    if (Number.isInteger(id) && id >= 0 && id < vocabularySize) continue
    throw invalidArgument(site, `${option}[${i}]`, `a token id from 0 to ${vocabularySize - 1}`, id)
  }
  return Int32Array.from(ids)
}
