// llama.cpp wants as many tokens as the embedding has rows; octavo-stories leaves rows unused. Copies a GGUF file with its token
// list filled up by unused tokens; every tensor stays as it is. Layout: the GGUF specification of the ggml project.
import { readFileSync, writeFileSync } from 'node:fs'

const alignment = 32
/** Bytes of a metadata value by its type id; 8 is a string, 9 an array. */
const widths = { 0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8 }
const unusedToken = 5

const u32 = (value) => Buffer.from(Uint32Array.of(value).buffer)
const u64 = (value) => Buffer.from(BigUint64Array.of(BigInt(value)).buffer)
const string = (text) => Buffer.concat([u64(Buffer.byteLength(text)), Buffer.from(text)])
const upTo = (bytes) => Math.ceil(bytes / alignment) * alignment

/** What fills each list of the tokenizer. */
const fillers = {
  'tokenizer.ggml.tokens': (i) => string(`<unused-${i}>`),
  'tokenizer.ggml.token_type': () => u32(unusedToken),
  'tokenizer.ggml.scores': () => u32(0),
}

export function padVocabulary(from, to, rows) {
  const file = readFileSync(from)
  const [tensors, values] = [Number(file.readBigUInt64LE(8)), Number(file.readBigUInt64LE(16))]
  let at = 24
  const number = () => {
    at += 8
    return Number(file.readBigUInt64LE(at - 8))
  }
  const skip = (type) => {
    const bytes = type === 8 ? number() : widths[type]
    at += bytes
  }
  const parts = [file.subarray(0, 24)]
  for (let i = 0; i < values; i++) {
    const begin = at
    const key = file.toString('utf8', at + 8, at + 8 + Number(file.readBigUInt64LE(at)))
    skip(8)
    const type = file.readUInt32LE(at)
    at += 4
    if (type !== 9) skip(type)
    else {
      const countAt = at + 4
      const item = file.readUInt32LE(at)
      at += 4
      const count = number()
      for (let n = 0; n < count; n++) skip(item)
      if (key in fillers) {
        const filling = Array.from({ length: rows - count }, (_, n) => fillers[key](count + n))
        parts.push(file.subarray(begin, countAt), u64(rows), file.subarray(countAt + 8, at), ...filling)
        continue
      }
    }
    parts.push(file.subarray(begin, at))
  }
  const infos = at
  for (let i = 0; i < tensors; i++) {
    skip(8)
    const dimensions = file.readUInt32LE(at)
    at += 4 + 8 * dimensions + 4 + 8
  }
  parts.push(file.subarray(infos, at))
  const head = Buffer.concat(parts)
  writeFileSync(to, Buffer.concat([head, Buffer.alloc(upTo(head.length) - head.length), file.subarray(upTo(at))]))
}
