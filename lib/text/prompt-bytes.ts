/** A prompt and an answer as tagged bytes (answer-ids.ts), and the way from a place in the prompt's text to its byte. */
import type { SpelledAnswer, Tagged } from './answer-ids.ts'

/** A stretch of text or one special token of a prompt. */
export interface Segment {
  /** Place in the rendering. */
  at: number
  /** As it is tokenised: with the space that is put in front of it, when there is one. */
  text: string
  /** 1 with such a space. */
  prefix: number
  /** Missing for text. */
  id: number | undefined
  isControl: boolean
}

function tagControl(tags: Int32Array, from: number, to: number, id: number): void {
  tags.fill(-(id + 1), from, to)
  tags[from] = id + 1
}

export class PromptBytes implements Tagged {
  readonly segments: readonly Segment[]
  readonly bytes: Uint8Array
  readonly tags: Int32Array
  /** Byte where each segment begins, and the end. */
  readonly starts: number[] = [0]

  constructor(segments: readonly Segment[]) {
    this.segments = segments
    this.bytes = Buffer.from(segments.map(({ text }) => text).join(''))
    this.tags = new Int32Array(this.bytes.length)
    for (const { text, id, isControl } of segments) {
      const from = this.starts.at(-1)!
      const to = from + Buffer.byteLength(text)
      if (isControl) tagControl(this.tags, from, to, id!)
      this.starts.push(to)
    }
  }

  /** The byte of a place in the rendering; where white space vanished at a token, that of what follows. */
  byteAt(place: number): number {
    let [low, high] = [0, this.segments.length]
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.segments[middle]!.at <= place) low = middle + 1
      else high = middle
    }
    const segment = this.segments[low - 1]
    if (!segment) return 0
    const inside = segment.text.slice(0, segment.prefix + place - segment.at)
    return this.starts[low - 1]! + Buffer.byteLength(inside)
  }

  text(from: number, to: number): string {
    return Buffer.from(this.bytes.buffer, this.bytes.byteOffset + from, to - from).toString()
  }
}

/** A token that spells nothing agrees with nothing: a byte that no text has. */
const nothing = { byte: 0xff, tag: -0x7fffffff }

/** `bytesOf` gives what a token adds to the text, `nameOf` the name of a control token. */
export function spellAnswer(
  ids: Int32Array,
  bytesOf: (id: number) => Uint8Array,
  nameOf: (id: number) => string | undefined,
): SpelledAnswer {
  const names = Array.from(ids, nameOf)
  const parts = Array.from(ids, (id, i) => {
    const name = names[i]
    const part = name === undefined ? bytesOf(id) : Buffer.from(name)
    return part.length > 0 ? part : undefined
  })
  const bytes = Buffer.concat(parts.map((part) => part ?? Uint8Array.of(nothing.byte)))
  const tags = new Int32Array(bytes.length)
  const ends = new Int32Array(ids.length)
  let at = 0
  for (const [i, part] of parts.entries()) {
    const end = at + (part?.length ?? 1)
    if (!part) tags[at] = nothing.tag
    else if (names[i] !== undefined) tagControl(tags, at, end, ids[i]!)
    ends[i] = end
    at = end
  }
  return { ids, ends, bytes, tags }
}
