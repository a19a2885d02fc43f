// What a TypeScript application may write; compiled against the installed package, never run.
import { Engine, type ErrorCode, type GenerationResult, OctavoError, type Session } from 'octavo'

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

export function codeOf(error: unknown): ErrorCode | undefined {
  return error instanceof OctavoError ? error.code : undefined
}

// @ts-expect-error an option that does not exist
export const wrong = () => Engine.load({ model: 'stories', treads: 2 })
