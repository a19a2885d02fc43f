/**
 * The markers of the field: names of the tokens with which chat models open and close turns. Files give some of them a wrong type
 * (converters forget to say "control"), and then a user's text could close a turn, or a template's markers would be spelled as
 * letters and no turn would ever end. So a token with such a name counts as control, whatever its file says of it.
 *
 * Names that no text has by chance count always. Others are words of HTML or of plain text too (`</s>` strikes out, `[INST]` was
 * text before it was a token): they count where the model itself uses them, by its template or by the ids that its file names.
 */
import type { Texts } from './texts.ts'
import { type SpecialToken, tokenType } from './vocabulary.ts'

interface Marker {
  /** A turn or a text ends with it. */
  ends: boolean
  /** Also a piece of ordinary text. */
  ordinary?: true
  /** It closes a part of a turn, not the turn, where one of these is in the vocabulary. */
  partWith?: readonly string[]
}

const named = (names: readonly string[], marker: Marker) => names.map((name) => [name, marker] as const)

const markers: ReadonlyMap<string, Marker> = new Map([
  ...named(['<|im_end|>', '<|eot_id|>', '<|eom_id|>', '<|eot|>', '<|eom|>', '<|end_of_turn|>'], { ends: true }),
  ...named(['<|endoftext|>', '<|end_of_text|>', '<|END_OF_TURN_TOKEN|>', '<|return|>', '<|call|>'], { ends: true }),
  ...named(['<|calls|>', '<|flush|>', '<end_of_turn>', '<end_of_utterance>', '<turn|>', '<|tool_response>'], {
    ends: true,
  }),
  ...named(['<｜end▁of▁sentence｜>', '<|assistant_end|>', '[e~['], { ends: true }),
  ...named(['<|end|>'], { ends: true, partWith: ['<|return|>', '<|flush|>'] }),
  ...named(['</s>', '<eos>', '<EOT>', '▁<EOT>', '_<EOT>', '< EOT >', '[EOT]', '[EOS]'], { ends: true, ordinary: true }),
  ...named(['<|im_start|>', '<|im_sep|>', '<|start_header_id|>', '<|end_header_id|>'], { ends: false }),
  ...named(['<|header_start|>', '<|header_end|>', '<|begin_of_text|>', '<start_of_turn>', '<|turn>'], { ends: false }),
  ...named(['<|system|>', '<|user|>', '<|assistant|>', '<|start_of_role|>', '<|end_of_role|>'], { ends: false }),
  ...named(['<|START_OF_TURN_TOKEN|>', '<|SYSTEM_TOKEN|>', '<|USER_TOKEN|>', '<|CHATBOT_TOKEN|>'], { ends: false }),
  ...named(['<|user_start|>', '<|user_end|>', '<|assistant_start|>'], { ends: false }),
  ...named(['<|start|>', '<|channel|>', '<|message|>', '<|constrain|>'], { ends: false }),
  ...named(['<｜begin▁of▁sentence｜>', '<｜User｜>', '<｜Assistant｜>'], { ends: false }),
  ...named(['<s>', '<bos>', '[INST]', '[/INST]', '[SYSTEM_PROMPT]', '[/SYSTEM_PROMPT]'], {
    ends: false,
    ordinary: true,
  }),
])

/** Types that a marker may have by mistake. Unknown and byte tokens have a part to play in the merge model. */
const mistaken: ReadonlyMap<number, string> = new Map([
  [tokenType.normal, 'NORMAL'],
  [tokenType.userDefined, 'USER_DEFINED'],
  [tokenType.unused, 'UNUSED'],
])
const mostNamed = 16

/** What of the model says which tokens it uses as markers. */
export interface MarkerUse {
  chatTemplate: string | undefined
  /** Ids that the file names as begin or end. */
  namedIds: readonly (number | undefined)[]
}

/** Gives the markers among the tokens the type control; a line for the log says which had another. */
export function claimMarkers(tokens: Texts, types: Uint8Array, use: MarkerUse): string[] {
  const claimed: string[] = []
  for (const { id, text } of tokens.among(markers.keys())) {
    const marker = markers.get(text)!
    const type = mistaken.get(types[id]!)
    if (type === undefined) continue
    if (marker.ordinary && !use.namedIds.includes(id) && !use.chatTemplate?.includes(text)) continue
    types[id] = tokenType.control
    claimed.push(`${id} ${JSON.stringify(text)} (${type}${marker.ends ? ', ends a turn' : ''})`)
  }
  if (claimed.length === 0) return []
  const more = claimed.length > mostNamed ? ` and ${claimed.length - mostNamed} more` : ''
  return [
    `Markers that the file does not call control tokens count as such: ${claimed.slice(0, mostNamed).join(', ')}${more}.`,
  ]
}

/** The ids that end a generation: those named by the file and the markers among the control tokens, ascending. */
export function endTokens(named: readonly (number | undefined)[], control: readonly SpecialToken[]): number[] {
  const ids = new Set(named.filter((id) => id !== undefined))
  const names = new Set(control.map(({ text }) => text))
  for (const { id, text } of control) {
    const marker = markers.get(text)
    if (marker?.ends && !marker.partWith?.some((name) => names.has(name))) ids.add(id)
  }
  return [...ids].sort((a, b) => a - b)
}
