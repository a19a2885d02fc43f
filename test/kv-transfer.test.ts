/** Blocks on their way to a file and back against a fake cache, in many slices, with evictions and damage on the way. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { KvTransfers } from '../lib/host/kv-transfer.ts'
import type { KvFile, KvTransferEnd } from '../lib/host/wire/protocol.ts'

const blockBytes = 100
const record = blockBytes + 32
const folder = mkdtempSync(join(tmpdir(), 'octavo-kv-'))
afterAll(() => rmSync(folder, { recursive: true }))

/** A prefix cache of `room` blocks: contents by salt and all tokens up to the block's end. */
class FakeCache {
  readonly kvBlockBytes = blockBytes
  readonly blocks = new Map<string, Uint8Array>()
  readonly live = new Map<number, { salt: string; tokens: number[] }>()
  room = 1000
  #next = 0

  sequenceCreate(salt: string): number {
    this.live.set(this.#next, { salt, tokens: [] })
    return this.#next++
  }
  sequenceMatch(id: number, tokens: Int32Array): number {
    const sequence = this.live.get(id)!
    for (let end = 16; end < tokens.length; end += 16) {
      if (!this.blocks.has(this.#key(sequence.salt, tokens.subarray(0, end)))) break
      sequence.tokens = [...tokens.subarray(0, end)]
    }
    return sequence.tokens.length
  }
  sequenceFree(id: number): void {
    if (!this.live.delete(id)) throw new Error('freed twice')
  }
  kvExport(id: number, first: number, out: Uint8Array): void {
    const { salt, tokens } = this.live.get(id)!
    out.set(this.blocks.get(this.#key(salt, tokens.slice(0, 16 * (first + 1))))!)
  }
  kvImport(id: number, tokens: Int32Array, blocks: Uint8Array): boolean {
    const sequence = this.live.get(id)!
    if (this.blocks.size >= this.room) return false
    sequence.tokens.push(...tokens)
    this.blocks.set(this.#key(sequence.salt, sequence.tokens), Uint8Array.from(blocks))
    return true
  }
  #key(salt: string, tokens: ArrayLike<number>): string {
    return `${salt}:${Array.from(tokens).join()}`
  }
}

const total = 20
const tokens = Int32Array.from({ length: total * 16 }, (_, i) => (i * 7919) % 1000)
const filled = () => {
  const cache = new FakeCache()
  const sequence = cache.sequenceCreate('a')
  for (let i = 0; i < total; i++)
    cache.kvImport(sequence, tokens.subarray(16 * i, 16 * i + 16), new Uint8Array(blockBytes).fill(i))
  cache.sequenceFree(sequence)
  return cache
}
const offset = 10
let files = 0
const file = (salt = 'a'): KvFile => ({
  ...{ path: join(folder, `${files++}`), offset, tokens, salt },
  seed: new Uint8Array(32).fill(9),
})

/** Runs until the transfer ends; `between` slices anything may happen. */
function run(cache: FakeCache, kind: 'save' | 'restore', target: KvFile, slice: number, between = () => {}) {
  const transfers = new KvTransfers(cache, slice)
  transfers.add(7, kind, target)
  let end: KvTransferEnd | undefined
  let slices = 0
  for (; end === undefined; slices++) {
    end = transfers.advance()
    expect(cache.live.size).toBe(0)
    between()
  }
  expect(transfers.pending).toBe(false)
  expect(transfers.advance()).toBeUndefined()
  return { end, slices }
}

function saved(slice = 1000): KvFile {
  const target = file()
  writeFileSync(target.path, Buffer.alloc(offset))
  expect(run(filled(), 'save', target, slice).end).toEqual({ id: 7, blocks: total })
  return target
}

describe('blocks of a session', () => {
  it('are the same in the file and in the cache afterwards, in slices of any size', () => {
    const whole = readFileSync(saved(2 ** 20).path)
    expect(whole.length).toBe(offset + total * record)
    for (const slice of [1, record, 3 * record + 5, 20 * record, 21 * record]) {
      const target = saved(slice)
      expect(readFileSync(target.path)).toEqual(whole)
      const cache = new FakeCache()
      const { end, slices } = run(cache, 'restore', target, slice)
      expect(end).toEqual({ id: 7, blocks: total })
      expect(slices).toBe(Math.ceil(total / Math.max(1, Math.floor(slice / record))))
      expect(cache.blocks).toEqual(filled().blocks)
    }
  })

  it('are left out from the first on that is evicted meanwhile, or finds no room', () => {
    const target = file()
    writeFileSync(target.path, '')
    const cache = filled()
    let slices = 0
    const evict = () => {
      if (++slices === 3) for (const key of [...cache.blocks.keys()].slice(10)) cache.blocks.delete(key)
    }
    expect(run(cache, 'save', target, 3 * record, evict).end).toEqual({ id: 7, blocks: 10 })
    const back = new FakeCache()
    expect(run(back, 'restore', { ...target, tokens: tokens.slice(0, 160) }, 2 * record).end).toMatchObject({
      blocks: 10,
    })
    const small = new FakeCache()
    small.room = 7
    expect(run(small, 'restore', saved(), 2 * record).end).toEqual({ id: 7, blocks: 7 })
    const losing = new FakeCache()
    let restored = 0
    const lose = () => ++restored === 4 && losing.blocks.clear()
    expect(run(losing, 'restore', saved(), 2 * record, lose).end).toEqual({ id: 7, blocks: 8 })
    expect(losing.blocks.size).toBe(0)
  })

  it('are found by nobody with another salt, and nothing of them is saved for him', () => {
    const target = file('b')
    writeFileSync(target.path, '')
    expect(run(filled(), 'save', target, 500).end).toEqual({ id: 7, blocks: 0 })
  })

  it('never enter the cache when they are damaged, missing, moved, or of another file', () => {
    const target = saved()
    const good = readFileSync(target.path)
    const attempt = (bytes: Uint8Array, changed: Partial<KvFile> = {}) => {
      writeFileSync(target.path, bytes)
      const cache = new FakeCache()
      const { end } = run(cache, 'restore', { ...target, ...changed }, 2 * record)
      expect(end).toMatchObject({ error: { code: 'SESSION_INVALID', details: { path: target.path } } })
      for (const [key, block] of cache.blocks) expect(filled().blocks.get(key)).toEqual(block)
      return cache.blocks.size
    }
    for (const at of [offset, offset + blockBytes, offset + 11 * record + 50, good.length - 1]) {
      const bytes = Buffer.from(good)
      bytes[at]! ^= 4
      expect(attempt(bytes)).toBe(2 * Math.floor((at - offset) / (2 * record)))
    }
    attempt(good.subarray(0, -1))
    attempt(good.subarray(0, offset + 5 * record))
    attempt(
      Buffer.concat([good.subarray(0, offset), good.subarray(offset + record), good.subarray(offset, offset + record)]),
    )
    attempt(good, { seed: new Uint8Array(32) })
    attempt(good, { offset: offset + record })
  })

  it('end with an error of the system as an IO_ERROR, and the next transfer goes on', () => {
    const transfers = new KvTransfers(filled())
    transfers.add(1, 'save', { ...file(), path: join(folder, 'no', 'where') })
    transfers.add(2, 'restore', { ...file(), path: folder })
    transfers.add(3, 'restore', saved())
    expect(transfers.advance()).toMatchObject({ id: 1, error: { code: 'IO_ERROR' } })
    expect(transfers.advance()).toMatchObject({ id: 2, error: { code: 'IO_ERROR' } })
    expect(transfers.advance()).toEqual({ id: 3, blocks: total })
    transfers.add(4, 'restore', saved())
    transfers.close()
    expect(transfers.pending).toBe(false)
  })
})
