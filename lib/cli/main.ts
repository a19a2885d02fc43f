#!/usr/bin/env node
/**
 * The `octavo` command. Exit codes: 0 done, 1 an error (`octavo: CODE: message` on stderr), 2 wrong usage, 130 Ctrl-C.
 */
import { Command, CommanderError } from 'commander'
import { toOctavoError } from '../base/errors.ts'
import { version } from '../base/version.ts'
import { addBench } from './bench.ts'
import { addBenchLoad } from './bench-load.ts'
import { addChat } from './chat.ts'
import { addDevices } from './devices.ts'
import { addInspect } from './inspect.ts'
import { clearStatusLine, visible } from './output.ts'
import { addRun } from './run.ts'
import { addServe } from './serve.ts'
import { addSynthesize } from './synthesize.ts'
import { addTrace } from './trace.ts'

const program = new Command('octavo')
  .description(
    "Runs large language models in this process. A <model> is a GGUF file, 'stories' (a small model that comes with octavo)\n" +
      "or 'synthetic:<preset>' (random weights of a known model's shape).",
  )
  .version(version)
  .exitOverride()
  .showHelpAfterError('(octavo --help lists the commands)')

for (const add of [addRun, addChat, addServe, addInspect, addDevices, addBench, addBenchLoad, addTrace, addSynthesize])
  add(program)

// The reader of a pipe has seen enough (`octavo run ... | head`): no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  process.exit(error.code === 'EPIPE' ? 0 : 1)
})

try {
  await program.parseAsync()
} catch (error) {
  clearStatusLine()
  if (error instanceof CommanderError) {
    // Commander has printed its message; help and version come here too, with exit code 0.
    process.exitCode = error.exitCode === 0 ? 0 : 2
  } else {
    const { code, message } = toOctavoError(error)
    process.stderr.write(`octavo: ${code}: ${visible(message)}\n`)
    process.exitCode = 1
  }
}
