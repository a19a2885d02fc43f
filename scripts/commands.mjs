// What scripts that make and check packages do again and again.
import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))

/** What a command prints; one that fails throws with all that it said. In the project's folder unless options say otherwise. */
export function run(command, args, options = {}) {
  try {
    return execFileSync(command, args, { cwd: root, encoding: 'utf8', maxBuffer: 1 << 28, stdio: 'pipe', ...options })
  } catch (error) {
    throw new Error(`${command} ${args.join(' ')}\n${error.stdout ?? ''}${error.stderr ?? ''}${error.message}`)
  }
}

export function expect(condition, message) {
  if (!condition) throw new Error(message)
}
