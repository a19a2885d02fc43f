/**
 * Random conversations on the embedded model. A conversation is sessions that began as one: turns, forks, turns that are taken back,
 * sessions that go on from a file, in this process or in another one. What is seen of each turn is written down for check.ts.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ChatMessage, Generation, GenerationResult, LoadOptions, RenderedPrompt, Session } from 'octavo'
// The package's own entry is one bundle: what sent.ts watches is found only through the modules it is made of.
import { OctavoError } from '../../dist/base/errors.js'
import { Engine } from '../../dist/engine.js'
import {
  type Asked,
  ask,
  type Leaving,
  manner,
  type Next,
  type Opening,
  opening,
  randomOf,
  type Step,
  steps,
} from './generator.ts'
import { type Sent, sentFor } from './sent.ts'
import type { Shape } from './shapes.ts'
import type { Vocabulary } from './vocabularies.ts'

/** What a template is applied to. */
export interface Told {
  vocabulary: Vocabulary
  shape: Shape
  messages: ChatMessage[]
  tools: Opening['tools']
  templateOptions: Record<string, unknown>
  continues: boolean
}

export interface Turn {
  /** Conversation and step. */
  where: string
  manner: string
  told: Told
  shown: RenderedPrompt
  sent: Sent | undefined
  result: GenerationResult | undefined
  /** Of the same line of sessions: what was computed before. */
  before: Before[]
}

/** Prompt and answer of an earlier turn; `saved`: of which no more came out of a file than this prompt's beginning. */
export interface Before {
  sent: Sent
  saved: Told[]
}

export interface Talk {
  turns: Turn[]
  faults: string[]
  counts: Record<string, number>
}

type Place = 'main' | 'small' | 'elsewhere'

/** Engines of one vocabulary; the first shape is their own template, others come with the session. */
export class Rooms {
  readonly vocabulary: Vocabulary
  readonly own: Shape
  readonly #engines = new Map<Place, Promise<Engine>>()
  readonly folder = mkdtempSync(join(tmpdir(), 'octavo-conversations-'))

  constructor(vocabulary: Vocabulary, own: Shape) {
    this.vocabulary = vocabulary
    this.own = own
  }

  engine(place: Place): Promise<Engine> {
    const options: Record<Place, Partial<LoadOptions>> = {
      main: {},
      small: { contextTokens: 300 },
      elsewhere: { isolation: 'process' },
    }
    const model = this.vocabulary.variant.path
    const common = { model, chatTemplate: this.own.source, threads: 1, kv: { memory: '64MiB' } } as const
    const engine = this.#engines.get(place) ?? Engine.load({ ...common, ...options[place] })
    this.#engines.set(place, engine)
    return engine
  }

  async close(): Promise<void> {
    for (const engine of this.#engines.values()) await (await engine).close()
    rmSync(this.folder, { recursive: true, force: true })
  }
}

interface Line {
  session: Session
  before: Before[]
}

export class Conversation {
  readonly #rooms: Rooms
  readonly #shape: Shape
  readonly #number: number
  readonly #next: Next
  readonly #opening: Opening
  readonly #talk: Talk
  readonly #lines: Line[] = []
  #at = 0

  constructor(rooms: Rooms, shape: Shape, number: number, talk: Talk) {
    this.#rooms = rooms
    this.#shape = shape
    this.#number = number
    this.#next = randomOf(number)
    this.#opening = opening(this.#next)
    this.#talk = talk
  }

  async run(): Promise<void> {
    const { system, tools, templateOptions, overflow } = this.#opening
    const chatTemplate = this.#shape === this.#rooms.own ? undefined : this.#shape.source
    const engine = await this.#rooms.engine(overflow === 'dropOldest' ? 'small' : 'main')
    const session = engine.session({ system, tools, templateOptions, overflow, chatTemplate })
    this.#lines.push({ session, before: [] })
    for (const step of steps(this.#next)) {
      const line = this.#lines[this.#next(this.#lines.length)]!
      this.#count(step)
      await this.#do(step, line)
      this.#at++
    }
    for (const line of this.#lines) line.session.close()
  }

  async #do(step: Step, line: Line): Promise<void> {
    if (step === 'turn') return this.#turn(line)
    if (step === 'undo') return this.#undo(line.session)
    if (step === 'fork') {
      this.#lines.push({ session: line.session.fork(), before: [...line.before] })
      return
    }
    const path = join(this.#rooms.folder, `${this.#number}-${this.#at}`)
    await line.session.save(path)
    const place = this.#opening.overflow === 'dropOldest' ? 'small' : step === 'restore' ? 'main' : 'elsewhere'
    const restored = await (await this.#rooms.engine(place)).restoreSession(path)
    this.#equal('the history that was restored', restored.history, line.session.history)
    const saved = this.#told([...line.session.history, { role: 'user', content: '.' }], {}, false)
    line.session.close()
    line.session = restored
    line.before = line.before.map(({ sent, saved: others }) => ({ sent, saved: [...others, saved] }))
    rmSync(path)
  }

  #undo(session: Session): void {
    const before = session.history
    if (session.undo()) this.#equal('what undo left', session.history, before.slice(0, session.history.length))
    else this.#equal('nothing to undo', before.length, this.#opening.system === undefined ? 0 : 1)
  }

  async #turn(line: Line): Promise<void> {
    const asked = ask(this.#next)
    const how = manner(this.#next, this.#rooms.vocabulary)
    const { session } = line
    const before = session.history
    const options = { ...how.options, ...(asked.continues && { continueFinalMessage: true }) }
    const shown = await session.renderPrompt(asked.message, options)
    const controller = new AbortController()
    const generation = session.generate(asked.message, { ...options, signal: controller.signal })
    const { result, end } = await ended(generation, how.leaving, controller)
    const sent = sentFor(generation)
    this.#count(end)
    const told = this.#history(session, before, asked, result)
    const where = `conversation ${this.#number}, step ${this.#at} (${this.#shape.name}, ${this.#rooms.vocabulary.name}, ${how.name}, ${end})`
    // Nobody was told anything of a turn that ended before it was sent, and no turn was left out for it.
    if (told !== undefined && (sent !== undefined || this.#opening.overflow === 'error')) {
      const turn = { where, manner: how.name, told: this.#told(told, options.templateOptions ?? {}, asked.continues) }
      this.#talk.turns.push({ ...turn, shown, sent, result, before: [...line.before] })
    }
    if (sent !== undefined && sent.generated.length > 0) line.before.push({ sent, saved: [] })
  }

  #told(messages: ChatMessage[], templateOptions: Record<string, unknown>, continues: boolean): Told {
    const { tools, templateOptions: all } = this.#opening
    const options = { ...all, ...templateOptions }
    return {
      vocabulary: this.#rooms.vocabulary,
      shape: this.#shape,
      messages,
      tools,
      templateOptions: options,
      continues,
    }
  }

  /** What history says that the model was told; it is checked against what was asked and answered. */
  #history(
    session: Session,
    before: ChatMessage[],
    asked: Asked,
    result?: GenerationResult,
  ): ChatMessage[] | undefined {
    const after = session.history
    if (result === undefined) {
      this.#equal('history after a turn that failed', after, before)
      // Turns may have been left out that are still there.
      return this.#opening.overflow === 'error' ? [...before, ...asked.messages] : undefined
    }
    const answer = after.at(-1)!
    const asSaid = asked.continues ? asked.messages.slice(0, -1) : asked.messages
    const begun = asked.continues ? (asked.messages.at(-1)!.content as string) : ''
    this.#equal('the answer in the history', answer.content, begun + result.text)
    this.#equal('the reasoning in the history', answer.reasoning_content, result.reasoning)
    const kept = after.slice(0, -1 - asSaid.length)
    const fixed = this.#opening.system === undefined ? 0 : 1
    const dropped = before.length - kept.length
    this.#equal('what history kept', kept, [...before.slice(0, fixed), ...before.slice(fixed + dropped)])
    if (this.#opening.overflow === 'error') this.#equal('turns dropped', dropped, 0)
    else if (dropped > 0) this.#count('dropped turns')
    this.#equal('what was asked', after.slice(kept.length, -1), asSaid)
    return [...kept, ...asked.messages]
  }

  #count(what: string): void {
    this.#talk.counts[what] = (this.#talk.counts[what] ?? 0) + 1
  }

  #equal(what: string, found: unknown, expected: unknown): void {
    const [one, other] = [JSON.stringify(found), JSON.stringify(expected)]
    if (one === other) return
    this.#talk.faults.push(`conversation ${this.#number}, step ${this.#at}: ${what}: ${one}, expected ${other}`)
  }
}

const gaveUp = new Error('aborted by its reader')

async function ended(
  generation: Generation,
  leaving: Leaving,
  controller: AbortController,
): Promise<{ result?: GenerationResult; end: string }> {
  try {
    if (leaving !== undefined) await leave(generation, leaving, controller)
    const result = await generation.result
    const stop = result.stop?.text !== undefined ? ' text' : result.stop?.token !== undefined ? ' token' : ''
    const cut = result.text.endsWith('\ufffd') ? ', inside a character' : ''
    return { result, end: `${result.finishReason}${stop}${cut}${result.reasoning ? ', with reasoning' : ''}` }
  } catch (error) {
    if (error === gaveUp) return { end: 'aborted' }
    if (error instanceof OctavoError && error.code === 'CONTEXT_OVERFLOW') return { end: error.code }
    throw error
  }
}

async function leave(generation: Generation, { how, afterParts }: NonNullable<Leaving>, controller: AbortController) {
  if (afterParts === 0) return generation.cancel()
  let parts = 0
  for await (const _ of generation) {
    if (++parts < afterParts) continue
    if (how === 'break') break
    if (how === 'abort') controller.abort(gaveUp)
    else generation.cancel()
  }
}
