/** Entry of the template worker: one template, rendered on request. Everything it throws becomes TEMPLATE_ERROR. */
import { parentPort, workerData } from 'node:worker_threads'
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

const { source, control, named } = workerData as TemplateWorkerData
let renderer: ChatRenderer | undefined

function compiled(): ChatRenderer {
  renderer ??= new ChatRenderer(new TemplateProgram(source), source, control, named)
  return renderer
}

function errorData(error: unknown): ErrorData {
  if (error instanceof OctavoError) return { code: error.code, message: error.message, details: error.details }
  return { code: 'TEMPLATE_ERROR', ...describeFault(error) }
}

parentPort!.on('message', ({ id, op, args }: Call) => {
  let answer: Answer
  try {
    answer = { id, result: op === 'render' ? compiled().render(args as ChatRequest) : undefined }
  } catch (error) {
    answer = { id, error: errorData(error) }
  }
  parentPort!.postMessage(answer)
})
