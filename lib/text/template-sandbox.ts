/**
 * A chat template, which is a program out of a model file, compiled: Jinja2 as transformers sets it up (lib/text/jinja/). It reaches
 * nothing but its variables and the functions of jinja/globals.ts; what it may use is in jinja/limits.ts.
 */
import { takesParts } from './jinja/content-format.ts'
import { makeGlobals } from './jinja/library/globals.ts'
import { parseTemplate } from './jinja/parser.ts'
import { JinjaProgram, withPlaces } from './jinja/program.ts'
import { toValue } from './jinja/values/convert.ts'
import { describeFault, TemplateFault, TemplateLimit } from './jinja/values/faults.ts'
import { openAccount } from './jinja/values/limits.ts'
import { raw, type Str } from './jinja/values/text.ts'
import type { Value } from './jinja/values/values.ts'

export class TemplateProgram {
  readonly #program: JinjaProgram
  /** Whether it reads a message's content as a list of parts, too. */
  readonly takesParts: boolean

  /** Throws a TemplateFault or a TemplateLimit that says where. */
  constructor(source: string) {
    openAccount()
    const template = withPlaces(() => parseTemplate(source))
    this.#program = new JinjaProgram(template)
    this.takesParts = takesParts(template)
  }

  /** `now` is what strftime_now() tells; `variables` makes the values, so that it counts against the limits as well. */
  run(variables: () => Map<string, Value>, now: Date): Str {
    return this.#program.run(() => new Map([...makeGlobals(now), ...variables()]))
  }

  /** The text alone, of plain data that nobody marked. */
  render(variables: Record<string, unknown>, now: Date): string {
    const values = () =>
      new Map(Object.entries(variables).map(([name, value]) => [name, toValue(value, (text) => text)] as const))
    return raw(this.run(values, now))
  }
}

/** Why a template is none: the message and what is in its details; undefined when it compiles. */
export function templateFault(source: string): { message: string; details: Record<string, unknown> } | undefined {
  try {
    new TemplateProgram(source)
    return undefined
  } catch (error) {
    if (error instanceof TemplateFault || error instanceof TemplateLimit) return describeFault(error)
    throw error
  }
}
