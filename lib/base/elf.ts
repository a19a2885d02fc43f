/**
 * What can be said of a binary without opening it, which can take the process down where it is cut short or made for another C library.
 * Layout of a 64-bit ELF file: System V ABI, chapters 4 and 5.
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'

/** The first bytes of a file and its size; undefined when it cannot be read. */
function readHead(path: string, bytes: number): { head: Buffer; size: number } | undefined {
  let descriptor: number | undefined
  try {
    descriptor = openSync(path, 'r')
    const head = Buffer.alloc(bytes)
    return { head: head.subarray(0, readSync(descriptor, head, 0, bytes, 0)), size: fstatSync(descriptor).size }
  } catch {
    return undefined
  } finally {
    if (descriptor !== undefined) closeSync(descriptor)
  }
}

const isElf64 = (head: Buffer) => head.length >= 64 && head.readUInt32BE(0) === 0x7f454c46 && head[4] === 2

/** Whether nothing is cut off: the section table is the last thing in the file. Opening a file cut short can raise SIGBUS. */
export function isWholeElf(file: string): boolean {
  const read = readHead(file, 64)
  if (read === undefined || !isElf64(read.head)) return false
  const { head, size } = read
  return Number(head.readBigUInt64LE(40)) + head.readUInt16LE(58) * head.readUInt16LE(60) <= size
}

/** Whether Node itself was linked with musl: its program interpreter is then named ld-musl-*. */
export function usesMusl(): boolean {
  const head = readHead(process.execPath, 4096)?.head
  if (head === undefined || !isElf64(head)) return false
  const table = Number(head.readBigUInt64LE(32))
  const [entryBytes, entries] = [head.readUInt16LE(54), head.readUInt16LE(56)]
  const interpreter = 3
  for (let at = table, i = 0; i < entries && at + 40 <= head.length; i++, at += entryBytes) {
    if (head.readUInt32LE(at) !== interpreter) continue
    const begin = Number(head.readBigUInt64LE(at + 8))
    return head.toString('latin1', begin, begin + Number(head.readBigUInt64LE(at + 32))).includes('ld-musl')
  }
  return false
}
