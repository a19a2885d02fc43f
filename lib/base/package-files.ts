/**
 * Files of the package that stand beside its code: entries of threads and of the child process (in dist/ each is one file:
 * scripts/library/bundle-entries.mjs), the binary, the embedded model. A bundler that takes the code into a file of its own leaves them
 * behind; then they are those of the installed package, if the bundle's place leads to one of the same version. If not, an error
 * says what to write into the bundler's configuration (docs/bundlers.md).
 */
import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'
import { OctavoError } from './errors.ts'
import { version } from './version.ts'

/** This file, in dist/ or in lib/, or the file of dist/chunks/ that it was made a part of. In the bundle of an application it is another
 * one, or the place where it was bundled; there is none in CommonJS. */
const here: string | undefined = import.meta.url
const extension = /\/(?:base\/package-files|chunks\/\w+)\.([jt]s)$/.exec(here ?? '')?.[1]

/** The entry of a thread or process, by its path in the folder of the code, without extension. Throws BUNDLED. */
export function codeFile(entry: string): URL {
  const beside = extension && existing(new URL(`../${entry}.${extension === 'js' ? 'cjs' : 'ts'}`, here))
  return beside || inPackage(`dist/${entry}.cjs`)
}

/** The package's folder. Throws BUNDLED. */
export function packageRoot(): URL {
  const beside = extension && existing(new URL('../../package.json', here))
  return new URL('.', beside || inPackage('package.json'))
}

const existing = (file: URL): URL | undefined => (existsSync(file) ? file : undefined)

/** A file of the package that `require` finds from where the bundle is. */
function inPackage(path: string): URL {
  const bundle = here ?? (typeof __filename === 'string' ? pathToFileURL(__filename).href : undefined)
  const found = bundle === undefined ? undefined : installed(bundle)
  const file = found?.version === version ? existing(new URL(path, found.root)) : undefined
  if (file) return file
  const seen = found ? `finds octavo ${found.version}` : 'finds no octavo'
  const message =
    `octavo ${version} is part of a bundle and ${seen} in node_modules: it starts threads and opens a binary from files of its ` +
    "package. Leave it out of the bundle and install it beside it. esbuild: external: ['octavo']; webpack: externals: { octavo: " +
    "'import octavo' }; Vite: ssr: { external: ['octavo'] }; Next.js: serverExternalPackages: ['octavo']."
  throw new OctavoError('BUNDLED', message, { expected: path, bundle: bundle ?? 'unknown' })
}

function installed(bundle: string): { root: URL; version: string } | undefined {
  try {
    const manifest = pathToFileURL(createRequire(bundle).resolve('octavo/package.json'))
    const { version } = JSON.parse(readFileSync(manifest, 'utf8')) as { version: string }
    return { root: new URL('.', manifest), version }
  } catch {
    return undefined
  }
}
