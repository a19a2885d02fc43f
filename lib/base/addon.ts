/**
 * Finds the addon: a build in a clone (build/Release), else the binary that the package ships for this platform. There is no
 * install script, so this is where an unsupported platform shows: whatever cannot work is refused in words before the file
 * is opened, because a binary for another C library, or one cut short, can take the process down when it is opened.
 * Layout of a 64-bit ELF file: System V ABI, chapters 4 and 5.
 */
import { closeSync, existsSync, fstatSync, openSync, readSync } from 'node:fs'
import { join, resolve } from 'node:path'
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
  if (!isWhole(file)) {
    throw unsupported(`The octavo binary ${file} is damaged; install the package again.`, expected)
  }
  return file
}

/** Opens the addon. Throws PLATFORM_UNSUPPORTED with what the system said. */
export function openAddon(root: string): unknown {
  const file = findAddon(root)
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

/** The first bytes of a file and its size; undefined when it cannot be read. */
function readHead(path: string, bytes: number): { head: Buffer; size: number } | undefined {
  let descriptor: number | undefined
  try {
    descriptor = openSync(path, 'r')
    const head = Buffer.alloc(bytes)
    return { head: head.subarray(0, readSync(descriptor, head, 0, bytes, 0)), size: fstatSync(descriptor).size }
  } catch {
    return undefined
  } finally {
    if (descriptor !== undefined) closeSync(descriptor)
  }
}

const isElf64 = (head: Buffer) => head.length >= 64 && head.readUInt32BE(0) === 0x7f454c46 && head[4] === 2

/** Whether Node itself was linked with musl: its program interpreter is then named ld-musl-*. */
function usesMusl(): boolean {
  const head = readHead(process.execPath, 4096)?.head
  if (head === undefined || !isElf64(head)) return false
  const table = Number(head.readBigUInt64LE(32))
  const [entryBytes, entries] = [head.readUInt16LE(54), head.readUInt16LE(56)]
  const interpreter = 3
  for (let at = table, i = 0; i < entries && at + 40 <= head.length; i++, at += entryBytes) {
    if (head.readUInt32LE(at) !== interpreter) continue
    const begin = Number(head.readBigUInt64LE(at + 8))
    return head.toString('latin1', begin, begin + Number(head.readBigUInt64LE(at + 32))).includes('ld-musl')
  }
  return false
}

/** Whether nothing is cut off: the section table is the last thing in the file. Opening a file cut short can raise SIGBUS. */
function isWhole(file: string): boolean {
  const read = readHead(file, 64)
  if (read === undefined || !isElf64(read.head)) return false
  const { head, size } = read
  return Number(head.readBigUInt64LE(40)) + head.readUInt16LE(58) * head.readUInt16LE(60) <= size
}
