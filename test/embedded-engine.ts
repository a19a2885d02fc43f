/** What the tests of the public API share: the embedded model. */
import type { GenerationPart, LoadOptions } from 'octavo'
import { Engine } from 'octavo'
import { expect } from 'vitest'

export const story = {
  messages: [{ role: 'user', content: 'Tell a story about a shy owl named Luna and a golden kite.' }],
}

export async function withEngine<T>(
  options: Omit<LoadOptions, 'model'>,
  use: (engine: Engine) => Promise<T>,
): Promise<T> {
  const other = await Engine.load({ model: 'stories', ...options })
  try {
    return await use(other)
  } finally {
    await other.close()
  }
}

export async function collect(generation: AsyncIterable<GenerationPart>): Promise<GenerationPart[]> {
  const parts: GenerationPart[] = []
  for await (const part of generation) parts.push(part)
  return parts
}

/** All blocks given back, as the last step's snapshot says. */
export function expectIdle(engine: Engine): void {
  const { kv, requests } = engine.stats()
  expect([kv.freeBlocks + kv.cachedBlocks, requests]).toEqual([kv.totalBlocks, { running: 0, waiting: 0, paused: 0 }])
}
