/**
 * What the bodies of requests have in common: which of their fields become which options of `engine.generate`, and how a body is read.
 * Types are checked here, values by the engine, whose errors are told by the names of the fields. Fields that nobody knows are left out
 * with a warning; a field that is null is not there.
 */
import { parse } from '../../arguments.ts'
import { CallSite } from '../../base/call-site.ts'
import { keysOf, unsure } from '../../base/quick-check.ts'
import * as z from '../../base/zod.ts'
import type { GenerateOptions } from '../../index.ts'
import { HttpError, type NameOf } from '../service/errors.ts'

type Option = keyof GenerateOptions
type Form = Pick<GenerateOptions, 'schema' | 'grammar'>

/** Fields whose values are options. */
const samplingOptions: Record<string, Option> = {
  ...{ max_tokens: 'maxTokens', max_completion_tokens: 'maxTokens', max_output_tokens: 'maxTokens' },
  ...{ temperature: 'temperature', top_p: 'topP', top_k: 'topK', min_p: 'minP' },
  ...{ repetition_penalty: 'repetitionPenalty', presence_penalty: 'presencePenalty' },
  ...{ frequency_penalty: 'frequencyPenalty', logit_bias: 'logitBias', seed: 'seed' },
  ...{ stop: 'stop', stop_token_ids: 'stopTokens', ignore_eos: 'ignoreEos', priority: 'priority' },
}

/** The last one counts where several become one option. */
const samplingFields = Object.keys(samplingOptions)

const formFields = [
  ...['response_format', 'text', 'structured_outputs'],
  ...['guided_json', 'guided_regex', 'guided_choice', 'guided_grammar'],
]

/** Fields that lead to options in other ways, by option: for errors. */
const otherOptions: Record<string, readonly string[]> = {
  ...{ messages: ['messages', 'input'], prompt: ['messages', 'prompt', 'input'], text: ['prompt'], ids: ['tokens'] },
  ...{ form: formFields, schema: formFields, grammar: formFields, tools: ['tools'], toolChoice: ['tool_choice'] },
  ...{ documents: ['documents'], templateOptions: ['chat_template_kwargs'], logprobs: ['top_logprobs'] },
  ...{ addGenerationPrompt: ['add_generation_prompt'], continueFinalMessage: ['continue_final_message'] },
  ...{ deadlines: ['deadline_ms'] },
}

const object = (expected: string) =>
  z.custom<Record<string, unknown>>(
    (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
    expected,
  )
const list = (expected: string) => z.custom<unknown[]>(Array.isArray, expected)
const anything = z.unknown().optional()

/** Of OpenAI's API. Every token of an answer costs so many entries. */
export const mostLogprobs = 20

/** Of every request. */
export const commonShape = {
  model: z.string().optional(),
  /** Known, and without effect here. */
  ...{ user: anything, metadata: anything, store: anything, service_tier: anything, safety_identifier: anything },
  ...{ prompt_cache_key: anything, prompt_cache_retention: anything },
}

export const samplingShape = {
  max_tokens: z.number().optional(),
  max_completion_tokens: z.number().optional(),
  temperature: z.number().optional(),
  top_p: z.number().optional(),
  top_k: z.number().optional(),
  min_p: z.number().optional(),
  repetition_penalty: z.number().optional(),
  presence_penalty: z.number().optional(),
  frequency_penalty: z.number().optional(),
  logit_bias: object('an object of token ids and numbers').optional(),
  seed: z.number().optional(),
  stop: z.union([z.string(), z.array(z.string())], { error: 'a string or an array of strings' }).optional(),
  stop_token_ids: z.array(z.number()).optional(),
  ignore_eos: z.boolean().optional(),
  priority: z.number().optional(),
  deadline_ms: z.number().optional(),
  n: z.int().min(1).max(128).default(1),
  stream: z.boolean().default(false),
  stream_options: z.looseObject({ include_usage: z.boolean().optional() }).optional(),
}

/** Answers with a form: OpenAI's way, and those of vLLM. */
export const formShape = {
  response_format: z
    .looseObject({
      type: z.enum(['text', 'json_object', 'json_schema']),
      json_schema: z.looseObject({ schema: anything }).optional(),
    })
    .optional(),
  structured_outputs: z
    .looseObject({ json: anything, regex: anything, choice: anything, grammar: anything })
    .optional(),
  guided_json: anything,
  guided_regex: z.string().optional(),
  guided_choice: z.array(z.string()).optional(),
  guided_grammar: z.string().optional(),
}

export const conversationShape = {
  messages: list('an array of messages'),
  tools: list('an array of tools').optional(),
  documents: list('an array of documents').optional(),
  chat_template_kwargs: object("an object of the template's variables").optional(),
  reasoning_effort: z.string().optional(),
  add_generation_prompt: z.boolean().optional(),
  continue_final_message: z.boolean().optional(),
}

/** A body that was read. */
export interface Body<F> {
  fields: F
  /** What the client should know. */
  warnings: string[]
  nameOf: NameOf
}

/** Names of unknown fields that are told. */
const mostNamed = 8

/** Of errors, whose stack nobody sees. */
const site = new CallSite(readBody)

type Shape = Record<string, z.ZodType>

/** Only what a body says is looked at: a shape has dozens of fields, a body a handful. */
export function readBody<S extends Shape>(shape: S, body: unknown): Body<z.output<z.ZodObject<S>>> {
  if (typeof body !== 'object' || body === null || Array.isArray(body))
    throw new HttpError(400, 'invalid_request_error', 'The body is no JSON object.', { code: 'invalid_type' })
  const { checks, constants, asked } = keysOf(shape)
  const given = body as Record<string, unknown>
  const fields: Record<string, unknown> = { ...constants }
  const unknown: string[] = []
  for (const name of Object.keys(given)) {
    const value = given[name]
    if (value === null) continue
    const check = checks.get(name)
    if (check === undefined) {
      unknown.push(name)
      continue
    }
    const read = check(value)
    fields[name] = read === unsure ? parse(shape[name]!, value, name, site) : read
  }
  for (const name of asked) if (fields[name] === undefined) fields[name] = parse(shape[name]!, undefined, name, site)
  const warnings = unknown.slice(0, mostNamed).map((name) => `${printable(name)} is not known and was ignored`)
  if (unknown.length > mostNamed) warnings.push(`${unknown.length - mostNamed} more fields are not known`)
  return { fields: fields as z.output<z.ZodObject<S>>, warnings, nameOf: (option) => nameIn(body, option) }
}

/** What a header may hold. */
const printable = (name: string): string => `'${name.slice(0, 64).replace(/[^\w.-]/g, '?')}'`

/** The field that became an option; the one that the body has, if there are several. */
function nameIn(body: object, option: string): string {
  const own = samplingFields.filter((field) => samplingOptions[field] === option)
  const fields = [...(Object.hasOwn(otherOptions, option) ? otherOptions[option]! : []), ...own]
  return fields.find((field) => Object.hasOwn(body, field)) ?? fields[0] ?? option
}

/** Options out of the fields that are options. */
export function samplingOf(fields: Record<string, unknown>): Partial<GenerateOptions> {
  const options: Record<string, unknown> = {}
  for (const field of samplingFields) {
    const value = fields[field]
    if (value === undefined) continue
    const option = samplingOptions[field]!
    options[option] = convert(option, value)
  }
  if (fields.deadline_ms !== undefined) options.deadlines = { totalMs: fields.deadline_ms }
  return options as Partial<GenerateOptions>
}

/** Values that other servers take for 'off' or 'the most likely token'. */
function convert(option: Option, value: unknown): unknown {
  if (option === 'topK' && value === -1) return 0
  if (option === 'topP' && value === 0) return Number.MIN_VALUE
  return value
}

/** What of a template's variables has a field of its own. */
export function conversationOf(fields: z.output<z.ZodObject<typeof conversationShape>>): Partial<GenerateOptions> {
  const { messages, tools, documents, chat_template_kwargs, reasoning_effort } = fields
  const { add_generation_prompt: addGenerationPrompt, continue_final_message: continueFinalMessage } = fields
  const variables = { ...(reasoning_effort !== undefined && { reasoning_effort }), ...chat_template_kwargs }
  return {
    messages: messages as NonNullable<GenerateOptions['messages']>,
    ...(tools !== undefined && tools.length > 0 && { tools: tools as NonNullable<GenerateOptions['tools']> }),
    ...(documents !== undefined && { documents: documents as object[] }),
    ...(Object.keys(variables).length > 0 && { templateOptions: variables }),
    ...(addGenerationPrompt !== undefined && { addGenerationPrompt }),
    ...(continueFinalMessage !== undefined && { continueFinalMessage }),
  }
}

/** The form of the answer, if it shall have one. */
export function formOf(fields: z.output<z.ZodObject<typeof formShape>>): Form {
  const {
    response_format: format,
    structured_outputs,
    guided_json,
    guided_regex,
    guided_choice,
    guided_grammar,
  } = fields
  const guided = { json: guided_json, regex: guided_regex, choice: guided_choice, grammar: guided_grammar }
  const { json, regex, choice, grammar } = structured_outputs ?? guided
  if (json !== undefined) return { schema: schemaOf(typeof json === 'string' ? parsed(json) : json) }
  if (regex !== undefined) return { grammar: { regex } as NonNullable<Form['grammar']> }
  if (choice !== undefined) return { grammar: { choice } as NonNullable<Form['grammar']> }
  if (grammar !== undefined) return { grammar: { ebnf: grammar } as NonNullable<Form['grammar']> }
  if (format === undefined || format.type === 'text') return {}
  if (format.type === 'json_object') return { schema: { type: 'object' } }
  if (format.json_schema === undefined) throw missing('response_format.json_schema', 'an object with name and schema')
  return { schema: schemaOf(format.json_schema.schema ?? true) }
}

/** JSON has no zod types; whatever looks like one is a schema with strange keywords. */
export function schemaOf(value: unknown): NonNullable<Form['schema']> {
  return value as NonNullable<Form['schema']>
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw missing('guided_json', 'a JSON Schema')
  }
}

export const missing = (param: string, expected: string) =>
  new HttpError(400, 'invalid_request_error', `${param}: expected ${expected}.`, { code: 'invalid_value', param })
