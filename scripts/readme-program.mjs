// The program that README.md shows first: the six lines that must run in an empty folder.
import { readFileSync } from 'node:fs'

export function readmeProgram() {
  const text = readFileSync(new URL('../README.md', import.meta.url), 'utf8')
  const program = /```js\n([\s\S]*?)```/.exec(text)?.[1]
  if (program === undefined) throw new Error('README.md: expected a block of js')
  return program
}
