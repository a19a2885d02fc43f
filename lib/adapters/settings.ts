/**
 * What the model of a framework is told beside its calls: options of `engine.generate` that say nothing of one prompt. Frameworks mix theirs
 * with options of their own, so the names are a table, which types keep complete.
 */
import type { GenerateOptions } from '../index.ts'

/** What a call says itself, and what would have no meaning in a framework. */
type OfCall =
  | ('prompt' | 'messages' | 'tools' | 'toolChoice' | 'schema' | 'signal' | 'maxRounds')
  | ('parseSpecial' | 'addGenerationPrompt' | 'continueFinalMessage' | 'ignoreEos' | 'logprobs')

export type OctavoSettings = Omit<GenerateOptions, OfCall>

const names: Record<keyof OctavoSettings, true> = {
  ...{ maxTokens: true, temperature: true, topK: true, topP: true, minP: true, logitBias: true, seed: true },
  ...{ repetitionPenalty: true, presencePenalty: true, frequencyPenalty: true },
  ...{ stop: true, stopTokens: true, reasoning: true, grammar: true },
  ...{ documents: true, templateOptions: true, chatTemplate: true },
  ...{ priority: true, tenant: true, deadlines: true, speculation: true },
}

/** Those of an object that are settings and have a value. */
export const settingsIn = (options: object): OctavoSettings =>
  given(Object.fromEntries(Object.entries(options).filter(([name]) => Object.hasOwn(names, name))))

/** What has a value, so that it can be laid over others. */
export const given = <T extends object>(options: T): T =>
  Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as T
