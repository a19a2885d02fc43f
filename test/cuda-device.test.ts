/**
 * `device`: what can be asked for, what is said where it cannot be had, and the same tokens on a GPU. The GPU is the driver of
 * cuda/fake, which runs the plugin's kernels instruction by instruction; `npm run test:cuda` builds both, where there is nvcc.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Engine, type LoadOptions } from 'octavo'
import { describe, expect, it } from 'vitest'
import { OctavoError } from '../lib/base/errors.ts'
import { type CudaStatus, native } from '../lib/base/native.ts'
import { chooseDevice, type DeviceRequest, onFirstDevice } from '../lib/host/device.ts'
import { isBuilt, onFakeDriver } from './fake-gpu.ts'
import { refusal } from './refusal.ts'

const gpu = (index: number, name: string, unusable = '') => ({
  ...{ index, name, capability: unusable === '' ? '9.0' : '7.5', multiprocessors: 8, memoryBytes: 1e9, unusable },
})
const none: CudaStatus = { available: false, wholeSteps: true, driver: '', info: [], reason: 'no NVIDIA driver' }
const old = gpu(1, 'Old', 'its compute capability is below 8.0')
const three: CudaStatus = {
  ...{ available: true, wholeSteps: true, driver: '13.0', info: [gpu(0, 'One'), old, gpu(2, 'Two')], reason: '' },
}
const backends = (wanted: DeviceRequest, status: CudaStatus) =>
  chooseDevice(wanted, () => status).candidates.map(({ backend }) => backend)

describe('choosing a device', () => {
  it('asks no driver for the CPU', () => {
    const ask = () => {
      throw new Error('asked')
    }
    for (const wanted of ['cpu', 'reference'] as const) {
      expect(chooseDevice(wanted, ask)).toEqual({ wanted, candidates: [{ backend: wanted }], passed: [] })
      expect(onFirstDevice(chooseDevice(wanted, ask), ({ backend }, why) => [backend, why])).toEqual([wanted, ''])
    }
  })

  it('by itself tries the GPUs that can be used, in order, then the CPU', () => {
    expect(backends('auto', three)).toEqual(['cuda:0', 'cuda:2', 'cpu'])
    expect(backends('auto', none)).toEqual(['cpu'])
  })

  it('by itself takes no GPU whose steps are no single piece of work', () => {
    expect(backends('auto', { ...three, wholeSteps: false })).toEqual(['cpu'])
    const choice = chooseDevice('auto', () => ({ ...three, wholeSteps: false }))
    expect(choice.passed).toEqual([expect.stringMatching(/^One \(cuda:0\) is used only with device: 'cuda'/)])
  })

  it("takes the first GPU that can be used, or the one named; numbers are the driver's", () => {
    expect(backends('cuda', three)).toEqual(['cuda:0', 'cuda:2'])
    expect(backends('cuda:2', three)).toEqual(['cuda:2'])
  })

  it('says what there is where it is not what was asked for', () => {
    const { code, details, message } = refusal(() => chooseDevice('cuda:3', () => three))
    expect({ code, details }).toEqual({
      code: 'DEVICE_UNAVAILABLE',
      details: { wanted: 'cuda:3', found: ['cuda:0 (One)', 'cuda:2 (Two)'], reason: '' },
    })
    expect(message).toBe("Device 'cuda:3' cannot be used: there are cuda:0 (One), cuda:2 (Two).")
    expect(refusal(() => chooseDevice('cuda:1', () => three)).message).toBe(
      "Device 'cuda:1' cannot be used: its compute capability is below 8.0.",
    )
    expect(refusal(() => chooseDevice('cuda', () => none)).message).toContain('no NVIDIA driver')
  })

  it('says why it is the one, and no other', () => {
    const on = (status: CudaStatus, wanted: DeviceRequest, failures: Record<string, Error>) =>
      onFirstDevice(
        chooseDevice(wanted, () => status),
        ({ backend }, why) => {
          if (failures[backend]) throw failures[backend]
          return { backend, why }
        },
      )
    const lacks = new OctavoError('OUT_OF_MEMORY', 'too large', { totalBytes: 3 * 2 ** 20, availableBytes: 2 ** 20 })
    const broken = new OctavoError('ENGINE_FAILED', 'cuCtxSetCurrent failed')
    expect(on(three, 'auto', {})).toEqual({
      backend: 'cuda:0',
      why: "Device 'auto' is One (cuda:0, capability 9.0). Not taken: Old (cuda:1): its compute capability is below 8.0.",
    })
    expect(on(three, 'auto', { 'cuda:0': lacks, 'cuda:2': broken })).toEqual({
      backend: 'cpu',
      why: "Device 'auto' is the CPU: Old (cuda:1): its compute capability is below 8.0; One (cuda:0): 3.0 MiB are needed, it has 1.0 MiB; Two (cuda:2): cuCtxSetCurrent failed.",
    })
    expect(on(none, 'auto', {}).why).toBe("Device 'auto' is the CPU: no NVIDIA driver.")
    expect(on(three, 'cuda', { 'cuda:0': lacks })).toMatchObject({ backend: 'cuda:2' })
    // What the first one lacked; a named one has no other.
    expect(refusal(() => on(three, 'cuda', { 'cuda:0': lacks, 'cuda:2': broken })).message).toBe('too large')
    expect(refusal(() => on(three, 'cuda:2', { 'cuda:2': broken })).message).toBe('cuCtxSetCurrent failed')
    // No other device reads a broken file.
    const invalid = new OctavoError('MODEL_INVALID', 'a weight is not finite')
    expect(refusal(() => on(three, 'auto', { 'cuda:0': invalid })).code).toBe('MODEL_INVALID')
  })

  it('is checked as every option is', async () => {
    for (const device of ['gpu', 'cuda:', 'cuda:x', 'cuda:-1', 'CUDA', 3])
      await expect(async () => Engine.load({ model: 'stories', device } as LoadOptions)).rejects.toMatchObject({
        code: 'INVALID_ARGUMENT',
        details: { option: 'device' },
      })
  })

  it('fails a load on a machine without a GPU with what the machine lacks', async () => {
    if (native().cuda().available) return
    await expect(Engine.load({ model: 'stories', device: 'cuda' })).rejects.toMatchObject({
      code: 'DEVICE_UNAVAILABLE',
      details: { wanted: 'cuda', found: [], reason: native().cuda().reason },
    })
  })
})

describe.skipIf(!isBuilt)('on the fake driver (npm run test:cuda builds it)', () => {
  it("'stories' gives the CPU's tokens: greedy and sampled, together, with every type of the cache", async () => {
    const answers = (await onFakeDriver(`
      const requests = [
        { prompt: 'Once upon a time', temperature: 0, maxTokens: 7 },
        { prompt: 'The little fox', temperature: 0.9, seed: 7, maxTokens: 7, logprobs: 2 },
        { prompt: 'A red kite and a very long day', temperature: 1.1, seed: 8, repetitionPenalty: 1.2, topP: 0.9, maxTokens: 6 },
      ]
      const out = {}
      for (const device of ['cpu', 'cuda'])
        for (const dtype of ['f16', 'bf16', 'fp8', 'int8']) {
          const engine = await Engine.load({ model: 'stories', device, kv: { dtype }, speculation: 'off' })
          const results = await Promise.all(requests.map((request) => engine.generate(request).result))
          out[device] ??= []
          out[device].push(results.map(({ tokens, text, logprobs }) => ({ tokens, text, logprobs })))
          await engine.close()
        }
      console.log(JSON.stringify(out))
    `)) as { cpu: { tokens: number[] }[][]; cuda: unknown }
    expect(answers.cuda).toEqual(answers.cpu)
    expect(answers.cpu.flat().every(({ tokens }) => tokens.length > 5)).toBe(true)
  })

  it('refuses what does not fit, and a GPU that is too old', async () => {
    const load = `
      const { code, message } = await Engine.load({ model: 'stories', device: 'cuda' }).catch((error) => error)
      console.log(JSON.stringify({ code, message }))
    `
    expect(await onFakeDriver(load, 'memory=2000000')).toMatchObject({ code: 'OUT_OF_MEMORY' })
    expect(await onFakeDriver(load, 'capability=7.5')).toEqual({
      code: 'DEVICE_UNAVAILABLE',
      message: "Device 'cuda' cannot be used: no CUDA device has compute capability 8.0 or more.",
    })
    expect(await onFakeDriver(load, 'driver=12040')).toMatchObject({ code: 'DEVICE_UNAVAILABLE' })
    expect(await onFakeDriver(load, 'devices=0')).toMatchObject({ code: 'DEVICE_UNAVAILABLE' })
  })

  it("a GPU that computes wrongly is refused: 'cuda' fails, 'auto' is the CPU and says what was wrong", async () => {
    const load = `
      const found = []
      for (const device of ['cuda', 'auto']) {
        const lines = []
        const load = (kv) => Engine.load({ model: 'stories', device, kv, speculation: 'off', onLog: (line) => lines.push(line) })
        const { code, message, details } = await load({ dtype: 'f16' }).then((engine) => engine.close(), (error) => error) ?? {}
        found.push({ code, message, details, line: lines[0] })
      }
      console.log(JSON.stringify(found))
    `
    const why = (where: string) => {
      const number = String.raw`-?[\d.e-]+ \([0-9a-f]{8}\)`
      return new RegExp(
        `the CUDA device computes other numbers than the specification: ${where}: expected ${number}, found ${number}`,
      )
    }
    const places = {
      octavo_linear_decode: 'linear q4_0 of 3 rows, row 0, column 0',
      octavo_attention_f16: 'attention f16, row \\d, column \\d+',
      octavo_repack: 'embed q[48]_0, row \\d, column \\d+',
    }
    for (const [kernel, where] of Object.entries(places)) {
      const [named, automatic] = (await onFakeDriver(load, `wrong=${kernel} name=Bad_GPU`)) as {
        code?: string
        message?: string
        details?: object
        line?: string
      }[]
      expect(named).toMatchObject({ code: 'DEVICE_UNAVAILABLE', details: { where: expect.stringMatching(where) } })
      expect(named!.message).toMatch(why(where))
      expect(automatic!.code).toBeUndefined()
      expect(automatic!.line).toContain(
        "Device 'auto' is the CPU: Bad_GPU (cuda:0): the CUDA device computes other numbers",
      )
      expect(automatic!.line).toMatch(why(where))
    }
  })

  it('is asked once for a process and what kernels differ by; not at all where that is switched off', async () => {
    const launches = async (dtypes: string[], more: NodeJS.ProcessEnv = {}) => {
      const folder = mkdtempSync(join(tmpdir(), 'octavo-'))
      const report = join(folder, 'report')
      try {
        const source = `
          for (const dtype of ${JSON.stringify(dtypes)}) {
            const engine = await Engine.load({ model: 'stories', device: 'cuda', kv: { dtype }, speculation: 'off' })
            await engine.close()
          }
          console.log('0')
        `
        await onFakeDriver(source, `report=${report}`, more)
        const { launches, liveObjects, liveDevice, liveHost } = JSON.parse(readFileSync(report, 'utf8'))
        expect([liveObjects, liveDevice, liveHost]).toEqual([0, 0, 0])
        return launches as number
      } finally {
        rmSync(folder, { recursive: true })
      }
    }
    const off = { OCTAVO_CUDA_SELF_CHECK: 'off' }
    const [none, once, again, another] = await Promise.all([
      launches(['f16'], off),
      launches(['f16']),
      launches(['f16', 'f16']),
      launches(['f16', 'int8']),
    ])
    expect(none).toBe(0)
    expect(once).toBeGreaterThan(15)
    expect(again).toBe(once)
    expect(another! - once!).toBeGreaterThan(2)
    expect(another! - once!).toBeLessThan(once!)
  })
})
