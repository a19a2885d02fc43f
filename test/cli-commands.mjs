/**
 * Many command lines of `octavo` in one process, one after the other: what starts is dist/cli/main.js as it is, evaluated anew for each,
 * without Node's start and the reading of all modules. Arguments come as messages; a NUL on stdout and on stderr ends what a command
 * printed, and a message tells its exit code and what would have kept its process alive. What comes on stdin is a part of the message.
 */
import { Readable } from 'node:stream'

const main = new URL('../dist/cli/main.js', import.meta.url)

/** What belongs to this process whatever it runs: its pipes to the test. */
const own = /^(Pipe|TTY|PipeWrap|TTYWrap|FSReq.*)$/

const left = () => process.getActiveResourcesInfo().filter((name) => !own.test(name))

let count = 0
// Each evaluation of main.js listens for errors of stdout.
process.stdout.setMaxListeners(0)

process.on('message', async ({ args, input }) => {
  Object.defineProperty(process, 'stdin', { value: Readable.from([Buffer.from(input)]), configurable: true })
  process.argv = [process.execPath, main.pathname, ...args]
  process.exitCode = undefined
  await import(`${main.href}?${count++}`)
  const code = process.exitCode ?? 0
  process.exitCode = undefined
  // Threads and processes that were told to end are gone a moment later.
  for (let i = 0; i < 1000 && left().length > 0; i++) await new Promise((resolve) => setTimeout(resolve, 5))
  const kept = left()
  process.stdout.write('\0')
  process.stderr.write('\0')
  process.send({ code, left: kept })
})
