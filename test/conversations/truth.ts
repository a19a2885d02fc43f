/**
 * What a template makes of messages, by Jinja2. And where in it control tokens may stand: there where they are still found when every
 * name of one in the messages is spelled differently, character for character. (A template that looks for the marks of reasoning in an
 * answer finds them; what it looks for it does not show.)
 */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { ChatMessage, Engine, Tool } from 'octavo'
import type { Told } from './talk.ts'
import { controlCharacter, type Vocabulary } from './vocabularies.ts'

type Plain = string | number | boolean | null | undefined | Plain[] | { [key: string]: Plain }
type Message = { role: string; content: Plain; [key: string]: Plain }

export interface Job {
  source: string
  vars: Record<string, unknown>
}

/** A renderer of templates; the texts come in the order of the jobs. */
export type Render = (jobs: readonly Job[]) => Promise<({ text: string } | { error: string })[]>

const script = fileURLToPath(new URL('../scripts/jinja_render.py', import.meta.url))

/** Jinja2 3.1.6, or why it cannot be used. */
export function jinja2(python = 'python3'): Render | string {
  const { status } = spawnSync(python, ['-c', 'import jinja2; assert jinja2.__version__ == "3.1.6"'])
  if (status !== 0) return `${python} has no jinja2 3.1.6`
  return async (jobs) => {
    const options = { input: JSON.stringify(jobs), maxBuffer: 2 ** 31, encoding: 'utf8' } as const
    const { status, stdout, stderr } = spawnSync(python, [script], options)
    if (status !== 0) throw new Error(stderr)
    return JSON.parse(stdout)
  }
}

/** Where there is no Jinja2: the engine itself, which is told the history and knows of no session. */
export const byEngine =
  (engine: Engine): Render =>
  async (jobs) => {
    const texts: { text: string }[] = []
    for (const { source, vars } of jobs) {
      const { messages, tools, documents: _, add_generation_prompt, ...templateOptions } = vars as unknown as EngineVars
      const given = { messages, templateOptions, ...(tools && { tools }) }
      texts.push(
        await engine.renderPrompt({ ...given, chatTemplate: source, addGenerationPrompt: add_generation_prompt }),
      )
    }
    return texts
  }

interface EngineVars {
  messages: ChatMessage[]
  tools: Tool[] | null
  documents: null
  add_generation_prompt: boolean
  [option: string]: unknown
}

export interface Truth {
  text: string
  /** As bytes, control tokens as their characters. */
  bytes: Buffer
}

/** In one run of the renderer. */
export async function truths(told: readonly Told[], render: Render): Promise<(Truth | { error: string })[]> {
  const rendered = await render(
    told.flatMap((each) => [job(each, (text) => text), job(each, hidingNames(each.vocabulary))]),
  )
  return told.map((each, i) => {
    const [plain, hidden] = [rendered[2 * i]!, rendered[2 * i + 1]!]
    if ('error' in plain) return plain
    if ('error' in hidden) throw new Error(`without names of control tokens: ${hidden.error}`)
    const [text, other] = each.continues
      ? [opened(plain.text, each), opened(hidden.text, each)]
      : [plain.text, hidden.text]
    if (text.length !== other.length) throw new Error(`not the same length: ${JSON.stringify([text, other])}`)
    return { text, bytes: Buffer.from(withControls(text, other, each.vocabulary)) }
  })
}

/** Up to the end of the last message, which is the assistant's. */
function opened(text: string, { messages }: Told): string {
  const content = messages.at(-1)!.content as string
  const at = text.lastIndexOf(content.trim())
  const whole = text.startsWith(content.trimStart(), at)
  return text.slice(0, at + (whole ? content.trimStart() : content.trim()).length)
}

function withControls(text: string, hidden: string, { control, prefixSpace, addBos, bosId }: Vocabulary): string {
  const pattern = new RegExp(
    [...control.keys()]
      .sort((a, b) => b.length - a.length)
      .map(escaped)
      .join('|'),
    'g',
  )
  let written = ''
  let end = 0
  const stretch = (to: number) => {
    if (end < to) written += `${prefixSpace ? ' ' : ''}${text.slice(end, to)}`
  }
  for (const { 0: name, index } of hidden.matchAll(pattern)) {
    stretch(index)
    written += controlCharacter(control.get(name)!)
    end = index + name.length
  }
  stretch(text.length)
  const bos = controlCharacter(bosId)
  return addBos && !written.startsWith(bos) ? bos + written : written
}

/** Half a character is U+FFFD. */
const wellFormed = (text: string) => Buffer.from(text).toString()
const escaped = (name: string) => name.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&')

type Spell = (text: string, isSplit: boolean) => string

const hidingNames = ({ control }: Vocabulary): Spell => {
  const names = [...control.keys()].sort((a, b) => b.length - a.length)
  const hide = (text: string) =>
    names.reduce(
      (left, name) =>
        left.replaceAll(
          name,
          name.replace(/[a-z](?=[^a-z]*$)/i, (letter) => (letter === 'q' ? 'z' : 'q')),
        ),
      text,
    )
  return (text, isSplit) => {
    const end = isSplit ? text.lastIndexOf('</think>') : -1
    if (end < 0) return hide(text)
    const marks = text.slice(0, end).split(/(<\/?think>)/)
    const before = marks.map((part, i) => (i % 2 === 1 ? part : hide(part))).join('')
    return `${before}</think>${hide(text.slice(end + '</think>'.length))}`
  }
}

function job({ vocabulary, shape, messages, tools, templateOptions, continues }: Told, spell: Spell): Job {
  const all = (value: Plain, isSplit = false): Plain => {
    if (typeof value === 'string') return spell(wellFormed(value), isSplit)
    if (Array.isArray(value)) return value.map((item) => all(item, isSplit))
    if (typeof value !== 'object' || value === null) return value
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, all(item, isSplit)]))
  }
  const message = (given: Message) => {
    const { role, content, ...rest } = shaped(given, shape)
    const plain = typeof rest.reasoning_content !== 'string'
    const isSplit = role === 'assistant' && (shape.splits === 'answers' || (shape.splits === 'plain answers' && plain))
    return { role, content: all(content, isSplit), ...(all(rest) as object) }
  }
  const asOpenAi = tools?.map((tool) => ('function' in tool ? tool : { type: 'function', function: tool }))
  return {
    source: shape.source,
    vars: {
      ...vocabulary.named,
      ...(all(templateOptions as Plain) as object),
      messages: (messages as Message[]).map(message),
      tools: all((asOpenAi ?? null) as Plain),
      documents: null,
      add_generation_prompt: !continues,
    },
  }
}

/** As docs/chat.md says that templates get messages. */
function shaped({ role, content, ...rest }: Message, { parts, developer }: Told['shape']): Message {
  const texts =
    Array.isArray(content) && !parts ? content.map((part) => (part as { text: string }).text).join('\n') : content
  const known = Object.entries(rest).filter(([, value]) => value !== null && value !== undefined)
  const message: Message = {
    role: role === 'developer' && !developer ? 'system' : role,
    content: texts ?? '',
    ...Object.fromEntries(known),
  }
  const calls = rest.tool_calls as
    | { id: string; type: string; function: { name: string; arguments: Plain } }[]
    | undefined
  if (calls === undefined) return message
  const parsed = (given: Plain): Plain => (typeof given === 'string' ? JSON.parse(given) : given)
  const tool_calls = calls.map(({ function: called, ...call }) => ({
    ...call,
    function: { ...called, arguments: parsed(called.arguments) },
  }))
  return { ...message, tool_calls }
}
