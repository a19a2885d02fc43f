/**
 * Parts as they travel: nearly all are text and tokens and nothing else, and go as rows of values, one behind the other (id, text, how many
 * tokens, the tokens). Names cost more than values: such a row is written and read in a third of the time of an object.
 */
import type { PlainParts, StepPart } from './protocol.ts'

const isPlain = ({ reasoning, calls, roles, logprobs, end }: StepPart): boolean =>
  reasoning === undefined && calls === undefined && roles === undefined && logprobs === undefined && end === undefined

/** Of one message, in which a request has one part, and behind it perhaps one with its end. */
export function packParts(all: readonly StepPart[]): { parts: StepPart[]; plain?: PlainParts } {
  const parts: StepPart[] = []
  const plain: PlainParts = []
  for (const part of all) {
    if (!isPlain(part)) {
      parts.push(part)
      continue
    }
    const { id, text, tokens } = part
    plain.push(id, text, tokens.length)
    for (const token of tokens) plain.push(token)
  }
  return plain.length === 0 ? { parts } : { parts, plain }
}

export function unpackParts({ parts, plain }: { parts: StepPart[]; plain?: PlainParts }): StepPart[] {
  if (plain === undefined) return parts
  const all: StepPart[] = []
  for (let at = 0; at < plain.length; ) {
    const [id, text, count] = [plain[at] as number, plain[at + 1] as string, plain[at + 2] as number]
    all.push({ id, text, tokens: plain.slice(at + 3, at + 3 + count) as number[] })
    at += 3 + count
  }
  for (const part of parts) all.push(part)
  return all
}
