/**
 * Finds the addon: a build in a clone (build/Release), else the binary that the package ships for this platform. There is no
 * install script, so this is where an unsupported platform shows: whatever cannot work is refused in words before the file
 * is opened, because a binary for another C library, or one cut short, can take the process down when it is opened.
 */
import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { isWholeElf, usesMusl } from './elf.ts'
import { OctavoError } from './errors.ts'

/** What the package has binaries for, and the oldest glibc they load on (checked when the package is made). */
export const prebuilt = ['linux-x64', 'linux-arm64']
export const oldestGlibc = '2.28'

const remedy = `octavo runs on Linux, x64 or arm64, with glibc ${oldestGlibc} or newer: on other systems use a container with such a Linux, for instance the image node:22-slim`

/**
 * The addon's file: what OCTAVO_ADDON names (a build with sanitizers, for instance), or the one for this system. `root` is the
 * package's folder. Throws PLATFORM_UNSUPPORTED.
 */
export function findAddon(root: string): string {
  if (process.env.OCTAVO_ADDON) return process.env.OCTAVO_ADDON
  const built = join(root, 'build', 'Release', 'octavo.node')
  if (existsSync(built)) return built
  const platform = `${process.platform}-${process.arch}`
  if (!prebuilt.includes(platform)) throw unsupported(`There is no octavo binary for ${platform}; ${remedy}.`)
  if (usesMusl()) throw unsupported(`There is no octavo binary for musl (Alpine Linux); ${remedy}.`, { libc: 'musl' })
  const file = join(root, 'prebuilds', platform, 'octavo.node')
  const expected = { expected: file }
  if (!existsSync(file)) {
    const hint = 'install the package again, or, in a clone, run npm run build:native'
    throw unsupported(`The octavo binary for ${platform} is not where it should be, ${file}; ${hint}.`, expected)
  }
  if (!isWholeElf(file)) {
    throw unsupported(`The octavo binary ${file} is damaged; install the package again.`, expected)
  }
  return file
}

/** Opens the addon, from the file that `findAddon` gave. Throws PLATFORM_UNSUPPORTED with what the system said. */
export function openAddon(file: string): unknown {
  try {
    // Not `require`, which bundlers replace.
    const module = { exports: {} }
    process.dlopen(module, resolve(file))
    return module.exports
  } catch (error) {
    const cause = error instanceof Error ? error.message : String(error)
    throw unsupported(`The octavo binary ${file} does not load here (${cause}); ${remedy}.`, { expected: file, cause })
  }
}

function unsupported(message: string, details: Record<string, string> = {}): OctavoError {
  const platform = `${process.platform}-${process.arch}`
  return new OctavoError('PLATFORM_UNSUPPORTED', message, { platform, node: process.version, ...details })
}
