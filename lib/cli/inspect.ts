/**
 * `octavo inspect <model>`: what is in a model and what memory running it takes. Reads headers only. A sound file that octavo
 * cannot run is shown as well, with the reason.
 */
import type { Command } from 'commander'
import { OctavoError } from '../base/errors.ts'
import { kvBlockTokens } from '../base/kv-blocks.ts'
import { type GgufTensor, type KvDtype, type ModelDesc, native } from '../base/native.ts'
import type { DeviceRequest } from '../host/device.ts'
import { openDraft } from '../host/draft-model.ts'
import { planMemory } from '../host/memory-plan.ts'
import { type Checkpoint, openCheckpoint } from '../model/checkpoint.ts'
import { locateModel, type ModelLocation } from '../model/locate.ts'
import { kvBytesAtLoad as kvBytesAtLoadOf, memoryNeeds, textBytes } from '../model/memory.ts'
import { has, type Metadata, readString } from '../model/metadata.ts'
import { device, kvDtypeOption, positive, size } from './flags.ts'
import { type DeviceMemory, deviceMemory, deviceTable, deviceTarget } from './inspect-device.ts'
import { formatBytes, formatCount, markdownTable, printJson, printLine, visible } from './output.ts'

interface InspectFlags {
  device?: DeviceRequest
  deviceMemory?: number
  context?: number
  kvDtype?: KvDtype
  draft?: string
  tensors?: boolean
  json?: boolean
}

/** Tokens that one step of an engine computes at most, unless told otherwise: sizes the activation buffers. */
const stepTokens = 512

export function addInspect(program: Command): void {
  program
    .command('inspect')
    .description('show architecture, tensors and memory needs')
    .argument('<model>', "a GGUF file, 'stories' or 'synthetic:<preset>[:<type>]'")
    .option(
      '--context <tokens>',
      'predict memory for this context; what the model was trained for when absent',
      positive,
    )
    .option('--device <name>', "of which memory: 'cpu' (default), 'cuda', 'cuda:<number>' or 'auto'", device)
    .option('--device-memory <size>', 'of a GPU with so much of it, for example 24GiB; none need be here', size)
    .addOption(kvDtypeOption())
    .option('--draft <model>', 'with this model beside it, which guesses for it')
    .option('--tensors', 'list every tensor')
    .option('--json', 'print one JSON document')
    .action(inspect)
}

async function inspect(model: string, flags: InspectFlags): Promise<void> {
  const location = locateModel(model)
  const { metadata, tensors, body } = open(location, flags)
  const report = {
    name: location.name,
    ...body,
    tokenizer: {
      kind: readString(metadata, 'tokenizer.ggml.model', 'none'),
      preTokenizer: readString(metadata, 'tokenizer.ggml.pre', 'none'),
      chatTemplate: has(metadata, 'tokenizer.chat_template'),
    },
    files: location.kind === 'files' ? location.files : [],
    tensorBytes: tensors.reduce((sum, tensor) => sum + tensor.bytes, 0),
    tensors: tensorsByType(tensors),
    ...(flags.tensors ? { tensorList: tensors.map(listed) } : {}),
  }
  if (flags.json) await printJson(report)
  else await printLine(render(report))
}

interface Opened {
  metadata: Metadata
  tensors: GgufTensor[]
  body: Body
}

type Body = ReturnType<typeof describe> | { architecture: string; unsupported: string }

function open(location: ModelLocation, flags: InspectFlags): Opened {
  try {
    const checkpoint = openCheckpoint(location)
    return { metadata: checkpoint.metadata, tensors: checkpoint.tensors, body: describe(checkpoint, location, flags) }
  } catch (error) {
    if (!(error instanceof OctavoError) || error.code !== 'MODEL_UNSUPPORTED' || location.kind !== 'files') throw error
    const parts = location.files.map((file) => native().ggufRead(file))
    const { metadata } = parts[0]!
    const architecture = readString(metadata, 'general.architecture', 'unknown')
    return {
      metadata,
      tensors: parts.flatMap((part) => part.tensors),
      body: { architecture, unsupported: error.message },
    }
  }
}

function describe({ desc, parameters }: Checkpoint, location: ModelLocation, flags: InspectFlags) {
  const draft = flags.draft === undefined ? undefined : openDraft(locateModel(flags.draft), location)
  return {
    architecture: desc.architecture,
    parameters,
    layers: desc.layers,
    width: desc.width,
    heads: desc.heads,
    kvHeads: desc.kvHeads,
    headSize: desc.headSize,
    feedForward: desc.feedForward,
    vocabulary: desc.vocabulary,
    trainedContextTokens: desc.contextTokens,
    rope: { style: desc.rope.style, dims: desc.rope.dims, base: desc.rope.base, scaling: desc.rope.scaling.kind },
    slidingWindow: desc.slidingWindow,
    tiedOutput: desc.tensors.output === undefined,
    memory: memoryOf(desc, draft?.desc, flags),
  }
}

function memoryOf(desc: ModelDesc, draft: ModelDesc | undefined, flags: InspectFlags): HostMemory | DeviceMemory {
  const kvDtype = flags.kvDtype ?? 'f16'
  const target = deviceTarget(flags.device, flags.deviceMemory)
  if (target !== undefined)
    return deviceMemory(target, { desc, draft, contextTokens: flags.context, kvDtype, stepTokens })
  const contextTokens = flags.context ?? desc.contextTokens
  return { contextTokens, kvDtype, ...engineMemory(desc, draft, contextTokens, kvDtype) }
}

type HostMemory = { contextTokens: number; kvDtype: KvDtype } & ReturnType<typeof engineMemory>

/**
 * Of an engine with default options where nothing is short: its pool has room for several requests, and is taken into use as it
 * fills.
 */
function engineMemory(desc: ModelDesc, draft: ModelDesc | undefined, contextTokens: number, kvDtype: KvDtype) {
  const plenty = { memoryAvailable: Number.POSITIVE_INFINITY, kvMemoryBytes: undefined, kvDtype }
  const kvTokens = kvBlockTokens * planMemory({ desc, draft, stepTokens, contextTokens, ...plenty }).kvBlocks
  const needs = { kvTokens, ...memoryNeeds(desc, kvTokens, kvDtype, stepTokens), textBytes: textBytes(desc) }
  const drafts = draft && memoryNeeds(draft, kvTokens, kvDtype, stepTokens)
  const totalBytes = needs.totalBytes + needs.textBytes + (drafts?.totalBytes ?? 0)
  const atLoad = (of: ModelDesc) => kvBytesAtLoadOf(of, kvTokens / kvBlockTokens, kvDtype)
  const kvBytesAtLoad = atLoad(desc) + (draft === undefined ? 0 : atLoad(draft))
  // Buffers become as long as steps are.
  const later = [needs, drafts].reduce((sum, of) => sum + (of === undefined ? 0 : of.kvBytes + of.scratchBytes), 0)
  return {
    ...{ ...needs, totalBytes, kvBytesAtLoad, totalBytesAtLoad: totalBytes - later + kvBytesAtLoad },
    ...(drafts && { draft: drafts }),
  }
}

const typeName = ({ type, typeName: name }: GgufTensor): string => name ?? `type ${type}`
const values = ({ shape }: GgufTensor): number => shape.reduce((a, b) => a * b, 1)

function listed(tensor: GgufTensor) {
  return { name: tensor.name, type: typeName(tensor), shape: tensor.shape, bytes: tensor.bytes }
}

function tensorsByType(tensors: GgufTensor[]) {
  const rows = new Map<string, { type: string; count: number; parameters: number; bytes: number }>()
  for (const tensor of tensors) {
    const type = typeName(tensor)
    const row = rows.get(type) ?? { type, count: 0, parameters: 0, bytes: 0 }
    row.count++
    row.parameters += values(tensor)
    row.bytes += tensor.bytes
    rows.set(type, row)
  }
  return [...rows.values()].sort((a, b) => b.bytes - a.bytes)
}

interface Report {
  name: string
  tokenizer: { kind: string; preTokenizer: string; chatTemplate: boolean }
  files: string[]
  tensorBytes: number
  tensors: ReturnType<typeof tensorsByType>
  tensorList?: ReturnType<typeof listed>[]
}

const inLine = (text: string) => visible(text.length > 300 ? `${text.slice(0, 300)}...` : text).replaceAll('\n', ' ')

function render(report: Report & Body): string {
  const { tokenizer } = report
  const facts: [string, string][] = [
    ['model', report.name],
    ...report.files.map((file): [string, string] => ['file', file]),
    ['architecture', report.architecture],
    ...('unsupported' in report ? [['cannot run', report.unsupported] satisfies [string, string]] : modelFacts(report)),
    ['tokenizer', `${tokenizer.kind}, pre-tokenizer ${tokenizer.preTokenizer}`],
    ['chat template', tokenizer.chatTemplate ? 'yes' : 'no'],
  ]
  const lines = facts.map(([name, value]) => `${name.padEnd(14)} ${inLine(value)}`)
  const right = ['tensors', 'parameters', 'bytes']
  const rows = report.tensors.map((row) => [
    row.type,
    `${row.count}`,
    formatCount(row.parameters),
    formatBytes(row.bytes),
  ])
  lines.push('', markdownTable(['type', ...right], rows, right))
  if ('memory' in report) {
    const { memory } = report
    lines.push('', 'device' in memory ? deviceTable(memory, stepTokens) : memoryTable(memory))
  }
  if (report.tensorList) {
    const list = report.tensorList.map(({ name, type, shape, bytes }) => [
      inLine(name),
      type,
      shape.join(' x '),
      formatBytes(bytes),
    ])
    lines.push('', markdownTable(['tensor', 'type', 'shape', 'bytes'], list, ['shape', 'bytes']))
  }
  return lines.join('\n')
}

function modelFacts(model: ReturnType<typeof describe>): [string, string][] {
  const { rope } = model
  return [
    ['parameters', formatCount(model.parameters)],
    ['layers', `${model.layers}`],
    ['width', `${model.width}, feed-forward ${model.feedForward}`],
    ['heads', `${model.heads} of ${model.headSize}, ${model.kvHeads} for keys and values`],
    ['vocabulary', `${model.vocabulary}${model.tiedOutput ? ', output tied to the embedding' : ''}`],
    ['context', `${model.trainedContextTokens}${model.slidingWindow ? `, sliding window ${model.slidingWindow}` : ''}`],
    ['rope', `${rope.style}, ${rope.dims} dimensions, base ${rope.base}, scaling ${rope.scaling}`],
  ]
}

function memoryTable(memory: HostMemory): string {
  const rows = [
    ['weights', formatBytes(memory.weightBytes)],
    [
      `KV cache, ${memory.kvTokens} tokens in requests of ${memory.contextTokens}, ${memory.kvDtype}`,
      formatBytes(memory.kvBytes),
    ],
    [`activations, ${stepTokens} tokens a step`, formatBytes(memory.scratchBytes)],
    ['vocabulary, about', formatBytes(memory.textBytes)],
    ...(memory.draft === undefined ? [] : [['draft model, all of it', formatBytes(memory.draft.totalBytes)]]),
    ['total', formatBytes(memory.totalBytes)],
    [
      `total after load: no activations, of the KV cache ${formatBytes(memory.kvBytesAtLoad)}`,
      formatBytes(memory.totalBytesAtLoad),
    ],
  ]
  return markdownTable(['memory', 'bytes'], rows, ['bytes'])
}
