/** Answers as a host gives them out, token by token, of a text that no model drew: a token is a byte, or a control token. */
import { greedySampling } from '../lib/base/native.ts'
import { TokenTable } from '../lib/host/output/detokenizer.ts'
import { OutputText } from '../lib/host/output/output-text.ts'
import type { ReasoningSpec } from '../lib/host/output/token-text.ts'
import { HostRequest } from '../lib/host/schedule/request.ts'
import type { Delivered, RequestSpec, StepPart } from '../lib/host/wire/protocol.ts'
import type { CallSpec } from '../lib/tools/call-format.ts'

/** Control tokens have ids from here on. */
export const firstControl = 256
const controls = 64
/** Ends an answer. */
export const endToken = firstControl + controls

const table = new TokenTable({
  bytes: Uint8Array.from({ length: 256 }, (_, byte) => byte),
  offsets: Uint32Array.from({ length: endToken + 2 }, (_, token) => Math.min(token, 256)),
})

/** Names of control tokens by place: firstControl is the first. */
export function tokensOf(text: string, control: readonly string[] = []): number[] {
  const pattern = control.map((name) => name.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&')).join('|')
  const pieces = control.length === 0 ? [text] : text.split(new RegExp(`(${pattern})`))
  return pieces.flatMap((piece) => {
    const place = control.indexOf(piece)
    return place >= 0 ? [firstControl + place] : [...Buffer.from(piece)]
  })
}

interface Planted {
  calls?: CallSpec
  reasoning?: ReasoningSpec
  stop?: string[]
  /** What an earlier host gave out. */
  resumed?: Delivered
  /** Tokens a step. */
  step?: number
  ends?: 'stop' | 'length'
}

const sampling = { ...greedySampling, vocabulary: 400 }

/** The parts of an answer of these tokens. */
export function partsOf(tokens: readonly number[], planted: Planted = {}): StepPart[] {
  const { calls, reasoning, stop = [], resumed, step = 1, ends = 'stop' } = planted
  const spec: RequestSpec = {
    ...{ id: 1, mode: 'generate', tokens: Int32Array.of(0), stop, ignoreEos: false, sampling, salt: '', askedAtMs: 0 },
    maxTokens: ends === 'length' ? tokens.length : 1e6,
    ...(resumed && { resumed }),
  }
  const text = new OutputText(table, { stop, reasoning, calls })
  const request = new HostRequest(spec, 1e6, new Set([endToken]), text)
  const parts: StepPart[] = []
  const all = ends === 'stop' ? [...tokens, endToken] : tokens
  const rest = all.slice(resumed?.tokens.length ?? 0)
  for (let at = 0; at < rest.length && request.end === undefined; at += step) {
    for (const token of rest.slice(at, at + step)) if (request.end === undefined) request.accept(token, 0, undefined, 1)
    const part = request.takePart()
    if (part !== undefined) parts.push(part)
  }
  return parts
}
