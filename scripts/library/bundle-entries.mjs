// Makes few files of what dist/ is entered by: Node opens all modules of an entry at once, and several entries start together, so that
// a load of some hundred modules would need as many file descriptors. Other packages stay outside. The modules themselves stay where
// they are, for their types and for tests.
import { rmSync } from 'node:fs'
import { dirname, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const dist = fileURLToPath(new URL('../../dist/', import.meta.url))
const options = {
  ...{ outdir: dist, outbase: dist, allowOverwrite: true, bundle: true, packages: 'external', logLevel: 'warning' },
  ...{ format: 'esm', platform: 'node', target: 'node20', sourcemap: true, sourcesContent: false },
}

// The exports and the command share dist/chunks/: an OctavoError is of one class for all of them.
rmSync(`${dist}chunks`, { recursive: true, force: true })
const shared = ['index', 'adapters/ai-sdk/index', 'adapters/langchain/index', 'server/index', 'cli/main']
await build({
  ...options,
  ...{ entryPoints: shared.map((entry) => `${dist}${entry}.js`), splitting: true, chunkNames: 'chunks/[hash]' },
})

// What lib/base/package-files.ts is asked for is one file each. Its place in dist/ goes with the code of that module. CommonJS, since a
// thread starts some eight milliseconds sooner without the loader of modules, and without white space, since all of it is looked through
// before any runs; names stay, for stacks.
for (const entry of [
  'host/worker',
  'host/wire/process',
  'text/text-worker',
  'text/template-worker',
  'grammar/compile',
]) {
  const module = `${dist}${entry}.js`
  const place = JSON.stringify(`./${relative(dirname(module), `${dist}base/package-files.js`)}`)
  await build({
    ...{ ...options, entryPoints: [module], define: { 'import.meta.url': 'packageFilesUrl' } },
    ...{ format: 'cjs', outExtension: { '.js': '.cjs' }, minifyWhitespace: true, minifySyntax: true },
    banner: {
      js: `'use strict'\nconst packageFilesUrl = new URL(${place}, require('node:url').pathToFileURL(__filename)).href`,
    },
  })
}
