/** Calls of tools as callers see them, and the tools: types alone. */

/** What a function is told beside its arguments. */
export interface ToolContext {
  /** Aborts when the generation is cancelled or aborted. */
  signal: AbortSignal
  toolCallId: string
}

/** Arguments as a tool gets them: what its zod type gives. */
export type ArgumentsOf<P> = P extends { _zod: { output: infer O } } ? O : Record<string, unknown>

/** A function that the model may call. */
export interface ToolDefinition<P = unknown> {
  /** What it does, for the model. */
  description?: string | undefined
  /** What it takes: a zod type or a JSON Schema, of an object. Default: nothing. */
  parameters?: P
  /**
   * Runs it. What it gives (or resolves to) goes to the model, text as it is, else as JSON; so does the message of what it throws.
   * Without it a generation ends with its calls.
   */
  execute?(args: ArgumentsOf<P>, context: ToolContext): unknown
}

/** Tools by their names; each with parameters of its own, which are not known here. */
export type ToolSet = {
  readonly [name: string]: Omit<ToolDefinition, 'execute'> & { execute?(args: never, context: ToolContext): unknown }
}

/** Tools by their names, with the types of their parameters. */
export type ToolsOf<P> = { readonly [K in keyof P]: ToolDefinition<P[K]> }

/** A call whose arguments are what its tool takes. */
export interface ValidCall<N extends string = string, A = Record<string, unknown>> {
  id: string
  name: N
  arguments: A
  /** As the model wrote them. */
  argumentsText: string
  invalid?: undefined
}

/**
 * A call that cannot be run. 'unfinished': the answer ended in it; 'malformed': it is no call in the model's format, or its arguments are no
 * JSON object; 'unknown': there is no such tool; 'arguments': they are not what the tool takes.
 */
export interface InvalidCall {
  id: string
  /** Empty: it has none. */
  name: string
  arguments?: undefined
  argumentsText: string
  invalid: true
  reason: 'unfinished' | 'malformed' | 'unknown' | 'arguments'
  /** What is wrong, in words. */
  message: string
  /** The call as the model wrote it. */
  text: string
}

export type AnyCall = ValidCall | InvalidCall

/** The calls that an answer may have, given its tools. */
export type CallOf<P> =
  | (string extends keyof P
      ? ValidCall
      : { [K in keyof P & string]: ValidCall<K, ArgumentsOf<P[K]>> }[keyof P & string])
  | InvalidCall

/** A piece of a call, as it comes. */
export interface ToolCallDelta<C = AnyCall> {
  /** Of the answer's calls. */
  index: number
  id: string
  name: string
  /** Joined, a call's deltas are its argumentsText. */
  argumentsDelta: string
  /** The whole call, with its last piece. */
  call?: C
}

/** Whether and what the model shall call. */
export type ToolChoice<N extends string = string> = 'auto' | 'none' | 'required' | { name: N }
