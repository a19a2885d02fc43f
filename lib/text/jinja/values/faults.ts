/** What ends a template: a fault of its own (as Jinja2 would raise), or a limit. Both know the line and the construct. */

/** A tag of the source: `{{ message.content }}` in line 7. */
export interface Place {
  line: number
  construct: string
}

export class TemplateFault extends Error {
  place: Place | undefined
  /** `place` when it is known already; else the interpreter adds that of the tag it is at. */
  constructor(reason: string, place?: Place) {
    super(reason)
    this.place = place
  }
}

export class TemplateLimit extends Error {
  readonly limit: string
  readonly value: number
  place: Place | undefined

  constructor(limit: string, value: number) {
    super(`${limit} ${value}`)
    this.limit = limit
    this.value = value
  }
}

export function fail(reason: string): never {
  throw new TemplateFault(reason)
}

/** A fault in a sentence, and its parts for `details`. */
export function describeFault(error: unknown): { message: string; details: Record<string, unknown> } {
  const known = error instanceof TemplateFault || error instanceof TemplateLimit
  const place = known ? error.place : undefined
  const where = place ? ` in line ${place.line}, ${place.construct}` : ''
  if (error instanceof TemplateLimit) {
    const message = `The chat template went over its limit${where}: ${error.limit} ${error.value}.`
    return { message, details: { limit: error.limit, ...place } }
  }
  const reason = error instanceof Error ? error.message : String(error)
  return { message: `The chat template failed${where}: ${reason}`, details: { reason, ...place } }
}
