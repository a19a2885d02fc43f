/** What a model argument means: a file, a part of a split one, a synthetic model, the embedded one; and what is none of them. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openCheckpoint } from '../lib/model/checkpoint.ts'
import { locateModel } from '../lib/model/locate.ts'
import { refusal } from './refusal.ts'

describe('a model argument', () => {
  let folder: string
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'octavo-locate-'))
    for (const name of ['a.gguf', 'm-00001-of-00003.gguf', 'm-00002-of-00003.gguf', 'n-00001-of-00001.gguf']) {
      writeFileSync(join(folder, name), '')
    }
  })
  afterAll(() => rmSync(folder, { recursive: true }))

  it('is a file', () => {
    expect(locateModel(join(folder, 'a.gguf'))).toEqual({
      kind: 'files',
      name: 'a.gguf',
      files: [join(folder, 'a.gguf')],
    })
    expect(refusal(() => locateModel(join(folder, 'b.gguf')))).toMatchObject({ code: 'FILE_NOT_FOUND' })
    expect(refusal(() => locateModel('')).code).toBe('INVALID_ARGUMENT')
  })
  it('is any part of a split file', () => {
    const last = join(folder, 'm-00003-of-00003.gguf')
    expect(refusal(() => locateModel(join(folder, 'm-00002-of-00003.gguf'))).message).toContain(last)
    writeFileSync(last, '')
    const location = locateModel(join(folder, 'm-00002-of-00003.gguf'))
    expect(location).toMatchObject({ kind: 'files', name: 'm', files: { length: 3, 2: last } })
    expect(locateModel(join(folder, 'n-00001-of-00001.gguf'))).toMatchObject({ files: { length: 1 } })
    expect(refusal(() => locateModel(join(folder, 'm-00004-of-00003.gguf'))).code).toBe('INVALID_ARGUMENT')
  })
  it('is synthetic', () => {
    expect(locateModel('synthetic:qwen3-0.6b')).toMatchObject({ kind: 'synthetic', preset: 'qwen3-0.6b', type: 'q4_0' })
    expect(locateModel('synthetic:llama-2-7b:Q8_0')).toMatchObject({ type: 'q8_0' })
    expect(refusal(() => locateModel('synthetic:gpt-9')).message).toMatch(/preset: expected one of smollm2-135m/)
    expect(refusal(() => locateModel('synthetic:llama-2-7b:q9')).message).toMatch(/type: expected one of q4_0/)
    expect(refusal(() => locateModel('synthetic:llama-2-7b:q4_0:x')).code).toBe('INVALID_ARGUMENT')
    expect(refusal(() => locateModel('synthetic:__proto__')).code).toBe('INVALID_ARGUMENT')
  })
  it('is the embedded model', () => {
    const location = locateModel('stories')
    expect(location).toMatchObject({ kind: 'files', name: 'stories', files: { length: 1 } })
  })
  it('synthetic models open without a file and without the addon', () => {
    expect(openCheckpoint('synthetic:smollm2-135m').info).toMatchObject({
      parameters: 134515008,
      name: 'synthetic smollm2-135m',
    })
  })
})
