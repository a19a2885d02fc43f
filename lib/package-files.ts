/**
 * Files of the package that stand beside its code: entries of threads and of the child process (in dist/ each is one file:
 * scripts/bundle-entries.mjs), the binary, the embedded model. A bundler that takes the code into a file of its own leaves them
 * behind. That is an error which says what to write into its configuration (docs/bundlers.md).
 */
import { existsSync } from 'node:fs'
import { OctavoError } from './errors.ts'

/** This file, in dist/ or in lib/. In a bundle it is another one, or the place where it was bundled; there is none in CommonJS. */
const here: string | undefined = import.meta.url
const extension = /\/package-files\.([jt]s)$/.exec(here ?? '')?.[1]

/** A module, by its path in the folder of the code, without extension. Throws BUNDLED. */
export const codeFile = (module: string): URL => existing(`./${module}.${extension ?? 'js'}`)

/** The package's folder. Throws BUNDLED. */
export const packageRoot = (): URL => new URL('.', existing('../package.json'))

function existing(path: string): URL {
  const file = extension === undefined ? undefined : new URL(path, here)
  if (file !== undefined && existsSync(file)) return file
  const message =
    `octavo is part of a bundle and does not find its own ${path.replace(/^[./]+/, '')}: it starts threads and opens a binary from ` +
    "files of its package. Leave it in node_modules. esbuild: external: ['octavo']; webpack: externals: { octavo: 'import octavo' }; " +
    "Vite: ssr: { external: ['octavo'] }; Next.js: serverExternalPackages: ['octavo']."
  throw new OctavoError('BUNDLED', message, { expected: path, bundle: here ?? 'CommonJS' })
}
