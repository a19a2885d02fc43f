/**
 * Many programs in one process, one after the other: each is its file as it is, evaluated anew, without Node's start and the reading of
 * all modules. A message names the file, its arguments and what comes on stdin; a NUL on stdout and on stderr ends what the program
 * printed, and a message tells its exit code and what would have kept its process alive. programs.ts is the other end.
 */
import { Readable } from 'node:stream'

/** What belongs to this process whatever it runs: its pipes to the test. */
const own = /^(Pipe|TTY|PipeWrap|TTYWrap|FSReq.*)$/

const left = () => process.getActiveResourcesInfo().filter((name) => !own.test(name))

let count = 0
// Each evaluation of the command listens for errors of stdout.
process.stdout.setMaxListeners(0)

process.on('message', async ({ file, args, input }) => {
  const url = new URL(file)
  Object.defineProperty(process, 'stdin', { value: Readable.from([Buffer.from(input)]), configurable: true })
  process.argv = [process.execPath, url.pathname, ...args]
  process.exitCode = undefined
  await import(`${url.href}?${count++}`)
  const code = process.exitCode ?? 0
  process.exitCode = undefined
  // Threads and processes that were told to end are gone a moment later.
  for (let i = 0; i < 1000 && left().length > 0; i++) await new Promise((resolve) => setTimeout(resolve, 5))
  const kept = left()
  process.stdout.write('\0')
  process.stderr.write('\0')
  process.send({ code, left: kept })
})
