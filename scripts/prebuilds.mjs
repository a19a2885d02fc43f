// Builds the binaries that the npm package ships, prebuilds/<platform>/octavo.node, for linux-x64 and linux-arm64: this machine's
// own natively, the other with a cross compiler. Stripped, without the CUDA plugin, and refused when one would not load on
// a system that README.md promises. `npm pack` runs it.
//
//   node scripts/prebuilds.mjs [linux-x64] [linux-arm64]
import { execFileSync, spawnSync } from 'node:child_process'
import { copyFileSync, mkdirSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { assertPortable } from './elf.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const cmakeJs = createRequire(import.meta.url).resolve('cmake-js/bin/cmake-js')
const arm64 = {
  tools: 'aarch64-linux-gnu',
  toolchain: join(root, 'cpp/cmake/aarch64-linux-gnu.cmake'),
  debian: 'g++-aarch64-linux-gnu',
}
/** How this machine builds for another CPU; absent: it cannot. */
const cross = { x64: { arm64 } }

function build(platform) {
  const arch = platform.replace('linux-', '')
  const other = process.arch === arch ? undefined : cross[process.arch]?.[arch]
  if (process.platform !== 'linux' || (process.arch !== arch && other === undefined))
    throw new Error(`cannot build for ${platform} on ${process.platform}-${process.arch}: expected Linux on x64`)
  if (other !== undefined && spawnSync(`${other.tools}-g++`, ['--version']).error)
    throw new Error(`no cross compiler for ${platform}; on Debian: apt-get install ${other.debian}`)
  const out = join(root, 'build/package', platform)
  const env = { ...process.env, OCTAVO_CUDA: 'OFF', ...(other && { CMAKE_TOOLCHAIN_FILE: other.toolchain }) }
  const args = [cmakeJs, 'compile', '--arch', arch, '--out', out]
  // Standard output belongs to `npm pack --json`.
  execFileSync(process.execPath, args, { cwd: root, env, stdio: ['ignore', process.stderr, process.stderr] })
  const target = join(root, 'prebuilds', platform, 'octavo.node')
  mkdirSync(join(target, '..'), { recursive: true })
  copyFileSync(join(out, 'Release/octavo.node'), target)
  execFileSync(other === undefined ? 'strip' : `${other.tools}-strip`, [target])
  assertPortable(target, arch)
  console.error(`${target}: ${(statSync(target).size / 1e6).toFixed(1)} MB`)
}

const chosen = process.argv.slice(2)
for (const platform of chosen.length > 0 ? chosen : ['linux-x64', 'linux-arm64']) build(platform)
