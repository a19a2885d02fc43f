/**
 * Templates that requests bring along, each in a worker of its own (chat-template.ts), the last ones used kept. When all places are taken
 * by templates that run, a new one waits for the first to be done: that is as long as a deadline at most.
 */
import { OctavoError } from '../base/errors.ts'
import { ChatTemplate, type ChatTemplateOptions } from './chat-template.ts'
import type { ChatRequest, RenderedChat } from './template-render.ts'

/** A worker takes some 10 MB. */
const mostKept = 4

export class TemplateShelf {
  readonly #options: Omit<ChatTemplateOptions, 'source'>
  /** By source; the least recently used first. */
  readonly #kept = new Map<string, ChatTemplate>()
  #closed = false

  constructor(options: Omit<ChatTemplateOptions, 'source'>) {
    this.#options = options
  }

  async render(source: string, request: ChatRequest): Promise<RenderedChat> {
    for (;;) {
      if (this.#closed) throw new OctavoError('ENGINE_CLOSED', 'The engine was closed.')
      const template = this.#take(source)
      if (template) return template.render(request)
      await Promise.race(Array.from(this.#kept.values(), (kept) => kept.settled()))
    }
  }

  async close(): Promise<void> {
    this.#closed = true
    await Promise.all(Array.from(this.#kept.values(), (kept) => kept.close()))
  }

  #take(source: string): ChatTemplate | undefined {
    const known = this.#kept.get(source)
    if (!known && this.#kept.size >= mostKept && !this.#dropIdle()) return undefined
    const template = known ?? new ChatTemplate({ ...this.#options, source })
    this.#kept.delete(source)
    this.#kept.set(source, template)
    return template
  }

  #dropIdle(): boolean {
    for (const [source, template] of this.#kept) {
      if (!template.isIdle) continue
      this.#kept.delete(source)
      void template.close()
      return true
    }
    return false
  }
}
