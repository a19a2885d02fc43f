/**
 * Where an earlier answer stands in a prompt, the ids that the model generated for it stand there, so that what was computed for them is
 * found again (tokenising the text may give other ids). The prompt's characters are what the template made of the visible history,
 * whatever it trimmed, cut, dropped or repeated: ids are used only where they spell exactly what is there.
 *
 * Prompt and answer are both bytes with tags; a control token is its name, tagged with its id, so that it equals the same control token
 * and never its name in a text. From a place where the answer is shown, the two are laid upon each other and compared in both
 * directions; tokens that lie wholly where bytes and tags agree are used.
 */

export interface Tagged {
  bytes: Uint8Array
  /** 0 for text; id + 1 where the name of a control token begins, -(id + 1) in the rest of it. */
  tags: Int32Array
}

/** The ids of an answer as what they spell; token i is bytes ends[i - 1] to ends[i]. */
export interface SpelledAnswer extends Tagged {
  ids: Int32Array
  ends: Int32Array
}

/** Bytes `from` to `to` of the prompt are these ids. */
export interface Placement {
  from: number
  to: number
  ids: Int32Array
}

/** Bytes that are looked for to find where two texts lie upon each other: a long run, else a shorter one. */
const seedBytes = [64, 16, 4]
/** Places that are tried for one seed, and seeds for one stretch: a text that repeats itself or was changed throughout costs no more. */
const most = { places: 32, seeds: 256 }

interface Overlap {
  /** Bytes of the prompt that equal the answer's. */
  from: number
  to: number
  /** Place in the answer = place in the prompt + shift. */
  shift: number
  /** How many of them have the same tags. */
  agreeing: number
}

/** As far as bytes are equal on both sides of a place. */
function overlapAt(prompt: Tagged, answer: Tagged, at: number, shift: number): Overlap {
  let [from, to] = [at, at]
  while (from > 0 && from + shift > 0 && prompt.bytes[from - 1] === answer.bytes[from - 1 + shift]) from--
  while (to < prompt.bytes.length && to + shift < answer.bytes.length && prompt.bytes[to] === answer.bytes[to + shift])
    to++
  let agreeing = 0
  for (let i = from; i < to; i++) if (prompt.tags[i] === answer.tags[i + shift]) agreeing++
  return { from, to, shift, agreeing }
}

/** The overlap that agrees longest, of those which show the bytes from `at` to `end`. */
function bestOverlap(prompt: Tagged, answer: Tagged, at: number, end: number): Overlap | undefined {
  const seed = prompt.bytes.subarray(at, end)
  const inside = Buffer.from(answer.bytes.buffer, answer.bytes.byteOffset, answer.bytes.length)
  let best: Overlap | undefined
  let found = inside.indexOf(seed)
  for (let tried = 0; found >= 0 && tried < most.places; tried++) {
    const overlap = overlapAt(prompt, answer, at, found - at)
    if (!best || overlap.agreeing > best.agreeing) best = overlap
    found = inside.indexOf(seed, found + 1)
  }
  return best
}

function firstOverlap(prompt: Tagged, answer: Tagged, at: number, to: number): Overlap | undefined {
  for (const length of seedBytes) {
    const overlap = bestOverlap(prompt, answer, at, Math.min(to, at + length))
    if (overlap) return overlap
  }
  return undefined
}

const continues = (byte: number | undefined) => byte !== undefined && (byte & 0xc0) === 0x80

/** The first token that begins at or after a byte of the answer. */
function firstToken(ends: Int32Array, at: number): number {
  let [low, high] = [0, ends.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if ((middle === 0 ? 0 : ends[middle - 1]!) < at) low = middle + 1
    else high = middle
  }
  return low
}

/** The tokens wholly within the agreeing bytes `from` to `to`, cut back to whole characters. */
function tokensWithin(
  prompt: Tagged,
  answer: SpelledAnswer,
  from: number,
  to: number,
  shift: number,
): Placement | undefined {
  const { ends, ids } = answer
  const startOf = (token: number) => (token === 0 ? 0 : ends[token - 1]!) - shift
  let first = firstToken(ends, from + shift)
  let end = first
  while (end < ids.length && ends[end]! - shift <= to) end++
  while (first < end && continues(prompt.bytes[startOf(first)])) first++
  while (first < end && continues(prompt.bytes[ends[end - 1]! - shift])) end--
  if (first === end) return undefined
  return { from: startOf(first), to: ends[end - 1]! - shift, ids: ids.subarray(first, end) }
}

/** What of an overlap is used: its runs of equal tags, from `start` on. */
function* placementsIn(prompt: Tagged, answer: SpelledAnswer, overlap: Overlap, start: number): Generator<Placement> {
  const { to, shift } = overlap
  const agrees = (at: number) => prompt.tags[at] === answer.tags[at + shift]
  for (let at = Math.max(overlap.from, start); at < to; ) {
    if (!agrees(at)) {
      at++
      continue
    }
    let end = at
    while (end < to && agrees(end)) end++
    const placement = tokensWithin(prompt, answer, at, end, shift)
    if (placement) yield placement
    at = end
  }
}

/** `shown`: bytes of the prompt that show an answer, ascending. Placements ascend and do not overlap. */
export function placeAnswers(
  prompt: Tagged,
  answers: readonly SpelledAnswer[],
  shown: readonly { answer: number; from: number; to: number }[],
): Placement[] {
  const placements: Placement[] = []
  let covered = 0
  for (const { answer: index, from, to } of shown) {
    const answer = answers[index]!
    let at = Math.max(from, covered)
    for (let seeds = 0; at < to && seeds < most.seeds; seeds++) {
      const overlap = firstOverlap(prompt, answer, at, to)
      if (!overlap) {
        at += seedBytes.at(-1)!
        continue
      }
      for (const placement of placementsIn(prompt, answer, overlap, covered)) {
        placements.push(placement)
        covered = placement.to
      }
      at = Math.max(overlap.to, at + 1)
    }
  }
  return placements
}
