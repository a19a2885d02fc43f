/** Runs a module that may import 'octavo' in a process of its own, and tells how that ended. */
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

export const packageRoot = fileURLToPath(new URL('..', import.meta.url))

export interface Ending {
  /** Exit code, or the signal that ended it. 'hang': it had to be killed. */
  end: number | string
  stdout: string
  stderr: string
}

export interface ChildOptions {
  flags?: string[]
  /** Called with what came on stdout so far. */
  onOutput?: (stdout: string, kill: (signal: NodeJS.Signals) => void) => void
}

const hangMs = 45_000

export function child(source: string, { flags = [], onOutput }: ChildOptions = {}): Promise<Ending> {
  return new Promise((resolve, reject) => {
    const args = [...flags, '--input-type=module', '-e', source]
    const process_ = spawn(process.execPath, args, { cwd: packageRoot, stdio: ['ignore', 'pipe', 'pipe'] })
    let [stdout, stderr, hung] = ['', '', false]
    const timer = setTimeout(() => {
      hung = true
      process_.kill('SIGKILL')
    }, hangMs)
    process_.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text
      onOutput?.(stdout, (signal) => process_.kill(signal))
    })
    process_.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text
    })
    process_.on('error', reject)
    process_.on('close', (code, signal) => {
      clearTimeout(timer)
      resolve({ end: hung ? 'hang' : (code ?? signal ?? 'unknown'), stdout: stdout.trim(), stderr: stderr.trim() })
    })
  })
}
