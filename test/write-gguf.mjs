// Writes GGUF files for tests: metadata of the kinds that a tokenizer and a small model need, and tensors. Layout: the GGUF
// specification of the ggml project.
import { writeFileSync } from 'node:fs'

const alignment = 32
const upTo = (bytes) => Math.ceil(bytes / alignment) * alignment
const padded = (data) => Buffer.concat([data, Buffer.alloc(upTo(data.length) - data.length)])

const u32 = (value) => Buffer.from(Uint32Array.of(value).buffer)
const u64 = (value) => Buffer.from(BigUint64Array.of(BigInt(value)).buffer)
const string = (text) => Buffer.concat([u64(Buffer.byteLength(text)), Buffer.from(text)])
const kinds = {
  u32: [4, u32],
  i32: [5, u32],
  f32: [6, (value) => Buffer.from(Float32Array.of(value).buffer)],
  string: [8, string],
}
const arrayType = 9

/** `metadata`: key -> [kind, value or array of values]; `tensors`: name, shape, ggml type, bytes. */
export function writeGguf(path, metadata, tensors = []) {
  const keys = Object.entries(metadata).map(([key, [kind, value]]) => {
    const [type, bytes] = kinds[kind]
    const data = Array.isArray(value)
      ? [u32(arrayType), u32(type), u64(value.length), ...value.map(bytes)]
      : [u32(type), bytes(value)]
    return Buffer.concat([string(key), ...data])
  })
  let offset = 0
  const infos = tensors.map(({ name, shape, type, data }) => {
    const info = [string(name), u32(shape.length), ...shape.map(u64), u32(type), u64(offset)]
    offset += upTo(data.length)
    return Buffer.concat(info)
  })
  const head = Buffer.concat([Buffer.from('GGUF'), u32(3), u64(tensors.length), u64(keys.length), ...keys, ...infos])
  writeFileSync(path, Buffer.concat([padded(head), ...tensors.map(({ data }) => padded(data))]))
}
