/**
 * Paths as callers give them: text, or a `file:` URL as text or object. They are resolved when they are given, so that a later
 * `process.chdir` changes nothing, whoever opens the file and however often.
 */
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

/** Absolute, or undefined for what names no file of this machine. */
export function absolutePath(path: string): string | undefined {
  const file = pathOf(path)
  return file && resolve(file)
}

/** A `file:` URL's path; any other text as it is. Undefined for what names no file of this machine. */
export function pathOf(value: unknown): string | undefined {
  const text = typeof value === 'string' ? value : hrefOf(value)
  if (text === undefined || text === '' || text.includes('\0')) return undefined
  if (typeof value === 'string' && !/^file:\/\//i.test(text)) return text
  try {
    return fileURLToPath(new URL(text))
  } catch {
    return undefined
  }
}

/** A URL of any realm. */
function hrefOf(value: unknown): string | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const { href, protocol } = value as Partial<URL>
  return typeof href === 'string' && typeof protocol === 'string' ? href : undefined
}

/** Where processes of this user find each other's weights. The user may have no name: a container's often has none. */
export const defaultSharingFolder = (): string => join(tmpdir(), `octavo-${process.getuid?.() ?? 'user'}`)
