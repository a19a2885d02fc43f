/**
 * Keys and values between the prefix cache and a session file (lib/session-file.ts), some blocks between two steps, so that no
 * request waits long for a big file. Nothing is held meanwhile: each time the blocks are found anew by their tokens, and what was
 * evicted in between is left out, to be computed again when it is needed. So the scheduler's reckoning never changes.
 *
 * In the file a block is followed by SHA-256 of the digest before it and its bytes, the first one by that of `seed` and its bytes: a
 * block that is altered, missing or in another's place is found before it enters the cache.
 */
import { closeSync, constants, openSync, readSync, writeSync } from 'node:fs'
import type { ErrorData } from '../base/errors.ts'
import { OctavoError, toErrorData } from '../base/errors.ts'
import { kvBlockTokens } from '../base/kv-blocks.ts'
import type { NativeEngine } from '../base/native.ts'
import { sha256 } from '../base/sha256.ts'
import type { KvFile, KvTransferEnd } from './wire/protocol.ts'

export const digestBytes = 32
/** A few milliseconds' work. */
const defaultSliceBytes = 2 ** 21

type BlockSource = Pick<
  NativeEngine,
  'kvBlockBytes' | 'sequenceCreate' | 'sequenceMatch' | 'sequenceFree' | 'kvExport' | 'kvImport'
>

interface Transfer {
  id: number
  kind: 'save' | 'restore'
  file: KvFile
  fd: number
  done: number
  /** Found in the file and right; those after `done` found no room. */
  read: number
  digest: Uint8Array
}

export class KvTransfers {
  readonly #engine: BlockSource
  readonly #block: number
  readonly #record: number
  readonly #slice: number
  readonly #queue: Transfer[] = []

  constructor(engine: BlockSource, sliceBytes = defaultSliceBytes) {
    this.#engine = engine
    this.#block = engine.kvBlockBytes
    this.#record = this.#block + digestBytes
    this.#slice = Math.max(1, Math.floor(sliceBytes / this.#record))
  }

  add(id: number, kind: Transfer['kind'], file: KvFile): void {
    this.#queue.push({ id, kind, file, fd: -1, done: 0, read: 0, digest: file.seed })
  }

  get pending(): boolean {
    return this.#queue.length > 0
  }

  /** Some blocks of the oldest transfer; how it ended, if it did. */
  advance(): KvTransferEnd | undefined {
    const transfer = this.#queue[0]
    if (transfer === undefined) return undefined
    try {
      const over = this.#move(transfer)
      if (!over) return undefined
      this.#end(transfer)
      return { id: transfer.id, blocks: transfer.done }
    } catch (error) {
      this.#end(transfer)
      return { id: transfer.id, error: transferError(error, transfer) }
    }
  }

  close(): void {
    for (const transfer of [...this.#queue]) this.#end(transfer)
  }

  #end(transfer: Transfer): void {
    this.#queue.splice(this.#queue.indexOf(transfer), 1)
    if (transfer.fd >= 0) closeSync(transfer.fd)
    transfer.fd = -1
  }

  /** True when it is over. */
  #move(transfer: Transfer): boolean {
    const { kind, file } = transfer
    // Without O_NONBLOCK, what became a pipe meanwhile would stop everybody.
    const flags = (kind === 'save' ? constants.O_WRONLY : constants.O_RDONLY) | constants.O_NONBLOCK
    if (transfer.fd < 0) transfer.fd = openSync(file.path, flags)
    return kind === 'save' ? this.#save(transfer) : this.#restore(transfer)
  }

  #save(transfer: Transfer): boolean {
    const { file, fd, done } = transfer
    const total = file.tokens.length / kvBlockTokens
    const wanted = Math.min(total, done + this.#slice)
    const records = this.#found(file, wanted, (sequence, found) => {
      const bytes = Buffer.alloc(Math.max(0, found - done) * this.#record)
      for (let at = 0, block = done; block < found; block++, at += this.#record) {
        this.#engine.kvExport(sequence, block, bytes.subarray(at, at + this.#block))
        transfer.digest = this.#chain(transfer.digest, bytes.subarray(at, at + this.#block))
        bytes.set(transfer.digest, at + this.#block)
      }
      return bytes
    })
    let at = file.offset + done * this.#record
    for (let from = 0; from < records.length; ) {
      const written = writeSync(fd, records, from, records.length - from, at)
      from += written
      at += written
    }
    transfer.done += records.length / this.#record
    return transfer.done < wanted || transfer.done === total
  }

  #restore(transfer: Transfer): boolean {
    const { file, fd, read } = transfer
    const total = file.tokens.length / kvBlockTokens
    const count = Math.min(total - read, this.#slice)
    const records = Buffer.alloc(count * this.#record)
    readFully(fd, records, file.offset + read * this.#record)
    for (let i = 0, at = 0; i < count; i++, at += this.#record) {
      transfer.digest = this.#chain(transfer.digest, records.subarray(at, at + this.#block))
      if (!records.subarray(at + this.#block, at + this.#record).equals(transfer.digest))
        throw invalidSession(file.path, `the checksum of block ${read + i}`, 'another one (altered or incomplete)')
    }
    // What is read without room for it is checked all the same: whether a file is sound does not depend on the cache.
    if (transfer.done === read) transfer.done += this.#import(file, read, records)
    transfer.read += count
    return transfer.read === total
  }

  /** Blocks that found room. */
  #import(file: KvFile, first: number, records: Buffer): number {
    const count = records.length / this.#record
    return this.#found(file, first, (sequence, found) => {
      if (found < first) return 0
      for (let i = 0, at = 0; i < count; i++, at += this.#record) {
        const from = (first + i) * kvBlockTokens
        const tokens = file.tokens.subarray(from, from + kvBlockTokens)
        if (!this.#engine.kvImport(sequence, tokens, records.subarray(at, at + this.#block))) return i
      }
      return count
    })
  }

  /** Calls `use` with a sequence that holds the leading cached blocks, at most `most`, and their number. */
  #found<T>({ tokens, salt }: KvFile, most: number, use: (sequence: number, found: number) => T): T {
    const sequence = this.#engine.sequenceCreate(salt)
    try {
      // A match leaves one token to compute.
      const prefix = new Int32Array(most * kvBlockTokens + 1)
      prefix.set(tokens.subarray(0, most * kvBlockTokens))
      return use(sequence, this.#engine.sequenceMatch(sequence, prefix) / kvBlockTokens)
    } finally {
      this.#engine.sequenceFree(sequence)
    }
  }

  #chain(before: Uint8Array, block: Uint8Array): Uint8Array {
    return sha256(before, block).digest()
  }
}

function readFully(fd: number, out: Buffer, offset: number): void {
  for (let filled = 0; filled < out.length; ) {
    const count = readSync(fd, out, filled, out.length - filled, offset + filled)
    if (count === 0) throw new OctavoError('SESSION_INVALID', 'The file became shorter while it was read.')
    filled += count
  }
}

export function invalidSession(path: string, expected: string, found: string): OctavoError {
  return new OctavoError('SESSION_INVALID', `${path}: expected ${expected}, found ${found}.`, { path, expected, found })
}

function transferError(error: unknown, { kind, file: { path } }: Transfer): ErrorData {
  const { code, message, details } = toErrorData(error)
  if (code !== 'INTERNAL') return { code, message, details: { path, ...details } }
  const system = (error as NodeJS.ErrnoException).syscall !== undefined
  if (!system) return { code, message, details }
  return {
    code: 'IO_ERROR',
    message: `Cannot ${kind === 'save' ? 'write' : 'read'} ${path}: ${message}`,
    details: { path },
  }
}
