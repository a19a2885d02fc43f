/**
 * How byte-level BPE vocabularies cut a text into words before merging, by the name in `tokenizer.ggml.pre`: regular
 * expressions applied one after the other, each of whose matches becomes a word of its own. `\s` is Unicode White_Space.
 */

export interface PreTokenizer {
  split: string[]
  /** Text is brought to Unicode NFC first. */
  nfc?: boolean
  /** A word that is a token as a whole is not merged from its bytes. */
  ignoreMerges?: boolean
  /** A begin token goes in front where the file does not say. */
  addBos?: boolean
}

export const gpt2Split = String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
const contraction = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
const spaces = String.raw`\s*[\r\n]+|\s+(?!\S)|\s+`
const cl100k = (digits: string) =>
  String.raw`${contraction}|[^\r\n\p{L}\p{N}]?\p{L}+|${digits}| ?[^\s\p{L}\p{N}]+[\r\n]*|${spaces}`
const upper = String.raw`[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`
const lower = String.raw`[\p{Ll}\p{Lm}\p{Lo}\p{M}]`
const o200k = (digits: string, suffix: string) =>
  String.raw`[^\r\n\p{L}\p{N}]?${upper}*${lower}+${suffix}|[^\r\n\p{L}\p{N}]?${upper}+${lower}*${suffix}|` +
  String.raw`${digits}| ?[^\s\p{L}\p{N}]+[\r\n/]*|${spaces}`

const gpt2: PreTokenizer = { split: [gpt2Split] }
const singleDigits: PreTokenizer = { split: [String.raw`\p{N}`, gpt2Split] }
const llama3: PreTokenizer = { split: [cl100k(String.raw`\p{N}{1,3}`)], ignoreMerges: true, addBos: true }

export const preTokenizers: Readonly<Record<string, PreTokenizer>> = {
  default: gpt2,
  'gpt-2': gpt2,
  'phi-2': gpt2,
  olmo: gpt2,
  smollm: singleDigits,
  starcoder: singleDigits,
  'llama-bpe': llama3,
  llama3: llama3,
  'llama-v3': llama3,
  'smaug-bpe': { split: llama3.split },
  qwen2: { split: [cl100k(String.raw`\p{N}`)], nfc: true },
  'deepseek-r1-qwen': { split: [cl100k(String.raw`\p{N}`)] },
  tekken: { split: [o200k(String.raw`\p{N}`, '')], ignoreMerges: true, addBos: true },
  'gpt-4o': { split: [o200k(String.raw`\p{N}{1,3}`, `${contraction}?`)] },
}
