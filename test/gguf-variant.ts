/** Copies of the embedded model with another vocabulary or template: some metadata of the file changed, its tensors as they are. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { GgufValue } from '../lib/base/native.ts'
import { ggufMetadata } from './gguf-metadata.ts'

const stories = fileURLToPath(new URL('../models/octavo-stories-q4_0.gguf', import.meta.url))
const alignment = 32
const typeOf = { u32: 4, i32: 5, f32: 6, bool: 7, text: 8, array: 9 }

const u32 = (value: number) => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}
const u64 = (value: number) => {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(BigInt(value))
  return bytes
}
const f32 = (value: number) => {
  const bytes = Buffer.alloc(4)
  bytes.writeFloatLE(value)
  return bytes
}
const text = (value: string) => Buffer.concat([u64(Buffer.byteLength(value)), Buffer.from(value)])

/** A value as files have such; numbers of a list that has fractions are floats. */
function written(value: GgufValue): Buffer {
  if (typeof value === 'string') return Buffer.concat([u32(typeOf.text), text(value)])
  if (typeof value === 'boolean') return Buffer.concat([u32(typeOf.bool), Buffer.of(Number(value))])
  if (typeof value === 'number') return Buffer.concat([u32(typeOf.u32), u32(value)])
  const list = value as (string | number)[]
  const count = u64(list.length)
  if (typeof list[0] === 'string')
    return Buffer.concat([u32(typeOf.array), u32(typeOf.text), count, ...list.map((item) => text(item as string))])
  const whole = list.every(Number.isInteger)
  const items = list.map((item) => (whole ? u32 : f32)(item as number))
  return Buffer.concat([u32(typeOf.array), u32(whole ? typeOf.i32 : typeOf.f32), count, ...items])
}

/** Where the metadata of a file begin and end, by key. */
function entries(data: Buffer): { spans: Map<string, [number, number]>; end: number } {
  const sizes: Record<number, number> = { 0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8 }
  const skip = (type: number, at: number): number => {
    if (type === typeOf.text) return at + 8 + Number(data.readBigUInt64LE(at))
    if (type !== typeOf.array) return at + sizes[type]!
    const item = data.readUInt32LE(at)
    let end = at + 12
    for (let i = Number(data.readBigUInt64LE(at + 4)); i > 0; i--) end = skip(item, end)
    return end
  }
  const spans = new Map<string, [number, number]>()
  let at = 24
  for (let i = Number(data.readBigUInt64LE(16)); i > 0; i--) {
    const start = at
    const nameEnd = skip(typeOf.text, at)
    at = skip(data.readUInt32LE(nameEnd), nameEnd + 4)
    spans.set(data.toString('utf8', start + 8, nameEnd), [start, at])
  }
  return { spans, end: at }
}

/** Where the descriptions of the tensors end. */
function tensorsEnd(data: Buffer, begin: number): number {
  let at = begin
  for (let i = Number(data.readBigUInt64LE(8)); i > 0; i--) {
    at += 8 + Number(data.readBigUInt64LE(at))
    at += 4 + 8 * data.readUInt32LE(at) + 12
  }
  return at
}

const up = (size: number) => Math.ceil(size / alignment) * alignment

export interface Variant {
  path: string
  remove(): void
}

/** `change` edits the metadata in place; values keep their types, new keys come last. */
export function storiesVariant(change: (metadata: Record<string, GgufValue>) => void): Variant {
  const data = readFileSync(stories)
  const { spans, end } = entries(data)
  const [before, after] = [ggufMetadata(stories), ggufMetadata(stories)]
  change(after)
  const metadata = [...spans].map(([key, [from, to]]) => {
    if (JSON.stringify(before[key]) === JSON.stringify(after[key])) return data.subarray(from, to)
    return Buffer.concat([text(key), written(after[key]!)])
  })
  const added = Object.keys(after).filter((key) => !spans.has(key))
  metadata.push(...added.map((key) => Buffer.concat([text(key), written(after[key]!)])))
  const infosEnd = tensorsEnd(data, end)
  const counts = [data.subarray(0, 16), u64(metadata.length)]
  const head = Buffer.concat([...counts, ...metadata, data.subarray(end, infosEnd)])
  const padding = Buffer.alloc(up(head.length) - head.length)
  const folder = mkdtempSync(join(tmpdir(), 'octavo-variant-'))
  const path = join(folder, 'variant.gguf')
  writeFileSync(path, Buffer.concat([head, padding, data.subarray(up(infosEnd))]))
  return { path, remove: () => rmSync(folder, { recursive: true, force: true }) }
}

/** Gives a token another name and type; no merge makes it any more, nor anything of it. */
export function renameToken(metadata: Record<string, GgufValue>, from: string, to: string, type: number): number {
  const tokens = metadata['tokenizer.ggml.tokens'] as string[]
  const id = tokens.indexOf(from)
  if (id < 0) throw new Error(`no token ${from}`)
  tokens[id] = to
  const merges = metadata['tokenizer.ggml.merges'] as string[]
  metadata['tokenizer.ggml.merges'] = merges.filter((merge) => {
    const [left, right] = merge.split(' ')
    return left !== from && right !== from && `${left}${right}` !== from
  })
  ;(metadata['tokenizer.ggml.token_type'] as number[])[id] = type
  return id
}
