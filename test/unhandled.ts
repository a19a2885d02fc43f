/** A look at rejections that nobody handled. */
import { afterEach, beforeEach, expect } from 'vitest'

export const tick = () => new Promise((resolve) => setImmediate(resolve))

/** A test of the file during which a rejection stays unhandled fails. */
export function expectNothingUnhandled(): void {
  const unhandled: unknown[] = []
  const onUnhandled = (reason: unknown) => void unhandled.push(reason)
  beforeEach(() => void process.on('unhandledRejection', onUnhandled))
  afterEach(async () => {
    await tick()
    process.off('unhandledRejection', onUnhandled)
    expect(unhandled.splice(0)).toEqual([])
  })
}
