/**
 * Texts by number, a vocabulary's, as UTF-8 in one piece: a hundred thousand strings would take ten times the memory, and longer to
 * make than all that is done with them. A string is made of one that is asked for.
 */
import { isUtf8 } from 'node:buffer'
import type { PackedTexts } from '../base/native.ts'

export class Texts implements PackedTexts, Iterable<string> {
  readonly bytes: Buffer
  readonly offsets: Uint32Array

  private constructor(bytes: Uint8Array, offsets: Uint32Array) {
    this.bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.offsets = offsets
  }

  static of(texts: readonly string[]): Texts {
    const bytes = Buffer.allocUnsafe(texts.reduce((sum, text) => sum + 3 * text.length, 0))
    const offsets = new Uint32Array(texts.length + 1)
    texts.forEach((text, i) => {
      offsets[i + 1] = offsets[i]! + bytes.write(text, offsets[i]!)
    })
    return new Texts(bytes.subarray(0, offsets[texts.length]), offsets)
  }

  /** Bytes that are no UTF-8 become U+FFFD. */
  static from({ bytes, offsets }: PackedTexts): Texts {
    const texts = new Texts(bytes, offsets)
    let sound = isUtf8(bytes)
    // A character that reaches from one text into the next is none in either.
    for (let i = 1; sound && i < offsets.length; i++) sound = (bytes[offsets[i]!]! & 0xc0) !== 0x80
    return sound ? texts : Texts.of([...texts])
  }

  get length(): number {
    return this.offsets.length - 1
  }

  at(i: number): string {
    return this.bytes.toString('utf8', this.offsets[i], this.offsets[i + 1])
  }

  isEmpty(i: number): boolean {
    return this.offsets[i] === this.offsets[i + 1]
  }

  *[Symbol.iterator](): Iterator<string> {
    for (let i = 0; i < this.length; i++) yield this.at(i)
  }

  /** The numbers of those that are one of the names, ascending. Few are looked at: those with the ends of some name. */
  among(names: Iterable<string>): { id: number; text: string }[] {
    const wanted = new Set(names)
    const [firsts, lasts] = [new Uint8Array(256), new Uint8Array(256)]
    let longest = 0
    for (const name of wanted) {
      const bytes = Buffer.from(name)
      firsts[bytes[0]!] = 1
      lasts[bytes.at(-1)!] = 1
      longest = Math.max(longest, bytes.length)
    }
    const found: { id: number; text: string }[] = []
    const { bytes, offsets } = this
    for (let id = 0, from = 0, to = 0; id + 1 < offsets.length; id++, from = to) {
      to = offsets[id + 1]!
      if (from === to || firsts[bytes[from]!] === 0 || lasts[bytes[to - 1]!] === 0 || to - from > longest) continue
      const text = this.at(id)
      if (wanted.has(text)) found.push({ id, text })
    }
    return found
  }
}
