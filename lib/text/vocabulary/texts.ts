/**
 * Texts by number, a vocabulary's, as UTF-8 in one piece: a hundred thousand strings would take ten times the memory, and longer to
 * make than all that is done with them. A string is made of one that is asked for.
 */
import { isUtf8 } from 'node:buffer'
import { type FileTexts, native, type PackedTexts } from '../../base/native.ts'

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
  static from({ bytes, offsets, beginCharacters }: FileTexts): Texts {
    const texts = new Texts(bytes, offsets)
    // A character that reaches from one text into the next is none in either.
    return beginCharacters && isUtf8(bytes) ? texts : Texts.of([...texts])
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

  /** Those that are one of the names, in the order of their numbers. */
  among(names: Iterable<string>): { id: number; text: string }[] {
    return Array.from(native().textsAmong(this, [...names]), (id) => ({ id, text: this.at(id) }))
  }
}
