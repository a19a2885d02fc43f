/**
 * `octavo chat <model>`: a conversation at the terminal, or with lines piped in (one message a line). Ctrl-C cancels the
 * answer that runs and keeps the session; the next one, or Ctrl-D, leaves.
 */
import { createInterface } from 'node:readline'
import { type Command, Option } from 'commander'
import pc from 'picocolors'
import { toOctavoError } from '../base/errors.ts'
import type { Engine, Generation, ToolSet } from '../index.ts'
import type { EngineFlags, SamplingFlags, TemplateFlags } from './flags.ts'
import { addEngineFlags, addSamplingFlags, addTemplateFlags, samplingOptions } from './flags.ts'
import { readModule } from './given-files.ts'
import { loadEngine, summary } from './load.ts'
import { note, printAnswer, printJson, showPrompt } from './output.ts'

interface ChatFlags extends EngineFlags, SamplingFlags, TemplateFlags {
  system?: string
  restore?: string
  save?: string
  tools?: string
  json?: boolean
}

const help = '/undo forgets the last turn, /reset starts over, /exit or Ctrl-D leaves, Ctrl-C cancels an answer'

export function addChat(program: Command): void {
  const command = program
    .command('chat')
    .description('talk with a model')
    .argument('<model>', "a GGUF file, 'stories' or 'synthetic:<preset>'")
    .option('--system <text>', 'the system message')
    .addOption(new Option('--restore <file>', 'go on with a saved conversation').conflicts('system'))
    .option('--save <file>', 'save the conversation at the end')
    .option(
      '--tools <file>',
      'tools that the model may call: the default export of a module, as the option tools has them',
    )
    .option('--json', 'print one line of JSON for each answer')
  addSamplingFlags(addTemplateFlags(addEngineFlags(command))).action(async (model: string, flags: ChatFlags) => {
    const engine = await loadEngine(model, flags)
    if (!engine) return
    try {
      await converse(engine, flags)
    } finally {
      await engine.close()
    }
  })
}

async function converse(engine: Engine, flags: ChatFlags): Promise<void> {
  const terminal = process.stdin.isTTY && process.stdout.isTTY && !flags.json
  const given = {
    ...(flags.templateOption && { templateOptions: flags.templateOption }),
    ...(flags.tools !== undefined && { tools: (await readModule(flags.tools, 'tools')) as ToolSet }),
  }
  const start = () => engine.session({ ...given, ...(flags.system !== undefined && { system: flags.system }) })
  let session = flags.restore === undefined ? start() : await engine.restoreSession(flags.restore, given)
  let running: Generation | undefined
  let warned = false // a Ctrl-C since the last line: the next one leaves
  let leaving = false
  const lines = createInterface({
    input: process.stdin,
    ...(terminal ? { output: process.stdout, terminal: true, prompt: pc.bold('> ') } : { terminal: false }),
  })
  const interrupt = () => {
    if (running && !warned) {
      running.cancel()
    } else if (terminal && !warned) {
      note('\nCtrl-C again, or Ctrl-D, leaves')
      lines.prompt()
    } else {
      leaving = true
      running?.cancel()
      lines.close()
    }
    warned = true
  }
  // In a terminal readline reads Ctrl-C itself; otherwise it comes as a signal.
  lines.on('SIGINT', interrupt)
  process.on('SIGINT', interrupt)
  if (terminal) {
    note(help)
    lines.prompt()
  }
  try {
    for await (const line of lines) {
      warned = false
      const message = line.trim()
      if (message === '/exit') break
      if (message === '/reset') {
        session.close()
        session = start()
        note('a fresh conversation')
      } else if (message === '/undo') {
        note(session.undo() ? 'the last turn is forgotten' : 'there is no turn to forget')
      } else if (message.startsWith('/')) {
        note(help)
      } else if (message !== '') {
        try {
          if (flags.showPrompt)
            await showPrompt(await session.renderPrompt(message, samplingOptions(flags)), flags.json)
          running = session.generate(message, samplingOptions(flags))
          await answer(running, flags, terminal)
        } catch (error) {
          if (!terminal) throw error
          const { code, message: what } = toOctavoError(error)
          note(`${code}: ${what}${code === 'CONTEXT_OVERFLOW' ? ' (/reset starts over)' : ''}`)
        }
        running = undefined
      }
      if (leaving) break
      if (terminal) lines.prompt()
    }
    if (flags.save !== undefined) {
      const { tokens, bytes } = await session.save(flags.save)
      note(`saved ${tokens} tokens in ${bytes} bytes`)
    }
  } finally {
    lines.close()
    process.off('SIGINT', interrupt)
    session.close()
  }
}

async function answer(generation: Generation, flags: ChatFlags, terminal: boolean): Promise<void> {
  if (!flags.json) await printAnswer(generation)
  const result = await generation.result
  if (flags.json) await printJson(result)
  else if (terminal) note(summary(result))
}
