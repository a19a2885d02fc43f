/**
 * Limits beside timings: a virtual machine's CPUs move, and with them its bandwidth or half of its peak, within seconds. Each timing
 * is held against the better of the measurements just before and just after it.
 */
import { type MachineLimits, native } from '../base/native.ts'
import { bestLimits } from './bounds.ts'
import { median } from './output.ts'

export class LimitsBeside {
  readonly #measure: () => MachineLimits
  #last: MachineLimits | undefined

  constructor(threads: number) {
    this.#measure = () => native().limits(threads)
  }

  /** Work that is not timed: what was measured before it is not just before what comes after it. */
  warmUp<T>(work: () => Promise<T>): Promise<T> {
    this.#last = undefined
    return work()
  }

  async of<T>(work: () => T | Promise<T>): Promise<T & { limits: MachineLimits }> {
    const before = this.#last ?? this.#measure()
    const result = await work()
    this.#last = this.#measure()
    return { ...result, limits: bestLimits(before, this.#last) }
  }
}

export function medianLimits(all: MachineLimits[]): MachineLimits {
  const of = (name: keyof MachineLimits) => median(all.map((limits) => limits[name]))
  return {
    readBytesPerSecond: of('readBytesPerSecond'),
    int8OpsPerSecond: of('int8OpsPerSecond'),
    matrixOpsPerSecond: of('matrixOpsPerSecond'),
    fmaOpsPerSecond: of('fmaOpsPerSecond'),
    barrierSeconds: of('barrierSeconds'),
  }
}
