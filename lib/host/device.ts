/**
 * Which device computes: what was asked for and what there is become the backend's name. Tokens are the same on every one of them
 * (docs/numerics.md), so a choice decides about speed alone.
 */
import { OctavoError } from '../base/errors.ts'
import { type CudaStatus, native } from '../base/native.ts'

export type DeviceRequest = 'auto' | 'cpu' | 'reference' | 'cuda' | `cuda:${number}`
export type Backend = 'cpu' | 'reference' | `cuda:${number}`

export interface DeviceChoice {
  backend: Backend
  /** Of the device alone; undefined: weights and cache are in the host's memory. */
  memoryBytes?: number
  /** For the log, where there was a choice. */
  why?: string
}

/** Weights, cache and buffers may take so much of a device; the rest is its driver's and its display's. */
const deviceShare = 0.94

export function chooseDevice(wanted: DeviceRequest, cuda: () => CudaStatus = () => native().cuda()): DeviceChoice {
  if (wanted === 'cpu' || wanted === 'reference') return { backend: wanted }
  const status = cuda()
  if (wanted === 'auto') {
    const found = status.available
      ? `${status.info[0]!.name} is used only with device: 'cuda', which takes every operation to it and back`
      : status.reason
    return { backend: 'cpu', why: `Device 'auto' is the CPU: ${found}.` }
  }
  const index = wanted === 'cuda' ? status.info[0]?.index : Number(wanted.slice('cuda:'.length))
  const device = status.info.find((one) => one.index === index)
  if (device === undefined) throw unavailable(wanted, status)
  return {
    backend: `cuda:${device.index}`,
    memoryBytes: device.memoryBytes * deviceShare,
    why: `Device '${wanted}' is ${device.name} (cuda:${device.index}, capability ${device.capability}).`,
  }
}

function unavailable(wanted: DeviceRequest, { info, reason }: CudaStatus): OctavoError {
  const found = info.map(({ index, name }) => `cuda:${index} (${name})`)
  const have = found.length > 0 ? `there ${found.length > 1 ? 'are' : 'is'} ${found.join(', ')}` : reason
  return new OctavoError('DEVICE_UNAVAILABLE', `Device '${wanted}' cannot be used: ${have}.`, { wanted, found, reason })
}
