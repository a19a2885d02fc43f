/**
 * What the tests of lib/adapters share: an engine whose answer is written down, which remembers what it was asked; and the end of a
 * request of a real one.
 */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { AnyCall, Engine, GenerateOptions, GenerationPart, GenerationResult, RequestEvent } from 'octavo'

const timings = {
  ...{ queueMs: 1, prefillMs: 2, firstTokenMs: 3, totalMs: 4, tokensPerSecond: 5 },
  ...{ interTokenMs: { p50: 6, p99: 7 }, preemptions: 0 },
}

export interface Script {
  parts?: Partial<GenerationPart>[]
  result?: Partial<GenerationResult>
  /** Thrown behind the parts. */
  error?: unknown
}

/** An answer that calls tools, its arguments in two pieces each. */
export function calling(...calls: AnyCall[]): Script {
  const pieces = calls.flatMap((call, index): Partial<GenerationPart>[] => {
    const { id, name, argumentsText } = call
    const half = argumentsText.length >> 1
    return [
      { toolCall: { index, id, name, argumentsDelta: argumentsText.slice(0, half) } },
      { toolCall: { index, id, name, argumentsDelta: argumentsText.slice(half), call } },
    ]
  })
  return { parts: [{ text: 'Wait.' }, ...pieces], result: { toolCalls: calls, finishReason: 'toolCalls' } }
}

export const validCall = (id: string, name: string, args: Record<string, unknown>): AnyCall => ({
  ...{ id, name, arguments: args, argumentsText: JSON.stringify(args) },
})

export const invalidCall = (
  reason: NonNullable<(AnyCall & { invalid: true })['reason']>,
  call: Pick<AnyCall, 'id' | 'name' | 'argumentsText'>,
): AnyCall => ({ ...call, invalid: true, reason, message: 'm', text: '' })

/** Answers one after the other; the last one again and again. */
export function scripted(...scripts: Script[]): { engine: Engine; asked: GenerateOptions[] } {
  const asked: GenerateOptions[] = []
  const generate = (options: GenerateOptions) => {
    const { parts = [], result, error } = scripts[Math.min(asked.length, scripts.length - 1)]!
    asked.push(options)
    const whole: GenerationResult = {
      ...{
        text: parts.map(({ text = '' }) => text).join(''),
        tokens: [1, 2, 3],
        finishReason: 'stop',
        seed: 9,
        timings,
      },
      ...{ usage: { promptTokens: 10, cachedTokens: 4, completionTokens: 7 }, ...result },
    }
    return {
      cancel: () => {},
      result: error === undefined ? Promise.resolve(whole) : refused(error),
      async read(take: (part: GenerationPart) => void | Promise<void>) {
        for (const part of parts) await take({ text: '', tokens: [], ...part })
        if (error !== undefined) throw error
        return whole
      },
      async *[Symbol.asyncIterator]() {
        for (const part of parts) yield { text: '', tokens: [], ...part }
        if (error !== undefined) throw error
      },
    }
  }
  return { engine: { model: { name: 'scripted' }, generate } as unknown as Engine, asked }
}

function refused(error: unknown): Promise<never> {
  const promise = Promise.reject(error)
  promise.catch(() => {})
  return promise
}

/** How the next request of this process ends. */
export function requestEnd(): Promise<RequestEvent> {
  return new Promise((resolve) => {
    const listen = (message: unknown) => {
      const event = message as RequestEvent
      if (event.type !== 'end' && event.type !== 'error') return
      unsubscribe('octavo:request', listen)
      resolve(event)
    }
    subscribe('octavo:request', listen)
  })
}
