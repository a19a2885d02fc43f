/**
 * `octavo run <model> [prompt]`: one prompt, its text streamed to stdout. The prompt is a user's message when the model has
 * a chat template, plain text otherwise or with --raw. Ctrl-C ends the generation, keeps what was printed and exits 130.
 */
import { text as readAll } from 'node:stream/consumers'
import type { Command } from 'commander'
import type { Engine, Schema } from '../index.ts'
import type { EngineFlags, SamplingFlags, TemplateFlags } from './flags.ts'
import { addEngineFlags, addSamplingFlags, addTemplateFlags, samplingOptions } from './flags.ts'
import { readSchema } from './given-files.ts'
import { exitInterrupted, loadEngine, summary } from './load.ts'
import { note, printAnswer, printJson, showPrompt } from './output.ts'

interface RunFlags extends EngineFlags, SamplingFlags, TemplateFlags {
  raw?: boolean
  system?: string
  schema?: string
  json?: boolean
}

export function addRun(program: Command): void {
  const command = program
    .command('run')
    .description('generate text for one prompt')
    .argument('<model>', "a GGUF file, 'stories' or 'synthetic:<preset>'")
    .argument('[prompt]', 'the prompt; read from standard input when absent')
    .option('--raw', 'the prompt as it is, without the chat template')
    .option('--parse-special', 'with --raw: control tokens in the prompt count as such')
    .option('--system <text>', "the system message before the user's")
    .option(
      '--schema <file>',
      'an answer of this form: a JSON Schema, or a module whose default export is one or a zod type',
    )
    .option('--json', 'print one JSON document when done')
  addSamplingFlags(addTemplateFlags(addEngineFlags(command))).action(
    async (model: string, argument: string | undefined, flags: RunFlags) => {
      const prompt = argument ?? (await promptFromStdin(command))
      const schema = flags.schema === undefined ? undefined : await readSchema(flags.schema)
      const engine = await loadEngine(model, flags)
      if (!engine) return
      try {
        await generate(engine, prompt, schema, flags)
      } finally {
        await engine.close()
      }
    },
  )
}

async function promptFromStdin(command: Command): Promise<string> {
  if (process.stdin.isTTY) command.error('error: no prompt: give one as an argument or on standard input')
  // `echo prompt |` adds a line end that nobody meant.
  return (await readAll(process.stdin)).replace(/\r?\n$/, '')
}

async function generate(engine: Engine, prompt: string, schema: Schema | undefined, flags: RunFlags): Promise<void> {
  const asChat = engine.model.chatTemplate && !flags.raw
  const system = flags.system === undefined ? [] : [{ role: 'system' as const, content: flags.system }]
  const template = flags.templateOption === undefined ? {} : { templateOptions: flags.templateOption }
  const chat = { messages: [...system, { role: 'user' as const, content: prompt }], ...template }
  const input = asChat ? chat : { prompt }
  if (flags.showPrompt) await showPrompt(asChat ? await engine.renderPrompt(chat) : { text: prompt }, flags.json)
  const generation = engine.generate({ ...input, ...samplingOptions(flags), ...(schema !== undefined && { schema }) })
  let interrupted = false
  const interrupt = () => {
    if (interrupted) process.exit(exitInterrupted)
    interrupted = true
    generation.cancel()
  }
  process.on('SIGINT', interrupt)
  try {
    if (!flags.json) await printAnswer(generation)
    const result = await generation.result
    if (flags.json) await printJson(result)
    else note(summary(result))
  } finally {
    process.off('SIGINT', interrupt)
  }
  if (interrupted) process.exitCode = exitInterrupted
}
