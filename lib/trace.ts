/**
 * A step trace as a document that Perfetto (ui.perfetto.dev) and chrome://tracing open: Chrome's trace event format, the object
 * form. One row holds the steps with their parts (plan, compute, commit, post); every request has a track of its own with the
 * time it waited, its prompt chunks and its decoding; counters show the KV cache, queue lengths and the tokens of each step.
 */
import { segmentField, segmentFields, stepField, stepFields } from './host/record/step-trace.ts'
import type { RequestRecord, StepRecords } from './host/wire/protocol.ts'

/** One event; times in microseconds since the trace began. */
export interface TraceEvent {
  name: string
  /** M metadata, X a span, C counters, b and e the beginning and end of a span on a request's track. */
  ph: 'M' | 'X' | 'C' | 'b' | 'e'
  pid: number
  tid: number
  ts: number
  dur?: number
  cat?: string
  id?: string
  args?: Record<string, unknown>
}

export interface Trace {
  traceEvents: TraceEvent[]
  displayTimeUnit: 'ms'
  otherData: TraceSummary
}

/** Where the time went. */
export interface TraceSummary {
  steps: number
  discardedSteps: number
  /** Steps that came when the trace was full. */
  lostSteps: number
  promptTokens: number
  decodeTokens: number
  seconds: number
  /** From each step's begin to its end, and of that inside native code. */
  stepSeconds: number
  nativeSeconds: number
  planSeconds: number
  commitSeconds: number
  postSeconds: number
  /** Between steps while requests were running: reading messages. */
  betweenSeconds: number
  /** Share of the time of steps, and between them, that was not native code. */
  overheadShare: number
}

const pid = 1
const tid = 1

interface Chunk {
  request: number
  tokens: number
  from: number
  rows: number
}

/** Whether a segment belongs to a prompt, or to what is computed again: others bring a generating request on, drafts included. */
const isPromptOf = (promptTokens: number, { tokens, from, rows }: Chunk): boolean =>
  from + 1 < promptTokens || (tokens > 1 && rows <= 1)

export function buildTrace(records: StepRecords): Trace {
  const events: TraceEvent[] = [
    { name: 'process_name', ph: 'M', pid, tid, ts: 0, args: { name: 'octavo' } },
    { name: 'thread_name', ph: 'M', pid, tid, ts: 0, args: { name: 'engine: steps' } },
  ]
  const at = (ms: number) => Math.max(0, Math.round((ms - records.beganAtMs) * 1e6) / 1e3)
  const known = new Map(records.requests.map((request) => [request.id, request]))
  const tracks = new Map<number, Track>()
  forEachStep(records, (step, chunks) => {
    const isPrompt = (chunk: Chunk) => isPromptOf(known.get(chunk.request)?.promptTokens ?? 0, chunk)
    pushStep(events, step, chunks, isPrompt, at)
    if (step[stepField.discarded] === 1) return
    for (const chunk of chunks) {
      const track = tracks.get(chunk.request) ?? { chunks: [], firstTokenMs: 0 }
      tracks.set(chunk.request, track)
      if (isPrompt(chunk))
        track.chunks.push({ ...chunk, beginMs: step[stepField.begin]!, endMs: step[stepField.computed]! })
      if (chunk.rows > 0) track.firstTokenMs ||= step[stepField.committed]!
    }
  })
  for (const request of records.requests) pushRequest(events, request, tracks.get(request.id), records, at)
  return { traceEvents: events, displayTimeUnit: 'ms', otherData: summariseTrace(records) }
}

interface Track {
  chunks: (Chunk & { beginMs: number; endMs: number })[]
  firstTokenMs: number
}

function forEachStep(records: StepRecords, visit: (step: Float64Array, chunks: Chunk[]) => void): void {
  let next = 0
  for (let at = 0; at < records.steps.length; at += stepFields) {
    const step = records.steps.subarray(at, at + stepFields)
    const chunks = Array.from({ length: step[stepField.segments]! }, () => {
      const row = records.segments.subarray(next, next + segmentFields)
      next += segmentFields
      const { request, tokens, from, rows } = segmentField
      return { request: row[request]!, tokens: row[tokens]!, from: row[from]!, rows: row[rows]! }
    })
    visit(step, chunks)
  }
}

const parts = [
  ['plan', 'begin', 'planned'],
  ['compute', 'planned', 'computed'],
  ['commit', 'computed', 'committed'],
  ['post', 'committed', 'posted'],
] as const

function pushStep(
  events: TraceEvent[],
  step: Float64Array,
  chunks: Chunk[],
  isPrompt: (chunk: Chunk) => boolean,
  at: (ms: number) => number,
): void {
  const sum = (some: Chunk[]) => some.reduce((tokens, chunk) => tokens + chunk.tokens, 0)
  const prompts = chunks.filter(isPrompt)
  const promptTokens = sum(prompts)
  const decodeTokens = sum(chunks) - promptTokens
  const span = (name: string, from: number, to: number, args?: Record<string, unknown>) => {
    const ts = at(from)
    events.push({ name, ph: 'X', cat: 'step', pid, tid, ts, dur: at(to) - ts, ...(args && { args }) })
  }
  const name = step[stepField.discarded] === 1 ? 'discarded step' : 'step'
  const args = {
    ...{ promptTokens, decodeTokens, nativeMs: step[stepField.nativeMs]!, steps: step[stepField.steps]! },
    prompts: Object.fromEntries(prompts.map(({ request, tokens, from }) => [request, `${from}..${from + tokens}`])),
  }
  span(name, step[stepField.begin]!, step[stepField.posted]!, args)
  for (const [part, from, to] of parts) span(part, step[stepField[from]]!, step[stepField[to]]!)
  const counter = (name: string, values: Record<string, number>) =>
    events.push({ name, ph: 'C', pid, tid, ts: at(step[stepField.posted]!), args: values })
  counter('KV blocks', { held: step[stepField.heldBlocks]!, cached: step[stepField.cachedBlocks]! })
  counter('requests', { running: step[stepField.running]!, waiting: step[stepField.waiting]! })
  counter('step tokens', { prompt: promptTokens, decode: decodeTokens })
}

function pushRequest(
  events: TraceEvent[],
  request: RequestRecord,
  track: Track | undefined,
  records: StepRecords,
  at: (ms: number) => number,
): void {
  const { id, askedAtMs, endedAtMs, reason, tenant, promptTokens, cachedTokens, outputTokens } = request
  const span = (name: string, fromMs: number, toMs: number, args?: Record<string, unknown>) => {
    const base = { name, cat: 'request', id: String(id), pid, tid }
    // One that began before the trace begins with it.
    events.push({ ...base, ph: 'b', ts: at(fromMs), ...(args && { args }) })
    events.push({ ...base, ph: 'e', ts: Math.max(at(fromMs), at(toMs)) })
  }
  const endMs = endedAtMs || records.endedAtMs
  const facts = { promptTokens, cachedTokens: Math.max(0, cachedTokens), outputTokens, ended: reason || 'running' }
  span(`request ${id}`, askedAtMs, endMs, { ...facts, ...(tenant !== '' && { tenant }) })
  const firstChunkMs = track?.chunks[0]?.beginMs ?? track?.firstTokenMs
  span('queue', askedAtMs, firstChunkMs || endMs)
  if (track === undefined) return
  for (const { tokens, from, beginMs, endMs: chunkEndMs } of track.chunks) {
    span('prompt', beginMs, chunkEndMs, { tokens, from })
  }
  if (track.firstTokenMs > 0 && endMs > track.firstTokenMs) span('decode', track.firstTokenMs, endMs, { outputTokens })
}

export function summariseTrace(records: StepRecords): TraceSummary {
  const known = new Map(records.requests.map((request) => [request.id, request.promptTokens]))
  const times = { step: 0, native: 0, plan: 0, commit: 0, post: 0, between: 0 }
  const counts = { steps: 0, discarded: 0, prompt: 0, decode: 0 }
  let previous: Float64Array | undefined
  forEachStep(records, (step, chunks) => {
    const spent = (from: keyof typeof stepField, to: keyof typeof stepField) =>
      step[stepField[to]]! - step[stepField[from]]!
    times.step += spent('begin', 'posted')
    times.native += step[stepField.nativeMs]!
    times.plan += spent('begin', 'planned')
    times.commit += spent('computed', 'committed')
    times.post += spent('committed', 'posted')
    if (previous !== undefined && previous[stepField.running]! > 0)
      times.between += step[stepField.begin]! - previous[stepField.posted]!
    previous = step
    counts.steps += step[stepField.steps]!
    counts.discarded += step[stepField.discarded]!
    for (const chunk of chunks) {
      const prompt = isPromptOf(known.get(chunk.request) ?? 0, chunk)
      counts[prompt ? 'prompt' : 'decode'] += chunk.tokens
    }
  })
  const busyMs = times.step + times.between
  return {
    steps: counts.steps,
    ...{ discardedSteps: counts.discarded, lostSteps: records.lostSteps },
    ...{ promptTokens: counts.prompt, decodeTokens: counts.decode },
    seconds: (records.endedAtMs - records.beganAtMs) / 1000,
    ...{ stepSeconds: times.step / 1000, nativeSeconds: times.native / 1000, planSeconds: times.plan / 1000 },
    ...{ commitSeconds: times.commit / 1000, postSeconds: times.post / 1000, betweenSeconds: times.between / 1000 },
    overheadShare: busyMs === 0 ? 0 : 1 - times.native / busyMs,
  }
}
