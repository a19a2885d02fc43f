/**
 * The tools of a conversation, checked: what the template is told of them (plain data, in the shape of OpenAI's API), how the arguments
 * of a call are checked, and what runs it.
 */
import { checked, checkName, each, isObject, Mismatch, type Plain, plainCopy } from '../base/plain-data.ts'
import type { InvalidCall, ToolContext } from './tool-call.ts'
import { type Checked, checkOf, isZod, jsonSchemaOf } from './value-schema.ts'

type Execute = (args: unknown, context: ToolContext) => unknown

interface BoxedTool {
  name: string
  /** JSON Schema. */
  parameters: Plain
  /** Undefined: of the arguments nothing is known but that they are an object. */
  check: ((value: unknown) => Checked) | undefined
  execute: Execute | undefined
}

/** What a call's arguments came to. */
export type CallCheck = { value: Record<string, unknown> } | Pick<InvalidCall, 'reason' | 'message'>

export class Toolbox {
  /** As templates get them. */
  readonly list: readonly Plain[]
  readonly tools: ReadonlyMap<string, BoxedTool>

  constructor(entries: readonly { plain: Plain; tool: BoxedTool }[]) {
    this.list = entries.map(({ plain }) => plain)
    this.tools = new Map(entries.map(({ tool }) => [tool.name, tool]))
  }

  get names(): string[] {
    return [...this.tools.keys()]
  }

  /** Some of them can be run. */
  get runs(): boolean {
    return [...this.tools.values()].some(({ execute }) => execute !== undefined)
  }

  /** Whether a parameter is a text and nothing else. */
  isText(name: string, key: string): boolean {
    const { properties } = (this.tools.get(name)?.parameters ?? {}) as { properties?: { [key: string]: Plain } }
    const property = properties !== undefined && Object.hasOwn(properties, key) ? properties[key] : undefined
    return (property as { type?: unknown } | undefined)?.type === 'string'
  }

  check(name: string, argumentsText: string): CallCheck {
    const tool = this.tools.get(name)
    if (tool === undefined)
      return {
        reason: 'unknown',
        message: `There is no tool ${JSON.stringify(name)}; there are ${this.names.join(', ')}.`,
      }
    const args = objectIn(argumentsText)
    if (args === undefined) return { reason: 'malformed', message: 'The arguments are no JSON object.' }
    const { check } = tool
    if (check === undefined) return { value: args }
    try {
      const result = check(args)
      if ('value' in result) return { value: result.value as Record<string, unknown> }
      return { reason: 'arguments', message: `The arguments do not fit the parameters of ${name}: ${result.wrong}` }
    } catch (error) {
      // A check of the caller's own.
      return { reason: 'arguments', message: `The arguments could not be checked: ${(error as Error)?.message}` }
    }
  }
}

function objectIn(json: string): Record<string, unknown> | undefined {
  // A call without arguments has none.
  if (json.trim() === '') return {}
  try {
    const value: unknown = JSON.parse(json)
    return isObject(value) ? (value as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}

/** Checks of JSON Schemas, by the object that a caller gave: one is given again and again. */
const known = new WeakMap<object, BoxedTool['check'] | { error: Error }>()

function checkFor(parameters: unknown, hasExecute: boolean, at: PropertyKey[]): BoxedTool['check'] {
  if (typeof parameters !== 'object' || parameters === null) return undefined
  let check = known.get(parameters)
  if (check === undefined) {
    try {
      check = checkOf(isZod(parameters) ? parameters : plainCopy(parameters))
    } catch (error) {
      check = { error: error as Error }
    }
    known.set(parameters, check)
  }
  if (typeof check === 'function') return check
  // What is run is checked; calls that the caller looks at himself need not be.
  if (hasExecute) throw new Mismatch(at, `a schema that calls can be checked by (${check?.error.message})`)
  return undefined
}

/** Of a tool that takes nothing. */
const noParameters = { type: 'object', properties: {}, additionalProperties: false }

const toolText = 'a tool: { type: "function", function: { name, description, parameters } }'

function checkTool(value: unknown, at: PropertyKey[]): { plain: Plain; tool: BoxedTool } {
  if (!isObject(value)) throw new Mismatch(at, toolText)
  const given = value as { type?: unknown; function?: unknown }
  if ((given.type ?? 'function') !== 'function')
    throw new Mismatch([...at, 'type'], '"function": there are no other tools')
  const isBare = given.function === undefined
  const inner = isBare ? at : [...at, 'function']
  const about = (isBare ? given : given.function) as { parameters?: unknown; execute?: unknown }
  checkName(about, inner)
  const { parameters, execute, ...rest } = about
  if (execute !== undefined && typeof execute !== 'function') throw new Mismatch([...inner, 'execute'], 'a function')
  const schema = isZod(parameters) ? jsonOf(parameters, [...inner, 'parameters']) : parameters
  const plain = plainCopy(schema === undefined ? rest : { ...rest, parameters: schema }, inner) as {
    [key: string]: Plain
  }
  const { type: _, ...bare } = plain
  const outer = isBare ? {} : (plainCopy({ ...given, function: undefined }, at) as object)
  const tool: BoxedTool = {
    name: plain.name as string,
    parameters: plain.parameters ?? noParameters,
    check: checkFor(parameters, execute !== undefined, [...inner, 'parameters']),
    execute: (execute as Execute | undefined)?.bind(about),
  }
  return { plain: { type: 'function', function: isBare ? bare : plain, ...outer }, tool }
}

function jsonOf(parameters: Parameters<typeof jsonSchemaOf>[0], at: PropertyKey[]): unknown {
  try {
    const { $schema: _, ...schema } = jsonSchemaOf(parameters)
    return schema
  } catch (error) {
    throw new Mismatch(at, `a zod type that has a JSON Schema (${(error as Error).message})`)
  }
}

const toolsText = 'an array of tools, or an object of tools by their names'

export const toolsSchema = checked(toolsText, (value): Toolbox => {
  if (value instanceof Toolbox) return value
  const isArray = Array.isArray(value)
  if (!isArray && !isObject(value)) throw new Mismatch([], toolsText)
  const entries = isArray
    ? each(toolsText, checkTool)(value)
    : Object.entries(value as object).map(([name, tool]) => checkNamed(name, tool))
  const names = entries.map(({ tool }) => tool.name)
  const twice = names.findIndex((name, i) => names.indexOf(name) < i)
  if (twice >= 0) throw new Mismatch([twice, 'name'], 'a name that no other tool has')
  return new Toolbox(entries)
})

const ownKeys = ['description', 'parameters', 'execute']

function checkNamed(name: string, value: unknown): { plain: Plain; tool: BoxedTool } {
  if (!isObject(value)) throw new Mismatch([name], 'a tool: { description, parameters, execute }')
  if (name === '') throw new Mismatch([name], 'a tool with a name')
  const unknown = Object.keys(value).find((key) => !ownKeys.includes(key))
  if (unknown !== undefined) throw new Mismatch([name, unknown], `no such option; there are ${ownKeys.join(', ')}`)
  const { parameters = noParameters, ...rest } = value as { parameters?: unknown }
  return checkTool({ ...rest, parameters, name }, [name])
}
