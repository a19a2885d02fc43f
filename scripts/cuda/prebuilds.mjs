// Builds the plugins that the package octavo-cuda ships, build/package/octavo-cuda/prebuilds/<platform>/octavo_cuda.so, for linux-x64 and
// linux-arm64. Needs nvcc, on an x64 machine; device code is compiled once, for every architecture (scripts/cuda/kernels.mjs, which holds it
// against the ratchet), and is the same in both; the host side for arm64 by a cross compiler. Stripped, and refused when one would not load
// on a system that README.md promises, or is too large.
//
//   node scripts/cuda/prebuilds.mjs [linux-x64] [linux-arm64]
import { execFileSync, spawnSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { assertPortable } from '../elf.mjs'

const root = fileURLToPath(new URL('../..', import.meta.url))
const most = 12e6
const tools = 'aarch64-linux-gnu'
const images = join(root, 'build/package/cuda-images')

function build(platform) {
  const arch = platform.replace('linux-', '')
  const cross = arch !== process.arch
  if (process.platform !== 'linux' || process.arch !== 'x64') throw new Error('expected Linux on x64')
  if (cross && spawnSync(`${tools}-g++`, ['--version']).error)
    throw new Error(`no cross compiler for ${platform}; on Debian: apt-get install g++-${tools}`)
  const folder = join(root, 'build/package', `cuda-${platform}`)
  const configure = ['-S', root, '-B', folder, '-DCMAKE_BUILD_TYPE=Release', '-DOCTAVO_CUDA=ON']
  configure.push(`-DOCTAVO_CUDA_FOLDER=${folder}`, `-DOCTAVO_CUDA_IMAGES=${images}`)
  if (cross) configure.push(`-DCMAKE_TOOLCHAIN_FILE=${join(root, 'cpp/cmake/aarch64-linux-gnu.cmake')}`)
  if (!existsSync(join(folder, 'CMakeCache.txt')) && !spawnSync('ninja', ['--version']).error)
    configure.push('-G', 'Ninja')
  const env = { ...process.env, OCTAVO_CUDA: 'ON' }
  const stdio = ['ignore', process.stderr, process.stderr]
  execFileSync('cmake', configure, { env, stdio })
  execFileSync('cmake', ['--build', folder, '--target', 'octavo_cuda', '-j', '2'], { env, stdio })
  const target = join(root, 'build/package/octavo-cuda/prebuilds', platform, 'octavo_cuda.so')
  mkdirSync(join(target, '..'), { recursive: true })
  copyFileSync(join(folder, 'octavo_cuda.so'), target)
  execFileSync(cross ? `${tools}-strip` : 'strip', [target])
  assertPortable(target, arch)
  const { size } = statSync(target)
  if (size > most) throw new Error(`${target} has ${size} bytes, expected at most ${most}`)
  console.error(`${target}: ${(size / 1e6).toFixed(1)} MB`)
}

rmSync(images, { recursive: true, force: true })
const kernels = [join(root, 'scripts/cuda/kernels.mjs'), '--images', images, '--jobs', '2']
execFileSync(process.execPath, kernels, { stdio: ['ignore', process.stderr, process.stderr] })
const chosen = process.argv.slice(2)
for (const platform of chosen.length > 0 ? chosen : ['linux-x64', 'linux-arm64']) build(platform)
