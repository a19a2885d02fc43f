/** What the tests of grammars share: a grammar of bytes, a vocabulary of bytes, ajv as the truth about schemas. */
import { Ajv2020 } from 'ajv/dist/2020.js'
import formats from 'ajv-formats'
import { type NativeGrammar, native } from '../lib/base/native.ts'
import { compileGrammar, type GrammarSource } from '../lib/grammar/compile.ts'

/** Each byte is a token; token 256 ends a text. */
export const byteVocabulary = {
  bytes: Uint8Array.from({ length: 256 }, (_, byte) => byte),
  offsets: Uint32Array.from({ length: 258 }, (_, i) => Math.min(i, 256)),
  endTokens: Int32Array.of(256),
}

export function byteGrammar(source: GrammarSource): NativeGrammar {
  return new (native().Grammar)({ ...compileGrammar(source), dropSpace: false }, byteVocabulary)
}

export const ofSchema = (schema: unknown): NativeGrammar =>
  byteGrammar({ kind: 'schema', text: JSON.stringify(schema) })

const encoder = new TextEncoder()
export const accepts = (grammar: NativeGrammar, text: string): boolean => grammar.match(encoder.encode(text)) === 2

/** Decimal multiples are compared as decimals: 0.07 is a multiple of 0.01. */
function newAjv(): Ajv2020 {
  const ajv = new Ajv2020({ strict: false, multipleOfPrecision: 9, logger: false })
  formats.default(ajv)
  return ajv
}

/** Each compiles the schema of all schemas, which takes longer than most of ours. */
const shared = newAjv()

export function validator(schema: unknown): (value: unknown) => boolean {
  // Names are for a whole ajv.
  const ajv = JSON.stringify(schema).includes('"$id"') ? newAjv() : shared
  return ajv.compile(schema as object | boolean) as (value: unknown) => boolean
}

/** xorshift32: a number from 0 to below - 1. */
export function randomBelow(seed: number): (below: number) => number {
  let state = (seed + 1) * 2654435761
  return (below) => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) % below
  }
}
