/**
 * What a model is, in 32 bytes: SHA-256 of everything that decides what it computes. That is the description (sizes, RoPE, flags,
 * which tensor has which role, format and shape) and a hash of every byte of the weights, taken while they were read
 * (cpp/kv/content_hash.h), in their order; not where they lie or what they are called. The hash of the bytes has 64 bits
 * and is not made against forgery: who could forge one could as well write the true identity into a file of his own.
 */
import type { ModelDesc } from '../base/native.ts'
import { sha256 } from '../base/sha256.ts'

/** What decides, in one text. */
export function modelDescription(desc: ModelDesc, contentHash: string): string {
  const { files: _files, contextTokens: _context, tensors, ...numbers } = desc
  const shapes = Object.entries(tensors)
    .map(([role, { format, rows, width }]) => [role, format, rows, width] as const)
    .sort(([a], [b]) => (a < b ? -1 : 1))
  return JSON.stringify([numbers, shapes, contentHash])
}

/** Hexadecimal. */
export const modelIdentity = (description: string): string => sha256(description).digest('hex')
