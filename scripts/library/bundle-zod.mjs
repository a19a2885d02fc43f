// Puts what dist/base/zod.js names of zod into it, under zod's licence: one file instead of eighty (see lib/base/zod.ts).
import { readFileSync, rmSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { buildSync } from 'esbuild'

const path = (relative) => fileURLToPath(new URL(`../../${relative}`, import.meta.url))
const outfile = path('dist/base/zod.js')
const licence = readFileSync(path('node_modules/zod/LICENSE'), 'utf8').trim()

buildSync({
  ...{ entryPoints: [outfile], outfile, allowOverwrite: true, bundle: true, logLevel: 'warning' },
  ...{ format: 'esm', platform: 'node', target: 'node20', banner: { js: `/*!\nzod\n\n${licence}\n*/` } },
})
rmSync(`${outfile}.map`, { force: true })
