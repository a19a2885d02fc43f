/**
 * Starts a child process (process.ts) that runs the engine thread, and is the other end of its wire: what kills the child, from a
 * driver fault to the kernel's out-of-memory killer, leaves this process alive.
 *
 * The child is in a session of its own, so that Ctrl-C reaches only this process; it ends when the channel between the two
 * closes, so it never outlives this process. It prints nothing: what it says on stderr before it dies goes into the error.
 */
import { type ChildProcess, fork } from 'node:child_process'
import type { Socket } from 'node:net'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { ErrorData } from '../../base/errors.ts'
import { codeFile } from '../../base/package-files.ts'
import type { FromHost, HostOptions, ToHost } from './protocol.ts'
import type { HostWire } from './wire.ts'

/** What the child's main thread takes: what it does itself, and what it hands to the engine thread. */
export type ToProcess = { type: 'start'; options: HostOptions } | { type: 'halt' } | { type: 'discard' } | ToHost

/** Closing frees memory, which takes milliseconds; a child that needs longer than this hangs, and nothing is lost with it. */
const closeGraceMs = 3000
const stderrCharacters = 2000

export function processWire(options: HostOptions): HostWire {
  const child = start()
  const lastWords = collectStderr(child)
  let failure: string | undefined
  let exited = false
  let disconnected = false
  let grace: NodeJS.Timeout | undefined
  let onExit: ((error: ErrorData | undefined) => void) | undefined
  const kill = () => void child.kill('SIGKILL')
  const endSoon = () => {
    grace ??= setTimeout(kill, closeGraceMs).unref()
  }
  /** Messages of a dead child may still be in the channel: the end is when both have ended. */
  const ended = () => {
    if (!exited || !disconnected) return
    clearTimeout(grace)
    onExit?.(deathError(child, failure, lastWords()))
    onExit = undefined
  }
  // A message to a child that has just died: its end is reported by the events below.
  const send = (message: ToProcess) => child.connected && child.send(message, () => {})
  child.on('error', (error) => {
    failure = error.message
    // It could not be started: no other event comes.
    if (child.pid === undefined) {
      exited = disconnected = true
      ended()
    }
  })
  child.on('exit', () => {
    exited = true
    ended()
  })
  child.on('disconnect', () => {
    disconnected = true
    // A process without a channel is of no use, whatever it still does.
    kill()
    ended()
  })
  send({ type: 'start', options })
  return {
    post: (message) => {
      if (message.type === 'close') endSoon()
      send(message.type === 'vocabulary' ? unshared(message) : message)
    },
    setRef: (ref) => {
      for (const handle of [child, child.channel]) ref ? handle?.ref() : handle?.unref()
    },
    onMessage: (listener) =>
      void child.on('message', (message) => {
        if ((message as FromHost).type === 'failed') endSoon()
        listener(message as FromHost)
      }),
    onExit: (listener) => {
      onExit = listener
    },
    halt: () => void send({ type: 'halt' }),
    discardLongStep: () => void send({ type: 'discard' }),
    abandon: kill,
  }
}

function start(): ChildProcess {
  // The application's own flags are not for this process: it may be under a debugger, or preload modules that print.
  const { NODE_OPTIONS: _flags, ...env } = process.env
  const entry = fileURLToPath(codeFile('host/wire/process'))
  return fork(entry, [], {
    // Not the application's, which may be gone when a process is started again; every path is absolute.
    cwd: dirname(entry),
    serialization: 'advanced',
    detached: true,
    execArgv: [],
    env,
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  })
}

function collectStderr(child: ChildProcess): () => string {
  let text = ''
  const stderr = child.stderr as Socket | null
  stderr?.setEncoding('utf8')
  stderr?.on('data', (part: string) => {
    text = (text + part).slice(-stderrCharacters)
  })
  stderr?.unref()
  return () => text.trim()
}

/** Undefined for an end that was asked for. */
function deathError(child: ChildProcess, failure: string | undefined, stderr: string): ErrorData | undefined {
  const { exitCode, signalCode } = child
  if (exitCode === 0 && failure === undefined) return undefined
  const how =
    failure !== undefined && exitCode === null && signalCode === null
      ? `could not be started: ${failure}`
      : signalCode !== null
        ? `was killed by ${signalCode}`
        : `ended with exit code ${exitCode}`
  const details = { signal: signalCode, exitCode, ...(stderr === '' ? {} : { stderr }) }
  return { code: 'ENGINE_FAILED', message: `The engine process ${how}.`, details }
}

/** Shared memory cannot cross a process border. */
function unshared(message: Extract<ToHost, { type: 'vocabulary' }>): ToHost {
  const { tokenBytes, ...rest } = message.vocabulary
  const copy = { bytes: new Uint8Array(tokenBytes.bytes), offsets: new Uint32Array(tokenBytes.offsets) }
  return { type: 'vocabulary', vocabulary: { ...rest, tokenBytes: copy } }
}
