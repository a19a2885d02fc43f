/**
 * What one answer may be, of all that its request says: a value of a schema, a text of a grammar, calls of tools, or anything that calls
 * tools in the right way.
 */
import type { CallSite } from '../base/call-site.ts'
import { type ReasoningMarkers, reasoningPieces, usualMarkers } from '../text/reasoning-markers.ts'
import { type CallConstraint, constraint, heldCalls, wholeCalls } from '../tools/constraint.ts'
import type { KnownFormat } from '../tools/formats.ts'
import type { ToolChoice } from '../tools/tool-call.ts'
import type { Toolbox } from '../tools/toolbox.ts'
import type { Form, GrammarOption, Grammars, Schema } from './structured.ts'

export interface Asked {
  schema?: Schema | undefined
  grammar?: GrammarOption | undefined
  toolChoice: ToolChoice
  tenant: string
}

export interface AnswerForm {
  /** What the answer begins with, where it must be a call. */
  choice: CallConstraint | undefined
  /** What masks hold it to. */
  grammar: Form | undefined
  /** Of its value, where it has one. */
  read: Form['read']
  /** Of the reasoning before it: an answer with a form begins at once. */
  markers: ReasoningMarkers | undefined
}

export function answerForm(
  grammars: Grammars,
  asked: Asked,
  site: CallSite,
  calls: { toolbox: Toolbox; format: KnownFormat } | undefined,
  { isSplit, markers }: { isSplit: boolean; markers: ReasoningMarkers | undefined },
): AnswerForm {
  const { tenant } = asked
  const choice = calls && constraint(calls.format, calls.toolbox, asked.toolChoice)
  if (choice !== undefined) {
    return { choice, grammar: grammars.calls(choice.source, tenant), read: undefined, markers: undefined }
  }
  const instead = calls && asked.schema !== undefined ? wholeCalls(calls.format, calls.toolbox) : undefined
  const form = grammars.form(asked, site, instead)
  if (form !== undefined) return { choice, grammar: form, read: form.read, markers: undefined }
  const split = isSplit ? (markers ?? usualMarkers) : undefined
  const held = calls && heldCalls(calls.format, calls.toolbox)
  const grammar = held && grammars.held(held, split && reasoningPieces(split), tenant)
  return { choice, grammar, read: undefined, markers: split }
}
