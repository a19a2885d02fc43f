/** Checked reading of GGUF metadata: a value of the expected kind and range, or MODEL_INVALID naming the key. */
import { OctavoError } from '../base/errors.ts'
import type { GgufValue } from '../base/native.ts'

export type Metadata = Readonly<Record<string, GgufValue>>

function show(value: GgufValue | undefined): string {
  if (value === undefined) return 'nothing'
  if (Array.isArray(value)) return `an array of ${value.length}`
  return typeof value === 'string' ? JSON.stringify(value.slice(0, 80)) : String(value)
}

function wrong(key: string, expected: string, value: GgufValue | undefined): OctavoError {
  const found = show(value)
  return new OctavoError('MODEL_INVALID', `${key}: expected ${expected}, found ${found}.`, { key, expected, found })
}

/** Own properties only: a key called `__proto__` is data like any other. */
const get = (metadata: Metadata, key: string): GgufValue | undefined => {
  return Object.hasOwn(metadata, key) ? metadata[key] : undefined
}

export function readString(metadata: Metadata, key: string, fallback?: string): string {
  const value = get(metadata, key) ?? fallback
  if (typeof value !== 'string') throw wrong(key, 'a string', value)
  return value
}

/** An integer in [min, max]. An array of equal integers counts as one (some files give one value per layer). */
export function readInteger(metadata: Metadata, key: string, min: number, max: number, fallback?: number): number {
  let value = get(metadata, key) ?? fallback
  if (Array.isArray(value) && value.length > 0) {
    if (value.some((v) => v !== (value as GgufValue[])[0])) {
      throw new OctavoError('MODEL_UNSUPPORTED', `${key}: layers of different sizes are not supported.`, { key })
    }
    value = value[0]
  }
  if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max) {
    throw wrong(key, `an integer from ${min} to ${max}`, value)
  }
  return value
}

/** A finite number above `min`. */
export function readNumber(metadata: Metadata, key: string, min: number, fallback?: number): number {
  const value = get(metadata, key) ?? fallback
  if (typeof value !== 'number' || !Number.isFinite(value) || value <= min)
    throw wrong(key, `a number above ${min}`, value)
  return value
}

export function has(metadata: Metadata, key: string): boolean {
  return Object.hasOwn(metadata, key)
}

/** The length of an array, or undefined when the key is absent. */
export function arrayLength(metadata: Metadata, key: string): number | undefined {
  const value = get(metadata, key)
  if (value === undefined) return undefined
  if (!Array.isArray(value)) throw wrong(key, 'an array', value)
  return value.length
}
