// Whether dist/ is made of the sources as they are: what it was made of stands in dist/.sources.
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../..', import.meta.url))
const stamp = join(root, 'dist/.sources')
const others = ['tsconfig.json', 'package.json', 'package-lock.json', 'scripts/library/build.mjs']
const bundlers = [
  'scripts/library/bundle-zod.mjs',
  'scripts/library/bundle-entries.mjs',
  'scripts/library/bundle-ui.mjs',
]

/** Everything that dist/ depends on, by name and content. */
function digest() {
  const files = readdirSync(join(root, 'lib'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(root, join(entry.parentPath, entry.name)))
  const hash = createHash('sha256')
  for (const file of [...files, ...others, ...bundlers].toSorted())
    hash.update(`${file}\0`).update(readFileSync(join(root, file)))
  return hash.digest('hex')
}

export const isDistMade = () => existsSync(stamp) && readFileSync(stamp, 'utf8') === digest()

/** Runs what makes it; what fails leaves it unmade. */
export function makeDist(make) {
  rmSync(stamp, { force: true })
  const sources = digest()
  make()
  writeFileSync(stamp, sources)
}
