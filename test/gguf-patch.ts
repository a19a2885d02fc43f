/** Copies of a GGUF file with a few bytes of its metadata changed in place. */
import { readFileSync, writeFileSync } from 'node:fs'

/** Where the value of a key begins, behind its type. */
function valueAt(file: Buffer, key: string): number {
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(key.length))
  const found = file.indexOf(Buffer.concat([length, Buffer.from(key)]))
  if (found < 0) throw new Error(`no key ${key}`)
  return found + 8 + key.length + 4
}

export type Patch = (file: Buffer) => void

export const setNumber =
  (key: string, value: number): Patch =>
  (file) =>
    file.writeUInt32LE(value, valueAt(file, key))

/** An element of an array of numbers of 4 bytes. */
export const setElement =
  (key: string, index: number, value: number): Patch =>
  (file) =>
    file.writeInt32LE(value, valueAt(file, key) + 4 + 8 + 4 * index)

/** The key gets a name that nobody looks for. */
export const hideKey =
  (key: string): Patch =>
  (file) =>
    file.write('?', valueAt(file, key) - 5)

export function patched(from: string, to: string, ...patches: Patch[]): string {
  const file = readFileSync(from)
  for (const patch of patches) patch(file)
  writeFileSync(to, file)
  return to
}
