/**
 * A GPU without one: the plugin on the driver of cuda/fake, both built by `npm run test:cuda` where there is nvcc. A process has that
 * driver when it is started with the environment below: the library is looked up by the loader, and settings are read when it is loaded.
 */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { native } from '../lib/base/native.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
export const built = `${root}build/cuda-tests/cuda/tests/driver`
export const plugin = `${built}/octavo_cuda.so`
export const isBuilt = existsSync(plugin) && existsSync(`${built}/fake/libcuda.so.1`)

/** `settings`: OCTAVO_FAKE_CUDA, see cuda/fake/control.h. */
export const fakeGpuEnvironment = (settings = '', more: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv => ({
  ...process.env,
  OCTAVO_CUDA_PLUGIN: plugin,
  LD_LIBRARY_PATH: `${built}/fake`,
  OCTAVO_FAKE_CUDA: settings,
  ...more,
})

/** What a process with that driver prints on its last line, as JSON. */
export async function lastLineOf(args: string[], settings = '', more: NodeJS.ProcessEnv = {}): Promise<unknown> {
  const env = fakeGpuEnvironment(settings, more)
  const child = spawn(process.execPath, args, { cwd: root, env, stdio: ['ignore', 'pipe', 'pipe'] })
  let stdout = ''
  let stderr = ''
  child.stdout.on('data', (chunk) => (stdout += chunk))
  child.stderr.on('data', (chunk) => (stderr += chunk))
  const [status, signal] = await once(child, 'close')
  if (status !== 0) throw new Error(`exit ${status ?? signal}: ${stdout}${stderr}`)
  return JSON.parse(stdout.trim().split('\n').at(-1)!)
}

/** The same of a program, in which `Engine` is imported. */
export const onFakeDriver = (source: string, settings = '', more: NodeJS.ProcessEnv = {}) =>
  lastLineOf(['--input-type=module', '-e', `import { Engine } from 'octavo'\n${source}`], settings, more)

/** The same of a script that calls `onFakeGpu`, which need not start itself anew. */
export async function lastLineOfScript(args: string[]): Promise<unknown> {
  const folder = mkdtempSync(join(tmpdir(), 'octavo-fake-'))
  try {
    return await lastLineOf(['--import', 'tsx', ...args], filesIn(folder), { OCTAVO_FAKE_FOLDER: folder })
  } finally {
    rmSync(folder, { recursive: true })
  }
}

const filesIn = (folder: string) => `control=${folder}/control report=${folder}/report`

/** The driver of this process, which follows what is left in a file. */
export interface FakeDriver {
  /** Settings that hold from the next call on. */
  set(settings: string): void
  /** What it has counted, and what is alive. */
  report(): FakeReport
}
export interface FakeReport {
  calls: number
  liveObjects: number
  liveDevice: number
  liveHost: number
  allocations: number
  brokenRules: number
  launches: number
  inexactSums: number
  failedKernels: number
  /** The one that was made to fail. */
  failedCall: string
}

/** For scripts: goes on only in a process with that driver, in which it starts the script anew. */
export function onFakeGpu(script: string): FakeDriver {
  const folder = process.env.OCTAVO_FAKE_FOLDER
  if (folder !== undefined) return driverOf(folder)
  if (!isBuilt) {
    console.error('The fake driver and the plugin are not built: npm run test:cuda (needs nvcc).')
    process.exit(1)
  }
  const made = mkdtempSync(join(tmpdir(), 'octavo-fake-'))
  const env = { ...fakeGpuEnvironment(filesIn(made)), OCTAVO_FAKE_FOLDER: made }
  const args = ['--import', 'tsx', fileURLToPath(script), ...process.argv.slice(2)]
  const { status } = spawnSync(process.execPath, args, { env, stdio: 'inherit' })
  rmSync(made, { recursive: true })
  process.exit(status ?? 1)
}

function driverOf(folder: string): FakeDriver {
  const set = (settings: string) => {
    writeFileSync(join(folder, 'next'), settings)
    renameSync(join(folder, 'next'), join(folder, 'control'))
  }
  return {
    set,
    report() {
      set('tell')
      native().cuda()
      return JSON.parse(readFileSync(join(folder, 'report'), 'utf8'))
    },
  }
}
