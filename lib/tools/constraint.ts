/**
 * What the calls of an answer are held to: JSON by a schema, the tools' own for arguments.
 *
 * An answer that must be a call begins with one: the prompt goes on with the marks that begin it, and the answer is calls and nothing else.
 * Where marks stand between a name and its arguments, and there are several tools to choose from, the model writes name and arguments
 * as one object, which every format's reader takes. Any other answer is free until the marks of a call came, and again behind it.
 */
import type { Piece } from '../base/control-bytes.ts'
import type { Plain } from '../base/plain-data.ts'
import type { CallsSource } from '../grammar/calls.ts'
import type { CallSpec } from './call-format.ts'
import type { KnownFormat } from './formats.ts'
import type { ToolChoice } from './tool-call.ts'
import type { Toolbox } from './toolbox.ts'
import { isXmlName, marks as xmlMarks } from './xml-call.ts'

export interface CallConstraint {
  /** What the prompt goes on with. */
  prefix: string
  begun: NonNullable<CallSpec['begun']>
  source: CallsSource
}

/** Of an answer that must be a call; undefined: it need not be one. */
export function constraint(
  { format, control }: KnownFormat,
  { tools }: Toolbox,
  choice: ToolChoice,
): CallConstraint | undefined {
  if (choice === 'auto' || choice === 'none') return undefined
  const wanted = [...tools.values()].filter(({ name }) => choice === 'required' || name === choice.name)
  const [only] = wanted
  const { any, named, key, between = '' } = format.force
  if (wanted.length === 1 && named !== undefined) {
    const calls = [{ before: [], schema: JSON.stringify(schemaOf(only!.parameters)) }]
    const prefix = named.replace('{name}', () => only!.name)
    return {
      prefix,
      begun: { tool: only!.name },
      source: { kind: 'calls', first: [], calls, between: [], free: false },
    }
  }
  const calls = wanted.map(({ name, parameters }) => ({ before: [], schema: callSchema(name, parameters, key) }))
  const more = choice === 'required' ? pieces(between, control) : []
  return { prefix: any, begun: {}, source: { kind: 'calls', first: [], calls, between: more, free: false } }
}

/** What holds from marks on. */
export interface HeldCalls {
  /** Any of them. */
  marks: Piece[][]
  source: CallsSource
}

/** Of an answer that may call or not; undefined: its calls begin with nothing that is certain, or a tool's parameters are no list. */
export function heldCalls({ format, control }: KnownFormat, toolbox: Toolbox): HeldCalls | undefined {
  const { body, open, prefix, force } = format
  const list = [...toolbox.tools.values()]
  if (open.length === 0 || list.length === 0) return undefined
  const marks = open.map((text) => pieces(text + prefix, control))
  if (body === 'xml') {
    const calls = list.map((tool) => xmlCall(tool.name, tool.parameters, (key) => toolbox.isText(tool.name, key)))
    return calls.includes(undefined)
      ? undefined
      : { marks, source: { kind: 'calls', first: [], calls: calls as XmlCall[], between: [], free: false } }
  }
  if (body === 'json' || force.named === undefined) {
    const calls = list.map(({ name, parameters }) => ({ before: [], schema: callSchema(name, parameters, force.key) }))
    return { marks, source: { kind: 'calls', first: [], calls, between: [], free: true } }
  }
  const behind = force.named.split('{name}')[1]!
  const calls = list.map(({ name, parameters }) => ({
    before: pieces(name + behind, control),
    schema: JSON.stringify(schemaOf(parameters)),
  }))
  return { marks, source: { kind: 'calls', first: [], calls, between: [], free: false } }
}

/** Of an answer that has another form where it calls nothing: a call and its marks. */
export function wholeCalls({ format, control }: KnownFormat, { tools }: Toolbox): CallsSource {
  const { any, named, key, between = '' } = format.force
  const list = [...tools.values()]
  if (named !== undefined) {
    const calls = list.map(({ name, parameters }) => ({
      before: pieces(
        named.replace('{name}', () => name),
        control,
      ),
      schema: JSON.stringify(schemaOf(parameters)),
    }))
    return { kind: 'calls', first: [], calls, between: [], free: false }
  }
  const calls = list.map(({ name, parameters }) => ({ before: [], schema: callSchema(name, parameters, key) }))
  return { kind: 'calls', first: pieces(any, control), calls, between: pieces(between, control), free: false }
}

/** A text in which names of control tokens are such. */
export function pieces(text: string, control: readonly [name: string, token: number][]): Piece[] {
  const names = control.toSorted(([a], [b]) => b.length - a.length)
  const out: Piece[] = []
  let plain = ''
  for (let i = 0; i < text.length; ) {
    const found = names.find(([name]) => name !== '' && text.startsWith(name, i))
    if (found === undefined) plain += text[i++]
    else {
      if (plain !== '') out.push(plain)
      plain = ''
      out.push(found[1])
      i += found[0].length
    }
  }
  return plain === '' ? out : [...out, plain]
}

type XmlCall = CallsSource['calls'][number]

/** What a list of parameters may say of itself, beside the parameters. */
const listKeywords = new Set([
  ...['type', 'properties', 'required', 'additionalProperties', 'title', 'description'],
  ...['$schema', '$id', '$comment', '$defs', 'definitions'],
])

/** A call of which each argument stands on lines of its own (xml-call.ts reads it); undefined: they are no list of parameters. */
function xmlCall(name: string, parameters: Plain, isText: (key: string) => boolean): XmlCall | undefined {
  const schema = schemaOf(parameters)
  const { properties, required = [] } = schema as { properties?: object; required?: unknown }
  if (!Object.keys(schema).every((keyword) => listKeywords.has(keyword)) || schema.type !== 'object') return undefined
  if (typeof properties !== 'object' || properties === null || !Array.isArray(required)) return undefined
  const keys = Object.keys(properties)
  if (!required.every((key) => keys.includes(key)) || ![name, ...keys].every(isXmlName)) return undefined
  const list = keys.map((key) => ({
    name: key,
    before: `${xmlMarks.parameter}${key}>\n`,
    required: required.includes(key),
    isText: isText(key),
  }))
  const fields = { list, end: `\n${xmlMarks.value}\n`, after: [xmlMarks.end] }
  return { before: [`\n${xmlMarks.function}${name}>\n`], schema: JSON.stringify(schema), fields }
}

/** Of a name and arguments in one object. */
function callSchema(name: string, parameters: Plain, key = 'arguments'): string {
  return JSON.stringify({
    type: 'object',
    // References within it are its own.
    properties: { name: { const: name }, [key]: { $id: 'urn:octavo:tool', ...schemaOf(parameters) } },
    required: ['name', key],
    additionalProperties: false,
  })
}

/** Of an object, whatever else it says. */
const schemaOf = (parameters: Plain): { [keyword: string]: unknown } =>
  typeof parameters === 'object' && parameters !== null && !Array.isArray(parameters)
    ? { type: 'object', ...parameters }
    : { type: 'object' }
