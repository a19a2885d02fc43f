/**
 * A chat model of LangChain that computes in this process. A call is one generation of the engine; messages.ts tells how messages
 * go there and back. Answers with a schema are drawn under its grammar, so `withStructuredOutput` needs no call of a tool.
 */
import type { BaseLanguageModelInput, StructuredOutputMethodOptions } from '@langchain/core/language_models/base'
import {
  BaseChatModel,
  type BaseChatModelCallOptions,
  type BaseChatModelParams,
  type BindToolsInput,
  type LangSmithParams,
} from '@langchain/core/language_models/chat_models'
import type { AIMessageChunk, BaseMessage } from '@langchain/core/messages'
import { JsonOutputParser, StructuredOutputParser } from '@langchain/core/output_parsers'
import { JsonOutputKeyToolsParser } from '@langchain/core/output_parsers/openai_tools'
import { ChatGenerationChunk, type ChatResult } from '@langchain/core/outputs'
import { type Runnable, RunnablePassthrough, RunnableSequence } from '@langchain/core/runnables'
import { convertToOpenAITool } from '@langchain/core/utils/function_calling'
import { toJsonSchema } from '@langchain/core/utils/json_schema'
import { type InteropZodType, isInteropZodSchema } from '@langchain/core/utils/types'
import type { Engine, GenerateOptions, Tool, ToolChoice } from '../../index.ts'
import { given, type OctavoSettings, settingsIn } from '../settings.ts'
import { answerMessage, endChunk, messagesOf, partChunk } from './messages.ts'

export type { OctavoSettings } from '../settings.ts'

export interface ChatOctavoFields extends BaseChatModelParams, OctavoSettings {
  /** It stays the caller's to close. */
  engine: Engine
}

/** Options of one call; they go before the model's. */
export interface ChatOctavoCallOptions extends BaseChatModelCallOptions, Omit<OctavoSettings, 'stop'> {
  tools?: BindToolsInput[]
  /** A JSON Schema that the answer meets. */
  schema?: { [keyword: string]: unknown } | boolean
}

/** The callbacks of a call, as LangChain hands them to a model. */
type RunManager = Parameters<BaseChatModel['_streamResponseChunks']>[2]

// biome-ignore lint/suspicious/noExplicitAny: LangChain's own bound of what a schema describes
type Fields = Record<string, any>
type Described<T extends Fields> = InteropZodType<T> | Fields

export class ChatOctavo extends BaseChatModel<ChatOctavoCallOptions> {
  static override lc_name(): string {
    return 'ChatOctavo'
  }

  override readonly lc_serializable = false
  readonly engine: Engine
  readonly settings: OctavoSettings

  constructor({ engine, ...fields }: ChatOctavoFields) {
    super(fields)
    this.engine = engine
    this.settings = settingsIn(fields)
  }

  override _llmType(): string {
    return 'octavo'
  }

  /** What answers depend on, for LangChain's cache. */
  override _identifyingParams() {
    return { model_name: this.engine.model.name, ...this.settings }
  }

  override invocationParams(options: this['ParsedCallOptions']) {
    const { signal, messages, ...params } = this.#options([], options)
    return { model: this.engine.model.name, ...params }
  }

  override getLsParams(options: this['ParsedCallOptions']): LangSmithParams {
    const { temperature, maxTokens, stop } = this.#options([], options)
    return given({
      ...{ ls_provider: 'octavo', ls_model_name: this.engine.model.name, ls_model_type: 'chat' as const },
      ...{ ls_temperature: temperature, ls_max_tokens: maxTokens, ls_stop: typeof stop === 'string' ? [stop] : stop },
    }) as LangSmithParams
  }

  override async _generate(
    messages: BaseMessage[],
    options: this['ParsedCallOptions'],
    runManager?: RunManager,
  ): Promise<ChatResult> {
    const result = await this.engine.generate(this.#options(messages, options)).result
    await runManager?.handleLLMNewToken(result.text)
    const message = answerMessage(result, this.engine.model.name)
    return { generations: [{ text: result.text, message }] }
  }

  override async *_streamResponseChunks(
    messages: BaseMessage[],
    options: this['ParsedCallOptions'],
    runManager?: RunManager,
  ): AsyncGenerator<ChatGenerationChunk> {
    const generation = this.engine.generate(this.#options(messages, options))
    for await (const part of generation) {
      const chunk = new ChatGenerationChunk({ text: part.text, message: partChunk(part) })
      yield chunk
      await runManager?.handleLLMNewToken(part.text, undefined, undefined, undefined, undefined, { chunk })
    }
    const message = endChunk(await generation.result, this.engine.model.name)
    yield new ChatGenerationChunk({ text: '', message })
  }

  override bindTools(
    tools: BindToolsInput[],
    options?: Partial<ChatOctavoCallOptions>,
  ): Runnable<BaseLanguageModelInput, AIMessageChunk, ChatOctavoCallOptions> {
    return this.withConfig({
      tools: tools.map((tool) => convertToOpenAITool(tool)),
      ...options,
    } as Partial<ChatOctavoCallOptions>)
  }

  /** Methods: 'jsonSchema' (default), an answer under the schema's grammar; 'functionCalling', a call of a tool; 'jsonMode', any JSON. */
  override withStructuredOutput<T extends Fields = Fields>(
    schema: Described<T>,
    config?: StructuredOutputMethodOptions<false>,
  ): Runnable<BaseLanguageModelInput, T>
  override withStructuredOutput<T extends Fields = Fields>(
    schema: Described<T>,
    config?: StructuredOutputMethodOptions<true>,
  ): Runnable<BaseLanguageModelInput, { raw: BaseMessage; parsed: T }>
  override withStructuredOutput<T extends Fields>(
    schema: Described<T>,
    config: StructuredOutputMethodOptions<boolean> = {},
  ): Runnable<BaseLanguageModelInput, T> | Runnable<BaseLanguageModelInput, { raw: BaseMessage; parsed: T }> {
    const { method = 'jsonSchema', includeRaw = false, name = 'extract' } = config
    const isZod = isInteropZodSchema(schema)
    let model: Runnable<BaseLanguageModelInput, AIMessageChunk, ChatOctavoCallOptions>
    let parser: Runnable<AIMessageChunk, T>
    if (method === 'functionCalling') {
      const described = { name, description: (schema as Fields).description, parameters: jsonSchemaOf(schema) }
      model = this.bindTools([{ type: 'function', function: described }], { tool_choice: name })
      parser = new JsonOutputKeyToolsParser<T>({
        ...{ keyName: name, returnSingle: true },
        ...(isZod && { zodSchema: schema as InteropZodType<T> }),
      })
    } else {
      model = this.withConfig({ schema: method === 'jsonMode' ? true : jsonSchemaOf(schema) })
      parser = isZod ? StructuredOutputParser.fromZodSchema(schema) : new JsonOutputParser<T>()
    }
    if (!includeRaw) return model.pipe(parser)
    type Raw = { raw: AIMessageChunk }
    type Read = Raw & { parsed: T }
    const read = RunnablePassthrough.assign<Raw>({ parsed: ({ raw }: Raw, options) => parser.invoke(raw, options) })
    const unread = RunnablePassthrough.assign<Raw>({ parsed: () => null })
    const both = read.withFallbacks({ fallbacks: [unread] }) as Runnable<Raw, Raw> as Runnable<Raw, Read>
    return RunnableSequence.from<BaseLanguageModelInput, Read>([{ raw: model }, both])
  }

  #options(messages: BaseMessage[], options: this['ParsedCallOptions']): GenerateOptions {
    const { tools = [], tool_choice, schema, signal } = options
    return {
      ...this.settings,
      ...settingsIn(options),
      ...given({ schema, signal }),
      ...(tools.length > 0 && {
        tools: tools.map((tool) => convertToOpenAITool(tool)) as Tool[],
        ...(tool_choice !== undefined && { toolChoice: choiceOf(tool_choice) }),
      }),
      messages: messagesOf(messages),
    }
  }
}

/** What names its dialect is a JSON Schema, even where zod made it, which lets LangChain make another one of it. */
const jsonSchemaOf = (schema: Fields): Fields => ('$schema' in schema ? schema : toJsonSchema(schema))

/** Providers spell it differently, and so do programs that were written for them. */
function choiceOf(choice: NonNullable<ChatOctavoCallOptions['tool_choice']>): ToolChoice {
  if (typeof choice !== 'string') return { name: choice.function?.name ?? choice.name }
  if (choice === 'any') return 'required'
  return choice === 'auto' || choice === 'none' || choice === 'required' ? choice : { name: choice }
}
