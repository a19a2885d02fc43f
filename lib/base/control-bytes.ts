/**
 * Texts in which control tokens stand, as bytes: a control token, which has no text, is five that no text has. cpp/grammar/marks.h
 * (control_bytes) gives them to the token, too.
 */

/** A text, or a control token. */
export type Piece = string | number

const encoder = new TextEncoder()

export function bytesOf(pieces: readonly Piece[]): Uint8Array<ArrayBuffer> {
  const parts = pieces.map((piece) => (typeof piece === 'string' ? encoder.encode(piece) : controlBytes(piece)))
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const part of parts) {
    bytes.set(part, at)
    at += part.length
  }
  return bytes
}

const controlBytes = (token: number): Uint8Array =>
  Uint8Array.of(0xff, ...[18, 12, 6, 0].map((shift) => 0x80 | ((token >> shift) & 0x3f)))
