// Installs node-llama-cpp from the npm registry, with its binary for this CPU, into a folder of its own.
import { execFileSync } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const version = '3.22.1'

export function installPeer(folder) {
  if (existsSync(join(folder, 'node_modules', 'node-llama-cpp'))) return
  console.error(`installing node-llama-cpp into ${folder}`)
  writeFileSync(join(folder, 'package.json'), '{"private":true}')
  const packages = [`node-llama-cpp@${version}`, `@node-llama-cpp/linux-${process.arch}@${version}`]
  const options = ['--ignore-scripts', '--omit=optional', '--no-audit', '--prefix', folder]
  execFileSync('npm', ['install', ...options, ...packages], { stdio: 'ignore' })
}
