/** The families whose templates are in goldens/tool-templates. */
import { readFileSync } from 'node:fs'
import { callFormat, type KnownFormat } from '../lib/tools/formats.ts'

/** Of each template: the format it is, and the control tokens of its family's vocabularies. */
export const families: Record<string, { format: string; control: string[]; isBare?: true }> = {
  hermes: { format: 'hermes', control: ['<|im_start|>', '<|im_end|>'] },
  smol: { format: 'hermes', control: ['<|im_start|>', '<|im_end|>', '<tool_call>', '</tool_call>'] },
  'qwen-xml': { format: 'qwen-xml', control: ['<|im_start|>', '<|im_end|>'] },
  llama: {
    ...{ format: 'llama', isBare: true },
    control: ['<|start_header_id|>', '<|end_header_id|>', '<|eot_id|>', '<|python_tag|>'],
  },
  mistral: { format: 'mistral', control: ['[INST]', '[/INST]', '[TOOL_CALLS]', '</s>'] },
  'mistral-args': { format: 'mistral', control: ['[INST]', '[/INST]', '[TOOL_CALLS]', '[CALL_ID]', '[ARGS]', '</s>'] },
  harmony: {
    format: 'harmony',
    control: ['<|start|>', '<|channel|>', '<|message|>', '<|constrain|>', '<|call|>', '<|end|>'],
  },
  deepseek: {
    format: 'deepseek',
    control: [
      ...['<｜User｜>', '<｜Assistant｜>', '<｜end▁of▁sentence｜>', '<｜tool▁sep｜>'],
      ...['<｜tool▁calls▁begin｜>', '<｜tool▁calls▁end｜>', '<｜tool▁call▁begin｜>', '<｜tool▁call▁end｜>'],
    ],
  },
  'deepseek-plain': { format: 'deepseek', control: ['<｜User｜>', '<｜Assistant｜>', '<｜end▁of▁sentence｜>'] },
  phi: { format: 'phi', control: ['<|user|>', '<|assistant|>', '<|end|>', '<|tool_call|>', '<|/tool_call|>'] },
  json: { format: 'json', control: [], isBare: true },
}

const goldens = new URL('goldens/tool-templates/', import.meta.url)
const sources = new Map<string, string>()
export function templateOf(family: string): string {
  const source = sources.get(family) ?? readFileSync(new URL(`${family}.jinja`, goldens), 'utf8')
  sources.set(family, source)
  return source
}

/** A model's way to write calls, its control tokens numbered from `first` on. */
export const formatOf = (family: string, first = 0): KnownFormat =>
  callFormat(
    templateOf(family),
    families[family]!.control.map((text, i) => ({ id: first + i, text })),
  )
