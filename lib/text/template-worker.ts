/** Entry of the template worker: one template, rendered on request. Everything it throws becomes TEMPLATE_ERROR. */
import { parentPort } from 'node:worker_threads'
import { type ErrorData, OctavoError } from '../base/errors.ts'
import { describeFault } from './jinja/values/faults.ts'
import { ChatRenderer, type ChatRequest } from './template-render.ts'
import { TemplateProgram } from './template-sandbox.ts'
import type { SpecialToken } from './vocabulary/vocabulary.ts'
import type { Answer, Call } from './worker-client.ts'

export interface TemplateWorkerData {
  source: string
  control: SpecialToken[]
  named: Record<string, string>
}

let data: TemplateWorkerData | undefined
let renderer: ChatRenderer | undefined

function hold(next: TemplateWorkerData | undefined): void {
  data = next
  renderer = undefined
}

function compiled(): ChatRenderer {
  const { source, control, named } = data!
  renderer ??= new ChatRenderer(new TemplateProgram(source), source, control, named)
  return renderer
}

function errorData(error: unknown): ErrorData {
  if (error instanceof OctavoError) return { code: error.code, message: error.message, details: error.details }
  return { code: 'TEMPLATE_ERROR', ...describeFault(error) }
}

parentPort!.on('message', ({ id, op, args }: Call) => {
  if (op !== 'render') hold(args as TemplateWorkerData | undefined)
  if (op === 'forget') return
  let answer: Answer
  try {
    answer = { id, result: op === 'render' ? compiled().render(args as ChatRequest) : undefined }
  } catch (error) {
    answer = { id, error: errorData(error) }
  }
  parentPort!.postMessage(answer)
})
