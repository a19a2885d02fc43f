/** Errors as callers meet them: one class, stable codes, the caller's own stack, whichever thread they come from. */
import { Engine, errorCodes, OctavoError } from 'octavo'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { child } from './child.ts'

let engine: Engine
beforeAll(async () => {
  engine = await Engine.load({ model: 'stories', contextTokens: 64 })
})
afterAll(() => engine.close())

/** Where an error comes from -> a call that fails there, made by a function of this file. */
const failures: Record<string, { code: string; byCaller: () => unknown }> = {
  'an option, on this thread': { code: 'INVALID_ARGUMENT', byCaller: () => engine.generate({ prompt: '', topP: 2 }) },
  'a file, on this thread': { code: 'FILE_NOT_FOUND', byCaller: () => Engine.load({ model: 'missing.gguf' }) },
  'a file, on the engine thread': { code: 'MODEL_INVALID', byCaller: () => Engine.load({ model: 'package.json' }) },
  'memory, on the engine thread': {
    code: 'OUT_OF_MEMORY',
    byCaller: () => Engine.load({ model: 'stories', contextTokens: 2 ** 40 }),
  },
  'a prompt that is too long': {
    code: 'CONTEXT_OVERFLOW',
    byCaller: () => engine.generate({ prompt: Array(64).fill(5) }).result,
  },
  'the text worker': {
    code: 'CONTEXT_OVERFLOW',
    byCaller: () => engine.generate({ prompt: 'many words '.repeat(100) }).result,
  },
}

describe('an error', () => {
  for (const [origin, { code, byCaller }] of Object.entries(failures)) {
    it(`has class, code, details, retryable and the caller's stack: ${origin}`, async () => {
      const error = await (async () => byCaller())().catch((e: unknown) => e)
      expect(error).toBeInstanceOf(OctavoError)
      const { name, details, retryable, message, stack } = error as OctavoError
      expect([name, (error as OctavoError).code]).toEqual(['OctavoError', code])
      expect(retryable).toBe(errorCodes[code as keyof typeof errorCodes].retryable)
      expect(Object.keys(details).length).toBeGreaterThan(0)
      expect(() => structuredClone(details)).not.toThrow()
      const [head, ...frames] = stack!.split('\n    at ')
      expect(head).toBe(`OctavoError [${code}]: ${message}`)
      expect(frames[0]).toContain('byCaller')
      expect(frames.join()).not.toMatch(/\/dist\/(engine|options|call-site|host-client)/)
    })
  }

  it("is the same in the application's worker threads", async () => {
    const failing = `const tell = async (call) => { try { await call(); return 'none' } catch (e) {
      return JSON.stringify([e instanceof OctavoError, e.name, e.code, e.message, e.details, e.retryable]) } };
      const engine = await Engine.load({ model: 'stories', contextTokens: 64 });
      const all = [await tell(() => engine.generate({ prompt: 'A', topP: 2 })), await tell(() => Engine.load({ model: 'package.json' })),
        await tell(() => engine.generate({ prompt: Array(64).fill(5) }).result)]; await engine.close();`
    const source = `import { Worker } from 'node:worker_threads'; import { once } from 'node:events'; import { Engine, OctavoError } from 'octavo';
      ${failing}
      const body = ${JSON.stringify(failing)};
      const worker = new Worker("(async () => { const { Engine, OctavoError } = await import('octavo'); " + body +
        " require('node:worker_threads').parentPort.postMessage(all) })()", { eval: true, execArgv: [] });
      const [there] = await once(worker, 'message'); console.log(all.length, all.every((text, i) => text.startsWith('[true,') && text === there[i]))`
    expect(await child(source)).toEqual({ end: 0, stdout: '3 true', stderr: '' })
  })

  it('has one of the codes that are exported, each with what it means and whether a retry can help', () => {
    for (const [code, { meaning, retryable }] of Object.entries(errorCodes)) {
      expect(code).toMatch(/^[A-Z_]+$/)
      expect(meaning).toMatch(/^[A-Z].+[.!]$/)
      expect(typeof retryable).toBe('boolean')
      expect(new OctavoError(code as keyof typeof errorCodes, 'x').retryable).toBe(retryable)
    }
  })
})
