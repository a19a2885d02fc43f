/**
 * The draft model: opened beside the target, checked to have the same vocabulary, its weights read and shared like any others.
 */
import { OctavoError } from '../base/errors.ts'
import { type Checkpoint, openCheckpoint } from '../model/checkpoint.ts'
import type { ModelLocation } from '../model/locate.ts'

const tokensKey = 'tokenizer.ggml.tokens'

/** Throws MODEL_UNSUPPORTED when a token of the target is another one here. Further tokens, which pad a model's size, do not matter. */
export function openDraft(draft: ModelLocation, target: ModelLocation): Checkpoint {
  const opened = openCheckpoint(draft)
  const own = opened.metadata[tokensKey]
  const wanted = openCheckpoint(target).metadata[tokensKey]
  if (!Array.isArray(own) || !Array.isArray(wanted)) return opened
  const at = wanted.findIndex((text, id) => id < own.length && text !== own[id])
  if (at < 0) return opened
  throw new OctavoError(
    'MODEL_UNSUPPORTED',
    `The draft model ${opened.info.name} has another vocabulary: token ${at} is ${shown(own[at])}, expected ${shown(wanted[at])}.`,
    { draft: opened.info.name, token: at, expected: shown(wanted[at]), found: shown(own[at]) },
  )
}

const shown = (text: unknown) => JSON.stringify(text)
