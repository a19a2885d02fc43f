/**
 * Flags that several commands share, and their way into the options of the public API. The library checks ranges; here
 * only the text becomes numbers, so that there is one place for limits.
 */
import { type Command, InvalidArgumentError, Option } from 'commander'
import { type KvDtype, kvDtypes } from '../base/native.ts'
import type { DeviceRequest } from '../host/device.ts'
import { isDevice, type SpeculationOptions, sizeInBytes } from '../options.ts'
import { readText } from './given-files.ts'

export function number(text: string): number {
  const value = Number(text)
  if (text.trim() === '' || !Number.isFinite(value)) throw new InvalidArgumentError('Expected a number.')
  return value
}

export function integer(text: string): number {
  const value = number(text)
  if (!Number.isSafeInteger(value)) throw new InvalidArgumentError('Expected a whole number.')
  return value
}

export function positive(text: string): number {
  const value = integer(text)
  if (value < 1) throw new InvalidArgumentError('Expected a whole number of at least 1.')
  return value
}

const autoOrPositive = (text: string): number | 'auto' => (text === 'auto' ? 'auto' : positive(text))

/** A text with its escapes resolved, so that `--stop '\n'` stops at a line's end. */
const stopString = (text: string, earlier: string[] = []): string[] => {
  const escapes: Record<string, string> = { n: '\n', t: '\t', r: '\r', '\\': '\\' }
  return [...earlier, text.replace(/\\([ntr\\])/g, (_all, letter: string) => escapes[letter]!)]
}

const tokens = (text: string, earlier: number[] = []): number[] => [...earlier, integer(text)]

const bias = (text: string, earlier: Record<number, number> = {}): Record<number, number> => {
  const match = /^(\d+)=(.+)$/.exec(text)
  if (!match) throw new InvalidArgumentError('Expected <token id>=<number>, for example 42=-5 or 42=-inf.')
  return { ...earlier, [match[1]!]: /^-inf(inity)?$/i.test(match[2]!) ? -Infinity : number(match[2]!) }
}

/** `name=value`; a value that is JSON is what it says, any other is text. */
const templateOption = (text: string, earlier: Record<string, unknown> = {}): Record<string, unknown> => {
  const [, name, value] = /^([^=\s]+)=(.*)$/s.exec(text) ?? []
  if (name === undefined) throw new InvalidArgumentError('Expected <name>=<value>, for example enable_thinking=false.')
  return Object.fromEntries([...Object.entries(earlier), [name, jsonOrText(value!)]])
}

function jsonOrText(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

export interface EngineFlags {
  device?: DeviceRequest
  threads?: number | 'auto'
  context?: number
  kvMemory?: string
  kvDtype?: KvDtype
  speculation?: 'auto' | 'off'
  draft?: string
  chatTemplate?: string
}

export interface TemplateFlags {
  templateOption?: Record<string, unknown>
  showPrompt?: boolean
}

export interface SamplingFlags {
  maxTokens?: number
  temperature?: number
  topK?: number
  topP?: number
  minP?: number
  repetitionPenalty?: number
  presencePenalty?: number
  frequencyPenalty?: number
  logitBias?: Record<number, number>
  seed?: number
  stop?: string[]
  stopToken?: number[]
  reasoning?: 'split' | 'keep'
  logprobs?: number
  ignoreEos?: boolean
  parseSpecial?: boolean
}

export function size(text: string): number {
  const bytes = sizeInBytes(text)
  if (bytes === undefined) throw new InvalidArgumentError("Expected a size, for example '24GiB'.")
  return bytes
}

export function device(text: string): DeviceRequest {
  if (!isDevice(text)) throw new InvalidArgumentError("Expected 'auto', 'cpu', 'cuda' or 'cuda:<number>'.")
  return text
}

export const kvDtypeOption = (): Option =>
  new Option('--kv-dtype <type>', 'number format of cached keys and values').choices(kvDtypes)

export const speculationOption = (): Option =>
  new Option(
    '--speculation <way>',
    'whether what comes next is guessed where that is faster; tokens are the same',
  ).choices(['auto', 'off'])

export function addEngineFlags(command: Command): Command {
  return command
    .option('--device <name>', "where to compute: 'auto', 'cpu', 'cuda' or 'cuda:<number>'")
    .option('--threads <n>', "threads to compute with, or 'auto'", autoOrPositive)
    .option('--context <tokens>', 'most tokens of one request, prompt included', positive)
    .option('--kv-memory <size>', "memory of the KV cache, for example '512MiB'")
    .addOption(kvDtypeOption())
    .addOption(speculationOption())
    .option('--draft <model>', 'a small model of the same vocabulary that guesses, too')
}

/** Of commands that render conversations. */
export function addTemplateFlags(command: Command): Command {
  return command
    .option('--chat-template <file>', "a Jinja template to use instead of the model's")
    .option(
      '--template-option <name=value>',
      'a variable of the chat template, as JSON or text (repeatable)',
      templateOption,
    )
    .option('--show-prompt', 'print the rendered prompt, on stderr or as a line of JSON of its own')
}

export function addSamplingFlags(command: Command): Command {
  return command
    .option('-n, --max-tokens <n>', 'most tokens to generate', positive)
    .option('-t, --temperature <x>', '0 takes the most likely token each time', number)
    .option('--top-k <n>', 'keep the n most likely tokens; 0 keeps all', integer)
    .option('--top-p <x>', 'keep the most likely tokens that hold this probability', number)
    .option('--min-p <x>', 'keep tokens at least this likely relative to the most likely', number)
    .option('--repetition-penalty <x>', 'divide the logits of tokens of prompt and output', number)
    .option('--presence-penalty <x>', 'subtract from the logits of tokens of the output', number)
    .option('--frequency-penalty <x>', 'subtract per occurrence in the output', number)
    .option('--logit-bias <id=x>', "add to a token's logit (repeatable)", bias)
    .option('--seed <n>', 'same seed, same tokens; random when absent', integer)
    .option('--stop <text>', 'end before this text; \\n is a line end (repeatable)', stopString)
    .option('--stop-token <id>', 'end at this token (repeatable)', tokens)
    .addOption(
      new Option('--reasoning <way>', "whether the model's reasoning is told from its answer").choices([
        'split',
        'keep',
      ]),
    )
    .option('--logprobs <n>', 'report log-probabilities of each token and the n most likely (with --json)', integer)
    .option('--ignore-eos', "go on after the model's end of text")
}

/** The given entries that are defined: options left out keep the library's defaults. */
function defined<T extends object>(options: { [K in keyof T]: T[K] | undefined }): T {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as T
}

export interface EngineOptionsOfFlags {
  model: string
  device?: DeviceRequest
  threads?: number | 'auto'
  contextTokens?: number
  kv?: { memory?: string; dtype?: KvDtype }
  speculation?: 'auto' | 'off' | SpeculationOptions
  chatTemplate?: string
}

/** A draft model guesses where the texts at hand have nothing to say. */
export function speculationOf({ speculation, draft }: Pick<EngineFlags, 'speculation' | 'draft'>) {
  if (draft === undefined || speculation === 'off') return speculation
  return { drafters: ['ngram', 'shared', { model: draft }] } satisfies SpeculationOptions
}

export function engineOptions(model: string, flags: EngineFlags): EngineOptionsOfFlags {
  return defined<EngineOptionsOfFlags>({
    model,
    device: flags.device,
    threads: flags.threads,
    contextTokens: flags.context,
    speculation: speculationOf(flags),
    chatTemplate: flags.chatTemplate === undefined ? undefined : readText(flags.chatTemplate),
    kv: defined<{ memory?: string; dtype?: KvDtype }>({ memory: flags.kvMemory, dtype: flags.kvDtype }),
  })
}

/** What `generate` takes of them. */
export type SamplingOptionsOfFlags = Omit<SamplingFlags, 'stopToken'> & { stopTokens?: number[] }

export function samplingOptions(flags: SamplingFlags): SamplingOptionsOfFlags {
  return defined<SamplingOptionsOfFlags>({
    maxTokens: flags.maxTokens,
    temperature: flags.temperature,
    topK: flags.topK,
    topP: flags.topP,
    minP: flags.minP,
    repetitionPenalty: flags.repetitionPenalty,
    presencePenalty: flags.presencePenalty,
    frequencyPenalty: flags.frequencyPenalty,
    logitBias: flags.logitBias,
    seed: flags.seed,
    stop: flags.stop,
    stopTokens: flags.stopToken,
    reasoning: flags.reasoning,
    logprobs: flags.logprobs,
    ignoreEos: flags.ignoreEos,
    parseSpecial: flags.parseSpecial,
  })
}
