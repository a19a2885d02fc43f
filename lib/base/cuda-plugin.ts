/**
 * Finds the CUDA plugin: what OCTAVO_CUDA_PLUGIN names, or one built beside the addon, else that of the package octavo-cuda, which
 * has one for each platform. The two packages are made of one source: another version of it is refused in words before its file is opened.
 */
import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, resolve } from 'node:path'
import { isWholeElf } from './elf.ts'
import { version } from './version.ts'

const packageName = 'octavo-cuda'

/** `path`: absolute; undefined: there is none, for this reason. */
export interface CudaPlugin {
  path?: string
  reason: string
}

/** `root`: octavo's folder; `addon`: its binary. */
export function findCudaPlugin(root: string, addon: string): CudaPlugin {
  if (process.env.OCTAVO_CUDA_PLUGIN) return { path: process.env.OCTAVO_CUDA_PLUGIN, reason: '' }
  const built = resolve(dirname(addon), 'octavo_cuda.so')
  if (existsSync(built)) return { path: built, reason: '' }
  const found = installed(root)
  if (found === undefined) return { reason: `the CUDA plugin is not installed (npm install ${packageName})` }
  if (found.version !== version) {
    const remedy = `npm install ${packageName}@${version}`
    return {
      reason: `${packageName} ${found.version} is installed, octavo ${version} wants its own version (${remedy})`,
    }
  }
  const platform = `${process.platform}-${process.arch}`
  const path = join(found.folder, 'prebuilds', platform, 'octavo_cuda.so')
  if (!existsSync(path)) return { reason: `${packageName} has no plugin for ${platform}` }
  return isWholeElf(path) ? { path, reason: '' } : { reason: `${path} is damaged; install ${packageName} again` }
}

function installed(root: string): { folder: string; version: string } | undefined {
  try {
    const manifest = createRequire(join(root, 'package.json')).resolve(`${packageName}/package.json`)
    const { version } = JSON.parse(readFileSync(manifest, 'utf8')) as { version: string }
    return { folder: dirname(manifest), version }
  } catch {
    return undefined
  }
}
