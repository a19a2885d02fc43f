// Makes the npm package and checks what README.md promises of it: what is inside and how large, which systems the binaries load
// on, that no script runs at install, types, and that it works where there is no compiler, on every version of Node.
// The package stays in build/package/. Needs the npm registry.
//
//   node scripts/package.mjs [--only make,contents,lint,types,install]
import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { expect, run } from './commands.mjs'
import { assertPortable } from './elf.mjs'
import { nodeBinary } from './node-binary.mjs'
import { readmeProgram } from './readme-program.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const { name, version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
const out = join(root, 'build/package')
const tarball = join(out, `${name}-${version}.tgz`)
const limits = { tarball: 15e6, unpacked: 25e6 }
const nodes = [20, 22, 24]
/** A Node whose arm64 binary is on the registry. */
const arm64Node = '20.20.2'

const npmCli = join(dirname(dirname(process.execPath)), 'lib/node_modules/npm/bin/npm-cli.js')
const npm = existsSync(npmCli)
  ? npmCli
  : execFileSync('sh', ['-c', 'readlink -f "$(command -v npm)"'], { encoding: 'utf8' }).trim()

/** An empty folder with the package installed, by an npm that finds no compiler and may run no script. */
function installed(node = process.execPath) {
  const folder = mkdtempSync(join(tmpdir(), 'octavo-package-'))
  mkdirSync(join(folder, 'bin'))
  symlinkSync(node, join(folder, 'bin/node'))
  writeFileSync(join(folder, 'package.json'), '{"private":true,"type":"module"}')
  const env = { PATH: join(folder, 'bin'), HOME: process.env.HOME }
  run(node, [npm, 'install', '--no-audit', '--no-fund', tarball], { cwd: folder, env })
  return { folder, env }
}

/** What `octavo serve` is, with its page. */
const service = `import { createServer } from 'octavo/server'
const server = await createServer({ models: { stories: 'stories' }, port: 0 })
const url = await server.listen()
await server.loaded
const headers = { 'content-type': 'application/json' }
const body = JSON.stringify({ prompt: 'Once upon', max_tokens: 12 })
const answer = await fetch(url + '/v1/completions', { method: 'POST', headers, body })
console.log((await answer.json()).choices[0].text.trim(), (await fetch(url + '/ui/app.js')).status)
await server.close()
`

const checks = {
  make() {
    rmSync(join(root, 'dist'), { recursive: true, force: true })
    run('npm', ['run', 'build:ts'])
    run(process.execPath, ['scripts/prebuilds.mjs'])
    // Scripts are off: what they would do is done.
    const [packed] = JSON.parse(run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', out]))
    return `${packed.filename}, ${packed.entryCount} files`
  },

  contents() {
    const { size, unpackedSize, files } = Object.values(
      JSON.parse(run('npm', ['pack', '--json', '--dry-run', '--ignore-scripts'])),
    )[0]
    const paths = new Set(files.map(({ path }) => path))
    for (const platform of ['linux-x64', 'linux-arm64']) {
      const path = `prebuilds/${platform}/octavo.node`
      expect(paths.has(path), `the package lacks ${path}`)
      assertPortable(join(root, path), platform.replace('linux-', ''))
    }
    const known =
      /^(dist|lib)\/.*\.(js|cjs|ts|map)$|^(dist|lib)\/ui\/[^/]+\.(html|css|tsx|json)$|^prebuilds\/linux-(x64|arm64)\/octavo\.node$|^models\/[^/]+$|^[^/]+\.(md|json)$|^LICENSE$/
    const strangers = [...paths].filter((path) => !known.test(path))
    expect(strangers.length === 0, `unexpected files in the package: ${strangers.join(', ')}`)
    expect(size < limits.tarball, `the tarball has ${size} bytes, expected less than ${limits.tarball}`)
    expect(unpackedSize < limits.unpacked, `unpacked ${unpackedSize} bytes, expected less than ${limits.unpacked}`)
    return `${(size / 1e6).toFixed(1)} MB, unpacked ${(unpackedSize / 1e6).toFixed(1)} MB`
  },

  lint() {
    run('npx', ['publint', '--strict', tarball])
    run('npx', ['attw', tarball, '--profile', 'esm-only'])
    return 'publint and attw are content'
  },

  types() {
    const { folder } = installed()
    cpSync(join(root, 'test/package-types'), folder, { recursive: true })
    const { devDependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
    const peers = ['ai', '@ai-sdk/provider', '@langchain/core'].map((peer) => `${peer}@${devDependencies[peer]}`)
    const packages = ['typescript@5.9.3', '@types/node@20.19.43', ...peers]
    run('npm', ['install', '--no-audit', '--no-fund', ...packages], { cwd: folder })
    const ours = join(root, 'node_modules/typescript/bin/tsc')
    const configs = ['nodenext', 'bundler', 'browser-types', 'adapters', 'server']
    for (const tsc of [ours, join(folder, 'node_modules/typescript/bin/tsc')])
      for (const config of configs) run(process.execPath, [tsc, '-p', `tsconfig.${config}.json`], { cwd: folder })
    rmSync(folder, { recursive: true })
    return `target ES2022, skipLibCheck false (but for adapters and server): ${configs.join(', ')}`
  },

  install() {
    const program = readmeProgram()
    const { folder, env } = installed()
    writeFileSync(join(folder, 'six-lines.js'), program)
    const start = (node, ...before) => run(node, [...before, 'six-lines.js'], { cwd: folder, env })
    const told = { [process.version]: start(process.execPath) }
    for (const major of nodes) told[`Node ${major}`] = start(nodeBinary(major))
    const emulator = execFileSync('sh', ['-c', 'command -v qemu-aarch64'], { encoding: 'utf8' }).trim()
    told.arm64 = start(emulator, '-L', '/usr/aarch64-linux-gnu', nodeBinary(arm64Node, 'arm64'))
    for (const [where, text] of Object.entries(told)) expect(/\w+ \w+ \w+/.test(text), `no story on ${where}: ${text}`)
    writeFileSync(join(folder, 'service.js'), service)
    const served = run(process.execPath, ['service.js'], { cwd: folder, env })
    expect(/^\w+ .*200\n$/s.test(served), `the service answered: ${served}`)
    rmSync(folder, { recursive: true })
    return `the README's program ran on ${Object.keys(told).join(', ')}`
  },
}

const { values } = parseArgs({ options: { only: { type: 'string' } } })
const only = values.only?.split(',') ?? Object.keys(checks)
for (const check of only) expect(check in checks, `no check ${check}; there are ${Object.keys(checks).join(', ')}`)
mkdirSync(out, { recursive: true })
for (const check of only) console.log(`${check}: ${checks[check]()}`)
