/**
 * Answers with a form: the options `schema` and `grammar`, what is compiled of them (in the text worker, once for each text), and how
 * an answer is read back as a value.
 */
import { types } from 'node:util'
import type { CallSite } from '../base/call-site.ts'
import { bytesOf, type Piece } from '../base/control-bytes.ts'
import { OctavoError } from '../base/errors.ts'
import type { NativeGrammarSource, NativeMark } from '../base/native.ts'
import * as z from '../base/zod.ts'
import type { CallsSource } from '../grammar/calls.ts'
import type { CompiledGrammar, GrammarSource } from '../grammar/compile.ts'
import type { HeldCalls } from '../tools/constraint.ts'
import { isZod, jsonSchemaOf, type ZodLike } from '../tools/value-schema.ts'
import { type Compile, Programs } from './programs.ts'

/** A zod type of any copy and version of zod 4, or a JSON Schema: an object or a boolean. */
export type Schema = ZodLike | { [keyword: string]: unknown } | boolean

/** One of the ways to write a grammar down. */
export type GrammarOption =
  /** A regular expression of ECMAScript (as with the `u` flag, and no other) that matches the whole text. */
  | { regex: string | RegExp }
  /** One of these texts. */
  | { choice: readonly string[] }
  /** Rules in GBNF, of which `root` is to be matched: docs/typed-answers.md has the dialect. */
  | { ebnf: string }

const { isRegExp } = types
const grammarText = '{ regex } without the flags i, m, s and v, { choice } or { ebnf }'

export const structuredShape = {
  schema: z
    .custom<Schema>(
      (value) => typeof value === 'boolean' || (typeof value === 'object' && value !== null && !Array.isArray(value)),
      'a zod type or a JSON Schema',
    )
    .optional(),
  grammar: z
    .union(
      [
        z.strictObject({
          regex: z.custom<string | RegExp>(
            (value) => typeof value === 'string' || (isRegExp(value) && !/[imsv]/.test(value.flags)),
            'a string, or a RegExp without the flags i, m, s and v',
          ),
        }),
        z.strictObject({ choice: z.array(z.string()).min(1) }),
        z.strictObject({ ebnf: z.string().min(1) }),
      ],
      { error: grammarText },
    )
    .optional(),
}

interface Checked {
  value: { schema?: unknown; grammar?: unknown; ignoreEos: boolean; reasoning?: string | undefined }
  issues: z.core.$ZodRawIssue[]
}

export function checkStructured({ value, issues }: Checked): void {
  const { schema, grammar, ignoreEos, reasoning } = value
  const refuse = (path: string, message: string) => issues.push({ code: 'custom', message, path: [path], input: value })
  if (schema !== undefined && grammar !== undefined) refuse('grammar', 'either schema or grammar')
  else if ((schema ?? grammar) === undefined) return
  else if (ignoreEos) refuse('ignoreEos', 'false: an answer with a form ends where it is complete')
  else if (reasoning === 'split') refuse('reasoning', "'keep': an answer with a form begins at once")
}

/** How one request's answer is constrained and read. */
export interface Form {
  /** Waits for the grammar and then gives what was given. */
  after<T>(pending: T | Promise<T>): Promise<T>
  /** Of the compiled grammar, once `after` has resolved; undefined: there is none after all. */
  source(dropSpace: boolean | undefined, reasoning?: boolean): NativeGrammarSource | undefined
  /** The value of a complete text; throws OBJECT_INVALID. */
  read: ((text: string) => { object: unknown } | undefined) | undefined
}

/** The grammars of an engine. A tenant shares its own with nobody: how long a schema takes would tell who else uses it. */
export class Grammars {
  readonly #programs: Programs
  /** JSON Schemas of zod types. */
  readonly #texts = new WeakMap<object, string>()

  constructor(compile: Compile, mostWords?: number) {
    this.#programs = new Programs(compile, mostWords)
  }

  /** Undefined for an answer of any form. Throws INVALID_ARGUMENT for a schema that is no data. `calls`: what may be there instead. */
  form(
    { schema, grammar, tenant }: { schema?: Schema | undefined; grammar?: GrammarOption | undefined; tenant: string },
    site: CallSite,
    calls?: CallsSource,
  ): Form | undefined {
    if (schema === undefined && grammar === undefined) return undefined
    const source: GrammarSource =
      schema === undefined
        ? sourceOf(grammar!)
        : calls === undefined
          ? { kind: 'schema', text: this.#schemaText(schema, site) }
          : { ...calls, otherwise: this.#schemaText(schema, site) }
    return this.#form(source, tenant, schema === undefined ? undefined : (text) => read(text, schema))
  }

  /** Of an answer that is calls of tools and nothing else. */
  calls(source: GrammarSource, tenant: string): Form {
    return this.#form(source, tenant, undefined)
  }

  #form(source: GrammarSource, tenant: string, read: Form['read']): Form {
    let compiled: CompiledGrammar | undefined
    return {
      after: async (pending) => {
        const [result, program] = await Promise.all([pending, this.#programs.of(source, tenant)])
        compiled = program
        return result
      },
      source: (dropSpace = false) => ({ ...compiled!, key: `${compiled!.key} ${tenant}`, dropSpace }),
      read,
    }
  }

  /** Of an answer that is free but for its calls. Where a schema cannot be enforced, calls are free, too: they are checked all the same. */
  held({ marks, source }: HeldCalls, reasoning: { open: Piece[]; close: Piece[][] } | undefined, tenant: string): Form {
    const all: NativeMark[] = [
      ...marks.map((pieces) => ({ kind: 'begin' as const, bytes: bytesOf(pieces) })),
      ...(reasoning === undefined ? [] : [{ kind: 'open' as const, bytes: bytesOf(reasoning.open) }]),
      ...(reasoning?.close ?? []).map((pieces) => ({ kind: 'close' as const, bytes: bytesOf(pieces) })),
    ]
    const names = JSON.stringify([marks, reasoning, tenant])
    let compiled: CompiledGrammar | undefined
    return {
      after: async (pending) => {
        const program = this.#programs.of(source, tenant).catch(() => undefined)
        const [result, found] = await Promise.all([pending, program])
        compiled = found
        return result
      },
      source: (_, reasoning = false) =>
        compiled && {
          program: compiled.program,
          key: `${compiled.key} ${names}`,
          dropSpace: false,
          marks: all,
          reasoning,
        },
      read: undefined,
    }
  }

  #schemaText(schema: Schema, site: CallSite): string {
    const known = isZod(schema) ? this.#texts.get(schema) : undefined
    if (known !== undefined) return known
    try {
      const text: string | undefined = JSON.stringify(isZod(schema) ? jsonSchemaOf(schema) : schema)
      if (text === undefined) throw new Error('it is no data')
      if (isZod(schema)) this.#texts.set(schema, text)
      return text
    } catch (error) {
      const message = `Option schema: it has no JSON Schema: ${(error as Error).message}`
      throw site.error({ code: 'INVALID_ARGUMENT', message, details: { option: 'schema' } })
    }
  }
}

function sourceOf(grammar: GrammarOption): GrammarSource {
  if ('choice' in grammar) return { kind: 'choice', texts: [...grammar.choice] }
  if ('ebnf' in grammar) return { kind: 'ebnf', text: grammar.ebnf }
  return { kind: 'regex', text: typeof grammar.regex === 'string' ? grammar.regex : grammar.regex.source }
}

/** Undefined: a stop token of the caller's cut it short. */
function read(text: string, schema: Schema): { object: unknown } | undefined {
  let object: unknown
  try {
    object = JSON.parse(text)
  } catch {
    return undefined
  }
  if (!isZod(schema)) return { object }
  const refused = (issues: { message: string; path: string }[]) => {
    const [{ message, path }] = issues as [(typeof issues)[0]]
    const place = path === '' ? '' : ` at '${path}'`
    return new OctavoError('OBJECT_INVALID', `The schema refuses the answer${place}: ${message}`, { text, issues })
  }
  let checked: ReturnType<typeof schema.safeParse>
  try {
    checked = schema.safeParse(object)
  } catch (error) {
    // A transform that throws, or a check that would take its time.
    throw refused([{ message: (error as Error).message, path: '' }])
  }
  if (checked.success) return { object: checked.data }
  throw refused(checked.error!.issues.map(({ message, path }) => ({ message, path: path.map(String).join('.') })))
}
