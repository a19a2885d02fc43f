/**
 * What an answer is held to that must be a call: the prompt goes on with the marks that begin one, and what comes is JSON by a schema, the
 * tools' own for arguments. Marks may be control tokens, which no grammar of texts can ask for: so they are given, not drawn. Where
 * marks stand between a name and its arguments, and there are several tools to choose from, the model writes name and arguments as one
 * object, which every format's reader takes.
 */
import type { Plain } from '../base/plain-data.ts'
import type { CallSpec } from './call-format.ts'
import type { KnownFormat } from './formats.ts'
import type { ToolChoice } from './tool-call.ts'
import type { Toolbox } from './toolbox.ts'

export interface CallConstraint {
  /** What the prompt goes on with. */
  prefix: string
  begun: NonNullable<CallSpec['begun']>
  schema: { [keyword: string]: unknown }
}

/** Undefined: the model may do as it likes. */
export function constraint(
  { format }: KnownFormat,
  { tools }: Toolbox,
  choice: ToolChoice,
): CallConstraint | undefined {
  if (choice === 'auto' || choice === 'none') return undefined
  const wanted = [...tools.values()].filter(({ name }) => choice === 'required' || name === choice.name)
  const [only] = wanted
  if (wanted.length === 1 && format.force.named !== undefined) {
    const prefix = format.force.named.replace('{name}', () => only!.name)
    return { prefix, begun: { tool: only!.name }, schema: schemaOf(only!.parameters) }
  }
  const calls = wanted.map(({ name, parameters }, i) => ({
    type: 'object',
    // References within it are its own.
    properties: {
      name: { const: name },
      [format.force.key ?? 'arguments']: { $id: `urn:octavo:tool:${i}`, ...schemaOf(parameters) },
    },
    required: ['name', format.force.key ?? 'arguments'],
    additionalProperties: false,
  }))
  return { prefix: format.force.any, begun: {}, schema: calls.length === 1 ? calls[0]! : { anyOf: calls } }
}

/** Of an object, whatever else it says. */
const schemaOf = (parameters: Plain): { [keyword: string]: unknown } =>
  typeof parameters === 'object' && parameters !== null && !Array.isArray(parameters)
    ? { type: 'object', ...parameters }
    : { type: 'object' }
