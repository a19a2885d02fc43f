/**
 * What a model takes of a GPU: predicted without one, planned, refused with a table, and on the fake driver taken exactly so. And
 * everything that may be missing for a GPU to be used.
 */
import { beforeAll, describe, expect, it } from 'vitest'
import { type CudaStatus, type ModelDesc, native } from '../lib/base/native.ts'
import { deviceMemory, deviceTable, deviceTarget } from '../lib/cli/inspect-device.ts'
import { type MemoryDemands, planMemory } from '../lib/host/memory-plan.ts'
import { openCheckpoint } from '../lib/model/checkpoint.ts'
import { locateModel } from '../lib/model/locate.ts'
import { cpuFootprint } from '../lib/model/memory.ts'
import { built, isBuilt, onFakeDriver } from './fake-gpu.ts'
import { desc, stepTokens } from './planned-model.ts'
import { refusal } from './refusal.ts'

const needsOf = (kvBlocks: number, more: Partial<ModelDesc> = {}) =>
  native().cudaNeeds({ ...desc, ...more }, { kvDtype: 'f16', maxStepTokens: stepTokens, kvBlocks })
const totalOf = (kvBlocks: number) => {
  const { weightBytes, blockBytes, bufferBytes } = needsOf(kvBlocks)
  return weightBytes + bufferBytes + kvBlocks * blockBytes
}

function plan(memoryAvailable: number, more: Partial<MemoryDemands> = {}) {
  const options = { stepTokens, contextTokens: undefined, kvMemoryBytes: undefined, kvDtype: 'f16' as const }
  return planMemory({ desc, memoryAvailable, onDevice: true, ...options, ...more })
}

describe('what a model takes of a GPU', () => {
  it('is the bytes of its packed weights, a block of the cache, and buffers', () => {
    // 63 blocks of 16 rows, 4 groups: 512 bytes of codes a pair, 32 of scales a group; each part ends at a multiple of 256.
    expect(needsOf(0)).toMatchObject({ weightBytes: 63 * 2 * 512 + 8192, blockBytes: 16 * 1024 })
    const { buffers, bufferBytes } = needsOf(10)
    expect(Object.values(buffers).reduce((sum, bytes) => sum + bytes)).toBe(bufferBytes)
    expect(buffers.activations).toBeGreaterThanOrEqual(4 * stepTokens * (128 + 128 + 256 + 128 + 512 + 128))
    expect(buffers.logits).toBeGreaterThanOrEqual(2 * 4 * stepTokens * 1000)
  })

  it('counts a head that is the embedding once, another one apart, and tensors side by side as one weight', () => {
    const { embed } = desc.tensors
    const { weightBytes } = needsOf(0)
    expect(needsOf(0, { tensors: { embed: embed!, output: embed! } }).weightBytes).toBe(2 * weightBytes)
    const rows = (count: number, format: 'q4_0' | 'f16' = 'q4_0') => ({ ...embed!, rows: count, format })
    const with32 = (k: 'q4_0' | 'f16') =>
      needsOf(0, { tensors: { embed: embed!, 'layer.0.q': rows(32), 'layer.0.k': rows(32, k) } }).weightBytes -
      weightBytes
    // 4 blocks of rows in one weight: 4 KiB of codes, 512 bytes of scales; apart, each has its own parts.
    expect(with32('q4_0')).toBe(4096 + 512)
    expect(with32('f16')).toBe(2048 + 256 + 32 * 128 * 2)
  })

  it('is refused where no kernel computes it', () => {
    expect(() => needsOf(0, { vocabulary: 2 ** 22 + 1 })).toThrow(/vocabulary of 4194305/)
  })
})

describe('memory plan of a GPU', () => {
  it('grants what is asked for, as far as it fits, to the token', () => {
    const available = totalOf(300) + 8000
    const { details } = refusal(() => plan(available, { contextTokens: 16 * 400 }))
    const largest = details.largestContextTokens as number
    expect(largest / 16).toBeGreaterThan(295)
    expect(plan(available, { contextTokens: largest })).toEqual({ contextTokens: largest, kvBlocks: largest / 16 })
    expect(totalOf(largest / 16)).toBeLessThanOrEqual(available)
    expect(refusal(() => plan(available, { contextTokens: largest + 1 })).code).toBe('OUT_OF_MEMORY')
  })

  it('refuses with the table of what needs what', () => {
    const { code, message, details } = refusal(() => plan(totalOf(0) - 1))
    expect(code).toBe('OUT_OF_MEMORY')
    expect(details).toMatchObject({ weightBytes: needsOf(0).weightBytes, largestContextTokens: 0 })
    for (const row of ['weights', 'KV cache', 'buffers', 'available']) expect(message).toContain(row)
  })

  it('makes the default pool of up to half of what is left, one request of nearly all', () => {
    expect(plan(totalOf(0) + 2 ** 30)).toEqual({ contextTokens: 2048, kvBlocks: 4 * 128 })
    const half = plan(totalOf(400))
    expect(half.contextTokens).toBe(2048)
    expect(half.kvBlocks).toBeGreaterThan(190)
    expect(half.kvBlocks).toBeLessThanOrEqual(200)
    const short = plan(totalOf(100))
    expect(short.contextTokens).toBeGreaterThan(85 * 16)
    expect(short.contextTokens).toBeLessThanOrEqual(90 * 16)
  })

  it('is refused where the context would be shorter than without it', () => {
    const available = totalOf(100)
    const { contextTokens } = plan(available)
    expect(plan(available, { leastContextTokens: contextTokens }).contextTokens).toBe(contextTokens)
    expect(refusal(() => plan(available, { leastContextTokens: contextTokens + 1 })).code).toBe('OUT_OF_MEMORY')
    // What was asked for explicitly is that, and no more is wanted than the model was trained for.
    expect(plan(available, { leastContextTokens: 4000, contextTokens: 512 }).contextTokens).toBe(512)
    expect(plan(totalOf(2000), { leastContextTokens: 1e6 }).contextTokens).toBe(2048)
  })

  it('counts a draft model: its weights and buffers, and its part of each block', () => {
    const alone = refusal(() => plan(0, { contextTokens: 1600 })).details as Record<string, number>
    const both = refusal(() => plan(0, { contextTokens: 1600, draft: desc })).details as Record<string, number>
    expect(both.kvBytes).toBe(2 * alone.kvBytes!)
    expect(both.draftBytes).toBe(totalOf(0))
  })

  it('leaves the CPU its own', () => {
    const { weightBytes, bufferBytes } = cpuFootprint(desc, 'f16', stepTokens)
    expect(plan(weightBytes + bufferBytes + 2 ** 30, { onDevice: false })).toEqual({
      contextTokens: 2048,
      kvBlocks: 512,
    })
  })
})

describe('octavo inspect --device', () => {
  const gpu = { index: 0, name: 'Card', capability: '8.9', multiprocessors: 8, memoryBytes: 24 * 2 ** 30, unusable: '' }
  const status: CudaStatus = { available: true, wholeSteps: true, driver: '13.0', info: [gpu], reason: '' }
  const none: CudaStatus = { ...status, available: false, info: [], reason: 'no NVIDIA driver' }
  const wanted = { draft: undefined, contextTokens: undefined, kvDtype: 'f16' as const, stepTokens: 512 }
  const stories = openCheckpoint(locateModel('stories')).desc

  it('plans for the GPU that is here, for one of a stated size, or for none', () => {
    const target = (...args: Parameters<typeof deviceTarget>) => deviceTarget(...args)
    expect(target('cpu', undefined, () => status)).toBeUndefined()
    expect(target(undefined, undefined, () => status)).toBeUndefined()
    expect(target('cuda', undefined, () => status)).toEqual({
      name: 'Card (cuda:0)',
      availableBytes: Math.floor(24 * 2 ** 30 * 0.94),
    })
    expect(target('auto', undefined, () => status)).toMatchObject({ name: 'Card (cuda:0)' })
    expect(target('auto', undefined, () => none)).toBeUndefined()
    expect(target('cuda', undefined, () => none)).toEqual({ name: 'a GPU', reason: 'no NVIDIA driver' })
    expect(() => target('cuda:1', undefined, () => status)).toThrow(/cuda:1/)
    const nobody = () => {
      throw new Error('asked')
    }
    expect(target(undefined, 8 * 2 ** 30, nobody)).toMatchObject({ name: 'a GPU of 8.00 GiB' })
  })

  it('says what it takes, whether that fits and what would', () => {
    const fits = deviceMemory({ name: 'a', availableBytes: 2 ** 30 }, { ...wanted, desc: stories })
    expect(fits).toMatchObject({ fits: true, contextTokens: stories.contextTokens, device: 'a' })
    expect(fits.totalBytes).toBe(fits.weightBytes + fits.kvBytes + fits.scratchBytes)
    expect(fits.totalBytes).toBeLessThanOrEqual(2 ** 30)
    expect(deviceTable(fits, 512)).toMatch(/It fits, with requests of up to \d+ tokens\./)
    const room = { name: 'a', availableBytes: fits.totalBytes }
    const tooLong = deviceMemory(room, { ...wanted, desc: stories, contextTokens: 10 * fits.kvTokens })
    expect(tooLong).toMatchObject({ fits: false, contextTokens: 10 * fits.kvTokens })
    expect(tooLong.largestContextTokens).toBeGreaterThan(fits.kvTokens - 64)
    expect(deviceTable(tooLong, 512)).toMatch(/does not fit: the largest context that does is \d+ tokens/)
    const small = deviceMemory({ name: 'a', availableBytes: 10 }, { ...wanted, desc: stories })
    expect(deviceTable(small, 512)).toContain('It does not fit at all.')
    const unknown = deviceMemory({ name: 'a', reason: 'no NVIDIA driver' }, { ...wanted, desc: stories })
    expect(unknown.fits).toBeUndefined()
    expect(deviceTable(unknown, 512)).toContain('not known here: no NVIDIA driver.')
  })
})

describe.skipIf(!isBuilt)('on the fake driver (npm run test:cuda builds it)', () => {
  const load = (all: string[]) => `
    const found = []
    for (const options of [${all.map((options) => `{ ${options} }`).join()}]) {
      const lines = []
      const engine = await Engine.load({ model: 'stories', onLog: (line) => lines.push(line), speculation: 'off', ...options }).catch((error) => error)
      const { code, message, details } = engine
      await engine.close?.()
      found.push({ code, message, details, lines })
    }
    console.log(JSON.stringify(found))
  `
  interface Loaded {
    code?: string
    message?: string
    details?: Record<string, number>
    lines: string[]
  }
  /** One after the other in one process. */
  const allLoaded = (all: string[], settings = '', more: NodeJS.ProcessEnv = {}) =>
    onFakeDriver(load(all), settings, more) as Promise<Loaded[]>
  const loaded = async (options: string, settings = '', more: NodeJS.ProcessEnv = {}) =>
    (await allLoaded([options], settings, more))[0]!

  let wholeSteps: boolean
  beforeAll(async () => {
    wholeSteps = (await onFakeDriver(`
      const { native } = await import('./dist/base/native.js')
      console.log(native().cuda().wholeSteps)
    `)) as boolean
  })

  it('takes what was planned: the weights to the byte, nothing before, nothing in a step', async () => {
    const taken = (await onFakeDriver(`
      const { native } = await import('./dist/base/native.js')
      const { openCheckpoint } = await import('./dist/model/checkpoint.js')
      const { locateModel } = await import('./dist/model/locate.js')
      const { desc } = openCheckpoint(locateModel('stories'))
      const options = { maxStepTokens: 64, kvBlocks: 100, kvDtype: 'f16' }
      const needs = native().cudaNeeds(desc, options)
      const model = new (native().Model)(desc, 'cuda:0', null)
      const free = [model.deviceMemoryFree]
      for (let i = 0; i < model.tensorCount; i++) model.loadTensor(i)
      model.finishLoad()
      free.push(model.deviceMemoryFree)
      const engine = new (native().Engine)(model, { ...options, threads: 1, prefixCache: true })
      free.push(model.deviceMemoryFree)
      const residentBytes = model.residentBytes
      engine.close()
      model.close()
      console.log(JSON.stringify({ free, needs, residentBytes }))
    `)) as { free: number[]; needs: { weightBytes: number; blockBytes: number; bufferBytes: number } }
    const [empty, weights, all] = taken.free
    expect(empty! - weights!).toBe(taken.needs.weightBytes)
    expect(weights! - all!).toBeGreaterThanOrEqual(100 * taken.needs.blockBytes)
    expect(weights! - all!).toBeLessThanOrEqual(100 * taken.needs.blockBytes + taken.needs.bufferBytes + 2 ** 23)
  })

  it('refuses by the plan what a GPU does not hold', async () => {
    const { code, message, details } = await loaded("device: 'cuda'", 'memory=16000000')
    expect(code).toBe('OUT_OF_MEMORY')
    expect(message).toMatch(/weights +\d+\.\d MiB\n +KV cache/)
    expect(details).toMatchObject({ availableBytes: Math.floor(16e6 * 0.94), largestContextTokens: 0 })
    const explicit = await loaded("device: 'cuda:0', contextTokens: 100_000_000")
    expect(explicit).toMatchObject({ code: 'OUT_OF_MEMORY' })
    expect(explicit.details!.largestContextTokens).toBeGreaterThan(1_000_000)
  })

  it("'auto' goes from GPUs that lack something to the CPU, and says why", async () => {
    const here = await loaded("device: 'auto'", 'name=Fake_H100')
    expect(here.lines[0]).toContain(
      wholeSteps
        ? "Device 'auto' is Fake_H100 (cuda:0, capability 9.0)."
        : "Device 'auto' is the CPU: Fake_H100 (cuda:0) is used only with device: 'cuda'",
    )
    const small = await loaded("device: 'auto'", 'name=Small memory=16000000')
    expect(small.code).toBeUndefined()
    expect(small.lines[0]).toMatch(
      wholeSteps ? /is the CPU: Small \(cuda:0\): .* are needed, it has 14\.3 MiB/ : /is the CPU/,
    )
    const old = await loaded("device: 'auto'", 'capability=7.5')
    expect(old.lines[0]).toContain("Device 'auto' is the CPU: no CUDA device has compute capability 8.0 or more.")
    const gone = await loaded("device: 'auto'", 'devices=0')
    expect(gone.lines[0]).toContain("Device 'auto' is the CPU: the driver shows no CUDA device.")
  })

  it("'auto' goes on to the CPU where a load on the GPU fails in the midst", async () => {
    const loadAlone = { OCTAVO_CUDA_SELF_CHECK: 'off' }
    const fails = (call: number) => `rules=record fail=${call}:${call % 2 === 0 ? 2 : 719}`
    const begun = await Promise.all([
      ...[8, 30, 45, 60].map((call) => loaded("device: 'auto'", fails(call), loadAlone)),
      ...[100, 301].map((call) => loaded("device: 'auto'", fails(call))),
    ])
    for (const { code, lines } of begun) {
      expect(code).toBeUndefined()
      expect(lines[0]).toMatch(/Device 'auto' is (Fake_GPU \(|the CPU: .*from the driver of octavo's tests)/)
    }
    if (wholeSteps) expect(begun.some(({ lines }) => lines[0]!.includes('is the CPU'))).toBe(true)
  })

  it('says what is missing: the driver, a newer one, the plugin, one of this version', async () => {
    const lacks = async (settings: string, more: NodeJS.ProcessEnv = {}) => {
      const [named, automatic] = await allLoaded(["device: 'cuda'", "device: 'auto'"], settings, more)
      expect(named!.code).toBe('DEVICE_UNAVAILABLE')
      // The same is why 'auto' is the CPU.
      const reason = named!.message!.replace("Device 'cuda' cannot be used: ", '')
      expect(automatic!.lines[0]).toContain(`Device 'auto' is the CPU: ${reason}`)
      return reason
    }
    expect(await lacks('driver=12040')).toMatch(/driver is too old: it knows CUDA 12\.4, these kernels want 13\.0/)
    expect(await lacks('', { OCTAVO_CUDA_PLUGIN: '/nowhere/octavo_cuda.so' })).toMatch(/nowhere/)
    expect(await lacks('', { OCTAVO_CUDA_PLUGIN: `${built}/fake/libcuda.so.1` })).toMatch(/does not export/)
    expect(await lacks('', { OCTAVO_CUDA_PLUGIN: `${built}/octavo_other_version.so` })).toMatch(/version/)
    if (!native().cuda().available) expect(await lacks('', { LD_LIBRARY_PATH: '' })).toMatch(/no NVIDIA driver|driver/)
  })

  it('the cache is of the type that was asked for, whatever computes', async () => {
    const all = ['', "kv: { dtype: 'int8' }, "].flatMap((dtype) =>
      ['cpu', 'auto', 'cuda'].map((device) => `${dtype}device: '${device}', contextTokens: 4096`),
    )
    const [cpu, auto, cuda, cpuInt8, autoInt8, cudaInt8] = (await allLoaded(all)).map(({ lines }) => {
      const [, mebibytes, tokens] = /KV cache of ([\d.]+) MiB for (\d+) tokens/.exec(lines[0]!)!
      return Number(mebibytes) / Number(tokens)
    })
    expect([auto, cuda]).toEqual([cpu, cpu])
    expect([autoInt8, cudaInt8]).toEqual([cpuInt8, cpuInt8])
  })
})
