// What a TypeScript application may write with the AI SDK and LangChain; compiled against the installed packages, never run.

import { HumanMessage } from '@langchain/core/messages'
import { generateText, type LanguageModel, Output } from 'ai'
import type { Engine } from 'octavo'
import { octavo } from 'octavo/ai-sdk'
import { ChatOctavo } from 'octavo/langchain'
import { z } from 'zod'

const Hero = z.object({ name: z.string(), age: z.int() })

export async function withAiSdk(engine: Engine): Promise<number> {
  const model: LanguageModel = octavo(engine, { minP: 0.1, tenant: 'a', templateOptions: { enable_thinking: false } })
  const { output } = await generateText({ model, prompt: 'x', output: Output.object({ schema: Hero }) })
  return output.age
}

export async function withLangChain(engine: Engine, signal: AbortSignal): Promise<string> {
  const model = new ChatOctavo({ engine, temperature: 0, tags: ['a'] })
  await model.invoke([new HumanMessage('x')], { signal, stop: ['a'], topK: 1 })
  const { raw, parsed } = await model.withStructuredOutput(Hero, { includeRaw: true }).invoke('x')
  const hero = await model.withStructuredOutput(Hero).invoke('x')
  return raw.text + parsed.name + hero.age.toFixed()
}

// @ts-expect-error an option that does not exist
export const wrong = (engine: Engine) => octavo(engine, { minp: 0.1 })

// @ts-expect-error a prompt is given at the call
export const prompted = (engine: Engine) => new ChatOctavo({ engine, prompt: 'x' })
