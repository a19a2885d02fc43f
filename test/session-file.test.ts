/** Sessions in files: what is restored goes on as if it had never stopped, and what is damaged or foreign is refused. */
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { GenerationResult, LoadOptions, SamplingOptions, Session } from 'octavo'
import { Engine } from 'octavo'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { native } from '../lib/base/native.ts'
import { child } from './child.ts'
import { enginesOf } from './child-processes.ts'

const folder = mkdtempSync(join(tmpdir(), 'octavo-session-'))
const at = (name: string) => join(folder, name)
const sameBytes = (one: string, other: string) => readFileSync(one).equals(readFileSync(other))
const checked = { checkBlocks: true }
const load = (options: Partial<LoadOptions> = {}) => Engine.load({ model: 'stories', internal: checked, ...options })

/** Goes on to the end, and draws none of the control tokens, which have no place in a history. */
const on: SamplingOptions = { maxTokens: 40, logitBias: { 0: -1000, 1: -1000, 2: -1000 } }
const greedy: SamplingOptions = { temperature: 0, ...on }
const sampled: SamplingOptions = { temperature: 0.9, seed: 11, repetitionPenalty: 1.1, ...on }
const questions = ['Tell me about a fox.', 'And the sea?', 'Who came then?', 'How did it end?']

const answer = ({ text, tokens, finishReason }: GenerationResult) => ({ text, tokens, finishReason })

async function converse(session: Session, from: number, to: number, sampling: SamplingOptions) {
  const answers: GenerationResult[] = []
  for (const question of questions.slice(from, to)) answers.push(await session.generate(question, sampling).result)
  return answers
}

let engine: Engine
/** Two turns, and their file. */
const saved = at('saved')
let tokens = 0
const expected: Record<string, ReturnType<typeof answer>[]> = {}
beforeAll(async () => {
  engine = await load()
  const session = engine.session({ system: 'Be kind.' })
  await converse(session, 0, 2, greedy)
  const result = await session.save(saved)
  tokens = result.tokens
  expect(result.bytes).toBe(readFileSync(saved).length)
  expect(tokens).toBeGreaterThanOrEqual(80)
  for (const [name, sampling] of Object.entries({ greedy, sampled }))
    expected[name] = (await converse(session.fork(), 2, 4, sampling)).map(answer)
})
afterAll(async () => {
  const { kv } = engine.stats()
  expect(kv.freeBlocks + kv.cachedBlocks).toBe(kv.totalBlocks)
  await engine.close()
  rmSync(folder, { recursive: true })
})

async function continues(session: Session): Promise<void> {
  const one = await converse(session.fork(), 2, 4, greedy)
  expect(one[0]!.usage.cachedTokens).toBe(tokens)
  expect(one.map(answer)).toEqual(expected.greedy)
  const two = await converse(session, 2, 4, sampled)
  expect(two[0]!.usage.cachedTokens).toBeGreaterThanOrEqual(tokens)
  expect(two.map(answer)).toEqual(expected.sampled)
}

describe('a restored session', () => {
  it('goes on as the one that was saved, its keys and values from the file, in the same engine and in another', async () => {
    await continues(await engine.restoreSession(saved))
    const other = await load()
    const session = await other.restoreSession(saved)
    expect(session.history[0]).toEqual({ role: 'system', content: 'Be kind.' })
    expect(session.history).toHaveLength(5)
    expect(other.stats().kv.cachedBlocks).toBe(tokens / 16)
    await continues(session)
    const { kv } = other.stats()
    expect(kv.freeBlocks + kv.cachedBlocks).toBe(kv.totalBlocks)
    await other.close()
  })

  it('goes on in another process, and what that one saves goes on here', async () => {
    const isolated = await load({ isolation: 'process' })
    const session = await isolated.restoreSession(saved)
    await continues(session.fork())
    const again = at('isolated')
    expect((await session.save(again)).tokens).toBe(tokens)
    expect(sameBytes(again, saved)).toBe(true)
    await isolated.close()
    const file = at('child')
    const source = `import { Engine } from 'octavo'; const engine = await Engine.load({ model: 'stories' });
      const session = engine.session({ system: 'Be kind.' });
      for (const question of ${JSON.stringify(questions.slice(0, 2))}) await session.generate(question, ${JSON.stringify(greedy)}).result;
      await session.save(${JSON.stringify(file)}); console.log('saved')`
    expect(await child(source)).toEqual({ end: 0, stdout: 'saved', stderr: '' })
    expect(sameBytes(file, saved)).toBe(true)
    await continues(await engine.restoreSession(file))
  })

  it('is the same file, and goes on the same, on every instruction set and on the reference backend', async () => {
    // The reference computes some ten tokens a second.
    const short: SamplingOptions = { ...greedy, maxTokens: 8 }
    const isas = native()
      .cpu()
      .isas.map((isa) => ({ internal: { ...checked, isa } }))
    const outcomes = []
    for (const options of [...isas, { device: 'reference' as const }]) {
      const other = await load(options)
      const session = other.session()
      await session.generate('A red fox.', short).result
      const file = at(`computed-${outcomes.length}`)
      const { tokens: kept } = await session.save(file)
      const restored = await other.restoreSession(at('computed-0'))
      const { usage, ...second } = await restored.generate('And?', { ...short, maxTokens: 3 }).result
      const text = answer({ usage, ...second })
      outcomes.push({ ...text, bytes: readFileSync(file).toString('hex'), kept, cached: usage.cachedTokens })
      await other.close()
    }
    expect(outcomes[0]!.kept).toBeGreaterThanOrEqual(16)
    expect(outcomes[0]!.cached).toBe(outcomes[0]!.kept)
    for (const outcome of outcomes) expect(outcome).toEqual(outcomes[0])
  })

  it('keeps tenant and overflow, which an option may change; an empty one and one without a cache are saved, too', async () => {
    const session = engine.session({ overflow: 'dropOldest' })
    const ask = { ...greedy, tenant: 'acme' }
    await session.generate(questions[0]!, ask).result
    const { tokens } = await session.save(at('tenant'))
    expect(tokens).toBeGreaterThan(0)
    const restored = await engine.restoreSession(at('tenant'))
    expect((await restored.fork().generate(questions[1]!, ask).result).usage.cachedTokens).toBe(tokens)
    expect((await restored.generate(questions[1]!, greedy).result).usage.cachedTokens).toBe(0)
    const long = 'a long tale of the sea '.repeat(60)
    const fork = async (options = {}) => (await engine.restoreSession(at('tenant'), options)).fork()
    expect((await (await fork()).generate(long, { maxTokens: 100 }).result).finishReason).toBeDefined()
    await expect((await fork({ overflow: 'error' })).generate(long.repeat(3)).result).rejects.toMatchObject({
      code: 'CONTEXT_OVERFLOW',
    })

    expect((await engine.session().save(at('empty'))).tokens).toBeLessThanOrEqual(16)
    expect((await engine.restoreSession(at('empty'))).history).toEqual([])
    const uncached = await load({ prefixCache: false })
    const without = await uncached.restoreSession(saved)
    const third = (await converse(without, 2, 3, greedy))[0]!
    expect([third.usage.cachedTokens, answer(third)]).toEqual([0, expected.greedy![0]])
    expect((await without.save(at('uncached'))).tokens).toBe(0)
    expect((await engine.restoreSession(at('uncached'))).history).toEqual(without.history)
    const { kv } = uncached.stats()
    expect(kv.freeBlocks).toBe(kv.totalBlocks)
    await uncached.close()
  })

  it('keeps turns of several messages, tools and template options, which options of the restored one may change', async () => {
    const tools = [{ name: 'weather', parameters: { type: 'object' } }]
    const chatTemplate =
      "{{ tools | tojson }}{{ mood }}{% for m in messages %}{{ m.role + m.content + (m.tokens | default('')) | string }}{% endfor %}"
    const session = engine.session({ tools, chatTemplate, templateOptions: { mood: 'merry' } })
    const parts = [{ type: 'text' as const, text: 'Hi' }]
    await session.generate(
      [
        { role: 'tool', content: 'x', tool_call_id: 'a', tokens: 'mine' },
        { role: 'user', content: parts },
      ],
      greedy,
    ).result
    await session.generate('And?', greedy).result
    await session.save(at('tools'))
    const restored = await engine.restoreSession(at('tools'))
    expect(restored.history).toEqual(session.history)
    const next = await session.renderPrompt('So?')
    expect(next.text).toContain('xmine')
    expect(await restored.renderPrompt('So?')).toEqual(next)
    const { usage } = await restored.generate('So?', greedy).result
    expect(usage.cachedTokens).toBeGreaterThan(0)
    expect([restored.undo(), restored.undo(), restored.undo(), restored.undo()]).toEqual([true, true, true, false])
    const sad = await engine.restoreSession(at('tools'), { templateOptions: { mood: 'sad' }, tools: undefined })
    expect((await sad.renderPrompt('So?')).text).toBe(next.text.replace('merry', 'sad'))
  })

  it('takes only the room there is, beside requests that run', async () => {
    const small = await load({ contextTokens: 256, kv: { memory: 17 * blockBytes() } })
    const running = [1, 2].map((seed) => small.generate({ ...sampled, prompt: 'Once', seed, maxTokens: 90 }))
    const sessions = await Promise.all(Array.from({ length: 6 }, () => small.restoreSession(saved)))
    const ended = await Promise.all(running.map(({ result }) => result))
    const alone = await Promise.all(
      [1, 2].map((seed) => engine.generate({ ...sampled, prompt: 'Once', seed, maxTokens: 90 }).result),
    )
    expect(ended.map(answer)).toEqual(alone.map(answer))
    const third = await Promise.all(sessions.map((session) => session.generate(questions[2]!, greedy).result))
    for (const result of third) expect(answer(result)).toEqual(expected.greedy![0])
    const { kv } = small.stats()
    expect(kv.freeBlocks + kv.cachedBlocks).toBe(kv.totalBlocks)
    await small.close()
  })
})

describe('saving', () => {
  it('waits for no turn and replaces a file only by a complete one', async () => {
    const session = await engine.restoreSession(saved)
    const running = session.generate(questions[2]!, { ...greedy, maxTokens: 200 })
    expect(() => session.save(at('busy'))).toThrow(expect.objectContaining({ code: 'SESSION_BUSY' }))
    running.cancel()
    await running.result
    writeFileSync(at('old'), 'old')
    await session.save(at('old'))
    await engine.restoreSession(at('old'))
    for (const path of [at('no/such/folder'), folder])
      await expect(session.save(path)).rejects.toMatchObject({ code: 'IO_ERROR', details: { path } })
    expect(() => session.save('')).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }))
    session.close()
    expect(() => session.save(at('closed'))).toThrow(expect.objectContaining({ code: 'SESSION_CLOSED' }))
    expect(readdirSync(folder).filter((name) => name.includes('partial'))).toEqual([])
  })

  it('ends with the engine: closed, or killed', async () => {
    const other = await load({ isolation: 'process' })
    const session = await other.restoreSession(saved)
    // Stopped, so that the kill comes before the answer.
    for (const pid of enginesOf(process.pid)) process.kill(pid, 'SIGSTOP')
    const outcomes = [session.save(at('lost')), other.restoreSession(saved)]
    const settled = Promise.allSettled(outcomes)
    await new Promise((resolve) => setTimeout(resolve, 100))
    for (const pid of enginesOf(process.pid)) process.kill(pid, 'SIGKILL')
    for (const one of await settled) expect(one).toMatchObject({ reason: { code: 'ENGINE_FAILED' } })
    await other.close()
    const third = await load()
    const again = await third.restoreSession(saved)
    const saving = Promise.allSettled([again.save(at('lost')), third.restoreSession(saved)])
    await third.close()
    for (const one of await saving) expect(one).toMatchObject({ reason: { code: 'ENGINE_CLOSED' } })
    expect(() => again.save(at('lost'))).toThrow(expect.objectContaining({ code: 'ENGINE_CLOSED' }))
    expect(readdirSync(folder).filter((name) => name.startsWith('lost'))).toEqual([])
  })
})

/** Bytes of a block, from the file's header. */
const blockBytes = () => readFileSync(saved).readUInt32LE(28)
const sha256 = (...parts: Uint8Array[]) =>
  parts.reduce((hash, part) => hash.update(part), createHash('sha256')).digest()

/** The file with its digests made right again, as somebody would who forges one. */
function sealed(bytes: Buffer): Buffer {
  const blocks = bytes.readUInt32LE(24)
  const record = bytes.readUInt32LE(28) + 32
  const first = bytes.length - blocks * record
  let digest = sha256(bytes.subarray(32, 64), bytes.subarray(96, first))
  sha256(bytes.subarray(0, 64), digest).copy(bytes, 64)
  for (let start = first; start < bytes.length; start += record) {
    digest = sha256(digest, bytes.subarray(start, start + record - 32))
    digest.copy(bytes, start + record - 32)
  }
  return bytes
}

const restore = (bytes: Uint8Array) => {
  writeFileSync(at('damaged'), bytes)
  return engine.restoreSession(at('damaged'))
}
const refused = expect.objectContaining({
  code: 'SESSION_INVALID',
  details: expect.objectContaining({
    path: expect.any(String),
    expected: expect.any(String),
    found: expect.any(String),
  }),
})

describe('a file that is not what it should be is refused:', () => {
  it('any byte of the head altered, any cut, any bit flipped', async () => {
    const good = readFileSync(saved)
    const altered = (change: (bytes: Buffer) => Buffer | undefined) => {
      const copy = Buffer.from(good)
      return change(copy) ?? copy
    }
    let state = 12345
    const random = (below: number) => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0
      return Math.floor((state / 2 ** 32) * below)
    }
    const flip = (bytes: Buffer, byte: number, bit: number) => {
      bytes[byte]! ^= 1 << bit
      return bytes
    }
    const head = Array.from({ length: 96 }, (_, byte) => altered((bytes) => flip(bytes, byte, random(8))))
    const count = process.env.OCTAVO_DEEP ? 100 : 30
    const cuts = Array.from({ length: count }, (_, i) => good.subarray(0, Math.floor((good.length * i) / count)))
    const flips = Array.from({ length: count }, () => altered((bytes) => flip(bytes, random(bytes.length), random(8))))
    const longer = [Buffer.concat([good, Buffer.alloc(1)]), Buffer.concat([good, good])]
    const record = blockBytes() + 32
    const swapped = altered((bytes) => {
      const [one, two] = [bytes.subarray(-2 * record, -record), bytes.subarray(-record)]
      return Buffer.concat([bytes.subarray(0, -2 * record), two, one])
    })
    for (const bytes of [...head, ...cuts, ...flips, ...longer, swapped])
      await expect(restore(bytes)).rejects.toEqual(refused)
    await continues(await restore(good))
  })

  it('counts that are not true, whatever the checksums say', async () => {
    const good = readFileSync(saved)
    for (const field of [8, 12, 16, 20, 24, 28]) {
      for (const value of [0, 1, 2 ** 16, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1]) {
        const bytes = Buffer.from(good)
        if (bytes.readUInt32LE(field) === value) continue
        bytes.writeUInt32LE(value, field)
        sha256(bytes.subarray(0, 64), sha256(bytes.subarray(32, 64))).copy(bytes, 64)
        await expect(restore(bytes)).rejects.toEqual(refused)
      }
    }
  })

  it('another model, other numerics, a history that no session has', async () => {
    const good = readFileSync(saved)
    const draft = await load({ model: 'models/octavo-stories-draft-q4_0.gguf' })
    await expect(draft.restoreSession(saved)).rejects.toEqual(refused)
    await expect(draft.restoreSession(saved)).rejects.toThrow('session of model')
    await draft.close()
    const [numerics, history, count] = [good.readUInt32LE(12), good.readUInt32LE(16), good.readUInt32LE(20)]
    const section = (from: number, bytes: number, value: string | Buffer, message: string | RegExp) => {
      const copy = Buffer.from(good)
      copy.fill(' ', from, from + bytes)
      copy.set(Buffer.from(value), from)
      return expect(restore(sealed(copy))).rejects.toThrow(message)
    }
    await section(96, numerics, 'cpu numerics 1', 'keys and values of "cpu numerics 3')
    const head = { tenant: '', overflow: 'error', messages: [], turns: [], conversation: {} }
    const system = { role: 'system', content: '' }
    const turn = [
      { role: 'user', content: 'a' },
      { role: 'assistant', content: '' },
    ]
    const histories: [unknown, string][] = [
      ['', 'a history whose value'],
      [{ ...head, messages: undefined }, 'messages'],
      [{ ...head, overflow: 'never' }, 'overflow'],
      [{ ...head, turns: undefined }, 'turns'],
      [{ ...head, messages: [{ role: 'assistant', content: '' }] }, 'a system message or none before the turns'],
      [{ ...head, messages: [system, system, ...turn], turns: [2] }, 'a system message or none before the turns'],
      [{ ...head, messages: [system, ...turn], turns: [2, 2] }, 'turns of 3 messages, found of 4'],
      [{ ...head, messages: [...turn, ...turn], turns: [3, 1] }, 'an answer in message 2'],
      [{ ...head, messages: turn, turns: [0, 2] }, 'turns.0'],
      [{ ...head, messages: [{ role: 'user', content: 5 }, turn[1]], turns: [2] }, 'messages.0.content'],
      [{ ...head, messages: [turn[0], { ...turn[1], tokens: [2 ** 30] }], turns: [2] }, 'token ids from 0'],
      [{ ...head, messages: [turn[0], { ...turn[1], tokens: ['a'] }], turns: [2] }, 'messages.1.tokens.0'],
      [{ ...head, conversation: { tools: [{ name: '' }] } }, 'conversation.tools.0.name'],
      [{ ...head, more: 1 }, 'a history'],
    ]
    for (const [value, message] of histories) await section(96 + numerics, history, JSON.stringify(value), message)
    await section(96 + numerics, history, '{', 'a history in JSON')
    for (const token of [-1, 2 ** 31 - 1]) {
      const ids = Buffer.alloc(4 * count)
      ids.writeInt32LE(token, 8)
      await section(96 + numerics + history, 4 * count, ids, 'token ids from 0')
    }
  })

  it('no file, a folder, a file of another kind', async () => {
    await expect(engine.restoreSession(at('missing'))).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' })
    mkdirSync(at('folder'))
    await expect(engine.restoreSession(at('folder'))).rejects.toEqual(refused)
    await expect(engine.restoreSession('package.json')).rejects.toThrow('a file of another kind')
    expect(() => engine.restoreSession(saved, { overflow: 'x' as 'error' })).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
    )
  })
})

describe('forged keys and values', () => {
  it('spoil the session restored from them and nobody else', async () => {
    const good = readFileSync(saved)
    const record = blockBytes() + 32
    const other = await load()
    for (const fill of [0x00, 0x3c, 0xff]) {
      const bytes = Buffer.from(good)
      for (let end = bytes.length; end > bytes.length - (tokens / 16) * record; end -= record)
        bytes.fill(fill, end - record, end - 32)
      writeFileSync(at('forged'), sealed(bytes))
      const session = await other.restoreSession(at('forged'))
      const third = await session.generate(questions[2]!, greedy).result.then(answer, ({ code }) => code)
      expect(third).not.toEqual(expected.greedy![0])
      if (typeof third === 'string') expect(third).toBe('NUMERIC_ERROR')
    }
    const honest = other.session({ system: 'Be kind.' })
    await converse(honest, 0, 2, greedy)
    expect((await converse(honest, 2, 4, greedy)).map(answer)).toEqual(expected.greedy)
    await other.close()
  })
})
