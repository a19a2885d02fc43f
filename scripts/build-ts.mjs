// Makes dist/ of lib/: types and modules, then the few files that it is entered by. Where dist/ was made of the very same
// sources there is nothing to do, unless --force is given.
//
//   npm run build:ts [-- --force]
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const steps = [
  ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.json'],
  ['scripts/bundle-zod.mjs'],
  ['scripts/bundle-entries.mjs'],
  ['scripts/bundle-ui.mjs'],
]

/** Everything that dist/ depends on, by name and content. */
function digest() {
  const files = readdirSync(join(root, 'lib'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
  const others = [
    'tsconfig.json',
    'package.json',
    'package-lock.json',
    'scripts/build-ts.mjs',
    ...steps.slice(1).flat(),
  ]
  const hash = createHash('sha256').update(process.version)
  for (const file of [...files, ...others.map((name) => join(root, name))].toSorted())
    hash.update(`${file}\0`).update(readFileSync(file))
  return hash.digest('hex')
}

const stamp = join(root, 'dist/.sources')
const sources = digest()
const isMade = existsSync(stamp) && readFileSync(stamp, 'utf8') === sources
if (isMade && !process.argv.includes('--force')) {
  console.log('build:ts: dist/ is made of these sources already')
  process.exit(0)
}
rmSync(stamp, { force: true })
for (const step of steps) {
  const { status } = spawnSync(process.execPath, step, { cwd: root, stdio: 'inherit' })
  if (status !== 0) process.exit(status ?? 1)
}
mkdirSync(join(root, 'dist'), { recursive: true })
writeFileSync(stamp, sources)
