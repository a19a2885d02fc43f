// Makes dist/ of lib/: types and modules, then the few files that it is entered by. Where dist/ is of these sources already there is
// nothing to do, unless --force is given.
//
//   npm run build:ts [-- --force]
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { isDistMade, makeDist } from './sources.mjs'

const root = fileURLToPath(new URL('../..', import.meta.url))
const steps = [
  ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.json'],
  ['scripts/library/bundle-zod.mjs'],
  ['scripts/library/bundle-entries.mjs'],
  ['scripts/library/bundle-ui.mjs'],
]

if (isDistMade() && !process.argv.includes('--force')) console.log('build:ts: dist/ is of these sources already')
else
  makeDist(() => {
    for (const step of steps) {
      const { status } = spawnSync(process.execPath, step, { cwd: root, stdio: 'inherit' })
      if (status !== 0) process.exit(status ?? 1)
    }
  })
