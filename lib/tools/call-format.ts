/** How a model writes calls of tools, as data: the table is formats.ts, the reader of it call-splitter.ts. Plain, so that it travels to the host. */

export interface CallFormat {
  /** For people: the family. */
  name: string
  /** Texts that a call, or several, begin with. Control tokens in them are written by name. */
  open: string[]
  /** The same, but only where nothing of the answer came before. */
  openFirst: string[]
  /** Texts that may end what `open` began. Behind a complete call they may be missing. */
  close: string[]
  /** Marks around calls that are no part of the answer. */
  skip: string[]
  /** An answer may be a call and nothing else: a JSON object that names a tool. */
  bare: boolean
  /** What comes after `open`, beside JSON objects with name and arguments, alone or in an array. */
  body: 'json' | 'named' | 'xml'
  /** What `named` puts before a name. */
  prefix: string
  /** How the answer is begun for a model that must call. */
  force: {
    /** Before name and arguments as one JSON object. */
    any: string
    /** The key of the arguments in it. Default 'arguments'. */
    key?: string
    /** Up to the arguments of `{name}`. */
    named?: string | undefined
    /** Between two calls as objects. Default: there is one. */
    between?: string
    /** The control token without which there is no such way. */
    needs?: string
  }
}

/** A format with what a vocabulary and a request say. */
export interface CallSpec extends CallFormat {
  /** Names in these texts that are control tokens, which have no text. */
  control: [name: string, token: number][]
  /** The tools that there are. */
  tools: string[]
  /** The prompt ends with what begins a call; with `tool`, with everything up to its arguments. */
  begun?: { tool?: string }
}

/** The control token of a place in `control`, as a unit that no decoded text holds: a low surrogate without a high one. */
export const unitOf = (place: number): string => String.fromCharCode(0xdc00 + place)

/** Names of control tokens become the units that stand for them. */
export const withUnits = (text: string, control: readonly [name: string, token: number][]): string =>
  control.reduce((rest, [name], place) => rest.replaceAll(name, unitOf(place)), text)

/** And back, for people. */
export const withNames = (text: string, control: readonly [name: string, token: number][]): string =>
  text.replace(/\p{Surrogate}/gu, (unit) => control[unit.charCodeAt(0) - 0xdc00]?.[0] ?? '')
