/** Model files that lie, through the public API and through everything that a load reads. The full counts: npm run test:deep. */
import { execFile } from 'node:child_process'
import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { Engine, OctavoError } from 'octavo'
import { afterAll, describe, expect, it } from 'vitest'
import { native } from '../dist/base/native.js'
import { TextService } from '../dist/text/text-service.js'
// @ts-expect-error: a script
import { damage, extraBytes } from './deep/damage.mjs'

const at = (path: string) => fileURLToPath(new URL(path, import.meta.url))
const stories = at('../models/octavo-stories-q4_0.gguf')
const smol = at('../../shared/models/SmolLM2-135M-Instruct.Q4_1.gguf')
const folder = mkdtempSync(join(tmpdir(), 'octavo-hostile-'))
afterAll(() => rmSync(folder, { recursive: true }))

/** A copy of stories with other bytes. */
function changed(name: string, change: (bytes: Buffer) => Buffer): string {
  const path = join(folder, `${name}.gguf`)
  writeFileSync(path, change(readFileSync(stories)))
  return path
}

const codeOf = async (model: string) => {
  const outcome = await Engine.load({ model, threads: 1, contextTokens: 64 }).catch((error) => error)
  if (!(outcome instanceof Engine)) {
    expect(outcome).toBeInstanceOf(OctavoError)
    return outcome.code as string
  }
  const { text } = await outcome.generate({ prompt: 'Once', maxTokens: 2 }).result
  expect(typeof text).toBe('string')
  await outcome.close()
  return 'loaded'
}

describe('what could go wrong if a model file', () => {
  it.for([
    ['stories', stories, 100, 60],
    ['SmolLM2', smol, 10, 10],
  ] as const)(
    'is cut, or a byte of its header changes: %s',
    { timeout: 300_000 },
    async ([name, file, cuts, flips], { skip }) => {
      skip(!existsSync(file), `${name}: not beside the project`)
      const { broken, counts, peakBytes, wholeBytes } = await damage({ file, flips, cuts, seed: 7 })
      expect(broken).toEqual([])
      expect(counts.MODEL_INVALID).toBeGreaterThanOrEqual(cuts)
      expect(peakBytes).toBeLessThan(wholeBytes + extraBytes)
    },
  )

  it('has a scale that is not a number', async () => {
    const { tensors } = native().ggufRead(stories)
    const weights = tensors.find((tensor) => tensor.typeName === 'q4_0')!
    const path = changed('nan-scale', (bytes) => {
      bytes.writeUInt16LE(0x7e00, weights.offset)
      return bytes
    })
    expect(await codeOf(path)).toBe('MODEL_INVALID')
  })

  it('says that its vocabulary is empty', async () => {
    const path = changed('no-tokens', (bytes) => {
      const key = bytes.indexOf('tokenizer.ggml.tokens')
      // key, u32 type, u32 element type, u64 count
      bytes.writeBigUInt64LE(0n, key + 'tokenizer.ggml.tokens'.length + 8)
      return bytes
    })
    expect(await codeOf(path)).toMatch(/^MODEL_(INVALID|UNSUPPORTED)$/)
  })

  it('has keys named like properties of objects', async () => {
    const path = changed('proto', (bytes) => {
      const name = 'general.architecture'
      const key = bytes.indexOf(name)
      Buffer.from('__proto__'.padEnd(name.length, '_')).copy(bytes, key)
      return bytes
    })
    expect(await codeOf(path)).toBe('MODEL_INVALID')
    // As written by hand: a key __proto__ whose value is a list of names.
    const file = at('../cpp/fuzz/corpus/gguf/good-all-value-types')
    const { metadata } = native().ggufRead(file)
    expect(Object.getPrototypeOf(metadata)).toBe(Object.prototype)
    expect(Object.keys(metadata)).toContain('__proto__')
  })

  it('is no model: every file of the fuzzing corpus', async () => {
    for (const name of [
      'good-no-keys-no-tensors',
      'huge-key-count',
      'big-endian',
      'version-1',
      'tensors-that-overlap',
      'nan-scales-q4_0',
    ])
      expect(await codeOf(at(`../cpp/fuzz/corpus/gguf/${name}`)), name).toMatch(/^MODEL_(INVALID|UNSUPPORTED)$/)
    expect(await codeOf(at('../package.json'))).toBe('MODEL_INVALID')
    expect(await codeOf(folder)).toBe('MODEL_INVALID')
  })

  it('has a chat template that never ends: the message fails, the engine goes on', async () => {
    const { metadata } = native().ggufRead(stories)
    const template = metadata['tokenizer.chat_template'] as string
    const evil = '{% for a in range(200000) %}{% for b in range(200000) %}{% endfor %}{% endfor %}'
    const path = changed('endless-template', (bytes) => {
      Buffer.from(evil.padEnd(Buffer.byteLength(template))).copy(bytes, bytes.indexOf(template))
      return bytes
    })
    const engine = await Engine.load({ model: path, threads: 1, contextTokens: 64 })
    const generation = engine.generate({ messages: [{ role: 'user', content: 'hi' }], maxTokens: 2 })
    await expect(generation.result).rejects.toMatchObject({ code: 'TEMPLATE_ERROR' })
    expect((await engine.generate({ prompt: 'Once', maxTokens: 2 }).result).tokens.length).toBeGreaterThan(0)
    await engine.close()
  })
})

describe('what could go wrong if a prompt', () => {
  it('is far longer than the context: it is refused before it is tokenised, and others are served', async () => {
    const engine = await Engine.load({ model: 'stories', threads: 1, contextTokens: 64 })
    const long = 'a'.repeat(30e6)
    const overflow = { code: 'CONTEXT_OVERFLOW', details: { promptBytes: 30e6, contextTokens: 64 } }
    await expect(engine.generate({ prompt: long }).result).rejects.toMatchObject(overflow)
    await expect(engine.score({ prompt: long })).rejects.toMatchObject(overflow)
    const messages = [{ role: 'user', content: 'a'.repeat(4e6) }]
    await expect(engine.generate({ messages }).result).rejects.toMatchObject({ code: 'CONTEXT_OVERFLOW' })
    expect((await engine.generate({ prompt: 'Once', maxTokens: 2 }).result).tokens.length).toBeGreaterThan(0)
    await engine.close()
  })

  it('is far longer than the context of a vocabulary that lacks some bytes (SmolLM2)', async ({ skip }) => {
    skip(!existsSync(smol), 'SmolLM2: not beside the project')
    const service = await TextService.start({ source: { kind: 'gguf', path: smol } })
    const overflow = { code: 'CONTEXT_OVERFLOW', details: { promptBytes: 1e6 } }
    await expect(service.tokenize('a'.repeat(1e6), { maxTokens: 8192 })).rejects.toMatchObject(overflow)
    expect((await service.tokenize(`a${'\u0004'.repeat(1e6)}`, { maxTokens: 8192 })).length).toBe(1)
    await service.close()
  })

  it('just fits into the byte bound: the tokens decide', async () => {
    const engine = await Engine.load({ model: 'stories', threads: 1, contextTokens: 64 })
    const fits = 'one two three four five six seven eight nine ten '.repeat(3)
    expect((await engine.tokenize(fits)).length).toBeLessThan(64)
    expect((await engine.generate({ prompt: fits, maxTokens: 1 }).result).finishReason).toBe('length')
    await expect(engine.generate({ prompt: fits.repeat(3) }).result).rejects.toMatchObject({
      code: 'CONTEXT_OVERFLOW',
      details: { promptTokens: expect.any(Number) },
    })
    await engine.close()
  })
})

describe('what could go wrong if a load', () => {
  it('is aborted while the vocabulary is read: the text worker ends without finishing it', async () => {
    const stop = new AbortController()
    const starting = TextService.start({ source: { kind: 'gguf', path: stories }, signal: stop.signal })
    stop.abort()
    await expect(starting).rejects.toMatchObject({ code: 'ENGINE_CLOSED' })
    const aborted = TextService.start({ source: { kind: 'gguf', path: stories }, signal: stop.signal })
    await expect(aborted).rejects.toMatchObject({ code: 'ENGINE_CLOSED' })
  })

  it('is aborted in the midst of a native call: the process goes on', async () => {
    const script = `
      import { TextService } from ${JSON.stringify(new URL('../dist/text/text-service.js', import.meta.url).href)}
      const source = { kind: 'gguf', path: ${JSON.stringify(existsSync(smol) ? smol : stories)} }
      for (let i = 0; i < 12; i++) {
        const stop = new AbortController()
        setTimeout(() => stop.abort(), 40 + 20 * i)
        const service = await TextService.start({ source, signal: stop.signal }).catch(() => undefined)
        await service?.close()
      }
      console.log('done')
    `
    const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script])
    expect(stdout).toBe('done\n')
  })

  it('is aborted at any moment: it rejects with the reason', async () => {
    const path = join(folder, 'aborted.gguf')
    copyFileSync(existsSync(smol) ? smol : stories, path)
    for (const delayMs of [0, 20, 100, 200]) {
      const reason = new Error(`enough after ${delayMs}`)
      const controller = new AbortController()
      setTimeout(() => controller.abort(reason), delayMs)
      const outcome = await Engine.load({
        model: path,
        threads: 1,
        contextTokens: 64,
        signal: controller.signal,
      }).catch((error) => error)
      if (outcome instanceof Engine) await outcome.close()
      else expect(outcome).toBe(reason)
    }
  })
})
