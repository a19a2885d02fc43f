// What a TypeScript application may write; compiled against the installed package, never run.
import {
  type ChatMessage,
  Engine,
  type ErrorCode,
  type GenerationResult,
  OctavoError,
  type Session,
  type Tool,
} from 'octavo'

export async function answer(question: string, signal: AbortSignal): Promise<GenerationResult> {
  await using engine = await Engine.load({
    model: 'stories',
    threads: 2,
    onProgress: ({ fraction }) => fraction.toFixed(),
  })
  const session: Session = engine.session({ system: 'Be brief.' })
  const generation = session.generate(question, { maxTokens: 20, signal })
  for await (const { text } of generation) text.trim()
  return generation.result
}

// As the types of OpenAI's client have an answer: an interface, with keys of its own.
interface Answered {
  role: 'assistant'
  content: string | null
  refusal: string | null
  tool_calls?: { id: string; type: 'function'; function: { name: string; arguments: string } }[]
}

export async function converse(engine: Engine, answered: Answered): Promise<string> {
  const tools: Tool[] = [{ name: 'weather', parameters: { type: 'object' } }]
  const messages: ChatMessage[] = [
    { role: 'user', content: [{ type: 'text', text: 'Hi' }], mood: 'merry' },
    answered,
    { role: 'tool', tool_call_id: 'a', content: 'sunny' },
  ]
  const { text, tokens } = await engine.renderPrompt({ messages, tools, templateOptions: { enable_thinking: false } })
  const session = engine.session({ tools })
  await session.generate([answered, { role: 'user', content: 'And?' }], { templateOptions: { deep: [1] } }).result
  await session.save(new URL('file:///tmp/session'))
  return text.slice(tokens.length)
}

// @ts-expect-error a part that the models do not read
export const image: ChatMessage = { role: 'user', content: [{ type: 'image_url', image_url: { url: 'x' } }] }

export function codeOf(error: unknown): ErrorCode | undefined {
  return error instanceof OctavoError ? error.code : undefined
}

// @ts-expect-error an option that does not exist
export const wrong = () => Engine.load({ model: 'stories', treads: 2 })
