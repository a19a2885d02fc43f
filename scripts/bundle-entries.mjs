// Makes one file of each entry of a thread or process in dist/: Node opens all modules of an entry at once, and several entries start
// together, so that a load of some hundred modules would need as many file descriptors. Other packages stay outside. Each module
// keeps the place that its `import.meta.url` names.
import { readFileSync } from 'node:fs'
import { dirname, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const dist = fileURLToPath(new URL('../dist/', import.meta.url))
/** What lib/base/package-files.ts is asked for. */
const entries = ['host/worker.js', 'host/wire/process.js', 'text/text-worker.js', 'text/template-worker.js']

for (const entry of entries) {
  const outfile = `${dist}${entry}`
  const keepPlaces = {
    name: 'keep-places',
    setup: ({ onLoad }) =>
      onLoad({ filter: /\/dist\/.*\.js$/ }, ({ path }) => {
        const place = JSON.stringify(`./${relative(dirname(outfile), path)}`)
        const contents = readFileSync(path, 'utf8').replaceAll(
          'import.meta.url',
          `new URL(${place}, import.meta.url).href`,
        )
        return { contents, loader: 'js' }
      }),
  }
  await build({
    ...{
      entryPoints: [outfile],
      outfile,
      allowOverwrite: true,
      bundle: true,
      packages: 'external',
      logLevel: 'warning',
    },
    ...{
      format: 'esm',
      platform: 'node',
      target: 'node20',
      sourcemap: true,
      sourcesContent: false,
      plugins: [keepPlaces],
    },
  })
}
