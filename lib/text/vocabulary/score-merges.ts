/**
 * SentencePiece's BPE, which has scores instead of ranks: of all neighbours that together are a token, the pair whose token has the
 * highest score becomes one; of equal scores the leftmost. (Ranks cannot say that: two pairs never have the same.) A character
 * that is in no token becomes its bytes, or the unknown token, once for a run of them.
 * Source: Kudo and Richardson 2018, bpe_model.cc of sentencepiece.
 */
import { byteName, tokenType } from './vocabulary.ts'

export interface ScoredTokens {
  tokens: readonly string[]
  types: Uint8Array
  scores: ArrayLike<number>
  byteFallback: boolean
  /** Absent: what is in no token vanishes. */
  unknownId: number | undefined
}

/** A pair of neighbours to merge: the left one's index, and the characters of both (others by now: the pair is gone). */
interface Pair {
  score: number
  left: number
  size: number
}

const before = (a: Pair, b: Pair) => a.score > b.score || (a.score === b.score && a.left < b.left)

/** A binary heap: the next pair to merge is on top. */
class Pairs {
  readonly #heap: Pair[] = []

  push(pair: Pair): void {
    const heap = this.#heap
    let at = heap.length
    for (; at > 0; ) {
      const parent = (at - 1) >> 1
      if (!before(pair, heap[parent]!)) break
      heap[at] = heap[parent]!
      at = parent
    }
    heap[at] = pair
  }

  pop(): Pair | undefined {
    const heap = this.#heap
    const top = heap[0]
    const last = heap.pop()
    if (last === undefined || heap.length === 0) return top
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++
      if (!before(heap[child]!, last)) break
      heap[at] = heap[child]!
      at = child
    }
    heap[at] = last
    return top
  }
}

export class ScoreMerges {
  readonly #scores: ArrayLike<number>
  readonly #ids = new Map<string, number>()
  readonly #byteIds: (number | undefined)[]
  readonly #unknownId: number | undefined
  readonly #longest: number

  constructor({ tokens, types, scores, byteFallback, unknownId }: ScoredTokens) {
    this.#scores = scores
    tokens.forEach((text, id) => {
      const type = types[id]
      if ((type === tokenType.normal || type === tokenType.userDefined) && text !== '') this.#ids.set(text, id)
    })
    const bytes = new Map(tokens.flatMap((text, id) => (types[id] === tokenType.byte ? [[text, id] as const] : [])))
    // Some of them may be typed as ordinary tokens.
    const byteId = (name: string) => bytes.get(name) ?? this.#ids.get(name)
    this.#byteIds = Array.from({ length: 256 }, (_, byte) => (byteFallback ? byteId(byteName(byte)) : undefined))
    this.#unknownId = unknownId
    this.#longest = [...this.#ids.keys()].reduce((most, text) => Math.max(most, text.length), 0)
  }

  /** Spaces of the text are written `▁` already. */
  encode(text: string): number[] {
    const ids: number[] = []
    let unknown = false
    for (const piece of this.#pieces(text)) {
      const id = this.#ids.get(piece)
      const known = id === undefined ? this.#bytes(piece) : [id]
      ids.push(...(known ?? (unknown || this.#unknownId === undefined ? [] : [this.#unknownId])))
      unknown = known === undefined
    }
    return ids
  }

  #bytes(piece: string): number[] | undefined {
    const ids = Array.from(Buffer.from(piece), (byte) => this.#byteIds[byte])
    return ids.includes(undefined) ? undefined : (ids as number[])
  }

  /** The text's characters, merged as far as they go. */
  *#pieces(text: string): Generator<string> {
    // Piece i is text[start[i], end[i]); the first piece keeps its index when two become one, the second becomes empty.
    const start: number[] = []
    for (let at = 0; at < text.length; at += text.codePointAt(at)! > 0xffff ? 2 : 1) start.push(at)
    const end = [...start.slice(1), text.length]
    const next = start.map((_, i) => i + 1)
    const previous = start.map((_, i) => i - 1)
    const pairs = new Pairs()
    const consider = (left: number) => {
      const right = left < 0 ? start.length : next[left]!
      if (right >= start.length) return
      const size = end[right]! - start[left]!
      const id = size > this.#longest ? undefined : this.#ids.get(text.slice(start[left], end[right]))
      if (id !== undefined) pairs.push({ score: this.#scores[id]!, left, size })
    }
    for (let i = 0; i < start.length; i++) consider(i)
    for (let pair = pairs.pop(); pair !== undefined; pair = pairs.pop()) {
      const { left, size } = pair
      const right = next[left]!
      if (end[left] === start[left] || right >= start.length || end[right]! - start[left]! !== size) continue
      end[left] = end[right]!
      end[right] = start[right]!
      next[left] = next[right]!
      if (next[left]! < start.length) previous[next[left]!] = left
      consider(previous[left]!)
      consider(left)
    }
    for (let i = 0; i < start.length; i = next[i]!) yield text.slice(start[i], end[i])
  }
}
