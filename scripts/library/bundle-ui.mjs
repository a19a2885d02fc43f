// Makes the page at /ui out of lib/ui: dist/ui/ with one program, one style sheet and the page, under the licences of what is in them.
import { copyFileSync, mkdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const path = (relative) => fileURLToPath(new URL(`../../${relative}`, import.meta.url))
const licence = (name) => `${name}\n\n${readFileSync(path(`node_modules/${name}/LICENSE`), 'utf8').trim()}`

mkdirSync(path('dist/ui'), { recursive: true })
await build({
  ...{ entryPoints: [path('lib/ui/app.tsx')], outfile: path('dist/ui/app.js'), bundle: true, minify: true },
  ...{ format: 'esm', platform: 'browser', target: 'es2022', logLevel: 'warning', legalComments: 'none' },
  ...{
    jsx: 'automatic',
    jsxImportSource: 'preact',
    banner: { js: `/*!\n${licence('preact')}\n\n${licence('uplot')}\n*/` },
  },
})
await build({
  ...{
    stdin: {
      contents: '@import "uplot/dist/uPlot.min.css";\n@import "./app.css";',
      resolveDir: path('lib/ui'),
      loader: 'css',
    },
  },
  ...{ outfile: path('dist/ui/app.css'), bundle: true, minify: true, logLevel: 'warning' },
})
copyFileSync(path('lib/ui/index.html'), path('dist/ui/index.html'))
