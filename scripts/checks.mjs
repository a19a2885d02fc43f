// What needs neither a build nor a run, all at once: style, and types of the library, the tests, the benchmarks and the page.
//
//   npm run checks
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const checks = [
  ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.check.json'],
  ['node_modules/@biomejs/biome/bin/biome', 'check', '.'],
  ['node_modules/typescript/bin/tsc', '-p', 'lib/ui'],
]

/** Prints what a check says when it is done. */
const run = (check) =>
  new Promise((resolve, reject) => {
    const chunks = []
    const child = spawn(process.execPath, check, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] })
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => chunks.push(chunk))
    child.on('error', reject)
    child.on('close', (code) => {
      process.stdout.write(Buffer.concat(chunks))
      resolve(code ?? 1)
    })
  })

const codes = await Promise.all(checks.map(run))
process.exit(codes.find((code) => code !== 0) ?? 0)
