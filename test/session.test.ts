/** A session against a fake engine: what each turn's prompt is made of, and when it refuses. */

import { describe, expect, it } from 'vitest'
import { dropOldestTurns } from '../lib/context-fit.ts'
import { RunningGeneration } from '../lib/generation.ts'
import { tokenRole } from '../lib/host/output/token-text.ts'
import type { FinishReason } from '../lib/host/wire/protocol.ts'
import type { CheckedConversation } from '../lib/messages.ts'
import type { Turn, VerbatimMessage } from '../lib/session.ts'
import { Session } from '../lib/session.ts'

const timings = {
  queueMs: 0,
  prefillMs: 0,
  firstTokenMs: 0,
  totalMs: 0,
  tokensPerSecond: 0,
  interTokenMs: { p50: 0, p99: 0 },
  preemptions: 0,
}

/** Keeps the last turn's messages and answers it when told to. */
class FakeEngine {
  messages: VerbatimMessage[] = []
  turn!: Turn
  generation!: RunningGeneration
  error: Error | undefined

  session(
    system?: string,
    overflow: 'error' | 'dropOldest' = 'error',
    conversation: CheckedConversation = {},
  ): Session {
    const start = (turn: Turn) => {
      if (this.error !== undefined) throw this.error
      this.turn = turn
      this.messages = turn.conversation.messages
      this.generation = new RunningGeneration({
        ...{ site: turn.site, seed: 1, askedAtMs: 0, now: () => 0 },
        ...{ signal: turn.sampling.signal, onEnd: turn.onEnd },
      })
      const cancel = () => this.answer('', [], 'cancelled')
      this.generation.attach({ cancel, pause: () => {}, resume: () => {} }, 5)
      return this.generation
    }
    const save = () => Promise.reject(new Error('not faked'))
    const render = save
    const messages = system === undefined ? [] : [{ role: 'system', content: system }]
    const state = { messages, turns: [], conversation, overflow, tenant: '', cacheId: '' }
    return new Session({ start, render, save }, state)
  }

  say(text: string, tokens: number[]): void {
    this.generation.part({ id: 1, text, tokens })
  }

  answer(text: string, tokens: number[], reason: FinishReason = 'stop'): void {
    this.generation.part({
      id: 1,
      text,
      tokens,
      end: { reason, cachedTokens: 0, generatedTokens: tokens.length, timings },
    })
  }
}

describe('session', () => {
  it('builds each turn on the text and the verbatim ids of the answers before it', async () => {
    const engine = new FakeEngine()
    const session = engine.session('Be terse.')
    const first = session.generate('Hi')
    expect(engine.messages).toEqual([
      { role: 'system', content: 'Be terse.' },
      { role: 'user', content: 'Hi' },
    ])
    engine.answer('Hello.', [5, 6])
    await first.result
    session.generate('And?')
    expect(engine.messages).toEqual([
      { role: 'system', content: 'Be terse.' },
      { role: 'user', content: 'Hi' },
      { role: 'assistant', content: 'Hello.', tokens: Int32Array.of(5, 6) },
      { role: 'user', content: 'And?' },
    ])
    expect(session.history.map(({ role, content }) => [role, content])).toEqual([
      ['system', 'Be terse.'],
      ['user', 'Hi'],
      ['assistant', 'Hello.'],
    ])
  })

  it('is ready for the next turn when the result resolves, and when the loop ends', async () => {
    const engine = new FakeEngine()
    const session = engine.session()
    const first = session.generate('1')
    setImmediate(() => engine.answer('a', [1]))
    await first.result
    const second = session.generate('2')
    setImmediate(() => engine.answer('b', [2]))
    for await (const _ of second);
    session.generate('3')
    expect(engine.messages.length).toBe(5)
  })

  it('throws SESSION_BUSY for a second turn while one runs, and the first goes on', async () => {
    const engine = new FakeEngine()
    const session = engine.session()
    const first = session.generate('1')
    expect(() => session.generate('2')).toThrow(expect.objectContaining({ code: 'SESSION_BUSY', retryable: true }))
    engine.answer('a', [1])
    expect((await first.result).text).toBe('a')
    session.generate('2')
  })

  it('keeps the partial answer of a cancelled turn, also one that was left by break', async () => {
    const engine = new FakeEngine()
    const session = engine.session()
    const generation = session.generate('1')
    engine.say('partial', [7])
    for await (const _ of generation) break
    expect(session.history.at(-1)).toEqual({ role: 'assistant', content: 'partial' })
    session.generate('2')
    expect(engine.messages[1]!.tokens).toEqual(Int32Array.of(7))
  })

  it('forgets a turn that was aborted or failed', async () => {
    const engine = new FakeEngine()
    const session = engine.session()
    const abort = new AbortController()
    const aborted = session.generate('1', { signal: abort.signal })
    engine.say('partial', [7])
    abort.abort('enough')
    await expect(aborted.result).rejects.toBe('enough')
    const failed = session.generate('2')
    engine.generation.fail({ code: 'CONTEXT_OVERFLOW', message: 'x', details: {} })
    await expect(failed.result).rejects.toMatchObject({ code: 'CONTEXT_OVERFLOW' })
    expect(session.history).toEqual([])
    const early = session.generate('3', { signal: AbortSignal.abort('early') })
    await expect(early.result).rejects.toBe('early')
    session.generate('4')
    expect(engine.messages.length).toBe(1)
  })

  it('a fork goes its own way from the same history; neither sees the other', async () => {
    const engine = new FakeEngine()
    const session = engine.session('s')
    const first = session.generate('1')
    expect(() => session.fork()).toThrow(expect.objectContaining({ code: 'SESSION_BUSY' }))
    engine.answer('a', [1])
    await first.result
    const fork = session.fork()
    const forked = fork.generate('2')
    expect(engine.messages.map((m) => m.content)).toEqual(['s', '1', 'a', '2'])
    expect(engine.messages[2]!.tokens).toEqual(Int32Array.of(1))
    engine.answer('b', [2])
    await forked.result
    expect(session.history.map((m) => m.content)).toEqual(['s', '1', 'a'])
    session.close()
    expect(fork.history.map((m) => m.content)).toEqual(['s', '1', 'a', '2', 'b'])
    expect(() => session.fork()).toThrow(expect.objectContaining({ code: 'SESSION_CLOSED' }))
  })

  it('undo forgets the last turn, never the system message', async () => {
    const engine = new FakeEngine()
    const session = engine.session('s')
    expect(session.undo()).toBe(false)
    for (const [question, answer] of [
      ['1', 'a'],
      ['2', 'b'],
    ] as const) {
      const turn = session.generate(question)
      expect(() => session.undo()).toThrow(expect.objectContaining({ code: 'SESSION_BUSY' }))
      engine.answer(answer, [1])
      await turn.result
    }
    expect(session.undo()).toBe(true)
    expect(session.history.map((m) => m.content)).toEqual(['s', '1', 'a'])
    expect(session.undo()).toBe(true)
    expect(session.undo()).toBe(false)
    expect(session.history.map((m) => m.content)).toEqual(['s'])
  })

  it('closing cancels the answer that runs; afterwards it throws SESSION_CLOSED', async () => {
    const engine = new FakeEngine()
    const session = engine.session()
    const generation = session.generate('1')
    session.close()
    session.close()
    expect((await generation.result).finishReason).toBe('cancelled')
    expect(() => session.generate('2')).toThrow(expect.objectContaining({ code: 'SESSION_CLOSED' }))
  })

  it('passes on what the engine throws, and is not busy afterwards', () => {
    const engine = new FakeEngine()
    const session = engine.session()
    engine.error = new Error('closed')
    expect(() => session.generate('1')).toThrow('closed')
    engine.error = undefined
    session.generate('1')
  })

  it('a turn of several messages counts, is dropped and is undone as one', async () => {
    const engine = new FakeEngine()
    const session = engine.session('s', 'dropOldest')
    const result = (id: string) => ({ role: 'tool', tool_call_id: id, content: id })
    for (const [asked, answer] of [
      ['1', 'a'],
      [[result('x'), result('y')], 'b'],
      [result('z'), 'c'],
    ] as const) {
      const turn = session.generate(asked)
      engine.answer(answer, [1])
      await turn.result
    }
    const texts = () => session.history.map(({ content }) => content).join()
    expect(texts()).toBe('s,1,a,x,y,b,z,c')
    session.generate('4')
    const without = [0, 1, 2, 3].map((turns) =>
      engine.turn
        .without(turns)
        .messages.map(({ content }) => content)
        .join(),
    )
    expect(engine.turn.droppable).toBe(3)
    expect(without).toEqual(['s,1,a,x,y,b,z,c,4', 's,x,y,b,z,c,4', 's,z,c,4', 's,4'])
    engine.turn.onDropped(1)
    engine.answer('d', [1])
    await engine.generation.result
    expect(texts()).toBe('s,x,y,b,z,c,4,d')
    const left = [true, true, true, false].map((undone) => {
      expect(session.undo()).toBe(undone)
      return texts()
    })
    expect(left).toEqual(['s,x,y,b,z,c', 's,x,y,b', 's', 's'])
  })

  it('a system message that a turn brings along belongs to the turn', async () => {
    const engine = new FakeEngine()
    const session = engine.session()
    const turn = session.generate([
      { role: 'system', content: 's' },
      { role: 'user', content: '1' },
    ])
    engine.answer('a', [1])
    await turn.result
    expect(session.undo()).toBe(true)
    expect(session.history).toEqual([])
  })

  it('an answer that was begun keeps its other keys, and its parts', async () => {
    const engine = new FakeEngine()
    const session = engine.session()
    const parts = ['Once', 'upon'].map((text) => ({ type: 'text' as const, text }))
    for (const content of ['Once', parts]) {
      const turn = session.generate(
        [
          { role: 'user', content: '1' },
          { role: 'assistant', content, name: 'n' },
        ],
        { continueFinalMessage: true },
      )
      expect(engine.turn.conversation.continueFinalMessage).toBe(true)
      engine.answer(' a', [1])
      await turn.result
    }
    expect(session.history.filter(({ role }) => role === 'assistant')).toEqual([
      { role: 'assistant', content: 'Once a', name: 'n' },
      { role: 'assistant', content: [parts[0], { type: 'text', text: 'upon a' }], name: 'n' },
    ])
    expect(session.history).toHaveLength(4)
  })

  it('an answer that was begun with reasoning goes on with both', async () => {
    const engine = new FakeEngine()
    const session = engine.session()
    const begun = { role: 'assistant', content: 'Once', reasoning_content: 'A tale' }
    const turn = session.generate(begun, { continueFinalMessage: true, reasoning: 'split' })
    engine.generation.part({ id: 1, text: '', tokens: [7], roles: [tokenRole.reasoning], reasoning: ', then.' })
    engine.answer(' upon', [1])
    await turn.result
    expect(session.history).toEqual([{ role: 'assistant', content: 'Once upon', reasoning_content: 'A tale, then.' }])
  })

  it("a turn's template options go before the session's, for this turn only", async () => {
    const engine = new FakeEngine()
    const session = engine.session('s', 'error', { templateOptions: { a: 1, b: 1 }, chatTemplate: 't' })
    const options = () => [engine.turn.conversation.templateOptions, engine.turn.conversation.chatTemplate]
    const turn = session.generate('1', { templateOptions: { b: 2, c: 2 } })
    expect(options()).toEqual([{ a: 1, b: 2, c: 2 }, 't'])
    engine.answer('a', [1])
    await turn.result
    session.fork().generate('2')
    expect(options()).toEqual([{ a: 1, b: 1 }, 't'])
  })

  it('rejects what is not a text, and unknown options', () => {
    const session = new FakeEngine().session()
    expect(() => session.generate(5 as never)).toThrow(
      expect.objectContaining({ details: expect.objectContaining({ option: 'message' }) }),
    )
    expect(() => session.generate('x', { prompt: 'y' } as never)).toThrow(
      expect.objectContaining({ details: expect.objectContaining({ option: 'prompt' }) }),
    )
  })

  describe("with overflow 'dropOldest'", () => {
    async function threeTurns(engine: FakeEngine, session: Session): Promise<void> {
      for (const text of ['1', '2', '3']) {
        const turn = session.generate(text)
        engine.answer(`answer ${text}`, [1])
        await turn.result
      }
    }
    const texts = (session: Session) => session.history.map((message) => message.content)

    it('history shows what remains when the turn counts: whole turns are gone, the system message stays', async () => {
      const engine = new FakeEngine()
      const session = engine.session('s', 'dropOldest')
      await threeTurns(engine, session)
      const fourth = session.generate('4')
      expect(engine.turn.droppable).toBe(3)
      engine.turn.onDropped(2)
      engine.answer('answer 4', [1])
      await fourth.result
      expect(texts(session)).toEqual(['s', '3', 'answer 3', '4', 'answer 4'])
    })

    it('a turn that fails costs nothing, and a fork drops by itself', async () => {
      const engine = new FakeEngine()
      const session = engine.session(undefined, 'dropOldest')
      await threeTurns(engine, session)
      const before = texts(session)
      const failed = session.generate('4')
      engine.turn.onDropped(2)
      engine.generation.fail({ code: 'ENGINE_FAILED', message: 'x', details: {} })
      await expect(failed.result).rejects.toMatchObject({ code: 'ENGINE_FAILED' })
      expect(texts(session)).toEqual(before)
      const fork = session.fork()
      const forked = fork.generate('4')
      expect(engine.turn.droppable).toBe(3)
      engine.turn.onDropped(3)
      engine.answer('answer 4', [1])
      await forked.result
      expect(texts(fork)).toEqual(['4', 'answer 4'])
      expect(texts(session)).toEqual(before)
    })

    it("nothing may be dropped with 'error'", async () => {
      const engine = new FakeEngine()
      const session = engine.session('s')
      await threeTurns(engine, session)
      session.generate('4')
      expect(engine.turn.droppable).toBe(0)
    })
  })
})

describe('dropping turns until the conversation fits', () => {
  /** Ten tokens a turn, and a last message of `last`. */
  const fit = (turns: number, contextTokens: number, maxTokens: number | undefined, last = 5) => {
    const tokenize = async (dropped: number) => new Int32Array(10 * (turns - dropped) + last)
    return dropOldestTurns({ turns, contextTokens, maxTokens, tokenize })
  }

  it('drops the fewest that leave room for maxTokens, or for a quarter of the context', async () => {
    for (let turns = 0; turns <= 12; turns++) {
      for (const maxTokens of [1, 7, 30, undefined]) {
        const room = maxTokens ?? 25
        const needed = Math.max(0, Math.ceil((10 * turns + 5 + room - 100) / 10))
        const { tokens, dropped } = await fit(turns, 100, maxTokens)
        expect([dropped, tokens.length]).toEqual([needed, 10 * (turns - needed) + 5])
      }
    }
  })

  it('leaves the last message alone when there is no room even then', async () => {
    expect(await fit(4, 100, 50, 80)).toMatchObject({ dropped: 4, tokens: { length: 80 } })
    expect(await fit(4, 100, 1000, 99)).toMatchObject({ dropped: 4, tokens: { length: 99 } })
    expect(await fit(4, 100, 10, 200)).toMatchObject({ dropped: 4, tokens: { length: 200 } })
  })
})
