/**
 * `device`: what can be asked for, what is said where it cannot be had, and the same tokens on a GPU. The GPU is the driver of
 * cuda/fake, which runs the plugin's kernels instruction by instruction; `npm run test:cuda` builds both, where there is nvcc.
 */
import { Engine, type LoadOptions } from 'octavo'
import { describe, expect, it } from 'vitest'
import { type CudaStatus, native } from '../lib/base/native.ts'
import { chooseDevice } from '../lib/host/device.ts'
import { isBuilt, onFakeDriver } from './fake-gpu.ts'

const gpu = (index: number, name: string) => ({ index, name, capability: '9.0', multiprocessors: 8, memoryBytes: 1e9 })
const none: CudaStatus = { available: false, devices: 0, info: [], reason: 'no NVIDIA driver' }
const two: CudaStatus = { available: true, devices: 2, info: [gpu(0, 'One'), gpu(2, 'Two')], reason: '' }
const codeOf = (act: () => unknown) => {
  try {
    act()
  } catch (error) {
    return error as { code: string; details: object; message: string }
  }
  throw new Error('nothing was thrown')
}

describe('choosing a device', () => {
  it('asks no driver for the CPU', () => {
    const ask = () => {
      throw new Error('asked')
    }
    expect(chooseDevice('cpu', ask)).toEqual({ backend: 'cpu' })
    expect(chooseDevice('reference', ask)).toEqual({ backend: 'reference' })
  })

  it('takes the CPU by itself and says why', () => {
    expect(chooseDevice('auto', () => none)).toEqual({
      backend: 'cpu',
      why: "Device 'auto' is the CPU: no NVIDIA driver.",
    })
    expect(chooseDevice('auto', () => two)).toMatchObject({ backend: 'cpu', why: expect.stringContaining('One') })
  })

  it("takes the first GPU that can be used, or the one named; numbers are the driver's", () => {
    expect(chooseDevice('cuda', () => two)).toMatchObject({ backend: 'cuda:0', memoryBytes: 0.94e9 })
    expect(chooseDevice('cuda:2', () => two).backend).toBe('cuda:2')
  })

  it('says what there is where it is not what was asked for', () => {
    const { code, details, message } = codeOf(() => chooseDevice('cuda:1', () => two))
    expect({ code, details }).toEqual({
      code: 'DEVICE_UNAVAILABLE',
      details: { wanted: 'cuda:1', found: ['cuda:0 (One)', 'cuda:2 (Two)'], reason: '' },
    })
    expect(message).toBe("Device 'cuda:1' cannot be used: there are cuda:0 (One), cuda:2 (Two).")
    expect(codeOf(() => chooseDevice('cuda', () => none)).message).toContain('no NVIDIA driver')
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
        { prompt: 'Once upon a time', temperature: 0, maxTokens: 12 },
        { prompt: 'The little fox', temperature: 0.9, seed: 7, maxTokens: 12, logprobs: 2 },
        { prompt: 'A red kite and a very long day', temperature: 1.1, seed: 8, repetitionPenalty: 1.2, topP: 0.9, maxTokens: 8 },
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
})
