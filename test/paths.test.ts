/** Paths: resolved when they are given, so that a later chdir changes nothing; `file:` URLs wherever a path is taken. */
import { execFile } from 'node:child_process'
import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import vm from 'node:vm'
import { Engine } from 'octavo'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { absolutePath, pathOf } from '../lib/base/paths.ts'
import { refusal } from './refusal.ts'

const library = new URL('../dist/index.js', import.meta.url).href
const model = new URL('../models/octavo-stories-q4_0.gguf', import.meta.url)
let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'octavo-pâths 1%20-'))
  copyFileSync(model, join(folder, 'model.gguf'))
})
afterAll(() => rmSync(folder, { recursive: true }))

/** What a program prints that runs in the folder. */
async function run(program: string): Promise<string> {
  const file = join(folder, 'program.mjs')
  writeFileSync(file, `import { Engine } from ${JSON.stringify(library)}\n${program}`)
  return (await promisify(execFile)(process.execPath, [file], { cwd: folder, timeout: 60_000 })).stdout.trim()
}

describe('a later chdir changes nothing', { timeout: 90_000 }, () => {
  it('for the model, sessions, the folder of shared weights and a record, right after the call', async () => {
    const printed = await run(`
      const internal = { recordFile: 'steps' }
      const loading = Engine.load({ model: 'model.gguf', threads: 1, shareWeights: 'shared', internal })
      process.chdir('/')
      const engine = await loading
      const session = engine.session()
      await session.generate('Hi', { maxTokens: 4 }).result
      process.chdir(${JSON.stringify(folder)})
      const saving = session.save('saved')
      process.chdir('/')
      await saving
      process.chdir(${JSON.stringify(folder)})
      const restoring = engine.restoreSession('saved')
      process.chdir('/')
      console.log((await restoring).history.length)
      await engine.close()`)
    expect(printed).toBe('2')
    for (const name of ['saved', 'shared', 'steps'])
      expect([name, existsSync(join(folder, name))]).toEqual([name, true])
  })

  it('for an engine process that is started again, not even when the working directory is gone', async () => {
    const printed = await run(`
      import { mkdirSync, readdirSync, readFileSync, rmdirSync } from 'node:fs'
      const engine = await Engine.load({ model: './model.gguf', threads: 1, isolation: 'process', restart: true })
      mkdirSync('gone')
      process.chdir('gone')
      rmdirSync(process.cwd())
      const parent = (pid) => Number(/\\) \\S+ (\\d+)/.exec(readFileSync('/proc/' + pid + '/stat', 'latin1'))?.[1])
      const isChild = (pid) => { try { return parent(pid) === process.pid } catch { return false } }
      const [child] = readdirSync('/proc').filter((name) => /^\\d+$/.test(name)).filter(isChild)
      const generation = engine.generate({ prompt: 'Once', maxTokens: 200, ignoreEos: true, temperature: 0 })
      let parts = 0
      for await (const _ of generation) if (parts++ === 3) process.kill(Number(child), 'SIGKILL')
      console.log((await generation.result).tokens.length)
      await engine.close()`)
    expect(printed).toBe('200')
  })
})

it('shareWeights wants no name of the user: a container has none', { timeout: 60_000 }, async () => {
  const printed = await run(`
    import { syncBuiltinESMExports } from 'node:module'
    import os from 'node:os'
    os.userInfo = () => { throw new Error('uv_os_get_passwd returned ENOENT') }
    syncBuiltinESMExports()
    const engine = await Engine.load({ model: 'model.gguf', threads: 1, shareWeights: true })
    console.log((await engine.generate({ prompt: 'Once', maxTokens: 3, ignoreEos: true }).result).tokens.length)
    await engine.close()`)
  expect(printed).toBe('3')
})

describe('file: URLs', () => {
  const url = () => pathToFileURL(join(folder, 'model.gguf'))

  it('name models and sessions, as text and as objects, of any realm', async () => {
    for (const given of [
      url(),
      url().href,
      Object.assign(vm.runInNewContext('({})'), { href: url().href, protocol: 'file:' }),
    ]) {
      const engine = await Engine.load({ model: given, threads: 1 })
      const session = engine.session()
      await session.generate('Hi', { maxTokens: 4 }).result
      const file = pathToFileURL(join(folder, 'by url'))
      await session.save(file)
      expect((await engine.restoreSession(file.href)).history).toEqual(session.history)
      expect(readFileSync(file).length).toBeGreaterThan(100)
      await engine.close()
    }
  })

  it('of no file of this machine are refused at the call', () => {
    for (const wrong of [
      new URL('https://example.org/model.gguf'),
      'file://elsewhere/model.gguf',
      'file:///a%2Fb',
      'a\0b',
    ]) {
      const { code, details } = refusal(() => Engine.load({ model: wrong }))
      expect([code, details.option]).toEqual(['INVALID_ARGUMENT', 'model'])
    }
  })
})

it('a path is a path, whatever it looks like', () => {
  expect(pathOf('file')).toBe('file')
  expect(pathOf('file:name')).toBe('file:name')
  expect(pathOf('FILE:///a%20b')).toBe('/a b')
  expect(absolutePath('a/../b')).toBe(join(process.cwd(), 'b'))
  for (const none of ['', 5, null, {}, { href: 5 }]) expect(pathOf(none)).toBeUndefined()
})
