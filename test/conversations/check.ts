/**
 * What must hold of every turn. Its prompt, as it was shown and as it was sent, is what Jinja2 makes of the history; control tokens stand
 * where the template wrote them and nowhere else; and of the prompt no more is computed than what is new, and two blocks.
 */
import type { Sent } from './sent.ts'
import type { Talk, Told, Turn } from './talk.ts'
import { type Render, type Truth, truths } from './truth.ts'
import type { Vocabulary } from './vocabularies.ts'

const blockTokens = 16

export interface Report {
  faults: string[]
  counts: Record<string, number>
}

export async function check({ turns, faults, counts }: Talk, render: Render): Promise<Report> {
  const found = [...faults]
  const total: Record<string, number> = {
    ...counts,
    turns: turns.length,
    'prompts seen by the model': 0,
    'tokens of prompts': 0,
    computed: 0,
    'new': 0,
  }
  const told = new Map<Told, number>()
  for (const { told: one, before } of turns)
    for (const each of [one, ...before.flatMap(({ saved }) => saved)]) if (!told.has(each)) told.set(each, told.size)
  const all = await truths([...told.keys()], render)
  const truthOf = (each: Told) => all[told.get(each)!]!
  for (const turn of turns) {
    const truth = truthOf(turn.told)
    const fault = 'error' in truth ? `refused by the template: ${truth.error}` : faultOf(turn, truth, truthOf, total)
    if (fault !== undefined) found.push(`${turn.where}: ${fault}`)
  }
  return { faults: found, counts: total }
}

function faultOf(
  turn: Turn,
  truth: Truth,
  truthOf: (told: Told) => Truth | { error: string },
  total: Record<string, number>,
) {
  const { shown, sent, result, told } = turn
  const { vocabulary } = told
  if (shown.text !== truth.text)
    return `${JSON.stringify(shown.text)} was shown, Jinja2 says ${JSON.stringify(truth.text)}`
  const ids = sent?.prompt ?? shown.tokens
  if (ids.join() !== shown.tokens.join()) return `sent was ${ids}, shown ${shown.tokens}`
  const spelled = spell(ids, vocabulary)
  if (!spelled.bytes.equals(truth.bytes))
    return `ids spell ${JSON.stringify(spelled.bytes.toString())}, Jinja2 says ${JSON.stringify(truth.bytes.toString())}`
  if (sent === undefined || result === undefined || sent.generated.length === 0) return undefined
  const { promptTokens, cachedTokens } = result.usage
  if (promptTokens !== ids.length) return `usage says ${promptTokens} tokens, sent were ${ids.length}`
  const shared = Math.max(0, ...turn.before.map((before) => sharedBytes(before, spelled.bytes, vocabulary, truthOf)))
  const old = spelled.ends.filter((end) => end <= shared).length
  total['prompts seen by the model']! += 1
  total['tokens of prompts']! += promptTokens
  total.computed! += promptTokens - cachedTokens
  total.new! += promptTokens - old
  if (promptTokens - cachedTokens <= promptTokens - old + 2 * blockTokens) return undefined
  return `${promptTokens - cachedTokens} of ${promptTokens} tokens were computed, ${promptTokens - old} are new after ${JSON.stringify(spelled.bytes.toString('utf8', Math.max(0, shared - 40), shared))}: ${JSON.stringify(spelled.bytes.toString())}`
}

interface Spelled {
  bytes: Buffer
  /** Of each id. */
  ends: number[]
}

function spell(ids: readonly number[], vocabulary: Vocabulary): Spelled {
  const parts = ids.map((id) => vocabulary.bytes(id))
  let at = 0
  const ends = parts.map(({ length }) => {
    at += length
    return at
  })
  return { bytes: Buffer.concat(parts), ends }
}

/** As far as a prompt goes on what was computed for a turn before it. */
function sharedBytes(
  { sent, saved }: Turn['before'][number],
  prompt: Buffer,
  vocabulary: Vocabulary,
  truthOf: (told: Told) => Truth | { error: string },
): number {
  const known = spellSent(sent, vocabulary)
  const files = saved.map((told) => {
    const truth = truthOf(told)
    return 'error' in truth ? 0 : common(truth.bytes, known)
  })
  return Math.min(common(known, prompt), ...files)
}

const spelledSent = new WeakMap<Sent, Buffer>()
function spellSent(sent: Sent, vocabulary: Vocabulary): Buffer {
  const known = spelledSent.get(sent) ?? spell([...sent.prompt, ...sent.generated], vocabulary).bytes
  spelledSent.set(sent, known)
  return known
}

function common(one: Buffer, other: Buffer): number {
  const length = Math.min(one.length, other.length)
  for (let i = 0; i < length; i++) if (one[i] !== other[i]) return i
  return length
}
