/** The metadata of a GGUF file, read in plain TypeScript: the tests' own reader, independent of the native one. */
import { closeSync, openSync, readSync } from 'node:fs'
import type { GgufValue } from '../lib/base/native.ts'

/** Reads what the first `limitBytes` hold; tokenizer metadata of small models fits. */
export function ggufMetadata(path: string, limitBytes = 8 * 2 ** 20): Record<string, GgufValue> {
  const data = Buffer.alloc(limitBytes)
  const file = openSync(path, 'r')
  readSync(file, data, 0, limitBytes, 0)
  closeSync(file)
  let at = 0
  const take = (bytes: number) => {
    at += bytes
    return at - bytes
  }
  const u64 = () => Number(data.readBigUInt64LE(take(8)))
  const text = () => {
    const length = u64()
    return data.toString('utf8', take(length), at)
  }
  const readers: (() => GgufValue)[] = [
    () => data.readUInt8(take(1)),
    () => data.readInt8(take(1)),
    () => data.readUInt16LE(take(2)),
    () => data.readInt16LE(take(2)),
    () => data.readUInt32LE(take(4)),
    () => data.readInt32LE(take(4)),
    () => data.readFloatLE(take(4)),
    () => data.readUInt8(take(1)) !== 0,
    text,
    () => {
      const type = data.readUInt32LE(take(4))
      return Array.from({ length: u64() }, () => readers[type]!())
    },
    u64,
    () => Number(data.readBigInt64LE(take(8))),
    () => data.readDoubleLE(take(8)),
  ]
  take(8 + 8)
  const count = u64()
  return Object.fromEntries(Array.from({ length: count }, () => [text(), readers[data.readUInt32LE(take(4))]!()]))
}
