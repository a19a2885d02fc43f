/**
 * How the families write calls of tools, and which of the ways a model has: the one that its template shows, from the top; else the one
 * whose marks are control tokens of its vocabulary; else an answer that is a JSON object with the name of a tool. Sources: the chat
 * templates of the families named.
 */
import type { CallFormat } from './call-format.ts'

interface Way extends CallFormat {
  /** A template that holds all of one of these lists has this way. */
  seen: string[][]
  /** So does a vocabulary in which all of these are control tokens. */
  tokens: string[]
}

const nothing = { openFirst: [], close: [], skip: [], bare: false, prefix: '', force: { any: '' } }

const ways: Way[] = [
  // gpt-oss
  {
    ...{ ...nothing, name: 'harmony', body: 'named', prefix: 'functions.', close: ['<|call|>'] },
    open: ['<|channel|>commentary to=', '<|channel|>analysis to='],
    openFirst: ['to=functions.'],
    skip: ['<|start|>assistant', '<|channel|>final<|message|>', '<|channel|>commentary<|message|>', '<|end|>'],
    force: {
      any: '<|channel|>commentary<|message|>',
      named: '<|channel|>commentary to=functions.{name} <|constrain|>json<|message|>',
    },
    seen: [['<|channel|>', 'to=']],
    tokens: ['<|channel|>', '<|constrain|>', '<|message|>', '<|call|>'],
  },
  // Mistral, Ministral, Magistral, Devstral
  {
    ...{ ...nothing, name: 'mistral', body: 'named', open: ['[TOOL_CALLS]'] },
    force: { any: '[TOOL_CALLS][', between: ',', named: '[TOOL_CALLS]{name}[ARGS]', needs: '[ARGS]' },
    seen: [['[TOOL_CALLS]']],
    tokens: ['[TOOL_CALLS]'],
  },
  // DeepSeek
  {
    ...{ ...nothing, name: 'deepseek', body: 'named', open: ['<｜tool▁call▁begin｜>'] },
    ...{ close: ['<｜tool▁call▁end｜>', '```<｜tool▁call▁end｜>'], prefix: 'function<｜tool▁sep｜>' },
    skip: ['<｜tool▁calls▁begin｜>', '<｜tool▁calls▁end｜>'],
    force: {
      any: '<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>',
      named: '<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>{name}\n```json\n',
    },
    seen: [['<｜tool▁call▁begin｜>']],
    tokens: ['<｜tool▁call▁begin｜>', '<｜tool▁call▁end｜>', '<｜tool▁sep｜>'],
  },
  // Qwen3-Coder
  {
    ...{ ...nothing, name: 'qwen-xml', body: 'xml', open: ['<tool_call>'], close: ['</tool_call>'] },
    force: { any: '<tool_call>\n', between: '\n</tool_call>\n<tool_call>\n' },
    seen: [['<tool_call>', '<function=', '<parameter=']],
    tokens: [],
  },
  // Hermes, Qwen 2.5, Qwen 3, SmolLM, and many others
  {
    ...{ ...nothing, name: 'hermes', body: 'json', open: ['<tool_call>'], close: ['</tool_call>'] },
    force: { any: '<tool_call>\n', between: '\n</tool_call>\n<tool_call>\n' },
    seen: [['<tool_call>']],
    tokens: ['<tool_call>', '</tool_call>'],
  },
  // Phi 4, Granite
  {
    ...{ ...nothing, name: 'phi', body: 'json', open: ['<|tool_call|>'], close: ['<|/tool_call|>'] },
    force: { any: '<|tool_call|>' },
    seen: [['<|tool_call|>']],
    tokens: ['<|tool_call|>'],
  },
  // Llama 3
  {
    ...{ ...nothing, name: 'llama', body: 'json', open: ['<|python_tag|>'], bare: true },
    force: { any: '', key: 'parameters' },
    seen: [['<|python_tag|>'], ['ipython'], ['"parameters"', '<|eot_id|>']],
    tokens: ['<|python_tag|>', '<|eom_id|>'],
  },
  { ...nothing, name: 'json', body: 'json', open: [], bare: true, seen: [[]], tokens: [] },
]

/** A model's way, and its control tokens among the marks. */
export interface KnownFormat {
  format: CallFormat
  control: [name: string, token: number][]
}

export function callFormat(
  template: string | undefined,
  control: readonly { id: number; text: string }[],
): KnownFormat {
  const ids = new Map(control.map(({ id, text }) => [text, id]))
  const shows = ({ seen }: Way) => seen.some((signs) => signs.length > 0 && signs.every((s) => template?.includes(s)))
  const way =
    ways.find(shows) ??
    ways.find(({ tokens }) => tokens.length > 0 && tokens.every((name) => ids.has(name))) ??
    ways.at(-1)!
  const { seen: _, tokens, ...format } = way
  const { needs, ...force } = format.force
  if (needs !== undefined) format.force = ids.has(needs) ? force : { ...force, named: undefined }
  const names = new Set([...tokens, ...marksIn(format), ...betweenNameAndArguments])
  const known = [...names].flatMap((name): [string, number][] => (ids.has(name) ? [[name, ids.get(name)!]] : []))
  return { format, control: known }
}

/** Of Mistral's newer templates, and what Hermes' tags become in some vocabularies. */
const betweenNameAndArguments = ['[ARGS]', '[CALL_ID]', '<|start|>', '<|end|>', '<｜tool▁sep｜>']

/** Names of tokens among a format's texts: each of them is one, or holds one. */
function marksIn({ open, close, skip }: CallFormat): string[] {
  return [...open, ...close, ...skip].flatMap((text) => [text, ...(text.match(/<\|[^|<>]*\|>/g) ?? [])])
}
