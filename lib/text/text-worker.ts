/**
 * Entry of the text worker: the one copy of the vocabulary. Work is done in turns: a long text pauses at safe places, so
 * that short requests behind it are answered meanwhile.
 */
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { parentPort } from 'node:worker_threads'
import { toErrorData } from '../base/errors.ts'
import { native } from '../base/native.ts'
import { codeFile } from '../base/package-files.ts'
import type { GrammarSource } from '../grammar/compile.ts'
import { templateFault } from './template-sandbox.ts'
import type { Started, TextWorkerData } from './text-service.ts'
import { type ChatText, type DecodeOptions, type EncodeOptions, Tokenizer } from './tokenizer.ts'
import type { Answer, Call } from './worker-client.ts'

let tokenizer: Tokenizer
let warming: NodeJS.Timeout | undefined
/** What the first text needs is made when a short load has ended, which has better uses for the CPU. */
const warmAfterMs = 150
/** A file of its own, opened for the first grammar. */
const openCompiler = () =>
  createRequire(import.meta.url)(fileURLToPath(codeFile('grammar/compile'))) as typeof import('../grammar/compile.ts')
let compiler: ReturnType<typeof openCompiler> | undefined

function load({ source, chatTemplate: given }: TextWorkerData): Started {
  if (source.kind === 'tokenizer-json') tokenizer = Tokenizer.fromFile(source.path)
  else
    tokenizer = Tokenizer.fromMetadata(
      source.kind === 'gguf' ? native().ggufRead(source.path, 'packed').metadata : source.metadata,
    )
  warming = setTimeout(() => tokenizer.warm(), warmAfterMs)
  const { control, named } = tokenizer.vocabulary
  const chatTemplate = given ?? tokenizer.vocabulary.chatTemplate
  // Compiling runs nothing of it.
  const fault = chatTemplate === undefined ? undefined : templateFault(chatTemplate)
  return { info: tokenizer.info, control, named, chatTemplate, fault }
}

/** A request in progress: a generator that pauses, and returns the answer. */
type Job = Generator<void, unknown>

const jobs: { id: number; job: Job }[] = []

function* start({ op, args }: Call): Job {
  switch (op) {
    case 'load':
      return load(args as TextWorkerData)
    case 'tokenize': {
      const { text, options } = args as { text: string; options: EncodeOptions }
      return Int32Array.from(yield* tokenizer.encodeSteps(text, options))
    }
    case 'chat':
      return Int32Array.from(yield* tokenizer.encodeChatSteps(args as ChatText, tokenizer.info.addBos))
    case 'detokenize': {
      const { ids, options } = args as { ids: Int32Array; options: DecodeOptions }
      return tokenizer.decode(ids, options)
    }
    case 'grammar': {
      const { source, tenant } = args as { source: GrammarSource; tenant: string }
      compiler ??= openCompiler()
      return compiler.compileGrammar(source, tenant)
    }
    default:
      throw new Error(`unknown operation ${op}`)
  }
}

/** One turn of the job in front; it goes to the back of the queue when it is not done. */
function turn(): void {
  const current = jobs.shift()
  if (!current) return
  let answer: Answer | undefined
  let transfer: ArrayBuffer[] = []
  try {
    const step = current.job.next()
    if (step.done) {
      answer = { id: current.id, result: step.value }
      if (step.value instanceof Int32Array) transfer = [step.value.buffer as ArrayBuffer]
    }
  } catch (error) {
    answer = { id: current.id, error: toErrorData(error) }
  }
  if (answer) parentPort!.postMessage(answer, transfer)
  else jobs.push(current)
  if (jobs.length > 0) setImmediate(turn)
}

parentPort!.on('message', (call: Call) => {
  if (call.op === 'forget') {
    // Nobody asked for anything that is not answered.
    clearTimeout(warming)
    tokenizer = undefined as never
    return
  }
  jobs.push({ id: call.id, job: start(call) })
  if (jobs.length === 1) setImmediate(turn)
})
