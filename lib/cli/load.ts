/** Loads an engine with progress on the terminal and Ctrl-C as its abort signal; says in one line how a generation went. */
import { basename } from 'node:path'
import { Engine, type GenerationResult, type LoadProgress } from '../index.ts'
import { type EngineFlags, engineOptions } from './flags.ts'
import { clearStatusLine, statusLine } from './output.ts'

/** Exit code of a command that Ctrl-C ended: 128 + SIGINT. */
export const exitInterrupted = 130

const phases: Record<LoadProgress['phase'], string> = {
  open: 'opening',
  weights: 'loading',
  cache: 'preparing the cache for',
  ready: 'starting',
}

/** The engine, or undefined when Ctrl-C came first. */
export async function loadEngine(model: string, flags: EngineFlags): Promise<Engine | undefined> {
  const abort = new AbortController()
  const interrupt = () => abort.abort()
  process.once('SIGINT', interrupt)
  try {
    return await Engine.load({
      ...engineOptions(model, flags),
      signal: abort.signal,
      onProgress: ({ phase, fraction }) =>
        statusLine(`${phases[phase]} ${basename(model)} ${Math.floor(100 * fraction)}%`),
    })
  } catch (error) {
    if (!abort.signal.aborted) throw error
    process.exitCode = exitInterrupted
    return undefined
  } finally {
    process.off('SIGINT', interrupt)
    clearStatusLine()
  }
}

/** '120 tokens, 310.4 tokens/s, first token after 14 ms (30 prompt tokens, 16 of them cached)' */
export function summary({ usage, timings }: Pick<GenerationResult, 'usage' | 'timings'>): string {
  if (usage.completionTokens === 0) return '0 tokens'
  const speed = timings.tokensPerSecond > 0 ? `, ${timings.tokensPerSecond.toFixed(1)} tokens/s` : ''
  const cached = usage.cachedTokens > 0 ? `, ${usage.cachedTokens} of them cached` : ''
  const { accepted, proposed } = timings.speculation ?? { accepted: 0, proposed: 0 }
  const guessed = proposed > 0 ? `, ${accepted} of ${proposed} guesses right` : ''
  return (
    `${usage.completionTokens} tokens${speed}, first token after ${timings.firstTokenMs.toFixed(0)} ms` +
    ` (${usage.promptTokens} prompt tokens${cached}${guessed})`
  )
}
