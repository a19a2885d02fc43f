// Makes the npm package octavo-cuda, the CUDA plugin for linux-x64 and linux-arm64, and checks it: what is inside and how large, that both
// packages installed in an empty folder find each other and compute on the driver of cuda/fake, that another version is refused, and
// that the plugin for arm64 opens (under qemu). Without nvcc it says that it was skipped. The package stays in build/package/. Needs the
// octavo package (scripts/package.mjs) and what `npm run test:cuda` builds.
//
//   node scripts/cuda/package.mjs [--only make,contents,install] [--write]      --write: renews the plugins' sizes in cuda/ratchet.json
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { expect, run } from '../commands.mjs'
import { assertPortable } from '../elf.mjs'
import { nodeBinary } from '../node-binary.mjs'
import { findNvcc } from './nvcc.mjs'
import { compare, renew } from './ratchet.mjs'

const root = fileURLToPath(new URL('../..', import.meta.url))
const manifest = (folder) => JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
const { version, peerDependencies } = manifest(root)
const own = manifest(join(root, 'packages/octavo-cuda'))
const out = join(root, 'build/package')
const staged = join(out, 'octavo-cuda')
const tarballs = { octavo: join(out, `octavo-${version}.tgz`), cuda: join(out, `octavo-cuda-${version}.tgz`) }
const platforms = ['linux-x64', 'linux-arm64']
const plugin = (platform) => join(staged, 'prebuilds', platform, 'octavo_cuda.so')
const fake = join(root, 'build/cuda-tests/cuda/tests/driver/fake')
const limit = 16e6

const program = `import { Engine } from 'octavo'
const answers = {}
for (const device of ['cpu', 'cuda']) {
  const engine = await Engine.load({ model: 'stories', device }).catch(({ code, message }) => ({ code, message }))
  if (engine.code) { answers[device] = engine; continue }
  answers[device] = (await engine.generate({ prompt: 'Once upon a time', temperature: 0, maxTokens: 8 }).result).tokens
  await engine.close()
}
console.log(JSON.stringify(answers))
`

const checks = {
  make() {
    rmSync(staged, { recursive: true, force: true })
    cpSync(join(root, 'packages/octavo-cuda'), staged, { recursive: true })
    cpSync(join(root, 'LICENSE'), join(staged, 'LICENSE'))
    run(process.execPath, ['scripts/cuda/prebuilds.mjs'], { stdio: ['ignore', 'pipe', 'inherit'] })
    const [packed] = JSON.parse(run('npm', ['pack', '--json', '--pack-destination', out], { cwd: staged }))
    return `${packed.filename}, ${packed.entryCount} files`
  },

  contents() {
    expect(own.version === version, `octavo-cuda ${own.version} beside octavo ${version}`)
    expect(own.peerDependencies.octavo === version, `octavo-cuda wants octavo ${own.peerDependencies.octavo}`)
    expect(peerDependencies['octavo-cuda'] === version, `octavo wants octavo-cuda ${peerDependencies['octavo-cuda']}`)
    const [{ size, files }] = JSON.parse(run('npm', ['pack', '--json', '--dry-run'], { cwd: staged }))
    const expected = [
      'LICENSE',
      'README.md',
      'package.json',
      ...platforms.map((name) => `prebuilds/${name}/octavo_cuda.so`),
    ]
    const found = files.map(({ path }) => path).sort()
    expect(found.join() === expected.sort().join(), `the package has ${found.join(', ')}`)
    expect(size < limit, `the tarball has ${size} bytes, expected less than ${limit}`)
    for (const platform of platforms) assertPortable(plugin(platform), platform.replace('linux-', ''))
    const sizes = Object.fromEntries(platforms.map((platform) => [platform, [statSync(plugin(platform)).size]]))
    if (values.write) renew('plugin', sizes, { all: true })
    const { worse } = compare('plugin', sizes)
    expect(worse.length === 0, `larger than cuda/ratchet.json says: ${worse.join('; ')}`)
    return `${(size / 1e6).toFixed(1)} MB, plugins of ${Object.values(sizes).join(' and ')} bytes`
  },

  install() {
    expect(existsSync(tarballs.octavo), `${tarballs.octavo} is missing: node scripts/package.mjs`)
    expect(existsSync(fake), `${fake} is missing: npm run test:cuda`)
    const folder = mkdtempSync(join(tmpdir(), 'octavo-cuda-'))
    writeFileSync(join(folder, 'package.json'), '{"private":true,"type":"module"}')
    writeFileSync(join(folder, 'both.js'), program)
    run('npm', ['install', '--no-audit', '--no-fund', ...Object.values(tarballs)], { cwd: folder })
    const start = (command, args, env) =>
      JSON.parse(run(command, [...args, 'both.js'], { cwd: folder, env: { ...process.env, ...env } }))
    const onFake = { LD_LIBRARY_PATH: fake, OCTAVO_FAKE_CUDA: 'capability=9.0' }
    const { cpu, cuda } = start(process.execPath, [], onFake)
    expect(cpu.length === 8 && cpu.join() === cuda.join?.(), `tokens differ: ${JSON.stringify({ cpu, cuda })}`)
    const told = [`${cuda.length} tokens of stories on the fake driver`]

    const hasArm64 = existsSync(join(folder, 'node_modules/octavo/prebuilds/linux-arm64/octavo.node'))
    if (!hasArm64 || spawnSync('qemu-aarch64', ['--version']).status !== 0)
      told.push('not opened on arm64: no qemu, or octavo was packed without it')
    else {
      const qemu = ['-L', '/usr/aarch64-linux-gnu', nodeBinary('20.20.2', 'arm64')]
      const { message } = start('qemu-aarch64', qemu, {}).cuda
      expect(/no NVIDIA driver/.test(message), `on arm64: ${message}`)
      told.push('opened on arm64 (qemu)')
    }

    const installed = join(folder, 'node_modules/octavo-cuda/package.json')
    writeFileSync(installed, JSON.stringify({ ...own, version: '0.0.9' }))
    const { code, message } = start(process.execPath, [], onFake).cuda
    expect(code === 'DEVICE_UNAVAILABLE' && message.includes('octavo-cuda 0.0.9'), `another version: ${message}`)
    rmSync(folder, { recursive: true })
    return `${told.join(', ')}; another version refused`
  },
}

const { values } = parseArgs({ options: { only: { type: 'string' }, write: { type: 'boolean', default: false } } })
const only = values.only?.split(',') ?? Object.keys(checks)
for (const check of only) expect(check in checks, `no check ${check}; there are ${Object.keys(checks).join(', ')}`)
if (findNvcc() === undefined) {
  console.log('octavo-cuda: no nvcc: octavo-cuda was skipped')
  process.exit(0)
}
mkdirSync(out, { recursive: true })
for (const check of only) console.log(`${check}: ${checks[check]()}`)
