/**
 * What a model argument means: a GGUF file's path or `file:` URL (any part of a split one stands for all its parts), `stories` (the
 * model that comes with octavo), or `synthetic:<preset>[:<type>]` (seeded random weights, made in memory).
 */
import { existsSync } from 'node:fs'
import { basename, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { OctavoError } from '../base/errors.ts'
import { packageRoot } from '../base/package-files.ts'
import { pathOf } from '../base/paths.ts'
import { type PresetName, parsePreset, parseSyntheticType, type SyntheticType } from './presets.ts'

export type ModelLocation =
  /** All parts, in order; absolute paths. */
  | { kind: 'files'; name: string; files: string[] }
  | { kind: 'synthetic'; name: string; preset: PresetName; type: SyntheticType }

const embedded: Record<string, string> = { stories: 'models/octavo-stories-q4_0.gguf' }

const splitPattern = /^(.*)-(\d{5})-of-(\d{5})\.gguf$/

/** Throws FILE_NOT_FOUND (naming every missing part), INVALID_ARGUMENT or BUNDLED. Does not open anything. */
export function locateModel(model: string): ModelLocation {
  if (typeof model !== 'string' || model === '') {
    throw new OctavoError('INVALID_ARGUMENT', `model: expected a file name, 'stories' or 'synthetic:<preset>'.`, {
      model,
    })
  }
  if (model.startsWith('synthetic:')) return locateSynthetic(model)
  if (Object.hasOwn(embedded, model)) {
    return { kind: 'files', name: model, files: present([fileURLToPath(new URL(embedded[model]!, packageRoot()))]) }
  }
  const path = pathOf(model)
  if (path === undefined) {
    throw new OctavoError('INVALID_ARGUMENT', `model: expected a file of this machine, found '${model}'.`, { model })
  }
  const file = resolve(path)
  const split = splitPattern.exec(file)
  if (!split) return { kind: 'files', name: basename(file), files: present([file]) }
  const [, stem, part, parts] = split as unknown as [string, string, string, string]
  if (Number(part) < 1 || Number(part) > Number(parts)) {
    throw new OctavoError('INVALID_ARGUMENT', `model: ${model} names part ${Number(part)} of ${Number(parts)}.`, {
      model,
    })
  }
  const files = Array.from({ length: Number(parts) }, (_, i) => {
    return `${stem}-${String(i + 1).padStart(5, '0')}-of-${parts}.gguf`
  })
  return { kind: 'files', name: basename(stem), files: present(files) }
}

function locateSynthetic(model: string): ModelLocation {
  const [, preset, type, ...rest] = model.split(':')
  if (rest.length > 0) {
    throw new OctavoError('INVALID_ARGUMENT', `model: expected 'synthetic:<preset>[:<type>]', found '${model}'.`, {
      model,
    })
  }
  return { kind: 'synthetic', name: model, preset: parsePreset(preset ?? ''), type: parseSyntheticType(type ?? 'q4_0') }
}

function present(files: string[]): string[] {
  const missing = files.filter((file) => !existsSync(file))
  if (missing.length === 0) return files
  const of = files.length > 1 ? ` (${missing.length} of ${files.length} parts)` : ''
  throw new OctavoError('FILE_NOT_FOUND', `No such file: ${missing.join(', ')}${of}.`, { missing, parts: files.length })
}
