/** Files that flags name: text, JSON, and modules whose default export is an option of the library. */
import { existsSync, readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { OctavoError } from '../base/errors.ts'
import { pathOf } from '../base/paths.ts'
import type { Schema } from '../index.ts'

export function readText(file: string): string {
  try {
    return readFileSync(pathOf(file) ?? file, 'utf8')
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    const missing = code === 'ENOENT'
    const what = missing ? `No such file: ${file}.` : `Cannot read ${file}: ${message}`
    throw new OctavoError(missing ? 'FILE_NOT_FOUND' : 'IO_ERROR', what, { path: file }, { cause: error })
  }
}

/** The default export of a module, for an option of that name. */
export async function readModule(file: string, option: string): Promise<unknown> {
  const path = resolve(pathOf(file) ?? file)
  if (!existsSync(path)) throw new OctavoError('FILE_NOT_FOUND', `No such file: ${path}.`, { path })
  const { default: value } = (await import(pathToFileURL(path).href)) as { default?: unknown }
  if (value !== undefined) return value
  const message = `Option ${option}: expected a default export of ${path}, found none.`
  throw new OctavoError('INVALID_ARGUMENT', message, { path })
}

/** A JSON Schema as JSON, or the default export of a module, which may be a zod type. */
export async function readSchema(file: string): Promise<Schema> {
  if (/\.[cm]?[jt]s$/.test(file)) return (await readModule(file, 'schema')) as Schema
  try {
    return JSON.parse(readText(file)) as Schema
  } catch (error) {
    if (error instanceof OctavoError) throw error
    const message = `Option schema: expected JSON in ${file}: ${(error as Error).message}`
    throw new OctavoError('INVALID_ARGUMENT', message, { path: file })
  }
}
