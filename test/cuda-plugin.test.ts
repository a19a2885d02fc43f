/** Where the CUDA plugin is found: beside the addon, in the package octavo-cuda of the same version, or nowhere, for a reason. */
import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { findCudaPlugin } from '../lib/base/cuda-plugin.ts'
import { version } from '../lib/base/version.ts'

describe('the CUDA plugin', () => {
  let folder: string
  let addon: string
  const named = process.env.OCTAVO_CUDA_PLUGIN
  const platform = `${process.platform}-${process.arch}`
  const find = () => findCudaPlugin(join(folder, 'node_modules/octavo'), addon)

  beforeEach(() => {
    delete process.env.OCTAVO_CUDA_PLUGIN
    folder = mkdtempSync(join(tmpdir(), 'octavo-'))
    addon = join(folder, 'node_modules/octavo/prebuilds', platform, 'octavo.node')
    mkdirSync(join(addon, '..'), { recursive: true })
  })
  afterEach(() => {
    rmSync(folder, { recursive: true })
    if (named !== undefined) process.env.OCTAVO_CUDA_PLUGIN = named
  })

  /** octavo-cuda as npm lays it out; its plugin is some whole ELF file. Returns the plugin. */
  function install(its: string, platforms = [platform]): string {
    const installed = join(folder, 'node_modules/octavo-cuda')
    mkdirSync(installed)
    writeFileSync(join(installed, 'package.json'), JSON.stringify({ name: 'octavo-cuda', version: its }))
    for (const name of platforms) {
      mkdirSync(join(installed, 'prebuilds', name), { recursive: true })
      writeFileSync(join(installed, 'prebuilds', name, 'octavo_cuda.so'), wholeElf())
    }
    return join(installed, 'prebuilds', platform, 'octavo_cuda.so')
  }
  /** A header, and a table of one empty section at its end. */
  function wholeElf(): Buffer {
    const elf = Buffer.alloc(128)
    elf.writeUInt32BE(0x7f454c46, 0)
    elf[4] = 2
    elf.writeBigUInt64LE(64n, 40)
    elf.writeUInt16LE(64, 58)
    elf.writeUInt16LE(1, 60)
    return elf
  }

  it('is the one that OCTAVO_CUDA_PLUGIN names', () => {
    process.env.OCTAVO_CUDA_PLUGIN = '/somewhere/plugin.so'
    expect(find()).toEqual({ path: '/somewhere/plugin.so', reason: '' })
    delete process.env.OCTAVO_CUDA_PLUGIN
  })

  it('is the one beside the addon, before the one of octavo-cuda', () => {
    const theirs = install(version)
    expect(find()).toEqual({ path: theirs, reason: '' })
    const beside = join(addon, '../octavo_cuda.so')
    writeFileSync(beside, wholeElf())
    expect(find()).toEqual({ path: beside, reason: '' })
  })

  it('is none where octavo-cuda is not installed, or has nothing for this platform', () => {
    expect(find()).toEqual({ reason: 'the CUDA plugin is not installed (npm install octavo-cuda)' })
    install(version, ['linux-riscv64'])
    expect(find()).toEqual({ reason: `octavo-cuda has no plugin for ${platform}` })
  })

  it('is none where octavo-cuda is of another version, which is named', () => {
    install('0.0.7')
    const reason = `octavo-cuda 0.0.7 is installed, octavo ${version} wants its own version (npm install octavo-cuda@${version})`
    expect(find()).toEqual({ reason })
  })

  it('is none where its file is cut short', () => {
    const plugin = install(version)
    truncateSync(plugin, 100)
    expect(find()).toEqual({ reason: `${plugin} is damaged; install octavo-cuda again` })
  })

  it('has the version of octavo in both packages', async () => {
    const read = async (path: string) =>
      (await import(fileURLToPath(new URL(path, import.meta.url)), { with: { type: 'json' } })).default
    const ours = await read('../package.json')
    const theirs = await read('../packages/octavo-cuda/package.json')
    expect({
      ours: ours.peerDependencies['octavo-cuda'],
      theirs: theirs.version,
      peer: theirs.peerDependencies.octavo,
    }).toEqual({
      ours: version,
      theirs: version,
      peer: version,
    })
  })
})
