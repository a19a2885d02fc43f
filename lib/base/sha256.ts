/** SHA-256 for threads that may never ask for it: node:crypto takes milliseconds to load, so it is loaded when the first hash is made. */
import type { BinaryLike, Hash } from 'node:crypto'

/** Of the parts, one after the other. */
export function sha256(...parts: BinaryLike[]): Hash {
  const hash = process.getBuiltinModule('node:crypto').createHash('sha256')
  for (const part of parts) hash.update(part)
  return hash
}
