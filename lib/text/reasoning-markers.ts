/**
 * How models mark their reasoning, and which of the ways a model has. A marker may be a control token, which has no text, or plain
 * text, or both in one (`<|channel|>analysis<|message|>`): it is written here by name, and the vocabulary says which names are control
 * tokens. A model has the way that its template shows; without such a sign, the one whose tokens are control tokens of its vocabulary.
 * Sources: the chat templates of the families named.
 */
import type { ReasoningSpec } from '../host/output/token-text.ts'
import { pieces } from '../tools/constraint.ts'
import type { KnownFormat } from '../tools/formats.ts'

interface Way {
  open: string
  /** Any of these ends the reasoning. */
  close: string[]
  /** Marks before and after answers that are no part of them. */
  skip: string[]
  /** A template that holds one of these has this way. */
  seen: string[]
  /** So does a vocabulary in which all of these are control tokens. */
  tokens: string[]
}

const pair = (open: string, close: string, skip: string[] = []): Way => ({
  ...{ open, close: [close], skip, seen: [open, close], tokens: [open, close] },
})

const ways: Way[] = [
  // gpt-oss
  {
    open: '<|channel|>analysis<|message|>',
    close: ['<|end|>', '<|channel|>final<|message|>'],
    skip: ['<|start|>assistant', '<|channel|>final<|message|>', '<|channel|>commentary<|message|>', '<|end|>'],
    seen: ['<|channel|>analysis'],
    tokens: ['<|channel|>', '<|message|>', '<|start|>', '<|end|>'],
  },
  // Gemma 4
  {
    open: '<|channel>thought',
    close: ['<channel|>'],
    skip: [],
    seen: ['<|channel>'],
    tokens: ['<|channel>', '<channel|>'],
  },
  // Command A Reasoning
  pair('<|START_THINKING|>', '<|END_THINKING|>', ['<|START_RESPONSE|>', '<|END_RESPONSE|>']),
  // Magistral
  pair('[THINK]', '[/THINK]'),
  // Seed-OSS
  pair('<seed:think>', '</seed:think>'),
  // Apertus
  pair('<|inner_prefix|>', '<|inner_suffix|>'),
  // Kimi-VL
  pair('◁think▷', '◁/think▷'),
  // EXAONE Deep
  pair('<thought>', '</thought>'),
  // DeepSeek, Qwen, GLM, MiniMax, Kimi, Nemotron, ERNIE, SmolLM and most others
  pair('<think>', '</think>'),
]

/** What a model's output is split by; `begun` is for the request to say. */
export type ReasoningMarkers = Omit<ReasoningSpec, 'begun'>

/** Undefined: the model shows no way of marking reasoning. */
export function reasoningMarkers(
  template: string | undefined,
  control: readonly { id: number; text: string }[],
): ReasoningMarkers | undefined {
  const ids = new Map(control.map(({ id, text }) => [text, id]))
  const way =
    ways.find(({ seen }) => seen.some((sign) => template?.includes(sign))) ??
    ways.find(({ tokens }) => tokens.every((name) => ids.has(name)))
  return way && markersOf(way, ids)
}

/** For a request that wants reasoning apart although its model shows no way: the most usual one. */
export const usualMarkers: ReasoningMarkers = markersOf(ways.at(-1)!, new Map())

function markersOf({ open, close, skip, tokens }: Way, ids: ReadonlyMap<string, number>): ReasoningMarkers {
  const names = new Set([...tokens, ...skip])
  const known = [...names].flatMap((name): [string, number][] => (ids.has(name) ? [[name, ids.get(name)!]] : []))
  return { open, close, skip, control: known }
}

/** Whether the answer to a prompt begins as reasoning: the prompt ends with the marker that opens it. */
export function endsInReasoning(prompt: string, { open }: ReasoningMarkers): boolean {
  return prompt.trimEnd().endsWith(open)
}

/** Control tokens among the marks of reasoning and calls: they have one list. */
export function controlOf(
  markers: ReasoningMarkers | undefined,
  calls: KnownFormat | undefined,
): [name: string, token: number][] {
  return [...new Map([...(markers?.control ?? []), ...(calls?.control ?? [])])]
}

/** The marks with their control tokens. */
export const reasoningPieces = ({ open, close, control }: ReasoningMarkers) => ({
  open: pieces(open, control),
  close: close.map((text) => pieces(text, control)),
})
