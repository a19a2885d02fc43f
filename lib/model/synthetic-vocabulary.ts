/**
 * A made-up byte-level BPE vocabulary of a given size, of the `gpt2` kind: three ChatML control tokens, the 256 bytes in GPT-2's
 * printable alphabet (Radford et al. 2019), then merges that build letters into " x", "xy", " xy" and "wxyz". Any text
 * tokenises; other engines load it too.
 */
import { OctavoError } from '../base/errors.ts'
import type { GgufValue } from '../base/native.ts'
import { characterOfByte } from '../text/vocabulary/vocabulary.ts'

const control = ['<|endoftext|>', '<|im_start|>', '<|im_end|>']

export const chatMlTemplate =
  "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}" +
  '{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}'

function* merges(): Generator<[string, string]> {
  const space = characterOfByte[0x20]!
  const letters = [...'etaoinshrdlucmfwygpbvkxqjz'] // by frequency in English, so that small vocabularies get useful pairs
  const pairs = letters.flatMap((a) => letters.map((b) => a + b))
  for (const letter of letters) yield [space, letter]
  for (const pair of pairs) yield [pair[0]!, pair[1]!]
  for (const pair of pairs) yield [space, pair]
  for (const left of pairs) for (const right of pairs) yield [left, right]
}

/** `tokenizer.*` metadata with exactly `size` tokens, 259 to 458,613. */
export function syntheticVocabulary(size: number): Record<string, GgufValue> {
  const tokens = [...control, ...characterOfByte]
  const lines: string[] = []
  if (size < tokens.length) {
    throw new OctavoError(
      'INVALID_ARGUMENT',
      `A synthetic vocabulary has ${tokens.length} tokens or more, not ${size}.`,
      { size },
    )
  }
  for (const [left, right] of merges()) {
    if (tokens.length === size) break
    tokens.push(left + right)
    lines.push(`${left} ${right}`)
  }
  if (tokens.length < size) {
    throw new OctavoError(
      'INVALID_ARGUMENT',
      `A synthetic vocabulary has at most ${tokens.length} tokens, not ${size}.`,
      { size },
    )
  }
  return {
    'tokenizer.ggml.model': 'gpt2',
    'tokenizer.ggml.pre': 'gpt-2',
    'tokenizer.ggml.tokens': tokens,
    'tokenizer.ggml.token_type': tokens.map((_, id) => (id < control.length ? 3 : 1)),
    'tokenizer.ggml.merges': lines,
    'tokenizer.ggml.bos_token_id': 0,
    'tokenizer.ggml.eos_token_id': 2,
    'tokenizer.ggml.padding_token_id': 0,
    'tokenizer.ggml.add_bos_token': false,
    'tokenizer.chat_template': chatMlTemplate,
  }
}
