// What a shared object wants from the system it is loaded on: machine, libraries, symbol versions, whether it may be unloaded.
// 64-bit little-endian ELF. Layout: System V ABI, chapters 4 and 5; symbol versions: Linux Standard Base 5.0, part III.
import { readFileSync } from 'node:fs'

const machines = { 62: 'x64', 183: 'arm64' }
const dynamicTag = { needed: 1, flags1: 0x6ffffffb }
const nodelete = 0x8
const sectionType = { dynamic: 6, versionNeeds: 0x6ffffffe }

/** { arch, libraries: string[], versions: string[] ('GLIBC_2.17', ...), nodelete } */
export function inspectElf(path) {
  const bytes = readFileSync(path)
  if (bytes.readUInt32BE(0) !== 0x7f454c46 || bytes[4] !== 2 || bytes[5] !== 1)
    throw new Error(`${path}: expected a 64-bit little-endian ELF file`)
  const sections = readSections(bytes)
  const text = (table, at) => {
    const begin = table.offset + at
    return bytes.toString('latin1', begin, bytes.indexOf(0, begin))
  }
  const found = { arch: machines[bytes.readUInt16LE(18)], libraries: [], versions: [], nodelete: false }
  for (const section of sections) {
    const names = sections[section.link]
    if (section.type === sectionType.dynamic)
      for (let at = section.offset; at < section.offset + section.size; at += 16) {
        const tag = Number(bytes.readBigUInt64LE(at))
        const value = Number(bytes.readBigUInt64LE(at + 8))
        if (tag === dynamicTag.needed) found.libraries.push(text(names, value))
        if (tag === dynamicTag.flags1) found.nodelete = (value & nodelete) !== 0
      }
    if (section.type === sectionType.versionNeeds)
      for (const name of versionNames(bytes, section.offset)) found.versions.push(text(names, name))
  }
  return found
}

function readSections(bytes) {
  const table = Number(bytes.readBigUInt64LE(40))
  return Array.from({ length: bytes.readUInt16LE(60) }, (_, i) => {
    const at = table + i * bytes.readUInt16LE(58)
    return {
      type: bytes.readUInt32LE(at + 4),
      offset: Number(bytes.readBigUInt64LE(at + 24)),
      size: Number(bytes.readBigUInt64LE(at + 32)),
      link: bytes.readUInt32LE(at + 40),
    }
  })
}

/** Name offsets: a list of libraries (verneed), each with a list of versions (vernaux). */
function* versionNames(bytes, begin) {
  for (let library = begin; ; ) {
    let version = library + bytes.readUInt32LE(library + 8)
    for (let left = bytes.readUInt16LE(library + 2); left > 0; left--) {
      yield bytes.readUInt32LE(version + 8)
      version += bytes.readUInt32LE(version + 12)
    }
    const step = bytes.readUInt32LE(library + 12)
    if (step === 0) return
    library += step
  }
}

/** The oldest glibc that README.md promises. */
const oldestGlibc = [2, 28]
/** What every Node binary of that age has loaded, too. */
const everywhere = /^(libc\.so\.6|libm\.so\.6|libgcc_s\.so\.1|ld-linux-x86-64\.so\.2|ld-linux-aarch64\.so\.1)$/

/** Throws, naming the cause, unless an addon loads on every system that README.md promises. */
export function assertPortable(path, arch) {
  const { arch: found, libraries, versions, nodelete } = inspectElf(path)
  const wrong = []
  if (found !== arch) wrong.push(`is for ${found}, expected ${arch}`)
  const foreign = libraries.filter((name) => !everywhere.test(name))
  if (foreign.length > 0) wrong.push(`needs ${foreign.join(', ')}`)
  const late = versions.filter((name) => !isOld(name))
  if (late.length > 0) wrong.push(`needs ${late.join(', ')}, newer than glibc ${oldestGlibc.join('.')}`)
  // The thread pool outlives a worker thread that was the only one to load the addon.
  if (!nodelete) wrong.push('is not linked with -z nodelete')
  if (wrong.length > 0) throw new Error(`${path} ${wrong.join('; ')}`)
}

function isOld(version) {
  const [, library, major, minor] = /^([A-Z]+)_(\d+)\.(\d+)/.exec(version) ?? []
  if (library === 'GCC') return Number(major) < 8
  if (library !== 'GLIBC') return false
  return Number(major) === oldestGlibc[0] && Number(minor) <= oldestGlibc[1]
}
