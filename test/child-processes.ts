/** Finds the engine processes that a process started, in /proc. */
import { readdirSync, readFileSync } from 'node:fs'

const stat = (pid: string): { parent: number; state: string } | undefined => {
  try {
    // The name, in parentheses, may contain spaces.
    const [state, parent] = readFileSync(`/proc/${pid}/stat`, 'latin1')
      .replace(/^.*\) /s, '')
      .split(' ')
    return { parent: Number(parent), state: state! }
  } catch {
    return undefined
  }
}

const isEngine = (pid: string): boolean => {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1').startsWith('octavo engine')
  } catch {
    return false
  }
}

/** Children in any state, zombies too. */
export function childrenOf(parent: number): number[] {
  const all = readdirSync('/proc').filter((name) => /^\d+$/.test(name))
  return all.filter((pid) => stat(pid)?.parent === parent).map(Number)
}

/** Its engine processes; one that is just starting is not called so yet. */
export function enginesOf(parent: number): number[] {
  return childrenOf(parent).filter((pid) => isEngine(String(pid)))
}

export const isGone = (pid: number): boolean => [undefined, 'Z', 'X'].includes(stat(String(pid))?.state)
