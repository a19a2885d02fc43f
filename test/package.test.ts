/** What the npm package promises: which systems its binary loads on, what it says elsewhere, and that a port is one file. */
import { execFile } from 'node:child_process'
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { Worker } from 'node:worker_threads'
import { build } from 'esbuild'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { version } from '../lib/base/version.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
const platform = `${process.platform}-${process.arch}`

const script = (name: string) => new URL(`../scripts/${name}`, import.meta.url).href

interface Outcome {
  code?: string
  message?: string
  details?: Record<string, string>
  name?: string
}

describe('on a system octavo has no binary for', () => {
  let folder: string
  let installed: string
  const binary = () => join(installed, 'prebuilds', platform, 'octavo.node')

  // The package as npm would lay it out, with this clone's own build as the binary.
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'octavo-'))
    installed = join(folder, 'node_modules/octavo')
    for (const part of ['dist', 'models', 'package.json'])
      cpSync(join(root, part), join(installed, part), { recursive: true })
    mkdirSync(join(binary(), '..'), { recursive: true })
    for (const dependency of Object.keys(manifest.dependencies)) {
      mkdirSync(join(folder, 'node_modules', dependency, '..'), { recursive: true })
      symlinkSync(join(root, 'node_modules', dependency), join(folder, 'node_modules', dependency))
    }
  })
  afterAll(() => rmSync(folder, { recursive: true }))

  function programWith(before: string): string {
    const program = `${before}
      const { Engine } = await import('octavo')
      const outcome = await Engine.load({ model: 'stories' }).then(
        async (engine) => { await engine.close(); return { name: engine.model.name } },
        ({ code, message, details }) => ({ code, message, details }))
      console.log(JSON.stringify(outcome))`
    writeFileSync(join(folder, 'load.mjs'), program)
    return join(folder, 'load.mjs')
  }

  /** What loading `stories` comes to in a fresh process that ran `before` first. */
  async function load(before = ''): Promise<Outcome> {
    const { stdout, stderr } = await promisify(execFile)(process.execPath, [programWith(before)])
    expect(stderr).toBe('')
    return JSON.parse(stdout)
  }

  /** What it comes to where no binary is opened: a thread has a `process` and modules of its own, and is there sooner. */
  async function refused(before = ''): Promise<Outcome> {
    const thread = new Worker(programWith(before), { stdout: true, stderr: true, execArgv: [] })
    const [stdout, stderr] = await Promise.all([text(thread.stdout), text(thread.stderr)])
    expect(stderr).toBe('')
    return JSON.parse(stdout)
  }
  const pretend = (property: string, value: string) =>
    `Object.defineProperty(process, '${property}', { value: ${JSON.stringify(value)} })`
  const placeBinary = () => cpSync(join(root, 'build/Release/octavo.node'), binary())

  it('loads where it has one', async () => {
    placeBinary()
    expect(await load()).toEqual({ name: 'octavo-stories' })
  })

  it.each([
    ['darwin', 'arm64'],
    ['win32', 'x64'],
    ['linux', 'riscv64'],
  ])('says on %s-%s what to do', async (os, arch) => {
    placeBinary()
    const { code, message, details } = await refused(`${pretend('platform', os)}\n${pretend('arch', arch)}`)
    expect(code).toBe('PLATFORM_UNSUPPORTED')
    expect(message).toMatch(
      /There is no octavo binary for .*; octavo runs on Linux, x64 or arm64, with glibc .* container/,
    )
    expect(details).toEqual({ platform: `${os}-${arch}`, node: process.version })
  })

  it('sees that Node was linked with musl, without opening a binary for glibc', async () => {
    placeBinary()
    const node = join(folder, 'node')
    writeFileSync(node, elfWithInterpreter('/lib/ld-musl-x86_64.so.1'))
    const { code, message, details } = await refused(pretend('execPath', node))
    expect({ code, libc: details?.libc }).toEqual({ code: 'PLATFORM_UNSUPPORTED', libc: 'musl' })
    expect(message).toMatch(/musl \(Alpine Linux\).*node:22-slim/)
    writeFileSync(node, elfWithInterpreter('/lib64/ld-linux-x86-64.so.2'))
    expect(await load(pretend('execPath', node))).toEqual({ name: 'octavo-stories' })
  })

  it('names the file that a broken installation lacks', async () => {
    rmSync(binary(), { force: true })
    const { code, message, details } = await refused()
    expect({ code, expected: details?.expected }).toEqual({ code: 'PLATFORM_UNSUPPORTED', expected: binary() })
    expect(message).toMatch(/install the package again/)
  })

  it('opens the file that OCTAVO_ADDON names instead', async () => {
    rmSync(binary(), { force: true })
    const named = (file: string) => `process.env.OCTAVO_ADDON = ${JSON.stringify(file)}`
    expect(await load(named(join(root, 'build/Release/octavo.node')))).toEqual({ name: 'octavo-stories' })
    const { code, details } = await refused(named(join(folder, 'none.node')))
    expect({ code, expected: details?.expected }).toEqual({
      code: 'PLATFORM_UNSUPPORTED',
      expected: join(folder, 'none.node'),
    })
  })

  it.each([
    ['empty', () => writeFileSync(binary(), '')],
    ['a text', () => writeFileSync(binary(), 'version https://git-lfs.github.com/spec/v1\n'.repeat(50))],
    ['cut in its header', () => truncateSync(binary(), 40)],
    ['cut in its code', () => truncateSync(binary(), 1_000_000)],
    ['cut in its last bytes', () => truncateSync(binary(), readFileSync(binary()).length - 1)],
  ])('refuses a binary that is %s', async (_, damage) => {
    placeBinary()
    damage()
    const { code, message } = await refused()
    expect(code).toBe('PLATFORM_UNSUPPORTED')
    expect(message).toMatch(/is damaged; install the package again/)
  })

  it('passes on what the system says of a binary that is whole but wrong', async () => {
    writeFileSync(binary(), elfWithInterpreter('/lib64/ld-linux-x86-64.so.2'))
    const { code, details } = await load()
    expect(code).toBe('PLATFORM_UNSUPPORTED')
    expect(details?.cause).toMatch(/octavo\.node: /)
  })
})

/** The shortest ELF file that names a program interpreter. */
function elfWithInterpreter(path: string): Buffer {
  const file = Buffer.alloc(64 + 56 + 64)
  file.writeUInt32BE(0x7f454c46)
  file[4] = 2
  file.writeBigUInt64LE(64n, 32)
  file.writeUInt16LE(56, 54)
  file.writeUInt16LE(1, 56)
  file.writeUInt32LE(3, 64)
  file.writeBigUInt64LE(120n, 64 + 8)
  file.writeBigUInt64LE(BigInt(path.length + 1), 64 + 32)
  file.write(path, 120)
  return file
}

describe('an application that is bundled', () => {
  let folder: string
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'octavo-'))
    mkdirSync(join(folder, 'node_modules'))
    symlinkSync(root, join(folder, 'node_modules/octavo'))
    writeFileSync(
      join(folder, 'main.mjs'),
      `import { Engine } from 'octavo'
       Engine.load({ model: 'stories' }).then(
         async (engine) => { await engine.close(); console.log(engine.model.name) },
         ({ code, message }) => console.log(code, message))`,
    )
  })
  afterAll(() => rmSync(folder, { recursive: true }))

  const outfile = (format: 'esm' | 'cjs') => join(folder, 'dist', format === 'esm' ? 'main.mjs' : 'main.cjs')
  const run = async (format: 'esm' | 'cjs') =>
    (await promisify(execFile)(process.execPath, [outfile(format)], { cwd: tmpdir() })).stdout

  async function bundled(format: 'esm' | 'cjs', external: string[]): Promise<string> {
    await build({
      ...{ entryPoints: [join(folder, 'main.mjs')], outfile: outfile(format), format, external, absWorkingDir: folder },
      ...{ bundle: true, platform: 'node', target: 'node20', preserveSymlinks: true, logLevel: 'silent' },
    })
    return run(format)
  }

  it.each(['esm', 'cjs'] as const)('runs with octavo external (%s)', async (format) => {
    expect(await bundled(format, ['octavo'])).toBe('octavo-stories\n')
  })

  it.each(['esm', 'cjs'] as const)(
    'runs with octavo inside, where the package is still installed (%s)',
    async (format) => {
      expect(await bundled(format, [])).toBe('octavo-stories\n')
    },
  )

  it.each(['esm', 'cjs'] as const)(
    'is told what to write when the package is gone, or another one (%s)',
    async (format) => {
      await bundled(format, [])
      const link = join(folder, 'node_modules/octavo')
      rmSync(link)
      expect(await run(format)).toMatch(/^BUNDLED octavo .* finds no octavo in node_modules/)
      mkdirSync(link)
      writeFileSync(join(link, 'package.json'), JSON.stringify({ name: 'octavo', version: '0.0.9' }))
      const said = await run(format)
      rmSync(link, { recursive: true })
      symlinkSync(root, link)
      expect(said).toMatch(/^BUNDLED octavo .* finds octavo 0\.0\.9 in node_modules/)
      for (const line of [
        "esbuild: external: ['octavo']",
        'webpack: externals',
        'Vite: ssr',
        'Next.js: serverExternalPackages',
      ])
        expect(said).toContain(line)
    },
  )

  it('knows its version', () => expect(version).toBe(manifest.version))
})

describe('the package', () => {
  it('lets every system install it and runs nothing there', () => {
    for (const field of ['os', 'cpu', 'libc']) expect(manifest).not.toHaveProperty(field)
    for (const script of ['preinstall', 'install', 'postinstall']) expect(manifest.scripts).not.toHaveProperty(script)
    // Without it npm runs node-gyp where it sees a binding.gyp; that file is not in the package, either.
    expect(manifest.gypfile).toBe(false)
    expect(manifest.files).not.toContain('binding.gyp')
  })

  it('checks what its binaries need of a system', async () => {
    const { assertPortable, inspectElf } = await import(script('elf.mjs'))
    const addon = inspectElf(join(root, 'build/Release/octavo.node'))
    expect(addon.arch).toBe(process.arch)
    expect(addon.libraries).toContain('libc.so.6')
    expect(addon.versions.some((name: string) => name.startsWith('GLIBC_2.'))).toBe(true)
    // The thread pool outlives a worker thread that was the only one to load the addon.
    expect(addon.nodelete).toBe(true)
    expect(() => assertPortable(process.execPath, process.arch)).toThrow(/nodelete/)
    expect(() => assertPortable(join(root, 'build/Release/octavo.node'), 'riscv64')).toThrow(/expected riscv64/)
  })

  it('needs few file descriptors', async () => {
    const program = `const { Engine } = await import('./dist/index.js')
      const engine = await Engine.load({ model: 'stories' })
      const { tokens } = await engine.generate({ messages: [{ role: 'user', content: 'x' }], maxTokens: 2 }).result
      await engine.close()
      console.log(tokens.length)`
    const node = ['-c', 'ulimit -n 40; exec "$@"', 'sh', process.execPath, '--input-type=module', '-e', program]
    const { stdout } = await promisify(execFile)('sh', node, { cwd: root })
    expect(stdout).toBe('2\n')
  })

  it('has a program in its README that the install check can run', async () => {
    const { readmeProgram } = await import(script('readme-program.mjs'))
    expect(readmeProgram()).toMatch(/Engine\.load\([\s\S]*engine\.close\(\)/)
  })
})

describe('calls to the operating system', () => {
  // The C++ library, what is compiled into the kernels, and Node's own interface. Threads, clocks and locks are C++'s.
  const allowed =
    /^(algorithm|array|atomic|bit|chrono|cmath|concepts|condition_variable|cstddef|cstdint|cstdio|cstdlib|cstring|deque|exception|functional|initializer_list|limits|list|map|memory|mutex|new|numbers|numeric|optional|random|set|span|sstream|stdexcept|string|string_view|system_error|thread|tuple|type_traits|unordered_map|unordered_set|utility|variant|vector|[ei]mmintrin\.h|cpuid\.h|arm_neon\.h|napi\.h)$/
  const calls =
    /\b(fopen|fread|fwrite|printf|fprintf|puts|perror|abort|exit|_exit|quick_exit|getenv|setenv|system|popen|signal|raise|mmap|munmap|madvise|syscall|dlopen|dlsym|getpid|usleep|nanosleep|sysconf|pread|pthread_\w+)\s*\(/
  const files = readdirSync(join(root, 'cpp'), { recursive: true, encoding: 'utf8' })
    .filter((path) => /\.(h|cpp|inc)$/.test(path))
    // os.cpp is what a port rewrites; a system may lack what the two beside it offer: processes then share no weights, threads take turns as they are.
    .filter((path) => !/^(tests\/|fuzz\/|glibc\/|os\/os(_sharing|_turns)?\.cpp$)/.test(path))

  it.each(files)('cpp/%s makes none', (path) => {
    const source = readFileSync(join(root, 'cpp', path), 'utf8')
    const code = source.replace(/\/\/.*/g, '').replace(/"(\\.|[^"\\])*"/g, '""')
    for (const [, header] of source.matchAll(/^\s*#\s*include\s*<([^>]+)>/gm)) expect(header).toMatch(allowed)
    expect(code).not.toMatch(calls)
  })
})
